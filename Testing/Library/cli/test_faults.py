"""Kills, cancellation, full disks, closed pipes, little memory: old results survive, or new ones are whole.

Each run is a forked child of this process, so that none of them imports torch anew. Its moments are the events of
Python's audit hooks (files opened, renamed, removed) and the calls of its progress; a fault strikes at one of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.cli.console import Console
from IR2QSMLib.cli.main import main

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork, resource limits and /proc"),
    pytest.mark.filterwarnings("ignore"),  # Python 3.12 warns of fork where there are threads
]
MAPS = ("chi.nii.gz", "chi.json", "mask.nii.gz")
OLD = b'{"ir2qsm": "an older result"}'
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO)
WRITING = {"open", "os.rename", "tempfile.mkstemp", "os.link"}
"""Events in which the disk may be full."""


@dataclass
class Child:
    """A command in a forked process, in which something strikes at its n-th moment."""

    words: list[str]
    strike: Callable[[str], None]
    at: int = 10**9
    before: Callable[[], None] = lambda: None
    only_writing: bool = False
    moments: int = 0
    out: tuple[int, int] = field(default_factory=os.pipe)

    def moment(self, event: str) -> None:
        """One of the moments of a run; the strike comes once."""
        self.moments += 1
        if 0 < self.at <= self.moments and (event in WRITING or not self.only_writing):
            self.at = 0
            self.strike(event)

    def run(self) -> None:
        """In the child: never returns."""
        code = 1
        try:
            os.setpgid(0, 0)
            torch.set_num_threads(1)
            read, write = self.out
            os.close(read)
            os.dup2(write, 1)
            os.dup2(write, 2)
            sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            progress = Console.progress

            def counted(console: Console, fraction: float, stage: str) -> None:
                self.moment("progress")
                progress(console, fraction, stage)

            Console.progress = counted  # type: ignore[method-assign]
            sys.addaudithook(self._hear)
            self.before()
            code = main(self.words)
        except BaseException:
            with suppress(BaseException):
                traceback.print_exc()
        finally:
            with suppress(BaseException):
                os.write(2, f"\n{self.moments} moments".encode())
            os._exit(code)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.link", "tempfile.mkstemp"):
            is_written = event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            self.moment(event if is_written else "reading")


def start(child: Child) -> tuple[int, Child]:
    pid = os.fork()
    if pid == 0:
        child.run()
    os.close(child.out[1])
    return pid, child


def end(started: tuple[int, Child], seconds: float = 60.0) -> tuple[int, str]:
    """The exit code, negative for a signal, and what was printed; a minute is the most that a run may take."""
    pid, child = started
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGABRT))
    signal.setitimer(signal.ITIMER_REAL, seconds * 10)  # the machine may be busy
    said = b""
    while piece := os.read(child.out[0], 65536):
        said += piece
    os.close(child.out[0])
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert code != -signal.SIGABRT, "it hung"
    return code, said.decode(errors="replace")


@dataclass
class Bench:
    """One command on small files, its good result, and the outcome of runs in which something went wrong."""

    words: list[str]
    folder: Path
    good: dict[str, str] = field(default_factory=dict)
    n_moments: int = 0
    codes: Counter[int] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Run it undisturbed."""
        code, said = end(start(Child(self.words, lambda event: None)))
        assert code == 0, said
        self.n_moments = int(said.split()[-2])
        self.good = {name: digest(self.folder / name) for name in MAPS}

    def older(self) -> None:
        """Put older results where the new ones go."""
        for file in self.folder.iterdir():
            file.unlink()
        for name in MAPS:
            (self.folder / name).write_bytes(OLD)

    def disturbed(self, child: Child, allowed: set[int]) -> str:
        """Run it with a fault and require what holds for each; returns what it said."""
        self.older()
        code, said = end(start(child))
        self.check(code, said, allowed)
        return said

    def check(self, code: int, said: str, allowed: set[int]) -> None:
        self.codes[code] += 1
        assert code in allowed and "Traceback" not in said, (code, said[-3000:])
        sentences = [line for line in said.splitlines() if line.startswith("ir2qsm: ")]
        assert len(sentences) == (code in (2, 3)) or code < 0, said
        old = {name for name in MAPS if (self.folder / name).read_bytes() == OLD}
        for name in set(MAPS) - old:
            assert digest(self.folder / name) == self.good[name], f"{name} is neither the old one nor the new one"
        others = {file.name for file in self.folder.iterdir()} - {*MAPS, "cancel"}
        if code >= 0:
            assert old == (set() if code == 0 else set(MAPS)), f"exit code {code}, old: {old}"
            assert not others, others
        assert all(name.startswith(".ir2qsm-") for name in others), others  # what a killed process cannot remove


