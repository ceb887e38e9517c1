"""DICOM folders, as Siemens, Philips and GE write them: the images that are echoes of one scan, and their grids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.dicom_slices import DicomSlice, read_pixels, read_slices
from IR2QSMLib.io.images import require_size

MAX_GAP_DIFFERENCE = 0.05
"""Relative excess of a distance between slices, over the median distance, above which a slice is missing."""

Volume = list[DicomSlice]
"""The slices of one echo and kind of image."""


def dicom_echoes(folder: Path, series: Sequence[int] | None = None) -> tuple[list[Echo], list[str]]:
    """The echoes of the one scan with phase in a folder.

    Series of other scans are left out. Of several magnitudes that match a phase, that of its own series is taken, else
    one without intensity correction whose number is nearest.

    Parameters
    ----------
    folder
        Searched with its subfolders.
    series
        Numbers of the series to use, where there are several scans.

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
    slices, n_other_files = read_slices(folder)
    if not slices:
        raise FileUnreadable(
            f"The folder '{folder.name}' holds neither NIfTI nor DICOM images of MR ({n_other_files} other files); "
            "give the folder of the scan."
        )
    by_volume: dict[tuple[Any, ...], Volume] = defaultdict(list)
    for s in slices:
        by_volume[_volume_key(s)].append(s)
    volumes = sorted(by_volume.values(), key=lambda v: (v[0].series, str(v[0].kind), v[0].echo_time or 0.0))
    description = _describe(volumes)
    known_series = {s.series for s in slices}
    if series is not None and not set(series) <= known_series:
        absent = next(n for n in series if n not in known_series)
        raise ParameterInvalid(
            f"There is no series {absent} in '{folder.name}', but {description}; choose among them.", option="series"
        )
    chosen = known_series if series is None else set(series)
    phases = [v for v in volumes if v[0].kind in ("phase", "real", "imaginary") and v[0].series in chosen]
    if any(v[0].kind == "phase" for v in phases):
        phases = [v for v in phases if v[0].kind == "phase"]  # real and imaginary parts hold nothing else
    if not phases:
        raise FieldInvalid(
            f"No series in '{folder.name}' is a phase: {description}. Export phase images from the scanner."
        )
    grids = {_grid_key(v[0]) for v in phases}
    has_duplicates = len({(v[0].kind, v[0].echo_time) for v in phases}) < len(phases)
    if len(grids) > 1 or has_duplicates:
        raise ParameterInvalid(
            f"Several scans with phase are in '{folder.name}': {description}. Say which with --series.",
            option="series",
        )
    _require_equal_counts(phases)
    used = list(phases)
    if phases[0][0].kind == "phase":
        used += _magnitudes_of(phases, volumes, None if series is None else chosen)
    left_out = [v for v in volumes if not any(v is u for u in used)]
    notes = [f"Left out of '{folder.name}': {_describe(left_out)}."] if left_out else []
    return [_echo_of(v) for v in used], notes


def _magnitudes_of(phases: list[Volume], volumes: list[Volume], chosen_series: set[int] | None) -> list[Volume]:
    """The magnitude of each phase: on its grid, with its echo time, of the series nearest to it."""
    candidates = [v for v in volumes if v[0].kind == "magnitude" and _grid_key(v[0]) == _grid_key(phases[0][0])]
    if chosen_series is not None and any(v[0].series in chosen_series for v in candidates):
        candidates = [v for v in candidates if v[0].series in chosen_series]
    magnitudes = []
    for phase in phases:
        first = phase[0]
        same_echo = [v for v in candidates if v[0].echo_time == first.echo_time]
        if same_echo:
            magnitudes.append(
                min(
                    same_echo,
                    key=lambda v: (
                        v[0].uid != first.uid,
                        "NORM" in v[0].image_type,
                        abs(v[0].series - first.series),
                        v[0].series,
                    ),
                )
            )
    if magnitudes:
        _require_equal_counts([*phases, *magnitudes])
    return magnitudes


def _grid_key(s: DicomSlice) -> tuple[Any, ...]:
    """What slices of one grid have in common."""
    return (s.size, tuple(round(v, 4) for v in s.spacing), tuple(round(v, 3) + 0.0 for v in s.orientation))


def _volume_key(s: DicomSlice) -> tuple[Any, ...]:
    """What slices of one volume have in common."""
    return (s.uid, s.series, s.kind, s.echo_time, *_grid_key(s))


def _describe(volumes: Iterable[Volume]) -> str:
    """A list of series for the user: number, name, kinds of image, echoes and slices."""
    by_series: dict[int, list[Volume]] = defaultdict(list)
    for v in volumes:
        by_series[v[0].series].append(v)
    parts = []
    for number, members in sorted(by_series.items()):
        kinds = " and ".join(sorted({v[0].kind or "unknown kind" for v in members}))
        n_echoes = len({v[0].echo_time for v in members})
        echoes = f"{n_echoes} echo{'es' if n_echoes > 1 else ''}"
        name = members[0][0].description
        parts.append(f"series {number}{f' ({name})' if name else ''}: {kinds}, {echoes} of {len(members[0])} slices")
    return "; ".join(parts)


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
    normal = _normal(v[0])
    slices = sorted(v, key=lambda s: float(normal @ np.asarray(s.position)))
    grid = _grid_of(slices)
    require_size(grid, _name_of(v))
    first = slices[0]
    return Echo(
        kind=str(first.kind),
        name=_name_of(v),
        grid=grid,
        read_values=lambda: read_pixels(slices),
        echo_time=first.echo_time,
        b0=first.b0,
        frequency=first.frequency,
        manufacturer=first.manufacturer,
        image_type=first.image_type,
    )


def _grid_of(slices: Volume) -> Grid:
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
