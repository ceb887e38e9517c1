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
    return 1e-4


def medi_strength(field: LocalField, rad_per_ppm: float) -> float:
    return 1000.0
