"""Total variation between known edges leads an estimate on: to its minimum in the end, nearer to the truth at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion import tv
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.tv import SPARED, between_edges
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.volumes import LocalField

GRIDS = {
    "axial": Grid((32, 28, 36)),
    "oblique": Grid((32, 28, 36), b0_given=(0.3, 0.4, 0.87)),
    "thick slices": Grid((32, 28, 18), (1.0, 1.0, 2.0)),
}


def boxes(grid: Grid) -> Tensor:
    """Two boxes [ppm]."""
    chi, (nx, ny, nz) = torch.zeros(grid.shape), grid.shape
    chi[nx // 4 : nx // 2, ny // 4 : ny // 2, nz // 4 : nz // 2] = 0.1
    chi[nx // 2 : -8, ny // 2 : -8, nz // 2 : -4] = -0.05
    return chi


def seen(grid: Grid) -> LocalField:
    """Their noisy field in a mask that leaves out a rim."""
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[3:-3, 3:-3, 3:-3] = True
    noise = 8e-3 * torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(torch.where(mask, DipoleOp(grid)(boxes(grid)) + noise, 0.0), mask, grid)


def edges_of(chi: Tensor) -> list[Tensor]:
    return [(chi.roll(-1, axis) - chi).abs().lt(0.01).float() for axis in range(3)]


def nowhere(grid: Grid) -> list[Tensor]:
    return [torch.ones(grid.shape)] * 3


@pytest.mark.parametrize("name", GRIDS)
def test_an_estimate_comes_nearer_to_the_truth_the_more_with_its_edges(name: str) -> None:
    grid = GRIDS[name]
    field, truth = seen(grid), boxes(grid)
    start = TruncatedDivision()(field).values

    def error(chi: Tensor) -> float:
        return float((chi - truth)[field.mask].sub((chi - truth)[field.mask].mean()).norm())

    known, unknown = (error(between_edges(field, start, e)) for e in (edges_of(truth), nowhere(grid)))
    assert known < 0.75 * error(start) and known < 0.9 * unknown


@pytest.mark.parametrize("name", GRIDS)
def test_in_the_end_it_reaches_the_minimum_whatever_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective is written down anew; in no direction does it fall."""
    grid = GRIDS[name]
    field, edges, dipole = seen(grid), edges_of(boxes(grid)), DipoleOp(grid)
    strength = SPARED * tv.tv_strength(field, free=True)

    def objective(chi: Tensor) -> float:
        variation = sum(
            ((chi.roll(-1, axis) - chi) * edges[axis]).abs().sum() / grid.voxel_size[axis] for axis in range(3)
        )
        return float(0.5 * (dipole(chi) - field.values)[field.mask].square().sum() + strength * variation)

    start = TruncatedDivision()(field).values
    # The map is cut to the mask only at the end: the minimum is over all of the grid.
    steps = tv.alternations(
        tv._InMask(field, tv.COUPLING * strength, start), tv.Gradient(grid, "periodic"), 1.0 / tv.COUPLING, edges
    )
    found = [next(steps) for _ in range(3000)][-1]
    monkeypatch.setattr(tv, "N_SPARED", 3000)
    again = between_edges(field, torch.zeros(grid.shape), edges)
    assert (again - torch.where(field.mask, found, 0.0)).norm() < 0.05 * again.norm()
    best = objective(found)
    assert best < objective(start)
    for seed in range(4):
        direction = torch.randn(grid.shape, generator=torch.Generator().manual_seed(10 + seed))
        for step in (3e-3, -3e-3):
            assert objective(found + step * (direction - direction.mean())) > best


def test_after_its_few_steps_the_start_still_tells() -> None:
    grid = GRIDS["axial"]
    field, edges = seen(grid), edges_of(boxes(grid))
    a, b = (between_edges(field, x, edges) for x in (boxes(grid), torch.zeros(grid.shape)))
    from_truth, from_nothing = ((x - boxes(grid))[field.mask].norm() for x in (a, b))
    assert from_truth < 0.9 * from_nothing
    assert not bool(a[~field.mask].any())
