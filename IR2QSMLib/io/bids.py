"""Echoes in NIfTI, NRRD or MetaImage files, with or without BIDS names and the JSON files (sidecars) beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.images import grid_of, has_orientation, read_image, read_volume, require_size

KIND_BY_PART = {"phase": "phase", "mag": "magnitude", "real": "real", "imag": "imaginary"}
"""Kinds of image by BIDS' `part-` entity."""
KIND_BY_LAST_WORD = {
    "ph": "phase",
    "phase": "phase",
    "real": "real",
    "imaginary": "imaginary",
    "imag": "imaginary",
    "magnitude": "magnitude",
    "mag": "magnitude",
}
"""Kinds of image by the last word of a name, as converters such as dcm2niix write it."""
IMAGE_TYPES = {
    "phase": {"P", "PHASE", "PHASE MAP"},
    "magnitude": {"M", "MAGNITUDE", "M_FFE"},
    "real": {"R", "REAL"},
    "imaginary": {"I", "IMAGINARY"},
}
"""Values of a header's image type by kind of image."""
HARMONIC_ESTIMATED_KEY = "HarmonicPartRecovered"
"""In a local field's sidecar: whether the part that background removal takes too much was added as an estimate."""
B0_DIRECTION_KEY = "B0_dir"
"""In a field's sidecar: the user's B0 direction in voxel axes."""


def kind_from_image_type(image_type: Sequence[str]) -> str | None:
    """The kind of image that a header's image type names, or None if it names none."""
    words = {str(v).strip().upper() for v in image_type}
    return next((kind for kind in ("phase", "real", "imaginary", "magnitude") if words & IMAGE_TYPES[kind]), None)


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
        numbers = [x for x in map(_number, direction) if x is not None]
        grid = grid.with_b0(numbers) if len(numbers) == 3 else grid
    return values, grid


def read_sidecar(path: Path) -> dict[str, Any]:
    """The JSON object beside an image, empty without one; raises FileUnreadable when it is not a JSON object."""
    stem = re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", path.name, flags=re.IGNORECASE)
    beside = path.with_name(f"{stem}.json")
    # In BIDS, the parts of an image may share one file without the entity `part`.
    shared = path.with_name(re.sub(r"_part-[a-z]+", "", stem) + ".json")
    metadata: dict[str, Any] = {}
    for file in dict.fromkeys((shared, beside)):
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, RecursionError, ValueError) as error:
            raise FileUnreadable(f"{file.name} is not JSON that can be read; mend or remove it.") from error
        if not isinstance(content, dict):
            raise FileUnreadable(f"{file.name} holds no JSON object; expected the names and values of BIDS.")
        metadata |= content
    return metadata


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


def bids_echoes(folder: Path) -> tuple[list[Echo], list[str]]:
    """The echoes of the one scan with phase among a folder's NIfTI files.

    Names or sidecars state the kinds of image. Images whose BIDS names differ in echo and part only are one scan; all
    images without BIDS names are another.

    Parameters
    ----------
    folder
        Searched with its subfolders.

    Returns
    -------
    echoes, notes
        The echoes, none without a NIfTI file, and a sentence on what was left out.

    Raises
    ------
    FileUnreadable
        When no NIfTI file is a phase.
    ParameterInvalid
        When there are several scans with phase.
    """
    files = [p for p in folder.rglob("*") if p.name.lower().endswith((".nii", ".nii.gz"))]
    files = [p for p in files if not p.name.startswith("._")]  # written by macOS beside files of other disks
    kinds = {p: image_kind(p) for p in sorted(files, key=_natural_order)}
    scans: dict[str, list[Path]] = {}
    for path, kind in kinds.items():
        if kind is not None:
            scans.setdefault(_scan_name(path), []).append(path)
    with_phase = {k: v for k, v in scans.items() if {kinds[p] for p in v} & {"phase", "real"}}
    complete = {k: v for k, v in with_phase.items() if {kinds[p] for p in v} & {"magnitude", "imaginary"}}
    if not complete and with_phase:  # names beyond BIDS may separate a phase from its magnitude
        complete = {"": [p for paths in scans.values() for p in paths]}
    if files and not complete:
        raise FileUnreadable(
            f"The folder '{folder.name}' holds {len(files)} NIfTI images, none of which its name (part-phase, _ph) or "
            "its sidecar (ImageType) says to be a phase; give the phase itself, and the magnitude with --magnitude."
        )
    if len(complete) > 1:
        listed = ", ".join(name or "images without BIDS names" for name in complete)
        raise ParameterInvalid(
            f"The folder '{folder.name}' holds {len(complete)} scans with phase: {listed}; give a folder with one of "
            "them, or its images."
        )
    used = [p for paths in complete.values() for p in paths]
    left_out = [p.name for p in kinds if p not in used]
    notes = [f"Left out of '{folder.name}': {', '.join(left_out)}."] if left_out and used else []
    return file_echoes(used, None), notes


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """A sorting key by which echo-2 comes before echo-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(path))]


def _scan_name(path: Path) -> str:
    """The part of a BIDS name that the images of one scan share; empty for other names."""
    if not path.name.startswith("sub-"):
        return ""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    stem = re.sub(r"_(part-[a-z]+|echo-\d+|e\d+)(?=_|$)", "", stem)
    return re.sub(rf"_({'|'.join(KIND_BY_LAST_WORD)})$", "", stem, flags=re.IGNORECASE)


def image_kind(path: Path) -> str | None:
    """The kind of image that a file's name or its sidecar states; None if neither does."""
    name = path.name.lower()
    part = re.search(r"(?:^|_)part-([a-z]+)", name)
    if part:
        return KIND_BY_PART.get(part.group(1))
    words = re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", name).split("_")
    if words[-1] in KIND_BY_LAST_WORD:
        return KIND_BY_LAST_WORD[words[-1]]
    image_type = read_sidecar(path).get("ImageType")
    return kind_from_image_type(image_type) if isinstance(image_type, list) else None


def _echoes_of(path: Path, kind: str | None) -> list[Echo]:
    """The echoes of one image; `kind` is used where name and sidecar state none."""
    values, grid = read_echoes(path)
    header = read_sidecar(path)
    kind = image_kind(path) or kind
    if kind is None:
        raise FileUnreadable(f"{path.name} does not say whether it is phase or magnitude; name it, or give it alone.")
    stated_times = header.get("EchoTime")
    times = stated_times if isinstance(stated_times, list) else [stated_times]
    one_each = len(times) == len(values)
    image_type = header.get("ImageType")
    first = Echo(
        kind=kind,
        name=path.name,
        grid=grid,
        read_values=lambda: values[0],
        b0=_number(header.get("MagneticFieldStrength")),
        frequency=_number(header.get("ImagingFrequency")),
        manufacturer=str(header.get("Manufacturer") or ""),
        image_type=tuple(map(str, image_type)) if isinstance(image_type, list) else (),
        has_orientation=has_orientation(path),
        count_mismatch=None if one_each or stated_times is None else (len(values), len(times)),
    )
    return [
        replace(
            first,
            name=path.name if len(values) == 1 else f"{path.name}, echo {n + 1}",
            read_values=lambda n=n: values[n],  # type: ignore[misc]
            echo_time=_number(te),
        )
        for n, te in enumerate(times if one_each else [None] * len(values))
    ]


def _number(value: Any) -> float | None:
    """A JSON number, or None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON has no largest whole number; callers refuse what is not finite
        return math.inf
