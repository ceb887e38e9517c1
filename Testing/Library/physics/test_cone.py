"""The cone index, coherence, gain and shares against maps whose power in k-space is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, GridMismatch, MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.cone import (
    BANDS,
    DIRECTION_BANDS,
    FREQUENCY_BANDS,
    cone_agreement,
    cone_index,
    discrepancy_shares,
)
from IR2QSMLib.physics.dipole import DipoleOp, dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft

GRID = Grid((96, 88, 80), (1.25, 1.25, 1.25), user_b0_direction=(0.0, 0.6, 0.8))
EVERYWHERE = torch.ones(GRID.shape, dtype=torch.bool)


def noise(seed: int, grid: Grid = GRID) -> Tensor:
    return torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))


def in_cone(x: Tensor, factor: float, grid: Grid = GRID) -> Tensor:
    """The map times a factor where |D| < 0.1."""
    scale = torch.where(dipole_kernel(grid).abs() < 0.1, factor, 1.0)
    return ifft(scale * fft(x), grid.shape)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.0])
def test_the_index_is_the_power_in_the_cone_over_that_outside(factor: float) -> None:
    for value in cone_index(in_cone(noise(0), factor), EVERYWHERE, GRID):
        assert value == pytest.approx(factor**2, rel=0.4, abs=1e-9)  # a hundred frequencies at least


def test_the_index_is_the_mean_over_every_frequency_of_the_full_spectrum() -> None:
    x = in_cone(noise(1), 1.5)
    power = torch.fft.fftn(x.double()).abs().square()
    lines = [torch.fft.fftfreq(n, 1.25, dtype=torch.float64) for n in GRID.shape]
    k = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    size = k.square().sum(0).sqrt()
    along = k[1] * 0.6 + k[2] * 0.8
    d = (1.0 / 3.0 - along.square() / size.square().clamp_min(1e-30)).abs()
    for (low, high), index_value in zip(BANDS, cone_index(x, EVERYWHERE, GRID), strict=True):
        band = (size >= low) & (size < high)
        expected = power[band & (d < 0.1)].mean() / power[band & (d > 0.2)].mean()
        assert index_value == pytest.approx(float(expected), rel=1e-4)


def test_a_ball_has_an_index_of_one_whatever_the_direction_of_b0() -> None:
    grid = Grid((96, 96, 96), (1.25, 1.25, 1.25), user_b0_direction=(0.3, -0.5, 0.8))
    axis = torch.arange(96.0) - 47.3
    r = (axis.view(-1, 1, 1) ** 2 + axis.view(-1, 1) ** 2 + axis**2).sqrt()
    index = cone_index(0.1 * torch.sigmoid(2.0 * (12.0 - r)), r < 40.0, grid)
    assert index == pytest.approx((1.0,) * 4, abs=0.1)


def test_what_lies_outside_the_mask_and_the_scale_do_not_count() -> None:
    mask = torch.zeros_like(EVERYWHERE)
    mask[10:80, 12:70, 8:72] = True
    x = noise(2)
    spoilt = torch.where(mask, x, math.nan)
    assert cone_index(spoilt, mask, GRID) == cone_index(torch.where(mask, x, 0.0), mask, GRID)
    assert cone_index(3.0 * x, mask, GRID) == pytest.approx(cone_index(x, mask, GRID), rel=1e-5)


def test_bands_beyond_the_grid_have_no_index() -> None:
    thick = Grid((128, 128, 40), (1.0, 1.0, 3.0))  # 1/6 cycles/mm along z
    index = cone_index(noise(3, thick), torch.ones(thick.shape, dtype=torch.bool), thick)
    assert [value is None for value in index] == [False, False, True, True]
    small = Grid((24, 24, 24), (1.0, 1.0, 1.0))
    assert cone_index(noise(4, small), torch.ones(small.shape, dtype=torch.bool), small)[:2] == (None, None)
    assert cone_index(torch.zeros(GRID.shape), EVERYWHERE, GRID) == (None,) * 4


def test_coherence_and_gain_are_those_of_a_scaled_and_a_noisy_map() -> None:
    truth, other = noise(5), noise(6)
    assert cone_agreement(0.4 * truth, truth, EVERYWHERE, GRID) == pytest.approx((1.0, 0.4), rel=1e-5)
    assert cone_agreement(in_cone(truth, 0.0), truth, EVERYWHERE, GRID).gain == pytest.approx(0.0, abs=1e-6)
    coherence, gain = cone_agreement(truth + other, truth, EVERYWHERE, GRID)
    assert coherence == pytest.approx(math.sqrt(0.5), abs=0.1) and gain == pytest.approx(1.0, abs=0.15)
    assert coherence == pytest.approx(cone_agreement(truth, truth + other, EVERYWHERE, GRID).coherence)
    assert math.isnan(cone_agreement(truth, 0.0 * truth, EVERYWHERE, GRID).gain)


def test_the_share_of_noise_as_white_as_the_field_is_the_same_everywhere() -> None:
    n = 0.5 * noise(7)
    shares = discrepancy_shares(noise(8) * math.sqrt(0.75) + n, n, EVERYWHERE, GRID)
    assert shares.total == pytest.approx(0.25, abs=0.01)
    assert shares.by_frequency == pytest.approx((0.25,) * len(FREQUENCY_BANDS), abs=0.06)
    assert shares.by_direction == pytest.approx((0.25,) * len(DIRECTION_BANDS), abs=0.02)


def test_near_the_cone_a_field_is_all_noise() -> None:
    n = 0.05 * noise(9)
    by_direction = discrepancy_shares(DipoleOp(GRID)(noise(10)) + n, n, EVERYWHERE, GRID).by_direction
    for (low, high), share in zip(DIRECTION_BANDS, by_direction, strict=True):
        # Of |D|² evenly spread over the band, and of noise.
        d2 = dipole_kernel(GRID).abs()
        d2 = d2[(d2 >= low) & (d2 < high)].square().mean()
        assert share == pytest.approx(float(0.0025 / (0.0025 + d2)), abs=0.02)


def test_other_grids_empty_masks_and_holes_are_refused() -> None:
    x = noise(11)
    with pytest.raises(GridMismatch, match=r"The map has shape \(96, 88, 80\), the mask \(96, 88, 80\) and the grid"):
        cone_index(x, EVERYWHERE, Grid((8, 8, 8)))
    with pytest.raises(MaskInvalid, match="The mask of the map is empty"):
        cone_agreement(x, x, ~EVERYWHERE, GRID)
    with pytest.raises(FieldInvalid, match="The discrepancy is not finite inside the mask"):
        discrepancy_shares(x, x / 0.0, EVERYWHERE, GRID)
