"""Resampling of scalar volumes between grids; never of wrapped phase."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.grid import Grid


def aligned_grid(grid: Grid, voxel_size: float = 1.0) -> Grid:
    """An isotropic grid around the same centre whose z axis is B0 and that holds all of `grid`.

    Parameters
    ----------
    grid : Grid
        The grid to be held.
    voxel_size : float
        Edge of the voxels [mm].
    """
    b = grid.matrix @ grid.b0_direction
    x = grid.matrix[:, 0] - (grid.matrix[:, 0] @ b) * b
    if np.linalg.norm(x) < 1e-3:
        x = grid.matrix[:, 1] - (grid.matrix[:, 1] @ b) * b
    x = x / np.linalg.norm(x)
    axes = np.stack([x, np.cross(b, x), b], axis=1)
    extent = axes.T @ (grid.corners() - grid.corners().mean(0)).T
    shape = [int(np.ceil(2.0 * e / voxel_size - 1e-6)) + 1 for e in np.abs(extent).max(1)]
    first = grid.corners().mean(0) - axes @ (0.5 * voxel_size * (np.array(shape) - 1))
    return Grid(
        (shape[0], shape[1], shape[2]),
        (voxel_size, voxel_size, voxel_size),
        tuple(axes.ravel().tolist()),
        (float(first[0]), float(first[1]), float(first[2])),
        (0.0, 0.0, 1.0),
    )


def resample(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Cubic B-spline interpolation at the voxels of another grid (scipy.ndimage, on the processor), zero beyond.

    For a target much coarser than the source, apply `band_limit` first.

    Parameters
    ----------
    values : Tensor
        Any unit, on any device: (x, y, z).
    source : Grid
        The grid of the values.
    target : Grid
        The grid to interpolate on.

    Returns
    -------
    Tensor
        Same unit and device, float32: (x, y, z).
    """
    transform = source.matrix.T @ target.matrix * target.voxel_size / np.asarray(source.voxel_size)[:, None]
    first = source.matrix.T @ (np.asarray(target.origin) - source.origin) / source.voxel_size
    # Rounding must not push voxels of the first or last plane beyond it, where there is nothing.
    transform, first = np.round(transform, 9), np.round(first, 6)
    resampled = ndimage.affine_transform(
        values.float().cpu().numpy(), transform, first, output_shape=target.shape, order=3, mode="constant", cval=0.0
    )
    return torch.from_numpy(resampled).to(values.device)
