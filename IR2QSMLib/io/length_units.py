"""The unit of length that an image's header states: ITK converts NIfTI's to mm, but not NRRD's and MetaImage's."""

from __future__ import annotations

import re
from pathlib import Path

import SimpleITK as sitk

from IR2QSMLib.core.errors import GridInvalid
from IR2QSMLib.io.nrrd import nrrd_fields

MILLIMETRES = {
    "m": 1e3,
    "meter": 1e3,
    "metre": 1e3,
    "cm": 10.0,
    "centimeter": 10.0,
    "centimetre": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "millimetre": 1.0,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "micron": 1e-3,
    "micrometer": 1e-3,
    "micrometre": 1e-3,
    "nm": 1e-6,
}
"""Length of each unit [mm], by the names that writers use, in the singular and in lower case; µ is a character of its
own or μ."""
SMALLEST_EDGE, LARGEST_EDGE = 1e-3, 100.0
"""Edges [mm] of voxels beyond which a header is not believed: a micron, and half a head."""


def convert_to_millimetres(image: sitk.Image, path: Path) -> sitk.Image:
    """Scale the voxel size and the origin of an image by the unit in its NRRD or MetaImage header.

    Without a unit, or with one that is no length, they are in mm.

    Raises
    ------
    GridInvalid
        When the axes have several units, or the unit makes voxels that no scanner has.
    """
    units = [unit for unit in _stated_units(path) if unit in MILLIMETRES]
    factors = {MILLIMETRES[unit] for unit in units}
    if len(factors) > 1:
        raise GridInvalid(f"{path.name} has axes in several units ({', '.join(units)}); resample it to mm.")
    factor = factors.pop() if factors else 1.0
    if factor != 1.0:
        image.SetSpacing([factor * v for v in image.GetSpacing()])
        image.SetOrigin([factor * v for v in image.GetOrigin()])
    require_believable(path.name, units[0] if units else "mm", image.GetSpacing()[:3])
    return image


def require_believable(name: str, unit: str, voxel_size_mm: tuple[float, ...]) -> None:
    """Raise GridInvalid for voxels that no scanner has."""
    if all(SMALLEST_EDGE <= edge <= LARGEST_EDGE for edge in voxel_size_mm):
        return
    edges = f"{name} has voxels of {' × '.join(f'{edge:.3g}' for edge in voxel_size_mm)} mm"
    if unit == "mm":
        raise GridInvalid(
            f"{edges}; expected {SMALLEST_EDGE:g} to {LARGEST_EDGE:g} mm: correct the voxel size in its header."
        )
    raise GridInvalid(
        f"{edges} by the unit of length in its header ({unit}); if they are meant in mm, set the unit to mm."
    )


def _stated_units(path: Path) -> list[str]:
    """The units of length in a NRRD or MetaImage header, lower case, in the singular."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"NRRD":
        values = nrrd_fields(path)
        words = re.findall(r'"([^"]*)"', values.get("space units", values.get("units", "")))
    else:
        with path.open("rb") as file:
            words = re.findall(r"(?m)^DistanceUnits *= *(\S+)", file.read(8192).decode(errors="replace"))
    return [word.strip().lower().removesuffix("s") for word in words]
