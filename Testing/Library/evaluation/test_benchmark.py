"""One table a case: every method, with what machine and weights it was made, and the choice of cases and methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import IR2QSMLib
from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.evaluation import benchmark as module
from IR2QSMLib.evaluation import benchmark_methods as methods_module
from IR2QSMLib.evaluation.benchmark import benchmark, score_method
from IR2QSMLib.evaluation.benchmark_methods import REGULARISATIONS, THRESHOLDS, BenchmarkMethod, benchmark_methods
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.simulation.cases import CASES, Case, simulate
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from Testing.Library.tables import rows_by_method, rows_of

PHANTOM = {"small phantom": Case(4, 40.0, (32, 32, 32), phantom=True)}


@pytest.fixture(scope="module")
def weights(make_weights: Callable[..., Path]) -> Path:
    return make_weights()


@pytest.fixture(scope="module")
def emitted(weights: Path) -> list[str]:
    """What a benchmark of one tiny case prints."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CASES", PHANTOM)
        benchmark(weights=weights, device="cpu", speed=False, emit=lines.append)
    return lines


def test_machine_commit_and_weights_stand_above_the_table(emitted: list[str], weights: Path) -> None:
    heading = emitted[0]
    assert heading.startswith(f"ir2qsm {IR2QSMLib.__version__}, commit ")
    assert re.search(r"commit ([0-9a-f]{7,40}(-dirty)?|unknown|v?\d\S*);", heading)
    assert choose_device("cpu").name in heading and f"{torch.get_num_threads()} threads" in heading
    assert f"weights {weights.name} sha256 {load(weights).sha256[:16]}" in heading


def test_a_table_has_every_method_and_every_score(emitted: list[str]) -> None:
    assert len(emitted) == 2
    assert emitted[1].startswith("\n### small phantom\n\n")
    rows = rows_of(emitted[1])
    scores = ["XSIM", "NRMSE %", "raw", "detrended", "HFEN", "corr", "slope", "coherence", "gain"]
    assert list(rows[0]) == ["method", *scores, "cone index", "s", "peak MB"]
    names = [row["method"] for row in rows]
    assert names[0] == "ir2qsm" and "tkd" in names and "tikhonov" in names
    expected = [m.name for m in benchmark_methods() if "resampled" not in m.name]  # an axial case of 1 mm needs none
    assert [name.split(" (")[0] for name in names] == expected
    assert len({len(line) for line in emitted[1].splitlines() if line.startswith("|")}) == 1
    for row in rows:
        assert all(float(value) == float(value) for key, value in row.items() if key not in ("method", "cone index"))
        assert float(row["NRMSE %"]) <= float(row["raw"]) + 0.01 and float(row["peak MB"]) >= 0.0


def test_the_shares_of_the_discrepancy_stand_above_the_table(emitted: list[str]) -> None:
    shares = re.search(
        r"Power SNR 40; the truth's field explains 98 % .*\. Share of the rest, by \|k\|: (.*); by \|D\|: (.*)\.\n",
        emitted[1],
    )
    assert shares is not None
    by_k, by_d = ([float(x) for x in part.split(" · ")] for part in shares.groups())
    assert len(by_k) == 5 and len(by_d) == 6
    assert by_k[-1] > by_k[1] and by_d[0] > 0.3 > by_d[-1]  # white noise against a phantom's field


