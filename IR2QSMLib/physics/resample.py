"""Resampling of scalar volumes between grids; never of wrapped phase."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.grid import Grid


def aligned_grid(grid: Grid, voxel: float = 1.0) -> Grid:
    """An isotropic grid of `voxel` [mm] around the same centre whose z axis is B0 and that holds all of `grid`."""
    b = grid.matrix @ grid.b0_direction
    x = grid.matrix[:, 0] - (grid.matrix[:, 0] @ b) * b
    if np.linalg.norm(x) < 1e-3:
        x = grid.matrix[:, 1] - (grid.matrix[:, 1] @ b) * b
    x = x / np.linalg.norm(x)
    axes = np.stack([x, np.cross(b, x), b], axis=1)
    extent = axes.T @ (grid.corners() - grid.corners().mean(0)).T
    shape = [int(np.ceil(2.0 * e / voxel - 1e-6)) + 1 for e in np.abs(extent).max(1)]
    first = grid.corners().mean(0) - axes @ (0.5 * voxel * (np.array(shape) - 1))
    return Grid(
        (shape[0], shape[1], shape[2]),
        (voxel, voxel, voxel),
        tuple(axes.ravel().tolist()),
        (float(first[0]), float(first[1]), float(first[2])),
        (0.0, 0.0, 1.0),
    )


def resample(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Cubic convolution (Keys 1981, doi 10.1109/TASSP.1981.1163711) of (x, y, z) on `source` at `target`'s voxels.

    Zero beyond the source. A target much coarser than the source is not filtered.
    """
    device = values.device
    turn = source.matrix.T @ target.matrix * target.voxel_size / np.asarray(source.voxel_size)[:, None]
    first = source.matrix.T @ (np.asarray(target.origin) - source.origin) / source.voxel_size
    affine = torch.tensor(turn, dtype=torch.float32, device=device)
    shift = torch.tensor(first, dtype=torch.float32, device=device)
    limit = torch.tensor(source.shape, device=device)
    flat = values.reshape(-1)
    out = torch.empty(target.shape, dtype=values.dtype, device=device)
    plane = torch.cartesian_prod(
        torch.arange(target.shape[1], device=device), torch.arange(target.shape[2], device=device)
    ).float()
    for i in range(target.shape[0]):
        index = plane @ affine[:, 1:].T + (affine[:, 0] * i + shift)        # (y·z, 3)
        low = index.floor()
        weights = _cubic(index - low)                                       # (4, y·z, 3)
        low = low.long()
        total = torch.zeros(len(plane), dtype=values.dtype, device=device)
        for a in range(4):
            for b in range(4):
                for c in range(4):
                    voxel = low + torch.tensor([a - 1, b - 1, c - 1], device=device)
                    inside = ((voxel >= 0) & (voxel < limit)).all(1)
                    where = (voxel[:, 0] * source.shape[1] + voxel[:, 1]) * source.shape[2] + voxel[:, 2]
                    weight = weights[a, :, 0] * weights[b, :, 1] * weights[c, :, 2] * inside
                    total += weight * flat[torch.where(inside, where, 0)]
        out[i] = total.view(target.shape[1:])
    return out


def _cubic(t: Tensor) -> Tensor:
    """Weights of the four neighbours of a fraction t in [0, 1)."""
    return torch.stack(
        [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ]
    )
