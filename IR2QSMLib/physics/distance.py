"""Distances in mm from a region."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid


def distance_from(region: Tensor, grid: Grid, limit: float) -> Tensor:
    """Distance [mm] of every voxel from the nearest one of a bool region, exact up to `limit` and infinite beyond.

    Both (x, y, z). Squared distances are minimised axis by axis (Felzenszwalb 2012, doi 10.4086/toc.2012.v008a019).
    Raises ParameterInvalid when the region is not bool or its shape is not the grid's.
    """
    if region.dtype != torch.bool or tuple(region.shape) != grid.shape:
        raise ParameterInvalid(
            f"The region is {region.dtype} of shape {tuple(region.shape)}; expected bool of the grid's {grid.shape}."
        )
    square = torch.where(region, 0.0, math.inf)
    for axis, size in enumerate(grid.voxel_size):
        best, n = square.clone(), square.shape[axis]
        for step in range(1, min(int(limit / size + 1e-6), n - 1) + 1):
            ahead, behind = (square.narrow(axis, begin, n - step) + (step * size) ** 2 for begin in (step, 0))
            best.narrow(axis, 0, n - step).copy_(torch.minimum(best.narrow(axis, 0, n - step), ahead))
            best.narrow(axis, step, n - step).copy_(torch.minimum(best.narrow(axis, step, n - step), behind))
        square = best
    return torch.where(square <= limit**2 * (1.0 + 1e-6), square.sqrt(), math.inf)
