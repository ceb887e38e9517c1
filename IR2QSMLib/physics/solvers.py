"""Iterative solvers: they take plain callables and know nothing of fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent


class Solution(NamedTuple):
    """What a solver found and how far it came."""

    x: Tensor
    n_iterations: int
    relative_residual: float
    """‖b − A x‖ / ‖b‖ of the x that is returned, as the recurrence knows it."""


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    *,
    start: Tensor | None = None,
    tolerance: float,
    max_iterations: int,
    progress: Progress = silent,
) -> Solution:
    """Solve A x = b for a symmetric positive semidefinite A (Hestenes and Stiefel 1952, doi 10.6028/jres.049.044).

    `apply` is A, from a real tensor to one of the same shape; `start` is the first x, zero without one. Ends when
    ‖b − A x‖ ≤ tolerance·‖b‖, after `max_iterations`, or where A has no positive curvature left along the next step;
    the x of the least residual is returned. Raises ParameterInvalid unless tolerance ≥ 0 and max_iterations ≥ 1.
    """
    _require_limits(tolerance, max_iterations)
    size = _dot(rhs, rhs) ** 0.5
    if size == 0.0:
        return Solution(torch.zeros_like(rhs), 0, 0.0)
    x = torch.zeros_like(rhs) if start is None else start.clone()
    residual = rhs.clone() if start is None else rhs - apply(start)
    square = _dot(residual, residual)
    best, best_square, n = x, square, 0
    spare = torch.empty_like(x)
    direction = residual.clone()
    while n < max_iterations and square**0.5 > tolerance * size:
        progress(n / max_iterations, "solving")
        image = apply(direction)
        curvature = _dot(direction, image)
        if not curvature > 0.0:
            break
        # The residual falls by jumps, not steadily: what `best` holds must outlive the steps that follow.
        x = torch.add(x, direction, alpha=square / curvature, out=spare if x is best else x)
        residual.sub_(image, alpha=square / curvature)
        before, square, n = square, _dot(residual, residual), n + 1
        if square < best_square:
            best, best_square, spare = x, square, best
        torch.add(residual, direction, alpha=square / before, out=direction)
    return Solution(best, n, best_square**0.5 / size)


def lsqr(
    forward: Callable[[Tensor, Tensor, float], float],
    adjoint: Callable[[Tensor, Tensor, float], float],
    rhs: Tensor,
    x: Tensor,
    *,
    tolerance: float,
    max_iterations: int,
    progress: Progress = silent,
) -> Solution:
    """Minimise ‖A x − b‖ from x = 0 (Paige and Saunders 1982, doi 10.1145/355984.355989).

    `forward(v, u, s)` puts A v − s·u in the place of u and returns its square, and `adjoint(u, v, s)` Aᵀ u − s·v in
    that of v, real tensors of any two shapes: what is made of a vector part by part need not be stored first. `rhs` and
    `x`, which says the solution's shape, are overwritten. Ends when ‖b − A x‖ ≤ tolerance·‖b‖, after `max_iterations`,
    or where ‖Aᵀ r‖ is rounding noise: the least squares are reached. The augmented residual of the original test is not
    used, it stops too early. Raises as `conjugate_gradient`.
    """
    _require_limits(tolerance, max_iterations)
    u, v = rhs, torch.zeros_like(x)
    size = beta = _dot(u, u) ** 0.5
    x.zero_()
    alpha = first = adjoint(u, v, 0.0) ** 0.5 / size if size > 0.0 else 0.0
    if size == 0.0 or alpha == 0.0:
        return Solution(x, 0, 0.0 if size == 0.0 else 1.0)
    v.div_(alpha * beta)
    w, phi, rho_bar, n = v.clone(), beta, alpha, 0
    while n < max_iterations and phi > tolerance * size:
        progress(n / max_iterations, "solving")
        # u keeps its length β: dividing it, three volumes, costs more than the scalars that account for it.
        beta = forward(v, u, alpha / beta) ** 0.5
        alpha = adjoint(u, v, beta**2) ** 0.5 / beta if beta > 0.0 else 0.0
        rho = (rho_bar**2 + beta**2) ** 0.5
        cosine, sine = rho_bar / rho, beta / rho
        x.add_(w, alpha=cosine * phi / rho)
        phi, rho_bar, n = sine * phi, -cosine * alpha, n + 1
        if alpha * abs(cosine) <= torch.finfo(x.dtype).eps * first:
            break
        v.div_(alpha * beta)
        torch.sub(v, w, alpha=sine * alpha / rho, out=w)
    return Solution(x, n, phi / size)


def _require_limits(tolerance: float, max_iterations: int) -> None:
    if not (tolerance >= 0.0 and max_iterations >= 1):
        raise ParameterInvalid(
            f"The solver was given tolerance {tolerance:g} and {max_iterations} iterations; expected a tolerance of 0 "
            "or more and at least one iteration."
        )


def _dot(x: Tensor, y: Tensor) -> float:
    return float(torch.dot(x.reshape(-1), y.reshape(-1)))  # no product of a whole volume is held
