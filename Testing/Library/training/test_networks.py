"""The one training loop with every network, and patches that are heads of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.networks.blocks import Estimate
from IR2QSMLib.networks.registry import NETWORKS, build, sized
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.acquisition import Discrepancy
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import data as training_data
from IR2QSMLib.training import patches as training_patches
from IR2QSMLib.training import run as training
from IR2QSMLib.training import validation as training_validation
from IR2QSMLib.training.data import Sampling, cut_patches, draw_round, stand_alone
from IR2QSMLib.training.loss import loss_of
from IR2QSMLib.training.run import Recipe, Run, load_initial_weights

CPU = torch.device("cpu")
FEED = Sampling(patch=24, batch=2, volumes=1, patches=2)
OTHERS = [kind for kind in NETWORKS if kind != "ir2unet"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small heads of random shapes, a small validation, and a process that is left as it was."""
    monkeypatch.setattr(training_data, "SHAPES", ((32, 32, 32),))
    monkeypatch.setattr(training_data, "draw_brain", draw_shapes)
    monkeypatch.setattr(training, "keep_freed_memory", lambda: None)

    def validation_cases(device: torch.device) -> list[Any]:
        rng = RandomSource(900, device)
        return [(draw_shapes(rng, Grid((24, 24, 24), (1.5, 1.5, 1.5))), Discrepancy(40.0), rng)]

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


def recipe_of(kind: str, reads: str = "both", **options: Any) -> Recipe:
    network = sized(kind, width=0.125, n_inputs=NetworkInput(reads).n_channels)
    return Recipe(network, NetworkInput(reads), FEED, **options)


@pytest.mark.parametrize("kind", OTHERS)
def test_one_loop_trains_any_network_and_goes_on_where_it_stopped(kind: str, tmp_path: Path) -> None:
    recipe = recipe_of(kind, loss="absolute")
    Paced(tmp_path / "whole", recipe, 0.4)()
    Paced(tmp_path / "parts", recipe, 0.4, sitting=0.2)()
    Paced(tmp_path / "parts", Recipe(), 0.4)()  # the recipe, network and all, is the folder's
    states = [torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("whole", "parts")]
    assert states[0]["step"] == states[1]["step"] == 2
    start = build(recipe.network)
    start.initialise(torch.Generator().manual_seed(0))
    for name, drawn in start.named_parameters():
        assert torch.equal(states[0]["network"][name], states[1]["network"][name]), name
        late = kind == "whole-brain" and name.endswith(".first.weight")  # behind two layers that begin as zeros
        assert late or name.endswith("bias") or not torch.equal(states[0]["network"][name], drawn), name
    card = json.loads((tmp_path / "whole" / "weights.json").read_text(encoding="utf-8"))
    assert (card["network"], card["recipe"]["kind"]) == (kind, kind)
    assert Recipe.from_dict(json.loads((tmp_path / "parts" / "recipe.json").read_text(encoding="utf-8"))) == recipe
    loaded = load(tmp_path / "whole" / "weights.safetensors")
    assert (loaded.kind, loaded.network.config, loaded.network_input) == (
        kind,
        recipe.network.eval_config,
        recipe.reading,
    )
    assert card["validation"]["xsims"] and all(0.0 < x <= 1.0 for x in card["validation"]["xsims"])


