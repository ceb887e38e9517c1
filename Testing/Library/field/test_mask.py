"""The mask from the magnitude, of heads whose brain is known, and the voxels that leave its surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.mask import MagnitudeMask, beside_wraps, largest_component, phase_quality, remove_poor_surface

GRID = Grid((44, 40, 24), (1.0, 1.0, 1.8))
TIMES = (0.004, 0.010, 0.016)


def head(ball: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]) -> tuple[Tensor, Phase]:
    """A brain of 13 mm with a dark ventricle, a bright scalp around it, and a bridge of dura between the two."""
    brain, scalp = ball(GRID, 13.0), ball(GRID, 19.0) & ~ball(GRID, 16.5)
    bridge = torch.zeros(GRID.shape, dtype=torch.bool)
    bridge[30:42, 19:21, 11:13] = True
    magnitude = 1.0 * brain + 1.6 * scalp + 0.9 * (bridge & ~brain & ~scalp)
    magnitude[ball(GRID, 3.0)] = 0.1
    return brain, simulate_echoes(torch.zeros(GRID.shape), GRID, TIMES, magnitude=magnitude, noise=0.04)


def dice(a: Tensor, b: Tensor) -> float:
    """Dice coefficient of two masks."""
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_the_mask_is_the_brain_without_scalp_and_holes(
    ball: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]
) -> None:
    brain, phase = head(ball, simulate_echoes)
    mask = MagnitudeMask()(phase)
    assert dice(mask, brain) > 0.93
    assert not (mask & (~ball(GRID, 16.0))).any()
    assert bool(mask[ball(GRID, 3.0)].all())


def test_without_an_opening_brain_and_scalp_stay_connected(
    ball: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]
) -> None:
    _, phase = head(ball, simulate_echoes)
    assert (MagnitudeMask(opening=0.0)(phase) & ~ball(GRID, 16.5)).any()


def test_a_higher_share_leaves_dim_tissue_out(
    ball: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]
) -> None:
    brain = ball(GRID, 16.0)
    magnitude = torch.where(ball(GRID, 10.0), 1.0, 0.2) * brain
    phase = simulate_echoes(torch.zeros(GRID.shape), GRID, TIMES, magnitude=magnitude, noise=0.01)
    low, high = (MagnitudeMask(share=share)(phase) for share in (0.3, 1.3))
    assert dice(low, brain) > 0.95 and dice(high, ball(GRID, 10.0)) > 0.9


def test_tissue_of_incoherent_phase_is_left_out(
    ball: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]
) -> None:
    brain = ball(GRID, 16.0)
    phase = simulate_echoes(torch.zeros(GRID.shape), GRID, TIMES, magnitude=1.0 * brain, noise=0.02)
    values = phase.values.clone()
    generator = torch.Generator().manual_seed(6)
    values[:, 30:] = 6.283 * torch.rand(values[:, 30:].shape, generator=generator)
    phase = replace(phase, values=values)
    assert not MagnitudeMask()(phase)[32:].any()
    assert MagnitudeMask(quality=0.0)(phase)[32:].any()


def test_quality_is_one_for_constant_phase_and_low_for_noise(simulate_echoes: Callable[..., Phase]) -> None:
    grid = Grid((12, 12, 12))
    clean = simulate_echoes(torch.zeros(grid.shape), grid, TIMES, offset=2.0)
    assert float((phase_quality(clean) - 1.0).abs().max()) < 1e-4
    noise = replace(clean, values=6.283 * torch.rand(clean.values.shape, generator=torch.Generator().manual_seed(1)))
    assert float(phase_quality(noise).mean()) < 0.35
    missing = clean.values.clone()
    missing[0, 5, 5, 5] = float("nan")
    assert bool(torch.isfinite(phase_quality(replace(clean, values=missing))).all())
    single_echo = replace(clean, values=clean.values[:1], magnitude=clean.magnitude[:1], echo_times=TIMES[:1])
    assert float((phase_quality(single_echo) - 1.0).abs().max()) < 1e-4


def test_the_opening_does_not_erode_at_the_edge_of_the_image() -> None:
    mask = torch.zeros(20, 20, 20, dtype=torch.bool).numpy()
    mask[:, :12, 4:16] = True
    mask[5:8, 15:18, 5:8] = True
    component = largest_component(mask, Grid((20, 20, 20)), 2.0)
    assert component[0, 0, 10] and component[-1, 5, 10] and not component[6, 16, 6]


def test_poor_voxels_leave_the_surface_and_stay_inside() -> None:
    mask = torch.zeros(12, 12, 12, dtype=torch.bool)
    mask[2:10, 2:10, 2:10] = True
    surface, inside = torch.zeros_like(mask), torch.zeros_like(mask)
    surface[2:4, 5, 5] = True
    inside[6:8, 5, 5] = True
    assert torch.equal(remove_poor_surface(mask, surface | inside), mask & ~surface)
    assert torch.equal(remove_poor_surface(mask, ~mask), mask)


@pytest.mark.parametrize("magnitude", [0.0, 1.0])
def test_a_constant_magnitude_is_refused(magnitude: float, simulate_echoes: Callable[..., Phase]) -> None:
    phase = simulate_echoes(torch.zeros(GRID.shape), GRID, TIMES)
    with pytest.raises(MaskInvalid, match="constant or nowhere positive"):
        MagnitudeMask()(replace(phase, magnitude=torch.full_like(phase.magnitude, magnitude)))


def test_an_opening_that_leaves_nothing_is_refused(
    ball: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]
) -> None:
    _, phase = head(ball, simulate_echoes)
    with pytest.raises(MaskInvalid, match="Nothing is left"):
        MagnitudeMask(opening=40.0)(phase)


@pytest.mark.parametrize("parameters", [{"share": 0.0}, {"quality": 1.0}, {"opening": -1.0}])
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterInvalid, match="expected a share"):
        MagnitudeMask(**parameters)


def test_voxels_wrong_by_a_period_leave_the_surface(ball: Callable[..., Tensor]) -> None:
    mask = ball(GRID, 15.0)
    off_by_period = torch.zeros(GRID.shape, dtype=torch.bool)
    off_by_period[20:24, 19:22, 17:20] = True
    off_by_period &= mask
    phase = 0.05 * torch.arange(GRID.shape[0]).view(-1, 1, 1) + 6.2832 * off_by_period
    poor = beside_wraps(phase, mask)
    assert bool(poor[off_by_period].any()) and not poor[:, :, :14].any() and bool((poor <= mask).all())
    reliable = remove_poor_surface(mask, poor)
    assert not (reliable & off_by_period).any() and int((mask & ~reliable).sum()) < 300
    assert not beside_wraps(phase * 0.4, mask).any()
    noise = 6.0 * torch.randn(GRID.shape, generator=torch.Generator().manual_seed(0))
    assert not beside_wraps(noise, mask).any()


def test_small_pieces_are_removed_only_if_they_were_cut_off(ball: Callable[..., Tensor]) -> None:
    mask = ball(GRID, 12.0)
    poor = torch.zeros_like(mask)
    small_piece = torch.zeros_like(mask)
    small_piece[22, 20, 18] = bool(mask[22, 20, 18])
    poor[20:25, 18:23, 17:] = True
    poor &= ~small_piece
    assert bool(small_piece.any()) and not (remove_poor_surface(mask, poor) & small_piece).any()
    two_pieces = mask.clone()
    two_pieces[2, 2, 2] = True
    assert bool(remove_poor_surface(two_pieces, torch.zeros_like(mask))[2, 2, 2])
