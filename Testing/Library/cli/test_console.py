"""What a run says and how it ends: the bar, the events, the exit codes, and every way of being cancelled."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.cli.console import GRACE_SECONDS, POLL_SECONDS, Console
from IR2QSMLib.core.errors import Cancelled, GridMismatch

ROOT = Path(__file__).resolve().parents[3]


def events(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


# -- how a run ends ---------------------------------------------------------------------------------------------------


def test_a_result_is_one_line_of_ascii_and_exits_with_zero(out: io.StringIO) -> None:
    assert Console("json", out=out).run(lambda: {"chi": "/données/χ.nii", "warnings": []}) == 0
    assert out.getvalue().isascii() and out.getvalue().count("\n") == 1
    assert events(out) == [{"event": "result", "chi": "/données/χ.nii", "warnings": []}]


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        (
            GridMismatch("Apart.", option="mask"),
            2,
            {"event": "error", "kind": "GridMismatch", "option": "mask", "message": "Apart."},
        ),
        (Cancelled(), 3, {"event": "cancelled"}),
        (KeyboardInterrupt(), 3, {"event": "cancelled"}),
        (
            ValueError(),
            1,
            {
                "event": "error",
                "kind": "InternalError",
                "option": None,
                "message": "ValueError; please report it.",
            },
        ),
    ],
)
def test_each_failure_has_an_event_and_an_exit_code(
    out: io.StringIO, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, last: dict[str, Any]
) -> None:
    console = Console("json", out=out)

    def work() -> None:
        console.progress(0.5, "inversion")
        raise error

    assert console.run(work) == code
    assert events(out)[1:] == [last]
    assert ("Traceback" in capsys.readouterr().err) == (code == 1)


def test_no_event_follows_the_last_one(out: io.StringIO) -> None:
    console = Console("json", out=out)
    console.run(lambda: {"warnings": []})
    console.progress(1.0, "late")
    assert len(events(out)) == 1


def test_warnings_and_errors_for_people_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise GridMismatch("They differ.")

    assert Console("bar").run(lambda: {"warnings": ["Tiles were used."]}) == 0
    assert Console("none").run(fail) == 2
    assert Console("none").run(lambda: None) == 0
    assert capsys.readouterr() == ("", "warning: Tiles were used.\nir2qsm: They differ.\n")


def test_lines_for_people_leave_standard_output_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    Console("json").say("a table")
    Console("none").say("a table")
    assert capsys.readouterr() == ("a table\n", "a table\n")


# -- progress ---------------------------------------------------------------------------------------------------------


def test_progress_never_runs_backwards(out: io.StringIO) -> None:
    console = Console("json", out=out)
    for fraction in (0.0, 0.4, 0.1, 0.7, 1.0):
        console.progress(fraction, "inversion")
    assert [e["fraction"] for e in events(out)] == [0.0, 0.4, 0.4, 0.7, 1.0]
    assert events(out)[1] == {"event": "progress", "fraction": 0.4, "stage": "inversion", "message": "inversion, 40%"}


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("bar", "none"):
        Console(mode).progress(0.5, "inversion")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_with_percent_and_an_estimate(case: Any, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "IR2QSMLib", "reconstruct", case.field, case.mask, "-o", tmp_path / "chi.nii.gz"]
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        received = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            received += part
        assert process.stdout is not None and process.stdout.read() == b""
    os.close(master)
    assert process.returncode == 0
    lines = received.decode().split("\r")
    percents = [int(match[1]) for line in lines if (match := re.search(r" (\d+) % ", line))]
    assert percents == sorted(percents) and percents[0] == 0 and percents[-1] == 100 and len(percents) > 10
    assert any(re.fullmatch(r"█+ +\d+ % +\d+ s left +inversion +", line) for line in lines)


# -- cancellation -----------------------------------------------------------------------------------------------------


def test_a_cancel_file_ends_the_run_at_the_next_progress(out: io.StringIO, tmp_path: Path) -> None:
    file = tmp_path / "cancel"
    console = Console("json", file, out)

    def work() -> None:
        console.outputs.text(tmp_path / "a.txt", "half")
        file.touch()
        for _ in range(3000):
            time.sleep(0.02)
            console.progress(0.5, "inversion")
        pytest.fail("was not cancelled")

    assert console.run(work) == 3
    assert events(out)[-1] == {"event": "cancelled"}
    assert [e["event"] for e in events(out)].count("cancelled") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["cancel"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_what_the_cancel_file_does(out: io.StringIO, tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        pytest.skip("the tests run in the background of a shell, which ignores this signal")
    console = Console("json", out=out)

    def work() -> None:
        with console.outputs as outputs:
            outputs.text(tmp_path / "a.txt", "half")
            os.kill(os.getpid(), number)
            console.progress(0.5, "writing")

    assert console.run(work) == 3
    assert events(out) == [{"event": "cancelled"}]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


def test_a_run_whose_files_are_in_place_is_done_even_if_cancelled_then(out: io.StringIO, tmp_path: Path) -> None:
    console = Console("json", out=out)

    def work() -> dict[str, Any]:
        with console.outputs as outputs:
            outputs.text(tmp_path / "a.txt", "whole")
        os.kill(os.getpid(), signal.SIGINT)
        return {"warnings": []}

    assert console.run(work) == 0
    assert events(out) == [{"event": "result", "warnings": []}]
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


LONG_CALL = """
import hashlib, pathlib, sys
from IR2QSMLib.cli.console import Console
console = Console("json", pathlib.Path(sys.argv[1]))
def work():
    console.outputs.text(sys.argv[2], "half")
    console.progress(0.5, "inversion")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # many minutes without Python or signal handlers
sys.exit(console.run(work))
"""


@pytest.mark.parametrize("how", ["file", "SIGINT", "SIGTERM"])
def test_a_long_call_is_ended_without_waiting_for_it(tmp_path: Path, how: str) -> None:
    assert POLL_SECONDS + GRACE_SECONDS < 2.0
    file, result = tmp_path / "cancel", tmp_path / "a.txt"
    command = [sys.executable, "-c", LONG_CALL, str(file), str(result)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["event"] == "progress"
        if how == "file":
            file.touch()
        else:
            process.send_signal(getattr(signal, how))
        try:
            code = process.wait(60)
        finally:
            process.kill()
        assert (code, process.stdout.read(), process.stderr.read()) == (3, '{"event": "cancelled"}\n', "")
    assert [p.name for p in tmp_path.iterdir() if p != file] == []