@pytest.mark.parametrize("kind", ["unet", "lpcnn", "modl-qsm"])
def test_a_run_learns(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unrolled = NETWORKS[kind].unrolled
    batches = list(draw_round(NetworkInput("both"), FEED, 0, CPU, alone=unrolled))
    monkeypatch.setattr(training_patches, "draw_round", lambda *_, **__: iter(batches))
    recipe = recipe_of(kind, loss="absolute", learning_rate=1e-2)
    if unrolled:
        recipe = replace(recipe, network=replace(recipe.network, dropout=0.0))  # type: ignore[call-arg]
    run = Paced(tmp_path / "run", recipe, 5.0)
    run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_a_recipe_from_before_there_were_other_networks_is_ir2unets() -> None:
    described = Recipe().to_dict()
    assert described.pop("kind") == "ir2unet"
    assert Recipe.from_dict(json.loads(json.dumps(described))) == Recipe()


def test_an_unrolled_network_is_not_trained_without_the_field() -> None:
    with pytest.raises(ParameterInvalid, match="'modl-qsm' descends on the field; let it read 'field' or 'both'"):
        recipe_of("modl-qsm", "first")


@pytest.mark.parametrize("kind", ["unet", "lpcnn"])
def test_weights_are_taken_over_by_their_own_network_in_its_unit(kind: str, make_weights: Callable[..., Path]) -> None:
    path = make_weights(NetworkInput("both"), kind=kind)
    network = build(sized(kind, width=0.125, n_inputs=2))
    load_initial_weights(path, network)
    stored = load(path).network.state_dict()
    name = "head.weight" if kind == "unet" else "proximal.head.weight"
    assert torch.equal(network.state_dict()[name], stored[name])
    with pytest.raises(WeightsInvalid, match="counts in units of"):
        load_initial_weights(path, build(sized(kind, width=0.125, n_inputs=2, unit=0.2)))
    with pytest.raises(WeightsInvalid, match=f"holds a '{kind}'; expected a 'xqsm'"):
        load_initial_weights(path, build(sized("xqsm", width=0.125, n_inputs=2)))


# Patches.


@pytest.mark.parametrize("reads", ["field", "both"])
def test_a_patch_that_stands_alone_has_the_field_of_its_own_sources(reads: str) -> None:
    n = NetworkInput(reads).n_channels
    cut, grids = cut_patches(NetworkInput(reads), FEED, RandomSource(5))
    image, truth, mask, left = stand_alone(cut, NetworkInput(reads), grids).split([n, 1, 1, 1], dim=1)
    own = torch.stack([simulate_field(t, grid) for t, grid in zip(truth, grids, strict=True)])
    torch.testing.assert_close(image[:, :1], (own + left) * mask, atol=1e-6, rtol=1e-5)
    assert float((truth.sum((1, 2, 3, 4)) / mask.sum((1, 2, 3, 4))).abs().max()) < 1e-6
    assert torch.equal(cut[:, n + 1 : n + 2], mask)
    for a, b, m in zip(cut[:, n : n + 1], truth, mask > 0, strict=True):
        assert float((a - b)[m].std()) < 1e-6  # the same sources, less the patch's mean


def test_a_patch_that_stands_alone_has_nothing_left_to_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clean field, its own sources explain all; of a patch that was merely cut, sources beside it have a part."""
    monkeypatch.setattr(training_data, "draw_discrepancy", lambda rng: Discrepancy())
    for name in ("remove_background", "cut_slab"):
        monkeypatch.setattr(training_data, name, lambda field, rng: field)
    for seed in range(3):
        found = cut_patches(NetworkInput("field"), FEED, RandomSource(seed))
        _, truth, mask, left = stand_alone(found.values, NetworkInput("field"), found.grids).split(1, dim=1)
        own = torch.stack([simulate_field(t, grid) for t, grid in zip(truth, found.grids, strict=True)]) * mask
        beside = found.values[:, :1] - own
        assert left.norm() < 0.02 * own.norm() < 0.2 * beside.norm()


def test_a_flipped_patch_has_its_b0_flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grid predicts the field it was cut with, wherever B0 points after the flips."""
    grid = Grid((32, 32, 32), b0_given=(0.4, 0.3, 0.8))
    monkeypatch.setattr(training_data, "draw_training_grid", lambda rng: grid)
    monkeypatch.setattr(training_data, "draw_discrepancy", lambda rng: Discrepancy())
    for name in ("remove_background", "cut_slab"):
        monkeypatch.setattr(training_data, name, lambda field, rng: field)
    seen = set()
    for seed in range(8):
        found = cut_patches(
            NetworkInput("field"), Sampling(patch=56, batch=1, volumes=1, patches=1), RandomSource(seed)
        )
        seen.add(tuple(v > 0 for v in found.grids[0].b0_direction))
        field, truth, mask, _ = found.values[0]
        off = (simulate_field(truth, found.grids[0]) - field)[mask > 0]
        assert (off - off.mean()).norm() < 0.05 * field.norm()  # the whole head lies in the patch
    assert len(seen) > 2


def test_a_batch_has_the_grid_of_each_of_its_patches() -> None:
    feed = replace(FEED, volumes=3, patches=4, batch=6)
    batches = list(draw_round(NetworkInput("field"), feed, 0, CPU, alone=True))
    assert [len(b.grids) for b in batches] == [6, 6] and len({g for b in batches for g in b.grids}) == 3
    for batch in batches:
        for values, grid in zip(batch.values, batch.grids, strict=True):
            own = (simulate_field(values[1], grid) + values[3]) * values[2]
            torch.testing.assert_close(values[0], own, atol=1e-6, rtol=1e-4)


def test_what_chi_leaves_of_the_field_is_learned_like_chi() -> None:
    zero, ones = torch.zeros(1, 1, 2, 1, 1), torch.ones(1, 1, 2, 1, 1)
    estimate = Estimate(zero + 0.03, [], None, zero + 0.01)
    found = [float(loss_of(estimate, zero, ones, "squared", zero + left, first=zero)) for left in (0.01, 0.05)]
    assert found == pytest.approx([9.0, 9.0 + 16.0])
    silent = Estimate(zero + 0.03, [], None)
    assert float(loss_of(silent, zero, ones, "squared", zero + 1.0, first=zero)) == pytest.approx(9.0)
