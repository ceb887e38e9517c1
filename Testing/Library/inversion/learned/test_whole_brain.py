"""The field on coarse voxels, and the map of a whole brain that a network makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned import whole_brain
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.whole_brain import coarse_field, whole_brain_map
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.settings import SETTINGS

MakeWeights = Callable[..., Path]
COSINE, SINE = math.cos(math.radians(25.0)), math.sin(math.radians(25.0))
TILTED = (1.0, 0.0, 0.0, 0.0, COSINE, -SINE, 0.0, SINE, COSINE)
UPRIGHT = Grid((48, 56, 48), (1.0, 1.0, 1.0), origin=(-23.5, -27.5, -23.5))


def tilted(voxel: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Grid:
    """A grid around the same centre whose slices are turned by 25° about x."""
    shape = tuple(round(64 / v) for v in voxel)
    grid = Grid(shape, voxel, TILTED)  # type: ignore[arg-type]
    return replace(grid, origin=tuple((-grid.corners().mean(0)).tolist()))


def positions(grid: Grid) -> Tensor:
    """Of every voxel [mm]: (3, x, y, z)."""
    index = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid.shape), indexing="ij")
    scaled = torch.stack(index) * torch.tensor(grid.voxel_size, dtype=torch.float64).view(3, 1, 1, 1)
    turned = torch.einsum("ij,jxyz->ixyz", torch.tensor(grid.matrix), scaled)
    return (turned + torch.tensor(grid.origin, dtype=torch.float64).view(3, 1, 1, 1)).float()


def inside(grid: Grid, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """An ellipsoid: (x, y, z)."""
    off = positions(grid) - torch.tensor(centre).view(3, 1, 1, 1)
    return (off / torch.tensor([19.0, 23.0, 17.0]).view(3, 1, 1, 1)).square().sum(0) < 1.0


def smooth(grid: Grid) -> Tensor:
    """A function of position whose waves are 30 mm long and longer."""
    x, y, z = positions(grid)
    return 0.03 * torch.sin(0.2 * x + 1.0) * torch.cos(0.15 * y) + 0.02 * torch.sin(0.2 * z)


def measured(grid: Grid) -> LocalField:
    """The field of two blobs and a smooth part, as they are on that grid."""
    x = positions(grid)
    near = [(x - torch.tensor(c).view(3, 1, 1, 1)).square().sum(0) for c in ((6.0, 4.0, 2.0), (-7.0, -5.0, 3.0))]
    chi = 0.15 * torch.exp(-near[0] / 18.0) - 0.1 * torch.exp(-near[1] / 32.0)
    mask = inside(grid)
    return LocalField(torch.where(mask, simulate_field(chi, grid), 0.0), mask, grid)


GRIDS = {
    "upright": UPRIGHT,
    "tilted": tilted(),
    "thick slices": tilted((0.8, 0.8, 2.5)),
    "coarse": tilted((3.0, 3.0, 3.0)),
    "b0 along x": UPRIGHT.with_b0((1.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_coarse_voxels_are_cubes_along_b0_that_hold_the_mask(name: str) -> None:
    grid = GRIDS[name]
    mask = inside(grid)
    coarse = coarse_field(LocalField(torch.where(mask, smooth(grid), 0.0), mask, grid))
    assert coarse.grid.voxel_size == (SETTINGS.coarse,) * 3
    assert coarse.grid.b0_direction == pytest.approx((0.0, 0.0, 1.0), abs=1e-9)
    along = coarse.grid.matrix[:, 2]
    assert along.tolist() == pytest.approx((grid.matrix @ grid.b0_direction).tolist(), abs=1e-9)
    assert all(n % 8 == 0 for n in coarse.grid.shape)
    # As much of the head as before, in the same place, and room around it on every side.
    volumes = [float(m.sum()) * math.prod(g.voxel_size) for m, g in ((coarse.mask, coarse.grid), (mask, grid))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.04)
    centres = [positions(g)[:, m].mean(1) for m, g in ((coarse.mask, coarse.grid), (mask, grid))]
    torch.testing.assert_close(centres[0], centres[1], atol=0.3, rtol=0)
    found = coarse.mask.nonzero()
    room = [min(int(found[:, a].min()), n - 1 - int(found[:, a].max())) for a, n in enumerate(coarse.grid.shape)]
    assert min(room) >= 7
    assert not coarse.values[~coarse.mask].any()


@pytest.mark.parametrize("name", GRIDS)
def test_a_smooth_field_keeps_its_values(name: str) -> None:
    grid = GRIDS[name]
    everywhere = torch.ones(grid.shape, dtype=torch.bool)
    coarse = coarse_field(LocalField(smooth(grid), everywhere, grid))
    away = torch.tensor(grid.matrix.T).float() @ positions(coarse.grid).flatten(1)  # along the source's axes
    half = torch.tensor([0.5 * n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)])
    deep = (away.abs() < (half - 8.0).unsqueeze(1)).all(0).view(coarse.grid.shape)  # its edge is a step to zero
    assert int(deep.sum()) > 1000
    off = (coarse.values - smooth(coarse.grid))[deep]
    assert float(off.abs().max()) < 0.05 * float(smooth(coarse.grid)[deep].abs().max())


def test_what_coarse_voxels_cannot_hold_is_gone_and_does_not_come_back_as_something_else() -> None:
    x = positions(UPRIGHT)[0]
    fine = 0.1 * torch.cos(2.0 * math.pi * x / 2.6)  # of 2.6 mm, which voxels of 2 mm would alias
    everywhere = torch.ones(UPRIGHT.shape, dtype=torch.bool)
    coarse = coarse_field(LocalField(fine, everywhere, UPRIGHT))
    deep = coarse.mask & inside(coarse.grid)
    assert float(coarse.values[deep].abs().max()) < 0.01


@pytest.mark.parametrize("n_voxels", [1, 2, 10])
@pytest.mark.parametrize("voxel", [(0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (1.0, 1.0, 4.0)])
def test_a_mask_smaller_than_a_coarse_voxel_still_has_a_map(n_voxels: int, voxel: tuple[float, float, float]) -> None:
    mask = torch.zeros(24, 32, 16, dtype=torch.bool)
    for i in range(n_voxels):
        mask[8 + i % 3, 9 + i // 3, 8] = True
    field = LocalField(torch.where(mask, 0.05, 0.0), mask, Grid((24, 32, 16), voxel, b0_given=(0.1, 0.2, 1.0)))
    assert coarse_field(field).mask.any()
    assert bool(whole_brain_map(field)[0].isfinite().all())


# The map.


def agreement(x: Tensor, y: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def test_an_oblique_copy_of_a_head_gives_nearly_the_same_map() -> None:
    """B0 is along the scanner's z axis for both; the one is sampled in slices across it, the other in tilted ones."""
    upright, copy = (measured(replace(grid, b0_given=None)) for grid in (UPRIGHT, tilted()))
    there = tuple((torch.tensor(copy.grid.matrix).T @ torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)).tolist())
    assert copy.grid.b0_direction == pytest.approx(there)
    maps = [whole_brain_map(field)[0] for field in (upright, copy)]
    index = torch.tensor(copy.grid.matrix.T) @ (
        positions(UPRIGHT).double().flatten(1) - torch.tensor(copy.grid.origin, dtype=torch.float64).unsqueeze(1)
    )
    nearest = [index[a].div(copy.grid.voxel_size[a]).round().long().clamp(0, copy.grid.shape[a] - 1) for a in range(3)]
    sampled = maps[1][nearest[0], nearest[1], nearest[2]].view(UPRIGHT.shape)
    deep = torch.nn.functional.max_pool3d((~upright.mask)[None].float(), 9, 1, 4)[0] == 0
    assert agreement(maps[0][deep], sampled[deep]) > 0.95
    assert (maps[0] - sampled)[deep].norm() < 0.3 * maps[0][deep].norm()


