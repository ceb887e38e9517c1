"""Where the library IR2QSMLib is."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _


class LibraryMissing(RuntimeError):
    """The library is not beside the module."""


def library_folder() -> Path:
    """The folder that holds IR2QSMLib: beside the module once installed, above it in a source tree.

    Raises
    ------
    LibraryMissing
        When it is in neither.
    """
    module_folder = Path(__file__).resolve().parents[1]
    for folder in (module_folder, module_folder.parent):
        if (folder / "IR2QSMLib" / "__init__.py").is_file():
            return folder
    raise LibraryMissing(_("The library IR2QSMLib is missing; install the extension again."))