def test_scores_of_one_head_are_listed_against_its_mismatch(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = Case(1100, 40.0, (48, 56, 48), (3.0, 3.0, 3.0), held_out=True)
    both = {f"held-out brain, mismatch {share} %": replace(held_out, mismatch=share / 100.0) for share in (0, 30)}
    monkeypatch.setattr(module, "CASES", both)
    monkeypatch.setattr(module, "benchmark_methods", lambda weights: [BenchmarkMethod("tikhonov", (Tikhonov(),))])
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
    rows = rows_by_method(emitted[1])
    for method, settings in (("tkd", THRESHOLDS), ("tikhonov", REGULARISATIONS)):
        (best,) = (name for name in rows if name.startswith(f"{method}, best ("))
        assert best.removeprefix(f"{method}, best (").removesuffix(")") in map(str, settings)
        assert float(rows[best]["XSIM"]) >= float(rows[method]["XSIM"])


def test_the_best_of_several_settings_is_named_by_its_label() -> None:
    head, field = simulate(PHANTOM["small phantom"])
    settings = (TruncatedDivision(0.6), TruncatedDivision(0.15), TruncatedDivision(0.02))
    labelled = dict(zip("abc", settings, strict=True))
    single = {label: score_method(BenchmarkMethod("t", (m,)), head, field, "cpu") for label, m in labelled.items()}
    best = max(single, key=lambda label: single[label].scores["xsim"])
    row = score_method(BenchmarkMethod("t", settings, ("a", "b", "c")), head, field, "cpu")
    assert row.name == f"t ({best})" and row.scores == single[best].scores
    with pytest.raises(ParameterInvalid, match="The method 'none' has no candidates"):
        score_method(BenchmarkMethod("none", (), ()), head, field, "cpu")


def test_defaults_and_their_variants_are_scored(weights: Path) -> None:
    settings = {m.name: m.candidates for m in benchmark_methods(weights)}
    assert settings["ir2qsm"] == (Learned(weights),)
    assert settings["ir2qsm, no whole brain"] == (Learned(weights, use_whole_brain_map=False),)
    assert settings["tkd"] == (TruncatedDivision(),) and settings["tikhonov"] == (Tikhonov(),)
    assert TruncatedDivision() in settings["tkd, best"] and Tikhonov() in settings["tikhonov, best"]
    learned = {name: s[0] for name, s in settings.items() if name.startswith("ir2qsm,")}
    assert {m.resampled for m in learned.values()} == {None, True}  # type: ignore[attr-defined]
    assert {m.network_only for m in learned.values()} == {False, True}  # type: ignore[attr-defined]
    assert settings["tkd, automatic"] == (TruncatedDivision("auto"),)


def test_only_named_cases_are_run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", {**PHANTOM, "never": None})
    monkeypatch.setattr(module, "benchmark_methods", lambda weights: [BenchmarkMethod("tkd", (TruncatedDivision(),))])
    lines: list[str] = []
    stages: list[tuple[float, str]] = []
    benchmark(
        ["small phantom"],
        weights=weights,
        device="cpu",
        speed=False,
        emit=lines.append,
        progress=lambda fraction, stage: stages.append((fraction, stage)),
    )
    assert [line.count("###") for line in lines] == [0, 1] and stages[0] == (0.0, "small phantom")


def test_only_named_methods_are_run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", PHANTOM)
    lines: list[str] = []
    benchmark(methods=["tkd", "tikhonov"], weights=weights, device="cpu", speed=False, emit=lines.append)
    assert {row["method"].partition(",")[0] for row in rows_of(lines[1])} == {"tkd", "tikhonov"}


def test_a_sweep_adds_the_best_fixed_regularisation(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", PHANTOM)
    monkeypatch.setattr(methods_module, "TV_REGULARISATIONS", (5e-3, 5e-5))
    rows = {}
    for sweep in (False, True):
        lines: list[str] = []
        benchmark(methods=["tv"], weights=weights, device="cpu", sweep=sweep, speed=False, emit=lines.append)
        rows[sweep] = rows_by_method(lines[1])
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


@pytest.mark.parametrize("install_kind", ["installed", "checkout"])
def test_a_commit_that_git_does_not_name_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install_kind: str
) -> None:
    commands: list[str] = []

    def run(*_: object, **__: object) -> None:
        commands.append("git")
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "IR2QSMLib" / "evaluation" / "benchmark.py"))
    if install_kind == "checkout":
        (tmp_path / ".git").mkdir()
    assert module._commit() == "unknown"
    assert commands == (["git"] if install_kind == "checkout" else [])
