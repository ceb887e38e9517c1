"""The 3-D viewer of the page of a map: NiiVue, which `make viewer` brings from npm and no commit holds."""

from __future__ import annotations

from pathlib import Path

FILE = Path("Resources", "Viewer", "niivue.umd.js")
"""Inside an installed wheel, or beside the package in a checkout or extension."""


def viewer_script() -> str | None:
    """The viewer's code; None where this installation has none."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package, package.parent):
        if (folder / FILE).is_file():
            return (folder / FILE).read_text(encoding="utf-8")
    return None
