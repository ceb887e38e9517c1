"""ADMM for total variation: the fast version against the papers' steps, its operators, and the optimality of both."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.admm import (
    MU_OVER_LAMBDA,
    ChiUpdate,
    ClosedFormUpdate,
    MaskedUpdate,
    reference_tv,
    reference_tv_in_mask,
    squared_gradient,
    tv_iterations,
)
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics import gradient as gradient_module
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.gradient import Gradient

GRIDS = [Grid((16, 12, 14)), Grid((11, 13, 9), (1.0, 0.7, 2.0), user_b0_direction=(0.2, 0.5, 0.8))]


def blocks(grid: Grid) -> Tensor:
    """Cuboids of constant χ [ppm], and zero mean."""
    chi = torch.zeros(grid.shape)
    x, y, z = (n // 4 for n in grid.shape)
    chi[x : 2 * x, y : 3 * y, z : 2 * z] = 0.2
    chi[2 * x : 3 * x, y : 2 * y, 2 * z : 3 * z] = -0.1
    return chi - chi.mean()


def noisy_field(grid: Grid) -> LocalField:
    """The field of blocks with white noise, in a mask without one corner."""
    mask = torch.ones(grid.shape, dtype=torch.bool)
    mask[-4:, -4:, -3:] = False
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(DipoleOp(grid)(blocks(grid)) + 0.003 * noise, mask, grid)


def fast_maps(field: LocalField, regularisation: float, in_mask: bool) -> Iterator[Tensor]:
    mu = MU_OVER_LAMBDA * regularisation
    update: ChiUpdate = ClosedFormUpdate(field, mu)
    if in_mask:
        update = MaskedUpdate(field, mu, update.chi)
    yield update.chi
    yield from tv_iterations(update, Gradient(field.grid, "periodic"))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("in_mask", [False, True])
def test_the_fast_version_agrees_with_the_papers_steps(
    monkeypatch: pytest.MonkeyPatch, grid: Grid, in_mask: bool
) -> None:
    monkeypatch.setattr(gradient_module, "BLOCK_SIZE", 3 * grid.shape[1] * grid.shape[2])
    field, reference = noisy_field(grid), reference_tv_in_mask if in_mask else reference_tv
    for n, chi in enumerate(itertools.islice(fast_maps(field, 1e-3, in_mask), 30), start=1):
        if n in (1, 2, 3, 30):
            torch.testing.assert_close(chi, reference(field, 1e-3, n), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_squared_gradient_is_that_of_the_periodic_differences(
    require_adjoint: Callable[..., None], grid: Grid
) -> None:
    x = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    gradient = Gradient(grid, "periodic")

    def laplacian(x: Tensor) -> Tensor:
        return ifft(squared_gradient(grid) * fft(x), grid.shape)

    torch.testing.assert_close(laplacian(x), gradient.adjoint(gradient.forward(x)), atol=1e-4, rtol=1e-4)
    require_adjoint(laplacian, laplacian, grid.shape)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_first_map_solves_the_problem_with_a_squared_gradient(
    require_stationary: Callable[..., None], grid: Grid
) -> None:
    """Dᵀ(Dχ − f) + μ∇ᵀ∇χ = 0."""
    field, operator, gradient, mu = noisy_field(grid), DipoleOp(grid), Gradient(grid, "periodic"), 0.05

    def slope(chi: Tensor) -> Tensor:
        return operator.adjoint(operator(chi) - field.values) + mu * gradient.adjoint(gradient.forward(chi))

    require_stationary(slope, ClosedFormUpdate(field, mu).chi, 1e-5)


def variation(x: Tensor, grid: Grid) -> Tensor:
    """Anisotropic total variation [ppm/mm], periodic."""
    return torch.stack([(x.roll(-1, a) - x).abs().double().sum() / v for a, v in enumerate(grid.voxel_size)]).sum()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("regularisation", "outside"), [(2e-3, "zero"), (2e-4, "zero"), (1e-3, "free")])
def test_the_solution_meets_the_optimality_condition(
    require_minimum: Callable[..., None], grid: Grid, regularisation: float, outside: str
) -> None:
    """For a 1-homogeneous penalty R, χ minimises ½‖Dχ − f‖² + λR iff ⟨g, χ⟩ = λR(χ) and ⟨g, v⟩ ≤ λR(v) for any v,

    where g = Dᵀ(f − Dχ), and of a field that is free outside a mask, g = Dᵀ m (f − Dχ).
    """
    field, operator = noisy_field(grid), DipoleOp(grid)
    chi, _ = TotalVariation(regularisation, outside, 0.0, 1500)._solve(field, silent)

    def residual(x: Tensor) -> Tensor:
        difference = field.values - operator(x)
        return torch.where(field.mask, difference, 0.0) if outside == "free" else difference

    require_minimum(lambda x: 0.5 * residual(x).double().square().sum() + regularisation * variation(x, grid), chi)
    slope = operator.adjoint(residual(chi)).double()
    assert float((slope * chi).sum()) == pytest.approx(regularisation * float(variation(chi, grid)), rel=2e-3)
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(grid.shape, generator=generator) for _ in range(5)] + [blocks(grid), chi]
    for corner in itertools.product(*(range(0, n, 4) for n in grid.shape)):
        cube = torch.zeros(grid.shape)
        cube[tuple(slice(c, c + 3) for c in corner)] = 1.0
        directions += [cube, -cube]
    for v in directions:
        assert float((slope * v).sum()) <= regularisation * float(variation(v, grid)) * (1 + 2e-3) + 1e-7
