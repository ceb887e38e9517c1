"""Rounds depend on their number and rank alone, and a cache of patches changes nothing but the time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from IR2QSMLib.inversion.learned import whole_brain
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from IR2QSMLib.training import patch_cache
from IR2QSMLib.training.patch_cache import PatchCache, draw_round
from IR2QSMLib.training.patches import Patches, cut_patches, join
from IR2QSMLib.training.sampling import Sampling
from Testing.Library.training.small_runs import CPU

SMALL = Sampling(patch_size=24, batch_size=2, n_heads=2, patches_per_head=4)
BOTH, FIRST = NetworkInput(), NetworkInput(("first_map",))
pytestmark = pytest.mark.usefixtures("small_heads")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the heads that are drawn."""
    seeds: list[int] = []

    def noted(seed: int, device: torch.device) -> RandomSource:
        seeds.append(seed)
        return RandomSource(seed, device)

    monkeypatch.setattr(patch_cache, "RandomSource", noted)
    return seeds


def inputs_of(sampling: Sampling, number: int = 0, rank: int = 0, n_ranks: int = 1) -> Tensor:
    return torch.cat([batch.inputs(BOTH) for batch in draw_round(BOTH, sampling, number, CPU, rank, n_ranks)])


def test_the_same_round_of_the_same_rank_is_the_same_data() -> None:
    first = inputs_of(SMALL)
    assert first.shape[0] == SMALL.n_heads * SMALL.patches_per_head
    assert torch.equal(first, inputs_of(SMALL))
    for other in (inputs_of(SMALL, 1), inputs_of(SMALL, 0, 1, 2), inputs_of(replace(SMALL, seed=1))):
        assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(seed=1), Sampling(seed=7, n_heads=2, patches_per_head=4), Sampling(seed=500)],
)
def test_no_training_seed_is_a_held_out_one(
    sampling: Sampling, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cut_patches(BOTH, replace(SMALL, patches_per_head=1), RandomSource(5))

    def same(network_input: NetworkInput, sampling: Sampling, rng: RandomSource) -> Patches:
        return join([one] * sampling.patches_per_head)

    monkeypatch.setattr(patch_cache, "cut_patches", same)
    for number in (0, 1, 2, 1000):
        for rank in range(3):
            list(draw_round(BOTH, sampling, number, CPU, rank, 3))
    assert len(drawn) == len(set(drawn)) == 4 * 3 * sampling.n_heads  # and none is drawn twice
    assert min(drawn) >= FIRST_TRAINING_SEED


def test_a_round_is_shuffled_into_batches_of_several_heads() -> None:
    sampling = replace(SMALL, batch_size=4, patches_per_head=8)
    batches = [batch.inputs(FIRST) for batch in draw_round(FIRST, sampling, 0, CPU)]
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]
    first = cut_patches(FIRST, sampling, RandomSource(FIRST_TRAINING_SEED)).inputs(FIRST).half().float()
    from_first = [sum(any(torch.equal(p, q) for q in first) for p in batch) for batch in batches]
    assert sum(from_first) == 8
    assert any(0 < n < 4 for n in from_first)


def test_a_set_of_heads_lasts_for_its_rounds_and_each_has_other_patches(drawn: list[int]) -> None:
    sampling, cache = replace(SMALL, patches_per_head=6, rounds_per_set=3), PatchCache()
    rounds = [list(draw_round(FIRST, sampling, n, CPU, cache=cache)) for n in range(4)]
    assert [len(batches) for batches in rounds] == [2, 2, 2, 2]
    first = FIRST_TRAINING_SEED
    assert drawn == [first, first + 1, first + 2, first + 3]  # two heads for three rounds, then two others
    sums = [p.sum().item() for batches in rounds[:3] for batch in batches for p in batch.inputs(FIRST)]
    assert len(set(sums)) == 12


def test_patches_in_the_cache_are_the_very_ones_and_are_not_drawn_twice(tmp_path: Path, drawn: list[int]) -> None:
    def a_round(sampling: Sampling, isolated: bool) -> Patches:
        return join(list(draw_round(BOTH, sampling, 0, CPU, isolated=isolated, cache=PatchCache(tmp_path / "cache"))))

    fresh = join(list(draw_round(BOTH, SMALL, 0, CPU)))
    kept = a_round(SMALL, False)
    for name, tensor in fresh.tensors.items():
        assert torch.equal(tensor, kept.tensors[name]), name
    assert fresh.grids == kept.grids
    assert len(list((tmp_path / "cache").iterdir())) == SMALL.n_heads
    drawn.clear()
    assert len(a_round(SMALL, True)) == len(kept) and not drawn  # isolated or not
    for other in (replace(SMALL, patches_per_head=5, batch_size=5), replace(SMALL, voxel_size=1.2)):
        drawn.clear()
        a_round(other, False)
        assert len(drawn) == 2  # whoever cuts otherwise does not find them


def test_patches_are_drawn_anew_for_other_settings(
    tmp_path: Path, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n_files, settings in ((2, SETTINGS), (4, replace(SETTINGS, n_rounds=1))):
        monkeypatch.setattr(patch_cache, "SETTINGS", settings)
        list(draw_round(BOTH, SMALL, 0, CPU, cache=PatchCache(tmp_path)))
        assert len(drawn) == len(list(tmp_path.iterdir())) == n_files


def test_first_maps_are_drawn_anew_for_other_weights_of_the_whole_brain_network(
    tmp_path: Path, drawn: list[int], make_weights: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = replace(SMALL, n_heads=1, whole_brain_map_share=1e-9)
    for n_files, seed in ((1, 1), (1, 1), (2, 2)):
        path = make_weights(kind="whole-brain", seed=seed)  # type: ignore[operator]
        monkeypatch.setattr(whole_brain, "bundled", lambda name, path=path: path)
        list(draw_round(BOTH, sampling, 0, CPU, cache=PatchCache(tmp_path)))
        assert len(list(tmp_path.iterdir())) == n_files
    assert len(drawn) == 2
