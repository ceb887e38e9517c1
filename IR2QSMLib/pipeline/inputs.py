"""The way in: image files or arrays to a local field in ppm with its mask, and the region that χ is relative to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from IR2QSMLib.core.errors import FieldInvalid, GridMismatch, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.io.bids import read_field
from IR2QSMLib.io.images import binary_mask, has_orientation, read_labels, read_mask, read_volume_on, require_size
from IR2QSMLib.physics.distance import distance_from
from IR2QSMLib.pipeline import plausibility
from IR2QSMLib.pipeline.identify import require_plausible
from IR2QSMLib.pipeline.metadata import PPM, FieldMetadata, Volume
from IR2QSMLib.pipeline.preprocessed import PreprocessedField

REFERENCES = ("mean", "none")
LEAST_RIM = 0.01
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
    preprocessing: dict[str, Any] | None = None
    """How the field was made of a phase or a total field, if it was."""


def load_inputs(
    field: Volume | PreprocessedField | LoadedField,
    mask: Volume | None = None,
    grid: Grid | None = None,
    metadata: FieldMetadata = PPM,
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

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, ParameterInvalid
        What came, what was expected and what to do.
    """
    if isinstance(field, LoadedField):
        return field
    if isinstance(field, PreprocessedField):
        return _of_preprocessed(field, mask, grid, metadata)
    metadata, sources, disagreements = metadata.completed(field)
    unit = metadata.unit or "ppm"
    scale = ppm_per_unit(unit, metadata.b0, metadata.echo_time)
    local = _read_field_and_mask(field, mask, grid, metadata.mask_labels)
    if metadata.b0_direction is not None:
        local = replace(local, grid=local.grid.with_b0(metadata.b0_direction))
    local, warnings = drop_non_finite(local, metadata.non_finite)
    local, rim = drop_zero_rim(local)
    local = replace(local, **_read_beside(metadata.beside, local.grid, name_of(field)))
    local = replace(local, values=local.values * scale, echo_spacing=metadata.echo_time, b0=metadata.b0)
    if local.noise is not None:
        local = replace(local, noise=local.noise * scale)
    require_plausible(local, "local field", unit)
    path = Path(field) if isinstance(field, Path | str) else None
    b0_source, unsure = _b0_source(name_of(field), local.grid, path is None or has_orientation(path))
    if b0_source == "image orientation" and path is not None:
        unsure += plausibility.check_orientation(path, local.grid)
    names = {"field": name_of(field), "mask": name_of(mask)}
    units = {"unit": unit, "b0_t": metadata.b0, "echo_time_s": metadata.echo_time, "stated_by": sources}
    beside = {name: name_of(volume) for name, volume in metadata.beside.items()}
    warnings = [*disagreements, *warnings, *rim, *plausibility.check_field(local), *unsure]
    return LoadedField(local, name_of(field), {**names, **units, **beside}, b0_source, tuple(warnings))


def _of_preprocessed(
    field: PreprocessedField, mask: Volume | None, grid: Grid | None, metadata: FieldMetadata
) -> LoadedField:
    own = {"mask": mask, "grid": grid}
    own |= {k: getattr(metadata, k) for k in ("b0", "echo_time", "b0_direction", "mask_labels")}
    doubled = [name for name, value in own.items() if value is not None]
    if doubled:
        raise ParameterInvalid(
            f"{' and '.join(doubled)} came beside a preprocessed field, which has its own; say it to preprocess_phase "
            f"or "
            "preprocess_total_field, or leave it out.",
            option=doubled[0],
        )
    local = replace(field.local, **_read_beside(metadata.beside, field.local.grid, field.name))
    b0_source, unsure = _b0_source(field.name, local.grid, field.oriented)
    names = {"field": field.name, "mask": field.notes.get("mask_image")}
    beside = {name: name_of(volume) for name, volume in metadata.beside.items()}
    return LoadedField(
        local, field.name, {**names, **beside}, b0_source, (*field.warnings, *unsure), preprocessing=field.notes
    )


