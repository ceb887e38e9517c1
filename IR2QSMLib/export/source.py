"""The series of DICOM that a map comes from: found by its grid, and by the digest in the map's provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid, GridMismatch, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.export.headers import UIDS, Anonymiser, inherited
from IR2QSMLib.io.acquisition import KINDS
from IR2QSMLib.io.dicom import dicom_volumes, grid_of_slices, in_order
from IR2QSMLib.io.dicom_groups import Volume, describe, grid_key
from IR2QSMLib.io.dicom_pixels import digest_of_middle_slice
from IR2QSMLib.io.dicom_slices import DicomSlice
from IR2QSMLib.io.image_kind import PROCESSED_TYPES, words_of

OPTION = "like"


@dataclass(frozen=True)
class Source:
    """The images that a map was made of, slice by slice along their normal."""

    grid: Grid
    headers: tuple[Dataset, ...]
    """What a map inherits, a slice each."""
    references: tuple[tuple[Dataset, ...], ...]
    """All images of the scan at the place of a slice, as items of a Source Image Sequence."""
    images: tuple[Dataset, ...]
    """Headers of the series that is referenced: a slice each, or one of a multi-frame file."""
    echo_times: tuple[float, ...]
    """Echo times of the scan [s]."""
    highest_series: int
    """Number of the folder's last series."""
    checked: bool
    """Whether the pixels were compared with what the map's provenance says of its scan."""


def find_source(
    folder: Path,
    chi_grid: Grid,
    chi_name: str,
    digest: str | None,
    series: Sequence[str] | None = None,
    anonymiser: Anonymiser | None = None,
) -> Source:
    """The series in a folder that a map comes from.

    Parameters
    ----------
    folder
        Searched with its subfolders.
    chi_grid, chi_name
        The map's grid, whose axes may be stored in another order or direction, and its name for messages.
    digest
        Of the first image that the map was made of, as its provenance has it; None where it has none.
    series
        Numbers of the series to look at; None for all.
    anonymiser
        Takes out of the headers what identifies a person.

    Raises
    ------
    FileUnreadable
        Without an MR image, or when the images lack what others need to refer to them.
    GridMismatch
        When no series lies on the map's grid.
    ParameterInvalid
        When there are several patients, studies or places in the scanner, or the map was made of other images.
    """
    volumes, _ = dicom_volumes(folder)
    if series is not None:
        chosen = [v for v in volumes if str(v[0].series) in series]
        if not chosen:
            raise ParameterInvalid(
                f"There is no series {', '.join(series)} in '{folder.name}', but {describe(volumes)}; choose "
                "among them.",
                option="series",
            )
        volumes = chosen
    _require_one([v[0].study[0] for v in volumes], "patients")
    _require_one([v[0].study[1] for v in volumes], "studies")
    on_grid = _on_grid(volumes, chi_grid)
    if not on_grid:
        x, y, z = chi_grid.shape
        edges = " × ".join(f"{v:g}" for v in chi_grid.voxel_size)
        raise GridMismatch(
            f"No series in '{folder.name}' lies on the grid of {chi_name}, {x}×{y}×{z} voxels of {edges} mm: it holds "
            f"{describe(volumes)}. Give the scan that the map was made of, or resample the map to its grid.",
            option=OPTION,
        )
    checked = False
    if digest is not None:
        raw = sorted((v for v in on_grid if v[0].kind in KINDS[:1] + KINDS[2:]), key=lambda v: v[0].echo_time or 0.0)
        first = next((v for v in raw if digest_of_middle_slice(v) == digest), None)
        if raw and first is None:
            raise ParameterInvalid(
                f"The images in '{folder.name}' are not those that {chi_name} was made of: they lie on its grid, but "
                "their pixels differ from what its JSON says of them. They are of another patient or another scan; "
                "give the folder that the map was reconstructed from.",
                option=OPTION,
            )
        if first is not None:
            checked = True
            on_grid = [v for v in on_grid if v[0].study == first[0].study]
    _require_one([v[0].study[2] for v in on_grid], "frames of reference")
    template = min(on_grid, key=_rank)
    scan = [v for v in on_grid if v[0].kind in KINDS and grid_key(v[0]) == grid_key(template[0])] or [template]
    headers, images = _headers(template, anonymiser)
    n_of_file = Counter(s.path for v in volumes for s in v)
    references = tuple(
        tuple(_reference(v[i], n_of_file[v[i].path] > 1, anonymiser) for v in scan) for i in range(len(template))
    )
    return Source(
        grid_of_slices(template),
        headers,
        references,
        images,
        tuple(sorted({v[0].echo_time for v in scan if v[0].echo_time is not None})),
        max(v[0].series for v in volumes),
        checked,
    )


def _require_one(names: Sequence[str], what: str) -> None:
    n = len(set(names))
    if n > 1:
        raise ParameterInvalid(
            f"The DICOM folder holds images of {n} {what}; expected one. Give the folder of one study, or the map's "
            "series with --series.",
            option=OPTION,
        )


