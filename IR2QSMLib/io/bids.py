"""NIfTI images of echoes and the BIDS JSON files beside them; NRRD and MetaImage without such files do as well."""

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

PARTS = {"phase": "phase", "mag": "magnitude", "real": "real", "imag": "imaginary"}
"""BIDS' `part-` entity."""
ENDINGS = {
    "ph": "phase",
    "phase": "phase",
    "real": "real",
    "imaginary": "imaginary",
    "imag": "imaginary",
    "magnitude": "magnitude",
    "mag": "magnitude",
}
"""Last word of a name, as converters such as dcm2niix leave it."""
TYPES = {
    "phase": {"P", "PHASE", "PHASE MAP"},
    "magnitude": {"M", "MAGNITUDE", "M_FFE"},
    "real": {"R", "REAL"},
    "imaginary": {"I", "IMAGINARY"},
}
"""Values of a header's image type."""
HARMONIC_ESTIMATED_KEY, B0_DIRECTION_KEY = "HarmonicPartRecovered", "B0_dir"
"""In a local field's sidecar, whether the part that background removal takes too much is an estimate; in any field's,
B0's direction in voxel axes, where a user gave it."""


def kind_from_image_type(image_type: Sequence[str]) -> str | None:
    """The kind of image that a header's image type states, or None where it states none."""
    words = {str(v).strip().upper() for v in image_type}
    return next((kind for kind in ("phase", "real", "imaginary", "magnitude") if words & TYPES[kind]), None)


def read_echoes(path: Path) -> tuple[Tensor, Grid]:
    """The stored numbers of an image of one echo or more, NaN kept, and the grid: (echo, x, y, z).

    Echoes are a fourth axis, or the values of a voxel. Raises FileUnreadable and GridInvalid.
    """
    image, name = read_image(path), Path(path).name
    n = image.GetNumberOfComponentsPerPixel()
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise GridInvalid(f"{name} holds complex numbers; save its real and imaginary parts as two images.")
    if image.GetDimension() not in (3, 4) or (n > 1 and image.GetDimension() == 4):
        raise GridInvalid(f"{name} has {image.GetDimension()} axes; expected three, and a fourth for the echoes.")
    grid = grid_of(image)
    require_size(grid, name)
    array = sitk.GetArrayFromImage(image)
    if n > 1:
        array = np.moveaxis(array, -1, 0)
    array = array.reshape(-1, *array.shape[-3:]).transpose(0, 3, 2, 1)
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)), grid


def read_field(path: Path) -> tuple[Tensor, Grid]:
    """A field's numbers, (x, y, z) in the file's unit, and its grid.

    Where the sidecar says so, B0 has the direction that was given when the field was made. Raises FileUnreadable and
    GridInvalid.
    """
    values, grid = read_volume(path)
    direction = read_sidecar(path).get(B0_DIRECTION_KEY)
    if isinstance(direction, list):
        numbers = [x for x in map(_number, direction) if x is not None]
        grid = grid.with_b0(numbers) if len(numbers) == 3 else grid
    return values, grid


def read_sidecar(path: Path) -> dict[str, Any]:
    """The JSON beside an image, empty where there is none; raises FileUnreadable when it is no JSON object."""
    stem = re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", path.name, flags=re.IGNORECASE)
    beside = path.with_name(f"{stem}.json")
    # BIDS lets the parts of an image share one file that leaves the entity out.
    shared = path.with_name(re.sub(r"_part-[a-z]+", "", stem) + ".json")
    found: dict[str, Any] = {}
    for file in dict.fromkeys((shared, beside)):
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, RecursionError, ValueError) as error:
            raise FileUnreadable(f"{file.name} is not JSON that can be read; mend or remove it.") from error
        if not isinstance(content, dict):
            raise FileUnreadable(f"{file.name} holds no JSON object; expected the names and values of BIDS.")
        found |= content
    return found


def file_echoes(paths: Sequence[Path], kind: str | None) -> list[Echo]:
    """The echoes in these images; of the given kind where neither name nor sidecar says otherwise.

    Raises FileUnreadable, GridInvalid, and FileUnreadable for an image of which the kind cannot be told.
    """
    return [echo for path in paths for echo in _echoes_of(Path(path), kind)]


