"""Conjugate gradients against direct solutions, their optimality, and where they stop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, ParameterInvalid
from IR2QSMLib.physics.solvers import conjugate_gradient


def symmetric(n: int, seed: int, condition: float = 100.0) -> Tensor:
    """A random symmetric positive definite matrix of that condition, float64."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    return (
        rotation @ torch.diag(torch.logspace(0, -torch.tensor(condition).log10(), n, dtype=torch.float64)) @ rotation.T
    )


def vector(n: int, seed: int = 7) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 24), st.integers(0, 2**16), st.booleans())
def test_the_solution_is_the_direct_one(n: int, seed: int, with_start: bool) -> None:
    a, b = symmetric(n, seed), vector(n)
    start = vector(n, seed + 1) if with_start else None
    start_copy = None if start is None else start.clone()
    x, n_iterations, residual = conjugate_gradient(
        lambda v: a @ v, b, start=start, tolerance=1e-11, max_iterations=10 * n
    )
    torch.testing.assert_close(x, torch.linalg.solve(a, b), atol=1e-7, rtol=0)
    assert residual <= 1e-11 and n_iterations <= 10 * n
    assert start is None or (start_copy is not None and torch.equal(start, start_copy))


def test_as_many_steps_as_there_are_different_eigenvalues_are_enough() -> None:
    values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).repeat(40)
    _, n_iterations, _ = conjugate_gradient(lambda v: values * v, vector(120), tolerance=1e-10, max_iterations=100)
    assert n_iterations == 3


def test_the_residual_is_orthogonal_to_the_krylov_space() -> None:
    """After n steps A(x − x*) is orthogonal to the Krylov space b, A b, …, Aⁿ⁻¹ b: the optimality of the method."""
    a, b = symmetric(30, 3), vector(30)
    solution = conjugate_gradient(lambda v: a @ v, b, tolerance=0.0, max_iterations=4)
    assert solution.n_iterations == 4
    residual = b - a @ solution.x
    space = torch.stack([b, a @ b, a @ a @ b, a @ a @ a @ b])
    assert float((space @ residual).abs().max()) < 1e-10
    assert float(residual.norm() / b.norm()) == pytest.approx(solution.relative_residual, rel=1e-8)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_it_stops_as_soon_as_the_residual_is_below_the_tolerance(tolerance: float) -> None:
    a, b = symmetric(60, 5, 1e4), vector(60)
    x, n, residual = conjugate_gradient(lambda v: a @ v, b, tolerance=tolerance, max_iterations=1000)
    assert float((b - a @ x).norm() / b.norm()) <= 1.0001 * tolerance and residual <= tolerance
    if n > 1:
        before = conjugate_gradient(lambda v: a @ v, b, tolerance=tolerance, max_iterations=n - 1)
        assert before.relative_residual > tolerance


def test_of_the_steps_taken_the_one_of_least_residual_is_returned() -> None:
    a, b = symmetric(80, 11, 1e8), vector(80)
    residuals = [
        conjugate_gradient(lambda v: a @ v, b, tolerance=0.0, max_iterations=n).relative_residual for n in range(1, 60)
    ]
    assert residuals == sorted(residuals, reverse=True)
    assert len(set(residuals)) < len(residuals), "of a matrix so badly conditioned, some steps raise the residual"


def test_a_singular_system_gets_its_least_solution_where_it_has_one() -> None:
    values = torch.tensor([0.0, 1.0, 3.0, 0.0], dtype=torch.float64)
    x, *_ = conjugate_gradient(lambda v: values * v, values * vector(4), tolerance=1e-12, max_iterations=50)
    torch.testing.assert_close(x, torch.where(values > 0, vector(4), 0.0))


def test_where_there_is_no_curvature_it_ends() -> None:
    x, n, residual = conjugate_gradient(torch.zeros_like, torch.ones(3), tolerance=1e-3, max_iterations=50)
    assert not x.any() and n == 0 and residual == pytest.approx(1.0)


def test_nothing_to_solve_is_solved() -> None:
    x, n, residual = conjugate_gradient(lambda v: v, torch.zeros(2, 3), tolerance=0.0, max_iterations=5)
    assert not x.any() and x.shape == (2, 3) and n == 0 and residual == 0.0


def test_progress_rises_and_can_cancel() -> None:
    a, b = symmetric(40, 2, 1e6), vector(40)
    fractions: list[float] = []

    def progress(fraction: float, stage: str) -> None:
        fractions.append(fraction)
        if len(fractions) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        conjugate_gradient(lambda v: a @ v, b, tolerance=0.0, max_iterations=100, progress=progress)
    assert fractions == sorted(fractions) and len(fractions) == 5


@pytest.mark.parametrize(("tolerance", "n"), [(-1.0, 5), (float("nan"), 5), (0.1, 0)])
def test_impossible_limits_are_refused(tolerance: float, n: int) -> None:
    with pytest.raises(ParameterInvalid, match=r"expected a tolerance of 0"):
        conjugate_gradient(lambda v: v, torch.ones(2), tolerance=tolerance, max_iterations=n)


def test_the_normal_equations_give_the_least_squares() -> None:
    """The problem has no solution, like iLSQR's of streaks: AᵀA x = Aᵀb, by A and Aᵀ alone."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(50, 20, generator=generator, dtype=torch.float64), vector(50)
    solution = conjugate_gradient(lambda v: a.T @ (a @ v), a.T @ b, tolerance=1e-12, max_iterations=200)
    torch.testing.assert_close(solution.x, torch.linalg.lstsq(a, b).solution)
    assert float((a @ solution.x - b).norm()) > 0.1 * float(b.norm())
