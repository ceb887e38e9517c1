"""Reconstruction of volumes in the scene: from the panel, which does not wait, and from scripts, which do."""

import shutil
import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from IR2QSMGui import dependencies, display, scene
from IR2QSMGui.parameters import Colours, InputProblem, Options, Parameters, Window
from IR2QSMGui.runner import Cancelled, Worker

SMALLEST = 8
"""Voxels along an axis below which the library refuses a field."""


class IR2QSMLogic(ScriptedLoadableModuleLogic):
    """Susceptibility maps of volumes in the scene.

    `IR2QSMLogic().reconstruct(field, mask)` returns the map's node, on the field's grid, in ppm.
    """

    def parameters(self):
        """The panel's state in the present scene."""
        return Parameters(self.getParameterNode())

    def reconstruct(self, field, mask, *, output=None, uncertainty_output=None, wait=True, on_progress=None,
                    on_end=None, **options):  # fmt: skip
        """Reconstruct the susceptibility map [ppm] of a local field inside a mask.

        `field` is a scalar volume; `mask` a segmentation, a labelmap or a volume; `options` are those of `Options`.
        With `wait` the map's node is returned, and Ctrl-C ends the worker; without, a `Reconstruction` that tells
        `on_progress(fraction, stage)` and `on_end(reconstruction)`. The map replaces that of `output` if given.
        Raises InputProblem for inputs that cannot be, WorkerFailed and Cancelled for what happens on the way.
        """
        run = Reconstruction(field, mask, Options(**options), output, uncertainty_output, on_progress, on_end)
        run.start(wait)
        if not wait:
            return run
        if run.error is not None:
            raise run.error
        return run.chi


def problems_of(field, mask, part=""):
    """What keeps a field and a mask from being reconstructed: (of the field, of the mask), empty where nothing does."""
    of_field = _problem_of_field(field)
    return of_field, _problem_of_mask(mask, part, None if of_field else field)


def _problem_of_field(field):
    if field is None:
        return _("Choose the local field.")
    image = field.GetImageData()
    if image is None:
        return _("'{name}' holds no image; choose another volume.").format(name=field.GetName())
    shape = image.GetDimensions()
    if min(shape) < SMALLEST:
        size = "×".join(map(str, shape))
        return _("'{name}' has {size} voxels; a volume of at least {least} along each axis is needed.").format(
            name=field.GetName(), size=size, least=SMALLEST
        )
    if image.GetNumberOfScalarComponents() != 1:
        return _("'{name}' has several values a voxel; choose a volume with one.").format(name=field.GetName())
    return ""


def _problem_of_mask(mask, part, field):
    if mask is None:
        return _("Choose the mask: a segmentation, a labelmap or a volume.")
    if field is not None and not scene.overlap(mask, field):
        return _("'{name}' does not overlap the field; choose another mask.").format(name=mask.GetName())
    parts = scene.parts_of(mask)
    if not parts:
        return _("'{name}' is empty; choose another mask.").format(name=mask.GetName())
    if part and part not in [str(identifier) for identifier, _name in parts]:
        return _("The part that was chosen is no longer in '{name}'; choose another.").format(name=mask.GetName())
    return ""


