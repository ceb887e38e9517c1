"""The lights of a map: what its numbers mean, in plain words, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from IR2QSMLib.field.sign import FLIPPED_BALANCE
from IR2QSMLib.physics.cone import BANDS
from IR2QSMLib.pipeline.quality import QualityNumbers
from IR2QSMLib.report.map_page import BAD, GOOD, LOOK, UNKNOWN, Light

JUDGED_BAND = 2
"""Number of the band of `physics.cone.BANDS` by which the SNR is judged, wavelengths of 5 to 10 mm."""


@dataclass(frozen=True)
class LightRule:
    """How one number becomes a light. The limits come from simulated heads with planted faults (docs/quality.md)."""

    name: str
    number: Callable[[QualityNumbers], float | None]
    look: float
    """From here on a person should look."""
    bad: float
    """From here on the map should not be used as it is; below `look` where small numbers are bad."""
    finding: Callable[[float, QualityNumbers], str]
    """What was found, in a sentence."""
    advice: str
    needs: str
    """What the number is read from, for maps that come without it."""

    def level(self, value: float | None) -> str:
        """One of `report.map_page.LEVELS`."""
        if value is None:
            return UNKNOWN
        rising = self.bad > self.look
        if (value >= self.bad) if rising else (value <= self.bad):
            return BAD
        return LOOK if ((value >= self.look) if rising else (value <= self.look)) else GOOD

    def light(self, numbers: QualityNumbers) -> Light:
        """The light of a map."""
        value = self.number(numbers)
        level = self.level(value)
        if value is None:
            return Light(self.name, level, f"It is read from {self.needs}; there was none.")
        return Light(self.name, level, self.finding(value, numbers), "" if level == GOOD else self.advice)


def lights(numbers: QualityNumbers) -> list[Light]:
    """All lights of a map, in the order of `RULES`."""
    return [rule.light(numbers) for rule in RULES]


def _percent(share: float) -> str:
    return f"{100.0 * share:.2g} %"


def _by_band(numbers: QualityNumbers) -> str:
    known = [(band, value) for band, value in zip(BANDS, numbers.band_snr or (), strict=False) if value is not None]
    return ", ".join(f"{value:.2g} at {1.0 / high:.3g} to {1.0 / low:.3g} mm" for (low, high), value in known)


FROM_PHASE, FROM_FIELD, FROM_MAP = "a run from phase", "the local field that was inverted", "the map"
RULES = (
    LightRule(
        "noise",
        lambda n: n.snr,
        16.0,
        8.0,
        lambda v, n: f"The signal of the first echo is {v:.0f} times the noise.",
        "Trust large regions only, or invert with --regularisation auto; scan longer or in larger voxels.",
        FROM_PHASE,
    ),
    LightRule(
        "SNR by band",
        lambda n: n.snr_in_band(JUDGED_BAND),
        1.5,
        1.2,
        lambda v, n: f"Power of what susceptibility explains of the field over that of the rest: {_by_band(n)}.",
        "Trust structures of the better bands only.",
        FROM_FIELD,
    ),
    LightRule(
        "discrepancy",
        lambda n: n.discrepancy_share,
        0.31,
        0.38,
        lambda v, n: f"About {_percent(v)} of the field's power fits no susceptibility.",
        "Look for motion, flow and a mask that is too large; compare methods.",
        FROM_FIELD,
    ),
    LightRule(
        "streaks",
        lambda n: n.highest_cone_index,
        1.4,
        4.5,
        lambda v, n: f"The cone index is {v:.2g}; anatomy has about 1.",
        "Compare with tikhonov and --regularisation auto; look at the mask.",
        FROM_MAP,
    ),
    LightRule(
        "wraps",
        lambda n: n.wraps,
        0.0018,
        0.013,
        lambda v, n: f"{_percent(v)} of the neighbours in the unwrapped first echo differ by more than π.",
        "Look for implants, for air in the mask, and whether the phase was interpolated before it came here.",
        FROM_PHASE,
    ),
    LightRule(
        "fit over the echoes",
        lambda n: n.misfit_share,
        0.02,
        0.12,
        lambda v, n: f"In {_percent(v)} of the mask the fit over the echoes misses the signal.",
        "Look for motion, check the echo times, and whether the phase was interpolated before it came here.",
        FROM_PHASE,
    ),
    LightRule(
        "mask lost",
        lambda n: n.mask_lost,
        0.27,
        0.46,
        lambda v, n: f"Background removal took {_percent(v)} of the mask.",
        "Look for holes in the mask, and for air or skull in it; --background lbv keeps more.",
        FROM_PHASE,
    ),
    LightRule(
        "background left",
        lambda n: n.background,
        0.024,
        0.17,
        lambda v, n: f"{_percent(v)} of the local field's power is smooth, as sources outside make it.",
        "If the field is a total one, say so with --input total-field; else look at the mask or change --background.",
        FROM_FIELD,
    ),
    LightRule(
        "sign",
        lambda n: n.sign_balance,
        -0.3,
        FLIPPED_BALANCE,
        lambda v, n: f"What is strongest is {'para' if v > 0.0 else 'dia'}magnetic (balance {v:+.2f}).",
        "Veins and iron should be bright; if they are dark, turn the sign with --flip-sign.",
        f"strong sources in {FROM_FIELD}, in the mask of a brain",
    ),
    LightRule(
        "range",
        lambda n: n.extreme_chi,
        0.6,
        3.0,
        lambda v, n: f"A thousandth of the mask is beyond ±{v:.2g} ppm.",
        "Look for implants, bleeding, and air in the mask; check the field's unit, B0 and echo times.",
        FROM_MAP,
    ),
)
"""In the order of the page. Motion has no light of its own: it shows in the fit over the echoes."""
