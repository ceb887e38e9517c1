"""Spheres on grids: their volume, their moments, and harmonic fields, whose mean is the value at the centre."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import Filter, fft, ifft
from IR2QSMLib.physics.sphere import SphericalMeanFilter, ellipsoid_fractions, sphere_mean_kernel


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (0.9, 0.9, 1.6), (0.5, 0.7, 3.0)])
@pytest.mark.parametrize("radius", [1.0, 2.3, 5.0])
def test_a_sphere_has_its_volume(voxel: tuple[float, float, float], radius: float) -> None:
    fractions = ellipsoid_fractions(voxel, (radius,) * 3)
    assert float(fractions.sum()) * math.prod(voxel) == pytest.approx(4.0 / 3.0 * math.pi * radius**3, rel=0.02)
    assert all(n % 2 == 1 for n in fractions.shape) and float(fractions.min()) >= 0.0 and float(fractions.max()) <= 1.0
    torch.testing.assert_close(fractions, fractions.flip(0, 1, 2))


def test_no_part_of_the_sphere_is_cut_off() -> None:
    """The voxels that it only touches are there, so a larger box holds nothing more."""
    fractions = ellipsoid_fractions((1.0, 1.0, 1.0), (2.6, 2.6, 2.6))
    assert fractions.shape == (7, 7, 7) and float(fractions[0, 3, 3]) > 0.0


@pytest.mark.parametrize("shape", [(20, 18, 16), (21, 17, 15)])
def test_the_kernel_averages_over_the_sphere_about_each_voxel(shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, (1.0, 1.1, 1.5))
    kernel = sphere_mean_kernel(grid, 3.0)
    point = torch.zeros(shape)
    point[9, 8, 7] = 1.0
    mean = ifft(kernel * fft(point), shape)
    fractions = ellipsoid_fractions(grid.voxel_size, (3.0,) * 3)
    a, b, c = (n // 2 for n in fractions.shape)
    expected = torch.zeros(shape)
    expected[9 - a : 10 + a, 8 - b : 9 + b, 7 - c : 8 + c] = (fractions / fractions.sum()).float()
    torch.testing.assert_close(mean, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("voxel", [(0.9, 0.9, 1.6), (1.0, 1.0, 3.0)])
def test_balanced_spheres_have_one_second_moment_on_unequal_voxels(voxel: tuple[float, float, float]) -> None:
    """The mean of x² − z² over a sphere is the difference of two second moments."""
    grid = Grid((40, 40, 20), voxel)
    axes = [(torch.arange(n) - n // 2) * v for n, v in zip(grid.shape, voxel, strict=True)]
    x, _, z = torch.meshgrid(*axes, indexing="ij")
    middle = tuple(n // 2 for n in grid.shape)
    error = {}
    for balanced in (False, True):
        kernel = sphere_mean_kernel(grid, 6.0, balanced=balanced)
        error[balanced] = abs(float(ifft(kernel * fft(x**2 - z**2), grid.shape)[middle]))
    assert error[True] < 0.35 * error[False]


@pytest.mark.parametrize(("radius", "message"), [(0.0, "positive"), (-2.0, "positive"), (9.0, "smaller radius")])
def test_a_sphere_that_does_not_fit_is_refused(radius: float, message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        sphere_mean_kernel(Grid((8, 20, 20)), radius)


@pytest.mark.parametrize("grid", [Grid((12, 10, 14)), Grid((11, 13, 9), (1.0, 0.7, 2.0))])
def test_the_spherical_mean_is_self_adjoint(require_adjoint: Callable[..., None], grid: Grid) -> None:
    mean = Filter(sphere_mean_kernel(grid, 2.5), grid.shape)
    require_adjoint(mean, mean, grid.shape)


def test_the_spherical_mean_filter_is_linear_and_removes_a_harmonic_field() -> None:
    grid = Grid((32, 32, 32))
    x, y, z = torch.meshgrid(*[torch.arange(32.0) - 15.5] * 3, indexing="ij")
    mask = x**2 + y**2 + z**2 < 13.0**2
    remove = SphericalMeanFilter(mask, grid, [6.0, 4.0, 2.0], 0.05)
    harmonic = torch.where(mask, x**2 - y**2 + 3.0 * z, 0.0)
    assert float(remove(harmonic).norm()) < 0.05 * float(harmonic.norm())
    a, b = (torch.randn(grid.shape, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    torch.testing.assert_close(remove(2.0 * a - b), 2.0 * remove(a) - remove(b), atol=1e-4, rtol=1e-3)
    assert not remove(a)[~remove.inside].any() and bool(mask[remove.inside].all())
