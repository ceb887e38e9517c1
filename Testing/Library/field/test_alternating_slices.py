"""GE's alternating slices: recognised along any axis, undone, and not mistaken for noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from IR2QSMLib.field.alternating_slices import negate_alternate_slices, slices_alternate, undo_alternating_slices
from IR2QSMLib.field.scaling import wrap


def smooth_signal(shape: tuple[int, int, int] = (16, 14, 12)) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x, y, z = torch.meshgrid(*[torch.linspace(-1.0, 1.0, n) for n in shape], indexing="ij")
    noise = 0.2 * torch.complex(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
    return torch.polar(torch.exp(-(x**2) - y**2 - z**2), 5.0 * x - 3.0 * y * z + 2.0 * z) + noise


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_alternating_slices_are_recognised_along_their_axis_only(axis: int) -> None:
    truth = smooth_signal()
    stored = negate_alternate_slices(truth, axis)
    assert slices_alternate(stored, axis) and not slices_alternate(truth, axis)
    assert not any(slices_alternate(stored, other) for other in (-1, -2, -3) if other != axis)
    torch.testing.assert_close(negate_alternate_slices(stored, axis), truth)


@pytest.mark.parametrize("axes", [(), (-1,), (-2,), (-3,), (-3, -2, -1)])
def test_alternating_slices_are_undone_along_all_axes(axes: tuple[int, ...]) -> None:
    truth = smooth_signal()
    stored = truth
    for axis in axes:
        stored = negate_alternate_slices(stored, axis)
    phase = torch.stack([stored.angle(), stored.angle()])
    phase[0, 3, 3, 3] = torch.nan
    corrected, found_axes = undo_alternating_slices(phase, truth.abs().expand(2, -1, -1, -1))
    assert sorted(found_axes) == sorted(axes)
    assert float(wrap(corrected[1] - truth.angle()).abs().max()) < 1e-4
    assert torch.equal(torch.isnan(corrected), torch.isnan(phase))


@pytest.mark.parametrize("seed", range(12))
def test_noise_does_not_alternate(seed: int) -> None:
    noise = torch.randn(2, 12, 11, 10, generator=torch.Generator().manual_seed(seed))
    assert undo_alternating_slices(torch.atan2(noise[0], noise[1]), noise.norm(dim=0))[1] == []


def test_a_single_slice_does_not_alternate() -> None:
    assert not slices_alternate(smooth_signal((8, 8, 1)), -1)
