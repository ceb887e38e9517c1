"""The headers of the slices in DICOM files, classic, multi-frame or mosaic.

They are read by pydicom, as multi-frame files describe each slice in nested sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from IR2QSMLib.core.errors import FileUnreadable
from IR2QSMLib.core.units import field_unit
from IR2QSMLib.io.acquisition import KINDS
from IR2QSMLib.io.dicom_files import DAMAGE, read_dataset
from IR2QSMLib.io.image_kind import FIELD, kind_from_image_type, words_of
from IR2QSMLib.io.mosaic import mosaic_of

GE_KIND_TAG = (0x0043, 0x102F)
"""GE's private number of the kind of image: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
GE_KINDS = ("magnitude", "phase", "real", "imaginary")
FLOW_TYPES, FLOW_UNITS = {"PCA", "PC", "PC_MAGN", "PHASE CONTRAST M"}, ("cm/s", "mm/s", "m/s")
"""Image types and units of maps of flow, which Philips calls velocity as it calls B0 maps."""
COIL_TAGS = ((0x0051, 0x100F), (0x0021, 0x114F))
"""Siemens' private names of the receive coils, in classic and in XA's multi-frame files."""


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
    """Series Instance UID."""
    description: str
    """Series Description."""
    sop_uid: str
    """SOP Instance UID of its file, the same in copies."""
    sop_class: str
    """UID of its file's class."""
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
    unit: str = "hz"
    """Unit of a field that the scanner computed."""
    coil: str = ""
    """Receive coil, where the header names one."""
    time: tuple[float, float, str, int] = (0.0, 0.0, "", 0)
    """By which slices of one place are sorted: temporal position, acquisition, time, instance number."""
    volume: int = 0
    """Number of its volume, from 1, where several images of one kind and echo share a place; else 0."""
    tiles_per_row: int = 0
    """Tiles in a row of the mosaic whose tile `index` this is; 0 where there is no mosaic."""


def read_slices(folder: Path) -> tuple[list[DicomSlice], int]:
    """The headers of all MR slices in a folder and its subfolders.

    Returns
    -------
    slices, n_other_files
        In the order of the files' names; files that are no DICOM images of MR are counted.

    Raises
    ------
    FileUnreadable
        When a header does not say where its slices lie, or how a mosaic is cut and no other series is a phase.
    """
    slices: list[DicomSlice] = []
    refused: list[FileUnreadable] = []
    n_other_files = 0
    for path, header in _headers_in(folder):
        if header is None:
            n_other_files += 1
            continue
        try:
            slices += _slices_of(header, path)
        except FileUnreadable as error:  # a mosaic that cannot be cut may lie beside the scan
            refused.append(error)
        except DAMAGE as error:
            raise FileUnreadable(
                f"{path.name} lacks the place of its slices, or holds it in a form that DICOM does not know "
                f"({type(error).__name__}); export the scan again, or leave the file out."
            ) from error
    if refused and not any(s.kind in ("phase", "real", "imaginary") for s in slices):
        raise refused[0]
    return slices, n_other_files + len(refused)


def kinds_up_to_phase(folder: Path) -> set[str | None]:
    """The kinds of the MR images in a folder, up to the first that is a phase or a part of it."""
    kinds: set[str | None] = set()
    for path, header in _headers_in(folder):
        with suppress(FileUnreadable, *DAMAGE):
            kinds |= set() if header is None else {s.kind for s in _slices_of(header, path)}
        if kinds & {"phase", "real", "imaginary"}:
            break
    return kinds


def _headers_in(folder: Path) -> Iterator[tuple[Path, Dataset | None]]:
    """The headers of all files in a folder and its subfolders, in the order of their names; None of all but MR."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name.upper() != "DICOMDIR"):
        try:
            header = read_dataset(path, stop_before_pixels=True)
            is_image = header.get("Modality") == "MR" and header.get("Rows")
        except (InvalidDicomError, *DAMAGE):
            is_image = False
        yield path, header if is_image else None


def _slices_of(header: Dataset, path: Path) -> list[DicomSlice]:
    """The one slice of a classic file, or all slices of an enhanced one."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        single = _slice_from(header, [header], path, 0)
        if "MOSAIC" not in words_of(single.image_type):
            return [single]
        mosaic = mosaic_of(header, single.position, single.orientation, path.name)
        tiles = replace(single, size=mosaic.size, tiles_per_row=mosaic.tiles_per_row)
        return [replace(tiles, index=n, position=place) for n, place in enumerate(mosaic.positions)]
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
    rescale_type = str(get("RescaleType") or "")
    unit = field_unit(rescale_type)
    kind = _kind(get("ComplexImageComponent"), header, manufacturer, image_type)
    if kind_from_image_type(image_type) == FIELD or unit not in (None, "rad"):
        kind = FIELD
    if words_of(image_type) & FLOW_TYPES or rescale_type.strip().lower() in FLOW_UNITS:
        kind = None
    te_ms = _number(get("EffectiveEchoTime", "EchoTime"))
    coils = [dataset[tag].value for tag in COIL_TAGS for dataset in datasets if tag in dataset]
    coil = next((value for value in coils if isinstance(value, str | bytes)), get("ReceiveCoilName")) or ""
    time = str(get("FrameAcquisitionDateTime", "AcquisitionTime", "ContentTime") or "")
    return DicomSlice(
        path=path,
        index=index,
        kind=kind,
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
        sop_class=str(header.get("SOPClassUID") or ""),
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
        unit=unit or "hz",
        coil=(coil.decode(errors="replace") if isinstance(coil, bytes) else str(coil)).strip(),
        time=(
            _number(get("TemporalPositionIndex", "TemporalPositionIdentifier")) or 0.0,
            _number(get("AcquisitionNumber")) or 0.0,
            time,
            int(_number(get("InstanceNumber")) or 0) + index,
        ),
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
