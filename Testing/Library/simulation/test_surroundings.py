"""The background field of a head in air."""

from __future__ import annotations

import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.head import positions, sample_trilinear
from IR2QSMLib.simulation.held_out import draw_mni_positions
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.surroundings import affine_positions, background_field, shimmed, voxel_indices
from IR2QSMLib.simulation.template import padded_template


def test_the_background_is_harmonic_in_the_brain_and_shimmed() -> None:
    grid = Grid((96, 116, 96), (1.5, 1.5, 1.5))
    mni = draw_mni_positions(RandomSource(7), grid, positions(grid, torch.device("cpu")))
    maps, origin = padded_template()
    depth = sample_trilinear(maps[3:], mni + origin.view(3, 1, 1, 1))[0]
    field = background_field(mni, depth, grid)
    brain = depth > 0.0
    assert abs(float(field[brain].mean())) < 0.02 and 0.05 < float(field[brain].std()) < 1.0
    laplacian = -6.0 * field
    curvature = torch.zeros_like(field)
    for axis in range(3):
        both = field.roll(1, axis) + field.roll(-1, axis)
        laplacian = laplacian + both
        curvature = curvature + (both - 2.0 * field).abs()
    for low, high in ((1.0, 3.0), (3.0, 8.0), (8.0, 99.0)):  # skull and air do not reach into the brain
        shell = (depth > low) & (depth < high)
        # Where the template is cut off below, the surface is not where its depth is zero.
        most = laplacian[shell].abs().sort().values[int(0.85 * int(shell.sum()))]
        assert float(most) < 0.1 * float(curvature[shell].mean())


def test_an_affine_map_is_continued_exactly() -> None:
    matrix, shift = torch.tensor([[1.1, 0.2, 0.0], [-0.1, 0.9, 0.3], [0.0, 0.1, 1.2]]), torch.tensor([3.0, -7.0, 2.0])
    index = voxel_indices((20, 18, 16), (4, 4, 4))
    mni = torch.einsum("ij,jxyz->ixyz", matrix, index) + shift.view(3, 1, 1, 1)
    known = mni[:, 4:14, 4:14, 4:12]
    assert torch.allclose(affine_positions(known, index), mni, atol=1e-4)


def test_shimming_removes_its_terms_and_nothing_else() -> None:
    grid = Grid((20, 20, 20))
    p = positions(grid, torch.device("cpu"))
    terms = torch.stack([torch.ones(grid.shape), *p])
    mask = p.square().sum(0) < 64.0
    wave = torch.cos(p[0]) * torch.cos(p[1])
    rest = shimmed(wave + 0.3 - 0.02 * p[2], terms, mask)
    assert torch.allclose(rest, shimmed(wave, terms, mask), atol=1e-5)
    assert float((rest - wave)[mask].abs().max()) < 0.1
