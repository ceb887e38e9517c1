"""Units: ppm, mm, s, T and rad inside the library; conversion happens once, on reading."""

from __future__ import annotations

import math

from IR2QSMLib.core.errors import ParameterInvalid

GYROMAGNETIC_RATIO = 42.576
"""Proton gyromagnetic ratio over 2π [MHz/T], which is also [Hz/ppm] per tesla."""

FIELD_UNITS = ("ppm", "hz", "rad")


def hz_per_ppm(b0: float) -> float:
    """Frequency [Hz] of a relative field shift of 1 ppm at `b0` [T]: γ·B0."""
    if not 0.01 <= b0 <= 25.0:
        raise ParameterInvalid(f"B0 is {b0:g} T; expected 0.01 to 25 T. Give the field strength in tesla.")
    return GYROMAGNETIC_RATIO * b0


def ppm_per_unit(unit: str, b0: float | None = None, echo_time: float | None = None) -> float:
    """Factor that turns a field in `unit` into ppm.

    ppm = Hz / (γ·B0) and ppm = rad / (2π·γ·B0·TE), with γ in MHz/T, B0 in T and TE in s.

    Raises ParameterInvalid when the unit is unknown, or a B0 or echo time that it needs is missing or out
    of range (TE 0.5 to 100 ms).
    """
    if unit not in FIELD_UNITS:
        raise ParameterInvalid(f"The field unit is '{unit}'; expected one of {', '.join(FIELD_UNITS)}.")
    if unit == "ppm":
        return 1.0
    if b0 is None:
        raise ParameterInvalid(f"A field in {unit} needs the field strength; give B0 in tesla (--b0).")
    if unit == "hz":
        return 1.0 / hz_per_ppm(b0)
    if echo_time is None:
        raise ParameterInvalid("A field in rad needs the echo time; give TE in seconds (--te).")
    if not 0.0005 <= echo_time <= 0.1:
        raise ParameterInvalid(
            f"TE is {echo_time:g} s; expected 0.0005 to 0.1 s. Give the echo time in seconds, not milliseconds."
        )
    return 1.0 / (2.0 * math.pi * hz_per_ppm(b0) * echo_time)
