"""Scores on folders with a field, masks and a reference map: a table for each folder, and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridMismatch, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation import measured_benchmark as module
from IR2QSMLib.evaluation.benchmark_methods import BenchmarkMethod
from IR2QSMLib.evaluation.measured_benchmark import MeasuredCase, benchmark_measured
from IR2QSMLib.evaluation.metrics import nrmse, xsim
from IR2QSMLib.evaluation.regional_metrics import strong_slope
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.physics.cone import cone_agreement, cone_index
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.simulation.cases import Case, simulate, write_case
from IR2QSMLib.simulation.head import Head
from Testing.Library.tables import rows_by_method

CASE = Case(4, 40.0, (64, 64, 56), (2.5, 2.5, 2.5), tilt=20.0, phantom=True)
QUICK_METHODS = [
    BenchmarkMethod("tkd", (TruncatedDivision(),)),
    BenchmarkMethod("tkd, best", (TruncatedDivision(), TruncatedDivision(0.3))),
    BenchmarkMethod("tikhonov, automatic", (Tikhonov("auto"),)),
    BenchmarkMethod("medi", (Medi(),)),
]


@pytest.fixture(scope="module")
def simulated() -> tuple[Head, LocalField, torch.Tensor]:
    """A case, and the half of its mask in which it is scored."""
    head, field = simulate(CASE)
    scored = head.mask.clone()
    scored[:32] = False
    return head, field, scored


@pytest.fixture(scope="module")
def original(simulated: tuple[Head, LocalField, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    head, field, scored = simulated
    folder = tmp_path_factory.mktemp("cases") / "head"
    with Outputs() as outputs:
        write_case(outputs, folder, head, field)
        outputs.volume(folder / "mask_score.nii.gz", scored, field.grid)
    (folder / "chi_truth.nii.gz").rename(folder / "chimap_truth.nii.gz")
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of the case's folder that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "head"))


@pytest.fixture
def quick_methods(monkeypatch: pytest.MonkeyPatch, make_weights: Callable[..., Path]) -> Path:
    """Replaces the methods by quick ones; weights for the heading."""
    monkeypatch.setattr(module, "benchmark_methods", lambda weights: QUICK_METHODS)
    return make_weights()


def test_scores_are_those_of_the_reconstructed_map(
    simulated: tuple[Head, LocalField, torch.Tensor], folder: Path, quick_methods: Path
) -> None:
    head, field, scored = simulated
    lines: list[str] = []
    benchmark_measured([folder, folder], weights=quick_methods, device="cpu", emit=lines.append)
    assert len(lines) == 5 and "commit" in lines[0]
    rows = rows_by_method(lines[1])
    assert list(rows) == ["reference", "tkd", "tikhonov, automatic"]
    assert "Left out, as there is no magnitude.nii.gz with B0 and TE in params.json: medi." in lines[2]
    chi = reconstruct(field.values, head.mask, grid=field.grid, method="tkd", device="cpu").chi
    coherence, gain = cone_agreement(chi, head.chi, head.mask, head.grid)
    row = rows["tkd"]
    assert float(row["XSIM"]) == pytest.approx(xsim(chi, head.chi, scored), abs=1e-3)
    assert float(row["NRMSE %"]) == pytest.approx(nrmse(chi, head.chi, scored), abs=0.1)
    assert float(row["slope"]) == pytest.approx(strong_slope(chi, head.chi, scored), abs=0.01)
    assert float(row["coherence"]) == pytest.approx(coherence, abs=0.01)
    assert float(row["gain"]) == pytest.approx(gain, abs=0.01)
    for name, values in (("tkd", chi), ("reference", head.chi)):
        index = [float(x) for x in rows[name]["cone index"].split(" · ") if x != "–"]
        expected = [x for x in cone_index(values, head.mask, head.grid) if x is not None]
        assert len(index) == 3 and index == pytest.approx(expected, abs=0.01)


def test_without_a_score_mask_maps_are_scored_in_the_mask(original: Path, folder: Path) -> None:
    (folder / "mask_score.nii.gz").unlink()
    partial, full = MeasuredCase.read(original), MeasuredCase.read(folder)
    assert torch.equal(full.score_mask, full.mask)
    assert 0 < int(partial.score_mask.sum()) < int(full.score_mask.sum())
    assert partial.b0_direction == pytest.approx(CASE.grid().b0_direction, abs=1e-5)


def test_a_magnitude_with_b0_and_echo_times_lets_medi_run(folder: Path, quick_methods: Path) -> None:
    parameters = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    (folder / "params.json").write_text(json.dumps({**parameters, "B0": 3.0, "TE": [0.005, 0.01]}), encoding="utf-8")
    assert MeasuredCase.read(folder).medi_inputs["echo_time"] == pytest.approx(0.005)
    lines: list[str] = []
    benchmark_measured([folder], methods=["medi"], weights=quick_methods, device="cpu", emit=lines.append)
    assert list(rows_by_method(lines[1])) == ["reference", "medi"] and len(lines) == 2


@pytest.mark.parametrize("name", ["localfield.nii.gz", "mask.nii.gz", "params.json", "chimap_truth.nii.gz"])
def test_a_missing_file_is_named_with_its_folder_before_anything_runs(folder: Path, original: Path, name: str) -> None:
    (folder / name).unlink()
    lines: list[str] = []
    with pytest.raises(FileUnreadable, match=f"The folder 'head' holds no {name}; expected localfield.nii.gz, mask"):
        benchmark_measured([original, folder], emit=lines.append)
    assert not lines


@pytest.mark.parametrize("name", ["mask.nii.gz", "chimap_truth.nii.gz", "mask_score.nii.gz"])
def test_a_file_on_another_grid_is_refused(
    folder: Path, simulated: tuple[Head, LocalField, torch.Tensor], write_volume: Callable[..., Path], name: str
) -> None:
    head = simulated[0]
    write_volume(folder / name, head.chi[1:], head.grid.cropped((1, 0, 0), (63, 64, 56)))
    with pytest.raises(GridMismatch, match=f"{name} and localfield.nii.gz differ"):
        MeasuredCase.read(folder)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"B0_dir": [0, 1]}', '{"B0_dir": "z"}'])
def test_parameters_without_a_direction_of_b0_are_refused(folder: Path, text: str) -> None:
    (folder / "params.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileUnreadable, match=r"params.json of 'head' (is not JSON|has no B0_dir)"):
        MeasuredCase.read(folder)


def test_a_reference_with_holes_and_masks_apart_are_refused(
    folder: Path, simulated: tuple[Head, LocalField, torch.Tensor], write_volume: Callable[..., Path]
) -> None:
    head = simulated[0]
    write_volume(folder / "mask_score.nii.gz", ~head.mask, head.grid)
    with pytest.raises(MaskInvalid, match=r"mask_score.nii.gz of 'head' lies nowhere in mask.nii.gz"):
        MeasuredCase.read(folder)
    (folder / "mask_score.nii.gz").unlink()
    with_hole = torch.where(head.chi == head.chi.max(), torch.nan, head.chi)
    write_volume(folder / "chimap_truth.nii.gz", with_hole, head.grid)
    with pytest.raises(FieldInvalid, match=r"chimap_truth.nii.gz of 'head' is not finite in mask.nii.gz"):
        MeasuredCase.read(folder)


def test_an_unknown_method_is_refused(original: Path) -> None:
    with pytest.raises(ParameterInvalid, match=r"The method is 'cosmos'; expected one of: ir2qsm; "):
        benchmark_measured([original], methods=["cosmos"])


def test_each_method_runs_at_its_default_and_two_at_automatic_regularisation() -> None:
    names = [m.name for m in module.benchmark_methods() if module._is_default(m)]
    assert {"ir2qsm", "tkd", "tikhonov", "tikhonov, automatic", "tv", "tv, automatic", "ilsqr", "medi"} <= set(names)
    assert not any("best" in n or "consistency" in n or "whole brain" in n for n in names)


def test_the_command_scores_folders_and_refuses_conflicting_options(
    original: Path, ir2qsm: Callable[..., object]
) -> None:
    ran = ir2qsm("benchmark", "--measured", original, "--methods", "tkd", "--progress", "none")
    assert ran.code == 0 and "### head" in ran.out and "| tkd" in ran.out  # type: ignore[attr-defined]
    ran = ir2qsm("benchmark", "--measured", original, "--phase")
    assert ran.code == 2 and "--measured came with --cases, --phase" in ran.err  # type: ignore[attr-defined]
