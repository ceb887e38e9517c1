"""Stored numbers to phase in radians, judged from their range; GE's slices and sign."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.field.unwrapping import TURN, wrap
from IR2QSMLib.field.wraps import is_wrapped

NEAR = 0.02
"""How far from its ends a range may fall short, as a share of a turn, and still be known."""
FEW_TURNS = 3.0 * math.pi
"""Radians up to which phase beyond ±π is taken for phase that some filter moved."""


@dataclass(frozen=True)
class PhaseScaling:
    """How stored numbers become radians: φ = slope·v + intercept, modulo 2π; raises ParameterInvalid on a zero slope.

    Written as a sentence by `str()`.
    """

    name: str
    """What the numbers seem to be."""
    slope: float
    intercept: float = 0.0
    """[rad]"""
    sure: bool = True
    """Whether the range is one that scanners are known to write; otherwise it is to be confirmed by a person."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope != 0.0 and math.isfinite(self.intercept)):
            raise ParameterInvalid(
                f"The phase scaling has slope {self.slope:g} and intercept {self.intercept:g}; expected finite numbers "
                "and a slope that is not zero."
            )

    @classmethod
    def between(cls, low: float, high: float, name: str = "given range") -> PhaseScaling:
        """`low` stands for −π and `high` for π, as a user says who knows better."""
        if not (math.isfinite(low) and math.isfinite(high) and high > low):
            raise ParameterInvalid(f"The phase range is {low:g} to {high:g}; expected two rising numbers.")
        slope = TURN / (high - low)
        return cls(name, slope, -slope * 0.5 * (low + high))

    def flipped(self) -> PhaseScaling:
        """The same with the opposite sign, for scanners on which phase falls as the field grows."""
        return PhaseScaling(f"{self.name}, sign flipped", -self.slope, -self.intercept, self.sure)

    def __call__(self, values: Tensor) -> Tensor:
        """Stored numbers to phase [rad], wrapped: any shape."""
        values = values if values.is_floating_point() else values.float()
        return wrap(self.slope * values + self.intercept)

    def __str__(self) -> str:
        sure = "" if self.sure else "; to be confirmed"
        return f"{self.name}: phase = {self.slope:.6g}·value{self.intercept:+.6g} rad{sure}"


KNOWN = (
    ("radians, ±π", -math.pi, math.pi, 1.0, 0.0),
    ("radians, 0 to 2π", 0.0, TURN, 1.0, 0.0),
    ("12 bits, 0 to 4095", 0.0, 4096.0, math.pi / 2048.0, -math.pi),
    ("13 bits, −4096 to 4095", -4096.0, 4096.0, math.pi / 4096.0, 0.0),
    ("12 bits, −2048 to 2047", -2048.0, 2048.0, math.pi / 2048.0, 0.0),
    ("thousandths of a radian", -1000.0 * math.pi, 1000.0 * math.pi, 1e-3, 0.0),
    ("degrees, ±180", -180.0, 180.0, math.pi / 180.0, 0.0),
    ("degrees, 0 to 360", 0.0, 360.0, math.pi / 180.0, 0.0),
)
"""Name, lowest and highest number, slope and intercept of what scanners write."""


