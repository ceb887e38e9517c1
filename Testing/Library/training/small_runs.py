"""Small training runs: a tiny network on small heads, and a clock that advances with the rounds alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.networks.ir2unet import IR2UnetConfig
from IR2QSMLib.training.checkpoint import Checkpoint
from IR2QSMLib.training.recipe import Recipe
from IR2QSMLib.training.run import TrainingRun
from IR2QSMLib.training.sampling import Sampling

CPU = torch.device("cpu")
CONFIG = IR2UnetConfig(0.125, 2, 1, True, feature_noise=0.0, dropout=0.0)
RECIPE = Recipe(
    CONFIG, NetworkInput(("first_map",)), Sampling(patch_size=24, batch_size=2, n_heads=1, patches_per_head=4)
)
SMALLEST = replace(RECIPE, config=replace(CONFIG, n_passes=1), sampling=replace(RECIPE.sampling, patches_per_head=2))
SECONDS_PER_ROUND = 10.0


class PacedRun(TrainingRun):
    """A run whose clock advances by ten seconds a round and by nothing else."""

    def __init__(self, folder: Path, recipe: Recipe, minutes: float, **options: Any) -> None:
        super().__init__(folder, recipe, minutes, clock=lambda: self.time, **options)
        self.time = 100.0
        draw = self.task.round

        def paced_round(*arguments: Any) -> Iterator[Any]:
            yield from draw(*arguments)
            self.time += SECONDS_PER_ROUND

        self.task.round = paced_round


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def losses_of(folder: Path) -> list[float]:
    return [line["loss"] for line in log_of(folder) if "loss" in line]


def checkpoint_of(folder: Path) -> Checkpoint:
    checkpoint = Checkpoint.load(folder, CPU)
    assert checkpoint is not None
    return checkpoint


def require_same(a: Any, b: Any) -> None:
    """Two nests of dicts, lists, tensors and numbers are equal to the last bit."""
    (leaves, plan), (others, other_plan) = tree_flatten(a), tree_flatten(b)
    assert plan == other_plan
    assert all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in zip(leaves, others, strict=True))
