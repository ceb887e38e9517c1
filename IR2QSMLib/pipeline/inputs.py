"""The way in: image files or arrays to a local field in ppm with its mask, and the region that χ is relative to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import pad

from IR2QSMLib.core.errors import FieldInvalid, GridMismatch, MaskInvalid, ParameterInvalid, errors_naming
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.io.bids import read_field
from IR2QSMLib.io.images import has_orientation, read_volume_on, require_size
from IR2QSMLib.io.masks import binary_mask, read_labels, read_mask
from IR2QSMLib.pipeline import plausibility
from IR2QSMLib.pipeline.inspection import require_plausible
from IR2QSMLib.pipeline.metadata import DEFAULT_METADATA, FieldMetadata, Volume
from IR2QSMLib.pipeline.preprocessed import PreprocessedField

REFERENCES = ("mean", "none")
SMALLEST_ZERO_RIM = 0.01
"""Share of the mask from which on voxels at its edge whose field is exactly 0 are taken for voxels without a field."""


@dataclass(frozen=True)
class LoadedField:
    """A local field that can be inverted, and what is known of where it came from."""

    local: LocalField
    """[ppm], finite, zero outside the mask."""
    name: str
    """The field's file, or 'array'."""
    provenance: dict[str, Any]
    """Names of the files, the unit, B0 and echo time."""
    b0_source: str
    """Who says where B0 points."""
    warnings: tuple[str, ...] = ()
    """One sentence each."""
    preprocessing: dict[str, Any] | None = None
    """How phase or total field became the local field; None for a field that came as a local one."""


def load_inputs(
    field: Volume | PreprocessedField | LoadedField,
    mask: Volume | None = None,
    grid: Grid | None = None,
    metadata: FieldMetadata = DEFAULT_METADATA,
) -> LoadedField:
    """Read a local field, its mask and the volumes beside it, and convert them to ppm.

    Parameters
    ----------
    field
        Image file; array (x, y, z) that lies on `grid`; or what `preprocess_phase` or `preprocess_total_field`
        returned, which brings its own mask, unit and direction of B0.
    mask
        Image file, or array (x, y, z) on the field's grid.
    grid
        Of arrays; files have their own.
    metadata
        The field's unit, B0, and the volumes beside it.

    Returns
    -------
    LoadedField
        The field [ppm], finite, zero outside its mask; its provenance and warnings.

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, ParameterInvalid
        What came, what was expected and what to do.
    """
    if isinstance(field, LoadedField):
        return field
    if isinstance(field, PreprocessedField):
        return _load_preprocessed(field, mask, grid, metadata)
    metadata, sources, metadata_warnings = metadata.with_sidecar(field)
    unit = metadata.unit or "ppm"
    scale = ppm_per_unit(unit, metadata.b0, metadata.echo_time)
    local = _read_field_and_mask(field, mask, grid, metadata)
    if metadata.b0_direction is not None:
        local = replace(local, grid=local.grid.with_b0(metadata.b0_direction))
    local, non_finite_warnings = drop_non_finite(local, metadata.non_finite)
    local, rim_warnings = drop_zero_rim(local)
    local = replace(local, **_read_optional_volumes(metadata, local.grid, volume_name(field)))
    local = replace(local, values=local.values * scale, echo_spacing=metadata.echo_time, b0=metadata.b0)
    if local.noise is not None:
        local = replace(local, noise=local.noise * scale)
    require_plausible(local, "local field", unit)
    path = Path(field) if isinstance(field, Path | str) else None
    b0_source, b0_warnings = _b0_source(volume_name(field), local.grid, path is None or has_orientation(path))
    if b0_source == "image orientation" and path is not None:
        b0_warnings += plausibility.check_orientation(path, local.grid)
    provenance = {
        "field": volume_name(field),
        "mask": volume_name(mask),
        "unit": unit,
        "b0_t": metadata.b0,
        "echo_time_s": metadata.echo_time,
        "stated_by": sources,
        **_optional_volume_names(metadata),
    }
    field_warnings = plausibility.check_field(local)
    warnings = (*metadata_warnings, *non_finite_warnings, *rim_warnings, *field_warnings, *b0_warnings)
    return LoadedField(local, volume_name(field), provenance, b0_source, warnings)


