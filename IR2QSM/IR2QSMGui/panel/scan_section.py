"""The panel's part for a multi-echo scan: which volumes belong to it, and what is known of it."""

import re

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from IR2QSMGui.panel.methods import Ticks
from IR2QSMGui.panel.status import note
from IR2QSMGui.parameters import Input, InputProblem
from IR2QSMGui.run.options import range_of, times_of
from IR2QSMGui.scene import comparison as compare
from IR2QSMGui.scene import masks
from IR2QSMGui.scene import nodes as scene
from IR2QSMGui.scene import scan as acquisition
from IR2QSMGui.scene.scan import Scan

FIRST, ECHOES, MAGNITUDES = "IR2QSM.firstEcho", "IR2QSM.echoes", "IR2QSM.magnitudes"
"""References of the panel's parameters: the first echo that the others were ticked for, and those."""
BRAIN_EXTRACTION = {"HDBrainExtractionTool": "HD Brain Extraction Tool", "SwissSkullStripper": "Swiss Skull Stripper"}
"""Modules of extensions that make a brain mask from a magnitude image, by their names in Slicer."""


def _in_order(node):
    """By name, echo 2 before echo 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", node.GetName())]


class ScanSection(VTKObservationMixin):
    """Lists to tick echoes and magnitudes in; `changed()` is called when others are ticked."""

    def __init__(self, ui, changed):
        VTKObservationMixin.__init__(self)
        self._ui, self._changed, self._parameters = ui, changed, None
        self._volumes = scene.Watch(self._nodes_changed)
        self._lists = {
            ECHOES: Ticks(ui.echoList, lambda ids: self._ticked(ECHOES, ids)),
            MAGNITUDES: Ticks(ui.magnitudeList, lambda ids: self._ticked(MAGNITUDES, ids)),
        }
        ui.maskNote.linkActivated.connect(lambda name: slicer.util.selectModule(name))

    def attach(self, parameters):
        """Follow the scene that these parameters are in."""
        self.detach()
        self._parameters = parameters
        now = slicer.mrmlScene
        for event in (now.NodeAddedEvent, now.NodeRemovedEvent):
            self.addObserver(now, event, self._nodes_changed)

    def detach(self):
        """Let the scene go."""
        self.removeObservers()
        self._volumes.hold([])
        self._parameters = None

    def phases(self):
        """The phase that was chosen and those that are ticked, in the order of their names; of a field, itself."""
        field = self._parameters.field
        return sorted([field, *self._chosen(ECHOES)], key=_in_order) if self._is_phase() and field else [field]

    def magnitudes(self):
        """The magnitudes that are ticked, of phase."""
        return self._chosen(MAGNITUDES) if self._is_phase() else []

    def update(self):
        """Bring the lists up to date, and tick what DICOM says belongs to a phase that was chosen anew."""
        ui, phase = self._ui, self._is_phase()
        for name in (
            "echoLabel",
            "echoList",
            "magnitudesLabel",
            "magnitudeList",
            "echoTimesLabel",
            "echoTimesEdit",
            "bipolarCheck",
            "phaseRangeLabel",
            "phaseRangeEdit",
        ):
            getattr(ui, name).setVisible(phase)
        self._volumes.hold(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))  # their names, their grids
        if not phase:
            return
        self._settle()
        echoes, magnitudes = self._chosen(ECHOES), self._chosen(MAGNITUDES)
        for role, ticked, others in ((ECHOES, echoes, magnitudes), (MAGNITUDES, magnitudes, echoes)):
            offered = [node for node in self._candidates() if node not in others]
            self._lists[role].show([(n.GetID(), n.GetName(), "") for n in offered], [n.GetID() for n in ticked])
        known = Scan.of(self.phases(), magnitudes).times() if self._parameters.field is not None else ()
        times = " ".join(f"{1000 * te:.4g}" for te in known) if all(known) else ""
        ui.echoTimesEdit.setPlaceholderText(_("from DICOM: {times}").format(times=times) if times else "")

    def b0_text(self):
        """What stands for B0 while none is entered: DICOM's field strength, of phase, or that it is missing."""
        field = self._parameters.field
        known = acquisition.facts_of(field).get("MagneticFieldStrength") if self._is_phase() and field else None
        return _("{b0} T, from DICOM").format(b0=f"{known:g}") if known else _("not given")

    def judge(self):
        """Say which volumes belong together, or what is wrong; returns whether anything is."""
        if not self._is_phase() or self._parameters.field is None:
            note(self._ui.scanNote, "")
            return False
        try:
            times = times_of(self._parameters.echoTimes) or ()
            range_of(self._parameters.phaseRange)
            scan = Scan.of(self.phases(), self.magnitudes(), times, self._parameters.b0 or None)
            problem = scan.problem()
        except InputProblem as found:
            problem = str(found)
        note(self._ui.scanNote, problem or scan.text(), bool(problem))
        return bool(problem)

    def mask_text(self):
        """What is done without a mask, and with what a better one can be made."""
        text = _("Without a mask, one is made from the magnitude; one of the brain is better.")
        found = [name for name in BRAIN_EXTRACTION if hasattr(slicer.modules, name.lower())]
        links = ", ".join(f'<a href="{name}">{BRAIN_EXTRACTION[name]}</a>' for name in found)
        return text if not found else f"{text} " + _("Make it with: {modules}.").format(modules=links)

    def _is_phase(self):
        return self._parameters is not None and self._parameters.input is Input.PHASE

    def _candidates(self):
        """The volumes that may belong to the scan: on the grid of its first echo, and not made here."""
        field = self._parameters.field
        if field is None or field.GetImageData() is None:
            return []
        nodes = [node for node in compare.maps_of_scene() if node is not field and not scene.is_made(node)]
        return sorted((node for node in nodes if masks.same_grid(node, field)), key=_in_order)

    def _chosen(self, role):
        node = self._parameters.parameterNode
        chosen = [node.GetNthNodeReference(role, i) for i in range(node.GetNumberOfNodeReferences(role))]
        return [one for one in self._candidates() if one in chosen]

    def _settle(self):
        """Ticks belong to one first echo; for another one they begin with what DICOM tells."""
        node, field = self._parameters.parameterNode, self._parameters.field
        if field is None or field.GetImageData() is None or node.GetNodeReference(FIRST) is field:
            return
        phases, magnitudes = acquisition.companions_of(field, self._candidates())
        with slicer.util.NodeModify(node):
            node.SetNodeReferenceID(FIRST, field.GetID())
            self._refer(ECHOES, phases)
            self._refer(MAGNITUDES, magnitudes)

    def _refer(self, role, nodes):
        parameters = self._parameters.parameterNode
        parameters.RemoveNodeReferenceIDs(role)
        for node in nodes:
            parameters.AddNodeReferenceID(role, node.GetID())

    def _ticked(self, role, identifiers):
        if self._parameters is not None:
            with slicer.util.NodeModify(self._parameters.parameterNode):
                self._refer(role, [slicer.mrmlScene.GetNodeByID(i) for i in identifiers])
            self._changed()

    def _nodes_changed(self, *_args):
        if self._is_phase() and not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
            self._changed()
