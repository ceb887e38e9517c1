"""Both kinds of gradient: exact on ramps and waves, adjoint, in mm, and different only at the last voxel."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.gradient import EDGES, Gradient

GRIDS = [Grid((5, 4, 6)), Grid((7, 2, 3), (0.5, 2.0, 1.3))]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("edge", EDGES)
def test_forward_and_adjoint_belong_together(require_adjoint: Callable[..., None], grid: Grid, edge: str) -> None:
    gradient = Gradient(grid, edge)
    require_adjoint(gradient.forward, gradient.adjoint, grid.shape, (3, *grid.shape))


@pytest.mark.parametrize("edge", EDGES)
def test_a_ramp_has_its_slope_in_ppm_per_mm_but_at_the_last_voxel(edge: str) -> None:
    grid = Grid((6, 5, 4), (0.5, 2.0, 1.25))
    slopes, axes = (0.3, -0.7, 1.1), [torch.arange(n).float() * v for n, v in zip((6, 5, 4), (0.5, 2.0, 1.25))]  # noqa: B905
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    found = Gradient(grid, edge).forward(slopes[0] * x + slopes[1] * y + slopes[2] * z)
    for axis, slope in enumerate(slopes):
        n, voxel = grid.shape[axis], grid.voxel_size[axis]
        inner, last = found[axis].narrow(axis, 0, n - 1), found[axis].narrow(axis, n - 1, 1)
        torch.testing.assert_close(inner, torch.full_like(inner, slope), atol=1e-6, rtol=1e-5)
        expected = 0.0 if edge == "zero" else -slope * (n - 1)
        torch.testing.assert_close(last, torch.full_like(last, expected), atol=1e-5, rtol=1e-5)
        assert voxel > 0.0


def test_the_periodic_kind_has_waves_as_eigenvectors() -> None:
    """∇ᵀ∇ of cos(2πkx) is (2 − 2 cos(2πk v))/v² times it, a published property of circulant differences."""
    grid, k = Grid((12, 4, 5), (0.8, 1.0, 1.0)), 3 / (12 * 0.8)
    wave = torch.cos(2 * math.pi * k * 0.8 * torch.arange(12.0)).view(-1, 1, 1).expand(grid.shape).contiguous()
    gradient = Gradient(grid, "periodic")
    value = (2 - 2 * math.cos(2 * math.pi * k * 0.8)) / 0.8**2
    torch.testing.assert_close(gradient.adjoint(gradient.forward(wave)), value * wave, atol=1e-5, rtol=1e-5)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match=r"edge is 'mirrored'; expected one of periodic, zero\."):
        Gradient(GRIDS[0], "mirrored")
