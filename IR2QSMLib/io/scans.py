"""The way from a folder or a few images to the acquisition in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, ParameterInvalid
from IR2QSMLib.io.acquisition import Acquisition, Echo
from IR2QSMLib.io.assembly import assemble_acquisition
from IR2QSMLib.io.bids import bids_echoes, file_echoes
from IR2QSMLib.io.dicom import dicom_echoes


def find_acquisition(
    source: Path | Sequence[Path],
    magnitude: Sequence[Path] = (),
    *,
    echo_times: Sequence[float] | None = None,
    b0: float | None = None,
    series: Sequence[int | str] | None = None,
) -> Acquisition:
    """The acquisition in a folder of DICOM or of NIfTI with sidecars, or in phase and magnitude images.

    Parameters
    ----------
    source
        A folder, read as BIDS if it has NIfTI files and as DICOM otherwise; or images of phase.
    magnitude
        Images of magnitude, which replace those of the folder.
    echo_times, b0
        The user's echo times [s], in the order of the images, and field strength [T]; by default those of the headers.
    series
        The scan to use where there are several: numbers of DICOM series, or names as the message lists them.

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, ParameterInvalid
        As `io.assembly.assemble_acquisition` does, and for files that cannot be read.
    """
    echoes, notes = echoes_in([source] if isinstance(source, Path) else list(source), series)
    if magnitude:
        echoes = [e for e in echoes if e.kind != "magnitude"]
        magnitudes = file_echoes(magnitude, "magnitude")
        wrong = next((e for e in magnitudes if e.kind != "magnitude"), None)
        if wrong is not None:
            raise FieldInvalid(
                f"{wrong.name}, given as magnitude, says that it is {wrong.kind}; give the magnitude.",
                option="magnitude",
            )
        echoes += _with_echo_times_of(echoes, magnitudes)
    return assemble_acquisition(echoes, echo_times=echo_times, b0=b0, notes=notes)


def echoes_in(paths: Sequence[Path], series: Sequence[int | str] | None = None) -> tuple[list[Echo], list[str]]:
    """The echoes of one scan in a folder or in images of phase, not yet checked against each other, and notes."""
    if len(paths) == 1 and paths[0].is_dir():
        try:
            echoes, notes = bids_echoes(paths[0], series)
        except FileUnreadable as error:  # the NIfTI files may be maps written beside a scan in DICOM
            try:
                return dicom_echoes(paths[0], series)
            except FileUnreadable:
                raise error from None
        if not echoes:
            return dicom_echoes(paths[0], series)
        return echoes, notes
    echoes = file_echoes(paths, "phase")
    if series is not None:
        raise ParameterInvalid(
            f"'{paths[0].name}' is one image, and has no series; leave --series out.", option="series"
        )
    return echoes, []


def _with_echo_times_of(echoes: list[Echo], magnitudes: list[Echo]) -> list[Echo]:
    """The magnitudes with the echo times of the phases, where none of the magnitudes has a sidecar with its own."""
    phase_times = [e.echo_time for e in echoes if e.kind == "phase"]
    if any(e.echo_time is not None for e in magnitudes) or len(magnitudes) != len(phase_times):
        return magnitudes
    return [replace(e, echo_time=te) for e, te in zip(magnitudes, phase_times, strict=True)]
