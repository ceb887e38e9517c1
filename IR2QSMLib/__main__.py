"""`python -m IR2QSMLib` is the command `ir2qsm`."""

import sys

from IR2QSMLib.cli.main import main

sys.exit(main())
