"""Distances in mm from a region."""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid


def distance_from(region: Tensor, grid: Grid, limit: float) -> Tensor:
    """Euclidean distance of every voxel from the nearest one of a region, infinite beyond a limit (scipy.ndimage).

    Parameters
    ----------
    region : Tensor
        Bool: (x, y, z).
    grid : Grid
        Its shape and voxel sizes.
    limit : float
        Largest distance that is wanted [mm].

    Returns
    -------
    Tensor
        Distance between voxel centres [mm], 0 in the region, float32: (x, y, z).

    Raises
    ------
    ParameterInvalid
        When the region is not bool or its shape is not the grid's.
    """
    if region.dtype != torch.bool or tuple(region.shape) != grid.shape:
        raise ParameterInvalid(
            f"The region is {region.dtype} of shape {tuple(region.shape)}; expected bool of the grid's {grid.shape}."
        )
    if not bool(region.any()):
        return torch.full(grid.shape, math.inf, device=region.device)
    distance = ndimage.distance_transform_edt(~region.cpu().numpy(), sampling=grid.voxel_size)
    distance[distance > limit * (1.0 + 1e-6)] = math.inf
    return torch.from_numpy(distance).float().to(region.device)


def depth_inside(mask: Tensor, grid: Grid) -> Tensor:
    """Distance of every voxel of a mask from the nearest one outside it; beyond the grid is outside, too.

    Parameters
    ----------
    mask : Tensor
        Bool: (x, y, z).
    grid : Grid
        Its shape and voxel sizes.

    Returns
    -------
    Tensor
        Distance between voxel centres [mm], 0 outside the mask, float32: (x, y, z).

    Raises
    ------
    ParameterInvalid
        As `distance_from`.
    """
    outside = torch.nn.functional.pad(~mask, [1] * 6, value=True)
    padded_grid = grid.cropped((-1, -1, -1), tuple(outside.shape))
    return distance_from(outside, padded_grid, math.inf)[1:-1, 1:-1, 1:-1]
