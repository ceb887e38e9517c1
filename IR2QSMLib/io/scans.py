"""Finding the one scan that a user means, in a folder or in a few images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, ParameterInvalid
from IR2QSMLib.io.acquisition import Acquisition, Echo, assemble_acquisition
from IR2QSMLib.io.bids import bids_echoes, file_echoes
from IR2QSMLib.io.dicom import dicom_echoes


def find_acquisition(
    source: Path | Sequence[Path],
    magnitude: Sequence[Path] = (),
    *,
    echo_times: Sequence[float] | None = None,
    b0: float | None = None,
    series: Sequence[int] | None = None,
) -> Acquisition:
    """The acquisition in a folder of DICOM or of NIfTI with sidecars, or in these phase and magnitude images.

    A folder with NIfTI files is taken for BIDS, any other for DICOM; `series` are the numbers of the DICOM series
    that are meant where there are several. Raises as `assemble_acquisition` does, and FileUnreadable.
    """
    echoes, notes = echoes_in([source] if isinstance(source, Path) else list(source), series)
    if magnitude:
        echoes = [e for e in echoes if e.kind != "magnitude"]
        given = file_echoes(magnitude, "magnitude")
        wrong = next((e for e in given if e.kind != "magnitude"), None)
        if wrong is not None:
            raise FieldInvalid(f"{wrong.name}, given as magnitude, says that it is {wrong.kind}; give the magnitude.")
        echoes += given
        if not all(e.echo_time is not None for e in echoes):  # a magnitude may lack the sidecar that the phase has
            echoes = _with_times_of_phase(echoes)
    return assemble_acquisition(echoes, echo_times=echo_times, b0=b0, notes=notes)


def echoes_in(paths: Sequence[Path], series: Sequence[int] | None = None) -> tuple[list[Echo], list[str]]:
    """The echoes of one scan in a folder or in images of phase, before they are held against each other, and notes."""
    if len(paths) == 1 and paths[0].is_dir():
        try:
            echoes, notes = bids_echoes(paths[0])
        except FileUnreadable as error:  # maps may have been written beside the DICOM files
            try:
                return dicom_echoes(paths[0], series)
            except FileUnreadable:
                raise error from None
        if not echoes:
            return dicom_echoes(paths[0], series)
    else:
        echoes, notes = file_echoes(paths, "phase"), []
    if series is not None:
        raise ParameterInvalid(f"'{paths[0].name}' is no DICOM, and has no series; leave --series out.")
    return echoes, notes


def _with_times_of_phase(echoes: list[Echo]) -> list[Echo]:
    known = [e.echo_time for e in echoes if e.kind == "phase"]
    mags = [e for e in echoes if e.kind == "magnitude"]
    if any(e.echo_time is not None for e in mags) or len(mags) != len(known):
        return echoes
    timed = [replace(e, echo_time=te) for e, te in zip(mags, known, strict=True)]
    return [e for e in echoes if e.kind != "magnitude"] + timed
