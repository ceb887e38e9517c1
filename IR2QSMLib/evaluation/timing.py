"""What a piece of work costs, and how much of an inversion's time its Fourier transforms take."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from IR2QSMLib.core.devices import release_freed_memory
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.inversion.regularisation import AUTO
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.report.figure import table
from IR2QSMLib.simulation.cases import Case, simulate

SPEED_SHAPE = (160, 160, 160)
"""The volume whose inversion is timed [voxels]."""
TIMED: dict[str, Method] = {
    "tkd": TruncatedDivision(),
    "tv": TotalVariation(),
    "tv, automatic": TotalVariation(AUTO),
    "ilsqr": Ilsqr(),
    "medi": Medi(),
    "medi, automatic": Medi(AUTO),
}
PROBE = 0.25
"""Seconds of a method between two measurements of a pair of transforms by itself."""


@dataclass
class Cost:
    """What a block of code took."""

    seconds: float = 0.0
    peak: float = 0.0
    """Bytes above what was in use before: resident memory, or the GPU's own count."""


@contextmanager
def measured(device: str) -> Iterator[Cost]:
    """Measure seconds and peak memory of a block."""
    cost, process, done = Cost(), psutil.Process(), threading.Event()
    release_freed_memory()  # else a block that reuses what an earlier one freed seems to take none
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        if gpu:
            torch.cuda.synchronize(device)
        cost.seconds = time.perf_counter() - start
        done.set()
        watcher.join()
        cost.peak = torch.cuda.max_memory_allocated(device) if gpu else peak - before


def transform_report(device: str) -> str:
    """Iterations, transform pairs, seconds and peak memory of the iterative methods on a brain of `SPEED_SHAPE` voxels.

    'of it FFT' is the time of as many pairs (a real transform there and back) by themselves over the method's own: what
    is left of the whole is all that better arithmetic could gain. A pair is timed again and again as the method runs,
    between its steps and not on its account: what else a machine does slows both by up to half, for seconds.
    """
    voxel = 184.0 / SPEED_SHAPE[0]
    _, field = simulate(Case(0, 40.0, SPEED_SHAPE, (voxel, voxel, voxel)))
    field = field.to(device)
    rows = []
    for name, method in TIMED.items():
        probe = _Probe(field.values, device)
        with measured(device) as cost:
            notes = method(field, probe).notes
        probe.measure()  # for a method without steps
        seconds, alone = cost.seconds - probe.spent, statistics.fmean(probe.found)
        n_pairs = notes.get("fft_pairs", 1)
        iterations = notes.get("inner_iterations", notes.get("iterations", 1))
        steps = "+".join(map(str, iterations)) if isinstance(iterations, list) else str(iterations)
        rows.append(
            [
                name,
                steps,
                f"{n_pairs:g}",
                f"{seconds:.2f}",
                f"{1e3 * alone:.1f}",
                f"{100.0 * n_pairs * alone / seconds:.0f}",
                f"{cost.peak / 1e6:.0f}",
            ]
        )
    head = ["method", "iterations", "FFT pairs", "s", "one pair ms", "of it FFT %", "peak MB"]
    voxels = "×".join(map(str, SPEED_SHAPE))
    return f"### Inversion of {voxels} voxels on {device}, {torch.get_num_threads()} threads\n\n{table(rows, head)}"


class _Probe:
    """A progress callback that times a pair of transforms every `PROBE` seconds, and knows what that took in all."""

    def __init__(self, values: Tensor, device: str) -> None:
        self.values, self.gpu = values, device.startswith("cuda")
        self.found: list[float] = []
        self._pair()  # plans the transform
        self.spent, self.last = 0.0, time.perf_counter()

    def __call__(self, fraction: float, stage: str) -> None:
        start = time.perf_counter()
        if start - self.last >= PROBE:
            self.measure()
            self.last = time.perf_counter()
            self.spent += self.last - start

    def measure(self) -> None:
        """Time one pair, after another one has put its numbers where they are near."""
        self._pair()
        self.found.append(self._pair())

    def _pair(self) -> float:
        self._wait()
        start = time.perf_counter()
        ifft(fft(self.values), self.values.shape)
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize(self.values.device)
