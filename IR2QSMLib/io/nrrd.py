"""Headers of NRRD files, and checks that ITK does not make: it takes '1{5' for 1, and no voxel size for 1 mm."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
VECTOR = rf"\(\s*{NUMBER}(?:\s*,\s*{NUMBER})*\s*\)"
GEOMETRY = {
    "sizes": r"\d+(?:\s+\d+)*",
    "space directions": rf"(?:(?:{VECTOR}|none)\s*)+",
    "space origin": VECTOR,
    "spacings": rf"(?:(?:{NUMBER}|nan)(?:\s+|$))+",
}
"""Fields of the geometry, and how their values are written."""


def nrrd_header(path: Path) -> list[str]:
    """The lines of a NRRD header, which ends with an empty line."""
    with path.open("rb") as file:
        lines = takewhile(bytes.strip, iter(lambda: file.readline(65536), b""))
        return [line.decode(errors="replace").strip() for line in lines]


def nrrd_fields(path: Path) -> dict[str, str]:
    """The fields of a NRRD header, their names in lower case."""
    pairs = (line.split(":", 1) for line in nrrd_header(path) if ":" in line and not line.startswith("#"))
    return {key.strip().lower(): value.strip() for key, value in pairs}


def require_nrrd_geometry(path: Path) -> None:
    """Check that the numbers of the geometry are numbers, and that there is a voxel size.

    Raises
    ------
    FileUnreadable
        When a field of the geometry holds something else.
    GridInvalid
        Without space directions and spacings.
    """
    fields = nrrd_fields(path)
    for name, pattern in GEOMETRY.items():
        if name in fields and not re.fullmatch(pattern, fields[name], re.IGNORECASE):
            shown = re.sub(r"[^ -~]", "?", fields[name])[:60]
            raise FileUnreadable(
                f"{path.name} is damaged: its header has '{name}: {shown}', where numbers belong; copy or export it "
                "again."
            )
    if not fields.keys() & {"space directions", "spacings"}:
        raise GridInvalid(f"{path.name} gives no voxel size (spacings or space directions); set it in the header.")
