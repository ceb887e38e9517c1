"""Iterative solvers: they take plain callables and know nothing of fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.runtime import Progress, silent


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
    if not (tolerance >= 0.0 and max_iterations >= 1):
        raise ParameterInvalid(
            f"The solver was given tolerance {tolerance:g} and {max_iterations} iterations; expected a tolerance of 0 "
            "or more and at least one iteration."
        )
    size = _dot(rhs, rhs) ** 0.5
    if size == 0.0:
        return Solution(torch.zeros_like(rhs), 0, 0.0)
    x = torch.zeros_like(rhs) if start is None else start.clone()
    residual = rhs.clone() if start is None else rhs - apply(start)
    square = _dot(residual, residual)
    best, best_square, n = x, square, 0
    direction = residual.clone()
    while n < max_iterations and square**0.5 > tolerance * size:
        progress(n / max_iterations, "solving")
        image = apply(direction)
        curvature = _dot(direction, image)
        if not curvature > 0.0:
            break
        # The residual falls by jumps, not steadily: what `best` holds must outlive the steps that follow.
        x = torch.add(x, direction, alpha=square / curvature)
        residual.sub_(image, alpha=square / curvature)
        before, square, n = square, _dot(residual, residual), n + 1
        if square < best_square:
            best, best_square = x, square
        direction.mul_(square / before).add_(residual)
    return Solution(best, n, best_square**0.5 / size)


def _dot(x: Tensor, y: Tensor) -> float:
    return float((x * y).sum())