def detect_scaling(values: Tensor) -> PhaseScaling:
    """Decide from their range how stored numbers (..., x, y, z) become radians; NaN are left out.

    Known are ±π, 0 to 2π, 0 to 4095, ±4096, ±2048, thousandths of a radian and degrees; any other range that is
    symmetric about zero and filled as wrapped phase fills it, or across which neighbours jump, is stretched to ±π
    (headers with a slope that is not to be trusted). Radians beyond ±π are taken modulo 2π, up to ±3π with certainty.
    Raises FieldInvalid when the numbers are constant, look like a magnitude, or have a range that nothing is known
    about.
    """
    seen = values[torch.isfinite(values)].double()
    if seen.numel() == 0 or float(seen.amax()) == float(seen.amin()):
        raise FieldInvalid("The phase is constant or nowhere finite; is it the phase image?")
    low, high = float(seen.amin()), float(seen.amax())
    said = f"The phase ranges from {low:g} to {high:g}"
    for name, first, last, slope, intercept in KNOWN:
        margin = NEAR * (last - first)
        if abs(low - first) <= margin and abs(high - last) <= margin and _fills(seen, low, high):
            return PhaseScaling(name, slope, intercept)
    span = high - low
    if low < 0.0 and abs(low + high) <= NEAR * span and _fills(seen, low, high) and max(-low, high) < math.pi:
        return PhaseScaling(f"unknown unit, {low:g} to {high:g}", TURN / span, 0.0, sure=False)
    stretched = PhaseScaling(f"unknown unit, {low:g} to {high:g}", TURN / span, -math.pi * (low + high) / span, False)
    wrapped = is_wrapped(values)
    if wrapped and span < (1.0 - NEAR) * TURN:
        return stretched
    if max(abs(low), abs(high)) <= FEW_TURNS:
        beyond = max(abs(low), abs(high)) > math.pi * (1.0 + NEAR)
        return PhaseScaling("radians, beyond ±π" if beyond else "radians, not a full turn", 1.0, 0.0, sure=beyond)
    if wrapped:
        return stretched
    if low >= 0.0:
        raise FieldInvalid(
            f"{said}, which looks like a magnitude. Give the phase image, or say which numbers stand for −π and π."
        )
    if not bool((seen == seen.round()).all()) and max(-low, high) <= 50.0 * TURN:
        return PhaseScaling("radians, unwrapped already", 1.0, 0.0, sure=False)
    raise FieldInvalid(f"{said}, which no scanner is known to write. Say which numbers stand for −π and π.")


def _fills(seen: Tensor, low: float, high: float) -> bool:
    """Whether numbers spread over their range as phase does, even (0.29 of the range) or in smooth regions."""
    return float(seen.std()) > 0.1 * (high - low)


def alternates(signal: Tensor, axis: int = -1) -> bool:
    """Whether every other slice along `axis` of a complex signal (..., x, y, z) is negated, as GE stores it."""
    n = signal.shape[axis] - 1
    if n < 1:
        return False
    together = (signal.narrow(axis, 1, n) * signal.narrow(axis, 0, n).conj()).sum().real
    within = sum(
        (signal.narrow(a, 1, signal.shape[a] - 1) * signal.narrow(a, 0, signal.shape[a] - 1).conj()).sum().real.abs()
        for a in (-3, -2, -1)
        if a != axis and signal.shape[a] > 1
    )
    return bool(together < -0.1 * within)


def alternating(signal: Tensor) -> int | None:
    """The axis, −1 to −3, along which every other slice of a complex signal (..., x, y, z) is negated, if any."""
    return next((axis for axis in (-1, -2, -3) if alternates(signal, axis)), None)


def unalternate(signal: Tensor, axis: int = -1) -> Tensor:
    """The complex signal with every other slice along `axis` negated: (..., x, y, z) to the same."""
    sign = torch.ones(signal.shape[axis], device=signal.device)
    sign[1::2] = -1.0
    return signal * sign.view([-1 if a == axis % signal.ndim else 1 for a in range(signal.ndim)])


def from_real_imaginary(real: Tensor, imaginary: Tensor, ge: bool = False) -> tuple[Tensor, Tensor]:
    """Phase [rad] and magnitude of real and imaginary parts (..., x, y, z).

    With `ge`, slices that alternate are set right and the sign of the phase is turned, which on GE's scanners falls as
    the field grows.
    """
    signal = torch.complex(real.float(), imaginary.float())
    axis = alternating(signal) if ge else None
    if axis is not None:
        signal = unalternate(signal, axis)
    return (-signal.angle() if ge else signal.angle()), signal.abs()
