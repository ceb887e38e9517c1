"""The panel's button Report: the page of a map, made by a worker and shown in the person's browser."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import InputProblem
from IR2QSMGui.run import install
from IR2QSMGui.run.worker import Worker
from IR2QSMGui.scene import nodes


class ReportSection:
    """Writes a map and what belongs to it into a folder, and opens the page that the library makes of them.

    Parameters
    ----------
    ui
        The panel's widgets.
    chosen_map
        Called without arguments for the map, or None.
    say
        Called with a sentence and whether it is a problem.
    """

    def __init__(self, ui: Any, chosen_map: Callable[[], Any], say: Callable[[str, bool], None]) -> None:
        self._button, self._chosen_map, self._say = ui.reportButton, chosen_map, say
        self._worker: Worker | None = None
        self._folders: list[Path] = []
        self._button.clicked.connect(self.open)

    def update(self) -> None:
        """Let the button be pressed when there is a map and no page is being made."""
        self._button.setEnabled(self._worker is None and self._chosen_map() is not None)

    def open(self, *_args: Any) -> None:
        """Make the page of the map and show it."""
        chi = self._chosen_map()
        if chi is None or self._worker is not None:
            return
        folder = Path(tempfile.mkdtemp(prefix="ir2qsm-report-", dir=slicer.app.temporaryPath))
        self._folders.append(folder)
        page = folder / "report.html"
        try:
            install.require()
            arguments = [*_write_inputs(chi, folder), "-o", str(page), "--progress", "json"]
        except (InputProblem, install.DependenciesMissing) as problem:
            self._say(str(problem), True)
            return
        self._say(_("The report is being made…"), False)
        self._worker = Worker(arguments, on_end=lambda worker: self._ended(worker, page))
        self._worker.start()
        self.update()

    def close(self) -> None:
        """End the worker and remove the pages; nobody looks at them any more."""
        if self._worker is not None:
            self._worker.on_end = lambda worker: None
            self._worker.kill()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _ended(self, worker: Worker, page: Path) -> None:
        self._worker = None
        for path in page.parent.iterdir():
            if path != page:
                path.unlink(missing_ok=True)
        self.update()
        if worker.error is not None:
            self._say(str(worker.error), True)
        elif qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(page))):
            self._say(_("The report is open in your browser."), False)
        else:
            self._say(_("No browser could be opened; the report is {path}.").format(path=page), True)


def _write_inputs(chi: Any, folder: Path) -> list[str]:
    """Write a map and what belongs to it, and return the command without its output."""
    nodes.write_volume(chi, folder / "chi.nrrd")
    provenance = chi.GetAttribute(nodes.PROVENANCE)
    if provenance:
        (folder / "chi.json").write_text(provenance, encoding="utf-8")
    kept = chi.GetNodeReference("IR2QSM.localfield")
    field = kept if kept is not None else chi.GetNodeReference(nodes.FIELD)
    from_local_field = bool(provenance) and chi.GetAttribute("IR2QSM.Inputs.unit") is not None
    belongings = {
        "--field": field if kept is not None or from_local_field else None,
        "--mask": chi.GetNodeReference("IR2QSM.mask"),
        "--uncertainty": chi.GetNodeReference("IR2QSM.uncertainty"),
    }
    arguments = ["report", str(folder / "chi.nrrd")]
    for option, node in belongings.items():
        if node is not None:
            path = folder / f"{option.strip('-')}.nrrd"
            nodes.write_volume(node, path)
            arguments += [option, str(path)]
    return arguments