def _load_preprocessed(
    field: PreprocessedField, mask: Volume | None, grid: Grid | None, metadata: FieldMetadata
) -> LoadedField:
    """The field as it is, with the volumes beside it; refuses what it has of its own."""
    repeatable = {"mask": mask, "grid": grid, "unit": None if metadata.unit == "ppm" else metadata.unit}
    repeatable |= {
        k: getattr(metadata, k) for k in ("b0", "echo_time", "b0_direction", "mask_labels", "mask_threshold")
    }
    repeated = [name for name, value in repeatable.items() if value is not None]
    if repeated:
        raise ParameterInvalid(
            f"{' and '.join(repeated)} came beside a preprocessed field, which has its own; say it to "
            "preprocess_phase or preprocess_total_field, or leave it out.",
            option=repeated[0],
        )
    local = replace(field.local, **_read_optional_volumes(metadata, field.local.grid, field.name))
    b0_source, b0_warnings = _b0_source(field.name, local.grid, field.oriented)
    provenance = {"field": field.name, "mask": field.notes.get("mask_image"), **_optional_volume_names(metadata)}
    warnings = (*field.warnings, *b0_warnings)
    return LoadedField(local, field.name, provenance, b0_source, warnings, preprocessing=field.notes)


def volume_name(volume: Volume | None) -> str:
    """What messages and provenance call a volume: its file's name, or 'array'."""
    return Path(volume).name if isinstance(volume, Path | str) else "array"


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """An array as a tensor on the CPU; numpy's may be a reversed view or big-endian, which torch does not take."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    return torch.as_tensor(array).detach().cpu()


def volume_on_grid(volume: Volume, grid: Grid, name: str) -> Tensor:
    """A volume on the grid of the image `name`, float32 (x, y, z); raises FileUnreadable, GridInvalid, GridMismatch."""
    if isinstance(volume, Path | str):
        return read_volume_on(volume, grid, name)
    return as_tensor(volume).to(torch.float32)


def drop_non_finite(local: LocalField, non_finite: str, name: str = "the field") -> tuple[LocalField, list[str]]:
    """A field without NaN and Inf, zero outside the mask, and a warning where voxels left the mask.

    Raises FieldInvalid when values inside the mask are not finite and `non_finite` is "refuse", MaskInvalid when no
    voxel is left.
    """
    bad = ~torch.isfinite(local.values)
    n_bad = int((bad & local.mask).sum())
    if n_bad and non_finite == "refuse":
        raise FieldInvalid(
            f"The field holds {n_bad} NaN or infinite values inside the mask; mend it, or leave them out of the "
            "mask with --non-finite mask.",
            option="non_finite",
        )
    inside = local.mask & ~bad
    if not bool(inside.any()):
        raise MaskInvalid(f"No finite value of {name} lies inside the mask; expected a finite field.", option="mask")
    warnings = [f"{n_bad} voxels with NaN or infinite values were left out of the mask."] if n_bad else []
    return replace(local, values=torch.where(inside, local.values, 0.0), mask=inside), warnings


def drop_zero_rim(local: LocalField) -> tuple[LocalField, list[str]]:
    """A field without the voxels, from the mask's edge on, where it is exactly 0, and a warning if there were some.

    Background removal leaves 0 where it gives no field, and a mask may be wider than that. A field in coarse steps, as
    of whole numbers, has zeros that are values, and stays as it is.
    """
    zero, n_mask = local.mask & (local.values == 0.0), int(local.mask.sum())
    non_zero = local.values[local.mask & ~zero]
    in_steps = len(non_zero.unique()) < 0.5 * len(non_zero)
    if in_steps or int(zero.sum()) <= SMALLEST_ZERO_RIM * n_mask:
        return local, []
    one_voxel = (1,) * 6  # the image's end is an edge, too
    outside, zero = pad(~local.mask, one_voxel, value=True), pad(zero, one_voxel, value=False)
    outside = torch.from_numpy(ndimage.binary_propagation(outside.numpy(), mask=(outside | zero).numpy()))
    mask = local.mask & ~outside[1:-1, 1:-1, 1:-1]
    n_lost = n_mask - int(mask.sum())
    if not SMALLEST_ZERO_RIM * n_mask < n_lost < n_mask:
        return local, []
    warning = (
        f"In {n_lost} of the mask's {n_mask} voxels, from its edge on, the field is exactly 0, as background removal "
        "leaves it where it gives no field: they were left out of the mask."
    )
    return replace(local, mask=mask), [warning]


def reference_region(reference: str | Volume, loaded: LoadedField) -> Tensor | None:
    """Where χ has zero mean, bool (x, y, z), or None for nowhere; raises GridMismatch, MaskInvalid."""
    local = loaded.local
    if isinstance(reference, str) and reference in REFERENCES:
        return local.mask if reference == "mean" else None
    if isinstance(reference, Path | str):
        with errors_naming("reference"):
            region = read_labels(reference, local.grid, loaded.name) != 0
    else:
        region = as_tensor(reference) != 0
        if tuple(region.shape) != local.grid.shape:
            raise GridMismatch(
                f"The reference region has shape {tuple(region.shape)} and the field {local.grid.shape}; resample it.",
                option="reference",
            )
    if not bool((region & local.mask).any()):
        raise MaskInvalid(
            "The reference region lies nowhere inside the mask; choose another one, or mean, or none.",
            option="reference",
        )
    return region & local.mask


def _read_field_and_mask(field: Volume, mask: Volume | None, grid: Grid | None, metadata: FieldMetadata) -> LocalField:
    """A field, still in its own unit, with its mask."""
    name, chosen = volume_name(field), (metadata.mask_labels, metadata.mask_threshold)
    if mask is None:
        raise MaskInvalid(
            f"The field {name} came without a mask; give the mask in which it was measured.", option="mask"
        )
    if isinstance(field, Path | str):
        with errors_naming("field"):
            values, grid = read_field(Path(field))
    elif grid is None:
        raise ParameterInvalid("The field is an array without a grid; give grid=Grid(shape, voxel_size, ...).")
    else:
        values = as_tensor(field).to(torch.float32)
        if tuple(values.shape) != grid.shape:
            raise GridMismatch(f"The field has shape {tuple(values.shape)} and its grid {grid.shape}; expected one.")
    with errors_naming("field"):
        require_size(grid, name)
    if isinstance(mask, Path | str):
        with errors_naming("mask"):
            inside = read_mask(mask, grid, name, *chosen)
    else:
        inside = as_tensor(mask)
        if tuple(inside.shape) != grid.shape:
            raise GridMismatch(
                f"The mask has shape {tuple(inside.shape)} and the field {grid.shape}; resample one of them.",
                option="mask",
            )
        inside = torch.from_numpy(
            binary_mask(inside.numpy(), "The mask", *chosen, options=("mask_labels", "mask_threshold"))
        )
    return LocalField(values, inside, grid)


def _read_optional_volumes(metadata: FieldMetadata, grid: Grid, name: str) -> dict[str, Any]:
    """The volumes beside field and mask, on the same grid: the ventricles as bool."""
    tensors: dict[str, Any] = {}
    for key, volume in metadata.optional_volumes.items():
        with errors_naming(key):
            values = volume_on_grid(volume, grid, name)
        tensors[key] = values != 0 if key == "csf" else values
    return tensors


def _optional_volume_names(metadata: FieldMetadata) -> dict[str, str]:
    """What the provenance calls the volumes beside field and mask."""
    return {key: volume_name(volume) for key, volume in metadata.optional_volumes.items()}


def _b0_source(name: str, grid: Grid, oriented: bool) -> tuple[str, list[str]]:
    """Who says where B0 points, and a warning when nobody does."""
    if grid.user_b0_direction is not None:
        return "given", []
    if oriented:
        return "image orientation", []
    warning = (
        f"{name} states no orientation (no qform, sform or space directions): B0 was taken along its third axis; "
        "say it with --b0-direction."
    )
    return "assumed: the third voxel axis", [warning]
