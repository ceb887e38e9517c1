"""Runs of the library on volumes in the scene: one method, or several one after another."""

import json
import re
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Colours, Input, InputProblem, Window
from IR2QSMGui.run import install as dependencies
from IR2QSMGui.run.worker import Cancelled, Worker, WorkerFailed
from IR2QSMGui.scene import display, masks
from IR2QSMGui.scene import nodes as scene
from IR2QSMGui.scene import scan as acquisition
from IR2QSMGui.scene.scan import Scan
from IR2QSMGui.scene.validation import problems_of

VOLUMES = ("noise", "csf")
"""Volumes beside field, mask and magnitude that a method may take."""


def intermediate_volumes():
    """What is kept of the way to a map, by the library's names."""
    return {
        "totalfield": _("total field"),
        "localfield": _("local field"),
        "mask": _("effective mask"),
        "residual": _("residual"),
        "quality": _("quality"),
    }


class Reconstruction:
    """One run: inputs written to a folder of its own, a worker, and its maps in the scene at the end.

    `field` is a volume, or the phases of several echoes. `chi` and `uncertainty` are the nodes, `kept` those of the
    way to them, `error` says why there are none, `notes` what a person should know. Nothing enters the scene before
    all of it is there; the folder is gone when `ended` is true.
    """

    def __init__(self, field, mask, options, output=None, uncertainty_output=None, on_progress=None, on_end=None):
        phases = list(field) if isinstance(field, (tuple, list)) else [field]
        field, several = phases[0] if phases else None, len(phases) > 1
        kind = Input.PHASE if several else None if options.input == "auto" else Input(options.input)
        for problem in problems_of(field, mask, options.mask_part, kind):
            if problem:
                raise InputProblem(problem)
        extras = [*phases[1:], *options.magnitudes, *(getattr(options, name) for name in VOLUMES)]
        if output is not None and output in (field, mask, *extras):
            raise InputProblem(_("The map would replace its own input; choose another output volume."))
        for volume in extras:
            if volume is not None and not masks.same_grid(volume, field):
                raise InputProblem(
                    _(
                        "'{name}' lies on another grid than the field; resample it to the field's, or choose another "
                        "volume."
                    ).format(name=volume.GetName())
                )
        self._scan = None
        if kind is Input.PHASE:
            self._scan = Scan.of(phases, options.magnitudes, options.echo_times, options.b0)
            if self._scan.problem():
                raise InputProblem(self._scan.problem())
        self._field, self._mask, self._options = field, mask, options
        self._from_phase = kind in (Input.PHASE, Input.TOTAL)
        self._outputs = (output, uncertainty_output)
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self._on_end = on_end or (lambda run: None)
        self._scene = slicer.mrmlScene
        self._given = [(node, node.GetID()) for node in (field, *self._outputs) if node is not None]
        self.method = options.method
        self._worker = self._folder = self._observer = None
        self.chi = self.uncertainty = self.error = None
        self.kept = {}
        self.dropped = self.ended = False
        self.notes = []
        self.seconds = 0.0
        self.log = []

    def start(self, wait=False):
        """Write the inputs and start the worker; nothing stays behind when that fails."""
        dependencies.require(self._from_phase)
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
        words = ["reconstruct", *self._write_field()]
        if self._mask is not None:
            note = scene.write_mask(self._mask, options.mask_part, self._field, folder / "mask.nrrd")
            self.notes += [note] if note else []
            words.insert(2, str(folder / "mask.nrrd"))
        words += ["-o", str(folder / "chi.nrrd")]
        if options.keep:
            words += ["--keep", str(folder / "kept")]
        if options.uncertainty:
            words += ["--uncertainty", str(folder / "uncertainty.nrrd")]
        for name in VOLUMES:
            if getattr(options, name) is not None:
                scene.write_volume(getattr(options, name), folder / f"{name}.nrrd")
                words += [f"--{name}", str(folder / f"{name}.nrrd")]
        if not isinstance(options.reference, str):
            note = scene.write_mask(options.reference, options.reference_part, self._field, folder / "region.nrrd")
            self.notes += [note] if note else []
            words += ["--reference", str(folder / "region.nrrd")]
        return [*words, *options.words(), "--progress", "json"]

    def _write_field(self):
        if self._scan is not None:
            return self._scan.write(self._folder)
        path = self._folder / "field.nrrd"
        acquisition.write_with_facts(self._field, path)
        words = [str(path)]
        for n, node in enumerate(self._options.magnitudes):
            scene.write_volume(node, self._folder / f"magnitude-{n + 1}.nrrd")
            words += [*([] if n else ["--magnitude"]), str(self._folder / f"magnitude-{n + 1}.nrrd")]
        return words

    def _done(self, worker):
        self.seconds = time.monotonic() - self._started
        self.log = list(worker.lines)
        self.error = worker.error
        try:
            if isinstance(self.error, WorkerFailed):
                if self.error.kind == "InternalError":
                    dependencies.require(phase=True)  # it may have turned out to be phase
                self.error = WorkerFailed(self.error.kind, self._named(str(self.error)), self.error.lines)
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
        """Both maps are read before either enters the scene, and what entered leaves it again on failure."""
        self.notes += map(self._named, result["warnings"])
        read = [None if result[k] is None else scene.read_map(result[k], self._field) for k in ("chi", "uncertainty")]
        paths = result.get("kept", {})
        way = {kind: scene.read_map(paths[kind], self._field) for kind in intermediate_volumes() if kind in paths}
        provenance = json.loads(Path(result["provenance"]).read_text(encoding="utf-8"))
        index = ["–" if value is None else f"{value:.2f}" for value in provenance["ConeIndex"]["index"]]
        self.log.append(_("Cone index, coarse to fine: {index}.").format(index=" · ".join(index)))
        output = self._outputs[0]
        older = {kind: output.GetNodeReference(f"IR2QSM.{kind}") if output else None for kind in way}
        with scene.all_or_nothing(*self._outputs, *older.values()):
            self.chi, self.uncertainty = self._added(read, provenance)
            self.kept = self._way_added(way, older)
            if "localfield" in way:
                about = json.loads(Path(paths["localfield"]).with_name("localfield.json").read_text(encoding="utf-8"))
                recovered = "yes" if about["HarmonicPartRecovered"] else None
                self.kept["localfield"].SetAttribute(acquisition.RECOVERED, recovered)

    def _added(self, read, provenance):
        title = _("{field} QSM {method}").format(field=self._field.GetName(), method=self.method.upper())
        names = (title, _("{map} uncertainty").format(map=title))
        add = partial(scene.add_map, field=self._field, provenance=provenance, reference=self._region())
        chi, sigma = (
            None if volume is None else add(volume, name=name, output=output)
            for volume, name, output in zip(read, names, self._outputs, strict=True)
        )
        if chi.GetNodeReference("IR2QSM.field") is None:  # an updated map keeps the display it was given
            display.show_map(chi, Window.NARROW.value, Colours.GREY, True)
        if sigma is not None:
            display.show_uncertainty(sigma, Window.NARROW.value)
        chi.SetNodeReferenceID("IR2QSM.uncertainty", sigma.GetID() if sigma else None)
        chi.SetNodeReferenceID("IR2QSM.field", self._field.GetID())
        return chi, sigma

    def _way_added(self, way, older):
        made = {}
        for kind, title in intermediate_volumes().items():
            if kind in way:
                name = _("{field} {what}").format(field=self._field.GetName(), what=title)
                node = scene.add_intermediate(way[kind], self._field, kind, name=name, output=older[kind])
                if older[kind] is None:
                    display.show_intermediate(node, kind)
                made[kind] = node
            self.chi.SetNodeReferenceID(f"IR2QSM.{kind}", made[kind].GetID() if kind in made else None)
        return made

    def _named(self, text):
        """What the library says, with names of volumes in place of the files', and those of the panel's controls."""
        files = {"field.nrrd": self._field.GetName()} if self._scan is None else self._scan.names()
        for file, name in files.items():
            text = text.replace(file, f"'{name}'")
        text = text.replace("with --phase-range", _("under 'Phase range'"))
        text = text.replace("with --input total-field", _("under 'Input'"))
        text = re.sub(r"Give --te [\d. ]+, as the images come, or leave it out", _("Order the times so"), text)
        return text.replace("see --flip-sign", _("try 'Flip the sign'"))

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


