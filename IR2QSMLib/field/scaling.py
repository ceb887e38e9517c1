"""Stored numbers to phase in radians, judged from their range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid

TWO_PI = 2.0 * math.pi
RANGE_TOLERANCE = 0.02
"""Share of its width by which a range may miss the ends of a known one, or symmetry about zero."""
MAX_FILTERED_PHASE = 3.0 * math.pi
"""|phase| [rad] that filters after the scanner reach; what lies beyond is not taken for wrapped radians."""
MIN_WRAPPED_SPAN = 0.9
"""Share of 2π that a phase in radians spans at least where it has wraps."""
WRAP_STEP = 0.75
"""Share of 2π by which two neighbours differ at least where there is a wrap between them."""
MIN_WRAPS = 1e-3
"""Share of the pairs of neighbours with a wrap between them above which a phase is wrapped."""
MIN_BIN = 2e-3
"""Share of the voxels that each eighth of a phase's range holds at least; a field's range ends in outliers."""
MAX_ASYMMETRY = 2.0
"""Jumps of wrapped phase go from the bottom of its range to the top. The distance of their upper ends from the top may
be this many times that of their lower ends from the bottom; at the edge of a bright object they end at all heights."""
UNWRAPPED = "radians, unwrapped already"


def wrap(phase: Tensor) -> Tensor:
    """Phase [rad] modulo 2π, from −π up to π."""
    return torch.remainder(phase + math.pi, TWO_PI) - math.pi


@dataclass(frozen=True)
class PhaseScaling:
    """How stored numbers v become radians, φ = slope·v + intercept modulo 2π; `str()` writes it as a sentence.

    Raises
    ------
    ParameterInvalid
        When the slope is zero or a number is not finite.
    """

    name: str
    """What the numbers seem to be."""
    slope: float
    """[rad]"""
    intercept: float = 0.0
    """[rad]"""
    needs_confirmation: bool = False
    """Whether a person should confirm it, as no scanner is known to write such a range."""
    unit_is_known: bool = True
    """Whether the numbers have a unit, and are not stretched from their range to ±π."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope != 0.0 and math.isfinite(self.intercept)):
            raise ParameterInvalid(
                f"The phase scaling has slope {self.slope:g} and intercept {self.intercept:g}; expected finite numbers "
                "and a slope that is not zero."
            )

    @classmethod
    def from_range(cls, low: float, high: float) -> PhaseScaling:
        """The scaling of a user who knows which numbers stand for −π (`low`) and π (`high`).

        Raises
        ------
        ParameterInvalid
            Unless low < high, both finite.
        """
        if not (math.isfinite(low) and math.isfinite(high) and high > low):
            raise ParameterInvalid(
                f"The phase range is {low:g} to {high:g}; expected two rising numbers.", option="phase_range"
            )
        slope = TWO_PI / (high - low)
        return cls("range from the user", slope, -slope * 0.5 * (low + high))

    def __call__(self, stored: Tensor) -> Tensor:
        """Stored numbers to wrapped phase [rad], any shape."""
        stored = stored if stored.is_floating_point() else stored.float()
        return wrap(self.slope * stored + self.intercept)

    def __str__(self) -> str:
        suffix = "; to be confirmed" if self.needs_confirmation else ""
        return f"{self.name}: phase = {self.slope:.6g}·value{self.intercept:+.6g} rad{suffix}"


class KnownRange(NamedTuple):
    """A range of numbers that scanners write for phase."""

    low: float
    high: float
    scaling: PhaseScaling
    is_only_phase: bool = True
    """Whether nothing but phase fills such a range; a total field in Hz may fill the others."""


KNOWN_RANGES = (
    KnownRange(-math.pi, math.pi, PhaseScaling("radians, ±π", 1.0)),
    KnownRange(0.0, TWO_PI, PhaseScaling("radians, 0 to 2π", 1.0)),
    KnownRange(0.0, 4096.0, PhaseScaling("12 bits, 0 to 4095", math.pi / 2048.0, -math.pi)),
    KnownRange(-4096.0, 4096.0, PhaseScaling("13 bits, −4096 to 4095", math.pi / 4096.0)),
    KnownRange(-2048.0, 2048.0, PhaseScaling("12 bits, −2048 to 2047", math.pi / 2048.0)),
    KnownRange(-1000.0 * math.pi, 1000.0 * math.pi, PhaseScaling("thousandths of a radian", 1e-3), False),
    KnownRange(-180.0, 180.0, PhaseScaling("degrees, ±180", math.pi / 180.0), False),
    KnownRange(0.0, 360.0, PhaseScaling("degrees, 0 to 360", math.pi / 180.0), False),
)