def digest(file: Path) -> str:
    """Of a volume, its bytes; of a sidecar, that it is whole."""
    content = file.read_bytes()
    return "JSON" if isinstance(json.loads(content) if file.suffix == ".json" else None, dict) else hashed(content)


def hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def bench(case: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("results")
    outputs = ["-o", folder / "chi.nii.gz", "--mask-output", folder / "mask.nii.gz"]
    words = ["reconstruct", case.field, case.mask, *outputs, "--method", "tkd", "--device", "cpu"]
    made = Bench([str(word) for word in words], folder)
    made.prepare()
    yield made


def killer(number: int) -> Callable[[str], None]:
    return lambda event: os.kill(os.getpid(), number)


def failing(number: int) -> Callable[[str], None]:
    def strike(event: str) -> None:
        raise OSError(number, os.strerror(number))

    return strike


def disturb(bench: Bench, n: int, seed: int) -> None:
    """Faults of every kind at `n` random moments each."""
    chance, cancel = random.Random(seed), bench.folder / "cancel"
    for _ in range(n):
        at = chance.randint(1, bench.n_moments)
        bench.disturbed(Child(bench.words, killer(signal.SIGKILL), at), {-signal.SIGKILL, 0})
        for number in (signal.SIGTERM, signal.SIGINT):
            bench.disturbed(Child(bench.words, killer(number), chance.randint(1, bench.n_moments)), {0, 3})
        words = [*bench.words, "--cancel-file", str(cancel)]
        bench.disturbed(Child(words, lambda event: appear(cancel), chance.randint(1, bench.n_moments)), {0, 3})
        for number in ERRORS:
            at = chance.randint(1, bench.n_moments)
            bench.disturbed(Child(bench.words, failing(number), at, only_writing=True), {0, 2})
        full = chance.choice([0, 10, 300, 2000, 20_000, 60_000])
        bench.disturbed(
            Child(bench.words, print, 10**9, before=lambda n=full: at_most(resource.RLIMIT_FSIZE, n)), {0, 2}
        )
        megabytes = chance.choice([0, 1, 2, 4, 8, 16, 32])
        bench.disturbed(Child(bench.words, print, 10**9, before=lambda n=megabytes: little_memory(n)), {0, 2})
        bench.disturbed(Child(bench.words, print, 10**9, before=lambda: clock_that_jumps(seed)), {0})
        for streams in ((1,), (2,), (1, 2)):
            mode = ["--progress", chance.choice(["json", "bar", "none"])]
            bench.disturbed(Child([*bench.words, *mode], print, 10**9, before=lambda s=streams: shut(s)), {0})
        bench.older()
        pair = [start(Child(bench.words, print)) for _ in range(2)]
        for code, said in [end(one) for one in pair]:
            assert code == 0, said
        bench.check(0, "", {0})


def appear(file: Path) -> None:
    """The cancel file, at once and for long enough to be seen."""
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
    time.sleep(0.3)


def at_most(kind: int, n: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(kind, (n, n))


def little_memory(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    at_most(resource.RLIMIT_AS, pages * resource.getpagesize() + megabytes * 2**20)


def clock_that_jumps(seed: int) -> None:
    """A clock that is set by up to a day between any two looks."""
    chance, now = random.Random(seed), time.time
    time.time = lambda: now() + chance.uniform(-86400.0, 86400.0)


def shut(streams: tuple[int, ...]) -> None:
    """Leave standard output or error to a pipe whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    for number in streams:
        os.dup2(write, number)


def test_no_fault_loses_an_old_result_or_leaves_half_of_a_new_one(bench: Bench) -> None:
    disturb(bench, 1, 3)
    assert {0, 2} <= bench.codes.keys()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_no_fault_of_many_loses_an_old_result_or_leaves_half_of_a_new_one(bench: Bench, seed: int) -> None:
    disturb(bench, 5, 100 + seed)
