"""The field on coarse voxels, and the whole-brain network's map of it."""

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
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.whole_brain import coarse_field, whole_brain_map
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.resample import resample

MakeWeights = Callable[..., Path]
COSINE, SINE = math.cos(math.radians(25.0)), math.sin(math.radians(25.0))
TILTED = (1.0, 0.0, 0.0, 0.0, COSINE, -SINE, 0.0, SINE, COSINE)
UPRIGHT = Grid((48, 56, 48), (1.0, 1.0, 1.0), origin=(-23.5, -27.5, -23.5))


def tilted(voxel: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Grid:
    """A grid around the same centre, rotated by 25° about x."""
    shape = tuple(round(64 / v) for v in voxel)
    grid = Grid(shape, voxel, TILTED)  # type: ignore[arg-type]
    return replace(grid, origin=tuple((-grid.corners().mean(0)).tolist()))


def positions(grid: Grid) -> Tensor:
    """Position of every voxel [mm]: (3, x, y, z)."""
    index = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid.shape), indexing="ij")
    scaled = torch.stack(index) * torch.tensor(grid.voxel_size, dtype=torch.float64).view(3, 1, 1, 1)
    rotated = torch.einsum("ij,jxyz->ixyz", torch.tensor(grid.matrix), scaled)
    return (rotated + torch.tensor(grid.origin, dtype=torch.float64).view(3, 1, 1, 1)).float()


