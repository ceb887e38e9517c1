"""Streaks leave a map, and with them nothing that the field determines."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion import streaks
from IR2QSMLib.inversion.streaks import StreakRemoval
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft

GRIDS = {
    "axial": Grid((48, 40, 56)),
    "oblique": Grid((48, 40, 56), b0_given=(0.3, 0.4, 0.87)),
    "thick slices": Grid((48, 40, 24), (1.0, 1.0, 2.5)),
}


def boxes(grid: Grid) -> Tensor:
    """Two boxes [ppm], of zero mean."""
    chi, (nx, ny, nz) = torch.zeros(grid.shape), grid.shape
    chi[nx // 4 : nx // 2, ny // 4 : ny // 2, nz // 4 : nz // 2] = 0.1
    chi[nx // 2 : -8, ny // 2 : -8, nz // 2 : -6] = -0.05
    return chi - chi.mean()


def noise(grid: Grid, where: Tensor, seed: int = 0) -> Tensor:
    """White noise of 0.01 ppm of the frequencies `where` alone."""
    x = ifft(fft(torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))) * where, grid.shape)
    return 0.01 * x / x.std()


def everywhere(grid: Grid) -> Tensor:
    return torch.ones(grid.shape, dtype=torch.bool)


@pytest.mark.parametrize("name", GRIDS)
def test_streaks_on_sharp_shapes_are_taken_out(name: str) -> None:
    grid = GRIDS[name]
    truth, cone = boxes(grid), dipole_kernel(grid).abs() < 0.04
    given = truth + noise(grid, cone)
    found = StreakRemoval()(given, everywhere(grid), grid)
    assert (found - truth).norm() < 0.5 * (given - truth).norm()


@pytest.mark.parametrize("name", GRIDS)
def test_texture_that_the_field_determines_stays(name: str) -> None:
    grid = GRIDS[name]
    texture = noise(grid, dipole_kernel(grid).abs() > 0.2)
    found = StreakRemoval()(boxes(grid) + texture, everywhere(grid), grid)
    sure = dipole_kernel(grid).abs() > 0.2
    kept = ifft(fft(found - boxes(grid)) * sure, grid.shape)
    assert (kept - texture).norm() < 0.25 * texture.norm()
    # Total variation of the whole map, as where every frequency is unsure, would take much of it.
    everything = StreakRemoval(cone=0.66)(boxes(grid) + texture, everywhere(grid), grid)
    assert (everything - boxes(grid) - texture).norm() > 2.0 * (found - boxes(grid) - texture).norm()


def test_many_steps_end_at_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """In no direction does the objective fall, written down anew here; a few steps are close to it."""
    grid = Grid((24, 20, 28))
    given = boxes(grid) + noise(grid, torch.ones(24, 20, 15))
    d, (tau, cone) = torch.fft.fftn(dipole_image(grid)).real.abs(), (5e-4, 0.1)
    weight = (d / cone).clamp(max=1.0).square()

    def objective(chi: Tensor) -> float:
        data = 0.5 * (weight * torch.fft.fftn(chi - given).abs().square()).sum() / chi.numel()
        variation = sum((chi.roll(-1, axis) - chi).abs().sum() for axis in range(3))
        return float(data + tau * variation)

    few = StreakRemoval(tau, cone)(given, everywhere(grid), grid)
    monkeypatch.setattr(streaks, "N_STEPS", 2000)
    many = StreakRemoval(tau, cone)(given, everywhere(grid), grid)
    best = objective(many)
    assert best < objective(few) < 1.05 * best < objective(given)
    for seed in range(4):
        direction = torch.randn(grid.shape, generator=torch.Generator().manual_seed(10 + seed))
        for step in (3e-3, -3e-3):
            assert objective(many + step * direction) > best


def dipole_image(grid: Grid) -> Tensor:
    """The periodic dipole whose transform D is, of the formula and the whole spectrum."""
    k = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) for n in grid.shape), indexing="ij")
    k2 = sum(x.square() for x in k)
    d = 1.0 / 3.0 - k[2].square() / torch.where(k2 == 0.0, math.inf, k2)
    d[0, 0, 0] = 0.0
    return torch.fft.ifftn(d).real


def test_strength_and_cone_change_the_map() -> None:
    grid = GRIDS["axial"]
    given = boxes(grid) + noise(grid, dipole_kernel(grid).abs() < 0.1)
    usual = StreakRemoval()(given, everywhere(grid), grid)
    for other in (StreakRemoval(strength=5e-5), StreakRemoval(cone=0.01)):
        assert (other(given, everywhere(grid), grid) - given).norm() < 0.9 * (usual - given).norm()


def test_the_map_is_zero_outside_the_mask_and_only_the_mask_counts() -> None:
    grid, mask = GRIDS["axial"], torch.zeros(48, 40, 56, dtype=torch.bool)
    mask[8:-8, 8:-8, 8:-8] = True
    given = boxes(grid)
    found = StreakRemoval()(given, mask, grid)
    assert not bool(found[~mask].any())
    assert torch.equal(found, StreakRemoval()(torch.where(mask, given, 7.0), mask, grid))


@pytest.mark.parametrize("values", [{"strength": 0.0}, {"strength": math.nan}, {"cone": 0.0}, {"cone": 0.7}])
def test_a_strength_or_cone_that_cannot_be_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ParameterInvalid, match="expected a positive strength"):
        StreakRemoval(**values)
