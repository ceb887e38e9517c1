"""The slices of DICOM files, classic or multi-frame: their headers and their pixels.

Headers are read by pydicom, as multi-frame files describe each slice in nested sequences; pixels as well, and by
SimpleITK where they are compressed.
"""

from __future__ import annotations

import hashlib
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
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable
from IR2QSMLib.core.units import field_unit
from IR2QSMLib.io.acquisition import KINDS
from IR2QSMLib.io.image_kind import FIELD, kind_from_image_type

GE_KIND_TAG = (0x0043, 0x102F)
"""GE's private number of the kind of image: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
GE_KINDS = ("magnitude", "phase", "real", "imaginary")


@dataclass(frozen=True)
class DicomSlice:
    """One slice: its place in the patient, its kind of image, and where its pixels are stored."""

    path: Path
    index: int
    """Number of its frame in the file, from 0."""
    kind: str | None
    """One of `KINDS`, or None if the header states none."""
    echo_time: float | None
    """[s]"""
    position: tuple[float, float, float]
    """Centre of the first voxel in the patient (LPS) [mm]."""
    orientation: tuple[float, ...]
    """Direction cosines of the rows (3) and of the columns (3)."""
    spacing: tuple[float, float]
    """Between rows, between columns [mm]."""
    size: tuple[int, int]
    """Rows, columns."""
    slope: float
    """Value = slope · stored number + intercept."""
    intercept: float
    thickness: float
    """Distance between slices, or else their thickness [mm]."""
    series: int
    """Number of its series."""
    uid: str
    """Of its series."""
    description: str
    """Of its series."""
    sop_uid: str
    """Of its file, the same in copies."""
    study: tuple[str, str, str]
    """Patient, StudyInstanceUID and FrameOfReferenceUID."""
    acquisition_time: str
    """As the header writes it; empty without one."""
    sequence_name: str
    b0: float | None
    """Field strength [T]."""
    frequency: float | None
    """Imaging frequency [MHz]."""
    manufacturer: str
    image_type: tuple[str, ...]


def read_slices(folder: Path) -> tuple[list[DicomSlice], int]:
    """The headers of all MR slices in a folder and its subfolders.

    Returns
    -------
    slices, n_other_files
        In the order of the files' names; files that are no DICOM images of MR are counted.

    Raises
    ------
    FileUnreadable
        When a header does not say where its slices lie.
    """
    slices: list[DicomSlice] = []
    n_other_files = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name.upper() != "DICOMDIR"):
        try:
            header = _read(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, EOFError, ValueError):
            n_other_files += 1
            continue
        if header.get("Modality") != "MR" or not header.get("Rows"):
            n_other_files += 1
            continue
        try:
            slices += _slices_of(header, path)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise FileUnreadable(
                f"{path.name} lacks the place of its slices, or holds it in a form that DICOM does not know "
                f"({type(error).__name__}); export the scan again, or leave the file out."
            ) from error
    return slices, n_other_files


def read_pixels(slices: Sequence[DicomSlice]) -> Tensor:
    """Read the pixels of slices of one grid.

    Parameters
    ----------
    slices
        In the order of their positions.

    Returns
    -------
    Tensor
        Values after slope and intercept, float32: (x, y, z).

    Raises
    ------
    FileUnreadable
        When the pixels of a file cannot be decoded.
    """
    decoded: dict[Path, tuple[np.ndarray, bool]] = {}
    images = []
    several_files = len({s.path for s in slices}) > 1
    for s in slices:
        if s.path not in decoded:
            if several_files:
                decoded.clear()  # classic files hold one slice each
            decoded[s.path] = _decode(s.path)
        stack, is_scaled = decoded[s.path]
        image = stack[s.index].astype(np.float32)
        images.append(image if is_scaled else image * s.slope + s.intercept)
    return torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(2, 1, 0), dtype=np.float32))


def digest_of_middle_slice(slices: Sequence[DicomSlice]) -> str:
    """SHA-256 of the values of the middle one of sorted slices: it tells scans apart and names nobody."""
    return hashlib.sha256(read_pixels([slices[len(slices) // 2]]).numpy().tobytes()).hexdigest()


def _read(path: Path, **options: Any) -> Dataset:
    """Read a DICOM file, also one without preamble; raises InvalidDicomError for other files."""
    with path.open("rb") as file:
        start = file.read(132)
    # Without a preamble a file starts with a tag of group 2 or 8, little-endian, and no other kind of file does.
    bare = start[128:] != b"DICM" and start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00"
    dataset = pydicom.dcmread(path, force=bare, **options)
    if bare and "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def _slices_of(header: Dataset, path: Path) -> list[DicomSlice]:
    """The one slice of a classic file, or all slices of an enhanced one."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [_slice_from(header, [header], path, 0)]
    shared_groups = header.get("SharedFunctionalGroupsSequence") or []
    shared = [item for group in shared_groups for item in _items(group)]
    return [
        _slice_from(header, [*_items(group), *shared, header], path, n)
        for n, group in enumerate(header.PerFrameFunctionalGroupsSequence)
    ]


