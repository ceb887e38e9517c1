"""GE stores every other slice of the complex signal negated; here that is recognised and undone."""

from __future__ import annotations

import torch
from torch import Tensor

SPATIAL_AXES = (-3, -2, -1)
MIN_ANTICORRELATION = 0.1
"""Slices alternate where neighbouring ones are correlated at less than minus this share of the signal's power and of
the correlation within a slice. Noise is correlated along no axis."""


def slices_alternate(signal: Tensor, axis: int = -1) -> bool:
    """Whether every other slice along an axis of a complex signal (..., x, y, z) is negated."""
    if signal.shape[axis] < 2:
        return False
    between_slices = _neighbour_correlation(signal, axis)
    within_slices = sum(
        _neighbour_correlation(signal, other).abs()
        for other in SPATIAL_AXES
        if other != axis and signal.shape[other] > 1
    )
    power = signal.abs().square().sum()
    return bool(between_slices < -MIN_ANTICORRELATION * within_slices and between_slices < -MIN_ANTICORRELATION * power)


def _neighbour_correlation(signal: Tensor, axis: int) -> Tensor:
    """Re Σ s(x+1)·s(x)* along an axis."""
    n = signal.shape[axis] - 1
    return (signal.narrow(axis, 1, n) * signal.narrow(axis, 0, n).conj()).sum().real


def negate_alternate_slices(signal: Tensor, axis: int = -1) -> Tensor:
    """The complex signal with every other slice along an axis negated: (..., x, y, z) to the same."""
    sign = torch.ones(signal.shape[axis], device=signal.device)
    sign[1::2] = -1.0
    return signal * sign.view([-1 if a == axis % signal.ndim else 1 for a in range(signal.ndim)])


def undo_alternating_slices(phase: Tensor, magnitude: Tensor) -> tuple[Tensor, list[int]]:
    """Phase without the sign of every other slice.

    All axes are tried, as a converter may have reoriented the image.

    Parameters
    ----------
    phase : Tensor
        [rad]: (..., x, y, z).
    magnitude : Tensor
        Any unit: (..., x, y, z).

    Returns
    -------
    phase : Tensor
        [rad], not finite where an input is not: (..., x, y, z).
    axes : list of int
        The axes, -3 to -1, along which slices alternated.
    """
    finite = torch.isfinite(phase) & torch.isfinite(magnitude)
    signal = torch.polar(torch.where(finite, magnitude, 0.0), torch.where(finite, phase, 0.0))
    axes = [axis for axis in SPATIAL_AXES if slices_alternate(signal, axis)]
    for axis in axes:
        signal = negate_alternate_slices(signal, axis)
    return (torch.where(finite, signal.angle(), phase) if axes else phase), axes
