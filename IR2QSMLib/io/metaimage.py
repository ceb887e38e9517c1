"""Checks of MetaImage headers, whose faults would end the process inside ITK."""

from __future__ import annotations

import re
from pathlib import Path

from IR2QSMLib.core.errors import FileUnreadable

HEADER_BYTES = 8192
"""In which the dimensions stand."""
MOST_AXES = 10
"""ITK's arrays for the axes of a MetaImage have as many entries."""


def require_dimensions(path: Path) -> None:
    """Raise FileUnreadable unless a MetaImage header has a number of axes and a size for each."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES).decode("latin-1")
    n_axes = re.search(r"(?m)^\s*NDims\s*=\s*(\d{1,2})\s*$", header)
    sizes = re.search(r"(?m)^\s*DimSize\s*=((?:[ \t]+\d{1,9})+)\s*$", header)
    n_sizes = len(sizes[1].split()) if sizes else 0
    if not n_axes or not 1 <= int(n_axes[1]) <= MOST_AXES or n_sizes != int(n_axes[1]):
        raise FileUnreadable(
            f"{path.name} is damaged: its header has no number of axes (NDims) with a size for each (DimSize); copy or "
            "export it again."
        )
