"""Checks of MetaImage headers, whose faults end the process inside ITK or are passed over by it."""

from __future__ import annotations

import math
import re
from pathlib import Path

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid

HEADER_BYTES = 8192
"""In which the header ends."""
MOST_AXES = 10
"""ITK's arrays for the axes of a MetaImage have as many entries."""
VOXEL_SIZES = ("ElementSpacing", "ElementSize")
PLACES = ("Offset", "Origin", "Position")
MATRICES = ("TransformMatrix", "Rotation", "Orientation")
"""Names of entries that hold as many numbers as there are axes, or their square."""


def require_header(path: Path) -> None:
    """Check what of a MetaImage header ITK does not: lines are entries, and entries hold the numbers that belong there.

    ITK takes '1{5' for 1, and loses the line that follows one without '='.

    Raises
    ------
    FileUnreadable
        When a line is no entry, or a number is none or missing.
    GridInvalid
        When there is no voxel size.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES).decode("latin-1").partition("ElementDataFile")[0]
    entries: dict[str, str] = {}
    for line in filter(str.strip, head.splitlines()):
        key, separator, value = line.partition("=")
        if not separator or not key.isprintable():
            raise _damaged(path, line)
        entries[key.strip()] = value
    n_axes = entries.get("NDims", "").strip()
    if not n_axes.isdecimal() or not 1 <= int(n_axes) <= MOST_AXES:
        raise FileUnreadable(
            f"{path.name} is damaged: its header has no number of axes (NDims) with a size for each (DimSize); copy or "
            "export it again."
        )
    n = int(n_axes)
    counts = {"DimSize": n} | dict.fromkeys((*VOXEL_SIZES, *PLACES), n) | dict.fromkeys(MATRICES, n * n)
    for key, count in counts.items():
        if (key in entries or key == "DimSize") and not _has_numbers(entries.get(key, ""), count, key == "DimSize"):
            raise _damaged(path, f"{key} ={entries.get(key, '')}")
    if not entries.keys() & set(VOXEL_SIZES):
        raise GridInvalid(f"{path.name} gives no voxel size (ElementSpacing); set it in the header.")


def _has_numbers(text: str, count: int, whole: bool) -> bool:
    words = text.split()
    try:
        return len(words) == count and all(math.isfinite(float(w)) and (w.isdecimal() or not whole) for w in words)
    except ValueError:
        return False


def _damaged(path: Path, line: str) -> FileUnreadable:
    shown = re.sub(r"[^ -~]", "?", line.strip())[:60]
    return FileUnreadable(
        f"{path.name} is damaged: its header has the line '{shown}', which MetaImage does not know; copy or export it "
        "again."
    )
