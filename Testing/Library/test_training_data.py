"""What a run is fed: patches that are parts of a simulated head, the same for the same round and rank."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from IR2QSMLib import training_data
from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion.reading import Reading
from IR2QSMLib.simulation.dice import Dice
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training_data import (
    Feed,
    Stock,
    cut_patches,
    draw_head,
    draw_round,
    draw_training_grid,
)

CPU = torch.device("cpu")
SMALL = Feed(patch=24, batch=2, volumes=2, patches=4)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small heads, of random shapes alone."""
    monkeypatch.setattr(training_data, "SHAPES", ((32, 32, 32),))
    monkeypatch.setattr(training_data, "draw_brain", draw_shapes)


def a_round(reading: Reading, feed: Feed, number: int = 0, rank: int = 0, n_ranks: int = 1) -> Tensor:
    return torch.cat([batch.values for batch in draw_round(reading, feed, number, CPU, rank, n_ranks)])


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
        Feed(**values)


def test_training_grids_cover_voxel_sizes_slices_and_tilts() -> None:
    grids = [draw_training_grid(Dice(seed)) for seed in range(400)]
    sizes = torch.tensor([grid.voxel_size for grid in grids])
    tilts = torch.tensor([math.degrees(math.acos(min(1.0, grid.b0_direction[2]))) for grid in grids])
    assert float(sizes.min()) >= 0.6 and float(sizes.max()) <= 3.0
    thick = sizes > 1.05 * sizes.amin(1, keepdim=True)
    assert int(thick.sum(1).max()) == 1                                 # at most one long axis, and any of the three
    assert thick.float().mean(0).tolist() == pytest.approx([0.1, 0.1, 0.2], abs=0.06)
    assert 35.0 < float(tilts.max()) <= 40.0 and float((tilts == 0.0).float().mean()) == pytest.approx(0.4, abs=0.1)
    assert {grid.shape for grid in grids} == set(training_data.SHAPES)
    around = torch.tensor([grid.b0_direction[:2] for grid in grids]).sign()
    assert len({tuple(row) for row in around.tolist() if 0.0 not in row}) == 4      # tilted to every side


def test_a_third_of_the_heads_at_least_are_random_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    full = draw_shapes(Dice(2), draw_training_grid(Dice(0)).cropped((0, 0, 0), (16, 16, 16)))
    for name in ("draw_brain", "draw_shapes"):
        monkeypatch.setattr(training_data, name, lambda dice, grid, name=name: drawn.append(name) or full)
    for seed in range(300):
        draw_head(Dice(seed), full.grid)
    assert 0.30 < drawn.count("draw_shapes") / len(drawn) < 0.45


def test_a_head_that_is_hardly_on_the_grid_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = draw_training_grid(Dice(0)).cropped((0, 0, 0), (16, 16, 16))
    full = draw_shapes(Dice(2), grid)
    empty = draw_shapes(Dice(2), grid)
    empty.mask.zero_()
    answers = [empty, empty, full]
    for name in ("draw_brain", "draw_shapes"):
        monkeypatch.setattr(training_data, name, lambda dice, grid: answers.pop(0))
    assert draw_head(Dice(0), grid) is full
    assert not answers


@pytest.mark.parametrize(("reads", "n_channels"), [("field", 1), ("tikhonov", 1), ("both", 2)])
@pytest.mark.usefixtures("small")
def test_patches_hold_input_truth_and_mask(reads: str, n_channels: int) -> None:
    patches = cut_patches(Reading(reads), SMALL, Dice(5)).values
    assert patches.shape == (4, n_channels + 3, 24, 24, 24)
    image, truth, mask, left = patches.split([n_channels, 1, 1, 1], dim=1)
    assert mask.unique().tolist() in ([0.0, 1.0], [1.0])
    outside = mask == 0
    assert not any(bool(x[outside].any()) for x in (truth, left, image[:, :1]))
    assert float(mask.flatten(1).mean(1).min()) > 0.0               # each is cut around a voxel of the mask
    assert bool(torch.isfinite(patches).all())
    if reads != "field":                                          # a first inversion resembles what it inverts
        pair = torch.stack([image[:, -1:][mask > 0], truth[mask > 0]])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.3


