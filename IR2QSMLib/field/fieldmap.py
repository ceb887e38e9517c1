"""From the phase of one echo or more to the local field, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Phase, TotalField
from IR2QSMLib.field.background import BackgroundRemoval, radii_on
from IR2QSMLib.field.checks import FieldChecks
from IR2QSMLib.field.echoes import EchoCombination, EchoFit, correct_bipolar
from IR2QSMLib.field.mask import MagnitudeMask, beside_wraps, phase_quality, remove_poor_surface
from IR2QSMLib.field.unwrapping import PathUnwrapping
from IR2QSMLib.field.vsharp import VSharp

Unwrapping = Callable[[Phase, Tensor, Progress], Tensor]
"""A phase and a mask (x, y, z) to the unwrapped phase [rad]: (echo, x, y, z)."""


@dataclass(frozen=True)
class FieldMaps:
    """The local field and the maps of the steps before it."""

    total: TotalField
    """δB/B0 [ppm] of all sources, its standard error and the mask that was used."""
    local: LocalField
    """δB/B0 [ppm] of the sources inside, and the mask in which it is known."""
    unwrapped: Tensor
    """Phase [rad]: (echo, x, y, z)."""
    offset: Tensor
    """Phase [rad] that does not grow with TE: (x, y, z)."""
    residual: Tensor
    """What the fit misses of the signal, as a share of it: (x, y, z)."""
    quality: Tensor
    """Coherence of the phase with its neighbours, 0 to 1, zero outside the mask: (x, y, z)."""
    warnings: list[str] = field(default_factory=list)
    """Sentences for the user."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Steps, their parameters and what they chose, for the provenance."""


def describe(step: object) -> dict[str, Any]:
    """A step by its name and its parameters, for the provenance."""
    parameters = {name: describe(value) if is_dataclass(value) else value for name, value in vars(step).items()}
    return {"name": type(step).__name__, **parameters}


def phase_to_local_field(
    phase: Phase,
    *,
    masking: MagnitudeMask = MagnitudeMask(),
    unwrapping: Unwrapping = PathUnwrapping(),
    fit: EchoFit = EchoFit(),
    background: BackgroundRemoval = VSharp(),
    max_relative_noise: float = 5.0,
    progress: Progress = silent,
) -> FieldMaps:
    """Unwrap the phase, combine the echoes and remove the background.

    Voxels without a finite phase and a positive magnitude are left out and counted. Poor voxels at the mask's surface
    are left out of the background removal: near air a few of them, wrongly unwrapped, spoil the field of all others.

    Parameters
    ----------
    phase : Phase
        [rad]; with the user's mask, where there is one.
    masking : MagnitudeMask
        Makes the mask, where the user has none.
    unwrapping : callable
        An `Unwrapping`.
    fit : EchoFit
        Combines the echoes.
    background : callable
        A `BackgroundRemoval`.
    max_relative_noise : float
        Standard error of the total field, over its median, above which a voxel is poor; infinity for any.
    progress : callable
        Called with the fraction done and the stage.

    Returns
    -------
    FieldMaps
        The local field [ppm] and the maps of the steps before it.

    Raises
    ------
    MaskInvalid
        When no voxel is left.
    ParameterInvalid
        Unless max_relative_noise ≥ 1; of a bipolar readout, unless three echoes or more are evenly spaced.

    References
    ----------
    QSM Consensus Organization Committee 2024, Magn Reson Med, doi 10.1002/mrm.30006.
    """
    if not max_relative_noise >= 1.0:
        raise ParameterInvalid(f"The largest relative noise is {max_relative_noise:g}; expected 1 or more.")
    progress(0.0, "mask")
    initial_mask = phase.mask if phase.mask is not None else masking(phase)
    mask = initial_mask & _has_signal(phase)
    if not bool(mask.any()):
        raise MaskInvalid(
            "No voxel of the mask has a finite phase and a magnitude above zero; give another mask.", option="mask"
        )
    n_without_phase = int((initial_mask & ~mask).sum())
    notes: dict[str, Any] = {
        "mask": "given" if phase.mask is not None else {**vars(masking)},
        "n_voxels_without_phase": n_without_phase,
        "n_echoes": phase.n_echoes,
        "unwrapping": describe(unwrapping),
        "fit": {**vars(fit)},
        "background": describe(background),
    }
    if phase.n_echoes == 1:
        notes["offset"] = "not removed: a single echo"
    phase = _with_zeros_for_missing(phase)
    if phase.bipolar:
        phase, notes["bipolar_rad_and_rad_per_mm"] = correct_bipolar(phase, mask)
    quality = torch.where(mask, phase_quality(phase), 0.0)
    unwrapped = unwrapping(phase, mask, part_of(progress, 0.05, 0.7))
    progress(0.7, "echo combination")
    combined = fit(phase, unwrapped, mask)
    reliable_mask = _reliable_mask(combined, unwrapped, max_relative_noise)
    local = background(_centred(combined.field, reliable_mask), part_of(progress, 0.75, 1.0))
    checks = FieldChecks.of_maps(phase, unwrapped, combined, local)
    warnings = checks.warnings()
    if n_without_phase:
        warnings.insert(0, f"{n_without_phase} voxels of the mask have no phase and were left out.")
    noise = combined.field.noise
    notes |= {
        "radii_mm": radii_on(background, reliable_mask, phase.grid),
        "snr": checks.snr if checks.snr < float("inf") else None,
        "signal_noise": combined.signal_noise,
        "field_noise_ppm": 0.0 if noise is None else float(noise[mask].median()),
        "n_voxels_unreliable": int(combined.misfit.sum()),
        "wraps_left": checks.wraps_left,
        "residual_background": checks.residual_background,
        "n_voxels": {
            "mask": int(mask.sum()),
            "reliable_mask": int(reliable_mask.sum()),
            "effective_mask": int(local.mask.sum()),
        },
    }
    return FieldMaps(combined.field, local, unwrapped, combined.offset, combined.residual, quality, warnings, notes)