class Series:
    """Several reconstructions of one field, one after another; a map stays once it is there, whatever comes after.

    `runs` are the reconstructions; `on_map(run)` is called for each that ended, `on_end(series)` after the last one.
    One that fails does not keep the others from being tried; cancelling ends the one that runs and those to come.
    Raises InputProblem, before anything is started, for inputs that cannot be.
    """

    def __init__(self, field, mask, several, outputs=(None, None), on_progress=None, on_map=None, on_end=None):
        outputs = outputs if len(several) == 1 else (None, None)
        self.runs = [
            Reconstruction(field, mask, options, *outputs, partial(self._progressed, n), self._done)
            for n, options in enumerate(several)
        ]
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self._on_map, self._on_end = on_map or (lambda run: None), on_end or (lambda series: None)
        self._now = 0

    @property
    def maps(self):
        """The maps that are in the scene, in the order of the runs."""
        return [run.chi for run in self.runs if run.chi is not None]

    @property
    def dropped(self):
        """Whether the scene went away meanwhile."""
        return any(run.dropped for run in self.runs)

    @property
    def seconds(self):
        """How long all of them took [s]."""
        return sum(run.seconds for run in self.runs)

    def start(self):
        """Start the first; an error in its start is raised, one in those that follow is theirs."""
        self.runs[0].start()

    def cancel(self):
        """End the one that runs within two seconds; the others are not started."""
        self.runs[self._now].cancel()

    def kill(self):
        """End it at once, as when Slicer itself ends."""
        self.runs[self._now].kill()

    def _progressed(self, n, fraction, stage):
        if len(self.runs) > 1:
            stage = _("{method} ({n} of {all}): {stage}").format(
                method=self.runs[n].method, n=n + 1, all=len(self.runs), stage=stage
            )
        self._on_progress((n + fraction) / len(self.runs), stage)

    def _done(self, run):
        self._on_map(run)
        while self._now + 1 < len(self.runs) and not (run.dropped or isinstance(run.error, Cancelled)):
            self._now += 1
            try:
                self.runs[self._now].start()
                return
            except Exception as error:
                self.runs[self._now].error = error
                self._on_map(self.runs[self._now])
        self._on_end(self)
