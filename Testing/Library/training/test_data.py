"""What a run is fed: patches that are parts of a simulated head, the same for the same round and rank."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import data as training_data
from IR2QSMLib.training.data import (
    PatchCache,
    Sampling,
    cut_patches,
    cut_slab,
    draw_head,
    draw_round,
    draw_training_grid,
)

CPU = torch.device("cpu")
SMALL = Sampling(patch=24, batch=2, volumes=2, patches=4)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small heads, of random shapes alone."""
    monkeypatch.setattr(training_data, "SHAPES", ((32, 32, 32),))
    monkeypatch.setattr(training_data, "draw_brain", draw_shapes)


def a_round(reads: NetworkInput, feed: Sampling, number: int = 0, rank: int = 0, n_ranks: int = 1) -> Tensor:
    return torch.cat([batch.values for batch in draw_round(reads, feed, number, CPU, rank, n_ranks)])


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"patch": 30}, "The patch is 30 voxels; expected a multiple of 8 from 24 to 96"),
        ({"patch": 16}, "expected a multiple of 8 from 24 to 96"),
        ({"patch": 104}, "expected a multiple of 8 from 24 to 96"),
        ({"batch": 7}, "A round of 4 heads × 20 patches in 1 turns is no multiple of the batch of 7"),
        ({"batch": 0}, "no multiple of the batch of 0"),
        ({"volumes": 0}, "A round of 0 heads"),
        ({"patches": 0}, "4 heads × 0 patches"),
        ({"patches": 9, "turns": 2}, "4 heads × 9 patches in 2 turns"),
        ({"patches": 8, "turns": 4, "batch": 16}, "in 4 turns is no multiple of the batch of 16"),
        ({"turns": 0}, "in 0 turns"),
        ({"seed": -1}, "The seed is -1; expected 0 or more: below lie the held-out heads"),
    ],
)
def test_a_feed_that_no_round_can_have_is_refused(values: dict[str, int], complaint: str) -> None:
    with pytest.raises(ParameterInvalid, match=complaint):
        Sampling(**values)


def test_training_grids_cover_voxel_sizes_slices_and_tilts() -> None:
    grids = [draw_training_grid(RandomSource(seed)) for seed in range(400)]
    sizes = torch.tensor([grid.voxel_size for grid in grids])
    tilts = torch.tensor([math.degrees(math.acos(min(1.0, grid.b0_direction[2]))) for grid in grids])
    assert float(sizes.min()) >= 0.6 and float(sizes.max()) <= 3.0
    thick = sizes > 1.05 * sizes.amin(1, keepdim=True)
    assert int(thick.sum(1).max()) == 1  # at most one long axis, and any of the three
    assert thick.float().mean(0).tolist() == pytest.approx([0.1, 0.1, 0.2], abs=0.06)
    assert 35.0 < float(tilts.max()) <= 40.0 and float((tilts == 0.0).float().mean()) == pytest.approx(0.4, abs=0.1)
    assert {grid.shape for grid in grids} == set(training_data.SHAPES)
    around = torch.tensor([grid.b0_direction[:2] for grid in grids]).sign()
    assert len({tuple(row) for row in around.tolist() if 0.0 not in row}) == 4  # tilted to every side


def test_a_third_of_the_heads_at_least_are_random_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    full = draw_shapes(RandomSource(2), draw_training_grid(RandomSource(0)).cropped((0, 0, 0), (16, 16, 16)))
    for name in ("draw_brain", "draw_shapes"):
        monkeypatch.setattr(training_data, name, lambda rng, grid, name=name: drawn.append(name) or full)
    for seed in range(300):
        draw_head(RandomSource(seed), full.grid)
    assert 0.30 < drawn.count("draw_shapes") / len(drawn) < 0.45