def _is_finite(phase: Phase) -> Tensor:
    """Voxels with finite phase and magnitude in every echo, bool: (x, y, z)."""
    return torch.isfinite(phase.values).all(0) & torch.isfinite(phase.magnitude).all(0)


def _has_signal(phase: Phase) -> Tensor:
    """Voxels with finite phase and positive magnitude in every echo, bool: (x, y, z)."""
    return _is_finite(phase) & (phase.magnitude > 0).all(0)


def _with_zeros_for_missing(phase: Phase) -> Phase:
    finite = _is_finite(phase)
    return replace(
        phase, values=torch.where(finite, phase.values, 0.0), magnitude=torch.where(finite, phase.magnitude, 0.0)
    )


def _reliable_mask(combined: EchoCombination, unwrapped: Tensor, max_relative_noise: float) -> Tensor:
    """The mask without voxels at its surface that are noisy, beside wraps or missed by the fit; raises MaskInvalid."""
    mask, noise = combined.field.mask, combined.field.noise
    # The difference of two echoes is free of the coils' phase.
    phase = unwrapped[0] if len(unwrapped) == 1 else unwrapped[1] - unwrapped[0]
    poor = combined.misfit | beside_wraps(phase, mask)
    if noise is not None:
        poor = poor | (noise > max_relative_noise * noise[mask].median())
    reliable = remove_poor_surface(mask, poor)
    if not bool(reliable.any()):
        raise MaskInvalid(
            "The fit over the echoes misses the signal everywhere in the mask; check the echo times.", option="te"
        )
    return reliable


def _centred(field: TotalField, mask: Tensor) -> TotalField:
    """A total field with zero median in its mask, restricted to another mask (x, y, z).

    The scanner's centre frequency is arbitrary, and a constant is what PDF explains worst.
    """
    values = torch.where(mask, field.values - field.values[field.mask].median(), 0.0)
    noise = None if field.noise is None else torch.where(mask, field.noise, 0.0)
    return TotalField(values, mask, field.grid, noise)
