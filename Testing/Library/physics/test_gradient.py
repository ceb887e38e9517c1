"""The gradient with both boundaries: exact on ramps and waves, adjoint, in ppm/mm, and block by block."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics import gradient as gradient_module
from IR2QSMLib.physics.gradient import BOUNDARIES, Gradient

GRIDS = [Grid((5, 4, 6)), Grid((7, 2, 3), (0.5, 2.0, 1.3))]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_forward_and_adjoint_are_adjoint(require_adjoint: Callable[..., None], grid: Grid, boundary: str) -> None:
    gradient = Gradient(grid, boundary)
    require_adjoint(gradient.forward, gradient.adjoint, grid.shape, (3, *grid.shape))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_ramp_has_its_slope_in_ppm_per_mm_but_at_the_last_voxel(boundary: str) -> None:
    grid = Grid((6, 5, 4), (0.5, 2.0, 1.25))
    slopes = (0.3, -0.7, 1.1)
    axes = [torch.arange(n).float() * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    gradient = Gradient(grid, boundary).forward(slopes[0] * x + slopes[1] * y + slopes[2] * z)
    for axis, slope in enumerate(slopes):
        n = grid.shape[axis]
        inner, last = gradient[axis].narrow(axis, 0, n - 1), gradient[axis].narrow(axis, n - 1, 1)
        torch.testing.assert_close(inner, torch.full_like(inner, slope), atol=1e-6, rtol=1e-5)
        expected = 0.0 if boundary == "zero" else -slope * (n - 1)
        torch.testing.assert_close(last, torch.full_like(last, expected), atol=1e-5, rtol=1e-5)


def test_the_periodic_gradient_has_waves_as_eigenvectors() -> None:
    """∇ᵀ∇ of cos(2πkx) is (2 − 2 cos(2πk v))/v² times it, a published property of circulant differences."""
    grid, k = Grid((12, 4, 5), (0.8, 1.0, 1.0)), 3 / (12 * 0.8)
    wave = torch.cos(2 * math.pi * k * 0.8 * torch.arange(12.0)).view(-1, 1, 1).expand(grid.shape).contiguous()
    gradient = Gradient(grid, "periodic")
    value = (2 - 2 * math.cos(2 * math.pi * k * 0.8)) / 0.8**2
    torch.testing.assert_close(gradient.adjoint(gradient.forward(wave)), value * wave, atol=1e-5, rtol=1e-5)


def test_an_unknown_boundary_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match=r"boundary is 'mirrored'; expected one of periodic, zero\."):
        Gradient(GRIDS[0], "mirrored")


@pytest.mark.parametrize("grid", [Grid((9, 4, 6)), Grid((7, 2, 3), (0.5, 2.0, 1.3))])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_differences_and_their_adjoint_block_by_block_are_those_of_the_volume(
    monkeypatch: pytest.MonkeyPatch, grid: Grid, boundary: str
) -> None:
    operator, x = Gradient(grid, boundary), torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    y = torch.randn((3, *grid.shape), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(gradient_module, "BLOCK_SIZE", 2 * math.prod(grid.shape[1:]))
    blocks = operator.blocks(x)
    assert len(blocks) > 2
    forward, adjoint = torch.empty_like(y), torch.zeros_like(x)
    for block in blocks:
        for axis, voxel in enumerate(grid.voxel_size):
            operator.difference(x, axis, forward[axis][block], block).div_(voxel)
            operator.add_adjoint(y[axis][block].clone(), axis, 1.0 / voxel, adjoint, block)
    assert torch.equal(forward, operator.forward(x))
    torch.testing.assert_close(adjoint, operator.adjoint(y), atol=1e-6, rtol=1e-5)
