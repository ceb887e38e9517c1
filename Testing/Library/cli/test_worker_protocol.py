"""The worker as Slicer runs it: a process of its own, JSON lines on standard output, cancelled by file or signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.simulation.cases import Case, simulate

Worker = Callable[..., subprocess.Popen[str]]
ENDS = ("result", "error", "cancelled")
ROOT = Path(__file__).resolve().parents[3]


def end(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, events and standard error of a worker, once it has ended."""
    out, err = process.communicate(timeout=120)
    assert out.isascii()
    events = [json.loads(line) for line in out.splitlines()]
    assert all(e["event"] in ("progress", *ENDS) for e in events)
    return process.returncode, events, err


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, write_volume: Any) -> tuple[Path, Path]:
    """Field and mask of a phantom whose inversion takes several seconds."""
    _, local = simulate(Case(9, 40.0, (96, 96, 88), (1.7, 1.7, 1.7), phantom=True))
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
    assert isinstance(result["warnings"], list) and all(isinstance(warning, str) for warning in result["warnings"])
    assert all(Path(result[k]).is_file() for k in ("chi", "mask", "provenance"))
    assert len(list(tmp_path.iterdir())) == 3


def test_bad_input_is_one_error_event(worker: Worker, case: Any, tmp_path: Path) -> None:
    code, events, err = end(
        worker("reconstruct", case.field, tmp_path / "none.nii", "-o", tmp_path / "chi.nii", "--progress", "json")
    )
    assert (code, err) == (2, "")
    message = "none.nii does not exist; check the path."
    assert events[-1] == {"event": "error", "kind": "FileUnreadable", "option": "mask", "message": message}
    assert [e["event"] for e in events[:-1]] == ["progress"] * (len(events) - 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [["--progress", "json"], ["--progress=json"]])
def test_a_usage_error_is_an_error_event_too(ir2qsm: Callable[..., Any], mode: list[str]) -> None:
    ran = ir2qsm("reconstruct", "--bogus", *mode)
    assert (ran.code, ran.err) == (2, "")
    (error,) = ran.events()
    assert (error["event"], error["kind"], error["option"]) == ("error", "ParameterInvalid", "field")
    assert "required" in error["message"]


def cancelled(process: subprocess.Popen[str], cancel: Callable[[], object]) -> None:
    """Cancel a worker in the midst of its inversion, and require one event that says so."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["stage"] == "inversion":
            break
    assert process.poll() is None
    cancel()
    code, events, err = end(process)
    assert (code, err) == (3, "")
    assert [e for e in events if e["event"] != "progress"] == [{"event": "cancelled"}] == events[-1:]


def test_a_cancel_file_that_appears_ends_the_run(worker: Worker, large: tuple[Path, Path], tmp_path: Path) -> None:
    file, folder = tmp_path / "cancel", tmp_path / "out"
    folder.mkdir()
    arguments = ("-o", folder / "chi.nii.gz", "--progress", "json", "--cancel-file", file)
    cancelled(worker("reconstruct", "--device", "cpu", *large, *arguments), file.touch)
    assert list(folder.iterdir()) == []


def test_a_signal_ends_the_run(worker: Worker, large: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ("-o", tmp_path / "chi.nii.gz", "--progress", "json")
    process = worker("reconstruct", "--device", "cpu", *large, *arguments)
    cancelled(process, lambda: process.send_signal(signal.SIGTERM))
    assert list(tmp_path.iterdir()) == []


def test_a_cancel_file_that_is_there_before_ends_the_run_before_the_inversion(
    worker: Worker, case: Any, tmp_path: Path
) -> None:
    file, folder = tmp_path / "cancel", tmp_path / "out"
    file.touch()
    folder.mkdir()
    arguments = ("-o", folder / "chi.nii.gz", "--progress", "json", "--cancel-file", file)
    code, events, err = end(worker("reconstruct", "--device", "cpu", case.field, case.mask, *arguments))
    assert (code, err) == (3, "")
    assert events[-1] == {"event": "cancelled"}
    assert {e["stage"] for e in events[:-1]} <= {"reading"}
    assert list(folder.iterdir()) == []


def test_a_cancellation_is_one_line_for_people(large: tuple[Path, Path], tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    terminal, standard_error = pty.openpty()
    command = [sys.executable, "-m", "IR2QSMLib", "reconstruct", "--device", "cpu", *large, "-o", tmp_path / "c.nii"]
    with subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=standard_error,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        os.close(standard_error)
        text = os.read(terminal, 4096)  # the bar: the run has begun
        process.send_signal(signal.SIGINT)
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            text += part
        assert process.stdout is not None and process.stdout.read() == b""
    os.close(terminal)
    assert process.returncode == 3
    last_line = text.decode().split("\r\033[K")[-1]
    assert last_line == "ir2qsm: The run was cancelled; nothing was written.\r\n"
    assert list(tmp_path.iterdir()) == []
