"""Measured time and memory, and the table of the iterative methods."""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable

import pytest
import torch

from IR2QSMLib.evaluation import timing
from IR2QSMLib.evaluation.benchmark_methods import benchmark_methods
from IR2QSMLib.evaluation.timing import Cost, measure_cost
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.tv import TotalVariation
from Testing.Library.tables import rows_by_method


def clock_of(*seconds: float) -> Callable[[], float]:
    """A clock that shows these times, one a call."""
    return iter(seconds).__next__


def wait_for_peak(cost: Cost, n_bytes: float) -> None:
    """Wait until the measurement has counted so much memory."""
    while cost.peak_bytes < n_bytes:
        time.sleep(0.001)


def test_time_is_the_difference_of_the_clock() -> None:
    with measure_cost("cpu", clock_of(3.0, 7.5)) as cost:
        pass
    assert cost.seconds == 4.5


def test_the_peak_counts_memory_that_is_freed_before_the_end() -> None:
    n_bytes = 200 * 2**20
    with measure_cost("cpu") as cost, mmap.mmap(-1, n_bytes) as memory:
        for start in range(0, n_bytes, 4096):
            memory[start] = 1
        wait_for_peak(cost, 0.98 * n_bytes)
    assert cost.peak_bytes < 2 * n_bytes
    with measure_cost("cpu") as nothing:
        pass
    assert nothing.peak_bytes < 0.1 * n_bytes


def test_memory_that_a_block_reuses_counts() -> None:
    def allocate() -> list[torch.Tensor]:
        return [torch.ones(25_000) for _ in range(2000)]  # 200 MB, too small for mappings of their own

    allocate()
    with measure_cost("cpu") as cost:
        blocks = allocate()
        wait_for_peak(cost, 100e6)
        del blocks
    assert cost.peak_bytes < 400e6


def test_an_error_of_the_block_is_raised_and_its_time_measured() -> None:
    with pytest.raises(ZeroDivisionError), measure_cost("cpu", clock_of(0.0, 2.0)) as cost:
        _ = 1 / 0
    assert cost.seconds == 2.0


def test_iterations_transforms_and_their_share_of_the_time_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TIMED_SHAPE", (40, 40, 40))
    methods = {
        "tkd": TruncatedDivision(),
        "tv": TotalVariation(max_iterations=7, tolerance=0.0),
        "ilsqr": Ilsqr(),
        "medi": Medi(max_iterations=1),
    }
    monkeypatch.setattr(timing, "TIMED_METHODS", methods)
    report = timing.transform_report("cpu")
    assert report.startswith(f"### Inversion of 40×40×40 voxels on cpu, {torch.get_num_threads()} threads\n")
    rows = rows_by_method(report)
    assert list(rows) == list(methods)
    assert (rows["tv"]["iterations"], rows["tv"]["FFT pairs"], rows["tkd"]["FFT pairs"]) == ("7", "7.5", "1")
    assert re.fullmatch(r"\d+\+\d+\+\d+", rows["ilsqr"]["iterations"]) and int(rows["medi"]["iterations"]) > 10
    for row in rows.values():
        assert float(row["of it FFT %"]) > 0.0 and float(row["peak MB"]) >= 0.0
        if float(row["s"]) > 0.05:  # or rounding would be too much of it
            expected = float(row["FFT pairs"]) * float(row["one pair ms"]) / 10.0 / float(row["s"])
            assert float(row["of it FFT %"]) == pytest.approx(expected, rel=0.3)


def test_every_method_that_iterates_is_timed() -> None:
    classes = {type(method) for method in timing.TIMED_METHODS.values()}
    assert classes == {type(m.candidates[0]) for m in benchmark_methods()} - {
        Learned,
        *Learned.__subclasses__(),
        Tikhonov,
    }
