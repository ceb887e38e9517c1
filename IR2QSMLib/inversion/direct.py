"""Inversions by division in k-space."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.inversion.strength import AUTO, Strength, require_strength, tikhonov_strength
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, frequencies, ifft
from IR2QSMLib.physics.noise import noise_share
from IR2QSMLib.runtime import Progress, silent
from IR2QSMLib.volumes import LocalField, Susceptibility

K0 = 0.25
"""The frequency at which the gradient's penalty counts once [cycles/mm]."""


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


@dataclass(frozen=True)
class GradientTikhonov:
    """Iterated Tikhonov regularisation with a penalty on the gradient that follows the noise in the field.

    χ ← χ + F⁻¹[D/(D² + λ(k)) · F(m·(f − D∗χ))], `n_steps` times from an estimate or from zero, m the mask,
    λ(k) = floor + per_noise · q · (|k|/k₀)², q the share of noise in the field's power (`noise_share`), k₀ a quarter
    cycle a millimetre: noise is white and anatomy is not, so fine detail has to be the surer of the two. Each step is
    the closed form of Bilgic 2014 (doi 10.1002/mrm.25029); steps repeat it because the mask leaves some residual.
    Raises ParameterInvalid unless floor > 0, per_noise ≥ 0 and n_steps ≥ 1.
    """

    floor: float = 0.01
    per_noise: float = 4.0
    n_steps: int = 4

    def __post_init__(self) -> None:
        if not (0.0 < self.floor < math.inf and 0.0 <= self.per_noise < math.inf and self.n_steps >= 1):
            raise ParameterInvalid(
                f"Gradient Tikhonov was given floor {self.floor:g}, per_noise {self.per_noise:g} and {self.n_steps} "
                "steps; expected a positive floor, a factor of 0 or more, and at least one step."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        return Susceptibility(self.refine(torch.zeros_like(field.values), field))

    def refine(self, chi: Tensor, field: LocalField, share: float | None = None) -> Tensor:
        """Reconcile an estimate [ppm] with the measured field: (x, y, z) to the same, zero outside the mask.

        `share` is the field's `noise_share` where it is known already.
        """
        if share is None:
            share = noise_share(field) if self.per_noise > 0.0 else 0.0
        d = dipole_kernel(field.grid, chi.device)
        x, y, z = (f.to(chi.device, torch.float32) for f in frequencies(field.grid, chi.device))
        step = d / (d.square() + self.floor + self.per_noise * share * (x**2 + y**2 + z**2) / K0**2)
        for _ in range(self.n_steps):
            residual = torch.where(field.mask, field.values - ifft(d * fft(chi), field.grid.shape), 0.0)
            chi = torch.where(field.mask, chi + ifft(step * fft(residual), field.grid.shape), 0.0)
        return chi


def _divided(inverse: Tensor, field: LocalField) -> Susceptibility:
    chi = ifft(inverse * fft(field.values), field.grid.shape)
    return Susceptibility(torch.where(field.mask, chi, 0.0))
