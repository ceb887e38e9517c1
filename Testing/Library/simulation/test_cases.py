"""The held-out cases: their seeds, grids and noise, and their files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.masks import read_labels, read_mask
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.simulation import cases
from IR2QSMLib.simulation.cases import CASES, Case, simulate, write_case
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED

SMALL = Case(0, 40.0, shape=(48, 56, 48), voxel_size=(3.0, 3.0, 3.0))


class Stopped(Exception):
    """Ends a draw once its arguments are known."""


def test_every_case_is_below_the_first_training_seed() -> None:
    assert all(0 <= case.seed < FIRST_TRAINING_SEED for case in CASES.values())


def test_the_cases_cover_noise_lesions_and_grids() -> None:
    snrs = {case.power_snr for case in CASES.values()}
    assert snrs == {math.inf, 40.0, 10.0, 5.0, 2.0}
    assert {case.power_snr for case in CASES.values() if case.held_out} == snrs
    assert any(case.bleeds for case in CASES.values()) and any(case.surroundings for case in CASES.values())
    assert any(case.phantom for case in CASES.values()) and any(case.haemorrhage for case in CASES.values())
    assert any(case.voxel_size == (1.0, 1.0, 3.0) for case in CASES.values())
    assert any(case.tilt == 30.0 for case in CASES.values())
    assert len({case.seed for case in CASES.values() if not case.phantom}) >= 2


def test_an_oblique_case_has_b0_at_its_tilt() -> None:
    (oblique,) = (case for case in CASES.values() if case.tilt)
    b = oblique.grid().b0_direction
    assert math.degrees(math.acos(b[2])) == pytest.approx(30.0, abs=1e-6)
    assert b[0] == pytest.approx(0.0, abs=1e-9)  # rotated about the left-right axis
    assert SMALL.grid().b0_direction == pytest.approx((0.0, 0.0, 1.0))


@pytest.mark.parametrize("case", [SMALL, replace(SMALL, tilt=30.0), Case(0, 1.0, (9, 12, 8), (1.0, 2.0, 3.0))])
def test_a_cases_grid_is_centred_on_the_scanner_with_the_patients_right_first(case: Case) -> None:
    grid = case.grid()
    np.testing.assert_allclose(grid.corners().mean(0), 0.0, atol=1e-9)
    np.testing.assert_allclose(grid.matrix[:, 0], (-1.0, 0.0, 0.0), atol=1e-12)  # LPS: the x axis points right
    assert grid.matrix[1, 1] < -0.8 and grid.matrix[2, 2] > 0.8
    assert grid.voxel_size == case.voxel_size


def test_a_case_depends_on_its_seed_alone_and_has_its_power_snr() -> None:
    (head, field), (_, repeated), (_, other) = simulate(SMALL), simulate(SMALL), simulate(replace(SMALL, seed=1))
    clean = simulate(replace(SMALL, power_snr=math.inf))[1]
    assert torch.equal(field.values, repeated.values)
    assert not torch.equal(field.mask, other.mask)
    noise = (field.values - clean.values)[head.mask]
    assert float(clean.values[head.mask].square().mean() / noise.square().mean()) == pytest.approx(40.0, rel=0.01)


@pytest.mark.parametrize("option", [{"haemorrhage": 2.0}, {"bleeds": True}, {"surroundings": True}, {"mismatch": 0.2}])
def test_what_only_held_out_heads_have_is_refused_for_others(option: dict[str, Any]) -> None:
    with pytest.raises(ParameterInvalid, match=f"{next(iter(option))}: only held-out heads have that"):
        replace(SMALL, **option)
    assert replace(SMALL, held_out=True, **option) != replace(SMALL, held_out=True)


def test_a_haemorrhage_changes_only_its_own_half_of_the_head() -> None:
    case = replace(SMALL, seed=3, power_snr=math.inf, held_out=True)
    (plain, _), (bleeding, _) = simulate(case), simulate(replace(case, haemorrhage=6.0))
    assert plain.lesions is not None and not bool(plain.lesions.any())
    assert bleeding.lesions is not None
    volume = float((bleeding.lesions > 0).sum()) * 27.0 / 1000.0
    assert volume == pytest.approx(6.0, rel=0.3)
    assert float(bleeding.chi[bleeding.lesions > 0].quantile(0.9)) == pytest.approx(0.6, abs=0.1)
    added = bleeding.chi - plain.chi
    assert float(added[24:].std()) < 0.1 * float(added[:24].std())  # the patient's left


def test_a_phantom_case_is_the_phantom() -> None:
    head, _ = simulate(Case(4, 40.0, (48, 48, 48), phantom=True))
    assert head.labels.unique().tolist() == list(range(9))
    assert not bool(head.white.any())


def test_an_ordinary_case_draws_no_lesions(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[bool] = []

    def recorded(rng: RandomSource, grid: object, *, lesions: bool) -> None:
        values.append(lesions)
        raise Stopped

    monkeypatch.setattr(cases, "draw_brain", recorded)
    with pytest.raises(Stopped):
        simulate(SMALL)
    assert values == [False]


def test_a_head_off_the_grid_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match=r"No voxel of the head lies on a grid of \(8, 8, 8\) voxels; give"):
        simulate(Case(0, 40.0, (8, 8, 8), (0.5, 0.5, 0.5)))


def test_a_case_can_be_read_from_its_files(tmp_path: Path) -> None:
    head, field = simulate(replace(SMALL, tilt=30.0))
    folder = tmp_path / "new" / "case"
    with Outputs() as outputs:
        write_case(outputs, folder, head, field)
        assert not (folder / "mask.nii.gz").exists()  # all appear together
    assert sorted(p.name for p in folder.iterdir()) == [
        "chi_truth.nii.gz",
        "labels.nii.gz",
        "localfield.nii.gz",
        "magnitude.nii.gz",
        "mask.nii.gz",
        "params.json",
    ]
    values, grid = read_volume(folder / "localfield.nii.gz")
    assert torch.equal(values, field.values)
    grid.require_match(field.grid, "file", "case")
    np.testing.assert_allclose(grid.b0_direction, field.grid.b0_direction, atol=1e-5)
    assert torch.equal(read_volume(folder / "chi_truth.nii.gz")[0], head.chi)
    assert torch.equal(read_mask(folder / "mask.nii.gz", grid, "localfield"), head.mask)
    labels = read_labels(folder / "labels.nii.gz", grid, "localfield")
    assert torch.equal(labels.to(head.labels.dtype), head.labels)
    params = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    assert params["B0_dir"] == pytest.approx([0.0, -0.5, math.cos(math.radians(30))])  # y points forward
    assert params["voxel_size"] == [3.0, 3.0, 3.0] and params["Units"] == "ppm"
