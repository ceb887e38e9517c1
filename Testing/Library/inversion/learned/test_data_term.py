"""The data term: what it holds of a field, its closed-form step, and when it takes another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.fourier import frequencies
from IR2QSMLib.physics.settings import SETTINGS
from Testing.Library.inversion.learned.cases import GRID, simulated, truth

EVEN = Grid((32, 32, 32), (1.0, 1.0, 1.0))
THICK = Grid((30, 24, 15), (1.0, 1.0, 2.0), b0_given=(0.3, 0.2, 0.9))


def full(grid: Grid, noise: float = 0.01) -> LocalField:
    """A noisy field whose mask is the whole grid."""
    random = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(DipoleOp(grid)(truth(grid)) + noise * random, torch.ones(grid.shape, dtype=torch.bool), grid)


def filtered(kernel: Tensor, x: Tensor) -> Tensor:
    """Multiplication by a half-spectrum kernel, by torch's own transforms."""
    return torch.fft.irfftn(kernel * torch.fft.rfftn(x), s=x.shape)


@pytest.mark.parametrize("grid", [GRID, EVEN, THICK])
@pytest.mark.parametrize("factor", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("name", ["step", "reconciled"])
def test_a_step_is_the_optimum_of_its_objective(grid: Grid, factor: float, name: str) -> None:
    """The gradient of ‖D∗χ' − f‖² + ‖√(factor·λ)∗(χ' − χ)‖² vanishes where the mask is everything."""
    term, before = DataTerm.of(full(grid)), 0.5 * truth(grid)
    after = term.step(before, factor) if name == "step" else term.reconciled(before, factor)[0]  # one step
    dipole = DipoleOp(grid)
    pull = dipole.adjoint(dipole(after) - term.field.values)
    gradient = pull + filtered(factor * term.regularisation, after - before)
    assert gradient.norm() < 1e-4 * pull.norm()
    assert (after - before).norm() > 0.05 * before.norm()


def test_the_first_map_is_wiener_s_of_the_field_without_its_constant() -> None:
    field = simulated(noise=3e-3)
    term = DataTerm.of(replace(field, values=torch.where(field.mask, field.values + 0.02, 0.0)))
    assert float((term.field.values - field.values)[field.mask].mean()) == pytest.approx(0.0, abs=2e-3)
    assert not term.field.values[~field.mask].any() and not term.first_map[~field.mask].any()
    # The last round of the estimate was made with the constant and λ of the one before: nearly its own result.
    assert (term.wiener(term.field.values) - term.first_map).norm() < 0.1 * term.first_map.norm()


@pytest.mark.parametrize("offset", [0.0, 0.05])
def test_a_residual_has_no_mean_and_nothing_outside_the_mask(offset: float) -> None:
    field = simulated(noise=3e-3)
    term = DataTerm.of(replace(field, values=torch.where(field.mask, field.values + offset, 0.0)))
    left = term.residual(0.7 * truth(GRID))
    assert abs(float(left[field.mask].double().mean())) < 1e-8 and not left[~field.mask].any()
    expected = (field.values - DipoleOp(GRID)(0.7 * truth(GRID)))[field.mask]
    torch.testing.assert_close(left[field.mask], expected - expected.mean(), atol=1e-6, rtol=0)


def test_the_sharper_map_is_that_of_the_geometric_mean_of_lambda_and_the_least() -> None:
    term = DataTerm.of(simulated(noise=0.02))
    regularisation = (term.regularisation * SETTINGS.least).sqrt()
    expected = filtered(term.kernel / (term.kernel.square() + regularisation), term.field.values)
    torch.testing.assert_close(term.sharper_map(), torch.where(term.field.mask, expected, 0.0), atol=1e-6, rtol=1e-5)
    assert term.sharper_map().norm() > 1.1 * term.first_map.norm()


# When steps end.


def in_cone(term: DataTerm, chi: Tensor) -> float:
    """Power of what a map leaves of the field, in the cone."""
    return float(torch.fft.rfftn(term.residual(chi))[term.kernel.abs() < SETTINGS.cone].abs().square().sum())


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3, 0.01])
def test_a_step_follows_as_long_as_the_last_one_cleared_the_cone_and_four_are_the_most(noise: float) -> None:
    term = DataTerm.of(simulated(noise=noise))
    start = 0.5 * truth(GRID)
    found, n_steps = term.reconciled(start)
    maps = [start]
    for n in range(n_steps):
        maps.append(term.step(maps[-1], SETTINGS.step if n == 0 else 1.0))
    torch.testing.assert_close(found, maps[-1])
    power = [in_cone(term, chi) for chi in maps]
    kept = [after / before for before, after in pairwise(power)]
    assert 1 <= n_steps <= 4
    assert all(share <= SETTINGS.unexplained for share in kept[:-1])  # no step was taken without need
    assert kept[-1] > SETTINGS.unexplained or n_steps == 4  # and none was left out


