"""The training loop: what it is told, when it ends, what it leaves behind and how it goes on."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from IR2QSMLib.core.errors import PackageMissing, ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.networks.ir2unet import IR2UnetConfig
from IR2QSMLib.simulation.acquisition import Discrepancy
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import data as training_data
from IR2QSMLib.training import patches as training_patches
from IR2QSMLib.training import run as training
from IR2QSMLib.training import validation as training_validation
from IR2QSMLib.training.data import Sampling
from IR2QSMLib.training.run import Recipe, Run, learning_rate

CPU = torch.device("cpu")
NETWORK = IR2UnetConfig(0.125, 2, 1, True, feature_noise=0.0, dropout=0.0)
RECIPE = Recipe(NETWORK, NetworkInput("first"), Sampling(patch=24, batch=2, volumes=1, patches=4))
LITTLE = replace(RECIPE, network=replace(NETWORK, n_passes=1), feed=replace(RECIPE.feed, patches=2))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small heads of random shapes, a small validation, and a process that is left as it was."""
    monkeypatch.setattr(training_data, "SHAPES", ((32, 32, 32),))
    monkeypatch.setattr(training_data, "draw_brain", draw_shapes)
    monkeypatch.setattr(training, "keep_freed_memory", lambda: None)

    def validation_cases(device: torch.device) -> list[Any]:
        rng = RandomSource(900, device)
        return [(draw_shapes(rng, Grid((24, 32, 24), (1.5, 1.5, 1.5))), Discrepancy(40.0), rng)]

    monkeypatch.setattr(training_validation, "validation_cases", validation_cases)
    yield
    torch.set_flush_denormal(False)


class Paced(Run):
    """A run whose clock advances by ten seconds a round and by nothing else."""

    def __init__(self, folder: Path, recipe: Recipe, minutes: float, **options: Any) -> None:
        super().__init__(folder, recipe, minutes, clock=lambda: self.now, **options)
        self.now = 100.0

    def _train_round(self) -> float:
        loss = super()._train_round()
        self.now += 10.0
        return loss


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def losses_of(folder: Path) -> list[float]:
    return [line["loss"] for line in log_of(folder) if "loss" in line]


def checkpoint_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def require_same(a: Any, b: Any) -> None:
    """Two nests of dicts, lists, tensors and numbers are equal to the last bit."""
    (leaves, plan), (others, other_plan) = tree_flatten(a), tree_flatten(b)
    assert plan == other_plan
    assert all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in zip(leaves, others, strict=True))


def test_a_recipe_whose_parts_do_not_fit_is_refused() -> None:
    assert Recipe().network.n_inputs == Recipe().reading.n_channels
    with pytest.raises(ParameterInvalid, match="The loss is 'cubed'; expected one of squared, absolute, relative"):
        replace(RECIPE, loss="cubed")
    with pytest.raises(ParameterInvalid, match="The learning rate is 0; expected a number between 0 and 1"):
        Recipe(learning_rate=0.0)
    with pytest.raises(ParameterInvalid, match="The network has 1 input channels and reads 2"):
        replace(RECIPE, reading=NetworkInput("both"))


def test_the_learning_rate_warms_up_and_falls_to_almost_nothing() -> None:
    assert [learning_rate(RECIPE, 0.0, step) for step in (0, 14, 29)] == pytest.approx([1e-3 / 30, 5e-4, 1e-3])
    falling = [learning_rate(RECIPE, fraction, 1000) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0, 1.7)]
    assert falling == pytest.approx([1e-3, 8.5355e-4, 5e-4, 1.4645e-4, 1e-6, 1e-6], rel=1e-3)


# The loop.


