"""Folded brains: each different, with a cortex, two halves and a mask of a brain's size."""

from __future__ import annotations

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.folded_brain import draw_folded_brain
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((64, 76, 64), (2.5, 2.5, 2.5))


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return [draw_folded_brain(RandomSource(seed), GRID) for seed in range(4)]


def test_the_same_seed_gives_the_same_head_bit_for_bit(heads: list[Head]) -> None:
    repeated = draw_folded_brain(RandomSource(2), GRID)
    for name in ("chi", "mask", "white"):
        assert torch.equal(getattr(repeated, name), getattr(heads[2], name)), name


def test_chi_is_finite_without_a_mean_and_zero_outside_the_mask(heads: list[Head]) -> None:
    for head in heads:
        assert bool(head.chi.isfinite().all()) and not bool(head.chi[~head.mask].any())
        assert abs(float(head.chi[head.mask].double().mean())) < 1e-6
        assert 0.01 < float(head.chi[head.mask].std()) < 0.2


def test_the_mask_has_the_volume_of_a_brain(heads: list[Head]) -> None:
    litres = [float(head.mask.sum()) * 2.5**3 / 1e6 for head in heads]
    assert 0.4 < min(litres) < max(litres) < 3.0


def test_white_matter_lies_deeper_than_what_surrounds_it(heads: list[Head]) -> None:
    for head in heads:
        centre = head.mask.nonzero().float().mean(0)
        radius = (head.mask.nonzero() - centre).norm(dim=1)
        white = head.white[head.mask]
        assert 0.1 < float(white.mean()) < 0.9
        assert float((radius * white).sum() / white.sum()) < float(radius.mean())


def test_two_brains_have_other_folds(heads: list[Head]) -> None:
    first, other = heads[:2]
    both = first.mask & other.mask
    assert float(torch.corrcoef(torch.stack([first.white[both], other.white[both]]))[0, 1]) < 0.6
