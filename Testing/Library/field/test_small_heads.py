"""Radii of V-SHARP follow voxels and head, from a mouse to an adult, and the mask keeps most of its voxels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import radii_on
from IR2QSMLib.field.harmonic import HarmonicCompletion
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.pipeline.preprocess import BACKGROUNDS

SHARP = BACKGROUNDS["v-sharp"]
MOUSE, RAT, INFANT, ADULT = (0.2, 9.0), (0.4, 18.0), (2.0, 90.0), (3.0, 140.0)
"""Side of a voxel and width of the brain [mm]."""


def brain_of(size: tuple[float, float], ball: Callable[..., Tensor]) -> tuple[Tensor, Grid]:
    """A round brain in the middle of its grid."""
    voxel, width = size
    n = 2 * int(0.6 * width / voxel)
    grid = Grid((n, n, n), (voxel, voxel, voxel))
    return ball(grid, 0.5 * width), grid


def local_field_of(
    size: tuple[float, float], ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor]
) -> tuple[LocalField, Tensor, Tensor]:
    """What V-SHARP leaves of a source inside and one outside, the mask, and the field of the outer source."""
    mask, grid = brain_of(size, ball)
    width = size[1]
    inner = dipole_field(grid, (0.011 * width, 0.012 * width, 0.013 * width), 1e-5 * width**3).clamp(-1.0, 1.0)
    outer = dipole_field(grid, (0.1 * width, 0.65 * width, 0.0), 1e-2 * width**3)
    total = torch.where(mask, inner + outer, 0.0)
    return SHARP(TotalField(total, mask, grid), lambda fraction, stage: None), mask, outer


@pytest.mark.parametrize("size", [MOUSE, RAT, INFANT, ADULT], ids=["mouse", "rat", "infant", "adult"])
def test_a_brain_of_any_size_keeps_most_of_its_mask_and_loses_its_background(
    size: tuple[float, float], ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor]
) -> None:
    local, mask, outer = local_field_of(size, ball, dipole_field)
    assert int(local.mask.sum()) > 0.8 * int(mask.sum())
    far_from_source = local.mask & ~ball(local.grid, 0.25 * size[1])
    assert float(local.values[far_from_source].std()) < 0.1 * float(outer[far_from_source].std())


def test_a_rats_brain_is_treated_as_a_mouses_of_twice_the_size(
    ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor]
) -> None:
    mouse, rat = (local_field_of(size, ball, dipole_field)[0] for size in (MOUSE, RAT))
    assert torch.equal(mouse.mask, rat.mask)
    torch.testing.assert_close(mouse.values, rat.values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(70, 90, 60), (70, 90, 8)])
def test_human_heads_and_slabs_of_them_have_the_radii_of_the_method(shape: tuple[int, int, int]) -> None:
    mask, grid = torch.ones(shape, dtype=torch.bool), Grid(shape)
    assert radii_on(SHARP, mask, grid) == VSharp().radii(grid)


def test_radii_are_never_smaller_than_a_voxel_and_fall(ball: Callable[..., Tensor]) -> None:
    for size in (MOUSE, RAT, INFANT, ADULT):
        mask, grid = brain_of(size, ball)
        radii = radii_on(HarmonicCompletion(SHARP), mask, grid)
        assert radii == radii_on(SHARP, mask, grid)
        assert all(larger > smaller for larger, smaller in pairwise(radii)) and radii[-1] >= 0.999 * grid.voxel_size[0]
        assert radii[0] < 0.25 * size[1]


@pytest.mark.parametrize("name", ["pdf", "lbv"])
def test_removals_without_spheres_have_no_radii(name: str, ball: Callable[..., Tensor]) -> None:
    assert radii_on(BACKGROUNDS[name], *brain_of(RAT, ball)) == []


def test_an_empty_mask_has_no_scale() -> None:
    sharp = VSharp(follow_head=True)
    assert sharp.scaled_to(torch.zeros(8, 8, 8, dtype=torch.bool), Grid((8, 8, 8))) is sharp
