"""Conjugate gradients and LSQR against direct solutions, their optimality, and where they stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, ParameterInvalid
from IR2QSMLib.physics.solvers import Solution, conjugate_gradient, lsqr

Step = Callable[[Tensor], Tensor]


def symmetric(n: int, seed: int, condition: float = 100.0) -> Tensor:
    """A random symmetric positive definite matrix of the given condition, float64."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    return turn @ torch.diag(torch.logspace(0, -torch.tensor(condition).log10(), n, dtype=torch.float64)) @ turn.T


def vector(n: int, seed: int = 7) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 24), st.integers(0, 2**16), st.booleans())
def test_the_direct_solution_is_found(n: int, seed: int, from_elsewhere: bool) -> None:
    a, b = symmetric(n, seed), vector(n)
    start = vector(n, seed + 1) if from_elsewhere else None
    kept = None if start is None else start.clone()
    x, n_iterations, residual = conjugate_gradient(
        lambda v: a @ v, b, start=start, tolerance=1e-11, max_iterations=10 * n
    )
    torch.testing.assert_close(x, torch.linalg.solve(a, b), atol=1e-7, rtol=0)
    assert residual <= 1e-11 and n_iterations <= 10 * n
    assert start is None or (kept is not None and torch.equal(start, kept))


def test_as_many_steps_as_there_are_different_eigenvalues_are_enough() -> None:
    values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).repeat(40)
    _, n_iterations, _ = conjugate_gradient(lambda v: values * v, vector(120), tolerance=1e-10, max_iterations=100)
    assert n_iterations == 3


def test_a_step_lowers_the_energy_and_the_errors_are_orthogonal_to_what_was_searched() -> None:
    """After n steps A(x − x*) is orthogonal to the Krylov space b, A b, …, Aⁿ⁻¹ b: the optimality of the method."""
    a, b = symmetric(30, 3), vector(30)
    found = conjugate_gradient(lambda v: a @ v, b, tolerance=0.0, max_iterations=4)
    assert found.n_iterations == 4
    residual = b - a @ found.x
    space = torch.stack([b, a @ b, a @ a @ b, a @ a @ a @ b])
    assert float((space @ residual).abs().max()) < 1e-10
    assert float(residual.norm() / b.norm()) == pytest.approx(found.relative_residual, rel=1e-8)


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
    a, b, seen = symmetric(40, 2, 1e6), vector(40), []

    def progress(fraction: float, stage: str) -> None:
        seen.append(fraction)
        if len(seen) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        conjugate_gradient(lambda v: a @ v, b, tolerance=0.0, max_iterations=100, progress=progress)
    assert seen == sorted(seen) and len(seen) == 5


@pytest.mark.parametrize(("tolerance", "n"), [(-1.0, 5), (float("nan"), 5), (0.1, 0)])
def test_senseless_stops_are_refused(tolerance: float, n: int) -> None:
    with pytest.raises(ParameterInvalid, match=r"expected a tolerance of 0"):
        conjugate_gradient(lambda v: v, torch.ones(2), tolerance=tolerance, max_iterations=n)


# -- LSQR -------------------------------------------------------------------------------------------------------------


def solve(forward: Step, adjoint: Step, b: Tensor, **limits: Any) -> Solution:
    """By LSQR, of A and Aᵀ as functions of one vector."""

    def replacing(apply: Step) -> Callable[[Tensor, Tensor, float], float]:
        def replace(x: Tensor, y: Tensor, scale: float) -> float:
            y.copy_(apply(x) - scale * y)
            return float(y @ y)

        return replace

    return lsqr(replacing(forward), replacing(adjoint), b.clone(), torch.full_like(adjoint(b), torch.nan), **limits)


