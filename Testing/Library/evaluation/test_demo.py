"""The demo on a small phantom: its files, its figure and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from IR2QSMLib.evaluation import demo as module
from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.masks import read_mask
from IR2QSMLib.simulation.cases import CASES, Case
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED

SMALL = Case(4, 40.0, (40, 48, 40), (2.0, 2.0, 2.0), phantom=True)


class FinishedDemo(NamedTuple):
    folder: Path
    table: str
    reports: list[tuple[float, str]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> FinishedDemo:
    """The demo on a small phantom."""
    folder, reports = tmp_path_factory.mktemp("demo") / "new", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CASES", {module.CASE: SMALL})
        text = module.demo(folder, "cpu", lambda fraction, stage: reports.append((fraction, stage)))
    return FinishedDemo(folder, text, reports)


def test_the_demos_brain_is_a_whole_held_out_one_with_noise() -> None:
    case = CASES[module.CASE]
    assert case.seed < FIRST_TRAINING_SEED and case.power_snr == 40.0
    assert case.shape == (160, 192, 160) and case.voxel_size == (1.0, 1.0, 1.0) and not case.phantom


def test_maps_uncertainty_figure_and_inputs_are_written(done: FinishedDemo) -> None:
    assert {p.name for p in done.folder.iterdir()} == {
        "localfield.nii.gz",
        "mask.nii.gz",
        "chi_truth.nii.gz",
        "labels.nii.gz",
        "magnitude.nii.gz",
        "params.json",
        "chi.nii.gz",
        "chi.json",
        "chi_uncertainty.nii.gz",
        "demo.png",
    }
    chi, grid = read_volume(done.folder / "chi.nii.gz")
    mask = read_mask(done.folder / "mask.nii.gz", grid, "chi")
    sigma, _ = read_volume(done.folder / "chi_uncertainty.nii.gz")
    assert float(sigma[mask].min()) > 0.0 and not bool(sigma[~mask].any())
    assert not bool(chi[~mask].any()) and abs(float(chi[mask].mean())) < 1e-5
    provenance = json.loads((done.folder / "chi.json").read_text(encoding="utf-8"))
    assert provenance["Method"]["name"] == "ir2qsm" and provenance["Inputs"]["field"] == "localfield.nii.gz"


def test_the_figure_shows_six_columns_of_three_planes(done: FinishedDemo) -> None:
    from matplotlib.image import imread

    image = imread(done.folder / "demo.png")
    height, width = image.shape[:2]
    assert width == pytest.approx(110 * (2.1 * 6 + 0.8), abs=2) and height > 0.3 * width
    columns = image[..., :3].mean(-1)[height // 4 :, : int(0.93 * width)]
    panels = [columns[:, i * columns.shape[1] // 6 : (i + 1) * columns.shape[1] // 6] for i in range(6)]
    assert all(float(p.std()) > 0.02 for p in panels)
    assert len({round(float(p.mean()), 6) for p in panels}) == 6


def test_the_table_scores_both_methods_against_the_truth(done: FinishedDemo) -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.table.splitlines()]
    assert rows[0] == ["method", "XSIM", "NRMSE %", "HFEN", "correlation", "seconds"]
    assert [row[0] for row in rows[2:]] == ["IR²QSM", "TKD"]
    chi, grid = read_volume(done.folder / "chi.nii.gz")
    truth, _ = read_volume(done.folder / "chi_truth.nii.gz")
    scores = score(chi, truth, read_mask(done.folder / "mask.nii.gz", grid, "chi"))
    assert rows[2][1:4] == [f"{scores['xsim']:.3f}", f"{scores['nrmse_demeaned']:.1f}", f"{scores['hfen']:.1f}"]
    assert all(float(row[5]) >= 0.0 for row in rows[2:]) and rows[2][1:] != rows[3][1:]


def test_progress_runs_from_nothing_to_done(done: FinishedDemo) -> None:
    fractions = [fraction for fraction, _ in done.reports]
    assert fractions[0] == 0.0 and fractions[-1] == 1.0
    assert fractions == sorted(fractions)
    stages = {stage for _, stage in done.reports}
    assert {"simulating a brain", "inversion", "drawing", "done"} <= stages


def test_a_cancelled_demo_writes_nothing(tmp_path: Path) -> None:
    def stop(fraction: float, stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.demo(tmp_path / "demo", "cpu", stop)
    assert not (tmp_path / "demo").exists()


def test_a_second_run_gives_the_same_maps(done: FinishedDemo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "CASES", {module.CASE: SMALL})
    module.demo(tmp_path, "cpu")
    for name in ("chi", "chi_uncertainty", "localfield"):
        repeated, first = (read_volume(folder / f"{name}.nii.gz")[0] for folder in (tmp_path, done.folder))
        assert torch.equal(repeated, first), name