def test_more_steps_are_taken_without_a_discrepancy_than_with_one_of_a_fifth() -> None:
    """What the mask's edge spreads over the cone is explained step by step, noise is not."""
    clean = simulated()
    power = float(clean.values[clean.mask].square().mean())
    noisy = simulated(noise=(0.25 * power) ** 0.5)  # a fifth of the whole power
    steps = [DataTerm.of(field).reconciled(0.8 * truth(GRID))[1] for field in (clean, noisy)]
    assert steps[0] > steps[1] == 1


def test_a_clean_field_s_true_map_is_left_alone() -> None:
    term = DataTerm.of(simulated())
    found, _ = term.reconciled(truth(GRID))
    assert (found - truth(GRID)).norm() < 0.02 * truth(GRID).norm()


# Masks that are not what the step supposes.


def every_other(shape: tuple[int, ...], axis: int, n: int) -> Tensor:
    kept = torch.arange(shape[axis]) % n == 0
    return kept.view([-1 if a == axis else 1 for a in range(3)]).expand(shape)


def checkerboard(shape: tuple[int, ...]) -> Tensor:
    x, y, z = (torch.arange(n).view([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(shape))
    return (x + y + z) % 2 == 0


MASKS: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "every other slice": lambda shape: every_other(shape, 2, 2),
    "every other sagittal slice": lambda shape: every_other(shape, 0, 2),
    "one slice of four": lambda shape: every_other(shape, 2, 4),
    "checkerboard": checkerboard,
    "a third of the voxels": lambda shape: torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.3,
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("grid", [GRID, EVEN, Grid((40, 40, 40), b0_given=(0.5, 0.3, 0.6))])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_steps_do_not_run_away_on_an_odd_mask(name: str, grid: Grid, noise: float) -> None:
    whole = simulated(grid, noise)
    mask = whole.mask & MASKS[name](grid.shape)
    term = DataTerm.of(LocalField(torch.where(mask, whole.values, 0.0), mask, grid))
    found, _ = term.reconciled(term.first_map)
    assert bool(found.isfinite().all()) and not found[~mask].any()
    assert found.norm() < 2.0 * term.first_map.norm()
    assert term.residual(found).norm() < term.residual(torch.zeros(grid.shape)).norm()


def test_frequencies_that_the_kernel_does_not_pass_are_left_to_the_map() -> None:
    """A wave in the cone comes through every step unchanged; one where |D| is large is replaced by the field's."""
    term = DataTerm.of(full(EVEN))
    kx, ky, kz = frequencies(EVEN)
    diagonal = ((kx == ky) & (ky == kz)).expand(term.kernel.shape)
    assert float(term.kernel[diagonal].abs().max()) < 1e-6
    wave = filtered(diagonal.float(), torch.randn(EVEN.shape, generator=torch.Generator().manual_seed(2)))
    added = term.step(truth(EVEN) + wave) - term.step(truth(EVEN))
    torch.testing.assert_close(added, wave, atol=1e-5, rtol=0)
