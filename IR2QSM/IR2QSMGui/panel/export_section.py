"""The panel's buttons Export and Send: a map as DICOM objects, and these to an archive."""

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

SETTING = "IR2QSM/Archive"
"""Where this computer keeps the archive's address."""
REQUIREMENTS = Path(__file__).resolve().parents[2] / "Resources" / "requirements-dicom.txt"


class ExportSection:
    """Asks for folders and lets a worker write the objects, or send them.

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
        self._ui, self._chosen_map, self._say = ui, chosen_map, say
        self._worker: Worker | None = None
        self._folder = ""
        ui.archiveEdit.setText(str(slicer.app.userSettings().value(SETTING, "") or ""))
        ui.archiveEdit.textChanged.connect(self._archive_changed)
        ui.exportButton.clicked.connect(self.export)
        ui.sendButton.clicked.connect(self.send)

    def update(self) -> None:
        """Let the buttons be pressed when there is a map, or an archive, and nothing is under way."""
        idle = self._worker is None
        self._ui.exportButton.setEnabled(idle and self._chosen_map() is not None)
        self._ui.sendButton.setEnabled(idle and bool(self._archive()))

    def export(self, *_args: Any) -> None:
        """Ask for the scan and for a folder, and write the map that is shown as DICOM, in its window."""
        chi = self._chosen_map()
        if chi is None or self._worker is not None:
            return
        like = _ask_for_folder(_("The DICOM folder that the map was made of"))
        output = like and _ask_for_folder(_("A new or empty folder for the map's DICOM objects"))
        if not output:
            return
        folder = Path(tempfile.mkdtemp(prefix="ir2qsm-export-", dir=slicer.app.temporaryPath))
        try:
            nodes.write_volume(chi, folder / "chi.nrrd")
        except InputProblem as problem:
            shutil.rmtree(folder, ignore_errors=True)
            self._say(str(problem), True)
            return
        provenance = chi.GetAttribute(nodes.PROVENANCE)
        if provenance:
            (folder / "chi.json").write_text(provenance, encoding="utf-8")
        display = chi.GetDisplayNode()
        window = [] if display is None else [str(display.GetWindowLevelMin()), str(display.GetWindowLevelMax())]
        command = ["export", str(folder / "chi.nrrd"), "--like", like, "-o", output]
        command += ["--window", *window] if window else []
        self._run(
            command, _("The map is being written as DICOM…"), lambda worker: self._exported(worker, folder, output)
        )

    def send(self, *_args: Any) -> None:
        """Send the folder that was exported last, or one that is asked for, to the archive."""
        if self._worker is not None:
            return
        folder = self._folder or _ask_for_folder(_("The folder of DICOM objects to send"))
        if not folder:
            return
        title, separator, address = self._archive().rpartition("@")
        command = ["send", folder, address, *(["--aec", title] if separator else [])]
        self._run(command, _("The objects are being sent…"), self._sent)

    def close(self) -> None:
        """End the worker; nobody waits for it any more."""
        if self._worker is not None:
            self._worker.on_end = lambda worker: None
            self._worker.kill()

    def _run(self, command: list[str], sentence: str, on_end: Callable[[Worker], None]) -> None:
        """Start a worker, after the packages it needs were asked for."""
        try:
            install.require()
            slicer.packaging.pip_ensure(slicer.packaging.load_requirements(REQUIREMENTS), requester="IR2QSM")
        except Exception as error:  # declined, or pip's: all are one reason
            self._say(str(error), True)
            return
        self._say(sentence, False)
        self._worker = Worker([*command, "--progress", "json"], on_end=on_end)
        self._worker.start()
        self.update()

    def _exported(self, worker: Worker, folder: Path, output: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if self._ended(worker):
            self._folder = output
            warnings = " ".join((worker.result or {}).get("warnings", []))
            self._say(
                _("The map is written as DICOM; Send… brings it to the archive. {warnings}").format(warnings=warnings),
                False,
            )

    def _sent(self, worker: Worker) -> None:
        if self._ended(worker):
            self._folder = ""
            self._say(_("{n} objects are in the archive.").format(n=(worker.result or {}).get("sent")), False)

    def _ended(self, worker: Worker) -> bool:
        """Whether a worker ended well; what went wrong is said."""
        self._worker = None
        self.update()
        if worker.error is not None:
            self._say(str(worker.error), True)
        return worker.error is None

    def _archive(self) -> str:
        return str(self._ui.archiveEdit.property("text") or "").strip()

    def _archive_changed(self, *_args: Any) -> None:
        slicer.app.userSettings().setValue(SETTING, self._archive())
        self.update()


def _ask_for_folder(title: str) -> str:
    """A folder that the person chooses; empty if none."""
    return str(qt.QFileDialog.getExistingDirectory(None, title, "") or "")
