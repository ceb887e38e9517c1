"""Inversions by division in k-space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.inversion.strength import AUTO, Strength, require_strength, tikhonov_strength
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.runtime import Progress, silent
from IR2QSMLib.volumes import LocalField, Susceptibility


@dataclass(frozen=True)
class TruncatedDivision:
    """Thresholded k-space division, TKD (Shmueli 2009, doi 10.1002/mrm.22135).

    χ = F⁻¹[F f / D], with D replaced by sign(D)·t where |D| ≤ t, and 0 at k = 0. Raises ParameterInvalid
    unless 0 < t < 2/3.
    """

    threshold: float = 0.15
    """t, dimensionless."""

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold < 2.0 / 3.0:
            raise ParameterInvalid(f"The TKD threshold is {self.threshold:g}; expected a number between 0 and 2/3.")

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        d = dipole_kernel(field.grid, field.values.device)
        sign = torch.where(d >= 0, 1.0, -1.0)
        inverse = 1.0 / torch.where(d.abs() > self.threshold, d, sign * self.threshold)
        inverse[0, 0, 0] = 0.0
        return _divided(inverse, field)


@dataclass(frozen=True)
class Tikhonov:
    """Least squares with an L2 penalty on χ: χ = F⁻¹[D F f / (D² + λ)].

    (Bilgic 2014, doi 10.1002/mrm.25029, gives the closed form.) Raises ParameterInvalid unless λ > 0.
    """

    strength: Strength = 0.01
    """λ, dimensionless, or "auto" to follow the noise found in the field."""

    def __post_init__(self) -> None:
        require_strength("Tikhonov", self.strength)

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        d = dipole_kernel(field.grid, field.values.device)
        strength = tikhonov_strength(field) if self.strength == AUTO else float(self.strength)
        return replace(_divided(d / (d.square() + strength), field), notes={"strength": strength})


def _divided(inverse: Tensor, field: LocalField) -> Susceptibility:
    chi = ifft(inverse * fft(field.values), field.grid.shape)
    return Susceptibility(torch.where(field.mask, chi, 0.0))
