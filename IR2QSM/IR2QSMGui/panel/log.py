"""The report: what ran and with what, without names of volumes, patients and folders."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import qt
import slicer

from IR2QSMGui.run.worker import without_folders


class Log:
    """Lines of the report.

    Parameters
    ----------
    text
        The widget that shows them.
    volumes
        Returns the volumes whose names are replaced, by what they are used as.
    """

    def __init__(self, text: qt.QPlainTextEdit, volumes: Callable[[], dict[str, Any]]) -> None:
        self._text, self._volumes = text, volumes
        self._role_of_name: dict[str, str] = {}

    def add(self, *lines: str) -> None:
        """Add lines; names of volumes that are chosen, or were when a line was added, become their use."""
        self._role_of_name |= {node.GetName(): role for role, node in reversed(self._volumes().items()) if node}
        for line in lines:
            for name, role in self._role_of_name.items():
                line = line.replace(f"'{name}'", f"'{role}'")
            self._text.appendPlainText(without_folders(line))

    def copy(self, *_args: Any) -> None:
        """Copy the report to the clipboard."""
        slicer_version = slicer.app.property("applicationVersion")
        head = f"IR2QSM, Slicer {slicer_version}, {platform.system()} {platform.machine()}"
        slicer.app.clipboard().setText(f"{head}\n{self._text.toPlainText()}")
