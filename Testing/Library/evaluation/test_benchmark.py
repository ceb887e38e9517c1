"""One table a case: every contender, what machine and weights it was measured with, and what inference costs."""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import IR2QSMLib
from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.evaluation import benchmark as module
from IR2QSMLib.evaluation import timing as speed
from IR2QSMLib.evaluation.benchmark import (
    REGULARISATIONS,
    THRESHOLDS,
    Contender,
    benchmark,
    contenders,
    measured,
    tile_report,
)
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.tiles import infer
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.networks.ir2unet import IR2UnetConfig
from IR2QSMLib.simulation.cases import CASES, FIRST_TRAINING_SEED, Case, simulate

TINY = {"tiny phantom": Case(4, 40.0, (32, 32, 32), phantom=True)}


@pytest.fixture(scope="module")
def weights(make_weights: Callable[..., Path]) -> Path:
    return make_weights()


@pytest.fixture(scope="module")
def emitted(weights: Path) -> list[str]:
    """What a benchmark of one tiny case prints."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CASES", TINY)
        benchmark(weights=weights, device="cpu", speed=False, emit=lines.append)
    return lines


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of a Markdown table by column."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_machine_commit_and_weights_stand_above_the_table(emitted: list[str], weights: Path) -> None:
    head = emitted[0]
    assert head.startswith(f"ir2qsm {IR2QSMLib.__version__}, commit ")
    assert re.search(r"commit ([0-9a-f]{7,40}(-dirty)?|unknown|v?\d\S*);", head)
    assert choose_device("cpu").name in head and f"{torch.get_num_threads()} threads" in head
    assert f"weights {weights.name} sha256 {load(weights).sha256[:16]}" in head


def test_one_table_holds_every_contender_and_every_measure(emitted: list[str]) -> None:
    assert len(emitted) == 2
    assert emitted[1].startswith("\n### tiny phantom\n\n")
    rows = rows_of(emitted[1])
    scores = ["XSIM", "NRMSE %", "raw", "detrended", "HFEN", "corr", "slope", "coherence", "gain"]
    assert list(rows[0]) == ["method", *scores, "cone index", "s", "peak MB"]
    names = [row["method"] for row in rows]
    assert names[0] == "ir2qsm" and "tkd" in names and "tikhonov" in names
    expected = [c.name for c in contenders() if "resampled" not in c.name]  # an axial case of 1 mm needs none
    assert [name.split(" (")[0] for name in names] == expected
    assert len({len(line) for line in emitted[1].splitlines() if line.startswith("|")}) == 1
    for row in rows:
        assert all(float(value) == float(value) for key, value in row.items() if key not in ("method", "cone index"))
        assert float(row["NRMSE %"]) <= float(row["raw"]) + 0.01 and float(row["peak MB"]) >= 0.0


def test_the_shape_of_the_discrepancy_stands_above_the_table(emitted: list[str]) -> None:
    found = re.search(
        r"Power SNR 40; the truth's field explains 98 % .*\. Share of the rest, by \|k\|: (.*); by \|D\|: (.*)\.\n",
        emitted[1],
    )
    assert found is not None
    by_k, by_d = ([float(x) for x in part.split(" · ")] for part in found.groups())
    assert len(by_k) == 5 and len(by_d) == 6
    assert by_k[-1] > by_k[1] and by_d[0] > 0.3 > by_d[-1]  # white noise against a phantom's field


def test_cases_of_one_head_are_laid_against_their_mismatch(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = Case(1100, 40.0, (48, 56, 48), (3.0, 3.0, 3.0), held_out=True)
    both = {f"held-out brain, mismatch {share} %": replace(held_out, mismatch=share / 100.0) for share in (0, 30)}
    monkeypatch.setattr(module, "CASES", both)
    monkeypatch.setattr(module, "contenders", lambda weights: [Contender("tikhonov", (Tikhonov(),))])
    lines: list[str] = []
    benchmark(weights=weights, device="cpu", speed=False, emit=lines.append)
    assert "the truth's field explains 100 %" in lines[1] and "explains 70 %" in lines[2]
    (row,) = rows_of(lines[3])
    assert lines[3].startswith("\n### XSIM against mismatch") and list(row) == ["method", "0 %", "30 %"]
    assert float(row["0 %"]) > float(row["30 %"]) + 0.1
    assert [line.split(" against")[0] for line in lines[4:]] == [
        "\n### NRMSE %, demeaned",
        "\n### Coherence in the cone",
        "\n### Gain in the cone",
    ]


def test_the_best_setting_is_at_least_as_good_as_the_default(emitted: list[str]) -> None:
    rows = {row["method"]: row for row in rows_of(emitted[1])}
    for method, settings in (("tkd", THRESHOLDS), ("tikhonov", REGULARISATIONS)):
        (best,) = (name for name in rows if name.startswith(f"{method}, best ("))
        assert best.removeprefix(f"{method}, best (").removesuffix(")") in map(str, settings)
        assert float(rows[best]["XSIM"]) >= float(rows[method]["XSIM"])


def test_the_best_of_several_settings_is_told_by_its_label() -> None:
    head, field = simulate(TINY["tiny phantom"])
    settings = (TruncatedDivision(0.6), TruncatedDivision(0.15), TruncatedDivision(0.02))
    alone = {label: module._judged(Contender("t", (m,)), head, field, "cpu") for label, m in zip("abc", settings)}  # noqa: B905
    best = max(alone, key=lambda label: alone[label].scores["xsim"])
    row = module._judged(Contender("t", settings, ("a", "b", "c")), head, field, "cpu")
    assert row.name == f"t ({best})" and row.scores == alone[best].scores
    with pytest.raises(ParameterInvalid, match="The contender 'none' has no settings"):
        module._judged(Contender("none", (), ()), head, field, "cpu")


def test_defaults_and_their_alternatives_compete(weights: Path) -> None:
    settings = {c.name: c.settings for c in contenders(weights)}
    assert settings["ir2qsm"] == (Learned(weights),)
    assert settings["ir2qsm, no whole brain"] == (Learned(weights, whole_brain=False),)
    assert settings["tkd"] == (TruncatedDivision(),) and settings["tikhonov"] == (Tikhonov(),)
    assert TruncatedDivision() in settings["tkd, best"] and Tikhonov() in settings["tikhonov, best"]
    learned = {name: s[0] for name, s in settings.items() if name.startswith("ir2qsm,")}
    assert {m.resampled for m in learned.values()} == {None, True}  # type: ignore[attr-defined]
    assert {m.consistency for m in learned.values()} == {Learned().consistency, 0.0}  # type: ignore[attr-defined]
    assert settings["tkd, automatic"] == (TruncatedDivision("auto"),)


def test_only_the_cases_that_were_named_are_run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", {**TINY, "never": None})
    monkeypatch.setattr(module, "contenders", lambda weights: [Contender("tkd", (TruncatedDivision(),))])
    lines: list[str] = []
    told: list[tuple[float, str]] = []
    benchmark(
        ["tiny phantom"],
        weights=weights,
        device="cpu",
        speed=False,
        emit=lines.append,
        progress=lambda fraction, stage: told.append((fraction, stage)),
    )
    assert [line.count("###") for line in lines] == [0, 1] and told[0] == (0.0, "tiny phantom")


def test_only_the_methods_that_were_named_are_run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", TINY)
    lines: list[str] = []
    benchmark(methods=["tkd", "tikhonov"], weights=weights, device="cpu", speed=False, emit=lines.append)
    assert {row["method"].partition(",")[0] for row in rows_of(lines[1])} == {"tkd", "tikhonov"}


def test_a_sweep_adds_the_best_fixed_strengths(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", TINY)
    monkeypatch.setattr(module, "TV_REGULARISATIONS", (5e-3, 5e-5))
    rows = {}
    for sweep in (False, True):
        lines: list[str] = []
        benchmark(methods=["tv"], weights=weights, device="cpu", sweep=sweep, speed=False, emit=lines.append)
        rows[sweep] = {row["method"]: row for row in rows_of(lines[1])}
    assert list(rows[True]) == [*rows[False], "tv, best (5e-05)"]


def test_an_unknown_case_is_refused_before_anything_runs() -> None:
    lines: list[str] = []
    with pytest.raises(ParameterInvalid, match=r"The method is 'cosmos'; expected one of: ir2qsm; "):
        benchmark(methods=["cosmos"], emit=lines.append)
    with pytest.raises(ParameterInvalid, match=r"The case is 'liver'; expected one of: brain, noise-free; brain, SNR"):
        benchmark(["liver"], emit=lines.append)
    assert not lines


def test_no_case_was_trained_on() -> None:
    assert module.CASES is CASES and max(case.seed for case in CASES.values()) < FIRST_TRAINING_SEED


def test_a_measurement_sees_memory_and_time_that_are_gone_at_its_end() -> None:
    n_bytes = 200 * 2**20
    with measured("cpu") as cost:
        with mmap.mmap(-1, n_bytes) as memory:
            for start in range(0, n_bytes, 4096):
                memory[start] = 1
            time.sleep(0.1)
        time.sleep(0.05)
    assert n_bytes * 0.98 <= cost.peak < 2 * n_bytes
    assert 0.15 <= cost.seconds < 5.0
    with measured("cpu") as nothing:
        time.sleep(0.02)
    assert nothing.peak < 0.1 * n_bytes and nothing.seconds < cost.seconds


def test_a_block_that_reuses_freed_memory_still_shows_its_peak() -> None:
    def work() -> None:
        blocks = [torch.ones(25_000) for _ in range(2000)]  # 200 MB, too small for mappings of their own
        time.sleep(0.05)
        del blocks

    work()
    with measured("cpu") as cost:
        work()
    assert 100e6 < cost.peak < 400e6


@pytest.mark.parametrize("place", ["installed", "checkout"])
def test_a_commit_that_git_cannot_tell_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    asked: list[str] = []

    def run(*_: object, **__: object) -> None:
        asked.append("git")
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "IR2QSMLib" / "benchmark.py"))
    if place == "checkout":
        (tmp_path / ".git").mkdir()
    assert module._commit() == "unknown"
    assert asked == (["git"] if place == "checkout" else [])


def test_a_measurement_ends_with_the_error_of_its_block() -> None:
    with pytest.raises(ZeroDivisionError), measured("cpu") as cost:
        _ = 1 / 0
    assert cost.seconds > 0.0


def test_inference_is_timed_against_a_plain_pass(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPEED_SHAPE", (32, 40, 32))
    monkeypatch.setattr(module, "transform_report", lambda device: f"Inversion on {device}")
    monkeypatch.setattr(module, "contenders", lambda weights: [])
    monkeypatch.setattr(module, "IR2UnetConfig", lambda: IR2UnetConfig(0.25, 2))  # stands for the published size
    monkeypatch.setattr(module, "CASES", TINY)
    done: list[str] = []
    monkeypatch.setattr(module, "infer", lambda *a: (done.append("inferred"), infer(*a))[1])
    monkeypatch.setattr(module, "measured", lambda device: (done.append("measured"), measured(device))[1])
    lines: list[str] = []
    benchmark(weights=weights, device="cpu", speed=True, emit=lines.append)
    assert done == ["inferred", *["measured", "measured", "inferred"] * 2] * 2  # nothing cold is timed, and in turn
    assert "\nInversion on cpu" in lines
    report = lines[-1]
    assert report.startswith("\n### Inference of 32×40×32 voxels on cpu, bfloat16 ")
    bundled, published = rows_of(report)
    assert bundled["network"] == "bundled" and published["network"].startswith("published size")
    for row in (bundled, published):
        ratio = float(row["plain float32 s"]) / max(float(row["ours s"]), 1e-3)
        assert float(row["ratio"]) == pytest.approx(ratio, rel=1.0)
        assert 0.0 <= float(row["difference %"]) < 20.0
        assert 50.0 < float(row["peak resident MB"]) < 3000.0


def test_the_tile_error_is_told_for_each_tile_below_the_volume(
    make_weights: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = make_weights(scale=0.3)  # one that looks further than the gentle one of the other tests
    monkeypatch.setattr(module, "CASES", {"long": Case(4, 40.0, (32, 32, 96), (3.0, 3.0, 1.0), phantom=True)})
    rows = {row["tile"]: row for row in rows_of(tile_report(weights, "cpu"))}
    assert list(rows) == ["64", "96"]
    for row in rows.values():
        assert 0.0 < float(row["RMS %"]) < float(row["largest %"]) < 100.0
    assert rows_of(tile_report(weights, "cpu")) == list(rows.values())
    monkeypatch.setattr(module, "CASES", TINY)
    assert rows_of(tile_report(weights, "cpu")) == []


def test_iterations_transforms_and_their_share_of_the_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SPEED_SHAPE", (40, 40, 40))
    timed = {
        "tkd": TruncatedDivision(),
        "tv": TotalVariation(max_iterations=7, tolerance=0.0),
        "ilsqr": Ilsqr(),
        "medi": Medi(max_iterations=1),
    }
    monkeypatch.setattr(speed, "TIMED", timed)
    report = speed.transform_report("cpu")
    assert report.startswith(f"### Inversion of 40×40×40 voxels on cpu, {torch.get_num_threads()} threads\n")
    rows = {row["method"]: row for row in rows_of(report)}
    assert list(rows) == list(timed)
    assert (rows["tv"]["iterations"], rows["tv"]["FFT pairs"], rows["tkd"]["FFT pairs"]) == ("7", "7.5", "1")
    assert re.fullmatch(r"\d+\+\d+\+\d+", rows["ilsqr"]["iterations"]) and int(rows["medi"]["iterations"]) > 10
    for row in rows.values():
        assert float(row["of it FFT %"]) > 0.0 and float(row["peak MB"]) >= 0.0
        if float(row["s"]) > 0.05:  # or rounding would be too much of it
            expected = float(row["FFT pairs"]) * float(row["one pair ms"]) / 10.0 / float(row["s"])
            assert float(row["of it FFT %"]) == pytest.approx(expected, rel=0.3)


def test_every_method_that_iterates_is_timed() -> None:
    kinds = {type(method) for method in speed.TIMED.values()}
    assert kinds == {type(c.settings[0]) for c in contenders()} - {Learned, *Learned.__subclasses__(), Tikhonov}
