"""What the library takes a field to be: asked of a worker when a field is chosen, and said beside the selector."""

import shutil
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IR2QSMGui import dependencies, scene
from IR2QSMGui.parameters import Unit
from IR2QSMGui.runner import Worker


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
            scene.write_volume(field, self._folder / "field.nrrd")
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

    def settle_unit(self, parameters):
        """Take the unit that was recognised, once a field, so that a correction stays."""
        found = self.found(parameters.field)
        if found is None or self._settled == self._inspection.key:
            return
        before, self._settled = self._settled, self._inspection.key
        changed = before is not None and before[0] == self._settled[0]      # its voxels, since it was looked at
        if found["unit"] in [u.value for u in Unit] and (changed or parameters.judged != self._settled[0]):
            with slicer.util.NodeModify(parameters):
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
        what, unit = found["kind"], Unit(found["unit"]).label() if found["unit"] in ("ppm", "hz", "rad") else ""
        text = _("Looks like a {kind} in {unit} ({low} to {high}).").format(
            kind=what, unit=unit, low=f"{low:.3g}", high=f"{high:.3g}"
        )
        return " ".join([text, *found["problems"]])

    def problem(self, field):
        """Why it cannot be reconstructed, or nothing."""
        found = self.found(field)
        kinds = {
            "wrapped phase": _("This looks like wrapped phase; a local field is needed, without wraps and background."),
            "magnitude": _("This looks like a magnitude image; a local field is needed."),
            "empty": _("This volume is empty."),
        }
        return kinds.get(found["kind"], "") if found is not None else ""

    def _is_of(self, field):
        return self._inspection is not None and self._inspection.key == key_of(field)

    def _inspected(self, inspection):
        if inspection is self._inspection:
            self._on_found()
