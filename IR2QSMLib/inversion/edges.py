"""Where a map has edges: seen in a magnitude, or in an estimate of the map itself."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.errors import FieldInvalid, MaskInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.physics.gradient import Gradient

EDGE_SHARE = 0.9
"""Edges, counted over the three axes, for each voxel of the mask."""
FINEST = 1.0
"""σ [mm] of the blur that an estimate is seen through: finer, noise and streaks pass for edges."""
RAMP = 0.5
"""Of the level from which on a difference of an estimate is an edge, the width over which it becomes one: at a sharp
level, rounding in the network, in half precision, would decide here and there."""


def magnitude_edges(magnitude: Tensor, mask: Tensor, gradient: Gradient) -> list[Tensor]:
    """M along each axis: 0 where the magnitude has an edge, else 1.

    A level starts at 1 % of the largest magnitude and moves by factors of 1.05 or 0.95 until the components of
    |∇(magnitude·mask)| above it number `EDGE_SHARE` of the mask's voxels. Raises FieldInvalid for a magnitude without
    enough of them.
    """
    inside = torch.where(mask, magnitude.float(), 0.0)
    slopes = gradient.forward(inside).abs_()
    n_positive, wanted = int((slopes > 0.0).sum()), EDGE_SHARE * int(mask.sum())
    level = 0.01 * float(magnitude.nan_to_num(0.0, 0.0, 0.0).max())
    if not (level > 0.0 and bool(inside.isfinite().all())) or n_positive <= wanted:
        raise FieldInvalid("The magnitude is empty, flat or not finite inside the mask; give the image of the echoes.")

    # More than n slopes are above the level while the (n + 1)th largest is: nothing need be counted at each step.
    above, at_least = _largest(slopes, math.floor(wanted) + 1), _largest(slopes, math.ceil(wanted))
    if above > level:
        while above > level:
            level *= 1.05
    else:
        while at_least <= level:
            level *= 0.95
    return list((slopes <= level).float())


def own_edges(chi: Tensor, mask: Tensor, grid: Grid) -> list[Tensor]:
    """M along each axis: 0 where an estimate of the map [ppm] has an edge, 1 where it has none: (x, y, z) each.

    As many as `magnitude_edges` finds: the mask's edge, where every map ends, and inside it the steepest differences of
    the blurred estimate, over a ramp; a map of zeros has none there. Raises MaskInvalid for an empty mask.
    """
    if not bool(mask.any()):
        raise MaskInvalid("The mask is empty; give one that marks the brain.")
    gradient = Gradient(grid, "periodic")
    seen = blur(torch.where(mask, chi, 0.0), grid, FINEST) / blur(mask.float(), grid, FINEST).clamp_min(1e-3)
    slopes = gradient.forward(seen).abs_()
    inside = gradient.forward(mask.float()) == 0.0
    slopes = torch.where(inside, slopes * mask, math.inf)
    level = _largest(slopes, math.ceil(EDGE_SHARE * int(mask.sum())))
    if not 0.0 < level < math.inf:              # a map with hardly a slope, or a thin mask, which is nearly all edge
        return list((slopes <= level).logical_and_(slopes.isfinite()).float())
    return list((0.5 + (level - slopes) / (RAMP * level)).clamp_(0.0, 1.0))


def _largest(slopes: Tensor, n: int) -> float:
    """The n-th largest."""
    rank = slopes.numel() - n
    return float(np.partition(slopes.cpu().numpy(), rank, axis=None)[rank])
