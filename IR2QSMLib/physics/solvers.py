"""Conjugate gradients for operators that are plain callables; the solver knows nothing of fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent


class Solution(NamedTuple):
    """The result of a solver, and how far it came."""

    x: Tensor
    n_iterations: int
    relative_residual: float
    """‖b − A x‖ / ‖b‖ of the x that is returned, from the recurrence."""


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    *,
    start: Tensor | None = None,
    tolerance: float,
    max_iterations: int,
    progress: Progress = silent,
) -> Solution:
    """Solve A x = b for a symmetric positive semidefinite A by conjugate gradients.

    Ends when ‖b − A x‖ ≤ tolerance·‖b‖, after `max_iterations`, or where A has no positive curvature along the next
    direction.

    Parameters
    ----------
    apply : callable
        A, from a real tensor to one of the same shape.
    rhs : Tensor
        b, any shape.
    start : Tensor or None
        The first x; zero when None.
    tolerance : float
        Largest relative residual.
    max_iterations : int
        At least one.
    progress : callable
        Called with the fraction of the iterations and "solving" before each.

    Returns
    -------
    Solution
        The x of least residual of all iterations.

    Raises
    ------
    ParameterInvalid
        Unless tolerance ≥ 0 and max_iterations ≥ 1.

    References
    ----------
    Hestenes and Stiefel 1952, J Res Natl Bur Stand, doi 10.6028/jres.049.044.
    """
    if not (tolerance >= 0.0 and max_iterations >= 1):
        raise ParameterInvalid(
            f"The solver has tolerance {tolerance:g} and {max_iterations} iterations; expected a tolerance of 0 or "
            "more and at least one iteration."
        )
    rhs_norm = _dot(rhs, rhs) ** 0.5
    if rhs_norm == 0.0:
        return Solution(torch.zeros_like(rhs), 0, 0.0)
    x = torch.zeros_like(rhs) if start is None else start.clone()
    residual = rhs.clone() if start is None else rhs - apply(start)
    square = _dot(residual, residual)
    best, best_square, n = x, square, 0
    spare = torch.empty_like(x)
    direction = residual.clone()
    while n < max_iterations and square**0.5 > tolerance * rhs_norm:
        progress(n / max_iterations, "solving")
        image = apply(direction)
        curvature = _dot(direction, image)
        if not curvature > 0.0:
            break
        # The residual does not fall in every iteration: `best` must outlive those that follow.
        x = torch.add(x, direction, alpha=square / curvature, out=spare if x is best else x)
        residual.sub_(image, alpha=square / curvature)
        previous_square, square, n = square, _dot(residual, residual), n + 1
        if square < best_square:
            best, best_square, spare = x, square, best
        torch.add(residual, direction, alpha=square / previous_square, out=direction)
    return Solution(best, n, best_square**0.5 / rhs_norm)


def _dot(x: Tensor, y: Tensor) -> float:
    return float(torch.dot(x.reshape(-1), y.reshape(-1)))  # no product of two volumes is stored
