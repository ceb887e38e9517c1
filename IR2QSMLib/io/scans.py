"""The way from a folder or a few images to the acquisition in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, ParameterInvalid
from IR2QSMLib.io.acquisition import Acquisition, Echo
from IR2QSMLib.io.bids import bids_echoes
from IR2QSMLib.io.dicom import dicom_echoes
from IR2QSMLib.io.image_echoes import file_echoes
from IR2QSMLib.io.image_kind import COMPLEX, image_kind, kind_by_name
from IR2QSMLib.io.parrec import is_parrec, parrec_echoes
from IR2QSMLib.io.repetitions import assemble_scan


def find_acquisition(
    source: Path | Sequence[Path],
    magnitude: Sequence[Path] = (),
    *,
    echo_times: Sequence[float] | None = None,
    b0: float | None = None,
    series: Sequence[int | str] | None = None,
    volume: str | int | None = None,
    real: Sequence[str] = (),
    imaginary: Sequence[str] = (),
    manufacturer: str | None = None,
) -> Acquisition:
    """The acquisition in a folder of DICOM or of NIfTI with sidecars, or in phase and magnitude images.

    Parameters
    ----------
    source
        A folder, read as BIDS if it has NIfTI files, else as DICOM or PAR/REC; or images of phase, or complex ones.
    magnitude
        Images of magnitude, which replace those of the folder.
    echo_times, b0
        The user's echo times [s], in the order of the images, and field strength [T]; by default those of the headers.
    series
        The scan to use where there are several: numbers of DICOM series, or names as the message lists them.
    volume
        Number of the volume of a time series, from 1, or "mean" for the complex mean of all.
    real, imaginary
        Series or files in the folder that are real and imaginary parts, where nothing else says so. Of images one by
        one, `source` is the real part and `imaginary` names files.
    manufacturer
        Of the scanner; by default that of the headers.

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, ParameterInvalid
        As `io.repetitions.assemble_scan` does, and for files that cannot be read.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    in_time = volume is not None
    if not paths[0].is_dir() and (real or imaginary):
        echoes, notes = _parts_in_files(paths, real, imaginary, in_time), []
    elif not paths[0].is_dir() and _overruled_by_user(paths, magnitude):
        echoes = file_echoes(paths, "phase", believe_kind=True, in_time=in_time)
        notes = ["Phase and magnitude are as they were given; names or sidecars say otherwise."]
    else:
        echoes, notes = echoes_in(paths, series, real=real, imaginary=imaginary, in_time=in_time)
    if magnitude:
        echoes = [e for e in echoes if e.kind != "magnitude"]
        believe = _overruled_by_user(paths, magnitude)
        magnitudes = file_echoes(magnitude, "magnitude", believe_kind=believe, in_time=in_time)
        wrong = next((e for e in magnitudes if e.kind != "magnitude"), None)
        if wrong is not None:
            raise FieldInvalid(
                f"{wrong.name}, given as magnitude, says that it is {wrong.kind}; give the magnitude.",
                option="magnitude",
            )
        echoes += _with_echo_times_of(echoes, magnitudes)
    if manufacturer is not None:
        echoes = [replace(e, manufacturer=manufacturer) for e in echoes]
    return assemble_scan(echoes, volume, notes=notes, echo_times=echo_times, b0=b0)


def echoes_in(
    paths: Sequence[Path], series: Sequence[int | str] | None = None, **options: Any
) -> tuple[list[Echo], list[str]]:
    """The echoes of one scan in a folder or in images of phase, not yet checked against each other, and notes.

    `options` are those of `io.bids.bids_echoes`.
    """
    if len(paths) == 1 and paths[0].is_dir():
        parts = {kind: options.get(kind, ()) for kind in ("real", "imaginary")}
        try:
            echoes, notes = bids_echoes(paths[0], series, **options)
        except FileUnreadable as error:  # the NIfTI files may be maps written beside a scan in DICOM
            try:
                return dicom_echoes(paths[0], series, **parts)
            except FileUnreadable:
                raise error from None
        if echoes:
            return echoes, notes
        return _par_echoes(paths[0], series) or dicom_echoes(paths[0], series, **parts)
    echoes = file_echoes(paths, "phase", in_time=options.get("in_time", False))
    if series is not None:
        raise ParameterInvalid(
            f"'{paths[0].name}' is one image, and has no series; leave --series out.", option="series"
        )
    return echoes, []


def _par_echoes(folder: Path, series: Sequence[int | str] | None) -> tuple[list[Echo], list[str]] | None:
    """The echoes of the one PAR file with phase in a folder, or of that which `series` names; None without any."""
    files = sorted(p for p in folder.rglob("*") if is_parrec(p) and p.suffix.lower() == ".par")
    if not files:
        return None
    scans = {p.stem: parrec_echoes(p) for p in files}
    scans = {name: s for name, s in scans.items() if any(e.kind in ("phase", "real") for e in s)} or scans
    chosen = [name for name in scans if series is None or name in map(str, series)]
    if len(chosen) != 1:
        raise ParameterInvalid(
            f"The PAR files of several scans are in '{folder.name}': {', '.join(scans)}. Say which with --series, such "
            f"as --series {next(iter(scans))}.",
            option="series",
        )
    left_out = [p.name for p in files if p.stem != chosen[0]]
    return scans[chosen[0]], [f"Left out of the folder: {', '.join(left_out)}."] if left_out else []


def _parts_in_files(paths: Sequence[Path], real: Sequence[str], imaginary: Sequence[str], in_time: bool) -> list[Echo]:
    """The echoes of real parts and of the imaginary ones that are named beside them; raises ParameterInvalid."""
    if real:
        raise ParameterInvalid(
            f"--real goes with a folder, and {paths[0].name} is one image: give the real part as FIELD and the "
            "imaginary one with --imaginary FILE.",
            option="real",
        )
    parts = file_echoes(paths, "real", believe_kind=True, in_time=in_time)
    return parts + file_echoes([Path(name) for name in imaginary], "imaginary", believe_kind=True, in_time=in_time)


def _overruled_by_user(phases: Sequence[Path], magnitudes: Sequence[Path]) -> bool:
    """Whether files that were given as phase and magnitude are of one kind by their sidecars, or the latter are real.

    Names that say the opposite are believed, and so are sidecars that say it: then the files were confused.
    """
    if not magnitudes or any(p.is_dir() or is_parrec(p) for p in (*phases, *magnitudes)):
        return False
    kinds = [{image_kind(p) for p in paths} for paths in (phases, magnitudes)]
    if COMPLEX in kinds[0] | kinds[1] or any(kind_by_name(p) == "phase" for p in magnitudes):
        return False
    if any(kind_by_name(p) == "magnitude" for p in phases):
        return False
    same = kinds[0] == kinds[1] and len(kinds[0]) == 1 and None not in kinds[0]
    return same or (kinds[0] <= {"phase", None} and kinds[1] <= {"real"})


def _with_echo_times_of(echoes: list[Echo], magnitudes: list[Echo]) -> list[Echo]:
    """The magnitudes with the echo times of the phases, where none of the magnitudes has a sidecar with its own."""
    phase_times = [e.echo_time for e in echoes if e.kind == "phase"]
    if any(e.echo_time is not None for e in magnitudes) or len(magnitudes) != len(phase_times):
        return magnitudes
    return [replace(e, echo_time=te) for e, te in zip(magnitudes, phase_times, strict=True)]
