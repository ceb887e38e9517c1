"""Heads that networks are trained on, and what background removal or a slab leaves of their fields."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import BackgroundRemoval
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.folded_brain import draw_folded_brain
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes

SHAPES = ((96, 96, 96), (96, 112, 96), (112, 128, 112), (144, 176, 144))
"""Sizes of training volumes [voxels]."""
MIN_MASK_SHARE = 0.02
"""Share of the volume that a mask covers at the least: less holds no brain to learn from."""


def draw_training_grid(rng: RandomSource) -> Grid:
    """Voxels of 0.6 to 1.6 mm, 0.4 of the time up to 3 mm long on one axis, and B0 up to 40° from z."""
    size = rng.choice((1.0, rng.uniform(0.6, 1.6)))
    voxel = [size] * 3
    if rng.chance(0.4):
        voxel[rng.choice((0, 1, 2, 2))] = min(size * rng.uniform(1.0, 3.0), 3.0)
    tilt, phi = math.radians(rng.uniform(0.0, 40.0) if rng.chance(0.6) else 0.0), rng.uniform(0.0, 2.0 * math.pi)
    b = (math.sin(tilt) * math.cos(phi), math.sin(tilt) * math.sin(phi), math.cos(tilt))
    return Grid(rng.choice(SHAPES), (voxel[0], voxel[1], voxel[2]), user_b0_direction=b)


def draw_head(rng: RandomSource, grid: Grid) -> Head:
    """A brain of the template or a folded one, or for a fifth of the draws random shapes."""
    while True:
        if rng.chance(0.2):
            head = draw_shapes(rng, grid)
        elif rng.chance(0.5):
            head = draw_folded_brain(rng, grid, tilt=3.0 if rng.chance(0.2) else 1.0)
        else:
            head = draw_brain(rng, grid, tilt=3.0 if rng.chance(0.2) else 1.0, sharp=rng.chance(0.8))
        if float(head.mask.float().mean()) > MIN_MASK_SHARE:
            return head


def remove_background(field: LocalField, chi: Tensor, rng: RandomSource) -> tuple[LocalField, Tensor]:
    """The field after V-SHARP or LBV, and the χ that is left to be found in it.

    Both take the local field's own harmonic part away with the background, at every orientation to B0, so that no map
    of such fields can hold the harmonic part of χ, a multi-orientation reference neither. It is taken out of the truth
    by the same removal: both are linear, and V-SHARP commutes with the dipole kernel inside the mask
    (docs/experiments/2026-12-01-labels.md).

    Parameters
    ----------
    field : LocalField
        A local field [ppm] without background.
    chi : Tensor
        Its χ [ppm]: (x, y, z).
    rng : RandomSource
        Draws the method and V-SHARP's largest radius, 6 to 16 mm.

    Returns
    -------
    LocalField
        In the mask that the method leaves; the field itself where that mask is too small.
    Tensor
        χ [ppm]: (x, y, z).
    """
    removal: BackgroundRemoval = VSharp(largest=rng.uniform(6.0, 16.0)) if rng.chance(0.6) else LaplacianBoundaryValue()
    removed = removal(TotalField(field.values, field.mask, field.grid), silent)
    if float(removed.mask.float().mean()) <= MIN_MASK_SHARE:
        return field, chi
    return removed, removal(TotalField(torch.where(field.mask, chi, 0.0), field.mask, field.grid), silent).values


def cut_slab(field: LocalField, rng: RandomSource) -> LocalField:
    """The part of a field between two planes, 35 to 90 % of its extent; the sources beyond them still act in it."""
    axis = rng.choice((0, 0, 1, 2, 2))
    others = tuple(a for a in range(3) if a != axis)
    planes = field.mask.any(dim=others[1]).any(dim=others[0]).nonzero().flatten()
    low, n = int(planes.min()), int(planes.max()) + 1 - int(planes.min())
    width = max(int(rng.uniform(0.35, 0.9) * n), 8)
    start = low + int(rng.uniform(0.0, 1.0) * max(n - width, 0))
    position = torch.arange(field.grid.shape[axis], device=field.mask.device)
    shape = [-1 if a == axis else 1 for a in range(3)]
    mask = field.mask & ((position >= start) & (position < start + width)).view(shape)
    return replace(field, mask=mask, values=torch.where(mask, field.values, 0.0))
