"""Which seeds are for what: no number is reported on a seed that it was fitted or chosen on."""

from __future__ import annotations

FIRST_TRAINING_SEED = 1_000_000
"""Networks are trained on heads of this seed and above."""
FIT = range(1000, 1100)
"""Constants of methods, and the weights of the mismatch axis, are fitted on heads of these seeds."""
CHOOSE = range(1100, 1200)
"""Candidates are compared, and one is chosen, on heads of these seeds."""
REPORT = (0, 4, *range(900, 910))
"""Reported scores are of heads of these seeds, the benchmark's; nothing is fitted or chosen on them."""
CALIBRATION = range(910, 966)
"""The uncertainty is fitted on heads 910 to 920 and checked on 960 to 965. The automatic regularisation, TV and the
learned methods of version 0.1.0 were fitted on heads 900 to 957, so that their scores on `REPORT` flatter them."""
