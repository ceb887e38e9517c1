"""The data term of a field, its closed-form step, and when another step follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.fourier import frequencies
from Testing.Library.inversion.learned.cases import GRID, simulated, truth

EVEN = Grid((32, 32, 32), (1.0, 1.0, 1.0))
THICK = Grid((30, 24, 15), (1.0, 1.0, 2.0), user_b0_direction=(0.3, 0.2, 0.9))


def field_everywhere(grid: Grid, noise: float = 0.01) -> LocalField:
    """A noisy field whose mask is the whole grid."""
    random = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(DipoleOp(grid)(truth(grid)) + noise * random, torch.ones(grid.shape, dtype=torch.bool), grid)


def filtered(kernel: Tensor, x: Tensor) -> Tensor:
    """Multiplication by a half-spectrum kernel, by torch's own transforms."""
    return torch.fft.irfftn(kernel * torch.fft.rfftn(x), s=x.shape)


@pytest.mark.parametrize("grid", [GRID, EVEN, THICK])
@pytest.mark.parametrize("factor", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("name", ["step", "enforce_consistency"])
def test_a_step_is_the_optimum_of_its_objective(grid: Grid, factor: float, name: str) -> None:
    """The gradient of ‖D∗χ' − f‖² + ‖√(factor·λ)∗(χ' − χ)‖² vanishes where the mask is everything."""
    data_term, before = DataTerm.of(field_everywhere(grid)), 0.5 * truth(grid)
    after = (
        data_term.step(before, factor) if name == "step" else data_term.enforce_consistency(before, factor)[0]
    )  # one step
    dipole = DipoleOp(grid)
    pull = dipole.adjoint(dipole(after) - data_term.field.values)
    gradient = pull + filtered(factor * data_term.regularisation, after - before)
    assert gradient.norm() < 1e-4 * pull.norm()
    assert (after - before).norm() > 0.05 * before.norm()


def test_the_first_map_is_the_wiener_map_of_the_field_without_its_constant() -> None:
    field = simulated(noise=3e-3)
    data_term = DataTerm.of(replace(field, values=torch.where(field.mask, field.values + 0.02, 0.0)))
    assert float((data_term.field.values - field.values)[field.mask].mean()) == pytest.approx(0.0, abs=2e-3)
    assert not data_term.field.values[~field.mask].any() and not data_term.first_map[~field.mask].any()
    # The last round of the estimate was made with the constant and λ of the one before: nearly its own result.
    assert (
        data_term.wiener_filter(data_term.field.values) - data_term.first_map
    ).norm() < 0.1 * data_term.first_map.norm()


@pytest.mark.parametrize("offset", [0.0, 0.05])
def test_a_residual_has_no_mean_and_nothing_outside_the_mask(offset: float) -> None:
    field = simulated(noise=3e-3)
    data_term = DataTerm.of(replace(field, values=torch.where(field.mask, field.values + offset, 0.0)))
    residual = data_term.residual(0.7 * truth(GRID))
    assert abs(float(residual[field.mask].double().mean())) < 1e-8 and not residual[~field.mask].any()
    expected = (field.values - DipoleOp(GRID)(0.7 * truth(GRID)))[field.mask]
    torch.testing.assert_close(residual[field.mask], expected - expected.mean(), atol=1e-6, rtol=0)


def test_the_sharper_map_has_the_geometric_mean_of_lambda_and_its_minimum() -> None:
    data_term = DataTerm.of(simulated(noise=0.02))
    regularisation = (data_term.regularisation * SETTINGS.min_regularisation).sqrt()
    expected = filtered(data_term.kernel / (data_term.kernel.square() + regularisation), data_term.field.values)
    torch.testing.assert_close(
        data_term.sharper_map(), torch.where(data_term.field.mask, expected, 0.0), atol=1e-6, rtol=1e-5
    )
    assert data_term.sharper_map().norm() > 1.1 * data_term.first_map.norm()


# When steps end.


def residual_power_in_cone(data_term: DataTerm, chi: Tensor) -> float:
    """Power of what a map leaves of the field, in the cone."""
    return float(
        torch.fft.rfftn(data_term.residual(chi))[data_term.kernel.abs() < SETTINGS.cone_threshold].abs().square().sum()
    )


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3, 0.01])
def test_steps_end_with_the_first_that_does_not_clear_the_cone_or_with_the_most(noise: float) -> None:
    data_term = DataTerm.of(simulated(noise=noise))
    start = 0.5 * truth(GRID)
    chi, n_steps = data_term.enforce_consistency(start)
    maps = [start]
    for n in range(n_steps):
        maps.append(data_term.step(maps[-1], SETTINGS.regularisation_factor if n == 0 else 1.0))
    torch.testing.assert_close(chi, maps[-1])
    powers = [residual_power_in_cone(data_term, chi) for chi in maps]
    shares = [after / before for before, after in pairwise(powers)]
    assert 1 <= n_steps <= SETTINGS.max_steps
    assert all(share <= SETTINGS.remaining_cone_power for share in shares[:-1])
    assert shares[-1] > SETTINGS.remaining_cone_power or n_steps == SETTINGS.max_steps


