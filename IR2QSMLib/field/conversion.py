"""From what a scanner stored to phase in radians that grows with the field: scaling, GE's slices, sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.grid import AXES
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.alternating_slices import undo_alternating_slices
from IR2QSMLib.field.scaling import UNWRAPPED, PhaseScaling, detect_scaling
from IR2QSMLib.io.acquisition import Acquisition

MAX_CORRELATION = 0.9
"""Correlation of phase and magnitude above which the phase is a second magnitude."""


@dataclass(frozen=True)
class PhaseConversion:
    """How stored numbers become phase, where a user knows better than the headers."""

    phase_range: tuple[float, float] | None = None
    """The numbers that stand for −π and π; None: judged from the range of the numbers."""
    flip_sign: bool = False
    """Negates the phase, in addition to what the manufacturer demands."""
    bipolar: bool = False
    """Whether even echoes were read out against the odd ones."""

    def __call__(self, acquisition: Acquisition, mask: Tensor | None = None) -> tuple[Phase, dict[str, Any], list[str]]:
        """Convert an acquisition.

        Parameters
        ----------
        acquisition : Acquisition
            Echoes of phase and magnitude, or of real and imaginary part.
        mask : Tensor or None
            The user's mask, bool: (x, y, z).

        Returns
        -------
        phase : Phase
            [rad], growing with the field.
        notes : dict
            Scaling, sign and slices, for the provenance.
        warnings : list of str
            Sentences for the user.

        Raises
        ------
        FieldInvalid
            When the phase is none, or magnitude and phase are confused.
        """
        is_ge = acquisition.manufacturer.upper().startswith("GE")
        warnings = list(acquisition.notes)
        if "phase" in acquisition.kinds:
            values, magnitude, scaling = self._scale_phase(acquisition, warnings)
        else:
            signal = torch.complex(acquisition.values_of("real"), acquisition.values_of("imaginary"))
            values, magnitude, scaling = signal.angle(), signal.abs(), "angle of real and imaginary parts"
        notes: dict[str, Any] = {"scaling": scaling}
        if is_ge or not acquisition.manufacturer:
            corrected, axes = undo_alternating_slices(values, magnitude)
            axis_names = " and ".join(AXES[axis] for axis in axes)
            if is_ge:
                values = -corrected  # GE's phase falls as the field grows
            if is_ge and axes:
                notes["ge_slices"] = f"every other slice along {axis_names} negated"
            elif axes:
                warnings.append(
                    f"Every other slice along {axis_names} seems to be negated, as GE's scanners store it, but no "
                    "manufacturer is known: nothing was corrected. If it is GE, say so as Manufacturer in the sidecar."
                )
        if self.flip_sign:
            values = -values
        notes["sign"] = {"turned_as_manufacturer_is_ge": is_ge, "turned_by_user": self.flip_sign}
        phase = Phase(
            values, magnitude, acquisition.echo_times, acquisition.b0, acquisition.grid, mask, bipolar=self.bipolar
        )
        return phase, notes, warnings

    def _scale_phase(self, acquisition: Acquisition, warnings: list[str]) -> tuple[Tensor, Tensor, str]:
        """Phase [rad], magnitude and the scaling as a sentence; appends to the warnings."""
        stored, magnitude = acquisition.values_of("phase"), acquisition.values_of("magnitude")
        _require_different_images(acquisition, stored, magnitude)
        scaling = detect_scaling(stored) if self.phase_range is None else PhaseScaling.from_range(*self.phase_range)
        if scaling.name == UNWRAPPED:
            warnings.append(
                "The phase is unwrapped already: it goes beyond ±π without a jump. It was taken for radians; if it is "
                "in another unit, give the numbers that stand for −π and π with --phase-range."
            )
        elif scaling.needs_confirmation:
            warnings.append(
                f"The phase was taken as {scaling.name}; if that is wrong, give the numbers that stand for −π and π "
                "with --phase-range."
            )
        return scaling(stored), magnitude, str(scaling)


def _require_different_images(acquisition: Acquisition, stored_phase: Tensor, magnitude: Tensor) -> None:
    """Raise FieldInvalid when the magnitude holds negative numbers, or the phase is a second magnitude."""
    phase_name, magnitude_name = (
        next(echo.name for echo in acquisition.echoes if echo.kind == kind) for kind in ("phase", "magnitude")
    )
    finite = torch.isfinite(stored_phase) & torch.isfinite(magnitude)
    if bool((magnitude[finite] < 0).any()):
        raise FieldInvalid(
            f"The magnitude {magnitude_name} holds negative numbers; is it the phase? Give the magnitude.",
            option="magnitude",
        )
    a, b = (x[finite].double() for x in (stored_phase, magnitude))
    a, b = a - a.mean(), b - b.mean()
    norms = float(a.norm() * b.norm())
    if norms > 0.0 and float(a @ b) / norms > MAX_CORRELATION:
        raise FieldInvalid(
            f"The phase {phase_name} looks like the magnitude {magnitude_name}; give the phase image.", option="field"
        )
