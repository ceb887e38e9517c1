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

from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.methods import Method
from IR2QSMLib.inversion.strength import AUTO
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.report import table
from IR2QSMLib.runtime import release_freed_memory, silent
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
N_PAIRS = 9
"""Pairs of transforms timed by themselves before a method, and again after it; an odd number has a median."""


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
    release_freed_memory()                  # else a block that reuses what an earlier one freed seems to take none
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

    'of it FFT' is the time of as many pairs (a real transform there and back) by themselves, timed before and after the
    method, over the method's own: what is left of the whole is all that better arithmetic could gain.
    """
    voxel = 184.0 / SPEED_SHAPE[0]
    _, field = simulate(Case(0, 40.0, SPEED_SHAPE, (voxel, voxel, voxel)))
    field = field.to(device)
    rows = []
    for name, method in TIMED.items():
        times = _pairs(field.values, device)
        with measured(device) as cost:
            notes = method(field, silent).notes
        alone = statistics.median([*times, *_pairs(field.values, device)])
        n_pairs = notes.get("fft_pairs", 1)
        iterations = notes.get("inner_iterations", notes.get("iterations", 1))
        steps = "+".join(map(str, iterations)) if isinstance(iterations, list) else str(iterations)
        share = 100.0 * n_pairs * alone / cost.seconds
        rows.append([name, steps, f"{n_pairs:g}", f"{cost.seconds:.2f}", f"{1e3 * alone:.1f}", f"{share:.0f}",
                     f"{cost.peak / 1e6:.0f}"])  # fmt: skip
    head = ["method", "iterations", "FFT pairs", "s", "one pair ms", "of it FFT %", "peak MB"]
    voxels = "×".join(map(str, SPEED_SHAPE))
    return f"### Inversion of {voxels} voxels on {device}, {torch.get_num_threads()} threads\n\n{table(rows, head)}"


def _pairs(values: Tensor, device: str) -> list[float]:
    """Seconds of each of `N_PAIRS` pairs of transforms."""
    found = []
    for _ in range(N_PAIRS + 1):
        start = time.perf_counter()
        ifft(fft(values), values.shape)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - start)
    return found[1:]                # the first plans the transform
