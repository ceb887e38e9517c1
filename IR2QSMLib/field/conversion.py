"""From what a scanner stored to phase in radians that grows with the field: scaling, GE's slices, sign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.grid import AXES
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.alternating_slices import undo_alternating_slices
from IR2QSMLib.field.coils import combine_coils
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
        scaling = self._scaling(acquisition, warnings)
        notes: dict[str, Any] = {"scaling": str(scaling or "angle of real and imaginary parts")}
        if acquisition.coils:
            undo_slices = is_ge or not acquisition.manufacturer
            signals = [partial(_signal_of, coil, scaling, undo_slices) for coil in acquisition.coils]
            values, magnitude = combine_coils(signals, acquisition.echo_times, acquisition.b0, acquisition.grid)
            notes["n_coils_combined"] = len(signals)
        else:
            values, magnitude = _phase_and_magnitude(acquisition, scaling)
        if acquisition.volumes:
            notes["n_volumes_averaged"] = len(acquisition.volumes)
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
                    "manufacturer is known: nothing was corrected. If it is GE, say --manufacturer GE."
                )
        if self.flip_sign:
            values = -values
        notes["sign"] = {"turned_as_manufacturer_is_ge": is_ge, "turned_by_user": self.flip_sign}
        phase = Phase(
            values, magnitude, acquisition.echo_times, acquisition.b0, acquisition.grid, mask, bipolar=self.bipolar
        )
        return phase, notes, warnings

    def _scaling(self, acquisition: Acquisition, warnings: list[str]) -> PhaseScaling | None:
        """How stored phase becomes radians, None of real and imaginary parts; appends to the warnings."""
        if "phase" not in acquisition.kinds:
            _require_signed_parts(acquisition)
            return None
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
        return scaling


def _phase_and_magnitude(acquisition: Acquisition, scaling: PhaseScaling | None) -> tuple[Tensor, Tensor]:
    """Phase [rad] and magnitude, of several volumes those of the complex mean: (echo, x, y, z)."""
    if acquisition.volumes:
        mean = torch.zeros((), dtype=torch.complex64)
        for volume in acquisition.volumes:
            phase, magnitude = _phase_and_magnitude(replace(volume, volumes=()), scaling)
            mean = mean + torch.polar(magnitude, phase) / len(acquisition.volumes)
        return mean.angle(), mean.abs()
    if scaling is not None:
        return scaling(acquisition.values_of("phase")), acquisition.values_of("magnitude")
    signal = torch.complex(acquisition.values_of("real"), acquisition.values_of("imaginary"))
    return signal.angle(), signal.abs()


def _signal_of(coil: Acquisition, scaling: PhaseScaling | None, undo_slices: bool) -> Tensor:
    """The complex signal of one coil, 0 where it is not finite: (echo, x, y, z)."""
    phase, magnitude = _phase_and_magnitude(coil, scaling)
    if undo_slices:
        phase, _ = undo_alternating_slices(phase, magnitude)
    finite = torch.isfinite(phase) & torch.isfinite(magnitude)
    return torch.polar(torch.where(finite, magnitude, 0.0), torch.where(finite, phase, 0.0))


def _require_signed_parts(acquisition: Acquisition) -> None:
    """Raise FieldInvalid when a real or an imaginary part has no negative number, as a magnitude has none."""
    for kind in ("real", "imaginary"):
        if not bool((acquisition.values_of(kind) < 0).any()):
            name = next(echo.name for echo in acquisition.echoes if echo.kind == kind)
            raise FieldInvalid(
                f"The {kind} part {name} holds no negative number; is it a magnitude? Give the {kind} part with "
                f"--{kind}.",
                option=kind,
            )


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
