"""Heads that networks are trained on: their grids, what is drawn, and what becomes of their fields."""

from __future__ import annotations

import math

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import nrmse
from IR2QSMLib.physics.dipole import dipole_kernel, simulate_field
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.simulation.folded_brain import draw_folded_brain
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import heads
from IR2QSMLib.training.heads import cut_slab, draw_head, draw_training_grid, remove_background


def test_training_grids_cover_voxel_sizes_slices_and_tilts() -> None:
    grids = [draw_training_grid(RandomSource(seed)) for seed in range(400)]
    sizes = torch.tensor([grid.voxel_size for grid in grids])
    tilts = torch.tensor([math.degrees(math.acos(min(1.0, grid.b0_direction[2]))) for grid in grids])
    assert float(sizes.min()) >= 0.6 and float(sizes.max()) <= 3.0
    thick = sizes > 1.05 * sizes.amin(1, keepdim=True)
    assert int(thick.sum(1).max()) == 1  # at most one long axis, and any of the three
    assert thick.float().mean(0).tolist() == pytest.approx([0.1, 0.1, 0.2], abs=0.06)
    assert 35.0 < float(tilts.max()) <= 40.0 and float((tilts == 0.0).float().mean()) == pytest.approx(0.4, abs=0.1)
    assert {grid.shape for grid in grids} == set(heads.SHAPES)
    around = torch.tensor([grid.b0_direction[:2] for grid in grids]).sign()
    assert len({tuple(row) for row in around.tolist() if 0.0 not in row}) == 4  # tilted to every side


CONSTRUCTIONS = ("draw_brain", "draw_folded_brain", "draw_shapes")


def test_heads_are_of_every_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    full = draw_shapes(RandomSource(2), draw_training_grid(RandomSource(0)).cropped((0, 0, 0), (16, 16, 16)))
    for name in CONSTRUCTIONS:
        monkeypatch.setattr(heads, name, lambda rng, grid, name=name, **_: drawn.append(name) or full)
    for seed in range(300):
        draw_head(RandomSource(seed), full.grid)
    assert min(drawn.count(name) for name in CONSTRUCTIONS) > 0.1 * len(drawn)


def test_a_head_that_is_hardly_on_the_grid_is_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = draw_training_grid(RandomSource(0)).cropped((0, 0, 0), (16, 16, 16))
    full = draw_shapes(RandomSource(2), grid)
    empty = draw_shapes(RandomSource(2), grid)
    empty.mask.zero_()
    answers = [empty, empty, full]
    for name in CONSTRUCTIONS:
        monkeypatch.setattr(heads, name, lambda rng, grid, **_: answers.pop(0))
    assert draw_head(RandomSource(0), grid) is full
    assert not answers


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
        full_lengths = [24, 30, 18]
        (axis,) = (a for a in range(3) if lengths[a] != full_lengths[a])
        assert 0.35 * full_lengths[axis] - 1 <= lengths[axis] <= 0.9 * full_lengths[axis] or lengths[axis] == 8
        assert int(slab.mask.sum()) == lengths[0] * lengths[1] * lengths[2]
        axes.add(axis)
    assert axes == {0, 1, 2}


def test_background_removal_takes_a_harmonic_field_and_leaves_a_source() -> None:
    grid = Grid((48, 48, 48))
    x, y, z = torch.meshgrid(*[torch.arange(48.0) - 23.5] * 3, indexing="ij")
    mask = x**2 + y**2 + z**2 < 20**2
    harmonic = torch.where(mask, 0.001 * (x * y + z), 0.0)
    near = torch.exp(-(x**2 + y**2 + z**2) / 8.0) * mask
    for values, kept in ((harmonic, False), (near, True)):
        field, _ = remove_background(LocalField(values, mask, grid), values, RandomSource(0))
        assert 0 < int(field.mask.sum()) < int(mask.sum())
        ratio = float(field.values[field.mask].norm() / values[field.mask].norm())
        assert ratio > 0.7 if kept else ratio < 0.1


def with_b0_tilted(grid: Grid, number: int) -> Grid:
    """B0 along z, or 25° from it towards one of six sides."""
    tilt, side = math.radians(25.0 if number else 0.0), 2.0 * math.pi * number / 6
    return grid.with_b0((math.sin(tilt) * math.cos(side), math.sin(tilt) * math.sin(side), math.cos(tilt)))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_truth_after_background_removal_is_nearer_to_a_reference_of_seven_orientations(seed: int) -> None:
    """Its fields have been through the same removal; least squares over all of them makes the reference."""
    grid = Grid((48, 56, 48), (3.0, 3.0, 3.0))
    head = draw_folded_brain(RandomSource(seed), grid)
    numerator, denominator = torch.zeros(()), torch.full((), 0.02)
    for number in range(7):
        tilted = with_b0_tilted(grid, number)
        field = LocalField(torch.where(head.mask, simulate_field(head.chi, tilted), 0.0), head.mask, tilted)
        left, chi = remove_background(field, head.chi, RandomSource(seed))
        kernel = dipole_kernel(tilted)
        numerator, denominator = numerator + kernel * fft(left.values), denominator + kernel.square()
    reference = ifft(numerator / denominator, grid.shape)
    assert nrmse(chi, reference, left.mask) < 0.95 * nrmse(head.chi, reference, left.mask)