def inside(grid: Grid, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """An ellipsoid: (x, y, z)."""
    off = positions(grid) - torch.tensor(centre).view(3, 1, 1, 1)
    return (off / torch.tensor([19.0, 23.0, 17.0]).view(3, 1, 1, 1)).square().sum(0) < 1.0


def smooth(grid: Grid) -> Tensor:
    """A function of position whose waves are 30 mm long and longer."""
    x, y, z = positions(grid)
    return 0.03 * torch.sin(0.2 * x + 1.0) * torch.cos(0.15 * y) + 0.02 * torch.sin(0.2 * z)


def simulated(grid: Grid) -> LocalField:
    """The field of two smooth blobs on that grid."""
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
    assert coarse.grid.voxel_size == (SETTINGS.whole_brain_voxel_size,) * 3
    assert coarse.grid.b0_direction == pytest.approx((0.0, 0.0, 1.0), abs=1e-9)
    along = coarse.grid.matrix[:, 2]
    assert along.tolist() == pytest.approx((grid.matrix @ grid.b0_direction).tolist(), abs=1e-9)
    assert all(n % 8 == 0 for n in coarse.grid.shape)
    # The same volume in the same place, with room on every side.
    volumes = [float(m.sum()) * math.prod(g.voxel_size) for m, g in ((coarse.mask, coarse.grid), (mask, grid))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.04)
    centres = [positions(g)[:, m].mean(1) for m, g in ((coarse.mask, coarse.grid), (mask, grid))]
    torch.testing.assert_close(centres[0], centres[1], atol=0.3, rtol=0)
    index = coarse.mask.nonzero()
    room = [min(int(index[:, a].min()), n - 1 - int(index[:, a].max())) for a, n in enumerate(coarse.grid.shape)]
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


def test_waves_shorter_than_two_coarse_voxels_are_removed_and_not_aliased() -> None:
    x = positions(UPRIGHT)[0]
    fine = 0.1 * torch.cos(2.0 * math.pi * x / 2.6)  # 2.6 mm long: voxels of 2 mm would alias them
    everywhere = torch.ones(UPRIGHT.shape, dtype=torch.bool)
    coarse = coarse_field(LocalField(fine, everywhere, UPRIGHT))
    deep = coarse.mask & inside(coarse.grid)
    assert float(coarse.values[deep].abs().max()) < 0.01


@pytest.mark.parametrize("n_voxels", [1, 2, 10])
@pytest.mark.parametrize("voxel", [(0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (1.0, 1.0, 4.0)])
def test_a_mask_smaller_than_a_coarse_voxel_has_a_map(n_voxels: int, voxel: tuple[float, float, float]) -> None:
    mask = torch.zeros(24, 32, 16, dtype=torch.bool)
    for i in range(n_voxels):
        mask[8 + i % 3, 9 + i // 3, 8] = True
    field = LocalField(torch.where(mask, 0.05, 0.0), mask, Grid((24, 32, 16), voxel, user_b0_direction=(0.1, 0.2, 1.0)))
    assert coarse_field(field).mask.any()
    assert bool(whole_brain_map(field).chi.isfinite().all())


@pytest.mark.parametrize("voxel_size", [0.25, 0.4, 0.7])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mask_thinner_than_coarse_voxels_keeps_the_values_of_the_field(voxel_size: float, axis: int) -> None:
    """A sheet of one voxel, which no coarse voxel is half inside of, with values that must not mix with zeros."""
    n = round(28.0 / voxel_size)
    mask = torch.zeros(n, n, n, dtype=torch.bool)
    mask.narrow(axis, n // 2 + 1, 1).fill_(True)
    grid = Grid((n, n, n), (voxel_size,) * 3, user_b0_direction=(0.2, 0.3, 1.0))
    coarse = coarse_field(LocalField(torch.where(mask, 0.05, 0.0), mask, grid))
    area = (n * voxel_size) ** 2
    assert float(coarse.mask.sum()) * SETTINGS.whole_brain_voxel_size**2 > 0.7 * area
    torch.testing.assert_close(coarse.values[coarse.mask], torch.full((int(coarse.mask.sum()),), 0.05))
    assert not coarse.values[~coarse.mask].any()
    centres = [positions(g)[:, m].mean(1) for m, g in ((coarse.mask, coarse.grid), (mask, grid))]
    torch.testing.assert_close(centres[0], centres[1], atol=1.5, rtol=0)


# The map.


def agreement(x: Tensor, y: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def test_an_oblique_scan_of_a_head_gives_nearly_the_same_map() -> None:
    """B0 is along the scanner's z axis for both; the slices of one are tilted."""
    upright, oblique = (simulated(replace(grid, user_b0_direction=None)) for grid in (UPRIGHT, tilted()))
    there = tuple((torch.tensor(oblique.grid.matrix).T @ torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)).tolist())
    assert oblique.grid.b0_direction == pytest.approx(there)
    maps = [whole_brain_map(field).chi for field in (upright, oblique)]
    index = torch.tensor(oblique.grid.matrix.T) @ (
        positions(UPRIGHT).double().flatten(1) - torch.tensor(oblique.grid.origin, dtype=torch.float64).unsqueeze(1)
    )
    nearest = [
        index[a].div(oblique.grid.voxel_size[a]).round().long().clamp(0, oblique.grid.shape[a] - 1) for a in range(3)
    ]
    sampled = maps[1][nearest[0], nearest[1], nearest[2]].view(UPRIGHT.shape)
    deep = torch.nn.functional.max_pool3d((~upright.mask)[None].float(), 9, 1, 4)[0] == 0
    assert agreement(maps[0][deep], sampled[deep]) > 0.95
    assert (maps[0] - sampled)[deep].norm() < 0.3 * maps[0][deep].norm()


def test_twice_the_field_gives_twice_the_map() -> None:
    field = simulated(tilted((1.5, 1.5, 1.5)))
    one, two = (whole_brain_map(replace(field, values=f * field.values)).chi for f in (1.0, 2.0))
    torch.testing.assert_close(two, 2.0 * one, atol=1e-6, rtol=1e-4)
    assert float(one.std()) > 1e-3


def test_a_constant_of_the_field_changes_nothing() -> None:
    field = simulated(tilted((1.5, 1.5, 1.5)))
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.01, 0.0))
    maps = [whole_brain_map(DataTerm.of(f).field).chi for f in (field, shifted)]
    assert (maps[0] - maps[1]).norm() < 0.02 * maps[0].norm()


def test_the_map_lies_on_the_field_s_voxels_and_fits_the_field() -> None:
    field = simulated(UPRIGHT)
    chi, sha256, tile = whole_brain_map(field)
    assert chi.shape == UPRIGHT.shape and bool(chi.isfinite().all()) and tile is None
    assert sha256 == load(whole_brain.bundled("whole-brain")).sha256
    data_term = DataTerm.of(field)
    assert data_term.residual(torch.where(field.mask, chi, 0.0)).norm() < 0.5 * data_term.field.values.norm()


def test_other_weights_give_another_map(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    field, fractions = simulated(UPRIGHT), []
    first = whole_brain_map(field, lambda fraction, stage: fractions.append(fraction)).chi
    assert fractions == sorted(fractions) and len(fractions) > 10 and 0.0 <= fractions[0] < fractions[-1] <= 1.0
    other = make_weights(kind="whole-brain", seed=7)
    monkeypatch.setattr(whole_brain, "bundled", lambda name: other)
    assert not torch.equal(first, whole_brain_map(field, silent).chi)


@pytest.mark.parametrize("names", [("first_map",), ("field", "first_map")])
def test_the_network_gets_the_input_that_its_weights_name(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """A network whose layers after the input are zero returns the last channel, the first map, for any input."""
    field = DataTerm.of(simulated(tilted((2.0, 2.0, 2.0)))).field
    path = make_weights(NetworkInput(names), scale=0.0, kind="whole-brain")
    monkeypatch.setattr(whole_brain, "bundled", lambda name: path)
    coarse = coarse_field(field)
    expected = resample(DataTerm.of(coarse).first_map, coarse.grid, field.grid)
    torch.testing.assert_close(whole_brain_map(field).chi, expected, atol=1e-6, rtol=1e-4)


def test_weights_of_another_network_are_refused(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_brain, "bundled", lambda name: make_weights(kind="unet"))
    with pytest.raises(WeightsInvalid, match="are for the network 'unet'; expected 'whole-brain'"):
        whole_brain_map(simulated(UPRIGHT))


def test_the_network_stays_usable_outside_inference_mode(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_weights(kind="whole-brain", seed=9)
    monkeypatch.setattr(whole_brain, "bundled", lambda name: path)
    whole_brain_map(simulated(tilted((2.0, 2.0, 2.0))))
    assert not any(p.is_inference() for p in load(path).network.parameters())


def test_missing_weights_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(whole_brain, "bundled", lambda name: tmp_path / f"{name}.safetensors")
    with pytest.raises(WeightsInvalid, match=r"'whole-brain\.safetensors' cannot be read"):
        whole_brain_map(simulated(UPRIGHT))
