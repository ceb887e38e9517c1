"""Acquired fields: the forward model where noise-free, else a discrepancy of the strength and kind asked for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.grid import Grid
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, draw_discrepancy
from IR2QSMLib.simulation.dice import Dice
from IR2QSMLib.simulation.head import Head, ball, finish, positions
from IR2QSMLib.simulation.shapes import draw_shapes

GRID = Grid((48, 48, 48), (1.5, 1.5, 1.5), b0_given=(0.0, 0.6, 0.8))


@pytest.fixture(scope="module")
def head() -> Head:
    return draw_shapes(Dice(2), GRID)


def error_of(head: Head, discrepancy: Discrepancy, seed: int = 9) -> Tensor:
    """The difference to the noise-free field: (x, y, z) [ppm]."""
    return acquire(head, discrepancy, Dice(seed)).values - acquire(head, Discrepancy(), Dice(seed)).values


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def test_a_noise_free_field_is_the_forward_model_inside_the_mask(head: Head) -> None:
    field = acquire(head, Discrepancy(), Dice(0))
    expected = simulate_field(head.chi, GRID)
    assert torch.equal(field.values[head.mask], expected[head.mask])
    assert not bool(field.values[~head.mask].any())
    assert torch.equal(field.mask, head.mask) and field.grid == GRID
    upright = acquire(Head(head.chi, head.mask, head.white, head.labels, GRID.with_b0(None)), Discrepancy(), Dice(0))
    assert rms(upright.values - field.values) > 0.1 * rms(field.values)


@pytest.mark.parametrize("snr", [40.0, 10.0, 1.5])
def test_white_noise_has_the_power_that_was_asked_for(head: Head, snr: float) -> None:
    field = acquire(head, Discrepancy(), Dice(0)).values[head.mask]
    noise = error_of(head, Discrepancy(snr))
    assert float(field.square().mean() / noise[head.mask].square().mean()) == pytest.approx(snr, rel=1e-3)
    assert not bool(noise[~head.mask].any())


@pytest.mark.parametrize("seed", range(4))
def test_a_structured_discrepancy_has_the_same_power_to_a_few_percent(head: Head, seed: int) -> None:
    field = acquire(head, Discrepancy(), Dice(0)).values[head.mask]
    noise = error_of(head, Discrepancy(10.0, 0.6, 3.0, 2.0), seed)[head.mask]
    assert float(field.square().mean() / noise.square().mean()) == pytest.approx(10.0, rel=0.06)


def test_the_same_dice_give_the_same_field_and_other_dice_another(head: Head) -> None:
    discrepancy = Discrepancy(10.0, 0.5, 2.0, 1.0)
    first, again, other = (acquire(head, discrepancy, Dice(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert rms(first - other) > 0.1 * rms(first)


def test_the_structured_share_is_smoother_than_white(head: Head) -> None:
    def share_at_low_frequencies(noise: Tensor) -> float:
        power = torch.fft.fftn(noise).abs().square()
        k = torch.fft.fftfreq(48, 1.5)
        radius = (k.view(-1, 1, 1) ** 2 + k.view(1, -1, 1) ** 2 + k.view(1, 1, -1) ** 2).sqrt()
        return float(power[radius < 0.08].sum() / power.sum())           # coarser than 12 mm

    white, mixed, smooth = (share_at_low_frequencies(error_of(head, Discrepancy(10.0, s))) for s in (0.0, 0.5, 1.0))
    assert white < 0.05             # their share of the band's volume
    assert white + 0.1 < mixed < smooth
    assert smooth > 0.4


def test_the_structure_follows_the_angle_between_fibres_and_b0(head: Head) -> None:
    """Only white matter's share depends on B0: without white matter, turning B0 changes the field alone."""
    turned = GRID.with_b0((1.0, 0.0, 0.0))

    def smooth_error(white: Tensor, grid: Grid) -> Tensor:
        error = error_of(Head(head.chi, head.mask, white, head.labels, grid), Discrepancy(10.0, 1.0), 3)[head.mask]
        return error / rms(error)

    without = [smooth_error(torch.zeros_like(head.white), grid) for grid in (GRID, turned)]
    assert torch.allclose(*without, atol=1e-3)
    with_white = [smooth_error(head.white, grid) for grid in (GRID, turned)]
    assert rms(with_white[0] - with_white[1]) > 0.05


def test_an_edge_weight_makes_the_error_larger_at_the_rim() -> None:
    p = positions(GRID, torch.device("cpu"))
    mask = ball(p, torch.zeros(3), torch.full((3,), 30.0), 0.5) > 0.5
    head = finish(Dice(1).smooth(GRID, 3.0) * 0.05, mask, torch.zeros(GRID.shape), torch.zeros(GRID.shape), GRID)
    radius = p.square().sum(0).sqrt()
    rim, deep = mask & (radius > 28.0), radius < 15.0

    def ratio(edge: float) -> float:
        error = error_of(head, Discrepancy(10.0, edge=edge))
        return rms(error[rim]) / rms(error[deep])

    assert ratio(0.0) == pytest.approx(1.0, abs=0.05)
    assert 1.5 < ratio(1.5) < 2.6           # 1 + edge at the edge itself, less a little way in
    assert ratio(1.5) < ratio(4.0) < 5.0


def test_a_source_weight_makes_the_error_larger_at_veins() -> None:
    p = positions(GRID, torch.device("cpu"))
    mask = ball(p, torch.zeros(3), torch.full((3,), 30.0), 0.5) > 0.5
    vein = (p[0].square() + p[1].square()).sqrt() < 3.0
    head = finish(0.4 * vein, mask, torch.zeros(GRID.shape), torch.zeros(GRID.shape), GRID)
    here, away = mask & vein, mask & ~vein & (p[0].abs() > 10.0)

    def ratio(near: float) -> float:
        error = error_of(head, Discrepancy(10.0, near_sources=near))
        return rms(error[here]) / rms(error[away])

    assert ratio(0.0) == pytest.approx(1.0, abs=0.1)
    assert 1.8 < ratio(1.0) < ratio(3.0) < 8.0


def test_drawn_discrepancies_run_from_noise_free_to_two_thirds_structured() -> None:
    drawn = [draw_discrepancy(Dice(seed)) for seed in range(400)]
    free = [d for d in drawn if math.isinf(d.power_snr)]
    white = [d for d in drawn if not math.isinf(d.power_snr) and d.structured == 0.0]
    structured = [d for d in drawn if d.structured > 0.0]
    assert all(d == Discrepancy() for d in free)
    assert 0.1 < len(free) / 400 < 0.3 and len(white) > 60 and len(structured) > 150
    assert 1.5 <= min(d.power_snr for d in drawn) < 2.5
    assert 0.1 <= min(d.structured for d in structured) < 0.2 and 0.6 < max(d.structured for d in structured) <= 0.67
    assert all(0.0 <= d.edge <= 4.0 and 0.0 <= d.near_sources <= 3.0 for d in drawn)
