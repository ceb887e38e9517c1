"""When the steps on the field end: a map leaves only discrepancy, by its power in the cone of the dipole kernel."""

from __future__ import annotations

from torch import Tensor

from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.fourier import fft


def power_in_cone(residual: Tensor, kernel: Tensor) -> float:
    """Power in the cone |D| < `SETTINGS.cone_threshold`, where a field holds next to no χ.

    Parameters
    ----------
    residual : Tensor
        What a map leaves of the field [ppm]: (x, y, z).
    kernel : Tensor
        D: (x, y, z/2 + 1).

    Returns
    -------
    float
        Sum of |F r|² over the half spectrum [ppm²].
    """
    return float(fft(residual)[kernel.abs() < SETTINGS.cone_threshold].abs().square().sum())


def is_discrepancy(power: float, previous_power: float) -> bool:
    """Whether the residual in the cone is discrepancy, as a step on the field left most of it.

    What the mask's edge spreads over the cone is explained step by step; a discrepancy is not
    (docs/experiments/2026-11-30-whole-brain.md).

    Parameters
    ----------
    power, previous_power : float
        Power in the cone after the step and before it [ppm²].
    """
    return power > SETTINGS.remaining_cone_power * previous_power
