"""Time and memory of a block of code, and how much of an inversion's time its Fourier transforms take."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
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
from IR2QSMLib.inversion.regularisation.automatic import AUTO
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.report.table import markdown_table
from IR2QSMLib.simulation.cases import Case, simulate

TIMED_SHAPE = (160, 160, 160)
"""Shape of the volume whose inversion is timed [voxels]."""
TIMED_METHODS: dict[str, Method] = {
    "tkd": TruncatedDivision(),
    "tv": TotalVariation(),
    "tv, automatic": TotalVariation(AUTO),
    "ilsqr": Ilsqr(),
    "medi": Medi(),
    "medi, automatic": Medi(AUTO),
}
TIMING_INTERVAL = 0.25
"""Seconds of a method between two timings of a pair of transforms by itself."""
SAMPLING_INTERVAL = 0.005
"""Seconds between two readings of the resident memory."""


@dataclass
class Cost:
    """Time and memory of a block of code."""

    seconds: float = 0.0
    peak_bytes: float = 0.0
    """Above what was in use before: resident memory, or the GPU's own count."""


@contextmanager
def measure_cost(device: str, clock: Callable[[], float] = time.perf_counter) -> Iterator[Cost]:
    """Measure the time and the peak memory of a block.

    Parameters
    ----------
    device
        Where the block works; on "cuda" its memory is that of the GPU.
    clock
        Returns seconds.

    Yields
    ------
    Cost
        Complete when the block ends; on the CPU its peak is up to date within `SAMPLING_INTERVAL`.
    """
    cost, process, done = Cost(), psutil.Process(), threading.Event()
    release_freed_memory()  # else a block that reuses what an earlier one freed seems to take none
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(SAMPLING_INTERVAL):
            cost.peak_bytes = max(cost.peak_bytes, process.memory_info().rss - before)

    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = clock()
    try:
        yield cost
    finally:
        if gpu:
            torch.cuda.synchronize(device)
        cost.seconds = clock() - start
        done.set()
        watcher.join()
        if gpu:
            cost.peak_bytes = torch.cuda.max_memory_allocated(device)


def transform_report(device: str) -> str:
    """A table of iterations, transform pairs, time and memory of the iterative methods on a brain of `TIMED_SHAPE`.

    'of it FFT' is the time of as many pairs (a real transform there and back) by themselves over the method's own: the
    rest is all that better arithmetic could gain. A pair is timed at intervals while the method runs, between its steps
    and not on its account: other load on the machine slows both by up to half, for seconds.

    Parameters
    ----------
    device
        "cpu", "cuda" or "mps".
    """
    voxel = 184.0 / TIMED_SHAPE[0]
    _, field = simulate(Case(0, 40.0, TIMED_SHAPE, (voxel, voxel, voxel)))
    field = field.to(device)
    rows = []
    for name, method in TIMED_METHODS.items():
        timer = _TransformTimer(field.values, device)
        with measure_cost(device) as cost:
            notes = method(field, timer).notes
        timer.time_pair()  # for a method without steps
        seconds, pair_seconds = cost.seconds - timer.total_seconds, statistics.fmean(timer.pair_seconds)
        n_pairs = notes.get("fft_pairs", 1)
        iterations = notes.get("inner_iterations", notes.get("iterations", 1))
        steps = "+".join(map(str, iterations)) if isinstance(iterations, list) else str(iterations)
        rows.append(
            [
                name,
                steps,
                f"{n_pairs:g}",
                f"{seconds:.2f}",
                f"{1e3 * pair_seconds:.1f}",
                f"{100.0 * n_pairs * pair_seconds / seconds:.0f}",
                f"{cost.peak_bytes / 1e6:.0f}",
            ]
        )
    head = ["method", "iterations", "FFT pairs", "s", "one pair ms", "of it FFT %", "peak MB"]
    voxels = "×".join(map(str, TIMED_SHAPE))
    heading = f"### Inversion of {voxels} voxels on {device}, {torch.get_num_threads()} threads\n\n"
    return heading + markdown_table(rows, head)


class _TransformTimer:
    """A progress callback that times a pair of transforms every `TIMING_INTERVAL` seconds."""

    def __init__(self, values: Tensor, device: str) -> None:
        self.values, self.gpu = values, device.startswith("cuda")
        self.pair_seconds: list[float] = []
        self._run_pair()  # plans the transform
        self.total_seconds, self.last = 0.0, time.perf_counter()

    def __call__(self, fraction: float, stage: str) -> None:
        start = time.perf_counter()
        if start - self.last >= TIMING_INTERVAL:
            self.time_pair()
            self.last = time.perf_counter()
            self.total_seconds += self.last - start

    def time_pair(self) -> None:
        """Time one pair, after another one has brought the volume into the cache."""
        self._run_pair()
        self.pair_seconds.append(self._run_pair())

    def _run_pair(self) -> float:
        self._synchronise()
        start = time.perf_counter()
        ifft(fft(self.values), self.values.shape)
        self._synchronise()
        return time.perf_counter() - start

    def _synchronise(self) -> None:
        if self.gpu:
            torch.cuda.synchronize(self.values.device)
