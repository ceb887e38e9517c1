"""The cost of inference against a plain pass, and the error of tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from IR2QSMLib.evaluation import benchmark as benchmark_module
from IR2QSMLib.evaluation import inference_benchmark as module
from IR2QSMLib.evaluation.benchmark import benchmark
from IR2QSMLib.evaluation.inference_benchmark import tile_report
from IR2QSMLib.evaluation.timing import measure_cost
from IR2QSMLib.inversion.learned.tiles import infer
from IR2QSMLib.networks.ir2unet import IR2UnetConfig
from IR2QSMLib.simulation.cases import Case
from Testing.Library.tables import rows_of

PHANTOM = {"small phantom": Case(4, 40.0, (32, 32, 32), phantom=True)}


@pytest.fixture(scope="module")
def weights(make_weights: Callable[..., Path]) -> Path:
    return make_weights()


def test_inference_is_timed_against_a_plain_pass(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMED_SHAPE", (24, 32, 24))
    monkeypatch.setattr(benchmark_module, "transform_report", lambda device: f"Inversion on {device}")
    monkeypatch.setattr(benchmark_module, "benchmark_methods", lambda weights: [])
    monkeypatch.setattr(module, "IR2UnetConfig", lambda: IR2UnetConfig(0.25, 2))  # stands for the published size
    for patched in (module, benchmark_module):
        monkeypatch.setattr(patched, "CASES", PHANTOM)
    done: list[str] = []
    monkeypatch.setattr(module, "infer", lambda *a: (done.append("inferred"), infer(*a))[1])
    monkeypatch.setattr(module, "measure_cost", lambda device: (done.append("timed"), measure_cost(device))[1])
    lines: list[str] = []
    benchmark(weights=weights, device="cpu", speed=True, emit=lines.append)
    assert (
        done == ["inferred", *["timed", "timed", "inferred"] * 2] * 2
    )  # the first pass is not timed, the others by turns
    assert "\nInversion on cpu" in lines
    report = lines[-1]
    assert report.startswith("\n### Inference of 24×32×24 voxels on cpu, bfloat16 ")
    bundled, published = rows_of(report)
    assert bundled["network"] == "bundled" and published["network"].startswith("published size")
    for row in (bundled, published):
        ratio = float(row["plain float32 s"]) / max(float(row["ours s"]), 1e-3)
        assert float(row["ratio"]) == pytest.approx(ratio, rel=1.0)
        assert 0.0 <= float(row["difference %"]) < 20.0
        assert 50.0 < float(row["peak resident MB"]) < 3000.0


def test_the_tile_error_is_listed_for_each_tile_below_the_volume(
    make_weights: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = make_weights(scale=0.3)  # whose receptive field exceeds the overlap
    monkeypatch.setattr(module, "CASES", {"long": Case(4, 40.0, (32, 32, 96), (3.0, 3.0, 1.0), phantom=True)})
    rows = {row["tile"]: row for row in rows_of(tile_report(weights, "cpu"))}
    assert list(rows) == ["64", "96"]
    for row in rows.values():
        assert 0.0 < float(row["RMS %"]) < float(row["largest %"]) < 100.0
    monkeypatch.setattr(module, "CASES", PHANTOM)
    assert rows_of(tile_report(weights, "cpu")) == []
