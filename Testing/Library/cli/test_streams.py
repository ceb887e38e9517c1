"""Standard output and error that are closed or full change neither the result nor the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from IR2QSMLib.cli.streams import one_line

ROOT = Path(__file__).resolve().parents[3]
RUN = """
import pathlib, sys
from IR2QSMLib.cli.console import Console
from IR2QSMLib.cli.streams import flush_standard_streams, open_standard_streams
open_standard_streams()
console = Console(sys.argv[2])
def work():
    for n in range(2000):
        console.progress(n / 4000, "inversion")
        console.say("a line of a table " * 5)
    with console.outputs as outputs:
        outputs.text(sys.argv[1], "the map")
    return {"warnings": ["A warning."]}
code = console.run(work)
flush_standard_streams()
sys.exit(code)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("mode", ["none", "json"])
@pytest.mark.parametrize("redirection", ["| head -1", ">/dev/full", "<&- >&- 2>&-"])
def test_a_result_is_written_whatever_happens_to_the_streams(tmp_path: Path, mode: str, redirection: str) -> None:
    result = tmp_path / "chi.txt"
    command = f'set -o pipefail; "$0" -c "$1" "$2" {mode} {redirection}'
    words = ["bash", "-c", command, sys.executable, RUN, str(result)]
    process = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0
    assert result.read_text() == "the map"
    assert "Traceback" not in process.stderr and "Exception ignored" not in process.stderr


@pytest.mark.parametrize("redirection", [">/dev/full"])
def test_help_is_no_failure_where_nobody_reads_it(redirection: str) -> None:
    command = f'set -o pipefail; "$0" -m IR2QSMLib --help {redirection}'
    process = subprocess.run(
        ["bash", "-c", command, sys.executable], cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_names_with_line_breaks_stay_in_their_sentence() -> None:
    assert one_line("a\nb\x1b[2K c.nii") == "a\\x0ab\\x1b[2K c.nii"
