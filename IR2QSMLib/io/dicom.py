"""DICOM folders, as Siemens, Philips and GE write them: the images that are echoes of one scan, and their grids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.dicom_groups import Volume, describe, drop_copies, grid_key, group_phases, with_equal_headers
from IR2QSMLib.io.dicom_slices import DicomSlice, digest_of_middle_slice, read_pixels, read_slices
from IR2QSMLib.io.image_kind import FIELD, PROCESSED_TYPES, names_filtered_phase, names_phase_difference, words_of
from IR2QSMLib.io.images import require_size

MAX_GAP_DIFFERENCE = 0.05
"""Relative excess of a distance between slices, over the median distance, above which a slice is missing."""


def dicom_echoes(folder: Path, series: Sequence[int | str] | None = None) -> tuple[list[Echo], list[str]]:
    """The echoes of the one scan with phase in a folder.

    Series of other scans are left out. Of several magnitudes that match a phase, that of its own series is taken, else
    one without intensity correction whose number is nearest.

    Parameters
    ----------
    folder
        Searched with its subfolders.
    series
        Numbers of the series to use, or names of scans as the message lists them, where there are several.

    Returns
    -------
    echoes, notes
        The echoes, and a sentence on what was left out.

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
    if any(v[0].kind == "phase" for v in phases):
        phases = [v for v in phases if v[0].kind == "phase"]  # real and imaginary parts hold nothing else
    scans = group_phases(phases)
    chosen: set[int] | None = None
    if series is not None:
        known_series = {v[0].series for v in volumes}
        scans, chosen = _choose(scans, known_series, series, f"'{folder.name}', but {description}")
    if not scans:
        raise FieldInvalid(
            f"No series in '{folder.name}' is a phase: {description}. "
            + (
                "A field is a map that the scanner computed: convert its series to NIfTI, and give that file with "
                "--input total-field --units hz (or its unit), and B0 with --b0."
                if any(v[0].kind == FIELD for v in volumes)
                else "Export phase images from the scanner."
            )
        )
    phases = [v for scan in scans.values() for v in scan]
    has_duplicates = len({(v[0].kind, v[0].echo_time) for v in phases}) < len(phases)
    if len({grid_key(v[0]) for v in phases}) > 1 or has_duplicates or (len(scans) > 1 and series is None):
        raise ParameterInvalid(
            f"Several scans with phase are in '{folder.name}': {', '.join(scans)}, of {description}. Say which with "
            f"--series, such as --series {next(iter(scans))}.",
            option="series",
        )
    _require_equal_counts(phases)
    used = list(phases)
    if phases[0][0].kind == "phase":
        used += _magnitudes_of(phases, volumes, chosen)
    left_out = [v for v in volumes if not any(v is u for u in used)]
    if left_out:
        # Names of folders and series may be a person's, and notes go into sidecars.
        notes.append(f"Left out of the folder: {describe(left_out, names=False)}.")
    guessed = [v for v in used if v[0].kind is None]
    if guessed:
        taken = describe(guessed, names=False)
        notes.append(f"Taken for magnitude by series and echo time, as no type says so: {taken}.")
    return [_echo_of(v) for v in used], notes


