"""The held-out head: literature values, sharp boundaries and lesions of the right size."""

from __future__ import annotations

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.anatomy import NUCLEI
from IR2QSMLib.simulation.held_out import FineHead, draw_held_out, isotropic_grid
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((48, 60, 48), (3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def head() -> FineHead:
    return draw_held_out(RandomSource(7), GRID)


def test_a_head_has_twice_the_resolution_and_depends_on_the_seed_alone(head: FineHead) -> None:
    assert head.grid.shape == (96, 120, 96) and head.grid.voxel_size == (1.5, 1.5, 1.5)
    assert torch.equal(draw_held_out(RandomSource(7), GRID).chi, head.chi)
    assert not torch.equal(draw_held_out(RandomSource(8), GRID).chi, head.chi)


def test_slices_thick_along_one_axis_are_drawn_isotropically() -> None:
    grid = Grid((48, 60, 24), (3.0, 3.0, 6.0), origin=(1.0, 2.0, 3.0))
    base = isotropic_grid(grid)
    assert base.shape == (48, 60, 48) and base.voxel_size == (3.0, 3.0, 3.0)
    assert base.point((0, 0, 0.5)) == pytest.approx(grid.point((0, 0, 0)))


@pytest.mark.parametrize("name", ["putamen", "caudate", "pallidum", "thalamus"])
def test_a_nucleus_has_the_literatures_susceptibility(name: str, head: FineHead) -> None:
    (number, nucleus) = next((i, n) for i, n in enumerate(NUCLEI, start=1) if n.name == name)
    inside = head.labels == number
    assert int(inside.sum()) > 100
    assert float(head.chi[inside].mean()) == pytest.approx(nucleus.chi[0], abs=3.0 * nucleus.chi[1] + 0.02)


def test_veins_fill_about_a_percent_of_the_brain_and_are_paramagnetic(head: FineHead) -> None:
    inside = torch.nn.functional.interpolate(head.depth[None, None], scale_factor=2)[0, 0] > 2.0
    assert 0.002 < float(head.veins[inside].mean()) < 0.03
    assert float(head.chi[inside & (head.veins > 0.8)].median()) > 0.2 > float(head.chi[inside].mean())


@pytest.mark.parametrize("volume", [2.0, 6.0])
def test_a_haemorrhage_has_its_volume_and_lies_on_one_side(volume: float) -> None:
    bleeding = draw_held_out(RandomSource(7), GRID, haemorrhage=volume)
    inside = bleeding.lesions == 1
    assert float(inside.sum()) * 1.5**3 / 1000.0 == pytest.approx(volume, rel=0.1)
    assert float(bleeding.chi[inside].quantile(0.8)) == pytest.approx(0.6, abs=0.02)
    assert float(inside.nonzero()[:, 0].max()) < 48  # the patient's left


def test_bleeds_add_microbleeds_and_a_calcification(head: FineHead) -> None:
    bleeding = draw_held_out(RandomSource(7), GRID, bleeds=True)
    assert not bool(head.lesions.any())
    assert float(bleeding.chi[bleeding.lesions == 1].mean()) < -0.3  # the calcified nodule
    assert float(bleeding.chi[bleeding.lesions > 1].mean()) > 0.2
    assert len(bleeding.lesions.unique()) >= 5
