"""What the library takes a field to be: asked of a worker when a field is chosen, and said beside the selector."""

import shutil
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Input, Unit
from IR2QSMGui.run import install as dependencies
from IR2QSMGui.run.worker import Worker
from IR2QSMGui.scene import scan as acquisition

INPUTS = {"local field": Input.LOCAL, "total field": Input.TOTAL, "wrapped phase": Input.PHASE}
"""By the library's names for what an image seems to be."""


def key_of(field):
    """What changes when the voxels of a field may have: its node and the time of its image."""
    image = field.GetImageData()
    return field.GetID(), image.GetMTime() if image is not None else 0


class Inspection:
    """What the library takes a field to be: `found` is its answer, None when it could not be asked."""

    def __init__(self, field, on_end):
        self.key, self.found, self.ended, self._on_end = key_of(field), None, False, on_end
        self._folder = Path(tempfile.mkdtemp(prefix="ir2qsm-", dir=slicer.app.temporaryPath))
        self._worker = Worker(["inspect", str(self._folder / "field.nrrd"), "--json"], on_end=self._done)
        try:
            acquisition.write_with_facts(field, self._folder / "field.nrrd")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._worker.start()

    def kill(self):
        """End it; nobody waits for it any more."""
        self._on_end = lambda inspection: None
        self._worker.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _done(self, worker):
        self.found, self.ended = worker.result, True
        shutil.rmtree(self._folder, ignore_errors=True)
        self._on_end(self)


class Recognition:
    """The inspection of the field that is chosen now; `on_found()` is called when there is an answer."""

    def __init__(self, on_found):
        self._on_found, self._inspection, self._settled = on_found, None, None

    def look_at(self, field):
        """Ask a worker, unless this field was looked at since its voxels changed."""
        if self._is_of(field) or dependencies.missing():
            return
        self.kill()
        self._inspection = Inspection(field, self._inspected)

    def kill(self):
        """End the worker; nobody waits for it any more."""
        if self._inspection is not None:
            self._inspection.kill()

    def found(self, field):
        """The library's answer about that field, or None."""
        return self._inspection.found if field is not None and self._is_of(field) else None

    def looking(self):
        """Whether an answer is awaited."""
        return self._inspection is not None and not self._inspection.ended

    def settle(self, parameters):
        """Take the kind of input and the unit that were recognised, once a field, so that a correction stays."""
        found = self.found(parameters.field)
        if found is None or self._settled == self._inspection.key:
            return
        before, self._settled = self._settled, self._inspection.key
        changed = before is not None and before[0] == self._settled[0]  # its voxels, since it was looked at
        if found["kind"] in INPUTS and (changed or parameters.judged != self._settled[0]):
            with slicer.util.NodeModify(parameters):
                parameters.input = INPUTS[found["kind"]]
                if parameters.input is not Input.PHASE and found["unit"] in [u.value for u in Unit]:
                    parameters.unit = Unit(found["unit"])
                parameters.judged = self._settled[0]

    def text(self, field):
        """What the field seems to be, in a sentence."""
        if field is not None and self.looking():
            return _("Looking at the field…")
        found = self.found(field)
        if found is None:
            return ""
        low, high = found["range"]
        unit = {"ppm": "ppm", "hz": "Hz", "rad": "rad", "scanner units": _("scanner units")}.get(found["unit"])
        what = found["kind"] if unit is None else _("{kind} in {unit}").format(kind=found["kind"], unit=unit)
        text = _("Looks like a {what} ({low} to {high}).").format(what=what, low=f"{low:.3g}", high=f"{high:.3g}")
        scaling = [_("Read as {scaling}.").format(scaling=found["scaling"])] if found.get("scaling") else []
        return " ".join([text, *scaling, *found["problems"]])

    def problem(self, field, kind):
        """Why it cannot be reconstructed as that kind of input, or nothing."""
        found = self.found(field)
        seen = None if found is None else found["kind"]
        if seen == "empty":
            return _("This volume is empty.")
        if seen == "magnitude" and kind is not Input.PHASE:
            return _("This looks like a magnitude image; phase or a field is needed.")
        return ""

    def doubt(self, field, kind):
        """Whether what a person says that it is is not what it looks like."""
        found = self.found(field)
        return found is not None and INPUTS.get(found["kind"]) is not kind

    def _is_of(self, field):
        return self._inspection is not None and self._inspection.key == key_of(field)

    def _inspected(self, inspection):
        if inspection is self._inspection:
            self._on_found()
