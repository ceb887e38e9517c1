"""The methods that the library has, as it names them itself, and which of them are ticked."""

import qt
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Input
from IR2QSMGui.run import install as dependencies
from IR2QSMGui.run.worker import Worker


class Installation:
    """What `ir2qsm info` says of devices and methods: asked once, in a worker, told to all who want to know."""

    def __init__(self):
        self.found, self.error, self._worker, self._listeners = {}, "", None, []

    def tell(self, listener):
        """Call `listener()` when there is an answer, or an error."""
        self._listeners.append(listener)

    def ask(self):
        """Ask a worker, unless it was asked before; returns whether an answer is awaited."""
        if self._worker is None and not dependencies.missing():
            self._worker = Worker(["info", "--json"], on_end=self._answered).start()
        return self.looking()

    def retry(self):
        """Let it be asked again where it failed."""
        if self.error:
            self._worker, self.error = None, ""

    def looking(self):
        """Whether an answer is awaited."""
        return self._worker is not None and not self._worker.ended

    def kill(self):
        """End the worker; nobody waits for it any more."""
        if self._worker is not None:
            self._worker.on_end = lambda worker: None
            self._worker.kill()

    def about(self, method):
        """Sentence, citation, needs and options of a method; empty while they are not known."""
        return self.found.get("methods", {}).get(method, {})

    def _answered(self, worker):
        self.found, self.error = worker.result or {}, str(worker.error or "")
        for listener in self._listeners:
            listener()


class MethodList:
    """A list to tick methods in; `on_ticked(names)` is called with those that are, in the library's order."""

    def __init__(self, ticks, installation, on_ticked):
        self._ticks, self._installation = Ticks(ticks, on_ticked), installation

    def show(self, chosen):
        """List the methods that the installation has weights for or that need none, and tick what is chosen."""
        about = self._installation.found.get("methods", {})
        offered = [name for name in about if about[name].get("available", True)]
        names = [*offered, *(name for name in chosen if name not in offered)]
        tip = {name: f"{about[name]['sentence']} {about[name]['citation']}." for name in about}
        self._ticks.show([(name, name, tip.get(name, "")) for name in names], chosen)

    def needs(self, chosen):
        """What the chosen methods cannot do without, in the library's words."""
        return {need for name in chosen for need in self._installation.about(name).get("needs", [])}

    def takes(self, chosen, option):
        """Whether one of the chosen methods has that option."""
        return any(option in self._installation.about(name).get("options", []) for name in chosen)


class Ticks:
    """A list widget whose items can be ticked; `on_ticked(data)` is called with the data of those that are."""

    def __init__(self, widget, on_ticked):
        self._widget, self._on_ticked, self._items, self._ticked = widget, on_ticked, None, []
        widget.itemChanged.connect(self._changed)

    def show(self, items, ticked):
        """List (data, text, tool tip) and tick some, without a call."""
        if (items, list(ticked)) == (self._items, self._ticked):  # so that no item goes while it is clicked
            return
        self._items, self._ticked = items, list(ticked)
        widget = self._widget
        widget.blockSignals(True)
        widget.clear()
        for row, (data, text, tip) in enumerate(items):
            widget.addItem(text)
            item = widget.item(row)
            item.setData(qt.Qt.UserRole, data)
            item.setToolTip(tip)
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Checked if data in ticked else qt.Qt.Unchecked)
        widget.blockSignals(False)

    def _changed(self, *_args):
        items = [self._widget.item(row) for row in range(self._widget.property("count"))]
        self._ticked = [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]
        self._on_ticked(self._ticked)


def problem_of(methods, chosen, parameters):
    """What the chosen methods lack, in a sentence, or nothing."""
    if not chosen:
        return _("Tick at least one method.")
    if parameters.input is Input.PHASE:  # all that any method needs comes with it
        return ""
    given = {"magnitude": parameters.magnitude, "b0": parameters.b0, "echo_time": parameters.echoTime}
    words = {"magnitude": _("the magnitude image"), "b0": _("B0"), "echo_time": _("the echo time")}
    lacking = [words.get(need, need) for need in sorted(methods.needs(chosen)) if not given.get(need)]
    if not lacking:
        return ""
    owners = [name for name in chosen if methods.needs([name])]
    return _("Needed for {methods}: {what}.").format(methods=", ".join(owners), what=", ".join(lacking))
