"""What the library recognises a field as: asked of a worker when a field is chosen."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from IR2QSMGui.parameters import INPUT_OF_KIND, Input, Parameters, Unit
from IR2QSMGui.run import install
from IR2QSMGui.run.worker import Worker
from IR2QSMGui.scene import nodes, scan

KINDS_MADE_HERE = {"localfield": "local field", "totalfield": "total field", nodes.CHI: "susceptibility map"}
"""The library's names for kinds of volumes that the module makes."""


def image_key(field: slicer.vtkMRMLVolumeNode) -> tuple[str, int]:
    """The ID of a volume and the time of its image, which changes with its voxels."""
    image = field.GetImageData()
    return field.GetID(), image.GetMTime() if image is not None else 0


class Inspection:
    """One question to the library about a field; `answer` is None when it could not be asked.

    Parameters
    ----------
    field
        A volume with an image.
    on_end
        Called with the inspection.
    """

    def __init__(self, field: slicer.vtkMRMLScalarVolumeNode, on_end: Callable[[Inspection], None]) -> None:
        self.key = image_key(field)
        self.answer: dict[str, Any] | None = None
        self.ended = False
        self._on_end = on_end
        self._folder = Path(tempfile.mkdtemp(prefix="ir2qsm-", dir=slicer.app.temporaryPath))
        self._worker = Worker(["inspect", str(self._folder / "field.nrrd"), "--json"], on_end=self._answered)
        try:
            scan.write_with_sidecar(field, self._folder / "field.nrrd")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._worker.start()

    def kill(self) -> None:
        """End the worker; nobody waits for it any more."""
        self._on_end = lambda inspection: None
        self._worker.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answered(self, worker: Worker) -> None:
        self.answer, self.ended = worker.result, True
        shutil.rmtree(self._folder, ignore_errors=True)
        self._on_end(self)


class FieldInspector:
    """What the field that is chosen now is recognised as; a volume that the module made says it itself.

    Parameters
    ----------
    on_answer
        Called without arguments when there is an answer.
    """

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer
        self._inspection: Inspection | None = None
        self._adopted: tuple[str, int] | None = None

    def inspect(self, field: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Ask a worker about a field, unless it was asked since the field's voxels changed."""
        if self._is_of(field) or nodes.kind_of(field) in KINDS_MADE_HERE or install.missing():
            return
        self.kill()
        self._inspection = Inspection(field, self._inspection_ended)

    def kill(self) -> None:
        """End the worker; nobody waits for it any more."""
        if self._inspection is not None:
            self._inspection.kill()

    def answer(self, field: slicer.vtkMRMLScalarVolumeNode | None) -> dict[str, Any] | None:
        """What the field is: its "kind", "unit", "range" and "problems"; None while that is not known."""
        if field is None or field.GetImageData() is None:
            return None
        kind = KINDS_MADE_HERE.get(nodes.kind_of(field))
        if kind is not None:
            value_range = list(field.GetImageData().GetScalarRange())
            return {"kind": kind, "unit": nodes.unit_of(field), "range": value_range, "problems": [], "made_here": True}
        return self._inspection.answer if self._inspection is not None and self._is_of(field) else None

    @property
    def waiting(self) -> bool:
        """Whether an answer is awaited."""
        return self._inspection is not None and not self._inspection.ended

    def adopt(self, parameters: Parameters) -> None:
        """Set the kind of input and the unit as recognised, once for each field, so that a correction stays."""
        field = parameters.field
        answer = self.answer(field)
        if answer is None or self._adopted == image_key(field):
            return
        before, self._adopted = self._adopted, image_key(field)
        voxels_changed = before is not None and before[0] == self._adopted[0]
        if answer["kind"] in INPUT_OF_KIND and (voxels_changed or parameters.recognisedField != self._adopted[0]):
            with slicer.util.NodeModify(parameters):
                parameters.input = INPUT_OF_KIND[answer["kind"]]
                if parameters.input is not Input.PHASE and answer["unit"] in [unit.value for unit in Unit]:
                    parameters.unit = Unit(answer["unit"])
                parameters.recognisedField = self._adopted[0]

    def _is_of(self, field: slicer.vtkMRMLScalarVolumeNode) -> bool:
        return self._inspection is not None and self._inspection.key == image_key(field)

    def _inspection_ended(self, inspection: Inspection) -> None:
        if inspection is self._inspection:
            self._on_answer()