def detect_scaling(stored: Tensor) -> PhaseScaling:
    """Decide from their range how the stored numbers of a phase become radians.

    A known range (`KNOWN_RANGES`) is scaled as the scanner means it. Any other that is symmetric about zero and filled
    as phase fills it, or over which neighbours jump as at wraps, is stretched to ±π: headers have slopes that are not
    to be trusted. Radians beyond ±π are wrapped where they have wraps, else taken as unwrapped already.

    Parameters
    ----------
    stored : Tensor
        In any unit, NaN left out: (..., x, y, z).

    Returns
    -------
    PhaseScaling
        Whether a person should confirm it stands in `needs_confirmation`.

    Raises
    ------
    FieldInvalid
        When the numbers are constant, look like a magnitude, or have a range of which nothing is known.
    """
    finite = stored[torch.isfinite(stored)].double()
    if _is_constant(finite):
        raise FieldInvalid("The phase is constant or nowhere finite; is it the phase image?", option="field")
    known = _find_known_range(finite)
    if known is not None:
        return known.scaling
    low, high = float(finite.amin()), float(finite.amax())
    span, largest = high - low, max(-low, high)
    is_symmetric = low < 0.0 and abs(low + high) <= RANGE_TOLERANCE * span
    if is_symmetric and _is_filled(finite) and largest < math.pi:
        return _stretched_to_pi(low, high)
    part_of_period = PhaseScaling("radians, less than 2π", 1.0, needs_confirmation=True)
    if largest <= MAX_FILTERED_PHASE and span >= MIN_WRAPPED_SPAN * TWO_PI:
        if largest <= math.pi * (1.0 + RANGE_TOLERANCE):
            return part_of_period
        if _find_jumps(stored, TWO_PI).share <= MIN_WRAPS:
            return PhaseScaling(UNWRAPPED, 1.0, needs_confirmation=True)
        return PhaseScaling("radians, beyond ±π", 1.0)
    if _has_wraps(stored, low, high):
        return _stretched_to_pi(low, high)
    if largest <= MAX_FILTERED_PHASE:
        return part_of_period
    if low >= 0.0:
        raise FieldInvalid(
            f"The phase ranges from {low:g} to {high:g}, which looks like a magnitude. Give the phase image, or say "
            "which numbers stand for −π and π (for radians that are unwrapped already, −3.14159 and 3.14159).",
            option="phase_range",
        )
    if not bool((finite == finite.round()).all()) and largest <= 50.0 * TWO_PI:
        return PhaseScaling(UNWRAPPED, 1.0, needs_confirmation=True)
    raise FieldInvalid(
        f"The phase ranges from {low:g} to {high:g}, which no scanner is known to write. Say which numbers stand for "
        "−π and π.",
        option="phase_range",
    )


def recognise_wrapped_phase(stored: Tensor) -> PhaseScaling | None:
    """The scaling of an image of unknown kind if its numbers are wrapped phase.

    A range that only phase fills is enough. Over any other, neighbours have to jump as at wraps, and all of the range
    has to be filled, as it is not in a field or a magnitude.

    Parameters
    ----------
    stored : Tensor
        In any unit, zero and NaN left out: (..., x, y, z).

    Returns
    -------
    PhaseScaling or None
        None for anything but wrapped phase.
    """
    foreground = stored[torch.isfinite(stored) & (stored != 0)].double()
    if _is_constant(foreground):
        return None
    known = _find_known_range(foreground)
    if known is not None and known.is_only_phase:
        return known.scaling
    low, high = float(foreground.amin()), float(foreground.amax())
    fills_each_bin = float(torch.histc(foreground, 8, low, high).amin()) >= MIN_BIN * foreground.numel()
    if not fills_each_bin or not _has_wraps(stored, low, high):
        return None
    return known.scaling if known is not None else _stretched_to_pi(low, high)


def _is_constant(values: Tensor) -> bool:
    return values.numel() == 0 or float(values.amax()) == float(values.amin())


def _find_known_range(values: Tensor) -> KnownRange | None:
    low, high = float(values.amin()), float(values.amax())
    for known in KNOWN_RANGES:
        margin = RANGE_TOLERANCE * (known.high - known.low)
        if abs(low - known.low) <= margin and abs(high - known.high) <= margin and _is_filled(values):
            return known
    return None


def _stretched_to_pi(low: float, high: float) -> PhaseScaling:
    """±π for a range in an unknown unit; zero stays zero when it is nearly the middle."""
    middle = 0.0 if abs(low + high) <= RANGE_TOLERANCE * (high - low) else 0.5 * (low + high)
    slope = TWO_PI / (high - low)
    name = f"unknown unit, {low:g} to {high:g}"
    return PhaseScaling(name, slope, 0.0 - slope * middle, needs_confirmation=True, unit_is_known=False)


def _is_filled(values: Tensor) -> bool:
    """Whether numbers spread over their range as phase does, evenly (σ = 0.29 of the range) or in smooth regions."""
    return float(values.std()) > 0.1 * float(values.amax() - values.amin())


def _has_wraps(stored: Tensor, low: float, high: float) -> bool:
    """Whether neighbours (..., x, y, z) jump from one end of the range to the other, unlike at an object's edge."""
    jumps = _find_jumps(stored, high - low)
    if jumps.share <= MIN_WRAPS:
        return False
    return float(high - jumps.upper.mean()) <= MAX_ASYMMETRY * float(jumps.lower.mean() - low)


class _Jumps(NamedTuple):
    """Pairs of neighbours with a wrap between them."""

    lower: Tensor
    """The lower number of each pair."""
    upper: Tensor
    """The higher number of each pair."""
    share: float
    """Share of such pairs among all."""


def _find_jumps(stored: Tensor, period: float) -> _Jumps:
    """Neighbours (..., x, y, z) that differ by nearly a period or more.

    Zero is the outside of a mask, whose edge is no jump. Numbers with fewer than three axes have no neighbours.
    """
    foreground = torch.where(stored == 0, torch.nan, stored.double())
    lower, upper, n_pairs = [foreground.new_zeros(0)], [foreground.new_zeros(0)], 0
    for axis in (-3, -2, -1) if stored.ndim >= 3 else ():
        n = stored.shape[axis] - 1
        first, second = foreground.narrow(axis, 0, n), foreground.narrow(axis, 1, n)
        step = (first - second).abs()
        is_jump = step >= WRAP_STEP * period
        lower.append(torch.minimum(first, second)[is_jump])
        upper.append(torch.maximum(first, second)[is_jump])
        n_pairs += int(torch.isfinite(step).sum())
    all_lower = torch.cat(lower)
    return _Jumps(all_lower, torch.cat(upper), all_lower.numel() / max(1, n_pairs))
