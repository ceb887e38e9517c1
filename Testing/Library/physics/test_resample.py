"""Resampling between grids, and the grid along B0."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import band_limit
from IR2QSMLib.physics.resample import aligned_grid, resample

TILT = math.radians(25)
TILTED = (1.0, 0.0, 0.0, 0.0, math.cos(TILT), -math.sin(TILT), 0.0, math.sin(TILT), math.cos(TILT))


def points(grid: Grid) -> torch.Tensor:
    """Position of every voxel [mm]: (x, y, z, 3)."""
    return torch.tensor([grid.point(i) for i in np.ndindex(*grid.shape)]).view(*grid.shape, 3).float()


def well_inside(of: Grid, on: Grid, margin: int = 1) -> torch.Tensor:
    """Voxels of `on` that lie at least `margin` voxels of `of` from its edge."""
    index = (points(on).double() - torch.tensor(of.origin)) @ torch.tensor(of.matrix) / torch.tensor(of.voxel_size)
    return ((index >= margin) & (index <= torch.tensor(of.shape) - 1 - margin)).all(-1)


def blob(grid: Grid, sigma: float = 4.0) -> torch.Tensor:
    middle = torch.tensor(grid.point([(n - 1) / 2 for n in grid.shape])).float()
    return (-(points(grid) - middle).square().sum(-1) / (2 * sigma**2)).exp()


@st.composite
def oblique_grids(draw: st.DrawFn, least: int = 6) -> Grid:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    direction, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    b0 = draw(st.none() | st.sampled_from([(1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.5, -0.5, 1.0)]))
    shape, size = draw(st.tuples(*[st.integers(least, least + 8)] * 3)), draw(st.tuples(*[st.floats(0.5, 3.0)] * 3))
    return Grid(shape, size, tuple(direction.ravel().tolist()), tuple(rng.uniform(-90, 90, 3).tolist()), b0)


def test_resampling_onto_the_same_grid_changes_nothing() -> None:
    grid = Grid((8, 9, 10), (0.5, 1.0, 2.0), TILTED, (-30.0, 4.0, 55.0))
    values = torch.randn(grid.shape)
    torch.testing.assert_close(resample(values, grid, grid), values, atol=1e-4, rtol=0)


@settings(max_examples=15, deadline=None)
@given(oblique_grids(14), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_a_linear_function_is_reproduced_inside(grid: Grid, slope: list[float]) -> None:
    """Splines change it near the edge, less by a factor of 3.7 a voxel."""
    target = aligned_grid(grid, 1.3)
    middle = torch.tensor(grid.origin).float()

    def linear(on: Grid) -> torch.Tensor:
        return (points(on) - middle) @ torch.tensor(slope) + 2.0

    inside = well_inside(grid, target, 6)
    resampled = resample(linear(grid), grid, target)
    torch.testing.assert_close(resampled[inside], linear(target)[inside], atol=3e-3, rtol=1e-4)


def test_values_between_voxels_follow_a_smooth_volume() -> None:
    grid = Grid((26, 26, 26), (1.0, 1.0, 1.0), TILTED)
    target = Grid((20, 20, 20), origin=grid.point((5.3, 4.6, 5.1)))
    middle = torch.tensor(grid.point([12.5] * 3)).float()
    exact = (-(points(target) - middle).square().sum(-1) / (2 * 4.0**2)).exp()
    inside = well_inside(grid, target)
    assert inside.sum() > 3000
    assert (resample(blob(grid), grid, target) - exact)[inside].abs().max() < 0.005


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (0.8, 1.0, 2.0)])
def test_a_smooth_volume_survives_the_aligned_grid(voxel: tuple[float, float, float]) -> None:
    grid = Grid((40, 38, 34), voxel, TILTED, (7.0, 8.0, 9.0))
    values, aligned = blob(grid, 4.0), aligned_grid(grid)
    back = resample(resample(values, grid, aligned), aligned, grid)
    assert (back - values).norm() < 0.01 * values.norm()


def test_beyond_the_source_the_result_is_zero() -> None:
    grid = Grid((6, 6, 6))
    target = grid.cropped((-8, 0, 0), (20, 6, 6))
    resampled = resample(torch.ones(grid.shape), grid, target)
    assert torch.equal(resampled[8:14], torch.ones(6, 6, 6))
    assert not resampled[:7].any()
    assert not resampled[16:].any()


@settings(max_examples=60, deadline=None)
@given(oblique_grids(), st.sampled_from([0.7, 1.0]))
def test_the_aligned_grid_runs_along_b0_and_holds_every_corner(grid: Grid, voxel: float) -> None:
    aligned = aligned_grid(grid, voxel)
    assert aligned.voxel_size == (voxel, voxel, voxel)
    assert aligned.b0_direction == pytest.approx((0, 0, 1), abs=1e-9)
    np.testing.assert_allclose(aligned.matrix[:, 2], grid.matrix @ grid.b0_direction, atol=1e-9)
    np.testing.assert_allclose(aligned.corners().mean(0), grid.corners().mean(0), atol=1e-6)
    index = (grid.corners() - aligned.origin) @ aligned.matrix / voxel
    assert index.min() > -1e-6
    assert (index < np.array(aligned.shape) - 1 + 1e-6).all()


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_any_voxel_axis_may_lie_along_b0(axes: tuple[int, int, int]) -> None:
    grid = Grid((8, 9, 10), (1.0, 2.0, 1.5)).reoriented(axes, (False, True, False))
    aligned = aligned_grid(grid)
    assert np.abs(np.linalg.det(aligned.matrix)) == pytest.approx(1.0)
    assert sorted(aligned.shape) == sorted((8, 17, 15))


def test_a_band_limit_keeps_long_waves_and_removes_those_that_coarse_voxels_would_alias() -> None:
    grid = Grid((48, 48, 48), (1.0, 1.0, 1.0), TILTED)
    x = torch.arange(48.0).view(-1, 1, 1).expand(grid.shape)
    for n_waves, kept in ((2, 1.0), (4, 1.0), (16, 0.0), (24, 0.0)):  # of 24, 12, 3 and 2 mm
        wave = torch.cos(2.0 * torch.pi * n_waves * x / 48.0)
        torch.testing.assert_close(band_limit(wave, grid, 2.0), kept * wave, atol=0.01, rtol=0)


def test_any_memory_layout_and_precision_is_resampled_alike() -> None:
    grid, target = Grid((9, 10, 11), (1.0, 1.2, 0.9), TILTED), Grid((7, 7, 7), origin=(1.0, 1.0, 1.0))
    values = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    expected = resample(values, grid, target)
    assert torch.equal(resample(values.mT.contiguous().mT, grid, target), expected)
    assert resample(values.double(), grid, target).dtype == expected.dtype == torch.float32
