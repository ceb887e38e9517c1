"""Echoes in NIfTI, NRRD or MetaImage files, with or without BIDS names and the JSON files (sidecars) beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.image_kind import (
    image_kind,
    is_time_series,
    names_filtered_phase,
    names_phase_difference,
)
from IR2QSMLib.io.images import grid_of, has_orientation, read_image, read_volume, require_size
from IR2QSMLib.io.scan_groups import choose_scan, find_scans, require_phase
from IR2QSMLib.io.sidecars import image_stem, number, read_sidecar

HARMONIC_COMPLETED_KEY = "HarmonicPartRecovered"
"""In a local field's sidecar: whether the part that background removal takes too much was added as an estimate."""
B0_DIRECTION_KEY = "B0_dir"
"""In a field's sidecar: the user's B0 direction in voxel axes."""


def read_echoes(path: Path) -> tuple[Tensor, Grid]:
    """Read the stored numbers of an image of one echo or more.

    Parameters
    ----------
    path
        An image with three axes; echoes are a fourth axis, or the components of a voxel.

    Returns
    -------
    values, grid
        float32, NaN kept: (echo, x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid
    """
    image, name = read_image(path), Path(path).name
    n_components = image.GetNumberOfComponentsPerPixel()
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise GridInvalid(f"{name} holds complex numbers; save its real and imaginary parts as two images.")
    if image.GetDimension() not in (3, 4) or (n_components > 1 and image.GetDimension() == 4):
        raise GridInvalid(f"{name} has {image.GetDimension()} axes; expected three, and a fourth for the echoes.")
    grid = grid_of(image)
    require_size(grid, name)
    array = sitk.GetArrayFromImage(image)
    if n_components > 1:
        array = np.moveaxis(array, -1, 0)
    array = array.reshape(-1, *array.shape[-3:]).transpose(0, 3, 2, 1)
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)), grid


def read_field(path: Path) -> tuple[Tensor, Grid]:
    """Read a total or local field and its grid, with the B0 direction of its sidecar, if there is one.

    Returns
    -------
    values, grid
        float32 in the file's unit: (x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid
    """
    values, grid = read_volume(path)
    direction = read_sidecar(path).get(B0_DIRECTION_KEY)
    if isinstance(direction, list):
        numbers = [x for x in map(number, direction) if x is not None]
        grid = grid.with_b0(numbers) if len(numbers) == 3 else grid
    return values, grid


def file_echoes(paths: Sequence[Path], kind: str | None) -> list[Echo]:
    """The echoes in these images.

    Parameters
    ----------
    paths
        Images of one echo or more.
    kind
        Kind of the images whose names and sidecars state none; None refuses these.

    Raises
    ------
    FileUnreadable, GridInvalid
    """
    return [echo for path in paths for echo in _echoes_of(Path(path), kind)]


def bids_echoes(folder: Path, series: Sequence[int | str] | None = None) -> tuple[list[Echo], list[str]]:
    """The echoes of one scan with phase among a folder's NIfTI files.

    Names or sidecars state the kinds of image; `io.scan_groups` says which of them are one scan.

    Parameters
    ----------
    folder
        Searched with its subfolders.
    series
        The scan to use, by its name or series number, where there are several.

    Returns
    -------
    echoes, notes
        The echoes, none without a NIfTI file, and sentences on what was left out.

    Raises
    ------
    FieldInvalid, FileUnreadable
        When no NIfTI file is a phase, or no phase has a magnitude.
    ParameterInvalid
        When there are several scans with phase and `series` chooses none of them.
    """
    files = [p for p in folder.rglob("*") if p.name.lower().endswith((".nii", ".nii.gz"))]
    files = [p for p in files if not p.name.startswith("._")]  # written by macOS beside files of other disks
    if not files:
        return [], []
    kinds = {p: image_kind(p) for p in sorted(files, key=_natural_order)}
    scans = find_scans(folder, kinds)
    require_phase(folder, kinds, scans)
    scan = choose_scan(folder, scans, series)
    used = [p for p in scan.paths if scan.kinds[p] is not None]
    left_out = [p.name for p in kinds if p not in used]
    notes = [f"Left out of '{folder.name}': {', '.join(left_out)}."] if left_out else []
    guessed = [p.name for p in used if kinds[p] is None]
    if guessed:
        notes.append(f"Taken for magnitude by series and echo time, as no type says so: {', '.join(guessed)}.")
    return [e for p in used for e in _echoes_of(p, scan.kinds[p])], notes


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """A sorting key by which echo-2 comes before echo-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(path))]


def _echoes_of(path: Path, kind: str | None) -> list[Echo]:
    """The echoes of one image; `kind` is used where name and sidecar state none."""
    values, grid = read_echoes(path)
    header = read_sidecar(path)
    kind = image_kind(path) or kind
    if kind is None:
        raise FileUnreadable(f"{path.name} does not say whether it is phase or magnitude; name it, or give it alone.")
    stated_times = header.get("EchoTime")
    if len(values) > 1 and (is_time_series(path) or _repeats_in_time(header)):
        raise FieldInvalid(
            f"{path.name} is a time series of {len(values)} volumes, which are no echoes; give one volume of it, or "
            "the mean of the complex signal over time, as an image with three axes.",
            option="field",
        )
    times = stated_times if isinstance(stated_times, list) else [stated_times]
    one_each = len(times) == len(values)
    image_type = header.get("ImageType")
    both_times = [number(header.get(key)) for key in ("EchoTime1", "EchoTime2")]
    difference_of = (both_times[0], both_times[1]) if both_times[0] and both_times[1] and kind == "phase" else None
    image_types = image_type if isinstance(image_type, list) else []
    first = Echo(
        kind=kind,
        name=path.name,
        grid=grid,
        read_values=lambda: values[0],
        b0=number(header.get("MagneticFieldStrength")),
        frequency=number(header.get("ImagingFrequency")),
        manufacturer=str(header.get("Manufacturer") or ""),
        image_type=tuple(map(str, image_type)) if isinstance(image_type, list) else (),
        has_orientation=has_orientation(path),
        is_difference=kind == "phase" and (difference_of is not None or names_phase_difference(image_stem(path))),
        difference_of=difference_of,
        is_filtered=kind == "phase"
        and names_filtered_phase(image_types, image_stem(path), str(header.get("SeriesDescription") or "")),
        count_mismatch=None if one_each or stated_times is None else (len(values), len(times)),
    )
    return [
        replace(
            first,
            name=path.name if len(values) == 1 else f"{path.name}, echo {n + 1}",
            read_values=lambda n=n: values[n],  # type: ignore[misc]
            echo_time=number(te),
        )
        for n, te in enumerate(times if one_each else [None] * len(values))
    ]


def _repeats_in_time(header: dict[str, Any]) -> bool:
    """Whether a sidecar describes several time points."""
    repetitions = [number(header.get(key)) for key in ("NumberOfTemporalPositions", "NumberOfVolumes")]
    return any(n is not None and n > 1 for n in repetitions) or isinstance(header.get("VolumeTiming"), list)