def test_a_head_that_is_hardly_on_the_grid_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = draw_training_grid(RandomSource(0)).cropped((0, 0, 0), (16, 16, 16))
    full = draw_shapes(RandomSource(2), grid)
    empty = draw_shapes(RandomSource(2), grid)
    empty.mask.zero_()
    answers = [empty, empty, full]
    for name in ("draw_brain", "draw_shapes"):
        monkeypatch.setattr(training_data, name, lambda rng, grid: answers.pop(0))
    assert draw_head(RandomSource(0), grid) is full
    assert not answers


@pytest.mark.parametrize(("reads", "n_channels"), [("field", 1), ("first", 1), ("both", 2), ("three", 3)])
@pytest.mark.usefixtures("small")
def test_patches_hold_input_truth_and_mask(reads: str, n_channels: int) -> None:
    patches = cut_patches(NetworkInput(reads), SMALL, RandomSource(5)).values
    assert patches.shape == (4, n_channels + 3, 24, 24, 24)
    image, truth, mask, left = patches.split([n_channels, 1, 1, 1], dim=1)
    assert mask.unique().tolist() in ([0.0, 1.0], [1.0])
    outside = mask == 0
    assert not any(bool(x[outside].any()) for x in (truth, left, image[:, :1]))
    assert float(mask.flatten(1).mean(1).min()) > 0.0  # each is cut around a voxel of the mask
    assert bool(torch.isfinite(patches).all())
    if reads != "field":  # a first map resembles what it is of
        pair = torch.stack([image[:, -1:][mask > 0], truth[mask > 0]])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.3


@pytest.mark.usefixtures("small")
def test_a_patch_larger_than_the_head_has_air_around_it() -> None:
    patches = cut_patches(
        NetworkInput("first"), Sampling(patch=96, batch=1, volumes=1, patches=1), RandomSource(5)
    ).values
    assert patches.shape == (1, 4, 96, 96, 96)
    small = cut_patches(
        NetworkInput("first"), Sampling(patch=24, batch=1, volumes=1, patches=1), RandomSource(5)
    ).values
    assert float(patches[:, 1].abs().max()) >= float(small[:, 1].abs().max())


@pytest.mark.usefixtures("small", "little_whole_brain")
def test_a_share_of_the_heads_begins_from_the_whole_brain_s_map() -> None:
    """Field, truth and mask are the same; the first map is another one of the same head."""
    feeds = (SMALL, replace(SMALL, whole_brain=1.0))
    usual, begun = (cut_patches(NetworkInput("both"), feed, RandomSource(5)).values for feed in feeds)
    assert torch.equal(usual[:, :1], begun[:, :1]) and torch.equal(usual[:, 2:4], begun[:, 2:4])
    assert not torch.equal(usual[:, 1], begun[:, 1])
    pair = torch.stack([x[:, 1][x[:, 3] > 0] for x in (usual, begun)])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.5


@pytest.mark.usefixtures("small")
def test_a_network_for_cubic_voxels_along_b0_is_trained_on_such() -> None:
    for seed in range(5):
        found = cut_patches(NetworkInput("field"), replace(SMALL, voxel=1.2), RandomSource(seed))
        for grid in found.grids:
            assert grid.voxel_size == (1.2, 1.2, 1.2)
            assert [abs(x) for x in grid.b0_direction] == pytest.approx([0.0, 0.0, 1.0])


