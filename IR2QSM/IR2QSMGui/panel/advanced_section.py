"""The panel's section Advanced: selectors whose items the library knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from IR2QSMGui.panel.widgets import choose_item, fill_selector
from IR2QSMGui.run import server
from IR2QSMGui.run.information import LibraryInformation
from IR2QSMGui.run.worker import Worker


class DeviceSelector:
    """Lists the devices that ran a kernel in a worker, and says why others are not used.

    Parameters
    ----------
    selector, note
        The widgets.
    information
        What the library says of the devices.
    """

    def __init__(self, selector: qt.QComboBox, note: qt.QLabel, information: LibraryInformation) -> None:
        self._selector, self._note, self._information = selector, note, information
        self._chosen = "auto"
        fill_selector(selector, [("auto", _("Automatic")), ("cpu", _("CPU")), self._other()], "auto")
        information.listen(self._list_devices)

    def choose(self, kind: str) -> None:
        """Show the device that the settings name."""
        self._chosen = kind
        choose_item(self._selector, kind)

    def ask(self) -> None:
        """Ask the library for devices, once."""
        if self._information.ask():
            self._note.setText(_("Looking for devices…"))

    def _other(self) -> tuple[str, str]:
        return server.DEVICE, _("Another computer…")

    def _list_devices(self) -> None:
        devices = self._information.answer.get("devices", [])
        working = [device for device in devices if device["problem"] is None]
        items = [("auto", _("Automatic"))]
        for device in working:
            free = _("{gb} GB free").format(gb=f"{device['memory_free'] / 1e9:.0f}")
            items.append((device["kind"], f"{device['name']} ({free})"))
        fill_selector(self._selector, [*items, self._other()], self._chosen)
        note = "; ".join(f"{device['name']}: {device['problem']}" for device in devices if device not in working)
        if devices and not note and all(device["kind"] == "cpu" for device in working):
            note = _("This torch finds no graphics card, so the CPU is used.")
        self._note.setText(note if devices else self._information.error)


class TileSelector:
    """Lists the tiles that the library's networks accept.

    Parameters
    ----------
    selector
        The widget.
    information
        What the library says of tiles.
    """

    def __init__(self, selector: qt.QComboBox, information: LibraryInformation) -> None:
        self._selector, self._information = selector, information

    def choose(self, size: str) -> None:
        """Show the size that the settings name [voxels], automatic when empty."""
        sizes = [str(n) for n in self._information.tiles]
        sizes += [size] if size and size not in sizes else []
        items = [("", _("Automatic")), *((n, _("{n} voxels").format(n=n)) for n in sizes)]
        if self._selector.property("count") != len(items):
            fill_selector(self._selector, items, size)
        choose_item(self._selector, size)


class WeightsSelector:
    """The bundled weights or a file; an authors' checkpoint is converted by a worker, without running code in it.

    Parameters
    ----------
    selector
        The widget.
    on_chosen
        Called with the path of weights that were imported.
    say
        Called with a sentence and whether it is a problem.
    """

    def __init__(
        self, selector: qt.QComboBox, on_chosen: Callable[[str], None], say: Callable[[str, bool], None]
    ) -> None:
        self._selector, self._on_chosen, self._say = selector, on_chosen, say
        self._worker: Worker | None = None

    def choose(self, path: str) -> None:
        """Show the weights that the settings name."""
        files = [("", _("Bundled"))] + ([(path, Path(path).name)] if path else [])
        fill_selector(self._selector, files, path)

    def ask(self, *_args: Any) -> None:
        """Let a file be chosen."""
        path = qt.QFileDialog.getOpenFileName(None, _("Import weights"), "", _("Weights (*.safetensors *.pth)"))
        if not path or self._worker is not None:
            return
        if not str(path).endswith(".pth"):
            self._on_chosen(str(path))
            return
        folder = Path(slicer.app.slicerUserSettingsFilePath).parent / "IR2QSM"
        folder.mkdir(parents=True, exist_ok=True)
        converted = folder / f"{Path(path).stem}.safetensors"
        self._say(_("Converting {name}…").format(name=Path(path).name), False)
        arguments = ["import-weights", str(path), "-o", str(converted), "--progress", "json"]
        self._worker = Worker(arguments, on_end=lambda worker: self._converted(worker, str(converted))).start()

    def kill(self) -> None:
        """End the worker; nobody waits for it any more."""
        if self._worker is not None:
            self._worker.on_end = lambda worker: None
            self._worker.kill()

    def _converted(self, worker: Worker, path: str) -> None:
        self._worker = None
        if worker.error is not None:
            self._say(str(worker.error), True)
            return
        self._say("", False)
        self._on_chosen(path)
