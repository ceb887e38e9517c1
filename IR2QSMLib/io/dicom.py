"""DICOM folders, as Siemens, Philips and GE write them: which images are echoes of one scan, and their grids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.dicom_slices import DicomSlice, pixels, read_slices
from IR2QSMLib.io.images import require_size

UNEVEN = 0.05
"""How far distances between slices may differ, as a share, and still pass as even."""


def dicom_echoes(folder: Path, series: Sequence[int] | None = None) -> tuple[list[Echo], list[str]]:
    """The echoes of the one scan with phase in a folder, and what was left out.

    Series of other kinds are passed over; of several magnitudes that fit a phase the one of its own series is taken,
    else one without intensity correction of the nearest number. Raises FileUnreadable without an MR image,
    FieldInvalid without a phase, GridInvalid when slices are missing, double or fewer than eight, and ParameterInvalid
    when several scans fit and `series` does not say which.
    """
    frames, n_other = read_slices(folder)
    if not frames:
        raise FileUnreadable(
            f"The folder '{folder.name}' holds neither NIfTI nor DICOM images of MR ({n_other} other files); give the "
            "folder of the scan."
        )
    volumes = defaultdict(list)
    for f in frames:
        volumes[_volume_key(f)].append(f)
    listed = sorted(volumes.values(), key=lambda v: (v[0].series, str(v[0].kind), v[0].echo_time or 0.0))
    told = _told(listed)
    known = {f.series for f in frames}
    if series is not None and not set(series) <= known:
        absent = next(n for n in series if n not in known)
        raise ParameterInvalid(f"There is no series {absent} in '{folder.name}', but {told}; choose among them.")
    chosen = None if series is None else set(series)
    main = [v for v in listed if v[0].kind in ("phase", "real", "imaginary")]
    main = [v for v in main if chosen is None or v[0].series in chosen]
    if any(v[0].kind == "phase" for v in main):
        main = [v for v in main if v[0].kind == "phase"]  # real and imaginary parts say the same again
    if not main:
        raise FieldInvalid(f"No series in '{folder.name}' is a phase: {told}. Export phase images from the scanner.")
    grids = {_place(v[0]) for v in main}
    twice = len({(v[0].kind, v[0].echo_time) for v in main}) < len(main)
    if len(grids) > 1 or twice:
        raise ParameterInvalid(f"Several scans with phase are in '{folder.name}': {told}. Say which with --series.")
    _require_counts(main)
    used = list(main)
    if main[0][0].kind == "phase":
        used += _magnitudes(listed, main, chosen)
    echoes = [_echo(v) for v in used]
    left = [v for v in listed if not any(v is u for u in used)]
    notes = [f"Left out of '{folder.name}': {_told(left)}."] if left else []
    return echoes, notes


def _magnitudes(
    listed: list[list[DicomSlice]], phases: list[list[DicomSlice]], chosen: set[int] | None
) -> list[list[DicomSlice]]:
    """The magnitude of each phase: on its grid, with its echo time, of the series nearest to it."""
    fitting = [v for v in listed if v[0].kind == "magnitude" and _place(v[0]) == _place(phases[0][0])]
    if chosen is not None and any(v[0].series in chosen for v in fitting):
        fitting = [v for v in fitting if v[0].series in chosen]
    found = []
    for phase in phases:
        own = phase[0]
        candidates = [v for v in fitting if v[0].echo_time == own.echo_time]
        candidates.sort(
            key=lambda v: (v[0].uid != own.uid, "NORM" in v[0].image_type, abs(v[0].series - own.series), v[0].series)
        )
        if candidates:
            found.append(candidates[0])
    if found:
        _require_counts([*phases, *found])
    return found


def _place(f: DicomSlice) -> tuple[Any, ...]:
    """What slices of one grid have in common."""
    return (f.size, tuple(round(v, 4) for v in f.spacing), tuple(round(v, 3) + 0.0 for v in f.orientation))


def _volume_key(f: DicomSlice) -> tuple[Any, ...]:
    return (f.uid, f.series, f.kind, f.echo_time, *_place(f))


def _told(volumes: Iterable[list[DicomSlice]]) -> str:
    """Series as a person knows them: number, name, kinds, echoes and slices."""
    by_series: dict[int, list[list[DicomSlice]]] = defaultdict(list)
    for v in volumes:
        by_series[v[0].series].append(v)
    parts = []
    for number, found in sorted(by_series.items()):
        kinds = " and ".join(sorted({v[0].kind or "unknown kind" for v in found}))
        n_echoes = len({v[0].echo_time for v in found})
        echoes = f"{n_echoes} echo{'es' if n_echoes > 1 else ''}"
        name = found[0][0].description
        parts.append(f"series {number}{f' ({name})' if name else ''}: {kinds}, {echoes} of {len(found[0])} slices")
    return "; ".join(parts)


def _name(v: list[DicomSlice]) -> str:
    te = "" if v[0].echo_time is None else f", TE {1e3 * v[0].echo_time:g} ms"
    return f"series {v[0].series}{te}"


def _require_counts(volumes: list[list[DicomSlice]]) -> None:
    """Raise GridInvalid when one echo has fewer slices than another."""
    most = max(volumes, key=len)
    for v in volumes:
        if len(v) < len(most):
            there = {round(p, 2) for p in _along(v)}
            gone = [p for p in _along(most) if round(p, 2) not in there]
            at = f" (none at {', '.join(f'{p:.1f}' for p in gone[:3])} mm)" if gone else ""
            raise GridInvalid(
                f"{_name(v)} ({v[0].kind}) has {len(v)} slices where {_name(most)} ({most[0].kind}) has {len(most)}"
                f"{at}; export the whole scan again."
            )


def _normal(f: DicomSlice) -> np.ndarray:
    return np.cross(f.orientation[:3], f.orientation[3:])


def _along(v: list[DicomSlice]) -> list[float]:
    """Positions [mm] of the slices along their normal, rising."""
    normal = _normal(v[0])
    return sorted(float(normal @ np.asarray(f.position)) for f in v)


def _echo(v: list[DicomSlice]) -> Echo:
    normal = _normal(v[0])
    ordered = sorted(v, key=lambda f: float(normal @ np.asarray(f.position)))
    grid = _grid(ordered)
    require_size(grid, _name(v))
    f = ordered[0]
    return Echo(
        str(f.kind),
        _name(v),
        grid,
        lambda: pixels(ordered),
        f.echo_time,
        f.b0,
        f.frequency,
        f.manufacturer,
        f.image_type,
    )


def _grid(v: list[DicomSlice]) -> Grid:
    first, along = v[0], _along(v)
    gaps = np.diff(along)
    step = float(np.median(gaps)) if len(gaps) else first.thickness
    if len(gaps) and gaps.min() < 1e-3:
        raise GridInvalid(
            f"{_name(v)} has {len(v)} slices in {len(np.unique(np.round(along, 2)))} places: several time points, or "
            "single coils; export the combined images of one scan."
        )
    wide = np.flatnonzero(gaps > (1.0 + UNEVEN) * step)
    if len(wide):
        n = sum(max(1, round(float(gaps[i]) / step) - 1) for i in wide)
        at = float(along[wide[0]]) + step
        raise GridInvalid(
            f"{_name(v)} ({first.kind}) lacks {n} slice{'s' if n > 1 else ''} (at {at:.1f} mm along the stack); export "
            "the whole scan again."
        )
    rows, columns = first.size
    direction = np.column_stack([first.orientation[:3], first.orientation[3:], _normal(first)])
    return Grid(
        (columns, rows, len(v)),
        (first.spacing[1], first.spacing[0], step),
        tuple(direction.ravel().tolist()),
        first.position,
    )
