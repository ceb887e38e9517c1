"""Radii of V-SHARP follow heads that are smaller than human ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.pipeline.preprocess import BACKGROUNDS


@pytest.mark.parametrize("voxel", [0.1, 0.15, 0.4])
def test_a_small_animal_loses_little_of_its_mask(voxel: float, ball: Callable[..., Tensor]) -> None:
    grid = Grid((40, 40, 40), (voxel, voxel, voxel))
    mask = ball(grid, 18.0 * voxel)
    local = BACKGROUNDS["v-sharp"](TotalField(mask * 0.1, mask, grid), lambda fraction, stage: None)
    assert int(local.mask.sum()) > 0.7 * int(mask.sum())


@pytest.mark.parametrize("shape", [(70, 90, 60), (70, 90, 8)])
def test_human_heads_and_slabs_of_them_keep_the_radii(shape: tuple[int, int, int]) -> None:
    sharp = VSharp()
    assert sharp.scaled_to(torch.ones(shape, dtype=torch.bool), Grid(shape)) is sharp


def test_an_empty_mask_has_no_scale() -> None:
    sharp = VSharp()
    assert sharp.scaled_to(torch.zeros(8, 8, 8, dtype=torch.bool), Grid((8, 8, 8))) is sharp
