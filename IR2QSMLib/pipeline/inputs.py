"""What `reconstruct` is given, image files or arrays, made a local field, the volumes beside it and a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from IR2QSMLib.core.errors import FieldInvalid, GridMismatch, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.io.bids import read_local_field
from IR2QSMLib.io.images import read_labels, read_mask, read_volume_on, require_size
from IR2QSMLib.physics.distance import distance_from
from IR2QSMLib.pipeline.preprocessed import PreprocessedField

Volume = Path | str | Tensor | np.ndarray
"""An image file, or an array (x, y, z) that comes with a Grid."""
REFERENCES = ("mean", "none")
LEAST_NARROWED = 0.01
"""Share of the mask from which on voxels at its edge whose field is 0 are taken for such without a field."""


def name_of(volume: Volume | PreprocessedField) -> str:
    """What messages and provenance call a volume: its file's name, or 'array'."""
    if isinstance(volume, PreprocessedField):
        return volume.name
    return Path(volume).name if isinstance(volume, Path | str) else "array"


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """An array as a tensor on the CPU; numpy's may be a reversed view or big-endian, which torch does not take."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    return torch.as_tensor(array).detach().cpu()


def read_field(
    field: Volume, mask: Volume | None, grid: Grid | None, labels: Sequence[int] | None
) -> tuple[LocalField, dict[str, Any]]:
    """A field, still in its own unit, with its mask, and the names of both for the provenance.

    Raises MaskInvalid, GridInvalid, GridMismatch, FileUnreadable, or ParameterInvalid for an array without a grid.
    """
    if mask is None:
        raise MaskInvalid(f"The field {name_of(field)} came without a mask; give the mask in which it was measured.")
    recovered = False
    if isinstance(field, Path | str):
        values, grid, recovered = read_local_field(Path(field))
    elif grid is None:
        raise ParameterInvalid("The field is an array without a grid; give grid=Grid(shape, voxel_size, ...).")
    else:
        values = as_tensor(field).to(torch.float32)
        if tuple(values.shape) != grid.shape:
            raise GridMismatch(f"The field has shape {tuple(values.shape)} and its grid {grid.shape}; expected one.")
    require_size(grid, name_of(field))
    if isinstance(mask, Path | str):
        inside = read_mask(mask, grid, name_of(field), labels)
    else:
        inside = _mask_of(as_tensor(mask), grid, labels)
    return LocalField(values, inside, grid, recovered=recovered), {"field": name_of(field), "mask": name_of(mask)}


def read_extras(given: dict[str, Volume], grid: Grid, against: str) -> dict[str, Any]:
    """The volumes beside field and mask, on the same grid: the ventricles as bool."""
    found = {}
    for name, volume in given.items():
        if isinstance(volume, Path | str):
            values = read_volume_on(volume, grid, against)
        else:
            values = as_tensor(volume).to(torch.float32)
        found[name] = values != 0 if name == "csf" else values
    return found


def _mask_of(mask: Tensor, grid: Grid, labels: Sequence[int] | None) -> Tensor:
    if tuple(mask.shape) != grid.shape:
        raise GridMismatch(f"The mask has shape {tuple(mask.shape)} and the field {grid.shape}; resample one of them.")
    mask = mask if mask.is_floating_point() else mask.long()
    found = torch.unique(mask[mask != 0]).tolist()
    listed = ", ".join(f"{v:g}" for v in found[:10])
    if labels is not None:
        absent = [label for label in labels if label not in found]
        if absent:
            raise MaskInvalid(f"The mask has no label {absent[0]}, it holds {listed or 'none'}; choose among them.")
        mask = torch.isin(mask, torch.as_tensor(list(labels), dtype=mask.dtype))
    elif len(found) > 1 and min(found) > 0 and max(found) <= 1:
        raise MaskInvalid(
            f"The mask has {len(found)} values between 0 and 1; expected 0 and one other value. Threshold it first."
        )
    elif len(found) > 1:
        raise MaskInvalid(
            f"The mask is not binary, it holds the labels {listed}; say which belong to it with mask_labels."
        )
    if not bool((mask != 0).any()):
        raise MaskInvalid("The mask is empty; give one whose voxels inside the brain are not zero.")
    return mask != 0


def finite(local: LocalField, choice: str, warnings: list[str]) -> LocalField:
    """Without NaN and Inf: those outside the mask are zero anyway, those inside are refused or leave the mask."""
    bad = ~torch.isfinite(local.values)
    n_bad = int((bad & local.mask).sum())
    if n_bad and choice == "refuse":
        raise FieldInvalid(
            f"The field holds {n_bad} NaN or infinite values inside the mask; mend it, or leave them out of the "
            "mask with --non-finite mask."
        )
    if n_bad:
        warnings.append(f"{n_bad} voxels with NaN or infinite values were left out of the mask.")
    inside = local.mask & ~bad
    if not bool(inside.any()):
        raise MaskInvalid("No finite value of the field lies inside the mask; expected a finite field.")
    return replace(local, values=torch.where(inside, local.values, 0.0), mask=inside)


def measured(local: LocalField, warnings: list[str]) -> LocalField:
    """Without the voxels, from the mask's edge on, whose field is exactly 0.

    So background removal leaves what it cannot tell, where it is given with a wider mask than its own. A field in
    coarse steps, as of whole numbers, has a 0 of its own and stays as it is.
    """
    zero, whole = local.mask & (local.values == 0.0), int(local.mask.sum())
    others = local.values[local.mask & ~zero]
    if int(zero.sum()) <= LEAST_NARROWED * whole or len(others.unique()) < 0.5 * len(others):
        return local
    around = (1,) * 6  # the image's end is an edge, too
    outside, zero = pad(~local.mask, around, value=True), pad(zero, around, value=False)
    x, y, z = outside.shape
    n, neighbours = -1, Grid((x, y, z))
    while (found := int(outside.sum())) > n:
        n, outside = found, outside | (zero & distance_from(outside, neighbours, 1.0).isfinite())
    mask = local.mask & ~outside[1:-1, 1:-1, 1:-1]
    n = whole - int(mask.sum())
    if not LEAST_NARROWED * whole < n < whole:
        return local
    warnings.append(
        f"In {n} of the mask's {whole} voxels, from its edge on, the field is exactly 0, as background removal leaves "
        "it where it cannot tell: they were left out of the mask."
    )
    return replace(local, mask=mask)


def region_of(reference: str | Volume, local: LocalField, name: str) -> Tensor | None:
    """Where χ is set to zero mean, None for nowhere; `name` is the field's. Raises GridMismatch, MaskInvalid."""
    if isinstance(reference, str) and reference in REFERENCES:
        return local.mask if reference == "mean" else None
    if isinstance(reference, Path | str):
        region = read_labels(reference, local.grid, name) != 0
    else:
        region = as_tensor(reference) != 0
        if tuple(region.shape) != local.grid.shape:
            raise GridMismatch(
                f"The reference region has shape {tuple(region.shape)} and the field {local.grid.shape}; resample it."
            )
    if not bool((region & local.mask).any()):
        raise MaskInvalid("The reference region lies nowhere inside the mask; choose another one, or mean, or none.")
    return region & local.mask
