"""How strongly to regularise: a number, or what the noise found in the field asks for.

The rules were fitted to the best XSIM of simulated heads of seeds 900 to 950 at power SNRs from 4 to noise-free; what
is left at no noise stands for the errors of the model, above all the field outside the mask.
"""

from __future__ import annotations

import math

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.physics.noise import noise_share
from IR2QSMLib.volumes import LocalField

AUTO = "auto"
Strength = float | str
"""A fixed λ, or `AUTO`."""


def require_strength(method: str, strength: Strength) -> None:
    """Raise ParameterInvalid unless the strength is a positive number or `AUTO`."""
    if strength == AUTO or (isinstance(strength, int | float) and 0.0 < strength < math.inf):
        return
    shown = strength if isinstance(strength, str) else f"{strength:g}"
    raise ParameterInvalid(f"The {method} strength is {shown}; expected a positive number, or {AUTO}.")


def tikhonov_strength(field: LocalField) -> float:
    """λ = 0.0035 + 0.1·q^0.7, q the share of noise in the field's power."""
    return 0.0035 + 0.1 * noise_share(field) ** 0.7


def tv_strength(field: LocalField, free: bool) -> float:
    """λ [ppm·mm]: 0.114·s·(q + 0.0001)^0.7 where the field outside the mask is free, else s·(0.016 + 0.05·√q).

    s is the field's root mean square [ppm].
    """
    share, size = noise_share(field), _size(field)
    return 0.114 * size * (share + 1e-4) ** 0.7 if free else size * (0.016 + 0.05 * share**0.5)


def medi_strength(field: LocalField, rad_per_ppm: float) -> float:
    """λ [1/(rad·mm)] = 4.4/(s·(q + 0.001)^0.7), s the field's root mean square [rad per echo spacing]."""
    return 4.4 / (_size(field) * rad_per_ppm * (noise_share(field) + 1e-3) ** 0.7)


def _size(field: LocalField) -> float:
    """Root mean square of the field in the mask [ppm]; not zero, or no strength could follow it."""
    return max(float(field.values[field.mask].double().square().mean()) ** 0.5, 1e-9)
