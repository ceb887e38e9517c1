"""`python -m IR2QSMLib` is the command `ir2qsm`."""

import sys

from IR2QSMLib.cli import main

sys.exit(main())
