"""Which DICOM volumes are one scan: by patient, study, frame of reference, series and acquisition time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from IR2QSMLib.core.tolerances import COSINE_TOLERANCE, ECHO_TIME_TOLERANCE, SPACING_TOLERANCE
from IR2QSMLib.io.dicom_slices import DicomSlice

Volume = list[DicomSlice]
"""The slices of one echo and kind of image."""


def drop_copies(slices: Sequence[DicomSlice]) -> tuple[list[DicomSlice], list[str]]:
    """The slices without those that came before in another file, and a note on these copies."""
    unique: dict[tuple[Any, ...], DicomSlice] = {}
    copies = set()
    for s in slices:
        key = (s.sop_uid, s.index) if s.sop_uid else (s.path, s.index)
        if key in unique:
            copies.add(s.path)
        else:
            unique[key] = s
    note = f"{len(copies)} files are copies of others (same SOPInstanceUID) and were left out."
    return list(unique.values()), [note] if copies else []


def with_equal_headers(slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """The slices with one number for orientations, voxel sizes and echo times that differ by rounding only."""
    grids: list[tuple[tuple[float, ...], tuple[float, float]]] = []
    times: list[float] = []
    # Programs that compress or anonymise may renew all UIDs but the series' from file to file.
    has_studies = len({(s.uid, s.study) for s in slices}) == len({s.uid for s in slices})
    unified = []
    for s in slices:
        grid = next((g for g in grids if _same_grid(g, s)), None)
        if grid is None:
            grid = (s.orientation, s.spacing)
            grids.append(grid)
        te = s.echo_time
        if te is not None:
            known = next((t for t in times if abs(t - te) <= ECHO_TIME_TOLERANCE), None)
            if known is None:
                times.append(te)
            else:
                te = known
        unified.append(
            replace(
                s,
                orientation=grid[0],
                spacing=grid[1],
                echo_time=te,
                study=s.study if has_studies else (s.study[0], "", ""),
            )
        )
    return unified


def _same_grid(grid: tuple[tuple[float, ...], tuple[float, float]], s: DicomSlice) -> bool:
    cosines = np.abs(np.subtract(grid[0], s.orientation)).max() <= COSINE_TOLERANCE
    return bool(cosines and np.allclose(grid[1], s.spacing, rtol=SPACING_TOLERANCE, atol=0.0))


def grid_key(s: DicomSlice) -> tuple[Any, ...]:
    """What slices of one grid have in common."""
    return (s.size, s.spacing, s.orientation)


def image_key(v: Volume) -> tuple[Any, ...]:
    """What tells the images of one scan apart: kind, echo time, coil and volume."""
    return (v[0].kind, v[0].echo_time, v[0].coil, v[0].volume)


def name_of(v: Volume) -> str:
    """What messages call a volume: its series and echo, and its coil and number where there are several."""
    s = v[0]
    te = "" if s.echo_time is None else f", TE {1e3 * s.echo_time:g} ms"
    return f"series {s.series}{te}{s.coil and f', coil {s.coil}'}{f', volume {s.volume}' if s.volume else ''}"


def normal_of(s: DicomSlice) -> np.ndarray:
    """The direction in which slices follow each other."""
    return np.cross(s.orientation[:3], s.orientation[3:])


def positions_of(v: Volume) -> list[float]:
    """Positions [mm] of the slices along their normal, rising."""
    normal = normal_of(v[0])
    return sorted(float(normal @ np.asarray(s.position)) for s in v)


def group_phases(phases: Sequence[Volume]) -> dict[str, list[Volume]]:
    """The scans among volumes of phase (or of real and imaginary parts), by name.

    A series is one scan. Series of one echo each are one where they share the number and the study, as Siemens XA
    writes them, or study, description and acquisition time.

    Returns
    -------
    dict
        Names are the numbers of the series; "6.2" is the second of two scans whose series have the number 6.
    """
    by_series: dict[tuple[Any, ...], list[Volume]] = defaultdict(list)
    for v in phases:
        by_series[(v[0].study, v[0].uid, v[0].series, grid_key(v[0]))].append(v)
    scans: list[list[Volume]] = []
    for members in by_series.values():
        partner = next((s for s in scans if _continues(s, members)), None)
        if partner is None:
            scans.append(list(members))
        else:
            partner += members
    n_of: dict[int, int] = defaultdict(int)
    for scan in scans:
        n_of[scan[0][0].series] += 1
    names: dict[str, list[Volume]] = {}
    for scan in scans:
        number = scan[0][0].series
        k = sum(name.partition(".")[0] == str(number) for name in names) + 1
        names[str(number) if n_of[number] == 1 else f"{number}.{k}"] = scan
    return names


def _continues(scan: list[Volume], members: list[Volume]) -> bool:
    """Whether a series of one echo belongs to the series of one echo each in `scan`."""
    a, b = scan[0][0], members[0][0]
    images = [image_key(v) for v in (*scan, *members)]
    if a.study != b.study or grid_key(a) != grid_key(b) or len(set(images)) < len(images):
        return False
    if {v[0].kind for v in scan} != {v[0].kind for v in members}:  # real and imaginary parts in two series
        same_times = {v[0].echo_time for v in scan} == {v[0].echo_time for v in members}
        return same_times and "phase" not in {a.kind, b.kind} and abs(a.series - b.series) <= len(scan)
    n_of_series: dict[str, set[float | None]] = defaultdict(set)
    for v in (*scan, *members):
        n_of_series[v[0].uid].add(v[0].echo_time)
    if any(len(times) > 1 for times in n_of_series.values()):
        return False
    if a.series == b.series:
        return True
    return bool(a.acquisition_time) and (a.acquisition_time, a.description) == (b.acquisition_time, b.description)


def describe(volumes: Iterable[Volume], names: bool = True) -> str:
    """A list of series for the user: number, name (if `names`), kinds of image, echoes and slices."""
    by_series: dict[int, list[Volume]] = defaultdict(list)
    for v in volumes:
        by_series[v[0].series].append(v)
    parts = []
    for number, members in sorted(by_series.items()):
        kinds = " and ".join(sorted({v[0].kind or "unknown kind" for v in members}))
        n_echoes = len({v[0].echo_time for v in members})
        echoes = f"{n_echoes} echo{'es' if n_echoes > 1 else ''}"
        name = members[0][0].description if names else ""
        for n, word in ((len({v[0].coil for v in members}), "coils"), (max(v[0].volume for v in members), "volumes")):
            echoes += f", {n} {word}" if n > 1 else ""
        parts.append(f"series {number}{f' ({name})' if name else ''}: {kinds}, {echoes} of {len(members[0])} slices")
    return "; ".join(parts)
