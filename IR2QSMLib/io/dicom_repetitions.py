"""Several DICOM images of one kind and echo at each place: single coils, or the volumes of a time series."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from IR2QSMLib.core.tolerances import POSITION_DIGITS
from IR2QSMLib.io.dicom_groups import grid_key, normal_of
from IR2QSMLib.io.dicom_slices import DicomSlice

SEVERAL_COILS = re.compile(r"[;,\-+\\]|all|comb", re.IGNORECASE)
"""What the name of several coils, whose images are combined, contains."""


def number_repetitions(slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """Say of each slice to which coil and to which volume it belongs.

    Where several slices share series, kind of image, echo and place, they are separate series if each place has as many
    image types, coils if their headers name as many coils
    at every place, and volumes otherwise, in the order of temporal position, acquisition, time and instance number. A
    combined image among those of single coils stands for all of them.

    Parameters
    ----------
    slices
        Of any series, with equal headers (`with_equal_headers`).

    Returns
    -------
    list of DicomSlice
        With a coil only where several coils are apart, and a volume above 0 only where there are several.
    """
    groups: dict[tuple[Any, ...], list[DicomSlice]] = defaultdict(list)
    for s in slices:
        groups[(s.study, s.uid, s.series, s.kind, s.echo_time, *grid_key(s))].append(s)
    return [s for group in groups.values() for s in _numbered(group)]


def _numbered(group: list[DicomSlice]) -> list[DicomSlice]:
    """Slices of one series, kind of image and echo, with their coil and volume."""
    places: dict[float, list[DicomSlice]] = defaultdict(list)
    normal = normal_of(group[0])
    for s in group:
        places[round(float(normal @ np.asarray(s.position)), POSITION_DIGITS)].append(s)
    if all(len(same) == 1 for same in places.values()):
        return [replace(s, coil="") for s in group]
    types = list(dict.fromkeys(s.image_type for s in group))
    if len(types) > 1 and all({s.image_type for s in same} == set(types) for same in places.values()):
        split = [[s for s in group if s.image_type == image_type] for image_type in types]
        for n, members in enumerate(split[1:], 2):  # images of other types are a series of their own
            split[n - 1] = [replace(s, uid=f"{s.uid}#{n}") for s in members]
        return [s for members in split for s in _numbered(members)]
    coils = {s.coil for s in group}
    are_coils = len(coils) > 1 and all({s.coil for s in same} == coils for same in places.values())
    combined = [coil for coil in coils if SEVERAL_COILS.search(coil)]
    if are_coils and len(combined) == 1 and len(coils) > 2:
        return _numbered([s for s in group if s.coil == combined[0]])
    numbered = []
    for same in places.values():
        of_coil: dict[str, list[DicomSlice]] = defaultdict(list)
        for s in same:
            of_coil[s.coil if are_coils else ""].append(s)
        for coil, repeated in of_coil.items():
            ordered = sorted(repeated, key=lambda s: s.time) if len(repeated) > 1 else repeated
            first = 1 if len(ordered) > 1 else 0
            numbered += [replace(s, coil=coil, volume=n) for n, s in enumerate(ordered, first)]
    return numbered
