"""Comparisons that fail, are refused or cancelled, and the command line."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import IR2QSMError
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.registry import METHODS
from IR2QSMLib.io.images import read_volume
from Testing.Library.comparisons import comparison_table, read_table, write_changed

# -- failures -------------------------------------------------------------------------------------------------------


def test_a_method_that_cannot_run_is_named_and_the_others_run(
    ir2qsm: Callable[..., Any], case_folder: Path, tmp_path: Path
) -> None:
    files = (case_folder / "localfield.nii.gz", case_folder / "mask.nii.gz")
    ran = ir2qsm("compare", *files, "-o", tmp_path / "out", "--methods", "medi", "tkd", "--progress", "json")
    *progress, result = ran.events()
    assert ran.code == 0 and {e["event"] for e in progress} == {"progress"} and result["event"] == "result"
    assert list(result["maps"]) == ["tkd"] and Path(result["page"]).is_file()
    why = "MEDI takes its edges from the magnitude; give the magnitude image too, or use TV."
    assert result["failed"] == {"medi": why} and result["warnings"] == ["medi was not run: " + why]
    assert read_table(tmp_path / "out")["medi"]["problem"] == why
    fractions = [e["fraction"] for e in progress]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert {"tkd: inversion", "measuring tkd", "drawing", "written"} <= {e["stage"] for e in progress}


def test_when_no_method_can_run_that_is_the_error(
    ir2qsm: Callable[..., Any], case_folder: Path, tmp_path: Path
) -> None:
    files = (case_folder / "localfield.nii.gz", case_folder / "mask.nii.gz")
    ran = ir2qsm("compare", *files, "-o", tmp_path / "out", "--methods", "medi")
    assert ran.code == 2 and "MEDI takes its edges from the magnitude" in ran.err
    assert list((tmp_path / "out").iterdir()) == []


def _refused(case_folder: Path, folder: Path, **options: Any) -> str:
    with pytest.raises(IR2QSMError) as caught:
        comparison_table(case_folder, folder, **options)
    assert not folder.exists() or list(folder.iterdir()) == []
    return f"{caught.value.kind}: {caught.value}"


def test_maps_that_do_not_fit_are_refused_before_anything_runs(
    case_folder: Path, tmp_path: Path, write_volume: Any
) -> None:
    values, grid = read_volume(case_folder / "chi_truth.nii.gz")
    moved = write_volume(tmp_path / "moved.nrrd", values, Grid(grid.shape, grid.voxel_size, grid.direction))
    short = write_volume(tmp_path / "short.nrrd", values[:, :, 1:], grid.cropped((0, 0, 1), values[:, :, 1:].shape))
    ppb = write_volume(tmp_path / "ppb.nrrd", 1000.0 * values, grid)
    holes = write_volume(tmp_path / "holes.nrrd", torch.where(values > 0.0, math.nan, values), grid)
    out = tmp_path / "out"

    def never(fraction: float, stage: str) -> None:
        assert "inversion" not in stage

    messages = {p.stem: _refused(case_folder, out, maps={"m": p}, progress=never) for p in (moved, short, ppb, holes)}
    assert messages["moved"].startswith("GridMismatch: moved.nrrd and localfield.nii.gz lie apart")
    assert messages["short"].startswith("GridMismatch: short.nrrd and localfield.nii.gz differ along z: 32 voxels")
    assert "divide ppb by 1000" in messages["ppb"] and "NaN or infinite values inside the mask" in messages["holes"]
    assert _refused(case_folder, out, truth=short, progress=never).startswith("GridMismatch: short.nrrd")
    assert "the labels are: " in _refused(
        case_folder, out, labels=case_folder / "labels.nii.gz", white_matter=(99,), progress=never
    )
    assert "there is no label map" in _refused(case_folder, out, white_matter=(1,), progress=never)
    assert "nothing to compare" in _refused(case_folder, out, methods=[])
    assert "a lower and a higher end" in _refused(case_folder, out, window=(0.1, -0.1))
    assert "a name of its own" in _refused(
        case_folder, out, methods=["tkd"], maps={"tkd": case_folder / "chi_truth.nii.gz"}
    )


def test_an_input_is_never_overwritten(case_folder: Path, tmp_path: Path, write_volume: Any) -> None:
    mine = write_changed(write_volume, tmp_path / "chi_tkd.nii.gz", case_folder, lambda x: x)
    before = mine.read_bytes()
    with pytest.raises(IR2QSMError, match="would overwrite an input"):
        comparison_table(case_folder, tmp_path, ["tkd"], {"mine": mine})
    assert mine.read_bytes() == before and list(tmp_path.iterdir()) == [mine]


def test_a_cancelled_comparison_ends_and_leaves_nothing(
    worker: Callable[..., subprocess.Popen[str]], case_folder: Path, tmp_path: Path
) -> None:
    files = (case_folder / "localfield.nii.gz", case_folder / "mask.nii.gz")
    out, cancel = tmp_path / "out", tmp_path / "cancel"
    methods = ("tkd", "tv,regularisation=auto,tolerance=0,max_iterations=100000")
    options = ("--methods", *methods, "--progress", "json", "--cancel-file", cancel, "--device", "cpu")
    process = worker("compare", *files, "-o", out, *options)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["stage"] == f"{methods[1]}: inversion":
            break
    assert list(out.glob(".ir2qsm-*")) and process.poll() is None  # the first map waits for the others
    cancel.touch()
    last = next(event for event in map(json.loads, process.stdout) if event["event"] != "progress")
    rest, err = process.communicate(timeout=60)
    assert last == {"event": "cancelled"} and (process.returncode, rest, err) == (3, "", "")
    assert list(out.iterdir()) == []


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_help_lists_every_method(ir2qsm: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        ir2qsm("compare", "--help")
    messages = capfd.readouterr().out
    for entry in METHODS.values():
        assert entry.description in messages and entry.citation in messages


def test_options_reach_the_comparison(ir2qsm: Callable[..., Any], case_folder: Path, tmp_path: Path) -> None:
    files = (case_folder / "localfield.nii.gz", case_folder / "mask.nii.gz")
    ran = ir2qsm(
        "compare",
        *files,
        "-o",
        tmp_path,
        "--methods",
        "tkd",
        "--map",
        f"mine={case_folder / 'chi_truth.nii.gz'}",
        "--map",
        case_folder / "chi_truth.nii.gz",
        "--truth",
        case_folder / "chi_truth.nii.gz",
        "--labels",
        case_folder / "labels.nii.gz",
        "--white-matter",
        1,
        "--window",
        -0.2,
        0.3,
        "--device",
        "cpu",
    )
    assert ran.code == 0, ran.err
    assert list(read_table(tmp_path)) == ["tkd", "mine", "chi_truth"]
    assert '"window": [-0.2, 0.3]' in (tmp_path / "comparison.html").read_text(encoding="utf-8")
    same = ("--map", f"a={files[0]}", "--map", f"a={files[1]}")
    ran = ir2qsm("compare", *files, "-o", tmp_path, *same)
    assert ran.code == 2 and "Two maps are called 'a'" in ran.err
    ran = ir2qsm("compare", *files, "-o", tmp_path, "--te", 0.1, 0.2)
    assert ran.code == 2 and "2 echo times were given" in ran.err
