"""Which seeds are for what: no number is reported on a seed that it was fitted or chosen on."""

from __future__ import annotations

FIRST_TRAINING_SEED = 1_000_000
"""Networks are trained on seeds from here on."""
FIT = range(1000, 1100)
"""Constants of methods, and the weights of the mismatch axis, are fitted on heads of these seeds."""
CHOOSE = range(1100, 1200)
"""Between candidates is chosen on heads of these."""
REPORT = (0, 4, *range(900, 910))
"""What is reported is scored on heads of these, the benchmark's; nothing is fitted or chosen on them."""
CALIBRATION = range(910, 966)
"""The uncertainty's own heads: fitted on 910 to 920, checked on 960 to 965. Rules up to version 0.1.0 (`strength.py`,
constants of `tv.py` and `learned.py`) were fitted on 900 to 957, so that their scores on `REPORT` flatter them."""