def _on_grid(volumes: Sequence[Volume], grid: Grid) -> list[Volume]:
    """The volumes on a grid, their slices in order."""
    found = []
    for v in volumes:
        slices = in_order(v)
        try:
            grid.reorientation_onto(grid_of_slices(slices), "the map", "the series")
        except (GridInvalid, GridMismatch):
            continue
        found.append(slices)
    return found


def _rank(v: Volume) -> tuple[Any, ...]:
    """How well a volume stands for its scan: a magnitude first, and an early echo."""
    first = v[0]
    order = {"magnitude": 0, "phase": 1, "real": 2, "imaginary": 3, None: 4}
    processed = bool(words_of(first.image_type) & PROCESSED_TYPES)
    return order.get(first.kind, 5), processed, first.echo_time or 0.0, first.series


def _headers(slices: Volume, anonymiser: Anonymiser | None) -> tuple[tuple[Dataset, ...], tuple[Dataset, ...]]:
    """What a map inherits from each slice, and the headers that others may refer to; raises FileUnreadable."""
    files = {s.path: _read(s.path) for s in slices}
    headers = []
    for s in slices:
        file = files[s.path]
        groups = file.get("PerFrameFunctionalGroupsSequence")
        frame = [] if groups is None else _items(groups[s.index])
        shared = [item for group in file.get("SharedFunctionalGroupsSequence") or [] for item in _items(group)]
        headers.append(inherited([*frame, *shared, file]))
    _require_references(slices, headers)
    if anonymiser is not None:
        headers = [anonymiser.source(header) for header in headers]
    if "PerFrameFunctionalGroupsSequence" not in files[slices[0].path]:
        return tuple(headers), tuple(headers)
    if len(files) > 1:
        raise FileUnreadable(
            f"The slices of series {slices[0].series} lie in {len(files)} multi-frame files, and no object can refer "
            "to a volume in that form; export the scan again as one multi-frame file, or as classic single slices.",
            option=OPTION,
        )
    return tuple(headers), (_multi_frame(slices, headers, files[slices[0].path]),)


def _read(path: Path) -> Dataset:
    """A header; a file without preamble was accepted by the reader of slices."""
    return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _items(group: Dataset) -> list[Dataset]:
    return [item for element in group if element.VR == "SQ" for item in element.value]


def _require_references(slices: Volume, headers: Sequence[Dataset]) -> None:
    """Raise FileUnreadable unless all slices say to which instance, series, study and place they belong."""
    for keyword in ("SOPClassUID", *UIDS):
        values = {str(header.get(keyword) or "") for header in headers}
        if "" in values:
            raise FileUnreadable(
                f"Series {slices[0].series} lacks its {keyword}, so nothing can refer to it; export the scan again "
                "from the scanner or the archive.",
                option=OPTION,
            )
        if len(values) > 1 and keyword != "SOPInstanceUID":
            raise FileUnreadable(
                f"The slices of series {slices[0].series} have {len(values)} different {keyword}s, as some programs "
                "that anonymise leave them; export the scan again from the scanner or the archive.",
                option=OPTION,
            )


def _multi_frame(slices: Volume, headers: Sequence[Dataset], file: Dataset) -> Dataset:
    """The header of a multi-frame file as highdicom matches frames by: places and spacing, and what is inherited."""
    n_frames = len(file.PerFrameFunctionalGroupsSequence)
    if int(file.get("NumberOfFrames") or 0) != n_frames:
        raise FileUnreadable(
            f"The multi-frame file of series {slices[0].series} says that it has {file.get('NumberOfFrames')} frames "
            f"and describes {n_frames}, so its frames cannot be referred to; export the scan again.",
            option=OPTION,
        )
    out, shared, measures, orientation = Dataset(), Dataset(), Dataset(), Dataset()
    for element in headers[0]:
        if element.keyword not in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            out.add(element)
    measures.PixelSpacing = headers[0].PixelSpacing
    measures.SliceThickness = headers[0].get("SliceThickness") or slices[0].thickness
    orientation.ImageOrientationPatient = headers[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    out.SharedFunctionalGroupsSequence, out.NumberOfFrames = [shared], n_frames
    used = {s.index: header for s, header in zip(slices, headers, strict=True)}
    frames = []
    for index, group in enumerate(file.PerFrameFunctionalGroupsSequence):
        frame, position = Dataset(), Dataset()
        header = used[index] if index in used else inherited(_items(group))
        position.ImagePositionPatient = header.get("ImagePositionPatient", headers[0].ImagePositionPatient)
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    out.PerFrameFunctionalGroupsSequence = frames
    return out


def _reference(s: DicomSlice, is_frame: bool, anonymiser: Anonymiser | None) -> Dataset:
    """An item of a Source Image Sequence."""
    item = Dataset()
    item.ReferencedSOPClassUID = s.sop_class
    item.ReferencedSOPInstanceUID = s.sop_uid if anonymiser is None else anonymiser.uid(s.sop_uid)
    if is_frame:
        item.ReferencedFrameNumber = s.index + 1
    return item
