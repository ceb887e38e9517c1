"""Where a magnitude image has edges: a map may have edges there, too."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.physics.gradient import Gradient

EDGE_SHARE = 0.9
"""Edges, counted over the three axes, for each voxel of the mask."""


def magnitude_edges(magnitude: Tensor, mask: Tensor, gradient: Gradient) -> list[Tensor]:
    """M along each axis, 0 where the magnitude has an edge and else 1, as in Cornell's MEDI toolbox.

    A level starts at 1 % of the largest magnitude and moves by factors of 1.05 or 0.95 until the components of
    |∇(magnitude·mask)| above it number `EDGE_SHARE` of the mask's voxels.

    Parameters
    ----------
    magnitude : Tensor
        Any unit: (x, y, z).
    mask : Tensor
        Bool: (x, y, z).
    gradient : Gradient
        The gradient of the magnitude.

    Returns
    -------
    list of Tensor
        M along x, y and z: three (x, y, z).

    Raises
    ------
    FieldInvalid
        When the magnitude has too few edges or is not finite.
    """
    inside = torch.where(mask, magnitude.float(), 0.0)
    slopes = gradient.forward(inside).abs_()
    n_positive, n_edges = int((slopes > 0.0).sum()), EDGE_SHARE * int(mask.sum())
    level = 0.01 * float(magnitude.nan_to_num(0.0, 0.0, 0.0).max())
    if not (level > 0.0 and bool(inside.isfinite().all())) or n_positive <= n_edges:
        raise FieldInvalid(
            "The magnitude is empty, flat or not finite inside the mask; give the image of the echoes.",
            option="magnitude",
        )

    # More than n slopes are above the level while the (n + 1)th largest is: so no step needs a count.
    first_below, last_above = _largest(slopes, math.floor(n_edges) + 1), _largest(slopes, math.ceil(n_edges))
    if first_below > level:
        while first_below > level:
            level *= 1.05
    else:
        while last_above <= level:
            level *= 0.95
    return list((slopes <= level).float())


def _largest(slopes: Tensor, n: int) -> float:
    """The n-th largest."""
    rank = slopes.numel() - n
    return float(np.partition(slopes.cpu().numpy(), rank, axis=None)[rank])
