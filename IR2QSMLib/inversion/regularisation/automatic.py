"""How strongly to regularise: a number, or what the field's own spectrum asks for.

λ̄ is the mean of the λ(k) that `inversion.regularisation.spectrum` estimates from the field: the power of what no
susceptibility explains over that of χ. The rules were fitted to XSIM on the mismatch axis of seeds that serve nothing
else (docs/experiments/2026-11-30-spectrum.md), but for total variation with a field of zero outside the mask, whose
rule is still the one for white noise.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.options import AUTO
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.regularisation.spectrum import Spectrum, estimate_spectrum

Regularisation = float | str
"""A fixed λ, or `AUTO`."""


def require_regularisation(method: str, regularisation: Regularisation) -> None:
    """Raise ParameterInvalid unless the regularisation is a positive number or `AUTO`."""
    if regularisation == AUTO or (isinstance(regularisation, int | float) and 0.0 < regularisation < math.inf):
        return
    shown = regularisation if isinstance(regularisation, str) else f"{regularisation:g}"
    raise ParameterInvalid(
        f"The {method} regularisation is {shown}; expected a positive number, or {AUTO}.", option="regularisation"
    )


def centred_field(field: LocalField) -> tuple[LocalField, Spectrum]:
    """The field less its constant, which carries no information on χ, and its spectrum."""
    spectrum, _ = estimate_spectrum(field)
    return replace(field, values=torch.where(field.mask, field.values - spectrum.offset, 0.0)), spectrum


def tkd_threshold(spectrum: Spectrum) -> float:
    """t = 2.5·√λ̄, at most 0.6."""
    return min(2.5 * spectrum.mean_regularisation**0.5, 0.6)


def tv_regularisation(field: LocalField, spectrum: Spectrum, outside_is_free: bool) -> float:
    """λ [ppm·mm] of total variation: the RMS of a `centred_field` times 0.34·λ̄^0.7, or times 0.016 + 0.05·√λ̄.

    The first where the field outside the mask is free, the second where it counts as zero.
    """
    mean = spectrum.mean_regularisation
    return _rms(field) * (0.34 * mean**0.7 if outside_is_free else 0.016 + 0.05 * mean**0.5)


def medi_regularisation(field: LocalField, spectrum: Spectrum, rad_per_ppm: float) -> float:
    """λ [1/(rad·mm)] of MEDI: 0.44/λ̄^0.7 over the RMS of a `centred_field` [rad per echo spacing]."""
    return 0.44 / (_rms(field) * rad_per_ppm * spectrum.mean_regularisation**0.7)


def _rms(field: LocalField) -> float:
    """Root mean square in the mask [ppm]; positive, as a λ must be."""
    return max(float(field.values[field.mask].double().square().mean()) ** 0.5, 1e-9)