class Reconstruction:
    """One run: inputs written to a folder of its own, a worker, and its maps in the scene at the end.

    `chi` and `uncertainty` are the nodes, `error` says why there are none, `notes` what a person should know. Nothing
    enters the scene before all of it is there; the folder is gone when `ended` is true.
    """

    def __init__(self, field, mask, options, output=None, uncertainty_output=None, on_progress=None, on_end=None):
        for problem in problems_of(field, mask, options.mask_part):
            if problem:
                raise InputProblem(problem)
        if output is field or (output is not None and output is mask):
            raise InputProblem(_("The map would replace its own input; choose another output volume."))
        self._field, self._mask, self._options = field, mask, options
        self._outputs = (output, uncertainty_output)
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self._on_end = on_end or (lambda run: None)
        self._scene = slicer.mrmlScene
        self._given = [(node, node.GetID()) for node in (field, *self._outputs) if node is not None]
        self._worker = self._folder = self._observer = None
        self.chi = self.uncertainty = self.error = None
        self.dropped = self.ended = False
        self.notes = []
        self.seconds = 0.0
        self.log = []

    def start(self, wait=False):
        """Write the inputs and start the worker; nothing stays behind when that fails."""
        dependencies.require()
        self._started = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="ir2qsm-", dir=slicer.app.temporaryPath))
        try:
            words = self._write_inputs()
            self._observer = self._scene.AddObserver(self._scene.StartCloseEvent, lambda *_: self.drop())
            self._worker = Worker(words, self._folder / "cancel", self._on_progress, self._done)
            self._worker.start(wait)
        except BaseException:
            self._clean()
            raise

    def cancel(self):
        """End the run within two seconds; nothing of it stays."""
        if self._worker is not None:
            self._worker.cancel()

    def drop(self):
        """End the run without a word: its scene is being closed."""
        self.dropped = True
        self.cancel()

    def kill(self):
        """End the run at once, as when Slicer itself ends."""
        self.dropped = True
        if self._worker is not None:
            self._worker.kill()
        self._clean()

    def _write_inputs(self):
        options, folder = self._options, self._folder
        scene.write_volume(self._field, folder / "field.nrrd")
        note = scene.write_mask(self._mask, options.mask_part, self._field, folder / "mask.nrrd")
        self.notes += [note] if note else []
        words = ["reconstruct", str(folder / "field.nrrd"), str(folder / "mask.nrrd"), "-o", str(folder / "chi.nrrd")]
        if options.uncertainty and options.method == "ir2qsm":
            words += ["--uncertainty", str(folder / "uncertainty.nrrd")]
        if not isinstance(options.reference, str):
            note = scene.write_mask(options.reference, options.reference_part, self._field, folder / "region.nrrd")
            self.notes += [note] if note else []
            words += ["--reference", str(folder / "region.nrrd")]
        return [*words, *options.words(), "--progress", "json"]

    def _done(self, worker):
        self.seconds = time.monotonic() - self._started
        self.log = list(worker.lines)
        self.error = worker.error
        try:
            if self.error is None and not self._still_there():
                self.dropped = True
                self.error = Cancelled()
            if self.error is None:
                self._bring_in(worker.result)
        except Exception as error:
            self.error = error
        finally:
            self._clean()
        self._on_end(self)

    def _still_there(self):
        scene_now = slicer.mrmlScene
        return scene_now is self._scene and all(scene_now.GetNodeByID(i) is node for node, i in self._given)

    def _bring_in(self, result):
        self.notes += result["warnings"]
        output, uncertainty_output = self._outputs
        title, sidecar, region = self._field.GetName(), result["provenance"], self._region()
        self.chi = scene.import_map(
            result["chi"], self._field, name=_("{field} QSM IR2QSM").format(field=title), output=output,
            sidecar=sidecar, reference=region,
        )  # fmt: skip
        if self.chi.GetNodeReference("IR2QSM.field") is None:       # an updated map keeps the display it was given
            display.show_map(self.chi, Window.NARROW.value, Colours.GREY, True)
        if result["uncertainty"]:
            self.uncertainty = scene.import_map(
                result["uncertainty"], self._field, name=_("{field} QSM IR2QSM uncertainty").format(field=title),
                output=uncertainty_output, sidecar=sidecar, reference=region,
            )  # fmt: skip
            display.show_uncertainty(self.uncertainty, Window.NARROW.value)
        self.chi.SetNodeReferenceID("IR2QSM.uncertainty", self.uncertainty.GetID() if self.uncertainty else None)
        self.chi.SetNodeReferenceID("IR2QSM.field", self._field.GetID())

    def _region(self):
        reference = self._options.reference
        return "" if isinstance(reference, str) else reference.GetName()

    def _clean(self):
        if self._observer is not None:
            self._scene.RemoveObserver(self._observer)
            self._observer = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.ended = True


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
