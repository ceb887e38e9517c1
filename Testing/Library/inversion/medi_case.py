"""A small head for the tests of MEDI."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import DipoleOp

OBLIQUE = (0.2, 0.5, 0.8)
RAD_PER_PPM = 2 * math.pi * GYROMAGNETIC_RATIO * 3.0 * 0.005
"""At 3 T over an echo spacing of 5 ms."""


def ball(grid: Grid, radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Inside a sphere about the grid's centre [mm], bool."""
    shape = zip(grid.shape, grid.voxel_size, centre, strict=True)
    axes = [(torch.arange(n) - (n - 1) / 2) * v - c for n, v, c in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x**2 + y**2 + z**2) < radius**2


def head(grid: Grid | None = None, noise: float = 0.001) -> tuple[LocalField, Tensor]:
    """Two bodies in a ball, visible in the magnitude: the field with every input of MEDI, and the true map."""
    grid = grid or Grid((24, 26, 22), (1.0, 1.0, 1.2), user_b0_direction=OBLIQUE)
    generator = torch.Generator().manual_seed(0)
    mask, iron, fluid = ball(grid, 10.0), ball(grid, 3.0, (3.0, 1.0, 0.0)), ball(grid, 3.0, (-4.0, -1.0, 2.0))
    chi = 0.2 * iron - 0.05 * fluid
    spread = noise * (1.0 + ball(grid, 4.0, (0.0, 5.0, 0.0)).float())
    values = DipoleOp(grid)(chi) + spread * torch.randn(grid.shape, generator=generator)
    magnitude = 1.0 - 0.4 * iron + 0.5 * fluid + 0.02 * torch.randn(grid.shape, generator=generator)
    field = LocalField(
        torch.where(mask, values, 0.0), mask, grid, magnitude=magnitude, noise=spread, echo_spacing=0.005, b0=3.0
    )
    return field, chi


def relative_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