def bids_echoes(folder: Path) -> tuple[list[Echo], list[str]]:
    """The echoes of the one scan with phase among a folder's NIfTI files, and what was left out.

    What an image is its name or its sidecar says. Images with BIDS names belong together when these differ in echo and
    part alone; the others are one scan. Nothing where there is no NIfTI file. Raises FileUnreadable without a phase and
    ParameterInvalid for several scans with phase.
    """
    files = [p for p in folder.rglob("*") if p.name.lower().endswith((".nii", ".nii.gz"))]
    files = [p for p in files if not p.name.startswith("._")]  # macOS's notes on files of other disks
    kinds = {p: image_kind(p) for p in sorted(files, key=_in_order)}
    scans: dict[str, list[Path]] = {}
    for path, kind in kinds.items():
        if kind is not None:
            scans.setdefault(_scan_of(path), []).append(path)
    with_phase = {k: v for k, v in scans.items() if {kinds[p] for p in v} & {"phase", "real"}}
    whole = {k: v for k, v in with_phase.items() if {kinds[p] for p in v} & {"magnitude", "imaginary"}}
    together = {"": [p for paths in scans.values() for p in paths]}  # names that BIDS does not know may belong so
    found = whole or (together if with_phase else {})
    if files and not found:
        raise FileUnreadable(
            f"The folder '{folder.name}' holds {len(files)} NIfTI images, none of which its name (part-phase, _ph) or "
            "its sidecar (ImageType) says to be a phase; give the phase itself, and the magnitude with --magnitude."
        )
    if len(found) > 1:
        listed = ", ".join(name or "images without BIDS names" for name in found)
        raise ParameterInvalid(
            f"The folder '{folder.name}' holds {len(found)} scans with phase: {listed}; give a folder with one of "
            "them, or its images."
        )
    used = [p for paths in found.values() for p in paths]
    left = [p.name for p in kinds if p not in used]
    return file_echoes(used, None), [f"Left out of '{folder.name}': {', '.join(left)}."] if left and used else []


def _in_order(path: Path) -> list[tuple[int, str]]:
    """A key by which echo-2 comes before echo-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(path))]


def _scan_of(path: Path) -> str:
    """The name that the images of one scan share under BIDS, empty for any other name."""
    if not path.name.startswith("sub-"):
        return ""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    stem = re.sub(r"_(part-[a-z]+|echo-\d+|e\d+)(?=_|$)", "", stem)
    return re.sub(rf"_({'|'.join(ENDINGS)})$", "", stem, flags=re.IGNORECASE)


def image_kind(path: Path) -> str | None:
    """What an image's name, or the sidecar beside it, says it is; None where neither does."""
    name = path.name.lower()
    part = re.search(r"(?:^|_)part-([a-z]+)", name)
    if part:
        return PARTS.get(part.group(1))
    words = re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", name).split("_")
    if words[-1] in ENDINGS:
        return ENDINGS[words[-1]]
    image_type = read_sidecar(path).get("ImageType")
    return kind_from_image_type(image_type) if isinstance(image_type, list) else None


def _echoes_of(path: Path, kind: str | None) -> list[Echo]:
    values, grid = read_echoes(path)
    header = read_sidecar(path)
    kind = image_kind(path) or kind
    if kind is None:
        raise FileUnreadable(f"{path.name} does not say whether it is phase or magnitude; name it, or give it alone.")
    times = header.get("EchoTime")
    listed = times if isinstance(times, list) else [times]
    fits = len(listed) == len(values)
    image_type = header.get("ImageType")
    first = Echo(
        kind,
        path.name,
        grid,
        lambda: values[0],
        None,
        _number(header.get("MagneticFieldStrength")),
        _number(header.get("ImagingFrequency")),
        str(header.get("Manufacturer") or ""),
        tuple(map(str, image_type)) if isinstance(image_type, list) else (),
        has_orientation(path),
        None if fits or times is None else (len(values), len(listed)),
    )
    return [
        replace(
            first,
            name=path.name if len(values) == 1 else f"{path.name}, echo {n + 1}",
            read=lambda n=n: values[n],  # type: ignore[misc]
            echo_time=_number(te),
        )
        for n, te in enumerate(listed if fits else [None] * len(values))
    ]


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON knows no largest whole number; what reads it refuses what is not finite
        return math.inf
