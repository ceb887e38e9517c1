"""Numbers by which a map is judged, and the lights that they become."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.regularisation.spectrum import estimate_spectrum
from IR2QSMLib.physics.cone import cone_index
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.pipeline.lights import RULES, lights
from IR2QSMLib.pipeline.quality import QualityNumbers, quality_numbers
from IR2QSMLib.report.map_page import BAD, GOOD, LOOK, UNKNOWN

GRID = Grid((32, 32, 32), (2.0, 2.0, 2.0))
MASK = torch.zeros(GRID.shape, dtype=torch.bool)
MASK[4:28, 4:28, 4:28] = True
CHI = torch.where(MASK, 0.05 * torch.randn(GRID.shape, generator=torch.Generator().manual_seed(1)), 0.0)
SOUND = QualityNumbers(
    extreme_chi=0.2,
    cone_index=(0.8, 1.0, None, None),
    snr=50.0,
    band_snr=(20.0, 6.0, 3.0, None),
    discrepancy_share=0.2,
    wraps=0.0005,
    misfit_share=0.001,
    mask_lost=0.1,
    background=0.005,
    sign_balance=0.9,
)
FAULTS: dict[str, dict[str, Any]] = {
    "noise": {"snr": 5.0},
    "SNR by band": {"band_snr": (20.0, 6.0, 0.8, None)},
    "discrepancy": {"discrepancy_share": 0.5},
    "streaks": {"cone_index": (0.8, 10.0, None, None)},
    "wraps": {"wraps": 0.05},
    "fit over the echoes": {"misfit_share": 0.4},
    "mask lost": {"mask_lost": 0.6},
    "background left": {"background": 0.5},
    "sign": {"sign_balance": -0.95},
    "range": {"extreme_chi": 5.0},
}


def levels(numbers: QualityNumbers) -> dict[str, str]:
    return {light.name: light.level for light in lights(numbers)}


def test_numbers_of_the_sidecar_win_over_computed_ones() -> None:
    steps = {
        "snr": 33.0,
        "wraps_left": 0.01,
        "n_voxels_unreliable": 5,
        "n_voxels": {"mask": 100, "effective_mask": 75},
        "residual_background": 0.125,
    }
    record = {"Field": steps, "Method": {"spectrum": {"discrepancy_share": 0.5}}, "ConeIndex": {"index": [0.5, None]}}
    local = LocalField(simulate_field(CHI, GRID) * MASK, MASK, GRID)
    numbers = quality_numbers(record, CHI, MASK, GRID, local)
    assert (numbers.snr, numbers.wraps, numbers.misfit_share, numbers.mask_lost) == (33.0, 0.01, 0.05, 0.25)
    assert (numbers.background, numbers.discrepancy_share, numbers.cone_index) == (0.125, 0.5, (0.5, None))


def test_what_no_sidecar_says_is_computed_from_map_and_field() -> None:
    white = 0.005 * torch.randn(GRID.shape, generator=torch.Generator().manual_seed(2))
    local = LocalField((simulate_field(CHI, GRID) + white) * MASK, MASK, GRID)
    numbers = quality_numbers({}, CHI, MASK, GRID, local)
    for value, expected in zip(numbers.cone_index, cone_index(CHI - CHI[MASK].mean(), MASK, GRID), strict=True):
        assert value == (expected if expected is None else pytest.approx(expected, rel=1e-5))
    assert numbers.discrepancy_share == estimate_spectrum(local)[0].discrepancy_share
    assert numbers.snr is None and numbers.wraps is None and numbers.sign_balance is None  # no brain's size
    exact = (CHI[MASK] - CHI[MASK].median()).abs().sort().values
    assert numbers.extreme_chi == pytest.approx(float(exact[-round(0.001 * len(exact))]), rel=1e-6)
    assert numbers.band_snr is not None and numbers.band_snr[3] is None  # beyond what 2 mm can hold
    noisier = LocalField((simulate_field(CHI, GRID) + 4.0 * white) * MASK, MASK, GRID)
    more = quality_numbers({}, CHI, MASK, GRID, noisier).band_snr
    assert more is not None and all(a < b for a, b in zip(more[:3], numbers.band_snr[:3], strict=True) if a and b)


def test_a_sound_map_has_green_lights_alone() -> None:
    assert set(levels(SOUND).values()) == {GOOD}
    assert not any(light.advice for light in lights(SOUND))


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_turns_its_own_light_red_and_no_other(name: str) -> None:
    found = levels(dataclasses.replace(SOUND, **FAULTS[name]))
    assert found.pop(name) == BAD and set(found.values()) == {GOOD}


def test_a_number_between_the_limits_is_yellow_and_has_advice() -> None:
    for rule in RULES:
        assert rule.level((rule.look + rule.bad) / 2.0) == LOOK
        assert rule.level(rule.look) == LOOK and rule.level(rule.bad) == BAD and rule.level(None) == UNKNOWN
    (light,) = [x for x in lights(dataclasses.replace(SOUND, mask_lost=0.3)) if x.name == "mask lost"]
    assert light.level == LOOK and "30 %" in light.finding and "--background" in light.advice


def test_what_is_not_known_says_what_it_is_read_from() -> None:
    bare = QualityNumbers(extreme_chi=0.2, cone_index=(None, None, None, None))
    unknown = {light.name: light.finding for light in lights(bare) if light.level == UNKNOWN}
    assert set(unknown) == {rule.name for rule in RULES} - {"range"}
    assert "a run from phase" in unknown["wraps"] and "local field" in unknown["discrepancy"]
