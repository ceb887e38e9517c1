"""Inversions by division in k-space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.options import AUTO, number_or_auto, option
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.regularisation import Regularisation, require_regularisation, tkd_threshold
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.spectrum import estimate_spectrum


@dataclass(frozen=True)
class TruncatedDivision:
    """Thresholded k-space division, TKD (Shmueli 2009, doi 10.1002/mrm.22135).

    χ = F⁻¹[F f / D], with D replaced by sign(D)·t where |D| ≤ t, and 0 at k = 0. Raises ParameterInvalid
    unless 0 < t < 2/3.
    """

    threshold: Regularisation = option(0.15, "on the dipole kernel", parse=number_or_auto, metavar="t|auto")
    """t, dimensionless, or "auto" to follow what of the field no susceptibility explains."""

    def __post_init__(self) -> None:
        if self.threshold == AUTO:
            return
        if isinstance(self.threshold, str) or not 0.0 < self.threshold < 2.0 / 3.0:
            shown = self.threshold if isinstance(self.threshold, str) else f"{self.threshold:g}"
            raise ParameterInvalid(f"The TKD threshold is {shown}; expected a number between 0 and 2/3, or {AUTO}.")

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        threshold = tkd_threshold(estimate_spectrum(field)[0]) if self.threshold == AUTO else float(self.threshold)
        d = dipole_kernel(field.grid, field.values.device)
        sign = torch.where(d >= 0, 1.0, -1.0)
        inverse = 1.0 / torch.where(d.abs() > threshold, d, sign * threshold)
        inverse[0, 0, 0] = 0.0
        return replace(_divided(inverse, field), notes={"threshold": threshold})


@dataclass(frozen=True)
class Tikhonov:
    """Least squares with an L2 penalty on χ: χ = F⁻¹[D F f / (D² + λ)].

    (Bilgic 2014, doi 10.1002/mrm.25029, gives the closed form.) With "auto", λ is that of Wiener's filter at every
    frequency, read off the field (`physics.spectrum`). Raises ParameterInvalid unless λ > 0.
    """

    regularisation: Regularisation = option(
        0.01, "of the penalty", parse=number_or_auto, metavar="λ|auto", old_names=("strength",)
    )
    """λ, dimensionless, or "auto" to follow what of the field no susceptibility explains."""

    def __post_init__(self) -> None:
        require_regularisation("Tikhonov", self.regularisation)

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        if self.regularisation == AUTO:
            spectrum, chi = estimate_spectrum(field)
            return Susceptibility(
                chi, notes={"regularisation": spectrum.mean_regularisation, "spectrum": spectrum.to_dict()}
            )
        d, regularisation = dipole_kernel(field.grid, field.values.device), float(self.regularisation)
        return replace(_divided(d / (d.square() + regularisation), field), notes={"regularisation": regularisation})


def _divided(inverse: Tensor, field: LocalField) -> Susceptibility:
    chi = ifft(inverse * fft(field.values), field.grid.shape)
    return Susceptibility(torch.where(field.mask, chi, 0.0))
