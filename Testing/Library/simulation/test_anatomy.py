"""The held-out anatomy: size, place and shape of nuclei, fibres and veins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.anatomy import NUCLEI, fibre_directions, nucleus_levels, pallidum_lamina
from IR2QSMLib.simulation.head import positions, sample_trilinear
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.template import padded_template
from IR2QSMLib.simulation.vessels import venous_tree

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def space() -> tuple[Tensor, Tensor]:
    """MNI positions of a 1 mm box around the deep nuclei, and the template's maps there."""
    box = Grid((84, 110, 72))
    mni = positions(box, CPU) + torch.tensor([0.0, -24.0, -10.0]).view(3, 1, 1, 1)
    maps, origin = padded_template()
    return mni, sample_trilinear(maps, mni + origin.view(3, 1, 1, 1))


@pytest.fixture(scope="module")
def levels(space: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    mni, maps = space
    return nucleus_levels(mni, maps[0], maps[1])


def test_every_nucleus_has_a_level_and_a_literature_value(levels: dict[str, Tensor]) -> None:
    assert list(levels) == [n.name for n in NUCLEI]
    assert max(NUCLEI, key=lambda n: n.chi[0]).name == "pallidum"  # the richest in iron
    assert all(-0.02 <= n.chi[0] <= 0.2 and 0.0 < n.chi[1] < 0.05 for n in NUCLEI)


# Both sides together, in the template's size; FreeSurfer's and Keuken 2014's normal ranges, widened by a half.
VOLUMES = {
    "thalamus": (9, 24),
    "caudate": (5, 14),
    "putamen": (6, 18),
    "pallidum": (1.8, 6),
    "red nucleus": (0.25, 1.0),
    "substantia nigra": (0.4, 2.2),
    "subthalamic nucleus": (0.1, 0.6),
    "dentate nucleus": (0.6, 3.0),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_nucleus_has_a_normal_volume_on_both_sides(name: str, levels: dict[str, Tensor]) -> None:
    inside = levels[name] > 0
    low, high = VOLUMES[name]
    assert low <= float(inside.sum()) / 1000.0 <= high
    half = inside.shape[0] // 2
    assert float(inside[:half].sum()) == pytest.approx(float(inside[half:].sum()), rel=0.05)


def test_the_pallidum_lies_between_thalamus_and_putamen(
    levels: dict[str, Tensor], space: tuple[Tensor, Tensor]
) -> None:
    x = space[0][0].abs()
    depth = {name: float(x[levels[name] > 0].mean()) for name in ("thalamus", "pallidum", "putamen")}
    assert depth["thalamus"] < depth["pallidum"] < depth["putamen"]
    assert not bool(((levels["pallidum"] > 0) & (levels["putamen"] > 0)).any())


def test_the_dentate_is_a_sheet_and_the_tail_a_tube(levels: dict[str, Tensor], space: tuple[Tensor, Tensor]) -> None:
    assert float(levels["dentate nucleus"].max()) < 1.6 and float(levels["putamen"].max()) > 2.5  # depth [mm]
    tail = space[0][:, (levels["caudate tail"] > 0)]
    assert float(tail[1].max() - tail[1].min()) > 30.0 and float(tail[2].max() - tail[2].min()) > 25.0


def test_the_nuclei_are_where_the_template_is_grey(levels: dict[str, Tensor], space: tuple[Tensor, Tensor]) -> None:
    grey = space[1][0]
    for name in ("caudate", "putamen"):
        assert float(grey[levels[name] > 0].mean()) > 0.6 > float(grey.mean())


def test_the_lamina_divides_the_pallidum(levels: dict[str, Tensor], space: tuple[Tensor, Tensor]) -> None:
    inside = pallidum_lamina(space[0])[levels["pallidum"] > 0]
    assert 0.02 < float((inside > 0.5).float().mean()) < 0.4


def test_fibres_cross_in_the_callosum_and_climb_in_the_capsule(space: tuple[Tensor, Tensor]) -> None:
    mni, maps = space
    direction = fibre_directions(mni, maps[3])
    assert torch.allclose(direction.norm(dim=0), torch.ones(mni.shape[1:]), atol=1e-4)

    def at(*where: float) -> list[float]:
        nearest = (mni - torch.tensor(where).view(3, 1, 1, 1)).square().sum(0).argmin()
        return [abs(float(c)) for c in direction.flatten(1)[:, nearest]]

    assert max(at(0.0, -10.0, 20.0)) == at(0.0, -10.0, 20.0)[0]
    assert max(at(20.0, -10.0, 5.0)) == at(20.0, -10.0, 5.0)[2]


def test_deep_veins_keep_to_the_midline_and_thin_ones_to_white_matter(space: tuple[Tensor, Tensor]) -> None:
    mni, maps = space
    grey, white, _, depth = maps
    csf = (1.0 - grey - white).clamp(0.0, 1.0)
    points = venous_tree(RandomSource(4), mni, depth, white, csf)
    assert torch.equal(points, venous_tree(RandomSource(4), mni, depth, white, csf))
    shape = torch.tensor(mni.shape[1:])
    near = points[:, :3].round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=shape - 1)
    position = mni[:, near[:, 0], near[:, 1], near[:, 2]]
    assert 0.1 < float(points[:, 3].min()) < float(points[:, 3].max()) < 4.5
    deep = (points[:, 3] > 1.4) & (depth[near[:, 0], near[:, 1], near[:, 2]] > 25.0)
    assert int(deep.sum()) > 20 and float(position[0, deep].abs().max()) < 9.0
    medullary = points[:, 3] < 0.24
    assert float(white[near[medullary, 0], near[medullary, 1], near[medullary, 2]].mean()) > 0.6
