"""Transforms, frequencies, filters, transform sizes and padding."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import (
    Filter,
    band_limit,
    blur,
    fft,
    frequencies,
    good_size,
    ifft,
    pad,
    spectrum_multiplicity,
    wavenumber,
)

SIZES = st.tuples(*[st.integers(1, 7)] * 3)


def is_smooth(n: int) -> bool:
    """Whether no prime but 2, 3 and 5 divides n; 30^12 holds each of them often enough for any n below 2^12."""
    return 30**12 % n == 0


@pytest.mark.parametrize("multiple", [1, 2, 8])
def test_a_good_size_is_the_next_smooth_multiple(multiple: int) -> None:
    smooth = [multiple * m for m in range(1, 2000) if is_smooth(m)]
    for n in range(1, 500):
        assert good_size(n, multiple) == next(size for size in smooth if size >= n)


@settings(deadline=None)
@given(SIZES, SIZES, st.tuples(*[st.integers(-6, 6)] * 3))
def test_padding_places_and_crops_every_voxel(
    shape: tuple[int, int, int], new: tuple[int, int, int], start: tuple[int, int, int]
) -> None:
    if any(s >= n or s + old <= 0 for s, n, old in zip(start, new, shape, strict=True)):
        start = (0, 0, 0)  # apart from each other: nothing to place
    x = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
    expected = torch.zeros(new)
    for i, j, k in torch.ones(shape).nonzero().tolist():
        at = [i + start[0], j + start[1], k + start[2]]
        if all(0 <= a < n for a, n in zip(at, new, strict=True)):
            expected[tuple(at)] = x[i, j, k]
    assert torch.equal(pad(x, new, start), expected)


def test_padding_does_not_change_leading_axes() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    padded = pad(x, (6, 5, 8), (1, 0, 2))
    assert padded.shape == (2, 3, 6, 5, 8)
    assert torch.equal(padded[..., 1:5, :, 2:], x)


def test_padding_is_adjoint_to_cropping(require_adjoint: Callable[..., None]) -> None:
    require_adjoint(
        lambda x: pad(x, (9, 4, 11), (2, -1, 3)), lambda y: pad(y, (5, 6, 7), (-2, 1, -3)), (5, 6, 7), (9, 4, 11)
    )


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (6, 5, 1)])
def test_the_inverse_transform_inverts_the_transform(shape: tuple[int, int, int]) -> None:
    x = torch.randn(2, *shape)
    torch.testing.assert_close(ifft(fft(x), shape), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("axis", "cycles"), [(0, 2), (1, -1), (2, 3)])
def test_a_plane_wave_lands_on_its_frequency(axis: int, cycles: int) -> None:
    grid = Grid((10, 9, 8), (0.5, 2.0, 1.5))
    n, voxel = grid.shape[axis], grid.voxel_size[axis]
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(n) / n)
    spectrum = fft(wave.view([-1 if a == axis else 1 for a in range(3)]).expand(grid.shape)).abs()
    strongest = (spectrum > 0.4 * spectrum.amax()).nonzero()
    k = frequencies(grid)[axis].flatten()
    # A real wave has both signs of its frequency, of which the half spectrum keeps one along z.
    assert {round(float(k[i]), 6) for i in strongest[:, axis]} <= {
        round(sign * cycles / (n * voxel), 6) for sign in (1, -1)
    }
    assert len(strongest) == (1 if axis == 2 else 2)


def test_wavenumbers_are_those_of_the_grid_in_cycles_per_millimetre() -> None:
    k = wavenumber(Grid((8, 10, 6), (1.0, 2.0, 0.5)))
    assert float(k[1, 0, 0]) == pytest.approx(1 / 8) and float(k[0, -1, 0]) == pytest.approx(1 / 20)
    assert float(k[0, 0, 3]) == pytest.approx(1.0) and float(k[4, 5, 3]) == pytest.approx(math.hypot(0.5, 0.25, 1.0))
    assert k.dtype == torch.float32


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (6, 5, 1), (3, 4, 2)])
def test_with_its_multiplicity_the_half_spectrum_has_the_power_of_the_volume(shape: tuple[int, int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    power = (fft(x).abs().square() * spectrum_multiplicity(Grid(shape))).sum()
    assert float(power) == pytest.approx(float(x.square().sum()) * x.numel())


@pytest.mark.parametrize("grid", [Grid((8, 10, 6), (1.0, 2.0, 0.5)), Grid((7, 5, 9))])
def test_filters_are_self_adjoint(require_adjoint: Callable[..., None], grid: Grid) -> None:
    for operator in (
        Filter(wavenumber(grid), grid.shape),
        lambda x: blur(x, grid, 1.3),
        lambda x: band_limit(x, grid, 2.0),
    ):
        require_adjoint(operator, operator, grid.shape)


def test_a_filter_multiplies_each_wave_by_its_kernel_and_counts_its_transforms() -> None:
    grid = Grid((12, 8, 6))
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(12) / 12).view(-1, 1, 1).expand(grid.shape)
    filtered = Filter(wavenumber(grid), grid.shape)
    torch.testing.assert_close(filtered(wave), 0.25 * wave, atol=1e-6, rtol=0)
    filtered(wave)
    assert filtered.n_fft_pairs == 2


def test_blurring_keeps_the_mean_and_has_its_standard_deviation_in_millimetres() -> None:
    grid = Grid((24, 20, 40), (1.0, 1.5, 0.5))
    point = torch.zeros(grid.shape)
    point[12, 10, 20] = 1.0
    blurred = blur(point, grid, 1.5).double()
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
    for axis, (n, voxel) in enumerate(zip(grid.shape, grid.voxel_size, strict=True)):
        profile = blurred.sum([a for a in range(3) if a != axis])
        position = (torch.arange(n) - n // 2) * voxel
        assert float((profile * position**2).sum()) ** 0.5 == pytest.approx(1.5, rel=0.02)
