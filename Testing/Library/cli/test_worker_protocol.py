"""The worker as Slicer runs it: a process of its own, JSON lines on standard output, cancelled by file or signal."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.simulation.cases import Case, simulate

Worker = Callable[..., subprocess.Popen[str]]
ENDS = ("result", "error", "cancelled")


def end(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, events and standard error of a worker, once it has ended."""
    out, err = process.communicate(timeout=120)
    assert out.isascii()
    found = [json.loads(line) for line in out.splitlines()]
    assert all(e["event"] in ("progress", *ENDS) for e in found)
    return process.returncode, found, err


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, write_volume: Any) -> tuple[Path, Path]:
    """Field and mask of a phantom whose inversion takes several seconds."""
    _, local = simulate(Case(9, 40.0, (120, 120, 104), (1.4, 1.4, 1.4), phantom=True))
    folder = tmp_path_factory.mktemp("large")
    field = write_volume(folder / "field.nii.gz", local.values, local.grid)
    return field, write_volume(folder / "mask.nii.gz", local.mask, local.grid)


def test_a_run_reports_its_progress_and_exactly_one_result(worker: Worker, case: Any, tmp_path: Path) -> None:
    output, mask = tmp_path / "χ.nii.gz", tmp_path / "mask.nii.gz"
    code, events, err = end(
        worker("reconstruct", case.field, case.mask, "-o", output, "--mask-output", mask, "--progress", "json")
    )
    assert (code, err) == (0, "")
    *progress, result = events
    fractions = [e["fraction"] for e in progress]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert all(set(e) == {"event", "fraction", "stage", "message"} and e["event"] == "progress" for e in progress)
    assert {"reading", "inversion", "reference", "written"} <= {e["stage"] for e in progress}
    assert result == {
        "event": "result",
        "chi": str(output),
        "uncertainty": None,
        "mask": str(mask),
        "provenance": str(tmp_path / "χ.json"),
        "warnings": result["warnings"],
    }
    assert isinstance(result["warnings"], list) and all(isinstance(said, str) for said in result["warnings"])
    assert all(Path(result[k]).is_file() for k in ("chi", "mask", "provenance"))
    assert len(list(tmp_path.iterdir())) == 3


def test_bad_input_is_one_error_event(worker: Worker, case: Any, tmp_path: Path) -> None:
    code, events, err = end(
        worker("reconstruct", case.field, tmp_path / "none.nii", "-o", tmp_path / "chi.nii", "--progress", "json")
    )
    assert (code, err) == (2, "")
    message = "none.nii does not exist; check the path."
    assert events[-1] == {"event": "error", "kind": "FileUnreadable", "message": message}
    assert [e["event"] for e in events[:-1]] == ["progress"] * (len(events) - 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [["--progress", "json"], ["--progress=json"]])
def test_a_usage_error_is_an_error_event_too(worker: Worker, mode: list[str]) -> None:
    code, events, err = end(worker("reconstruct", "--bogus", *mode))
    assert (code, err) == (2, "")
    (error,) = events
    assert (error["event"], error["kind"]) == ("error", "ParameterInvalid")
    assert "required" in error["message"]


def cancelled(process: subprocess.Popen[str], cancel: Callable[[], object]) -> None:
    """Cancel a worker in the midst of its inversion, and see that it says so once, in time."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["stage"] == "inversion":
            break
    time.sleep(0.3)
    assert process.poll() is None
    start = time.monotonic()
    cancel()
    code, events, err = end(process)
    assert time.monotonic() - start < 2.0
    assert (code, err) == (3, "")
    assert [e for e in events if e["event"] != "progress"] == [{"event": "cancelled"}] == events[-1:]


def test_a_cancel_file_that_appears_ends_the_run_within_two_seconds(
    worker: Worker, large: tuple[Path, Path], tmp_path: Path
) -> None:
    file, folder = tmp_path / "cancel", tmp_path / "out"
    folder.mkdir()
    arguments = ("-o", folder / "chi.nii.gz", "--progress", "json", "--cancel-file", file)
    cancelled(worker("reconstruct", "--device", "cpu", *large, *arguments), file.touch)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_within_two_seconds(
    worker: Worker, large: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ("-o", tmp_path / "chi.nii.gz", "--progress", "json")
    process = worker("reconstruct", "--device", "cpu", *large, *arguments)
    cancelled(process, lambda: process.send_signal(number))
    assert list(tmp_path.iterdir()) == []


def test_a_cancel_file_that_was_there_before_ends_the_run_at_once(
    worker: Worker, large: tuple[Path, Path], tmp_path: Path
) -> None:
    file, folder = tmp_path / "cancel", tmp_path / "out"
    file.touch()
    folder.mkdir()
    start = time.monotonic()
    arguments = ("-o", folder / "chi.nii.gz", "--progress", "json", "--cancel-file", file)
    code, events, err = end(worker("reconstruct", "--device", "cpu", *large, *arguments))
    assert time.monotonic() - start < 4.0  # of which Python takes some to start
    assert (code, err) == (3, "")
    assert [e for e in events if e["event"] != "progress"] == [{"event": "cancelled"}]
    assert list(folder.iterdir()) == []


def test_people_are_told_of_a_cancellation_in_one_line(
    worker: Worker, large: tuple[Path, Path], tmp_path: Path
) -> None:
    process = worker("reconstruct", "--device", "cpu", *large, "-o", tmp_path / "chi.nii.gz")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (3, "", "ir2qsm: The run was cancelled; nothing was written.\n")
    assert list(tmp_path.iterdir()) == []