def rectangular(m: int, n: int, seed: int) -> Tensor:
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 14), st.integers(0, 12), st.integers(0, 2**16))
def test_lsqr_finds_the_least_squares(n: int, extra: int, seed: int) -> None:
    a, b = rectangular(n + extra, n, seed), vector(n + extra, seed + 1)
    x, n_iterations, residual = solve(lambda v: a @ v, lambda u: a.T @ u, b, tolerance=0.0, max_iterations=40 * n)
    expected = torch.linalg.lstsq(a, b).solution
    assert float((b - a @ x).norm()) <= float((b - a @ expected).norm()) * (1 + 1e-6) + 1e-7 * float(b.norm())
    assert residual == pytest.approx(float((b - a @ x).norm() / b.norm()), abs=1e-6)
    assert n_iterations <= 40 * n


def test_lsqr_meets_the_normal_equations_of_a_problem_without_solution() -> None:
    a, b = rectangular(50, 20, 1), vector(50)
    found = solve(lambda v: a @ v, lambda u: a.T @ u, b, tolerance=1e-3, max_iterations=200)
    assert found.relative_residual > 0.1 and found.n_iterations < 200
    assert float((a.T @ (b - a @ found.x)).norm()) < 1e-8 * float((a.T @ b).norm())


def test_lsqr_takes_the_smallest_of_many_solutions() -> None:
    a, b = rectangular(8, 20, 2), vector(8)
    found = solve(lambda v: a @ v, lambda u: a.T @ u, b, tolerance=1e-12, max_iterations=100)
    torch.testing.assert_close(found.x, torch.linalg.pinv(a) @ b, atol=1e-9, rtol=0)


@pytest.mark.parametrize("tolerance", [0.3, 0.03, 1e-3])
def test_lsqr_stops_as_soon_as_the_residual_is_below_the_tolerance(tolerance: float) -> None:
    a, b = symmetric(60, 5, 1e3), vector(60)
    x, n, residual = solve(lambda v: a @ v, lambda u: a @ u, b, tolerance=tolerance, max_iterations=1000)
    assert residual <= tolerance and float((b - a @ x).norm()) <= 1.01 * tolerance * float(b.norm())
    before = solve(lambda v: a @ v, lambda u: a @ u, b, tolerance=0.0, max_iterations=n - 1)
    assert before.relative_residual > tolerance and before.n_iterations == n - 1


def test_lsqr_alters_neither_what_the_solution_began_with_nor_its_scale() -> None:
    """x starts at zero whatever stood there, and the solution is in b's unit."""
    a, b = rectangular(12, 6, 4), vector(12)
    found = solve(lambda v: a @ v, lambda u: a.T @ u, b, tolerance=1e-12, max_iterations=60)
    larger = solve(lambda v: a @ v, lambda u: a.T @ u, 1e3 * b, tolerance=1e-12, max_iterations=60)
    torch.testing.assert_close(larger.x, 1e3 * found.x)


def test_lsqr_of_nothing_is_nothing() -> None:
    a = rectangular(6, 4, 3)
    x, n, residual = solve(lambda v: a @ v, lambda u: a.T @ u, torch.zeros(6).double(), tolerance=0.1, max_iterations=5)
    assert (n, residual) == (0, 0.0) and x.shape == (4,) and not x.any()
    x, n, residual = solve(lambda v: 0 * (a @ v), lambda u: 0 * (a.T @ u), vector(6), tolerance=0.1, max_iterations=5)
    assert (n, residual) == (0, 1.0) and not x.any()


def test_lsqr_can_be_cancelled_and_refuses_impossible_limits() -> None:
    a, b = symmetric(30, 1), vector(30)
    told: list[float] = []

    def progress(fraction: float, stage: str) -> None:
        told.append(fraction)
        if len(told) == 3:
            raise Cancelled()

    with pytest.raises(Cancelled):
        solve(lambda v: a @ v, lambda u: a @ u, b, tolerance=0.0, max_iterations=10, progress=progress)
    assert told == [0.0, 0.1, 0.2]
    for tolerance, n in ((-1.0, 5), (0.1, 0), (float("nan"), 5)):
        with pytest.raises(ParameterInvalid, match="expected a tolerance of 0 or more and at least one iteration"):
            solve(lambda v: v, lambda u: u, b, tolerance=tolerance, max_iterations=n)
