"""What the panel offers under Advanced that is not known before it is asked for: devices and weights."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from IR2QSMGui.run.worker import Worker


class DeviceSelector:
    """Lists the devices that ran a kernel in a worker, and says why the others or a graphics card are not used."""

    def __init__(self, selector, note, installation):
        self._selector, self._note, self._installation, self._chosen = selector, note, installation, "auto"
        fill(selector, [("auto", _("Automatic")), ("cpu", _("CPU"))], "auto")
        installation.tell(self._probed)

    def choose(self, kind):
        """Show the device that the parameters name."""
        self._chosen = kind
        choose(self._selector, kind)

    def probe(self):
        """Ask for them, once."""
        if self._installation.ask():
            self._note.setText(_("Looking for devices…"))

    def _probed(self):
        found = self._installation.found.get("devices", [])
        works = [device for device in found if device["problem"] is None]
        listed = [("auto", _("Automatic"))]
        for device in works:
            free = _("{gb} GB free").format(gb=f"{device['memory_free'] / 1e9:.0f}")
            listed.append((device["kind"], f"{device['name']} ({free})"))
        fill(self._selector, listed, self._chosen)
        note = "; ".join(f"{device['name']}: {device['problem']}" for device in found if device["problem"] is not None)
        if found and not note and all(device["kind"] == "cpu" for device in works):
            note = _("No graphics card that this torch can use was found, so the CPU is used.")
        self._note.setText(note if found else self._installation.error)


class WeightsSelector:
    """The bundled weights or a file; an authors' checkpoint is converted by a worker, without running code in it.

    `on_chosen(path)` is called with weights that were imported, `say(text, bad)` with what happens meanwhile.
    """

    def __init__(self, selector, on_chosen, say):
        self._selector, self._on_chosen, self._say, self._worker = selector, on_chosen, say, None

    def choose(self, path):
        """Show the weights that the parameters name."""
        files = [("", _("Bundled"))] + ([(path, Path(path).name)] if path else [])
        fill(self._selector, files, path)

    def ask(self, *_args):
        """Let a file be chosen."""
        path = qt.QFileDialog.getOpenFileName(None, _("Import weights"), "", _("Weights (*.safetensors *.pth)"))
        if not path or self._worker is not None:
            return
        if not str(path).endswith(".pth"):
            self._on_chosen(str(path))
            return
        folder = Path(slicer.app.slicerUserSettingsFilePath).parent / "IR2QSM"
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{Path(path).stem}.safetensors"
        self._say(_("Converting {name}…").format(name=Path(path).name))
        words = ["import-weights", str(path), "-o", str(made), "--progress", "json"]
        self._worker = Worker(words, on_end=lambda worker: self._imported(worker, str(made))).start()

    def kill(self):
        """End the worker; nobody waits for it any more."""
        if self._worker is not None:
            self._worker.on_end = lambda worker: None
            self._worker.kill()

    def _imported(self, worker, path):
        self._worker = None
        if worker.error is not None:
            self._say(str(worker.error), True)
            return
        self._say("")
        self._on_chosen(path)


def fill(selector, items, chosen):
    """Set a selector's items, pairs of data and text, without a signal, and choose one of them."""
    selector.blockSignals(True)
    selector.clear()
    for data, text in items:
        selector.addItem(text, data)
    selector.blockSignals(False)
    choose(selector, chosen)


def choose(selector, data):
    """Choose the item with that data, or the first, without a signal."""
    selector.blockSignals(True)
    selector.setCurrentIndex(max(0, selector.findData(data)))
    selector.blockSignals(False)