def test_a_clean_field_takes_more_steps_than_one_with_a_fifth_of_noise() -> None:
    """What the mask's edge spreads over the cone is explained step by step, noise is not."""
    clean = simulated()
    power = float(clean.values[clean.mask].square().mean())
    noisy = simulated(noise=(0.25 * power) ** 0.5)  # a fifth of the whole power
    steps = [DataTerm.of(field).enforce_consistency(0.8 * truth(GRID))[1] for field in (clean, noisy)]
    assert steps[0] > steps[1] == 1


def test_the_true_map_of_a_clean_field_hardly_changes() -> None:
    data_term = DataTerm.of(simulated())
    chi, _ = data_term.enforce_consistency(truth(GRID))
    assert (chi - truth(GRID)).norm() < 0.02 * truth(GRID).norm()


# Masks for which the closed form is far from the minimum.


def every_other(shape: tuple[int, ...], axis: int, n: int) -> Tensor:
    included = torch.arange(shape[axis]) % n == 0
    return included.view([-1 if a == axis else 1 for a in range(3)]).expand(shape)


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
@pytest.mark.parametrize("grid", [GRID, EVEN, Grid((40, 40, 40), user_b0_direction=(0.5, 0.3, 0.6))])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_steps_stay_bounded_on_unusual_masks(name: str, grid: Grid, noise: float) -> None:
    full = simulated(grid, noise)
    mask = full.mask & MASKS[name](grid.shape)
    data_term = DataTerm.of(LocalField(torch.where(mask, full.values, 0.0), mask, grid))
    chi, _ = data_term.enforce_consistency(data_term.first_map)
    assert bool(chi.isfinite().all()) and not chi[~mask].any()
    assert chi.norm() < 2.0 * data_term.first_map.norm()
    assert data_term.residual(chi).norm() < data_term.residual(torch.zeros(grid.shape)).norm()


def test_a_step_changes_no_frequency_that_the_kernel_does_not_pass() -> None:
    """A wave in the cone comes through every step unchanged; one where |D| is large is replaced by the field's."""
    data_term = DataTerm.of(field_everywhere(EVEN))
    kx, ky, kz = frequencies(EVEN)
    diagonal = ((kx == ky) & (ky == kz)).expand(data_term.kernel.shape)
    assert float(data_term.kernel[diagonal].abs().max()) < 1e-6
    wave = filtered(diagonal.float(), torch.randn(EVEN.shape, generator=torch.Generator().manual_seed(2)))
    added = data_term.step(truth(EVEN) + wave) - data_term.step(truth(EVEN))
    torch.testing.assert_close(added, wave, atol=1e-5, rtol=0)
