"""From the phase of one echo or more to the local field, each step in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Phase, TotalField
from IR2QSMLib.field.background import Removal, VSharp
from IR2QSMLib.field.checks import MISFIT, noise_floor, residual_background, warnings_of, wraps_left
from IR2QSMLib.field.echoes import EchoFit, correct_bipolar
from IR2QSMLib.field.mask import MagnitudeMask, beside_jumps, phase_quality, without_poor_surface
from IR2QSMLib.field.unwrapping import PathUnwrapping

Unwrapping = Callable[[Phase, Tensor, Progress], Tensor]
"""What every unwrapping is: a phase and a mask in, (echo, x, y, z) [rad] out."""


@dataclass(frozen=True)
class FieldMaps:
    """The local field and everything on the way to it."""

    total: TotalField
    """δB/B0 [ppm] of all sources, its noise map and the mask that was used."""
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
    notes: dict[str, Any] = field(default_factory=dict)
    """What was decided on the way, for the provenance."""

    @property
    def unreliable(self) -> Tensor:
        """Voxels of the mask whose fit misses more than 0.3 of the signal, bool: (x, y, z)."""
        return self.total.mask & (self.residual > MISFIT)


def told(step: object) -> dict[str, Any]:
    """A step by its name and its parameters, for the provenance."""
    return {"name": type(step).__name__} | {k: told(v) if is_dataclass(v) else v for k, v in vars(step).items()}


def local_field(
    phase: Phase,
    *,
    masking: MagnitudeMask = MagnitudeMask(),
    unwrapping: Unwrapping = PathUnwrapping(),
    fit: EchoFit = EchoFit(),
    background: Removal = VSharp(),
    most_noise: float = 5.0,
    progress: Progress = silent,
) -> FieldMaps:
    """Unwrap, combine the echoes and remove the background (ISMRM consensus 2024, doi 10.1002/mrm.30006).

    The user's mask is used where there is one, else `masking` makes it; voxels without a finite phase and magnitude
    are left out and counted. So are, from the background removal on, voxels at the mask's surface whose standard error
    exceeds `most_noise` medians, whose fit misses 0.3 of the signal, or that are beside a jump of the phase: near air
    cavities a few of them, wrongly unwrapped, spoil the field of all the others. Raises MaskInvalid when no voxel is
    left, and ParameterInvalid unless most_noise ≥ 1 (infinity keeps every voxel that the fit does not miss).
    """
    if not most_noise >= 1.0:
        raise ParameterInvalid(f"The most noise is {most_noise:g} medians; expected 1 or more.")
    progress(0.0, "mask")
    valid = torch.isfinite(phase.values).all(0) & torch.isfinite(phase.magnitude).all(0)
    given = phase.mask if phase.mask is not None else masking(phase)
    mask = given & valid & (phase.magnitude > 0).all(0)
    if not bool(mask.any()):
        raise MaskInvalid(
            "No voxel of the mask has a finite phase and a magnitude above zero; give another mask.", option="mask"
        )
    notes: dict[str, Any] = {
        "mask": "given" if phase.mask is not None else {**vars(masking)},
        "n_voxels_without_phase": int((given & ~mask).sum()),
        "n_echoes": phase.n_echoes,
        "unwrapping": told(unwrapping),
        "fit": {**vars(fit)},
        "background": told(background),
    }
    if phase.n_echoes == 1:
        notes["offset"] = "not removed: a single echo"
    phase = replace(
        phase, values=torch.where(valid, phase.values, 0.0), magnitude=torch.where(valid, phase.magnitude, 0.0)
    )
    if phase.bipolar:
        phase, notes["bipolar_rad_and_rad_per_mm"] = correct_bipolar(phase, mask)
    quality = torch.where(mask, phase_quality(phase), 0.0)
    unwrapped = unwrapping(phase, mask, part_of(progress, 0.05, 0.7))
    progress(0.7, "echo combination")
    combined = fit(phase, unwrapped, mask)
    # The scanner's centre frequency is arbitrary, and a constant is what PDF explains worst.
    centre = combined.field.values[mask].median()
    noise = combined.field.noise
    grown = unwrapped[0] if phase.n_echoes == 1 else unwrapped[1] - unwrapped[0]
    poor = (combined.residual > MISFIT) | beside_jumps(grown, mask)
    if noise is not None:
        poor = poor | (noise > most_noise * noise[mask].median())
    kept = without_poor_surface(mask, poor)
    if not bool(kept.any()):
        raise MaskInvalid(
            "The fit over the echoes misses the signal everywhere in the mask; check the echo times.", option="te"
        )
    values = torch.where(kept, combined.field.values - centre, 0.0)
    centred = TotalField(values, kept, phase.grid, None if noise is None else torch.where(kept, noise, 0.0))
    local = background(centred, part_of(progress, 0.75, 1.0))
    warnings = warnings_of(phase, mask, combined.signal_noise, unwrapped, combined.residual, local)
    if notes["n_voxels_without_phase"]:
        warnings.insert(0, f"{notes['n_voxels_without_phase']} voxels of the mask have no phase and were left out.")
    notes |= {
        "signal_noise": combined.signal_noise,
        "field_noise_ppm": noise_floor(combined.field),
        "n_voxels_unreliable": int((mask & (combined.residual > MISFIT)).sum()),
        "wraps_left": wraps_left(unwrapped[0], mask),
        "residual_background": residual_background(local),
        "n_voxels": {
            "mask": int(mask.sum()),
            "reliable_mask": int(kept.sum()),
            "effective_mask": int(local.mask.sum()),
        },
    }
    return FieldMaps(combined.field, local, unwrapped, combined.offset, combined.residual, quality, warnings, notes)
