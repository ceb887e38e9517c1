"""Transform sizes and the one padding function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import fft, frequencies, good_size, ifft, pad

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


def test_padding_leaves_leading_axes_alone() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    padded = pad(x, (6, 5, 8), (1, 0, 2))
    assert padded.shape == (2, 3, 6, 5, 8)
    assert torch.equal(padded[..., 1:5, :, 2:], x)


def test_padding_is_adjoint_to_cropping(require_adjoint: Callable[..., None]) -> None:
    require_adjoint(
        lambda x: pad(x, (9, 4, 11), (2, -1, 3)), lambda y: pad(y, (5, 6, 7), (-2, 1, -3)), (5, 6, 7), (9, 4, 11)
    )


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (6, 5, 1)])
def test_a_transform_comes_back(shape: tuple[int, int, int]) -> None:
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
