"""Stored numbers to phase in radians, judged from their range; GE's slices and sign."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid

TWO_PI = 2.0 * math.pi
NEAR = 0.02
"""How far from its ends a range may fall short, as a share of a turn, and still be known."""
FEW_TURNS = 3.0 * math.pi
"""Radians up to which phase beyond ±π is taken for phase that some filter moved."""
WHOLE = 0.9
"""Share of a turn that a phase in radians spans at least where it has wraps."""
JUMP = 0.75
"""Share of a turn by which two neighbours differ where there is a wrap between them."""
JUMPS = 1e-3
"""Share of neighbours with a wrap between them above which a phase is wrapped."""
FULL = 2e-3
"""Share of the voxels that every eighth of a phase's range holds; the ends of a field's range are outliers."""
ASKEW = 2.0
"""How much farther from the top than from the bottom of the range jumps may end; those at the edge of a bright object
begin in the noise at the very bottom and end at all heights."""


def wrap(phase: Tensor) -> Tensor:
    """Phase [rad] modulo 2π, from −π up to π."""
    return torch.remainder(phase + math.pi, TWO_PI) - math.pi


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
            raise ParameterInvalid(
                f"The phase range is {low:g} to {high:g}; expected two rising numbers.", option="phase_range"
            )
        slope = TWO_PI / (high - low)
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
    ("radians, ±π", -math.pi, math.pi, 1.0, 0.0, True),
    ("radians, 0 to 2π", 0.0, TWO_PI, 1.0, 0.0, True),
    ("12 bits, 0 to 4095", 0.0, 4096.0, math.pi / 2048.0, -math.pi, True),
    ("13 bits, −4096 to 4095", -4096.0, 4096.0, math.pi / 4096.0, 0.0, True),
    ("12 bits, −2048 to 2047", -2048.0, 2048.0, math.pi / 2048.0, 0.0, True),
    ("thousandths of a radian", -1000.0 * math.pi, 1000.0 * math.pi, 1e-3, 0.0, False),
    ("degrees, ±180", -180.0, 180.0, math.pi / 180.0, 0.0, False),
    ("degrees, 0 to 360", 0.0, 360.0, math.pi / 180.0, 0.0, False),
)
"""Name, lowest and highest number, slope and intercept of what scanners write, and whether nothing but phase fills such
a range; a total field in Hz may fill the others."""
UNWRAPPED = "radians, unwrapped already"


def detect_scaling(values: Tensor) -> PhaseScaling:
    """Decide from their range how the stored numbers of a phase (..., x, y, z) become radians; NaN are left out.

    Known are ±π, 0 to 2π, 0 to 4095, ±4096, ±2048, thousandths of a radian and degrees; any other range that is
    symmetric about zero and filled as wrapped phase fills it, or over which neighbours jump as at wraps, is stretched
    to ±π (headers with a slope that is not to be trusted). Radians beyond ±π are taken modulo 2π: with certainty up to
    ±3π where they have wraps, else as unwrapped already. Raises FieldInvalid when the numbers are constant, look like
    a magnitude, or have a range that nothing is known about.
    """
    seen = values[torch.isfinite(values)].double()
    if seen.numel() == 0 or float(seen.amax()) == float(seen.amin()):
        raise FieldInvalid("The phase is constant or nowhere finite; is it the phase image?", option="field")
    known = _known(seen)
    if known is not None:
        return known[0]
    low, high = float(seen.amin()), float(seen.amax())
    said, span, top = f"The phase ranges from {low:g} to {high:g}", high - low, max(-low, high)
    if low < 0.0 and abs(low + high) <= NEAR * span and _fills(seen) and top < math.pi:
        return _stretched(low, high)
    if top <= FEW_TURNS and span >= WHOLE * TWO_PI:
        beyond = top > math.pi * (1.0 + NEAR)
        if beyond and _jumps(values, TWO_PI)[2] <= JUMPS:
            return PhaseScaling(UNWRAPPED, 1.0, 0.0, sure=False)
        return PhaseScaling("radians, beyond ±π" if beyond else "radians, not a full turn", 1.0, 0.0, sure=beyond)
    if _has_wraps(values, low, high):
        return _stretched(low, high)
    if top <= FEW_TURNS:
        return PhaseScaling("radians, not a full turn", 1.0, 0.0, sure=False)
    if low >= 0.0:
        raise FieldInvalid(
            f"{said}, which looks like a magnitude. Give the phase image, or say which numbers stand for −π and π "
            "(for radians that are unwrapped already, −3.14159 and 3.14159).",
            option="phase_range",
        )
    if not bool((seen == seen.round()).all()) and top <= 50.0 * TWO_PI:
        return PhaseScaling(UNWRAPPED, 1.0, 0.0, sure=False)
    raise FieldInvalid(
        f"{said}, which no scanner is known to write. Say which numbers stand for −π and π.", option="phase_range"
    )


def recognised(values: Tensor) -> PhaseScaling | None:
    """How numbers (..., x, y, z) of which nobody says what they are become radians, None unless they are wrapped phase.

    A range that nothing else fills is enough; over any other, neighbours have to jump as they do at wraps, and phase
    has to be all over it, as it is not in a field or a magnitude. Voxels of zero or NaN are background.
    """
    seen = values[torch.isfinite(values) & (values != 0)].double()
    if seen.numel() == 0 or float(seen.amax()) == float(seen.amin()):
        return None
    known = _known(seen)
    if known is not None and known[1]:
        return known[0]
    low, high = float(seen.amin()), float(seen.amax())
    full = float(torch.histc(seen, 8, low, high).amin()) >= FULL * seen.numel()
    if not full or not _has_wraps(values, low, high):
        return None
    return known[0] if known is not None else _stretched(low, high)


def _known(seen: Tensor) -> tuple[PhaseScaling, bool] | None:
    """The known range that numbers fill, and whether nothing but phase does."""
    low, high = float(seen.amin()), float(seen.amax())
    for name, first, last, slope, intercept, alone in KNOWN:
        margin = NEAR * (last - first)
        if abs(low - first) <= margin and abs(high - last) <= margin and _fills(seen):
            return PhaseScaling(name, slope, intercept), alone
    return None


def _stretched(low: float, high: float) -> PhaseScaling:
    """From −π to π, for a range of an unknown unit; zero stays where it is when that is the middle."""
    middle = 0.0 if abs(low + high) <= NEAR * (high - low) else 0.5 * (low + high)
    slope = TWO_PI / (high - low)
    return PhaseScaling(f"unknown unit, {low:g} to {high:g}", slope, 0.0 - slope * middle, sure=False)


def _fills(seen: Tensor) -> bool:
    """Whether numbers spread over their range as phase does, even (0.29 of the range) or in smooth regions."""
    return float(seen.std()) > 0.1 * float(seen.amax() - seen.amin())


def _has_wraps(values: Tensor, low: float, high: float) -> bool:
    """Whether neighbours (..., x, y, z) jump from one end of a range to the other as at wraps, not as at an edge."""
    lower, upper, share = _jumps(values, high - low)
    return share > JUMPS and float(high - upper.mean()) <= ASKEW * float(lower.mean() - low)


def _jumps(values: Tensor, turn: float) -> tuple[Tensor, Tensor, float]:
    """Lower and upper numbers of the neighbours (..., x, y, z) that differ by nearly a turn or more, and their share.

    The edge of a mask, outside which all is zero, is no jump. Numbers with fewer axes have no neighbours.
    """
    inside = torch.where(values == 0, torch.nan, values.double())
    lower, upper, n_pairs = [], [], 0
    for axis in (-3, -2, -1) if values.ndim >= 3 else ():
        n = values.shape[axis] - 1
        a, b = inside.narrow(axis, 0, n), inside.narrow(axis, 1, n)
        step = (a - b).abs()
        jumps = step >= JUMP * turn
        lower.append(torch.minimum(a, b)[jumps])
        upper.append(torch.maximum(a, b)[jumps])
        n_pairs += int(torch.isfinite(step).sum())
    found = torch.cat(lower) if lower else inside.new_zeros(0)
    return found, torch.cat(upper) if upper else found, found.numel() / max(1, n_pairs)


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
    # The second is for noise, which is like its neighbours along no axis.
    return bool(together < -0.1 * within and together < -0.1 * signal.abs().square().sum())


def unalternate(signal: Tensor, axis: int = -1) -> Tensor:
    """The complex signal with every other slice along `axis` negated: (..., x, y, z) to the same."""
    sign = torch.ones(signal.shape[axis], device=signal.device)
    sign[1::2] = -1.0
    return signal * sign.view([-1 if a == axis % signal.ndim else 1 for a in range(signal.ndim)])


def set_right(phase: Tensor, magnitude: Tensor) -> tuple[Tensor, list[int]]:
    """Phase [rad] (..., x, y, z) without the sign of every other slice, and the axes, -3 to -1, along which it changed.

    All axes are tried: a converter may have turned the image so that the slices lie along another than the third.
    """
    finite = torch.isfinite(phase) & torch.isfinite(magnitude)
    signal = torch.polar(torch.where(finite, magnitude, 0.0), torch.where(finite, phase, 0.0))
    found = [axis for axis in (-3, -2, -1) if alternates(signal, axis)]
    for axis in found:
        signal = unalternate(signal, axis)
    return (torch.where(finite, signal.angle(), phase) if found else phase), found
