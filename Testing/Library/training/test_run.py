"""The training loop: it ends in time, learns, survives broken examples, and leaves weights that load."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import PackageMissing, ParameterInvalid
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.training import patch_task
from IR2QSMLib.training.patch_cache import draw_round
from IR2QSMLib.training.patches import Patches
from IR2QSMLib.training.recipe import Recipe
from IR2QSMLib.training.run import TrainingRun
from Testing.Library.training.small_runs import (
    CONFIG,
    CPU,
    RECIPE,
    SMALLEST,
    PacedRun,
    checkpoint_of,
    log_of,
    losses_of,
)


@pytest.mark.usefixtures("small_runs")
def test_a_run_ends_within_its_minutes_and_leaves_weights_that_load(tmp_path: Path) -> None:
    ticks = count()
    run = TrainingRun(tmp_path / "run", RECIPE, 0.5, clock=lambda: float(next(ticks)))  # each look takes a second
    scores = run()
    assert 15.0 < run.timer.elapsed <= 30.0
    folder = run.folder
    assert {p.name for p in folder.iterdir()} == {
        "recipe.json",
        "checkpoint.safetensors",
        "log.jsonl",
        "weights.safetensors",
        "weights.json",
    }
    card = json.loads((folder / "weights.json").read_text(encoding="utf-8"))
    content = (folder / "weights.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest() and card["bytes"] == len(content)
    assert card["steps"] == run.step > 2 and card["validation"] == scores
    assert Recipe.read(folder) == RECIPE
    loaded = load(folder / "weights.safetensors")
    assert (loaded.sha256, loaded.network_input, loaded.network.config) == (
        card["sha256"],
        RECIPE.network_input,
        CONFIG,
    )
    log = log_of(folder)
    assert len(losses_of(folder)) == run.round and log[0]["step"] == 0 and "xsim" in log[0] and "xsim" in log[-1]
    for line in log[1:]:
        rate = RECIPE.sampling.batch_size * line["step"] / (60.0 * line["minutes"])
        assert line["samples_per_second"] == pytest.approx(rate, abs=0.05)


@pytest.mark.usefixtures("small_runs")
def test_a_run_learns_and_its_average_lags_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = list(draw_round(RECIPE.network_input, RECIPE.sampling, 0, CPU))
    monkeypatch.setattr(patch_task, "draw_round", lambda *_, **__: iter(batches))
    run = PacedRun(tmp_path / "run", replace(RECIPE, config=replace(CONFIG, n_passes=1), loss="absolute"), 4.0)
    run()
    losses = losses_of(run.folder)
    assert len(losses) > 20
    assert sum(losses[-3:]) < 0.94 * sum(losses[:3])
    checkpoint = checkpoint_of(run.folder)
    assert checkpoint.average.keys() == {k for k, _ in run.network.named_parameters()}
    for name, averaged in checkpoint.average.items():
        assert bool(torch.isfinite(averaged).all())
        assert not torch.equal(averaged, checkpoint.network[name]), name
    saved = load(run.folder / "weights.safetensors").network.state_dict()["head.weight"]
    assert torch.allclose(saved, checkpoint.average["head.weight"], rtol=1e-3)  # the file holds the average, in half


@pytest.mark.usefixtures("small_runs")
def test_every_part_of_the_recipe_changes_what_is_learned(tmp_path: Path) -> None:
    recipes = {
        "usual": SMALLEST,
        "loss": replace(SMALLEST, loss="absolute"),
        "learning rate": replace(SMALLEST, learning_rate=1e-4),
        "averaging": replace(SMALLEST, averaging_decay=0.1),
        "seed": replace(SMALLEST, sampling=replace(SMALLEST.sampling, seed=1)),
        "feature noise": replace(SMALLEST, config=replace(SMALLEST.config, feature_noise=0.7)),
        "dropout": replace(SMALLEST, config=replace(SMALLEST.config, dropout=0.5)),
        "normalisation": replace(SMALLEST, config=replace(SMALLEST.config, normalised=False)),
    }
    learned = {}
    for name, recipe in recipes.items():
        PacedRun(tmp_path / name, recipe, 0.2)()
        learned[name] = checkpoint_of(tmp_path / name).average
    for name, average in learned.items():
        shared = average.keys() & learned["usual"].keys()
        differ = [k for k in shared if not torch.equal(average[k], learned["usual"][k])]
        assert shared and (name == "usual" or differ), name


@pytest.mark.usefixtures("small_runs")
def test_progress_of_each_sitting_rises_with_every_step(tmp_path: Path) -> None:
    recipe = replace(RECIPE, config=SMALLEST.config)
    for minutes, n_rounds in ((0.5, 2), (1.0, 3)):
        events: list[tuple[float, str]] = []
        PacedRun(tmp_path / "run", recipe, minutes, progress=lambda *event, to=events: to.append(event))()
        fractions = [fraction for fraction, _ in events]
        assert len(events) == 2 * n_rounds and {stage for _, stage in events} == {"training"}
        assert fractions == sorted(fractions) and fractions[0] == 0.0 < fractions[-1] <= 1.0


@pytest.mark.usefixtures("small_runs")
def test_a_run_that_ends_before_its_first_checkpoint_leaves_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(patch_task, "validate", fail)
    with pytest.raises(KeyboardInterrupt):
        PacedRun(tmp_path / "run", SMALLEST, 0.2)()
    assert not (tmp_path / "run" / "recipe.json").exists()


# Broken examples.


def broken(patches: Patches, value: float) -> Patches:
    """Patches whose first map, which the network corrects, is no number."""
    return replace(patches, first_map=torch.full_like(patches.first_map, value))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.usefixtures("small_runs")
def test_a_step_with_a_broken_example_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """The weights are those of the same run without that example."""
    draw = patch_task.draw_round
    damaged = False

    def some_broken(*arguments: Any, **options: Any) -> Iterator[Patches]:
        good = list(draw(*arguments, **options))
        broken_ones = [broken(good[0], value)] if damaged and arguments[1].seed < 500 else []
        return iter([*good[:1], *broken_ones, *good[1:]])

    monkeypatch.setattr(patch_task, "draw_round", some_broken)
    recipe = replace(RECIPE, config=replace(CONFIG, n_passes=1, normalised=False))
    PacedRun(tmp_path / "good", recipe, 0.2)()
    damaged = True
    PacedRun(tmp_path / "damaged", recipe, 0.2)()
    good, other = (checkpoint_of(tmp_path / name) for name in ("good", "damaged"))
    assert good.counters.step == 2 and other.counters.step == 3
    for name, weights in good.average.items():
        assert torch.allclose(weights, other.average[name], atol=1e-5), name
    assert [line.get("skipped") for line in log_of(tmp_path / "damaged") if "loss" in line] == [1]
    assert all("skipped" not in line for line in log_of(tmp_path / "good"))


@pytest.mark.usefixtures("small_runs")
def test_a_round_of_broken_examples_ends_the_run_and_keeps_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PacedRun(tmp_path / "run", SMALLEST, 0.2)()
    before = checkpoint_of(tmp_path / "run")
    draw = patch_task.draw_round
    monkeypatch.setattr(patch_task, "draw_round", lambda *a, **o: (broken(p, float("nan")) for p in draw(*a, **o)))
    with pytest.raises(ParameterInvalid, match=r"No step of round 1 .*; begin a new run with a lower --learning-rate"):
        PacedRun(tmp_path / "run", SMALLEST, 1.0)()
    assert checkpoint_of(tmp_path / "run").counters == before.counters


# What is refused.


@pytest.mark.parametrize("n_devices", [0, -1])
def test_fewer_devices_than_one_are_refused(tmp_path: Path, n_devices: int) -> None:
    with pytest.raises(ParameterInvalid, match=rf"The number of devices is {n_devices}; expected 1 or more"):
        TrainingRun(tmp_path, RECIPE, 1.0, n_devices=n_devices)


@pytest.mark.parametrize("times", [{"minutes": 0.0}, {"minutes": 1.0, "sitting": 0.0}, {"minutes": float("nan")}])
def test_no_time_is_refused(tmp_path: Path, times: dict[str, float]) -> None:
    with pytest.raises(ParameterInvalid, match="expected positive numbers"):
        TrainingRun(tmp_path, RECIPE, **times)


def test_a_missing_fabric_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(PackageMissing, match=r"needs lightning-fabric; install it with: pip install 'ir2qsm\["):
        TrainingRun(tmp_path, RECIPE, 1.0)
