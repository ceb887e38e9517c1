"""From what a scanner stored to phase in radians that grows with the field: scaling, GE's slices and sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.grid import AXES
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.scaling import UNWRAPPED, PhaseScaling, detect_scaling, set_right
from IR2QSMLib.io.acquisition import Acquisition

ALIKE = 0.9
"""Correlation with the magnitude above which a phase is taken for one."""


@dataclass(frozen=True)
class Conversion:
    """How stored numbers become phase, where a user knows better than the headers.

    `phase_range` are the numbers that stand for −π and π, `flip_sign` turns the phase on top of what is known of the
    manufacturer, `bipolar` says that even echoes were read out backwards.
    """

    phase_range: tuple[float, float] | None = None
    flip_sign: bool = False
    bipolar: bool = False

    def __call__(self, acquisition: Acquisition, mask: Tensor | None = None) -> tuple[Phase, dict[str, Any], list[str]]:
        """The phase of an acquisition, with the user's mask (x, y, z), what was decided, and warnings.

        Raises FieldInvalid when the phase is not one, or magnitude and phase were confused.
        """
        ge = acquisition.manufacturer.upper().startswith("GE")
        warnings = list(acquisition.notes)
        if "phase" in acquisition.kinds:
            values, magnitude, notes = self._from_phase(acquisition, warnings)
        else:
            signal = torch.complex(acquisition.part("real"), acquisition.part("imaginary"))
            values, magnitude, notes = signal.angle(), signal.abs(), {"scaling": "angle of real and imaginary parts"}
        if ge or not acquisition.manufacturer:
            mended, axes = set_right(values, magnitude)
            along = " and ".join(AXES[axis] for axis in axes)
            if ge:
                values = -mended
            if ge and axes:
                notes["ge_slices"] = f"every other slice along {along} negated"
            elif axes:
                warnings.append(
                    f"Every other slice along {along} seems to be negated, as GE's scanners store it, but no "
                    "manufacturer is known: nothing was set right. If it is GE, say so as Manufacturer in the sidecar."
                )
        if self.flip_sign:
            values = -values
        notes["sign"] = {"turned_as_manufacturer_is_ge": ge, "turned_by_user": self.flip_sign}
        phase = Phase(
            values, magnitude, acquisition.echo_times, acquisition.b0, acquisition.grid, mask, bipolar=self.bipolar
        )
        return phase, notes, warnings

    def _from_phase(self, acquisition: Acquisition, warnings: list[str]) -> tuple[Tensor, Tensor, dict[str, Any]]:
        stored, magnitude = acquisition.part("phase"), acquisition.part("magnitude")
        _require_apart(acquisition, stored, magnitude)
        scaling = detect_scaling(stored) if self.phase_range is None else PhaseScaling.between(*self.phase_range)
        if scaling.name == UNWRAPPED:
            warnings.append(
                "The phase is unwrapped already: it goes beyond ±π without a jump. It was taken for radians; if it is "
                "in another unit, give the numbers that stand for −π and π with --phase-range."
            )
        elif not scaling.sure:
            warnings.append(
                f"The phase was taken as {scaling.name}; if that is wrong, give the numbers that stand for −π and π "
                "with --phase-range."
            )
        return scaling(stored), magnitude, {"scaling": str(scaling)}


def _require_apart(acquisition: Acquisition, stored: Tensor, magnitude: Tensor) -> None:
    """Raise FieldInvalid when the magnitude holds negative numbers, or the phase is a second magnitude."""
    phase_name, magnitude_name = (
        next(e.name for e in acquisition.echoes if e.kind == kind) for kind in ("phase", "magnitude")
    )
    finite = torch.isfinite(stored) & torch.isfinite(magnitude)
    if bool((magnitude[finite] < 0).any()):
        raise FieldInvalid(
            f"The magnitude {magnitude_name} holds negative numbers; is it the phase? Give the magnitude."
        )
    a, b = (x[finite].double() for x in (stored, magnitude))
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    if size > 0.0 and float(a @ b) / size > ALIKE:
        raise FieldInvalid(f"The phase {phase_name} looks like the magnitude {magnitude_name}; give the phase image.")
