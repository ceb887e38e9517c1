"""Whether an image is wrapped phase, told from its neighbours alone, in whatever unit."""

from __future__ import annotations

import torch
from torch import Tensor

WHOLE = 0.7
"""Share of the numbers' whole range by which neighbours differ at a wrap."""
JUMPS = 1e-3
"""Share of neighbours above which there are wraps; of magnitudes and fields, 4e-4 at the most were seen."""


N_BINS, COMMON = 50, 0.2
"""Parts of the range, and the share of the voxels from which on such a part is background or flat tissue, no phase."""


def is_wrapped(values: Tensor) -> bool:
    """Whether neighbours of (..., x, y, z) jump by nearly the whole range, as they do at a wrap and nowhere else.

    Pairs of which one is not finite, or zero as outside a mask, do not count, and a jump to or from the commonest
    numbers, as those of a magnitude's background are, is none.
    """
    finite = torch.isfinite(values)
    seen = values[finite].float()
    low, high = (float(seen.amin()), float(seen.amax())) if seen.numel() else (0.0, 0.0)
    if low == high:
        return False
    part = ((values.nan_to_num(low, high, low) - low) * (N_BINS / (high - low))).long().clamp_(0, N_BINS - 1)
    common = part[finite].bincount(minlength=N_BINS) > COMMON * seen.numel()
    there, rare = finite & (values != 0), ~common[part]
    n_jumps = n_pairs = 0
    for axis in range(max(0, values.ndim - 3), values.ndim):
        n = values.shape[axis] - 1

        def pairs(x: Tensor, axis: int = axis, n: int = n) -> Tensor:
            return x.narrow(axis, 1, n) & x.narrow(axis, 0, n)

        step = (values.narrow(axis, 1, n) - values.narrow(axis, 0, n)).abs()
        n_pairs += int(pairs(there).sum())
        n_jumps += int((pairs(there & rare) & (step > WHOLE * (high - low))).sum())
    return n_jumps > JUMPS * n_pairs
