"""A recipe refuses what does not fit, and reads back from JSON, also that of version 0.1.0."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput
from IR2QSMLib.networks.registry import make_config
from IR2QSMLib.networks.whole_brain import WholeBrainConfig
from IR2QSMLib.training.recipe import Recipe
from IR2QSMLib.training.sampling import Sampling
from Testing.Library.training.small_runs import RECIPE

OLD_RECIPE = {
    "kind": "whole-brain",
    "network": {"width": 1.0, "n_blocks": 2, "n_inputs": 3, "unit": 0.05},
    "reading": {"reads": "three"},
    "feed": {
        "patch": 80,
        "batch": 1,
        "volumes": 4,
        "patches": 12,
        "turns": 2,
        "seed": 7,
        "whole_brain": 0.85,
        "voxel": 1.0,
    },
    "loss": "relative",
    "learning_rate": 0.0005,
    "averaging": 0.99,
    "whole_brains": False,
}
"""As version 0.1.0 wrote it."""


def test_a_recipe_whose_parts_do_not_fit_is_refused() -> None:
    assert Recipe().config.n_inputs == Recipe().network_input.n_channels
    with pytest.raises(ParameterInvalid, match="The loss is 'cubed'; expected one of squared, absolute, relative"):
        replace(RECIPE, loss="cubed")
    with pytest.raises(ParameterInvalid, match="The learning rate is 0; expected a number between 0 and 1"):
        Recipe(learning_rate=0.0)
    with pytest.raises(ParameterInvalid, match="1 input channels"):
        replace(RECIPE, network_input=NetworkInput())


def test_an_unrolled_network_is_not_trained_without_the_field() -> None:
    with pytest.raises(ParameterInvalid, match="'modl-qsm' fits its map to the field"):
        Recipe(make_config("modl-qsm", width=0.125, n_inputs=1), NetworkInput(("first_map",)))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        RECIPE,
        Recipe(WholeBrainConfig(), NetworkInput(CHANNELS), Sampling(seed=3), trains_on_whole_heads=True),
    ],
)
def test_a_recipe_reads_back_from_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_recipe_of_version_0_1_0_is_read() -> None:
    assert Recipe.from_dict(OLD_RECIPE) == Recipe(
        WholeBrainConfig(),
        NetworkInput(CHANNELS),
        Sampling(
            patch_size=80,
            batch_size=1,
            n_heads=4,
            patches_per_head=12,
            rounds_per_set=2,
            seed=7,
            whole_brain_map_share=0.85,
            voxel_size=1.0,
        ),
        loss="relative",
        learning_rate=5e-4,
        averaging_decay=0.99,
    )


def test_former_names_in_a_recipe_are_accepted() -> None:
    recipe = Recipe(sampling=Sampling(whole_brain_map_share=0.5), trains_on_whole_heads=True)
    values = recipe.to_dict()
    values["whole_brains"] = values.pop("trains_on_whole_heads")
    values["sampling"]["whole_brain_share"] = values["sampling"].pop("whole_brain_map_share")
    values["network_input"] = {"reads": "both"}
    assert Recipe.from_dict(values) == recipe


def test_a_recipe_without_a_network_s_name_is_ir2unets() -> None:
    values = Recipe().to_dict()
    values["network_input"] = {"reads": "tikhonov"}
    values["config"]["n_inputs"] = 1
    old = {"network": values["config"], "reading": values["network_input"], "feed": {}}
    assert Recipe.from_dict(old) == Recipe(replace(Recipe().config, n_inputs=1), NetworkInput(("first_map",)))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"patch_size": 30}, "The patch is 30 voxels; expected a multiple of 8 from 24 to 96"),
        ({"patch_size": 16}, "expected a multiple of 8 from 24 to 96"),
        ({"patch_size": 104}, "expected a multiple of 8 from 24 to 96"),
        ({"batch_size": 7}, "4 heads × 20 patches in 1 rounds give no whole number of batches of 7"),
        ({"batch_size": 0}, "no whole number of batches of 0"),
        ({"n_heads": 0}, "0 heads × 20 patches"),
        ({"patches_per_head": 0}, "4 heads × 0 patches"),
        ({"patches_per_head": 9, "rounds_per_set": 2}, "4 heads × 9 patches in 2 rounds"),
        ({"patches_per_head": 8, "rounds_per_set": 4, "batch_size": 16}, "in 4 rounds give no whole number of batches"),
        ({"rounds_per_set": 0}, "in 0 rounds"),
        ({"seed": -1}, "The seed is -1; expected 0 or more: below lie the held-out heads"),
    ],
)
def test_a_sampling_that_no_round_can_have_is_refused(values: dict[str, int], complaint: str) -> None:
    with pytest.raises(ParameterInvalid, match=complaint):
        Sampling(**values)  # type: ignore[arg-type]
