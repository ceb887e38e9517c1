"""From the phase of one echo or more to the local field, each step in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.errors import MaskInvalid
from IR2QSMLib.field.background import Removal, VSharp
from IR2QSMLib.field.echoes import EchoFit, correct_bipolar
from IR2QSMLib.field.unwrapping import PathUnwrapping, wraps_left
from IR2QSMLib.runtime import Progress, part_of, silent
from IR2QSMLib.volumes import LocalField, Phase, TotalField

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
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """What was decided on the way, for the provenance."""


def local_field(
    phase: Phase,
    *,
    unwrapping: Unwrapping = PathUnwrapping(),
    fit: EchoFit = EchoFit(),
    background: Removal = VSharp(),
    progress: Progress = silent,
) -> FieldMaps:
    """Unwrap, combine the echoes and remove the background (ISMRM consensus 2024, doi 10.1002/mrm.30006).

    Raises MaskInvalid when no voxel is left to work on.
    """
    valid = torch.isfinite(phase.values).all(0) & torch.isfinite(phase.magnitude).all(0)
    mask = (phase.magnitude[0] > 0) if phase.mask is None else phase.mask
    mask = mask & valid
    if not bool(mask.any()):
        raise MaskInvalid("No voxel of the mask has a finite phase; give another mask.")
    phase = replace(
        phase, values=torch.where(valid, phase.values, 0.0), magnitude=torch.where(valid, phase.magnitude, 0.0)
    )
    notes: dict[str, Any] = {}
    if phase.bipolar:
        phase, notes["bipolar_phase"] = correct_bipolar(phase, mask)
    unwrapped = unwrapping(phase, mask, part_of(progress, 0.0, 0.7))
    combined = fit(phase, unwrapped, mask)
    notes["wraps_left"] = wraps_left(unwrapped[0], mask)
    local = background(combined.field, part_of(progress, 0.75, 1.0))
    assert_finite = math.isfinite(float(local.values.sum()))
    notes["finite"] = assert_finite
    return FieldMaps(combined.field, local, unwrapped, combined.offset, combined.residual, [], notes)
