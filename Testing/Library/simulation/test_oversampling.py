"""Oversampling: extent, means and interpolation, and the field without a doubled grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import DipoleOp, simulate_field
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation.oversampling import (
    block_mean,
    free_space_field,
    refined_grid,
    upsample_linear,
    upsample_spline,
)


def test_a_refined_grid_fills_the_same_extent() -> None:
    grid = Grid((4, 6, 8), (2.0, 3.0, 1.0), origin=(5.0, -7.0, 1.0))
    fine = refined_grid(grid, 2)
    assert fine.shape == (8, 12, 16) and fine.voxel_size == (1.0, 1.5, 0.5)
    for index in ((-0.5, -0.5, -0.5), (3.5, 5.5, 7.5)):  # outer corners of voxels
        fine_index = [2 * i + 0.5 for i in index]
        np.testing.assert_allclose(fine.point(fine_index), grid.point(index), atol=1e-9)


def test_blocks_are_averaged_as_complex_numbers() -> None:
    phase = torch.tensor([0.0, math.pi, 0.5, 0.5]).view(4, 1, 1)
    out = block_mean(torch.polar(torch.ones(4, 1, 1), phase), (2, 1, 1)).flatten()
    assert abs(complex(out[0])) < 1e-6  # opposite phases cancel
    assert complex(out[1]) == pytest.approx(complex(math.cos(0.5), math.sin(0.5)), abs=1e-6)


def test_upsampling_and_averaging_keep_a_ramp() -> None:
    x = torch.arange(10.0).view(10, 1, 1).expand(10, 6, 4).contiguous()
    for upsample in (upsample_linear, upsample_spline):
        assert torch.allclose(block_mean(upsample(x), (2, 2, 2))[2:-2], x[2:-2], atol=0.02)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_spline_interpolates_a_smooth_field_better_than_a_line(factor: int) -> None:
    n = 24
    axis = (torch.arange(n) + 0.5) / n
    fine = (torch.arange(n * factor) + 0.5) / (n * factor)

    def wave(t: torch.Tensor) -> torch.Tensor:
        c = torch.cos(2.0 * math.pi * t)
        return c.view(-1, 1, 1) * c.view(1, -1, 1) + 0.3 * c.view(1, 1, -1)

    assert float((upsample_spline(wave(axis), factor) - wave(fine)).abs().max()) < 1e-3
    assert float((upsample_linear(wave(axis), factor) - wave(fine)).abs().max()) > 5e-3


@pytest.mark.parametrize(("b0", "bound"), [((0.0, 0.0, 1.0), 0.004), ((0.0, 0.5, 0.866), 0.02)])
def test_the_free_space_field_is_that_of_a_doubled_grid(b0: tuple[float, float, float], bound: float) -> None:
    grid = Grid((48, 56, 48), (0.5, 0.5, 0.5)).with_b0(b0)
    generator = torch.Generator().manual_seed(2)
    chi = torch.zeros(grid.shape)
    chi[8:-8, 8:-8, 8:-8] = 0.02 + 0.02 * torch.randn(32, 40, 32, generator=generator)
    chi[22:26, 26:30, 16:24] = 0.4
    chi = blur(chi, grid, 0.5)
    expected = simulate_field(chi, grid)
    inner = (slice(8, -8),) * 3

    def error(field: torch.Tensor) -> float:
        return float((field - expected)[inner].norm() / expected[inner].norm())

    assert error(free_space_field(chi, grid)) < bound
    assert error(DipoleOp(grid)(chi)) > 0.1  # what the periodic copies would add
