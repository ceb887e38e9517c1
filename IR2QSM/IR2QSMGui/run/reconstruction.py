"""One run of the library on volumes in the scene: inputs to files, a worker, and its maps in the scene at the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Input, InputProblem
from IR2QSMGui.run import install
from IR2QSMGui.run.durations import Work
from IR2QSMGui.run.options import Options
from IR2QSMGui.run.worker import Cancelled, Worker, WorkerFailed
from IR2QSMGui.scene import masks, nodes, results
from IR2QSMGui.scene.scan import Scan, write_with_sidecar
from IR2QSMGui.scene.validation import problems_of

EXTRA_VOLUMES = ("noise", "csf")
"""Volumes beside field, mask and magnitude that a method may take."""
KINDS_OF_INPUT = {"totalfield": Input.TOTAL, "localfield": Input.LOCAL}
"""Kinds of fields that the module makes itself."""


class Reconstruction:
    """One run. Nothing enters the scene before all of it is there; the folder of the run is gone when `ended`.

    `chi` and `uncertainty` are the maps, `intermediates` the volumes that were kept by the library's names, `error`
    the reason for none, `notes` sentences for the person, `log` lines for the report.

    Parameters
    ----------
    field
        A volume, or the phases of several echoes.
    mask
        Segmentation, labelmap or volume; None, for phase only, makes one from the magnitude.
    options
        How to reconstruct.
    output, uncertainty_output
        Volumes that the maps replace; new ones when None.
    on_progress
        Called with the fraction done, 0 to 1, and the stage.
    on_end
        Called with the reconstruction.

    Raises
    ------
    InputProblem
        For inputs that cannot be used.
    """

    def __init__(
        self,
        field: slicer.vtkMRMLScalarVolumeNode | Sequence[slicer.vtkMRMLScalarVolumeNode],
        mask: slicer.vtkMRMLNode | None,
        options: Options,
        output: slicer.vtkMRMLScalarVolumeNode | None = None,
        uncertainty_output: slicer.vtkMRMLScalarVolumeNode | None = None,
        on_progress: Callable[[float, str], None] | None = None,
        on_end: Callable[[Reconstruction], None] | None = None,
    ) -> None:
        phases: list[Any] = list(field) if isinstance(field, (tuple, list)) else [field]
        self._field: Any = phases[0] if phases else None
        self._mask, self._options = mask, options
        self._outputs = (output, uncertainty_output)
        self._input = self._kind_of_input(len(phases))
        self._require_usable(phases)
        self._scan = None
        if self._input is Input.PHASE:
            self._scan = Scan.of(phases, options.magnitudes, options.echo_times, options.b0)
            if self._scan.problem():
                raise InputProblem(self._scan.problem())
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self._on_end = on_end or (lambda run: None)
        self._scene = slicer.mrmlScene
        self.method = options.method
        self.field_name = phases[0].GetName()
        self.work = Work.of(options, phases)
        self._worker: Worker | None = None
        self._folder: Path | None = None
        self._observer = None
        self._started = 0.0
        self.chi = self.uncertainty = None
        self.error: Exception | None = None
        self.intermediates: dict[str, Any] = {}
        self.dropped = self.ended = False
        self.notes: list[str] = []
        self.log: list[str] = []
        self.seconds = self.seconds_to_start = 0.0

    def start(self, wait: bool = False) -> None:
        """Write the inputs and start the worker; nothing stays behind when that fails."""
        install.require(phase=self._input in (Input.PHASE, Input.TOTAL))
        self._started = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="ir2qsm-", dir=slicer.app.temporaryPath))
        try:
            arguments = self._write_inputs(self._folder)
            self._observer = self._scene.AddObserver(self._scene.StartCloseEvent, lambda *_: self.drop())
            self._worker = Worker(arguments, self._folder / "cancel", self._progressed, self._worker_ended)
            self._worker.start(wait)
        except BaseException:
            self._clean()
            raise

    def cancel(self) -> None:
        """End the run within two seconds; nothing of it stays."""
        if self._worker is not None:
            self._worker.cancel()

    def drop(self) -> None:
        """End the run without a message: its scene is being closed."""
        self.dropped = True
        self.cancel()

    def kill(self) -> None:
        """End the run at once, as when Slicer itself ends."""
        self.dropped = True
        if self._worker is not None:
            self._worker.kill()
        self._clean()

    def _kind_of_input(self, n_phases: int) -> Input | None:
        """The kind of input; None where the library is to recognise it."""
        if n_phases > 1:
            return Input.PHASE
        if self._options.input != "auto":
            return Input(self._options.input)
        return KINDS_OF_INPUT.get(nodes.kind_of(self._field)) if self._field is not None else None

    def _require_usable(self, phases: list) -> None:
        options, output = self._options, self._outputs[0]
        for problem in problems_of(self._field, self._mask, options.mask_part, self._input):
            if problem:
                raise InputProblem(problem)
        others = [*phases[1:], *options.magnitudes, *(getattr(options, name) for name in EXTRA_VOLUMES)]
        if output is not None and output in (self._field, self._mask, *others):
            raise InputProblem(_("The map would replace its own input; choose another output volume."))
        for volume in others:
            if volume is not None and not masks.same_grid(volume, self._field):
                raise InputProblem(
                    _(
                        "'{name}' lies on another grid than the field; resample it to the field's, or choose another "
                        "volume."
                    ).format(name=volume.GetName())
                )

    def _write_inputs(self, folder: Path) -> list[str]:
        """Write all inputs, and return the arguments of the command line."""
        options = self._options
        arguments = ["reconstruct", *self._write_field(folder)]
        if self._mask is not None:
            self._write_mask(self._mask, options.mask_part, folder / "mask.nrrd")
            arguments.insert(2, str(folder / "mask.nrrd"))
        arguments += ["-o", str(folder / "chi.nrrd")]
        if options.keep:
            arguments += ["--keep", str(folder / "kept")]
        if options.uncertainty:
            arguments += ["--uncertainty", str(folder / "uncertainty.nrrd")]
        for name in EXTRA_VOLUMES:
            if getattr(options, name) is not None:
                nodes.write_volume(getattr(options, name), folder / f"{name}.nrrd")
                arguments += [f"--{name}", str(folder / f"{name}.nrrd")]
        if not isinstance(options.reference, str):
            self._write_mask(options.reference, options.reference_part, folder / "region.nrrd")
            arguments += ["--reference", str(folder / "region.nrrd")]
        arguments += options.arguments()
        if self._input is not None and options.input == "auto":  # what the volume says of itself
            arguments[arguments.index("--input") + 1] = self._input.value
        return [*arguments, "--progress", "json"]

    def _write_field(self, folder: Path) -> list[str]:
        if self._scan is not None:
            return self._scan.write(folder)
        path = folder / "field.nrrd"
        write_with_sidecar(self._field, path)
        files = [folder / f"magnitude-{n + 1}.nrrd" for n in range(len(self._options.magnitudes))]
        for node, file in zip(self._options.magnitudes, files, strict=True):
            nodes.write_volume(node, file)
        return [str(path), *(["--magnitude", *map(str, files)] if files else [])]

    def _write_mask(self, node: slicer.vtkMRMLNode, part: str, path: Path) -> None:
        note = nodes.write_mask(node, part, self._field, path)
        self.notes += [note] if note else []

    def _progressed(self, fraction: float, stage: str) -> None:
        self.seconds_to_start = self.seconds_to_start or time.monotonic() - self._started
        self._on_progress(fraction, stage)

    def _worker_ended(self, worker: Worker) -> None:
        self.seconds = time.monotonic() - self._started
        self.log = list(worker.lines)
        try:
            self.error = self._error_of(worker)
            if self.error is None and worker.result is not None:
                self._bring_in(worker.result)
        except Exception as error:
            self.error = error
        finally:
            self._clean()
        self._on_end(self)

    def _error_of(self, worker: Worker) -> Exception | None:
        error = worker.error
        if isinstance(error, WorkerFailed):
            if error.kind == "InternalError":
                install.require(phase=True)  # the library may have recognised phase
            return WorkerFailed(error.kind, self._with_volume_names(str(error)), error.lines, error.option)
        if error is None and slicer.mrmlScene is not self._scene:
            self.dropped = True
            return Cancelled()
        return error

    def _bring_in(self, result: dict[str, Any]) -> None:
        """Bring the maps into the scene, also when inputs or outputs were removed from it meanwhile."""
        self.notes += map(self._with_volume_names, result["warnings"])
        outputs = [node if results.in_scene(node) else None for node in self._outputs]
        if not results.in_scene(self._field):
            self.notes.append(
                _("'{name}' was removed meanwhile; its map lies where it was.").format(name=self._field.GetName())
            )
        elif outputs != list(self._outputs):
            self.notes.append(_("The output volume was removed meanwhile; the map is a new one."))
        reference = self._options.reference
        made = results.bring_in(
            result,
            self._field,
            self.method,
            outputs=(outputs[0], outputs[1]),
            reference="" if isinstance(reference, str) else reference.GetName(),
        )
        self.chi, self.uncertainty, self.intermediates = made.chi, made.uncertainty, made.intermediates
        self.log.append(made.cone_index)

    def _with_volume_names(self, text: str) -> str:
        """The library's words with names of volumes in place of the files'."""
        names = {"field.nrrd": self._field.GetName()} if self._scan is None else self._scan.names()
        for file, name in names.items():
            text = text.replace(file, f"'{name}'")
        return text

    def _clean(self) -> None:
        if self._observer is not None:
            self._scene.RemoveObserver(self._observer)
            self._observer = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.ended = True