def test_a_slab_keeps_its_values_and_loses_the_rest() -> None:
    grid = Grid((32, 40, 24), (2.0, 2.0, 2.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[4:-4, 5:-5, 3:-3] = True
    values = torch.where(mask, torch.randn(grid.shape, generator=torch.Generator().manual_seed(0)), 0.0)
    field, axes = LocalField(values, mask, grid), set()
    for seed in range(40):
        slab = cut_slab(field, RandomSource(seed))
        assert torch.equal(slab.values[slab.mask], values[slab.mask]) and not slab.values[~slab.mask].any()
        assert bool((slab.mask <= mask).all())
        lengths = [int(slab.mask.any(dim=o[1]).any(dim=o[0]).sum()) for o in ((1, 2), (0, 2), (0, 1))]
        whole = [24, 30, 18]
        (axis,) = (a for a in range(3) if lengths[a] != whole[a])
        assert 0.35 * whole[axis] - 1 <= lengths[axis] <= 0.9 * whole[axis] or lengths[axis] == 8
        assert int(slab.mask.sum()) == lengths[0] * lengths[1] * lengths[2]
        axes.add(axis)
    assert axes == {0, 1, 2}


@pytest.mark.usefixtures("small")
def test_the_same_round_of_the_same_rank_is_the_same_data() -> None:
    reads = NetworkInput("both")
    first = a_round(reads, SMALL)
    assert first.shape[0] == SMALL.volumes * SMALL.patches
    assert torch.equal(first, a_round(reads, SMALL))
    for other in (
        a_round(reads, SMALL, number=1),
        a_round(reads, SMALL, rank=1, n_ranks=2),
        a_round(reads, Sampling(24, 2, 2, 4, seed=1)),
    ):
        assert not torch.equal(first, other)


@pytest.mark.usefixtures("small")
def test_a_round_is_shuffled_into_batches_of_several_heads() -> None:
    feed = Sampling(patch=24, batch=4, volumes=2, patches=8)
    batches = [batch.values for batch in draw_round(NetworkInput("first"), feed, 0, CPU)]
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]
    first = cut_patches(NetworkInput("first"), feed, RandomSource(training_data.FIRST_TRAINING_SEED)).values
    from_first = [sum(any(torch.equal(p, q) for q in first[:, :-1].half().float()) for p in batch) for batch in batches]
    assert sum(from_first) == 8
    assert any(0 < n < 4 for n in from_first)


@pytest.mark.usefixtures("small")
def test_a_set_of_heads_lasts_for_its_turns_and_each_turn_has_other_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, stock, drawn = Sampling(patch=24, batch=2, volumes=2, patches=6, turns=3), PatchCache(), []
    monkeypatch.setattr(training_data, "Dice", lambda seed, device: drawn.append(seed) or RandomSource(seed, device))
    rounds = [list(draw_round(NetworkInput("first"), feed, n, CPU, stock=stock)) for n in range(4)]
    assert [len(batches) for batches in rounds] == [2, 2, 2, 2]
    first = training_data.FIRST_TRAINING_SEED
    assert drawn == [first, first + 1, first + 2, first + 3]  # two heads for three rounds, then two others
    patches = [p.sum().item() for batches in rounds[:3] for batch in batches for p in batch.values]
    assert len(set(patches)) == 12


@pytest.mark.usefixtures("small")
def test_heads_in_stock_are_the_very_ones_and_are_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patches(feed: Sampling, alone: bool) -> list[tuple[Tensor, Grid]]:
        rounds = draw_round(NetworkInput("both"), feed, 0, CPU, alone=alone, stock=PatchCache(tmp_path / "stock"))
        return [(p, grid) for batch in rounds for p, grid in zip(*batch, strict=True)]

    fresh = [*draw_round(NetworkInput("both"), SMALL, 0, CPU)]
    kept = patches(SMALL, False)
    assert torch.equal(torch.cat([b.values for b in fresh]), torch.stack([p for p, _ in kept]))
    assert [g for b in fresh for g in b.grids] == [g for _, g in kept]
    assert len(list((tmp_path / "stock").iterdir())) == SMALL.volumes
    drawn: list[int] = []
    monkeypatch.setattr(training_data, "Dice", lambda seed, device: drawn.append(seed) or RandomSource(seed, device))
    again = patches(SMALL, True)
    assert not drawn and len(again) == len(kept)  # whoever takes patches as heads of their own
    for other in (Sampling(24, 2, 2, 5, seed=0), replace(SMALL, voxel=1.2), replace(SMALL, whole_brain=1e-9)):
        drawn.clear()
        patches(other, False)
        assert len(drawn) == 2  # whoever cuts otherwise does not find them
