"""The panel's section of methods: the library's list of them, to tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from IR2QSMGui.panel.readiness import Note
from IR2QSMGui.panel.widgets import TickList, show_note
from IR2QSMGui.run.information import LibraryInformation


class MethodsSection:
    """Lists the methods that can run here.

    Parameters
    ----------
    ui
        The panel's widgets.
    information
        What the library says of its methods.
    on_ticked
        Called with the names of the methods that are ticked, in the library's order.
    """

    def __init__(self, ui: Any, information: LibraryInformation, on_ticked: Callable[[list[str]], None]) -> None:
        self._ui, self._information = ui, information
        self._ticks = TickList(ui.methodList, on_ticked)

    def update(self, chosen: list[str]) -> None:
        """List the methods that can run, and tick those that are chosen."""
        methods = self._information.answer.get("methods", {})
        available = [name for name, about in methods.items() if about.get("available", True)]
        names = [*available, *(name for name in chosen if name not in available)]
        tips = {name: f"{about['sentence']} {about['citation']}." for name, about in methods.items()}
        self._ticks.show([(name, name, tips.get(name, "")) for name in names], chosen)
        self._ui.automaticCheck.setEnabled(self._information.takes(chosen, "regularisation"))
        listed = ", ".join(chosen) if len(chosen) < 4 else _("{n} ticked").format(n=len(chosen))
        self._ui.methodsSection.setText(_("Methods: {listed}").format(listed=listed))

    def show_note(self, note: Note) -> None:
        """Say what the methods need."""
        show_note(self._ui.methodsNote, note.text, note.is_problem)
