"""How strongly to regularise: a number, or what the field's own spectrum asks for.

λ̄ is the mean regularisation that `physics.spectrum` reads off the field's cone: the power of what no susceptibility
explains over that of χ. The rules were fitted to XSIM on the mismatch axis of seeds that serve nothing else
(docs/experiments/2026-11-30-spectrum.md).
"""

from __future__ import annotations

import math

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.options import AUTO
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.spectrum import Spectrum, estimate_spectrum

Regularisation = float | str
"""A fixed λ, or `AUTO`."""


def require_regularisation(method: str, regularisation: Regularisation) -> None:
    """Raise ParameterInvalid unless the regularisation is a positive number or `AUTO`."""
    if regularisation == AUTO or (isinstance(regularisation, int | float) and 0.0 < regularisation < math.inf):
        return
    shown = regularisation if isinstance(regularisation, str) else f"{regularisation:g}"
    raise ParameterInvalid(f"The {method} regularisation is {shown}; expected a positive number, or {AUTO}.")


def tkd_threshold(spectrum: Spectrum) -> float:
    """t = 2.5·√λ̄, 0.6 at the most."""
    return min(2.5 * spectrum.mean_regularisation**0.5, 0.6)


def tv_regularisation(field: LocalField, free: bool) -> float:
    """λ [ppm·mm] of total variation, the field's RMS times 0.34·λ̄^0.7 where the field outside the mask is `free`."""
    spectrum, _ = estimate_spectrum(field)
    mean = spectrum.mean_regularisation
    return _size(field, spectrum) * (0.34 * mean**0.7 if free else 0.016 + 0.05 * mean**0.5)


def medi_regularisation(field: LocalField, rad_per_ppm: float) -> float:
    """λ [1/(rad·mm)] of MEDI: 0.44/λ̄^0.7 over the field's RMS [rad per echo spacing]."""
    spectrum, _ = estimate_spectrum(field)
    return 0.44 / (_size(field, spectrum) * rad_per_ppm * spectrum.mean_regularisation**0.7)


def _size(field: LocalField, spectrum: Spectrum) -> float:
    """Root mean square in the mask of the field less its constant [ppm]; not zero, so that λ can follow."""
    return max(float((field.values[field.mask].double() - spectrum.offset).square().mean()) ** 0.5, 1e-9)
