"""A grid of twice the resolution: to it, from it, and the field on it without doubling it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import DipoleOp, simulate_field


def refined_grid(grid: Grid, factor: int = 2) -> Grid:
    """The grid of the same extent whose voxels are `factor` times smaller."""
    shift = [0.5 / factor - 0.5] * 3
    x, y, z = (n * factor for n in grid.shape)
    dx, dy, dz = (v / factor for v in grid.voxel_size)
    return replace(grid, shape=(x, y, z), voxel_size=(dx, dy, dz), origin=grid.point(shift))


def upsample_linear(x: Tensor, factor: int = 2) -> Tensor:
    """Trilinear values of (x, y, z) on the refined grid; for tissues, which have edges."""
    return interpolate(x[None, None], scale_factor=factor, mode="trilinear", align_corners=False)[0, 0]


def block_mean(x: Tensor, block: tuple[int, int, int]) -> Tensor:
    """Means over blocks of voxels, real or complex: (x, y, z) to (x, y, z) / `block`."""
    if x.is_complex():
        return torch.complex(block_mean(x.real.contiguous(), block), block_mean(x.imag.contiguous(), block))
    return avg_pool3d(x[None, None], block)[0, 0]


def upsample_spline(x: Tensor, factor: int = 2) -> Tensor:
    """Cubic B-spline interpolation of (x, y, z) on the refined grid; for fields, which are smooth."""
    for axis in range(3):
        matrix = _spline(x.shape[axis], factor).to(x)
        x = torch.tensordot(matrix, x.movedim(axis, 0), dims=1).movedim(0, axis)
    return x.contiguous()


def _spline(n: int, factor: int) -> Tensor:
    """The matrix (n·factor, n) of spline interpolation of a line, its coefficients mirrored at the faces."""

    def weights(position: Tensor) -> Tensor:
        distance = (position[:, None] - torch.arange(-2, n + 2, dtype=torch.float64)).abs()
        inner = 2.0 / 3.0 - distance.square() * (1.0 - 0.5 * distance)
        all_of_them = torch.where(distance < 1.0, inner, (2.0 - distance).clamp_min(0.0) ** 3 / 6.0)
        out = all_of_them[:, 2 : n + 2].clone()
        for beyond, mirror in ((0, 1), (1, 0)):  # −2 and −1; n + 1 and n likewise
            out[:, mirror] += all_of_them[:, beyond]
            out[:, n - 1 - mirror] += all_of_them[:, n + 3 - beyond]
        return out

    fine = (torch.arange(n * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    return weights(fine) @ torch.linalg.inv(weights(torch.arange(n, dtype=torch.float64)))


def free_space_field(chi: Tensor, grid: Grid, factor: int = 4) -> Tensor:
    """Relative field shift [ppm] of a map [ppm] in empty space without doubling its grid: (x, y, z) to the same.

    The periodic field on the grid as it is, plus what a doubled grid of voxels `factor` times as large says that the
    periodic copies of the source have added to it. That part comes from sources outside the grid: it is smooth, and
    a coarse grid and a spline hold it. The map has to be empty near the grid's faces, by about two coarse voxels.
    """
    coarse = replace(
        refined_grid(grid, 1),
        shape=tuple(n // factor for n in grid.shape),  # type: ignore[arg-type]
        voxel_size=tuple(v * factor for v in grid.voxel_size),  # type: ignore[arg-type]
    )
    small = block_mean(chi, (factor, factor, factor))
    copies = simulate_field(small, coarse) - DipoleOp(coarse, chi.device)(small)
    return DipoleOp(grid, chi.device)(chi).add_(upsample_spline(copies, factor))
