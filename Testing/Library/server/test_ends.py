"""Clients and servers that end at several moments: no half-made result, no file and no process is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from IR2QSMLib.server.folders import PREFIX
from IR2QSMLib.simulation.cases import Case, simulate
from Testing.Library.servers import wait_until

ROOT = Path(__file__).resolve().parents[3]
MOMENTS = ("reading", "sending", "waiting for the server", "starting", "inversion")
"""Stages of a run at which it is ended."""
Worker = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory, write_volume: Any) -> tuple[Path, Path]:
    """Field and mask of a phantom whose inversion takes several seconds."""
    _, local = simulate(Case(9, 40.0, (120, 120, 104), (1.4, 1.4, 1.4), phantom=True))
    folder = tmp_path_factory.mktemp("slow")
    field = write_volume(folder / "field.nii.gz", local.values, local.grid)
    return field, write_volume(folder / "mask.nii.gz", local.mask, local.grid)


class ServingProcess:
    """`ir2qsm serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, folder / "token"
        options = ["--port", "0", "--token-file", str(self.token), "--folder", str(folder), "--device", "cpu"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "IR2QSMLib", "serve", *options],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        line = next(line for line in self.process.stdout if " serves at " in line)
        self.address = line.split(" serves at ")[1].split(";")[0]

    def runs(self) -> list[Path]:
        return list(self.folder.glob(f"{PREFIX}*/run-*"))

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[ServingProcess]:
    (tmp_path / "server").mkdir()
    server = ServingProcess(tmp_path / "server")
    yield server
    server.process.terminate()
    server.process.communicate(timeout=60)


@pytest.fixture
def start_run(worker: Worker, slow: tuple[Path, Path], serving: ServingProcess, tmp_path: Path) -> Iterator[Worker]:
    """Start a client; its results go to a folder of its own."""
    clients = []

    def start(name: str) -> subprocess.Popen[str]:
        (tmp_path / name).mkdir()
        files = ["-o", tmp_path / name / "chi.nii.gz", "--uncertainty", tmp_path / name / "sd.nii.gz"]
        options = ["--server", serving.address, "--token-file", serving.token, "--progress", "json"]
        clients.append(worker("reconstruct", *slow, *files, *options, "--cancel-file", tmp_path / f"{name}.cancel"))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()
        client.communicate()


def wait_for_stage(client: subprocess.Popen[str], stage: str) -> None:
    assert client.stdout is not None
    assert any(json.loads(line).get("stage") == stage for line in client.stdout)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", ["cancel file", "SIGKILL"])
def test_a_client_that_ends_leaves_nothing(
    start_run: Worker, serving: ServingProcess, tmp_path: Path, how: str, moment: str
) -> None:
    before = start_run("before") if moment.startswith("waiting") else None
    if before is not None:
        wait_for_stage(before, "starting")
    client = start_run("out")
    wait_for_stage(client, moment)
    if how == "SIGKILL":
        client.kill()
        client.wait(60)
    else:
        (tmp_path / "out.cancel").touch()
        lines = client.communicate(timeout=60)[0].splitlines()
        assert (client.returncode, json.loads(lines[-1])) == (3, {"event": "cancelled"})
    assert list((tmp_path / "out").iterdir()) == []
    if before is not None:
        before.kill()
    wait_until(lambda: not serving.runs() and not serving.workers())


@pytest.mark.parametrize("moment", MOMENTS[1:])
def test_a_server_that_is_killed_is_one_sentence(
    start_run: Worker, serving: ServingProcess, tmp_path: Path, moment: str
) -> None:
    before = start_run("before") if moment.startswith("waiting") else None
    if before is not None:
        wait_for_stage(before, "starting")
    client = start_run("out")
    wait_for_stage(client, moment)
    workers = serving.workers()
    serving.process.send_signal(signal.SIGKILL)
    serving.process.wait(60)
    out, err = client.communicate(timeout=60)
    event = json.loads(out.splitlines()[-1])
    assert (client.returncode, event["event"], event["kind"]) == (2, "error", "ServerUnavailable"), err
    assert "was lost; see whether the server still runs" in event["message"] or "No server answers" in event["message"]
    assert event["option"] == "server" and list((tmp_path / "out").iterdir()) == []
    wait_until(lambda: not any(process.is_running() for process in workers))  # they notice it by themselves
    with ServingProcess(tmp_path / "server").process as next_start:
        next_start.terminate()
    wait_until(lambda: [path.name for path in (tmp_path / "server").iterdir()] == ["token"])


def test_runs_wait_for_each_other(start_run: Worker, serving: ServingProcess, tmp_path: Path) -> None:
    first, second = start_run("first"), start_run("second")
    counts = []

    def count_workers() -> None:
        while first.poll() is None or second.poll() is None:
            counts.append(len(serving.workers()))
            time.sleep(0.05)

    counter = threading.Thread(target=count_workers)
    counter.start()
    for client in (first, second):
        assert json.loads(client.communicate(timeout=300)[0].splitlines()[-1])["event"] == "result"
    counter.join()
    assert max(counts) == 1
    assert (tmp_path / "first" / "chi.nii.gz").read_bytes() == (tmp_path / "second" / "chi.nii.gz").read_bytes()
    assert not serving.runs()
