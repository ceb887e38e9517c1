"""The one training loop with every network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.networks.registry import NETWORKS, build, make_config
from IR2QSMLib.training import patch_task
from IR2QSMLib.training.patch_cache import draw_round
from IR2QSMLib.training.recipe import Recipe
from IR2QSMLib.training.sampling import Sampling
from Testing.Library.training.small_runs import CPU, PacedRun, checkpoint_of, losses_of

SAMPLING = Sampling(patch_size=24, batch_size=2, n_heads=1, patches_per_head=2)
OTHERS = [name for name in NETWORKS if name != "ir2unet"]
pytestmark = pytest.mark.usefixtures("small_runs")


def recipe_of(name: str, sizes: dict[str, int] | None = None, **options: Any) -> Recipe:
    network_input = NetworkInput()
    config = make_config(name, width=0.125, n_inputs=network_input.n_channels, **(sizes or {}))
    return Recipe(config, network_input, SAMPLING, **options)


@pytest.mark.parametrize("name", OTHERS)
def test_one_loop_trains_any_network_and_resumes(name: str, tmp_path: Path) -> None:
    recipe = recipe_of(name, {"n_passes": 1} if NETWORKS[name].unrolled else None, loss="absolute")
    PacedRun(tmp_path / "unbroken", recipe, 0.4)()
    PacedRun(tmp_path / "parts", recipe, 0.4, sitting=0.2)()
    PacedRun(tmp_path / "parts", Recipe(), 0.4)()  # the recipe, network and all, is the folder's
    unbroken, parts = (checkpoint_of(tmp_path / n) for n in ("unbroken", "parts"))
    assert unbroken.counters.step == parts.counters.step == 2
    start = build(recipe.config)
    start.initialise(torch.Generator().manual_seed(0))
    for key, initial in start.named_parameters():
        assert torch.equal(unbroken.network[key], parts.network[key]), key
        late = name == "whole-brain" and key.endswith(".first.weight")  # behind two layers that begin as zeros
        assert late or key.endswith("bias") or not torch.equal(unbroken.network[key], initial), key
    card = json.loads((tmp_path / "unbroken" / "weights.json").read_text(encoding="utf-8"))
    assert (card["network"], card["recipe"]["network"]) == (name, name)
    assert Recipe.read(tmp_path / "parts") == recipe
    loaded = load(tmp_path / "unbroken" / "weights.safetensors")
    assert (loaded.network_name, loaded.network.config, loaded.network_input) == (
        name,
        recipe.config.eval_config,
        recipe.network_input,
    )
    assert card["validation"]["xsims"] and all(-1.0 <= x <= 1.0 for x in card["validation"]["xsims"])


@pytest.mark.parametrize("name", ["unet", pytest.param("lpcnn", marks=pytest.mark.long), "modl-qsm"])
def test_a_run_learns(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unrolled = NETWORKS[name].unrolled
    batches = list(draw_round(NetworkInput(), SAMPLING, 0, CPU, isolated=unrolled))
    monkeypatch.setattr(patch_task, "draw_round", lambda *_, **__: iter(batches))
    recipe = recipe_of(name, loss="absolute", learning_rate=1e-2)
    if unrolled:
        recipe = replace(recipe, config=replace(recipe.config, dropout=0.0))  # type: ignore[call-arg]
    PacedRun(tmp_path / "run", recipe, 5.0)()
    losses = losses_of(tmp_path / "run")
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
