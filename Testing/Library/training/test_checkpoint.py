"""Checkpoints: a resumed run is the unbroken one, also from a checkpoint of version 0.1.0; damage is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.inversion.learned.network_input import CHANNELS, OLD_NAMES, NetworkInput
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.networks.whole_brain import WholeBrainConfig
from IR2QSMLib.training import recipe as recipe_module
from IR2QSMLib.training.checkpoint import FILE, OLD_FILE
from IR2QSMLib.training.recipe import Recipe
from Testing.Library.training.small_runs import (
    CONFIG,
    RECIPE,
    SMALLEST,
    PacedRun,
    checkpoint_of,
    log_of,
    losses_of,
    require_same,
)

pytestmark = pytest.mark.usefixtures("small_runs")

OLD_NAME_OF = {channels: name for name, channels in OLD_NAMES.items()}


def to_version_0_1_0(folder: Path) -> None:
    """Write a run's recipe and checkpoint as version 0.1.0 did."""
    checkpoint, recipe = checkpoint_of(folder), Recipe.read(folder)
    assert recipe is not None
    counters = checkpoint.counters
    state = {
        "network": checkpoint.network,
        "optimizer": {"state": checkpoint.moments, "param_groups": checkpoint.parameter_groups},
        "average": checkpoint.average,
        "step": counters.step,
        "round": counters.round,
        "elapsed": counters.elapsed,
        "slowest": (counters.slowest_round, counters.slowest_save),
        "scores": checkpoint.scores,
    }
    torch.save(state, folder / OLD_FILE)
    (folder / FILE).unlink()
    sampling = recipe.sampling
    old_recipe = {
        "kind": recipe.network,
        "network": vars(recipe.config),
        "reading": {"reads": OLD_NAME_OF[recipe.network_input.channels]},
        "feed": {
            "patch": sampling.patch_size,
            "batch": sampling.batch_size,
            "volumes": sampling.n_heads,
            "patches": sampling.patches_per_head,
            "turns": sampling.rounds_per_set,
            "seed": sampling.seed,
            "whole_brain": sampling.whole_brain_map_share,
            "voxel": sampling.voxel_size,
        },
        "loss": recipe.loss,
        "learning_rate": recipe.learning_rate,
        "averaging": recipe.averaging_decay,
        "whole_brains": recipe.trains_on_whole_heads,
    }
    (folder / recipe_module.FILE).write_text(json.dumps(old_recipe), encoding="utf-8")


def require_same_run(a: Path, b: Path) -> None:
    """Checkpoint, weights and losses of two runs are equal to the last bit."""
    require_same(vars(checkpoint_of(a)) | {"counters": 0}, vars(checkpoint_of(b)) | {"counters": 0})
    assert checkpoint_of(a).counters == checkpoint_of(b).counters
    one, other = (read_weights(folder / "weights.safetensors") for folder in (a, b))
    require_same(sorted(one.tensors.items()), sorted(other.tensors.items()))
    assert one.header == other.header and losses_of(a) == losses_of(b)


@pytest.mark.parametrize(("feature_noise", "dropout"), [(0.0, 0.0), (0.7, 0.05)])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(tmp_path: Path, feature_noise: float, dropout: float) -> None:
    recipe = replace(RECIPE, config=replace(CONFIG, feature_noise=feature_noise, dropout=dropout))
    unbroken = PacedRun(tmp_path / "unbroken", recipe, 0.75)
    unbroken()
    assert unbroken.round == 4
    first = PacedRun(tmp_path / "parts", recipe, 0.75, sitting=0.42)
    first()
    assert first.round == 2  # a sitting ends before the run's time
    second = PacedRun(tmp_path / "parts", Recipe(), 0.75)  # the recipe is the folder's
    second()
    assert second.round == 4 and second.recipe == recipe
    require_same_run(unbroken.folder, second.folder)


@pytest.mark.parametrize(
    "recipe",
    [RECIPE, Recipe(WholeBrainConfig(0.125, n_blocks=1), NetworkInput(CHANNELS), SMALLEST.sampling, "relative")],
    ids=["ir2unet", "whole-brain"],
)
def test_a_run_of_version_0_1_0_is_resumed_as_if_it_were_unbroken(tmp_path: Path, recipe: Recipe) -> None:
    PacedRun(tmp_path / "unbroken", recipe, 0.75)()
    PacedRun(tmp_path / "parts", recipe, 0.75, sitting=0.42)()
    to_version_0_1_0(tmp_path / "parts")
    resumed = PacedRun(tmp_path / "parts", Recipe(), 0.75)
    resumed()
    assert resumed.recipe == recipe
    require_same_run(tmp_path / "unbroken", tmp_path / "parts")
    assert (tmp_path / "parts" / FILE).exists() and not (tmp_path / "parts" / OLD_FILE).exists()


def test_a_run_that_is_over_only_returns_its_scores(tmp_path: Path) -> None:
    scores = PacedRun(tmp_path / "run", SMALLEST, 0.5)()
    before = (tmp_path / "run" / FILE).read_bytes()
    resumed = PacedRun(tmp_path / "run", SMALLEST, 0.5)
    assert resumed() == scores and resumed.round == 2
    assert (tmp_path / "run" / FILE).read_bytes() == before


@pytest.mark.parametrize("name", [FILE, OLD_FILE])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no checkpoint" * 20])
def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    run = PacedRun(tmp_path / "run", SMALLEST, 0.2)
    run()
    if name == OLD_FILE:
        to_version_0_1_0(run.folder)
    path = run.folder / name
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(WeightsInvalid, match=rf"'{name}' cannot be read; delete it to begin the run anew"):
        PacedRun(run.folder, RECIPE, 1.0)()
    assert path.read_bytes() == before


def test_checkpoints_are_written_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from IR2QSMLib.training import validation

    draw, drawn = validation.validation_heads, []

    def noted(device: torch.device) -> list[Any]:
        drawn.append(device)
        return draw(device)

    monkeypatch.setattr(validation, "validation_heads", noted)
    PacedRun(tmp_path / "often", SMALLEST, 1.0, save_every=0.3)()
    assert len(drawn) == 1  # the same heads for all checkpoints
    PacedRun(tmp_path / "seldom", SMALLEST, 1.0)()
    often, seldom = (sum("xsim" in line for line in log_of(tmp_path / name)) for name in ("often", "seldom"))
    assert often == 1 + 2 + 1 and seldom == 2  # at the start, after two rounds each, at the end


def test_an_interrupted_save_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = PacedRun(tmp_path / "run", SMALLEST, 0.2)
    run()
    before = (run.folder / FILE).read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("IR2QSMLib.training.checkpoint.os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint_of(run.folder).save(run.folder)
    assert (run.folder / FILE).read_bytes() == before