def _items(group: Dataset) -> list[Dataset]:
    """The items of all sequences of a functional group."""
    return [item for element in group if element.VR == "SQ" for item in element.value]


def _slice_from(header: Dataset, datasets: list[Dataset], path: Path, index: int) -> DicomSlice:
    """A slice from the header of its file and the datasets that describe it, its own before the file's."""

    def get(*names: str) -> Any:
        """The first of these attributes that has a value."""
        for name in names:
            for dataset in datasets:
                value = dataset.get(name)
                if value is not None and value != "":
                    return value
        return None

    position, cosines, spacing = get("ImagePositionPatient"), get("ImageOrientationPatient"), get("PixelSpacing")
    if position is None or cosines is None or spacing is None or len(position) != 3 or len(cosines) != 6:
        raise ValueError("no position, orientation or spacing")
    manufacturer = str(header.get("Manufacturer") or "")
    image_type = tuple(str(v) for v in (get("FrameType", "ImageType") or ()))
    is_field = kind_from_image_type(image_type) == FIELD or field_unit(str(get("RescaleType") or "")) is not None
    te_ms = _number(get("EffectiveEchoTime", "EchoTime"))
    return DicomSlice(
        path=path,
        index=index,
        kind=FIELD if is_field else _kind(get("ComplexImageComponent"), header, manufacturer, image_type),
        echo_time=None if te_ms is None or te_ms == 0.0 else round(1e-3 * te_ms, 8),
        position=(float(position[0]), float(position[1]), float(position[2])),
        orientation=tuple(float(v) for v in cosines),
        spacing=(float(spacing[0]), float(spacing[1])),
        size=(int(header.Rows), int(header.Columns)),
        slope=_number(get("RescaleSlope")) or 1.0,
        intercept=_number(get("RescaleIntercept")) or 0.0,
        thickness=_number(get("SpacingBetweenSlices", "SliceThickness")) or 1.0,
        series=int(header.get("SeriesNumber") or 0),
        uid=str(header.get("SeriesInstanceUID") or ""),
        description=str(header.get("SeriesDescription") or ""),
        sop_uid=str(header.get("SOPInstanceUID") or ""),
        study=(
            str(header.get("PatientID") or ""),
            str(header.get("StudyInstanceUID") or ""),
            str(header.get("FrameOfReferenceUID") or ""),
        ),
        acquisition_time=str(header.get("AcquisitionDateTime") or header.get("AcquisitionTime") or ""),
        sequence_name=str(header.get("SequenceName") or header.get("PulseSequenceName") or ""),
        b0=_number(get("MagneticFieldStrength")),
        frequency=_number(get("ImagingFrequency", "TransmitterFrequency")),
        manufacturer=manufacturer,
        image_type=image_type,
    )


def _kind(component: Any, header: Dataset, manufacturer: str, image_type: tuple[str, ...]) -> str | None:
    """The kind of image by the complex image component, GE's private number, or the image type."""
    name = str(component or "").lower()
    if name in KINDS:
        return name
    private = header.get(GE_KIND_TAG)
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
    """A header's number, the first of several, or None where there is none."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def _decode(path: Path) -> tuple[np.ndarray, bool]:
    """The pixels of a file (slice, row, column), and whether slope and intercept are applied already."""
    try:
        stack = np.asarray(_read(path).pixel_array)
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
