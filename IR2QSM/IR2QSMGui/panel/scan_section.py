"""The panel's lists of echoes and magnitudes of a multi-echo scan."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from IR2QSMGui.panel.widgets import TickList
from IR2QSMGui.parameters import Input, Parameters
from IR2QSMGui.scene import comparison, masks, nodes
from IR2QSMGui.scene.scan import Scan, companions_of, header_of

FIRST_ECHO, ECHOES, MAGNITUDES = "IR2QSM.firstEcho", "IR2QSM.echoes", "IR2QSM.magnitudes"
"""References of the settings: the echo that the others were ticked for, the further echoes, the magnitudes."""
PHASE_CONTROLS = (
    "echoLabel",
    "echoList",
    "magnitudesLabel",
    "magnitudeList",
    "echoTimesLabel",
    "echoTimesEdit",
    "bipolarCheck",
    "acceptFilteredCheck",
    "phaseRangeLabel",
    "phaseRangeEdit",
)


class ScanSection(VTKObservationMixin):
    """Ticks the volumes that belong to the scan of the chosen phase.

    Parameters
    ----------
    ui
        The panel's widgets.
    on_changed
        Called without arguments when others are ticked, and when volumes of the scene change.
    """

    def __init__(self, ui: Any, on_changed: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._on_changed = ui, on_changed
        self._parameters: Any = None
        self._watcher = nodes.NodeWatcher(self._nodes_changed)
        self._lists = {
            ECHOES: TickList(ui.echoList, lambda ids: self._volumes_ticked(ECHOES, ids)),
            MAGNITUDES: TickList(ui.magnitudeList, lambda ids: self._volumes_ticked(MAGNITUDES, ids)),
        }
        ui.maskNote.linkActivated.connect(lambda name: slicer.util.selectModule(name))

    def attach(self, parameters: Parameters) -> None:
        """Follow the scene of these settings."""
        self.detach()
        self._parameters = parameters
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._nodes_changed)

    def detach(self) -> None:
        """Let the scene go."""
        self.removeObservers()
        self._watcher.watch([])
        self._parameters = None

    def phases(self) -> list:
        """The phase that is chosen and those that are ticked, by name; the field alone, for a field."""
        field = self._parameters.field
        return sorted([field, *self._ticked(ECHOES)], key=_natural_order) if self._is_phase() and field else [field]

    def magnitudes(self) -> list:
        """The magnitudes that are ticked; none for a field."""
        return self._ticked(MAGNITUDES) if self._is_phase() else []

    def update(self) -> None:
        """Bring the lists up to date, and tick what DICOM says belongs to a phase that was chosen anew."""
        ui, is_phase = self._ui, self._is_phase()
        for name in PHASE_CONTROLS:
            getattr(ui, name).setVisible(is_phase)
        self._watcher.watch(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
        ui.b0Spin.setSpecialValueText(self._b0_text())
        if not is_phase:
            return
        self._tick_companions()
        echoes, magnitudes = self._ticked(ECHOES), self._ticked(MAGNITUDES)
        for role, ticked, others in ((ECHOES, echoes, magnitudes), (MAGNITUDES, magnitudes, echoes)):
            offered = [node for node in self._candidates() if node not in others]
            self._lists[role].show([(n.GetID(), n.GetName(), "") for n in offered], [n.GetID() for n in ticked])
        times = Scan.of(self.phases(), magnitudes).times() if self._parameters.field is not None else ()
        listed = " ".join(f"{1000 * te:.4g}" for te in times if te) if all(times) else ""
        ui.echoTimesEdit.setPlaceholderText(_("from DICOM: {times}").format(times=listed) if listed else "")

    def _b0_text(self) -> str:
        """What stands for B0 while none is entered: DICOM's field strength for phase, or that it is missing."""
        field = self._parameters.field
        b0 = header_of(field).get("MagneticFieldStrength") if self._is_phase() and field else None
        return _("{b0} T, from DICOM").format(b0=f"{b0:g}") if b0 else _("not entered")

    def _is_phase(self) -> bool:
        return self._parameters is not None and self._parameters.input is Input.PHASE

    def _candidates(self) -> list:
        """The volumes that may belong to the scan: on the grid of its first echo, and not made here."""
        field = self._parameters.field
        if field is None or field.GetImageData() is None:
            return []
        others = [n for n in comparison.comparable_volumes() if n is not field and not nodes.was_made_here(n)]
        return sorted((node for node in others if masks.same_grid(node, field)), key=_natural_order)

    def _ticked(self, role: str) -> list:
        node = self._parameters.parameterNode
        ticked = [node.GetNthNodeReference(role, i) for i in range(node.GetNumberOfNodeReferences(role))]
        return [volume for volume in self._candidates() if volume in ticked]

    def _tick_companions(self) -> None:
        """Ticks belong to one first echo; for another one they begin with what DICOM says."""
        node, field = self._parameters.parameterNode, self._parameters.field
        if field is None or field.GetImageData() is None or node.GetNodeReference(FIRST_ECHO) is field:
            return
        phases, magnitudes = companions_of(field, self._candidates())
        with slicer.util.NodeModify(node):
            node.SetNodeReferenceID(FIRST_ECHO, field.GetID())
            self._set_references(ECHOES, phases)
            self._set_references(MAGNITUDES, magnitudes)

    def _set_references(self, role: str, volumes: list) -> None:
        node = self._parameters.parameterNode
        node.RemoveNodeReferenceIDs(role)
        for volume in volumes:
            node.AddNodeReferenceID(role, volume.GetID())

    def _volumes_ticked(self, role: str, identifiers: list[str]) -> None:
        if self._parameters is not None:
            with slicer.util.NodeModify(self._parameters.parameterNode):
                self._set_references(role, [slicer.mrmlScene.GetNodeByID(i) for i in identifiers])
            self._on_changed()

    def _nodes_changed(self, *_args: Any) -> None:
        if self._is_phase() and not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
            self._on_changed()


def _natural_order(node: slicer.vtkMRMLNode) -> list:
    """By name, echo 2 before echo 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", node.GetName())]
