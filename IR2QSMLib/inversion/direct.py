"""Inversions by division in k-space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.options import AUTO, number_or_auto, option
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.regularisation.automatic import (
    Regularisation,
    centred_field,
    require_regularisation,
    tkd_threshold,
)
from IR2QSMLib.inversion.regularisation.spectrum import estimate_spectrum
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft


@dataclass(frozen=True)
class TruncatedDivision:
    """Thresholded k-space division (TKD), χ = F⁻¹[F f / D] with sign(D)·t in place of D where |D| ≤ t, 0 at k = 0.

    With "auto", the field's constant is taken out first.

    Raises
    ------
    ParameterInvalid
        Unless 0 < t < 2/3.

    References
    ----------
    Shmueli et al. 2009, Magn Reson Med, doi 10.1002/mrm.22135.
    """

    threshold: Regularisation = option(
        0.15, "on the dipole kernel", parse=number_or_auto, metavar="t|auto", limits=(0.0, 2.0 / 3.0)
    )
    """t, dimensionless, or "auto" to follow what of the field no susceptibility explains."""

    def __post_init__(self) -> None:
        if self.threshold == AUTO:
            return
        if isinstance(self.threshold, str) or not 0.0 < self.threshold < 2.0 / 3.0:
            shown = self.threshold if isinstance(self.threshold, str) else f"{self.threshold:g}"
            raise ParameterInvalid(
                f"The TKD threshold is {shown}; expected a number between 0 and 2/3, or {AUTO}.", option="threshold"
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        notes: dict[str, Any] = {}
        if self.threshold == AUTO:
            field, spectrum = centred_field(field)
            threshold = tkd_threshold(spectrum)
            notes["field_offset_ppm"] = round(spectrum.offset, 6)
        else:
            threshold = float(self.threshold)
        d = dipole_kernel(field.grid, field.values.device)
        sign = torch.where(d >= 0, 1.0, -1.0)
        inverse = 1.0 / torch.where(d.abs() > threshold, d, sign * threshold)
        inverse[0, 0, 0] = 0.0
        return Susceptibility(_filtered(inverse, field), notes={"threshold": threshold, **notes})


@dataclass(frozen=True)
class Tikhonov:
    """Least squares with an L2 penalty on χ in closed form, χ = F⁻¹[D F f / (D² + λ)].

    With "auto", the field's constant is taken out and λ is that of Wiener's filter at every frequency, estimated from
    the field (`inversion.regularisation.spectrum`).

    Raises
    ------
    ParameterInvalid
        Unless λ > 0.

    References
    ----------
    Bilgic et al. 2014, Magn Reson Med, doi 10.1002/mrm.25029.
    """

    regularisation: Regularisation = option(
        0.01, "of the penalty", parse=number_or_auto, metavar="λ|auto", limits=(0.0, None), old_names=("strength",)
    )
    """λ, dimensionless, or "auto" to follow what of the field no susceptibility explains."""

    def __post_init__(self) -> None:
        require_regularisation("Tikhonov", self.regularisation)

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        if self.regularisation == AUTO:
            spectrum, chi = estimate_spectrum(field)
            notes = {
                "regularisation": spectrum.mean_regularisation,
                "field_offset_ppm": round(spectrum.offset, 6),
                "spectrum": spectrum.to_dict(),
            }
            return Susceptibility(chi, notes=notes)
        d, regularisation = dipole_kernel(field.grid, field.values.device), float(self.regularisation)
        chi = _filtered(d / (d.square() + regularisation), field)
        return Susceptibility(chi, notes={"regularisation": regularisation})


def _filtered(inverse: Tensor, field: LocalField) -> Tensor:
    """m·F⁻¹[inverse · F f] [ppm]: (x, y, z)."""
    return torch.where(field.mask, ifft(inverse * fft(field.values), field.grid.shape), 0.0)
