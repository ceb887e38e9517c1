"""DICOM folders, as Siemens, Philips and GE write them: the images that are echoes of one scan, and their grids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.tolerances import COSINE_TOLERANCE, POSITION_DIGITS
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.dicom_groups import (
    Volume,
    describe,
    drop_copies,
    grid_key,
    group_phases,
    image_key,
    name_of,
    normal_of,
    positions_of,
    with_equal_headers,
)
from IR2QSMLib.io.dicom_pixels import digest_of_middle_slice, read_pixels
from IR2QSMLib.io.dicom_repetitions import number_repetitions
from IR2QSMLib.io.dicom_selection import (
    advice_on_parts,
    choose_parts,
    choose_scans,
    magnitudes_of,
    require_equal_counts,
)
from IR2QSMLib.io.dicom_slices import read_slices
from IR2QSMLib.io.image_kind import FIELD, names_filtered_phase, names_phase_difference
from IR2QSMLib.io.images import require_size

MAX_GAP_DIFFERENCE = 0.05
"""Relative excess of a distance between slices, over the median distance, above which a slice is missing; and
below it."""
MAX_SHIFT = 0.2
"""Share of a voxel by which a slice may lie beside the line through the first, besides rounded cosines."""


def dicom_echoes(
    folder: Path,
    series: Sequence[int | str] | None = None,
    *,
    real: Sequence[str] = (),
    imaginary: Sequence[str] = (),
) -> tuple[list[Echo], list[str]]:
    """The echoes of the one scan with phase in a folder.

    Series of other scans are left out. Of several magnitudes that match a phase, that of its own series is taken, else
    one without intensity correction whose number is nearest.

    Parameters
    ----------
    folder
        Searched with its subfolders.
    series
        Numbers of the series to use, or names of scans as the message lists them, where there are several.
    real, imaginary
        Numbers or descriptions of the series that are real and imaginary parts, where their headers do not say so.

    Returns
    -------
    echoes, notes
        The echoes, of each coil and volume where there are several, and a sentence on what was left out.

    Raises
    ------
    FileUnreadable
        Without an MR image.
    FieldInvalid
        Without a phase.
    GridInvalid
        When slices are missing, double or fewer than eight.
    ParameterInvalid
        When there are several scans and `series` does not choose one, or names a series that is not there.
    """
    volumes, notes = dicom_volumes(folder)
    description = describe(volumes)
    phases = [v for v in volumes if v[0].kind in ("phase", "real", "imaginary")]
    if real or imaginary:
        phases = choose_parts(volumes, real, imaginary)
    elif any(v[0].kind == "phase" for v in phases):
        phases = [v for v in phases if v[0].kind == "phase"]  # real and imaginary parts hold nothing else
    scans = {"the parts": phases} if real or imaginary else group_phases(phases)
    chosen: set[int] | None = None
    if series is not None and not (real or imaginary):
        known_series = {v[0].series for v in volumes}
        scans, chosen = choose_scans(scans, known_series, series, f"'{folder.name}', but {description}")
    if not scans:
        has_field = any(v[0].kind == FIELD for v in volumes)
        advice = "Give the field that the scanner computed with --input total-field." if has_field else ""
        raise FieldInvalid(
            f"No series in '{folder.name}' is a phase: {description}. {advice or advice_on_parts(volumes)}"
        )
    phases = [v for scan in scans.values() for v in scan]
    has_duplicates = len({image_key(v) for v in phases}) < len(phases)
    if len({grid_key(v[0]) for v in phases}) > 1 or has_duplicates or (len(scans) > 1 and series is None):
        raise ParameterInvalid(
            f"Several scans with phase are in '{folder.name}': {', '.join(scans)}, of {description}. Say which with "
            f"--series, such as --series {next(iter(scans))}.",
            option="series",
        )
    require_equal_counts(phases)
    used = list(phases)
    if phases[0][0].kind == "phase":
        used += magnitudes_of(phases, volumes, chosen)
    files = {(s.path, s.index) for v in used for s in v}
    left_out = [v for v in volumes if (v[0].path, v[0].index) not in files]
    if left_out:
        # Names of folders and series may be a person's, and notes go into sidecars.
        notes.append(f"Left out of the folder: {describe(left_out, names=False)}.")
    guessed = [v for v in used if v[0].kind is None]
    if guessed:
        taken = describe(guessed, names=False)
        notes.append(f"Taken for magnitude by series and echo time, as no type says so: {taken}.")
    return [echo_of(v) for v in used], notes


def dicom_volumes(folder: Path) -> tuple[list[Volume], list[str]]:
    """All MR images in a folder and its subfolders, as volumes of one series, kind, echo, coil, time and grid.

    Returns
    -------
    volumes, notes
        In the order of their series, kinds and echo times; and a sentence on what was left out.

    Raises
    ------
    FileUnreadable
        Without an MR image.
    """
    slices, n_other_files = read_slices(folder)
    if not slices:
        raise FileUnreadable(
            f"The folder '{folder.name}' holds neither NIfTI nor DICOM images of MR ({n_other_files} other files); "
            "give the folder of the scan."
        )
    slices, notes = drop_copies(slices)
    by_volume: dict[tuple[Any, ...], Volume] = defaultdict(list)
    for s in number_repetitions(with_equal_headers(slices)):
        key = (s.study, s.uid, s.series, s.kind, s.echo_time, s.coil, s.volume)
        by_volume[(*key, *grid_key(s))].append(s)

    def order(v: Volume) -> tuple[Any, ...]:
        return (v[0].series, str(v[0].kind), v[0].echo_time or 0.0, v[0].coil, v[0].volume)

    return sorted(by_volume.values(), key=order), notes


def echo_of(v: Volume) -> Echo:
    """The echo of a volume, its slices sorted by position."""
    slices = in_order(v)
    grid = grid_of_slices(slices)
    require_size(grid, name_of(v))
    first = slices[0]
    return Echo(
        kind=first.kind or "magnitude",
        name=name_of(v),
        grid=grid,
        read_values=lambda: read_pixels(slices),
        digest=lambda: digest_of_middle_slice(slices),
        echo_time=first.echo_time,
        b0=first.b0,
        frequency=first.frequency,
        manufacturer=first.manufacturer,
        image_type=first.image_type,
        coil=first.coil,
        volume=first.volume,
        is_difference=first.kind == "phase" and names_phase_difference(first.description, first.sequence_name),
        is_filtered=first.kind == "phase" and names_filtered_phase(first.image_type, first.description),
    )


def in_order(v: Volume) -> Volume:
    """The slices of a volume by their position along their normal, rising."""
    normal = normal_of(v[0])
    return sorted(v, key=lambda s: float(normal @ np.asarray(s.position)))


def grid_of_slices(slices: Volume) -> Grid:
    """The grid of sorted slices; raises GridInvalid when some are missing or share a place."""
    first, positions = slices[0], positions_of(slices)
    gaps = np.diff(positions)
    step = float(np.median(gaps)) if len(gaps) else first.thickness
    if len(gaps) and gaps.min() < 0.1**POSITION_DIGITS / 2:
        n_places = len(np.unique(np.round(positions, POSITION_DIGITS)))
        raise GridInvalid(f"{name_of(slices)} has {len(slices)} slices in {n_places} places; export the scan again.")
    wide = np.flatnonzero(gaps > (1.0 + MAX_GAP_DIFFERENCE) * step)
    if len(wide):
        n = sum(max(1, round(float(gaps[i]) / step) - 1) for i in wide)
        place = float(positions[wide[0]]) + step
        raise GridInvalid(
            f"{name_of(slices)} ({first.kind}) lacks {n} slice{'s' if n > 1 else ''} (at {place:.1f} mm along the "
            "stack); export the whole scan again."
        )
    _require_stack(slices, gaps, step)
    rows, columns = first.size
    direction = np.column_stack([first.orientation[:3], first.orientation[3:], normal_of(first)])
    return Grid(
        (columns, rows, len(slices)),
        (first.spacing[1], first.spacing[0], step),
        tuple(direction.ravel().tolist()),
        first.position,
    )


def _require_stack(slices: Volume, gaps: np.ndarray, step: float) -> None:
    """Raise GridInvalid when sorted slices are closer than the others, or lie beside the line through the first."""
    first = slices[0]
    if len(gaps) and gaps.min() < (1.0 - MAX_GAP_DIFFERENCE) * step:
        raise GridInvalid(
            f"{name_of(slices)} ({first.kind}) has slices {gaps.min():.2f} mm apart where most are {step:.2f} mm "
            "apart; export the scan again."
        )
    normal = normal_of(first)
    places = np.array([s.position for s in slices]) - np.asarray(first.position)
    beside = float(np.abs(places - np.outer(places @ normal, normal)).max())
    if beside > MAX_SHIFT * min(first.spacing) + 2.0 * COSINE_TOLERANCE * float(np.abs(places).max()):
        raise GridInvalid(
            f"{name_of(slices)} ({first.kind}) has slices that lie up to {beside:.1f} mm beside the first, in no "
            "straight stack; export the scan again, or resample it to one grid."
        )
