"""Smooth sources, their field and magnitude, for the tests of the learned inversion."""

from __future__ import annotations

from dataclasses import replace

import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import DipoleOp

GRID = Grid((24, 32, 16), (1.0, 1.0, 1.5), user_b0_direction=(0.0, 0.3, 0.9))


def truth(grid: Grid) -> torch.Tensor:
    """Smooth sources of both signs in the middle of the grid [ppm]."""
    axes = [torch.linspace(-1, 1, n).view([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(grid.shape)]
    x, y, z = axes
    inside = (x.square() + y.square() + z.square() < 0.7).float()
    chi = inside * (0.1 * torch.sin(5 * x + 1) * torch.cos(4 * y) + 0.05 * torch.sin(7 * z))
    return chi - inside * chi.sum() / inside.sum()


def simulated(grid: Grid = GRID, noise: float = 0.0) -> LocalField:
    """The field of `truth` with white noise of that standard deviation [ppm]."""
    chi = truth(grid)
    values = DipoleOp(grid)(chi) + noise * torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(torch.where(chi != 0, values, 0.0), chi != 0, grid)


def residual_norm(chi: torch.Tensor, field: LocalField) -> float:
    """Norm of what a map leaves of the field inside the mask."""
    return float((DipoleOp(field.grid)(chi) - field.values)[field.mask].norm())


def with_magnitude(field: LocalField) -> LocalField:
    """The field with a magnitude that shows the sources."""
    return replace(field, magnitude=torch.where(field.mask, 1.0 + 5.0 * truth(field.grid), 0.0))