@pytest.mark.usefixtures("small")
def test_a_patch_larger_than_the_head_has_air_around_it() -> None:
    patches = cut_patches(Reading("tikhonov"), Feed(patch=96, batch=1, volumes=1, patches=1), Dice(5)).values
    assert patches.shape == (1, 4, 96, 96, 96)
    small = cut_patches(Reading("tikhonov"), Feed(patch=24, batch=1, volumes=1, patches=1), Dice(5)).values
    assert float(patches[:, 1].abs().max()) >= float(small[:, 1].abs().max())


@pytest.mark.usefixtures("small")
def test_the_strength_of_the_first_inversion_is_obeyed() -> None:
    weak, strong = (
        cut_patches(Reading("tikhonov", strength, n_steps=1), SMALL, Dice(5)).values for strength in (0.03, 0.3)
    )
    assert torch.equal(weak[:, 1:], strong[:, 1:])
    assert float(strong[:, 0].abs().mean()) < 0.8 * float(weak[:, 0].abs().mean())


@pytest.mark.usefixtures("small")
def test_the_same_round_of_the_same_rank_is_the_same_data() -> None:
    reading = Reading("both")
    first = a_round(reading, SMALL)
    assert first.shape[0] == SMALL.volumes * SMALL.patches
    assert torch.equal(first, a_round(reading, SMALL))
    for other in (
        a_round(reading, SMALL, number=1),
        a_round(reading, SMALL, rank=1, n_ranks=2),
        a_round(reading, Feed(24, 2, 2, 4, seed=1)),
    ):
        assert not torch.equal(first, other)


@pytest.mark.usefixtures("small")
def test_a_round_is_shuffled_into_batches_of_several_heads() -> None:
    feed = Feed(patch=24, batch=4, volumes=2, patches=8)
    batches = [batch.values for batch in draw_round(Reading("tikhonov"), feed, 0, CPU)]
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]
    first = cut_patches(Reading("tikhonov"), feed, Dice(training_data.FIRST_TRAINING_SEED)).values
    from_first = [sum(any(torch.equal(p, q) for q in first[:, :-1].half().float()) for p in batch) for batch in batches]
    assert sum(from_first) == 8
    assert any(0 < n < 4 for n in from_first)


@pytest.mark.usefixtures("small")
def test_a_set_of_heads_lasts_for_its_turns_and_each_turn_has_other_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, stock, drawn = Feed(patch=24, batch=2, volumes=2, patches=6, turns=3), Stock(), []
    monkeypatch.setattr(training_data, "Dice", lambda seed, device: drawn.append(seed) or Dice(seed, device))
    rounds = [list(draw_round(Reading("tikhonov"), feed, n, CPU, stock=stock)) for n in range(4)]
    assert [len(batches) for batches in rounds] == [2, 2, 2, 2]
    first = training_data.FIRST_TRAINING_SEED
    assert drawn == [first, first + 1, first + 2, first + 3]            # two heads for three rounds, then two others
    patches = [p.sum().item() for batches in rounds[:3] for batch in batches for p in batch.values]
    assert len(set(patches)) == 12


@pytest.mark.usefixtures("small")
def test_heads_in_stock_are_the_very_ones_and_are_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patches(feed: Feed, alone: bool) -> list[tuple[Tensor, Grid]]:
        rounds = draw_round(Reading("both"), feed, 0, CPU, alone=alone, stock=Stock(tmp_path / "stock"))
        return [(p, grid) for batch in rounds for p, grid in zip(*batch, strict=True)]

    fresh = [*draw_round(Reading("both"), SMALL, 0, CPU)]
    kept = patches(SMALL, False)
    assert torch.equal(torch.cat([b.values for b in fresh]), torch.stack([p for p, _ in kept]))
    assert [g for b in fresh for g in b.grids] == [g for _, g in kept]
    assert len(list((tmp_path / "stock").iterdir())) == SMALL.volumes
    drawn: list[int] = []
    monkeypatch.setattr(training_data, "Dice", lambda seed, device: drawn.append(seed) or Dice(seed, device))
    again = patches(SMALL, True)
    assert not drawn and len(again) == len(kept)                        # whoever takes patches as heads of their own
    patches(Feed(24, 2, 2, 5, seed=0), False)
    assert len(drawn) == 2                                              # whoever cuts otherwise does not find them
