"""Random brains: each different, with tissues, nuclei and a mask of a brain's size."""

from __future__ import annotations

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.brain import NUCLEI, draw_brain
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((64, 76, 64), (2.5, 2.5, 2.5))
NAMES = [nucleus.name for nucleus in NUCLEI]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return [draw_brain(RandomSource(seed), GRID, lesions=False) for seed in range(6)]


def mean_in(head: Head, name: str) -> float:
    return float(head.chi[head.labels == NAMES.index(name) + 1].mean())


def test_the_same_seed_gives_the_same_head_bit_for_bit(heads: list[Head]) -> None:
    repeated = draw_brain(RandomSource(3), GRID, lesions=False)
    for name in ("chi", "mask", "white", "labels"):
        assert torch.equal(getattr(repeated, name), getattr(heads[3], name)), name


def test_two_brains_differ_in_shape_and_in_susceptibility(heads: list[Head]) -> None:
    first, other = heads[:2]
    both = first.mask & other.mask
    assert float((first.mask ^ other.mask).float().sum() / both.sum()) > 0.02
    pair = torch.stack([first.chi[both], other.chi[both]])
    assert float(torch.corrcoef(pair)[0, 1]) < 0.8
    assert not torch.equal(first.labels, other.labels)


def test_chi_has_no_mean_inside_the_mask_and_is_zero_outside(heads: list[Head]) -> None:
    for head in heads:
        assert abs(float(head.chi[head.mask].double().mean())) < 1e-6
        assert not bool(head.chi[~head.mask].any())
        assert not bool(head.white[~head.mask].any()) and not bool(head.labels[~head.mask].any())
        assert 0.01 < float(head.chi[head.mask].std()) < 0.2


def test_the_mask_has_the_volume_of_a_brain(heads: list[Head]) -> None:
    litres = [float(head.mask.sum()) * 2.5**3 / 1e6 for head in heads]
    assert 0.6 < min(litres) < max(litres) < 3.0


def test_every_nucleus_lies_on_both_sides(heads: list[Head]) -> None:
    for head in heads:
        assert set(head.labels.unique().tolist()) >= set(range(len(NUCLEI) + 1)) - {NAMES.index("dentate nucleus") + 1}
        where = (head.labels == NAMES.index("putamen") + 1).nonzero()[:, 0].float()
        middle = float(where.mean())
        assert float((where - middle).abs().min()) > 3.0 and 0.3 < float((where > middle).float().mean()) < 0.7


def test_iron_rich_nuclei_exceed_white_matter(heads: list[Head]) -> None:
    iron_rich = ("pallidum", "substantia nigra", "red nucleus")
    for head in heads:
        white = float(head.chi[(head.white > 0.9) & (head.labels == 0)].mean())
        assert all(mean_in(head, name) > white + 0.03 for name in iron_rich)
        assert mean_in(head, "pallidum") > mean_in(head, "thalamus")
    means = {name: sum(mean_in(head, name) for head in heads) / len(heads) for name in NAMES}
    assert means["thalamus"] < means["caudate"] < means["pallidum"]


def test_white_matter_is_more_diamagnetic_than_grey(heads: list[Head]) -> None:
    for head in heads:
        tissue = head.mask & (head.labels == 0)
        white, rest = head.chi[tissue & (head.white > 0.8)].mean(), head.chi[tissue & (head.white < 0.2)].mean()
        assert float(white) < float(rest)


def test_lesions_are_optional() -> None:
    changed = 0
    for seed in range(4):
        plain, with_lesions = (draw_brain(RandomSource(seed), GRID, lesions=lesions) for lesions in (False, True))
        assert torch.equal(plain.mask, with_lesions.mask)
        changed += not torch.equal(plain.chi, with_lesions.chi)
    assert changed > 0


def test_the_volume_does_not_depend_on_the_grid() -> None:
    for grid in (Grid((40, 48, 40), (4.0, 4.0, 4.0)), Grid((80, 96, 40), (2.0, 2.0, 4.0))):
        head = draw_brain(RandomSource(0), grid, lesions=False)
        volume = float(head.mask.sum()) * grid.voxel_size[0] * grid.voxel_size[1] * grid.voxel_size[2] / 1e6
        assert 0.6 < volume < 3.0