def name_of(volume: Volume | None) -> str:
    """What messages and provenance call a volume: its file's name, or 'array'."""
    return Path(volume).name if isinstance(volume, Path | str) else "array"


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """An array as a tensor on the CPU; numpy's may be a reversed view or big-endian, which torch does not take."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    return torch.as_tensor(array).detach().cpu()


def read_volume(volume: Volume, grid: Grid, name: str) -> Tensor:
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

    Background removal leaves 0 where it cannot tell, when it comes with a wider mask than its own. A field in coarse
    steps, as of whole numbers, has a 0 of its own and stays as it is.
    """
    zero, n_mask = local.mask & (local.values == 0.0), int(local.mask.sum())
    others = local.values[local.mask & ~zero]
    if int(zero.sum()) <= LEAST_RIM * n_mask or len(others.unique()) < 0.5 * len(others):
        return local, []
    one_voxel = (1,) * 6  # the image's end is an edge, too
    outside, zero = pad(~local.mask, one_voxel, value=True), pad(zero, one_voxel, value=False)
    x, y, z = outside.shape
    n_outside, cubes = -1, Grid((x, y, z))
    while (n := int(outside.sum())) > n_outside:
        n_outside, outside = n, outside | (zero & distance_from(outside, cubes, 1.0).isfinite())
    mask = local.mask & ~outside[1:-1, 1:-1, 1:-1]
    n_lost = n_mask - int(mask.sum())
    if not LEAST_RIM * n_mask < n_lost < n_mask:
        return local, []
    warning = (
        f"In {n_lost} of the mask's {n_mask} voxels, from its edge on, the field is exactly 0, as background removal "
        f"leaves "
        "it where it cannot tell: they were left out of the mask."
    )
    return replace(local, mask=mask), [warning]


def reference_region(reference: str | Volume, loaded: LoadedField) -> Tensor | None:
    """Where χ has zero mean, bool (x, y, z), or None for nowhere; raises GridMismatch, MaskInvalid."""
    local = loaded.local
    if isinstance(reference, str) and reference in REFERENCES:
        return local.mask if reference == "mean" else None
    if isinstance(reference, Path | str):
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


def _read_field_and_mask(
    field: Volume, mask: Volume | None, grid: Grid | None, labels: Sequence[int] | None
) -> LocalField:
    """A field, still in its own unit, with its mask."""
    name = name_of(field)
    if mask is None:
        raise MaskInvalid(
            f"The field {name} came without a mask; give the mask in which it was measured.", option="mask"
        )
    if isinstance(field, Path | str):
        values, grid = read_field(Path(field))
    elif grid is None:
        raise ParameterInvalid("The field is an array without a grid; give grid=Grid(shape, voxel_size, ...).")
    else:
        values = as_tensor(field).to(torch.float32)
        if tuple(values.shape) != grid.shape:
            raise GridMismatch(f"The field has shape {tuple(values.shape)} and its grid {grid.shape}; expected one.")
    require_size(grid, name)
    if isinstance(mask, Path | str):
        inside = read_mask(mask, grid, name, labels)
    else:
        inside = as_tensor(mask)
        if tuple(inside.shape) != grid.shape:
            raise GridMismatch(
                f"The mask has shape {tuple(inside.shape)} and the field {grid.shape}; resample one of them.",
                option="mask",
            )
        inside = torch.from_numpy(binary_mask(inside.numpy(), "The mask", labels, "mask_labels"))
    return LocalField(values, inside, grid)


def _read_beside(volumes: dict[str, Volume], grid: Grid, name: str) -> dict[str, Any]:
    """The volumes beside field and mask, on the same grid: the ventricles as bool."""
    tensors = {key: read_volume(volume, grid, name) for key, volume in volumes.items()}
    return {key: values != 0 if key == "csf" else values for key, values in tensors.items()}


def _b0_source(name: str, grid: Grid, oriented: bool) -> tuple[str, list[str]]:
    """Who says where B0 points, and a warning when nobody does."""
    if grid.b0_given is not None:
        return "given", []
    if oriented:
        return "image orientation", []
    warning = (
        f"{name} states no orientation (no qform, sform or space directions): B0 was taken along its third axis; say "
        f"it "
        "with --b0-direction."
    )
    return "assumed: the third voxel axis", [warning]
