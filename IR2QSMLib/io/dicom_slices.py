"""The slices of DICOM files, classic or multi-frame: what their headers say, and their pixels.

Headers are read by pydicom, as the frames of multi-frame files need nested sequences; pixels as well, and by
SimpleITK where they are compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable
from IR2QSMLib.io.acquisition import KINDS
from IR2QSMLib.io.bids import kind_from_image_type

GE_KIND = (0x0043, 0x102F)
"""GE's private number of the kind of image: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
GE_KINDS = ("magnitude", "phase", "real", "imaginary")


@dataclass(frozen=True)
class DicomSlice:
    """One slice: where it is, what it shows, and where its pixels are."""

    path: Path
    index: int
    kind: str | None
    echo_time: float | None
    """[s]"""
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    """Between rows, between columns [mm]."""
    size: tuple[int, int]
    slope: float
    intercept: float
    thickness: float
    series: int
    uid: str
    description: str
    b0: float | None
    frequency: float | None
    manufacturer: str
    image_type: tuple[str, ...]


def read_slices(folder: Path) -> tuple[list[DicomSlice], int]:
    """Every slice of MR in a folder and below, and how many other files there are; raises FileUnreadable."""
    frames: list[DicomSlice] = []
    n_other = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name.upper() != "DICOMDIR"):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, EOFError, ValueError):
            n_other += 1
            continue
        if header.get("Modality") != "MR" or not header.get("Rows"):
            n_other += 1
            continue
        try:
            frames += _frames_of(header, path)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise FileUnreadable(
                f"{path.name} lacks the place of its slices, or holds it in a form that DICOM does not know "
                f"({type(error).__name__}); export the scan again, or leave the file out."
            ) from error
    return frames, n_other


def _frames_of(header: Dataset, path: Path) -> list[DicomSlice]:
    """One frame of a classic file, all frames of an enhanced one."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [_frame(header, [header], path, 0)]
    shared = header.get("SharedFunctionalGroupsSequence") or []
    common = [item for group in shared for item in _items(group)]
    return [
        _frame(header, [*_items(group), *common, header], path, n)
        for n, group in enumerate(header.PerFrameFunctionalGroupsSequence)
    ]


def _items(group: Dataset) -> list[Dataset]:
    """The items of all sequences of a functional group."""
    return [item for element in group if element.VR == "SQ" for item in element.value]


def _frame(header: Dataset, where: list[Dataset], path: Path, index: int) -> DicomSlice:
    def get(*names: str) -> Any:
        """The first of these that is there and not empty, in the frame before the file."""
        for name in names:
            for dataset in where:
                value = dataset.get(name)
                if value is not None and value != "":
                    return value
        return None

    position, cosines, spacing = get("ImagePositionPatient"), get("ImageOrientationPatient"), get("PixelSpacing")
    if position is None or cosines is None or spacing is None or len(position) != 3 or len(cosines) != 6:
        raise ValueError("no position, orientation or spacing")
    manufacturer = str(header.get("Manufacturer") or "")
    image_type = tuple(str(v) for v in (get("FrameType", "ImageType") or ()))
    te = _number(get("EffectiveEchoTime", "EchoTime"))
    return DicomSlice(
        path,
        index,
        _kind(get("ComplexImageComponent"), header, manufacturer, image_type),
        None if te is None or te == 0.0 else round(1e-3 * te, 8),
        (float(position[0]), float(position[1]), float(position[2])),
        tuple(float(v) for v in cosines),
        (float(spacing[0]), float(spacing[1])),
        (int(header.Rows), int(header.Columns)),
        _number(get("RescaleSlope")) or 1.0,
        _number(get("RescaleIntercept")) or 0.0,
        _number(get("SpacingBetweenSlices", "SliceThickness")) or 1.0,
        int(header.get("SeriesNumber") or 0),
        str(header.get("SeriesInstanceUID") or ""),
        str(header.get("SeriesDescription") or ""),
        _number(get("MagneticFieldStrength")),
        _number(get("ImagingFrequency", "TransmitterFrequency")),
        manufacturer,
        image_type,
    )


def _kind(component: Any, header: Dataset, manufacturer: str, image_type: tuple[str, ...]) -> str | None:
    named = str(component or "").lower()
    if named in KINDS:
        return named
    private = header.get(GE_KIND)
    if private is not None and manufacturer.upper().startswith("GE"):
        value = private.value
        if isinstance(value, bytes):  # an unknown private tag of an implicit file: two bytes, little-endian
            value = int.from_bytes(value[:2], "little")
        elif not isinstance(value, int | str | float):
            value = value[0]
        if 0 <= int(value) < len(GE_KINDS):
            return GE_KINDS[int(value)]
    return kind_from_image_type(image_type)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def pixels(v: Sequence[DicomSlice]) -> Tensor:
    """The stored numbers of these slices, with their slopes and intercepts: (x, y, z); raises FileUnreadable."""
    decoded: dict[Path, tuple[np.ndarray, bool]] = {}
    slices = []
    for f in v:
        if f.path not in decoded:
            if len({g.path for g in v}) > 1:
                decoded.clear()  # classic files hold one slice each
            decoded[f.path] = _decoded(f.path)
        stack, scaled = decoded[f.path]
        one = stack[f.index].astype(np.float32)
        slices.append(one if scaled else one * f.slope + f.intercept)
    return torch.from_numpy(np.ascontiguousarray(np.stack(slices).transpose(2, 1, 0), dtype=np.float32))


def _decoded(path: Path) -> tuple[np.ndarray, bool]:
    """The frames of a file (frame, row, column), and whether slope and intercept are in them already."""
    try:
        stack = np.asarray(pydicom.dcmread(path).pixel_array)
        return (stack[None] if stack.ndim == 2 else stack), False
    except TypeError as error:  # lists where numbers belong, of which SimpleITK would take the first
        raise FileUnreadable(
            f"The pixels of {path.name} cannot be read: their header holds a list where a number belongs; export the "
            "scan again."
        ) from error
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        try:
            stack = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except RuntimeError:
            raise FileUnreadable(
                f"The pixels of {path.name} cannot be read ({error}); export the scan again without compression."
            ) from error
        stack = stack.reshape(-1, *stack.shape[-2:])
        if len(stack) > 1:
            raise FileUnreadable(
                f"{path.name} holds {len(stack)} compressed frames; export the scan again without compression."
            ) from error
        return stack, True