def dicom_volumes(folder: Path) -> tuple[list[Volume], list[str]]:
    """All MR images in a folder and its subfolders, as volumes of one series, kind of image, echo and grid.

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
    for s in with_equal_headers(slices):
        by_volume[(s.study, s.uid, s.series, s.kind, s.echo_time, *grid_key(s))].append(s)
    return sorted(by_volume.values(), key=lambda v: (v[0].series, str(v[0].kind), v[0].echo_time or 0.0)), notes


def _choose(
    scans: dict[str, list[Volume]], known_series: set[int], series: Sequence[int | str], where: str
) -> tuple[dict[str, list[Volume]], set[int]]:
    """The scans that numbers or names choose, and the numbers; raises ParameterInvalid for unknown ones."""
    chosen_scans: dict[str, list[Volume]] = {}
    numbers: set[int] = set()
    for word in map(str, series):
        matches = [n for n, scan in scans.items() if word == n or word in {str(v[0].series) for v in scan}]
        if not matches and not (word.isdigit() and int(word) in known_series):
            raise ParameterInvalid(f"There is no series {word} in {where}; choose among them.", option="series")
        chosen_scans |= {n: scans[n] for n in matches}
        numbers |= {scan[0][0].series for scan in chosen_scans.values()}
        if word.isdigit():
            numbers.add(int(word))
    return chosen_scans, numbers


def _magnitudes_of(phases: list[Volume], volumes: list[Volume], chosen_series: set[int] | None) -> list[Volume]:
    """The magnitude of each phase: of its study, on its grid, with its echo time, of the series nearest to it.

    Volumes of unknown kind are taken from the phase's own series, or where there is no other magnitude. Of a phase
    that may be the difference of two echoes, both magnitudes are taken.
    """
    first = phases[0][0]
    beside = [v for v in volumes if grid_key(v[0]) == grid_key(first) and v[0].study == first.study]
    candidates = [v for v in beside if v[0].kind == "magnitude" and not words_of(v[0].image_type) & PROCESSED_TYPES]
    if not candidates:
        candidates = [v for v in beside if v[0].kind is None and not words_of(v[0].image_type) & PROCESSED_TYPES]
    else:
        own_series = {v[0].uid for v in phases}
        candidates += [v for v in beside if v[0].kind is None and v[0].uid in own_series]
    if chosen_series is not None and any(v[0].series in chosen_series for v in candidates):
        candidates = [v for v in candidates if v[0].series in chosen_series]

    def distance(v: Volume) -> tuple[Any, ...]:
        return (
            v[0].uid != first.uid,
            "NORM" in v[0].image_type,
            abs(v[0].series - first.series),
            v[0].series,
            v[0].kind is None,
        )

    magnitudes = []
    for phase in phases:
        same_echo = [v for v in candidates if v[0].echo_time == phase[0].echo_time]
        if same_echo:
            magnitudes.append(min(same_echo, key=distance))
    if len(phases) == 1 and magnitudes:
        echoes = [v for v in candidates if v[0].uid == magnitudes[0][0].uid]
        if len(echoes) == 2 and magnitudes[0] is not echoes[0]:
            magnitudes = echoes
    if magnitudes:
        _require_equal_counts([*phases, *magnitudes])
    return magnitudes


def _name_of(v: Volume) -> str:
    te = "" if v[0].echo_time is None else f", TE {1e3 * v[0].echo_time:g} ms"
    return f"series {v[0].series}{te}"


def _require_equal_counts(volumes: list[Volume]) -> None:
    """Raise GridInvalid when one volume has fewer slices than another."""
    longest = max(volumes, key=len)
    for v in volumes:
        if len(v) < len(longest):
            present = {round(p, 2) for p in _positions(v)}
            missing = [p for p in _positions(longest) if round(p, 2) not in present]
            places = f" (none at {', '.join(f'{p:.1f}' for p in missing[:3])} mm)" if missing else ""
            raise GridInvalid(
                f"{_name_of(v)} ({v[0].kind}) has {len(v)} slices where {_name_of(longest)} ({longest[0].kind}) has "
                f"{len(longest)}{places}; export the whole scan again."
            )


def _normal(s: DicomSlice) -> np.ndarray:
    return np.cross(s.orientation[:3], s.orientation[3:])


def _positions(v: Volume) -> list[float]:
    """Positions [mm] of the slices along their normal, rising."""
    normal = _normal(v[0])
    return sorted(float(normal @ np.asarray(s.position)) for s in v)


def _echo_of(v: Volume) -> Echo:
    """The echo of a volume, its slices sorted by position."""
    slices = in_order(v)
    grid = grid_of_slices(slices)
    require_size(grid, _name_of(v))
    first = slices[0]
    return Echo(
        kind=first.kind or "magnitude",
        name=_name_of(v),
        grid=grid,
        read_values=lambda: read_pixels(slices),
        digest=lambda: digest_of_middle_slice(slices),
        echo_time=first.echo_time,
        b0=first.b0,
        frequency=first.frequency,
        manufacturer=first.manufacturer,
        image_type=first.image_type,
        is_difference=first.kind == "phase" and names_phase_difference(first.description, first.sequence_name),
        is_filtered=first.kind == "phase" and names_filtered_phase(first.image_type, first.description),
    )


def in_order(v: Volume) -> Volume:
    """The slices of a volume by their position along their normal, rising."""
    normal = _normal(v[0])
    return sorted(v, key=lambda s: float(normal @ np.asarray(s.position)))


def grid_of_slices(slices: Volume) -> Grid:
    """The grid of sorted slices; raises GridInvalid when some are missing or share a place."""
    first, positions = slices[0], _positions(slices)
    gaps = np.diff(positions)
    step = float(np.median(gaps)) if len(gaps) else first.thickness
    if len(gaps) and gaps.min() < 1e-3:
        n_places = len(np.unique(np.round(positions, 2)))
        raise GridInvalid(
            f"{_name_of(slices)} has {len(slices)} slices in {n_places} places: several time points, or single coils; "
            "export the combined images of one scan."
        )
    wide = np.flatnonzero(gaps > (1.0 + MAX_GAP_DIFFERENCE) * step)
    if len(wide):
        n = sum(max(1, round(float(gaps[i]) / step) - 1) for i in wide)
        place = float(positions[wide[0]]) + step
        raise GridInvalid(
            f"{_name_of(slices)} ({first.kind}) lacks {n} slice{'s' if n > 1 else ''} (at {place:.1f} mm along the "
            "stack); export the whole scan again."
        )
    rows, columns = first.size
    direction = np.column_stack([first.orientation[:3], first.orientation[3:], _normal(first)])
    return Grid(
        (columns, rows, len(slices)),
        (first.spacing[1], first.spacing[0], step),
        tuple(direction.ravel().tolist()),
        first.position,
    )
