"""Total fields (B0 maps) wherever they come from: image files, PAR/REC, and folders of NIfTI or DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.bids import image_files, read_field
from IR2QSMLib.io.image_kind import COMPLEX, FIELD, image_kind, names_total_field
from IR2QSMLib.io.images import has_orientation
from IR2QSMLib.io.parrec import is_parrec, parrec_echoes
from IR2QSMLib.io.sidecars import read_sidecar

T = TypeVar("T")
PHASES = ("phase", "real", "imaginary", COMPLEX)


@dataclass(frozen=True)
class TotalFieldImage:
    """A total field as it is stored, and what is stated beside it."""

    values: Tensor
    """In the unit of `header`, float32: (x, y, z)."""
    grid: Grid
    name: str
    """For messages and the provenance."""
    header: dict[str, Any]
    """Units, MagneticFieldStrength [T] and EchoTime [s], by the names of BIDS, as far as they are stated."""
    has_orientation: bool = True
    """Whether it says how it lies in the patient."""


def read_total_field(source: Path, series: Sequence[int | str] | None = None) -> TotalFieldImage:
    """Read a total field.

    Parameters
    ----------
    source
        Image file, PAR file, or folder with one total field.
    series
        Number of the DICOM series, or name of the file, where a folder has several fields.

    Raises
    ------
    FieldInvalid
        When a folder or PAR file has no field that a scanner computed.
    FileUnreadable, GridInvalid, ParameterInvalid
    """
    if is_parrec(source):
        return _of_echo(_only([e for e in parrec_echoes(source) if e.kind == FIELD], source, "its phases"), "hz")
    if not source.is_dir():
        values, grid = read_field(source)
        return TotalFieldImage(values, grid, source.name, read_sidecar(source), has_orientation(source))
    chosen = None if series is None else set(map(str, series))
    files = image_files(source)
    if files:
        fields = [p for p in files if _is_total_field(p)]
        if chosen is not None:
            fields = [p for p in fields if p.name in chosen]
        return read_total_field(_only(fields, source, ", ".join(p.name for p in files[:6])))
    from IR2QSMLib.io.dicom import dicom_volumes, echo_of
    from IR2QSMLib.io.dicom_groups import describe

    volumes, _ = dicom_volumes(source)
    maps = [v for v in volumes if v[0].kind == FIELD and (chosen is None or str(v[0].series) in chosen)]
    volume = _only(maps, source, describe(volumes))
    return _of_echo(echo_of(volume), volume[0].unit)


def holds_total_field(folder: Path) -> bool:
    """Whether a folder has a field that a scanner computed, and no phase."""
    from IR2QSMLib.io.dicom_slices import kinds_up_to_phase

    files = image_files(folder)
    if not files:
        kinds = kinds_up_to_phase(folder)
        return FIELD in kinds and not kinds & set(PHASES)
    if not any(map(_is_total_field, files)) or any(image_kind(p) in PHASES for p in files):
        return False
    return not kinds_up_to_phase(folder) & set(PHASES)  # the fields may be maps written beside a scan in DICOM


def _is_total_field(path: Path) -> bool:
    return image_kind(path) == FIELD and names_total_field(path)


def _of_echo(echo: Echo, unit: str) -> TotalFieldImage:
    header = {"Units": unit, "MagneticFieldStrength": echo.b0, "EchoTime": echo.echo_time}
    return TotalFieldImage(echo.read_values(), echo.grid, echo.name, header, echo.has_orientation)


def _only(fields: list[T], source: Path, present: str) -> T:
    """The one field; raises FieldInvalid or ParameterInvalid for none or several."""
    if not fields:
        raise FieldInvalid(
            f"'{source.name}' holds no total field that says so by ImageType, Units or name, but {present}; give the "
            "file of the field itself with --input total-field, or the phase with --input phase.",
            option="field",
        )
    if len(fields) > 1:
        raise ParameterInvalid(
            f"'{source.name}' holds {len(fields)} total fields, of {present}; say which with --series.", option="series"
        )
    return fields[0]
