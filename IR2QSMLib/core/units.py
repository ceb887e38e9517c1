"""Units: ppm, mm, s, T and rad inside the library; files in other units are converted once, when they are read."""

from __future__ import annotations

import math

from IR2QSMLib.core.errors import ParameterInvalid

GYROMAGNETIC_RATIO = 42.576
"""Proton gyromagnetic ratio over 2π [MHz/T], which is also [Hz/ppm] per tesla."""

FIELD_UNITS = ("ppm", "ppb", "hz", "rad", "rad/s", "t")
"""Units of a field: relative, frequency, phase at an echo time, angular frequency, tesla."""

B0_RANGE = (0.01, 25.0)
"""Lowest and highest field strength of scanners [T]."""
TE_RANGE = (2e-5, 0.25)
"""Shortest and longest echo time [s], ultrashort ones included."""

_UNIT_SYNONYMS = {
    "hertz": "hz",
    "radian": "rad",
    "radians": "rad",
    "rad*s-1": "rad/s",
    "rads-1": "rad/s",
    "radians/s": "rad/s",
    "rad/sec": "rad/s",
    "tesla": "t",
}


def field_unit(text: str) -> str | None:
    """The unit among `FIELD_UNITS` that a text such as BIDS' `Units` names; None if it names another one."""
    word = "".join(text.lower().split()).replace("^", "").replace("⁻¹", "-1")
    word = _UNIT_SYNONYMS.get(word, word)
    return word if word in FIELD_UNITS else None


def hz_per_ppm(b0: float) -> float:
    """Frequency [Hz] of a field shift of 1 ppm at `b0` [T], γ·B0; raises ParameterInvalid outside `B0_RANGE`."""
    low, high = B0_RANGE
    if not low <= b0 <= high:
        raise ParameterInvalid(
            f"B0 is {b0:g} T; expected {low:g} to {high:g} T. Give the field strength in tesla.", option="b0"
        )
    return GYROMAGNETIC_RATIO * b0


def require_echo_time(echo_time: float) -> None:
    """Raise ParameterInvalid unless an echo time [s] lies within `TE_RANGE`."""
    low, high = TE_RANGE
    if not low <= echo_time <= high:
        raise ParameterInvalid(
            f"TE is {echo_time:g} s; expected {low:.5f} to {high:g} s. Give the echo time in seconds, not "
            "milliseconds.",
            option="te",
        )


def ppm_per_unit(unit: str, b0: float | None = None, echo_time: float | None = None) -> float:
    """Factor that converts a field in `unit` to ppm.

    ppm = Hz / (γ·B0), ppm = rad / (2π·γ·B0·TE), ppm = (rad/s) / (2π·γ·B0), ppm = 10⁶ T / B0.

    Parameters
    ----------
    unit
        One of `FIELD_UNITS`.
    b0
        Field strength [T], for all units but ppm and ppb.
    echo_time
        Echo time [s], for rad.

    Raises
    ------
    ParameterInvalid
        When the unit is unknown, or a B0 or echo time that it needs is missing or out of range.
    """
    if unit not in FIELD_UNITS:
        raise ParameterInvalid(f"The field unit is '{unit}'; expected one of {', '.join(FIELD_UNITS)}.", option="units")
    if unit in ("ppm", "ppb"):
        return 1.0 if unit == "ppm" else 1e-3
    if b0 is None:
        raise ParameterInvalid(f"A field in {unit} needs the field strength; give B0 in tesla (--b0).", option="b0")
    hz = hz_per_ppm(b0)
    if unit == "hz":
        return 1.0 / hz
    if unit == "rad/s":
        return 1.0 / (2.0 * math.pi * hz)
    if unit == "t":
        return 1e6 / b0
    if echo_time is None:
        raise ParameterInvalid("A field in rad needs the echo time; give TE in seconds (--te).", option="te")
    require_echo_time(echo_time)
    return 1.0 / (2.0 * math.pi * hz * echo_time)
