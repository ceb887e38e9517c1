"""Unwrapping of known phases, of noise, and against the MEDI toolbox."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.checks import wraps_left
from IR2QSMLib.field.scaling import TWO_PI, wrap
from IR2QSMLib.field.unwrapping import (
    LaplacianUnwrapping,
    PathUnwrapping,
    nearest_branch,
    unwrap_by_laplacian,
    unwrap_in_space,
    weighted_line,
)

TIMES = (0.004, 0.009, 0.014, 0.019, 0.024)


def steep_phase(shape: tuple[int, int, int], slope: float = 2.4) -> Tensor:
    """A bowl [rad] of many periods whose neighbours differ by less than π, zero at the middle voxel."""
    x, y, z = torch.meshgrid(*[torch.arange(n) - n // 2 for n in shape], indexing="ij")
    return slope * (x**2 - 0.7 * y**2 + 0.5 * z**2 + 0.4 * x * z + 3.0 * x) / (1.4 * max(shape))


@pytest.mark.parametrize("shape", [(24, 20, 18), (31, 17, 5), (25, 1, 22), (1, 1, 40)])
def test_a_steep_phase_is_unwrapped_exactly(shape: tuple[int, int, int]) -> None:
    truth = steep_phase(shape)
    assert float(truth.max() - truth.min()) > TWO_PI
    unwrapped = unwrap_in_space(wrap(truth), torch.ones(shape, dtype=torch.bool))
    shift = (unwrapped - truth).flatten()
    assert float(shift.std()) < 1e-4 and float(wrap(shift).abs().max()) < 1e-4


def test_noise_outside_the_mask_changes_nothing() -> None:
    truth = steep_phase((24, 24, 24))
    mask = torch.zeros(truth.shape, dtype=torch.bool)
    mask[3:20, 4:22, 2:21] = True
    mask[8:11, 8:12, 9:12] = False
    noise = TWO_PI * torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) - math.pi
    unwrapped = unwrap_in_space(torch.where(mask, wrap(truth), noise), mask)
    assert float((unwrapped - truth)[mask].std()) < 1e-4
    assert not unwrapped[~mask].any()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16), st.floats(0.1, 12.0))
@example(200, 11.5)  # an even number of voxels, the middle two of which lie on both sides of −π
def test_unwrapping_adds_multiples_of_two_pi(seed: int, spread: float) -> None:
    """To any phase, noise included."""
    generator = torch.Generator().manual_seed(seed)
    phase = wrap(spread * torch.randn(7, 6, 5, generator=generator))
    mask = torch.rand(7, 6, 5, generator=generator) < 0.8
    unwrapped = unwrap_in_space(phase, mask)
    periods = (unwrapped - phase)[mask] / TWO_PI
    assert float((periods - periods.round()).abs().max()) < 1e-5
    pieces, n = ndimage.label(mask.numpy())
    medians = [np.median(unwrapped.numpy()[pieces == k]) for k in range(1, n + 1)]
    assert max(map(abs, medians)) <= math.pi + 1e-4


def test_unwrapping_is_reproducible_to_the_bit() -> None:
    phase = wrap(3.0 * torch.randn(12, 11, 10, generator=torch.Generator().manual_seed(4)))
    mask = torch.ones(phase.shape, dtype=torch.bool)
    assert torch.equal(unwrap_in_space(phase, mask), unwrap_in_space(phase, mask))


def test_the_median_of_each_connected_piece_is_within_pi() -> None:
    truth = steep_phase((24, 20, 18))
    truth = truth - truth[4:8, 8:12, 8:12].median()
    mask = torch.zeros(truth.shape, dtype=torch.bool)
    mask[:10], mask[13:] = True, True
    second = torch.zeros_like(mask)
    second[13:] = True
    unwrapped = unwrap_in_space(wrap(torch.where(second, truth + 3.0 * TWO_PI, truth)), mask)
    for piece in (mask & ~second, second):
        assert float((unwrapped - truth)[piece].std()) < 1e-4
        assert abs(float(unwrapped[piece].median())) <= math.pi + 1e-4


def test_an_empty_mask_gives_zeros() -> None:
    assert not unwrap_in_space(torch.ones(4, 4, 4), torch.zeros(4, 4, 4, dtype=torch.bool)).any()


@pytest.mark.parametrize("times", [TIMES, (0.003, 0.0071, 0.0133, 0.0242)])
def test_echoes_stay_consistent_in_time(
    times: tuple[float, ...], simulate_echoes: Callable[..., Phase], phase_of_field: Callable[..., Tensor]
) -> None:
    """Evenly spaced or not, with an offset of many periods that does not grow with TE."""
    grid = Grid((28, 26, 24))
    field = 0.04 * steep_phase(grid.shape)
    offset = 0.4 * steep_phase(grid.shape).flip(1) + 1.0
    mask = torch.ones(grid.shape, dtype=torch.bool)
    phase = simulate_echoes(field, grid, times, offset=offset)
    unwrapped = PathUnwrapping()(phase, mask)
    for n, te in enumerate(times):
        truth = phase_of_field(field, te) + offset
        periods = (unwrapped[n] - truth) / TWO_PI
        assert float((periods - periods[0, 0, 0]).abs().max()) < 1e-3
        assert float((periods[0, 0, 0] - periods[0, 0, 0].round()).abs()) < 1e-3
        assert wraps_left(unwrapped[n], mask) == 0.0
    assert wraps_left(phase.values[-1], mask) > 0.01


def test_in_noise_the_line_through_all_echoes_unwraps_better_than_the_first_two(
    simulate_echoes: Callable[..., Phase], phase_of_field: Callable[..., Tensor]
) -> None:
    grid = Grid((24, 24, 24))
    field = 0.1 * steep_phase(grid.shape)
    phase = simulate_echoes(field, grid, TIMES, noise=0.3)
    mask = torch.ones(grid.shape, dtype=torch.bool)
    unwrapped = PathUnwrapping()(phase, mask)
    truth = phase_of_field(field, TIMES[-1])
    wrong = ((unwrapped[-1] - nearest_branch(phase.values[-1], truth)).abs() > 1.0).float().mean()
    slope = (unwrapped[1] - unwrapped[0]) / (TIMES[1] - TIMES[0])
    extrapolated = unwrapped[0] + slope * (TIMES[-1] - TIMES[0])
    naive = (nearest_branch(phase.values[-1], extrapolated) - nearest_branch(phase.values[-1], truth)).abs() > 1.0
    assert float(wrong) < 0.1 * float(naive.float().mean())


def test_a_single_echo_is_unwrapped(
    simulate_echoes: Callable[..., Phase], phase_of_field: Callable[..., Tensor]
) -> None:
    grid = Grid((20, 20, 20))
    field = 0.1 * steep_phase(grid.shape)
    unwrapped = PathUnwrapping()(simulate_echoes(field, grid, (0.01,)), torch.ones(grid.shape, dtype=torch.bool))
    assert float((unwrapped[0] - phase_of_field(field, 0.01)).std()) < 1e-4


def test_laplacian_unwrapping_equals_the_toolboxes(toolbox: Any) -> None:
    """The phase is that of the fourth echo, unmasked."""
    unwrapped = unwrap_by_laplacian(toolbox.phase.values[3], toolbox.grid)[toolbox.mask]
    reference = toolbox.result("laplacian_unwrap_echo4_rad")[toolbox.mask]
    unwrapped, reference = unwrapped - unwrapped.mean(), reference - reference.mean()
    assert float((unwrapped - reference).norm() / reference.norm()) < 1e-3


def test_laplacian_unwrapping_of_periodic_phase_is_exact_on_any_voxel_size() -> None:
    grid = Grid((24, 20, 16), (1.0, 0.7, 2.0))
    x, y, z = (TWO_PI * torch.arange(n) / n for n in grid.shape)
    truth = 4.0 * torch.sin(x).view(-1, 1, 1) * torch.cos(y).view(1, -1, 1) + 1.5 * torch.sin(z)
    unwrapped = unwrap_by_laplacian(wrap(truth), grid)
    # The stencil takes sin Δφ for Δφ, so steps as large as a radian are not followed to the last digit.
    assert float((unwrapped - truth).norm() / truth.norm()) < 0.12
    smaller = unwrap_by_laplacian(wrap(0.1 * truth), grid)
    assert float((smaller - 0.1 * truth).norm() / (0.1 * truth).norm()) < 2e-3


def test_laplacian_unwrapping_depends_on_one_echo_inside_the_mask(simulate_echoes: Callable[..., Phase]) -> None:
    grid = Grid((16, 16, 16))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[3:13, 3:13, 3:13] = True
    phase = simulate_echoes(0.05 * steep_phase(grid.shape), grid, TIMES)
    of_original = LaplacianUnwrapping()(phase, mask)
    disturbed = phase.values + torch.where(mask, 0.0, 1.0)
    of_disturbed = LaplacianUnwrapping()(Phase(disturbed, phase.magnitude, TIMES, 3.0, grid), mask)
    assert torch.equal(of_original, of_disturbed) and not of_original[:, ~mask].any()
    assert torch.equal(of_original[1], torch.where(mask, unwrap_by_laplacian(phase.values[1] * mask, grid), 0.0))


def test_a_weighted_line_follows_the_bright_echoes() -> None:
    times = (0.002, 0.005, 0.011)
    t = torch.tensor(times).view(-1, 1, 1, 1)
    phase = (0.4 + 150.0 * t).expand(3, 2, 2, 2).clone()
    magnitude = torch.ones_like(phase)
    offset, slope = weighted_line(phase, magnitude, times)
    torch.testing.assert_close(slope, torch.full_like(slope, 150.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(offset, torch.full_like(offset, 0.4), rtol=1e-3, atol=0)
    phase[1] += 2.0
    magnitude[1] = 1e-4
    torch.testing.assert_close(weighted_line(phase, magnitude, times)[1], slope, rtol=1e-3, atol=0)
    assert float((weighted_line(phase, torch.ones_like(phase), times)[0] - offset).abs().min()) > 0.1


def test_wraps_left_are_counted() -> None:
    mask = torch.ones(4, 5, 6, dtype=torch.bool)
    phase = torch.zeros(4, 5, 6)
    assert wraps_left(phase, mask) == 0.0
    phase[2:] = TWO_PI
    n_pairs = 3 * 5 * 6 + 4 * 4 * 6 + 4 * 5 * 5
    assert wraps_left(phase, mask) == pytest.approx(30 / n_pairs)
    mask[2:] = False
    assert wraps_left(phase, mask) == 0.0


@pytest.mark.parametrize("unwrapping", [PathUnwrapping(), LaplacianUnwrapping()])
def test_unwrapping_can_be_cancelled(unwrapping: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]) -> None:
    def cancel(fraction: float, stage: str) -> None:
        raise Cancelled

    grid = Grid((6, 6, 6))
    with pytest.raises(Cancelled):
        unwrapping(
            simulate_echoes(torch.zeros(grid.shape), grid, TIMES), torch.ones(grid.shape, dtype=torch.bool), cancel
        )
