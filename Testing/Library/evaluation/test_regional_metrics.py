"""Regional scores: means of regions, moments of lesions, streaks, veins and coverage."""

from __future__ import annotations

import math

import pytest
import torch

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.evaluation.regional_metrics import (
    coverage,
    lesion_moment,
    lesion_streaks,
    regions,
    strong_slope,
    vein_ratio,
)
from IR2QSMLib.physics.distance import distance_from
from IR2QSMLib.physics.fourier import blur

GRID = Grid((40, 36, 32))
MASK = torch.ones(GRID.shape, dtype=torch.bool)


def ball(radius: float) -> torch.Tensor:
    point = torch.zeros(GRID.shape, dtype=torch.bool)
    point[20, 18, 16] = True
    return distance_from(point, GRID, radius) <= radius


def test_blurring_keeps_a_lesions_moment_and_clipping_does_not() -> None:
    lesion = ball(3.0)
    truth = torch.where(lesion, 0.6, 0.01)
    assert lesion_moment(truth, truth, lesion, MASK) == pytest.approx(100.0)
    assert lesion_moment(truth + 0.05, truth, lesion, MASK) == pytest.approx(100.0, abs=0.01)  # no zero to χ
    assert lesion_moment(blur(truth, GRID, 0.8), truth, lesion, MASK) == pytest.approx(100.0, abs=1.5)
    assert lesion_moment(truth.clamp(max=0.3), truth, lesion, MASK) == pytest.approx(49.2, abs=0.3)
    assert math.isnan(lesion_moment(truth, truth, torch.zeros_like(lesion), MASK))


def test_streaks_are_the_spread_of_the_error_around_the_lesion() -> None:
    lesion = ball(2.0)
    truth = torch.where(lesion, 0.6, 0.0)
    inside_only = truth + torch.where(lesion, 0.1, 0.0)
    assert lesion_streaks(inside_only, truth, lesion, MASK, GRID) == pytest.approx(0.0, abs=1e-7)
    stripes = truth + 0.02 * torch.where(torch.arange(40) % 2 == 0, 1.0, -1.0).view(-1, 1, 1)
    assert lesion_streaks(stripes, truth, lesion, MASK, GRID) == pytest.approx(0.02, rel=0.01)
    far = truth.clone()
    far[:3] += 0.5  # more than 12 mm away
    assert lesion_streaks(far, truth, lesion, MASK, GRID) == pytest.approx(0.0, abs=1e-7)
    assert math.isnan(lesion_streaks(far, truth, torch.zeros_like(lesion), MASK, GRID))


def test_veins_are_compared_in_voxels_that_are_mostly_vein() -> None:
    share = torch.zeros(GRID.shape)
    share[10, 10], share[12, 12] = 0.9, 0.3
    truth = 0.35 * share
    assert vein_ratio(0.8 * truth, truth, share, MASK) == pytest.approx(0.8)
    other = 0.8 * truth
    other[12, 12] = 5.0  # a share of 0.3 does not count
    assert vein_ratio(other, truth, share, MASK) == pytest.approx(0.8)
    assert math.isnan(vein_ratio(truth, truth, torch.zeros_like(share), MASK))


def test_the_regions_are_the_nuclei_the_veins_and_the_rim() -> None:
    grid = Grid((30, 30, 30), (2.0, 2.0, 2.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[5:25, 5:25, 5:25] = True
    labels = torch.zeros(grid.shape, dtype=torch.int16)
    labels[3:8, 10, 10] = 4
    share = torch.zeros(grid.shape)
    share[15, 15] = 0.6
    masks = regions(mask, labels, share, grid)
    assert set(masks) == {"all", "nuclei", "edge", "veins"}
    assert int(masks["nuclei"].sum()) == 3 and int(masks["veins"].sum()) == 20
    assert int(masks["edge"].sum()) == 20**3 - 16**3  # two voxels of 2 mm on every side
    assert "veins" not in regions(mask, labels, None, grid)
    assert bool(regions(MASK, torch.zeros(GRID.shape), None, GRID)["edge"][0].all())  # the volume ends there


def test_normal_errors_have_their_coverage() -> None:
    generator = torch.Generator().manual_seed(1)
    sigma = 0.01 + 0.05 * torch.rand(GRID.shape, generator=generator)
    error = sigma * torch.randn(GRID.shape, generator=generator)
    truth = torch.randn(GRID.shape, generator=generator)
    half = MASK.clone()
    half[:20] = False
    error[half] *= 2.0
    where = {"all": MASK, "half": half, "none": torch.zeros_like(MASK)}
    covered = coverage(truth + error + 0.3, sigma, truth, where)  # a constant is no error
    assert covered["half"] == pytest.approx((38.3, 68.3), abs=1.5)  # twice the error: half the σ
    assert covered["all"] == pytest.approx((53.3, 81.8), abs=1.5)
    assert all(math.isnan(share) for share in covered["none"])
    with pytest.raises(ParameterInvalid, match="The regions are half; expected one named 'all'"):
        coverage(truth, sigma, truth, {"half": half})


def test_the_slope_of_strong_sources_ignores_weak_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 0.02 * torch.randn(20, 20, 20, generator=generator)
    truth[:4, :4, :4] += 0.2
    mask = torch.ones_like(truth, dtype=torch.bool)
    truth -= truth.mean()
    chi = torch.where(truth > 0.08, 0.7 * truth, 3.0 * truth)
    chi_mean = chi.mean()
    strong = truth[truth > 0.08].double()
    expected = 0.7 - float(chi_mean) * float(strong.sum() / strong.square().sum())
    assert strong_slope(chi + 5.0, truth + 1.0, mask) == pytest.approx(expected, rel=1e-3)
    assert math.isnan(strong_slope(chi, 0.1 * truth, mask))
    with pytest.raises(MaskInvalid, match="The mask is empty"):
        strong_slope(chi, truth, ~mask)
