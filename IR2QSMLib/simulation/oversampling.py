"""Grids of twice the resolution: to them, back from them, and the field on them without doubling them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import DipoleOp, simulate_field


def refined_grid(grid: Grid, factor: int = 2) -> Grid:
    """The grid of the same extent whose voxels are `factor` times smaller along each axis."""
    shift = [0.5 / factor - 0.5] * 3
    x, y, z = (n * factor for n in grid.shape)
    dx, dy, dz = (v / factor for v in grid.voxel_size)
    return replace(grid, shape=(x, y, z), voxel_size=(dx, dy, dz), origin=grid.point(shift))


def upsample_linear(x: Tensor, factor: int = 2) -> Tensor:
    """Trilinear interpolation of (x, y, z) on the refined grid; for tissues, which have edges."""
    return interpolate(x[None, None], scale_factor=factor, mode="trilinear", align_corners=False)[0, 0]


def block_mean(x: Tensor, block: tuple[int, int, int]) -> Tensor:
    """Means over blocks of voxels, real or complex: (x, y, z) to (x, y, z) / `block`."""
    if x.is_complex():
        return torch.complex(block_mean(x.real.contiguous(), block), block_mean(x.imag.contiguous(), block))
    return avg_pool3d(x[None, None], block)[0, 0]


def upsample_spline(x: Tensor, factor: int = 2) -> Tensor:
    """Cubic B-spline interpolation of (x, y, z) on the refined grid; for fields, which are smooth."""
    for axis in range(3):
        matrix = _spline_matrix(x.shape[axis], factor).to(x)
        x = torch.tensordot(matrix, x.movedim(axis, 0), dims=1).movedim(0, axis)
    return x.contiguous()


def _spline_matrix(n: int, factor: int) -> Tensor:
    """Matrix (n·factor, n) that interpolates a line of n samples; coefficients are mirrored at both ends."""

    def basis(position: Tensor) -> Tensor:
        distance = (position[:, None] - torch.arange(-2, n + 2, dtype=torch.float64)).abs()
        near = 2.0 / 3.0 - distance.square() * (1.0 - 0.5 * distance)
        values = torch.where(distance < 1.0, near, (2.0 - distance).clamp_min(0.0) ** 3 / 6.0)
        mirrored = values[:, 2 : n + 2].clone()
        for column, mirror in ((0, 1), (1, 0)):  # the two knots before the first sample, and after the last
            mirrored[:, mirror] += values[:, column]
            mirrored[:, n - 1 - mirror] += values[:, n + 3 - column]
        return mirrored

    fine_positions = (torch.arange(n * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    return basis(fine_positions) @ torch.linalg.inv(basis(torch.arange(n, dtype=torch.float64)))


def free_space_field(chi: Tensor, grid: Grid, factor: int = 4) -> Tensor:
    """Relative field shift of a susceptibility map in empty space, without a doubled grid.

    The field on the periodic grid, minus that of the map's periodic copies. The copies lie outside the grid, so that
    their field is smooth in it: a doubled grid of coarse voxels and a spline hold it.

    Parameters
    ----------
    chi
        χ [ppm], zero within about two coarse voxels of the grid's faces: (x, y, z).
    grid
        Its shape is a multiple of `factor`.
    factor
        Size of a coarse voxel [voxels].

    Returns
    -------
    Tensor
        [ppm]: (x, y, z).
    """
    coarse = replace(
        refined_grid(grid, 1),
        shape=tuple(n // factor for n in grid.shape),  # type: ignore[arg-type]
        voxel_size=tuple(v * factor for v in grid.voxel_size),  # type: ignore[arg-type]
    )
    coarse_chi = block_mean(chi, (factor, factor, factor))
    minus_copies = simulate_field(coarse_chi, coarse) - DipoleOp(coarse, chi.device)(coarse_chi)
    return DipoleOp(grid, chi.device)(chi).add_(upsample_spline(minus_copies, factor))
