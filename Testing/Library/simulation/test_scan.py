"""The scan of a held-out head: decay, noise, mask and every effect."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.anatomy import NUCLEI
from IR2QSMLib.simulation.cases import CASES, Case, draw_case, simulate
from IR2QSMLib.simulation.held_out import FineHead, draw_held_out
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.scan import (
    ECHO_TIMES,
    REALISTIC_EFFECTS,
    NoBackground,
    Scan,
    ScanEffects,
    field_at_snr,
    simulate_scan,
)

GRID = Grid((48, 60, 48), (3.0, 3.0, 3.0))
NO_EFFECTS = ScanEffects(microstructure=0.0, mask_irregularity=0.0, mask_errors=0.0)


@pytest.fixture(scope="module")
def head() -> FineHead:
    return draw_held_out(RandomSource(7), GRID)


@pytest.fixture(scope="module")
def scan(head: FineHead) -> Scan:
    return simulate_scan(head, GRID, RandomSource(1), NO_EFFECTS)


def test_the_signal_decays_with_r2_star(head: FineHead, scan: Scan) -> None:
    rate = (scan.signal[0].abs() / scan.signal[-1].abs()).log() / (ECHO_TIMES[-1] - ECHO_TIMES[0])
    pallidum = 1 + [n.name for n in NUCLEI].index("pallidum")
    white = (scan.white > 0.98) & (scan.labels == 0) & (scan.veins == 0.0)
    assert float(rate[white].median()) == pytest.approx(19.0 + 137.0 * 0.035, abs=3.0)
    assert float(rate[scan.labels == pallidum].mean()) > float(rate[white].median()) + 8.0  # iron


def test_the_truth_explains_the_field_of_a_scan_without_effects(scan: Scan) -> None:
    head, field, achieved = field_at_snr(scan, math.inf, RandomSource(0))
    assert achieved == math.inf and not bool((field.mask & ~scan.mask).any())
    assert explained(head.chi, field.values, head.mask, head.grid) > 0.9
    assert abs(float(head.chi[head.mask].mean())) < 1e-6


def explained(chi: Tensor, field: Tensor, mask: Tensor, grid: Grid) -> float:
    return 1.0 - float((field - simulate_field(chi, grid))[mask].var() / field[mask].var())


@pytest.mark.parametrize("snr", [40.0, 5.0])
def test_noise_is_scaled_to_the_power_snr(snr: float, scan: Scan) -> None:
    _, clean, _ = field_at_snr(scan, math.inf, RandomSource(0))
    head, noisy, achieved = field_at_snr(scan, snr, RandomSource(0))
    both = head.mask & clean.mask
    noise = (noisy.values - clean.values)[both]
    assert achieved == pytest.approx(snr, rel=0.05) and torch.equal(head.mask, noisy.mask)
    assert int(both.sum()) > 0.95 * int(clean.mask.sum())
    assert float(clean.values[both].square().mean() / noise.square().mean()) == pytest.approx(achieved, rel=1e-4)


def test_a_power_snr_that_is_not_positive_is_refused(scan: Scan) -> None:
    with pytest.raises(ParameterInvalid, match="power SNR is 0; expected a positive number"):
        field_at_snr(scan, 0.0, RandomSource(0))


@pytest.mark.parametrize(
    "effect", [{"microstructure": 0.02}, {"motion": 0.005}, {"surroundings": True}], ids=lambda c: next(iter(c))
)
def test_every_effect_lowers_the_share_that_the_truth_explains(
    effect: dict[str, float], head: FineHead, scan: Scan
) -> None:
    affected = simulate_scan(head, GRID, RandomSource(1), replace(NO_EFFECTS, **effect))  # type: ignore[arg-type]
    shares = []
    for each in (scan, affected):
        truth, field, _ = field_at_snr(each, math.inf, RandomSource(0))
        shares.append(explained(truth.chi, field.values, truth.mask, truth.grid))
    assert shares[1] < shares[0] - 0.005


def test_the_mask_can_be_deep_irregular_and_wrong_in_places(head: FineHead, scan: Scan) -> None:
    deep, irregular, wrong = (
        simulate_scan(head, GRID, RandomSource(1), replace(NO_EFFECTS, **{name: value})).mask
        for name, value in (("mask_depth", 4.0), ("mask_irregularity", 2.0), ("mask_errors", 1.5))
    )
    assert not bool((deep & ~scan.mask).any()) and int(deep.sum()) < 0.95 * int(scan.mask.sum())
    for other in (irregular, wrong):
        assert bool((other & ~scan.mask).any()) and bool((scan.mask & ~other).any())


def test_strong_sources_dephase_within_a_voxel(head: FineHead) -> None:
    bleeding = draw_held_out(RandomSource(7), GRID, haemorrhage=4.0)
    shown = simulate_scan(bleeding, GRID, RandomSource(1), NO_EFFECTS)
    ratio = shown.signal[-1].abs() / shown.signal[0].abs()
    lesion = shown.lesions == 1
    tissue = shown.mask & ~lesion & (shown.veins == 0.0)
    assert float(ratio[lesion].median()) < 0.4 * float(ratio[tissue].median())


def test_a_realistic_head_has_surroundings_and_loses_its_rim() -> None:
    assert REALISTIC_EFFECTS.surroundings and CASES["held-out brain, as measured"].surroundings
    case = Case(7, 40.0, (48, 60, 48), (3.0, 3.0, 3.0), held_out=True)
    plain, realistic = draw_case(case), draw_case(replace(case, surroundings=True))
    assert plain.power_snr == pytest.approx(40.0, rel=0.06)
    assert realistic.power_snr == pytest.approx(40.0, rel=0.3)  # voxels whose phase wraps are no line in the noise
    assert int(realistic.head.mask.sum()) < 0.9 * int(plain.head.mask.sum())
    assert isinstance(
        simulate_scan(draw_held_out(RandomSource(7), GRID), GRID, RandomSource(1), NO_EFFECTS).removal, NoBackground
    )


def test_an_oblique_held_out_head_has_another_field_and_the_same_anatomy() -> None:
    case = Case(7, math.inf, (48, 60, 48), (3.0, 3.0, 3.0), held_out=True)
    (head, field), (tilted, oblique) = simulate(case), simulate(replace(case, tilt=30.0))
    assert torch.equal(head.labels, tilted.labels) and torch.equal(head.mask, tilted.mask)
    assert oblique.grid.b0_direction[1] == pytest.approx(-0.5)
    assert float((field.values - oblique.values).std()) > 0.3 * float(field.values.std())