def test_twice_the_field_gives_twice_the_map() -> None:
    field = measured(tilted((1.5, 1.5, 1.5)))
    one, two = (whole_brain_map(replace(field, values=f * field.values))[0] for f in (1.0, 2.0))
    torch.testing.assert_close(two, 2.0 * one, atol=1e-6, rtol=1e-4)
    assert float(one.std()) > 1e-3


def test_a_constant_of_the_field_changes_nothing() -> None:
    field = measured(tilted((1.5, 1.5, 1.5)))
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.01, 0.0))
    maps = [whole_brain_map(DataTerm.of(f).field)[0] for f in (field, shifted)]
    assert (maps[0] - maps[1]).norm() < 0.02 * maps[0].norm()


def test_the_map_lies_on_the_field_s_voxels_and_fits_the_field() -> None:
    field = measured(UPRIGHT)
    found, sha256 = whole_brain_map(field)
    assert found.shape == UPRIGHT.shape and bool(found.isfinite().all())
    assert sha256 == load(whole_brain.bundled("whole-brain")).sha256
    term = DataTerm.of(field)
    assert term.residual(torch.where(field.mask, found, 0.0)).norm() < 0.5 * term.field.values.norm()


def test_the_network_and_its_progress_count(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    field, told = measured(UPRIGHT), []
    first, _ = whole_brain_map(field, lambda fraction, stage: told.append(fraction))
    assert told == sorted(told) and len(told) > 10 and 0.0 <= told[0] < told[-1] <= 1.0
    other = make_weights(kind="whole-brain", seed=7)
    monkeypatch.setattr(whole_brain, "bundled", lambda name: other)
    assert not torch.equal(first, whole_brain_map(field, silent)[0])


def test_without_its_weights_there_is_no_map(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(whole_brain, "bundled", lambda name: tmp_path / f"{name}.safetensors")
    with pytest.raises(WeightsInvalid, match=r"'whole-brain\.safetensors' cannot be read"):
        whole_brain_map(measured(UPRIGHT))