@pytest.mark.usefixtures("small")
def test_a_run_ends_within_its_minutes_and_leaves_weights_that_load(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", RECIPE, 0.1)
    began = time.monotonic()
    scores = run()
    assert 0.2 * 6.0 < run.elapsed <= time.monotonic() - began <= 6.0 + 2.0  # on a machine that others use too
    folder = run.folder
    assert {p.name for p in folder.iterdir()} == {
        "recipe.json",
        "checkpoint.pt",
        "log.jsonl",
        "weights.safetensors",
        "weights.json",
    }
    card = json.loads((folder / "weights.json").read_text(encoding="utf-8"))
    content = (folder / "weights.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest() and card["bytes"] == len(content)
    assert card["steps"] == run.step > 2 and card["validation"] == scores
    assert Recipe.from_dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8"))) == RECIPE
    loaded = load(folder / "weights.safetensors")
    assert (loaded.sha256, loaded.network_input, loaded.network.config) == (card["sha256"], RECIPE.reading, NETWORK)
    log = log_of(folder)
    assert len(losses_of(folder)) == run.round and log[0]["step"] == 0 and "xsim" in log[0] and "xsim" in log[-1]
    assert log[-1]["patches_per_second"] >= 0.9 * 2 * run.step / run.elapsed  # said before the last save


@pytest.mark.parametrize(("feature_noise", "dropout"), [(0.0, 0.0), (0.7, 0.05)])
@pytest.mark.usefixtures("small")
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(tmp_path: Path, feature_noise: float, dropout: float) -> None:
    recipe = replace(RECIPE, network=replace(NETWORK, feature_noise=feature_noise, dropout=dropout))
    whole = Paced(tmp_path / "whole", recipe, 0.75)
    whole()
    assert whole.round == 4
    first = Paced(tmp_path / "parts", recipe, 0.75, sitting=0.42)
    first()
    assert first.round == 2  # a sitting ends before the run's time
    second = Paced(tmp_path / "parts", Recipe(), 0.75)  # the recipe is the folder's
    second()
    assert second.round == 4 and second.recipe == recipe
    require_same(checkpoint_of(whole.folder), checkpoint_of(second.folder))
    one, other = (read_weights(run.folder / "weights.safetensors") for run in (whole, second))
    require_same(sorted(one.tensors.items()), sorted(other.tensors.items()))
    assert one.header == other.header
    assert losses_of(whole.folder) == losses_of(second.folder)


@pytest.mark.usefixtures("small")
def test_a_run_that_is_over_only_says_how_it_did(tmp_path: Path) -> None:
    scores = Paced(tmp_path / "run", LITTLE, 0.5)()
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    again = Paced(tmp_path / "run", LITTLE, 0.5)
    assert again() == scores and again.round == 2
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


@pytest.mark.usefixtures("small")
def test_a_run_learns_and_its_average_lags_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = list(training_data.draw_round(RECIPE.reading, RECIPE.feed, 0, CPU))
    monkeypatch.setattr(training_patches, "draw_round", lambda *_, **__: iter(batches))
    run = Paced(tmp_path / "run", replace(RECIPE, network=replace(NETWORK, n_passes=1), loss="absolute"), 4.0)
    run()
    losses = losses_of(run.folder)
    assert len(losses) > 20
    assert sum(losses[-3:]) < 0.94 * sum(losses[:3])
    state = checkpoint_of(run.folder)
    assert state["average"].keys() == {k for k, _ in run.network.named_parameters()}
    for name, averaged in state["average"].items():
        assert bool(torch.isfinite(averaged).all())
        assert not torch.equal(averaged, state["network"][name]), name
    saved = load(run.folder / "weights.safetensors").network.state_dict()["head.weight"]
    assert torch.allclose(saved, state["average"]["head.weight"], rtol=1e-3)  # the file holds the average, in half


@pytest.mark.usefixtures("small")
def test_every_part_of_the_recipe_changes_what_is_learned(tmp_path: Path) -> None:
    recipes = {
        "usual": LITTLE,
        "loss": replace(LITTLE, loss="absolute"),
        "learning rate": replace(LITTLE, learning_rate=1e-4),
        "averaging": replace(LITTLE, averaging=0.1),
        "seed": replace(LITTLE, feed=replace(LITTLE.feed, seed=1)),
        "feature noise": replace(LITTLE, network=replace(LITTLE.network, feature_noise=0.7)),
        "dropout": replace(LITTLE, network=replace(LITTLE.network, dropout=0.5)),
        "normalisation": replace(LITTLE, network=replace(LITTLE.network, normalised=False)),
    }
    learned = {}
    for name, recipe in recipes.items():
        Paced(tmp_path / name, recipe, 0.4)()
        learned[name] = checkpoint_of(tmp_path / name)["average"]
    for name, average in learned.items():
        shared = average.keys() & learned["usual"].keys()
        differ = [k for k in shared if not torch.equal(average[k], learned["usual"][k])]
        assert shared and (name == "usual" or differ), name


@pytest.mark.usefixtures("small")
def test_checkpoints_are_written_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, drawn = training_validation.validation_cases, []
    monkeypatch.setattr(training_validation, "validation_cases", lambda device: drawn.append(device) or draw(device))
    Paced(tmp_path / "often", LITTLE, 1.0, save_every=0.3)()
    assert len(drawn) == 1  # the heads that judge all of them
    Paced(tmp_path / "seldom", LITTLE, 1.0)()
    often, seldom = (sum("xsim" in line for line in log_of(tmp_path / name)) for name in ("often", "seldom"))
    assert often == 1 + 2 + 1 and seldom == 2  # at the start, after two rounds each, at the end


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no checkpoint" * 20])
@pytest.mark.usefixtures("small")
def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    run = Paced(tmp_path / "run", LITTLE, 0.2)
    run()
    path = run.folder / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(WeightsInvalid, match=r"'checkpoint\.pt' cannot be read; delete it to start the run again"):
        Paced(run.folder, RECIPE, 1.0)()
    assert path.read_bytes() == before


@pytest.mark.usefixtures("small")
def test_each_batch_tells_the_part_of_the_sitting_that_is_done(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    for minutes in (0.5, 1.0):  # sittings of 30 s and of the 40 s left after two rounds
        Paced(tmp_path / "run", RECIPE, minutes, progress=lambda *event: told.append(event))()
    assert {stage for _, stage in told} == {"training"}
    first, second = [0.0, 0.0, 1 / 3, 1 / 3], [0.0, 0.0, 0.25, 0.25, 0.5, 0.5]  # rounds of two batches, 10 s
    assert [fraction for fraction, _ in told] == pytest.approx(first + second)


@pytest.mark.usefixtures("small")
def test_a_run_that_ends_before_its_first_checkpoint_leaves_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training_patches, "validate", fail)
    with pytest.raises(KeyboardInterrupt):
        Paced(tmp_path / "run", LITTLE, 0.2)()
    assert not (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize("n_devices", [0, -1])
def test_fewer_devices_than_one_are_refused(tmp_path: Path, n_devices: int) -> None:
    with pytest.raises(ParameterInvalid, match=rf"The number of devices is {n_devices}; expected 1 or more"):
        Run(tmp_path, RECIPE, 1.0, n_devices=n_devices)


@pytest.mark.parametrize("times", [{"minutes": 0.0}, {"minutes": 1.0, "sitting": 0.0}, {"minutes": float("nan")}])
def test_no_time_is_refused(tmp_path: Path, times: dict[str, float]) -> None:
    with pytest.raises(ParameterInvalid, match="expected positive numbers"):
        Run(tmp_path, RECIPE, **times)


def test_a_missing_fabric_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(PackageMissing, match=r"needs lightning-fabric; install it with: pip install 'ir2qsm\["):
        Run(tmp_path, RECIPE, 1.0)
