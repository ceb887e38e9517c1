"""The panel: its sections, Apply and Cancel."""

from __future__ import annotations

import sys
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.panel.advanced_section import DeviceSelector, TileSelector, WeightsSelector
from IR2QSMGui.panel.apply_section import ApplySection
from IR2QSMGui.panel.compare_section import CompareSection
from IR2QSMGui.panel.display_section import DisplaySection
from IR2QSMGui.panel.export_section import ExportSection
from IR2QSMGui.panel.log import Log
from IR2QSMGui.panel.methods_section import MethodsSection
from IR2QSMGui.panel.presets import PresetKeeper
from IR2QSMGui.panel.readiness import Choice, readiness
from IR2QSMGui.panel.regions_section import RegionsSection
from IR2QSMGui.panel.report_section import ReportSection
from IR2QSMGui.panel.scan_section import ScanSection
from IR2QSMGui.panel.server_section import ServerSection
from IR2QSMGui.panel.widgets import fill_selector, show_note
from IR2QSMGui.parameters import Input, Reference, Unit
from IR2QSMGui.run.information import LibraryInformation
from IR2QSMGui.run.inspection import FieldInspector
from IR2QSMGui.scene import masks, nodes
from IR2QSMGui.scene.scan import echoes_of
from IR2QSMGui.scene.validation import problems_of

NODE_SETTINGS = ("field", "mask", "chi", "magnitude", "baseMap", "otherMap", "segmentation", "region")
"""Settings that are nodes."""
PLAIN_SELECTORS = {
    "maskPart": "maskPartSelector",
    "regionPart": "regionPartSelector",
    "device": "deviceSelector",
    "weights": "weightsSelector",
    "tileSize": "tileSelector",
}
"""Settings and their selectors that Slicer does not connect, as their items are not known beforehand."""


class IR2QSMWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel in Slicer."""

    def __init__(self, parent: Any = None) -> None:
        self.logic: Any = None
        self.ui: Any = None
        self._parameters: Any = None
        self._gui_tag: Any = None
        self._closed = False
        self._watched: list = []
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    # -- life -----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build the panel; nothing heavy is imported and nothing is started."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/IR2QSM.ui"))
        self.layout.addWidget(panel)
        self.ui = ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = logic = IR2QSMLogic()
        self._log = Log(ui.logText, self._volumes_by_role)
        self._information = LibraryInformation()
        self._information.listen(self._update)
        self._inspector = FieldInspector(self._update)
        self._methods = MethodsSection(ui, self._information, lambda names: self._set("methods", " ".join(names)))
        self._devices = DeviceSelector(ui.deviceSelector, ui.deviceNote, self._information)
        self._server = ServerSection(ui, self._update)
        self._tiles = TileSelector(ui.tileSelector, self._information)
        self._regions = RegionsSection(ui, logic, lambda: self._comparison.ticked())
        self._comparison = CompareSection(ui, logic, self._regions.update)
        self._display = DisplaySection(ui, logic, self._comparison)
        self._scan = ScanSection(ui, self._update)
        self._presets = PresetKeeper()
        self._apply = ApplySection(ui, self._log, self._choice, self._update, self._display.show)
        self._weights = WeightsSelector(ui.weightsSelector, lambda path: self._set("weights", path), self._apply.say)
        self._report = ReportSection(ui, self._display.chosen_map, self._apply.say)
        self._export = ExportSection(ui, self._display.chosen_map, self._apply.say)
        ui.copyReportButton.clicked.connect(self._log.copy)
        ui.importWeightsButton.clicked.connect(self._weights.ask)
        for name, selector_name in PLAIN_SELECTORS.items():
            selector = getattr(ui, selector_name)
            selector.currentIndexChanged.connect(lambda *_, n=name, s=selector: self._item_chosen(n, s))
        for section in (ui.advancedSection, ui.methodsSection):
            section.contentsCollapsed.connect(lambda collapsed: None if collapsed else self._devices.ask())
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._leave_scene)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._scene_replaced)
        # Before the selectors, which would choose another node by themselves.
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._node_about_to_be_removed, priority=10.0)
        self._attach()

    def enter(self) -> None:
        """The panel comes into view."""
        self._information.retry()
        self._attach()
        self._comparison.enable_key(True)

    def exit(self) -> None:
        """The panel goes out of view; a run, the maps' shared window and the table of regions go on."""
        self._comparison.enable_key(False)
        self._detach()

    def open_in_comparison(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a volume beside others, as the menu of the Data tree asks; the panel is in view."""
        self._comparison.open(volume)

    def cleanup(self) -> None:
        """The module is unloaded or Slicer ends: no process, file or callback stays."""
        self._closed = True
        self._comparison.enable_key(False)
        self._leave_scene()
        self._display.cleanup()
        self.removeObservers()
        self._apply.close()
        self._report.close()
        self._export.close()
        for work in (self._inspector, self._information, self._weights):
            work.kill()

    def onReload(self) -> None:
        """Load the module's files anew, those of its package too."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "IR2QSMGui"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _attach(self) -> None:
        """Bind the panel to the scene's settings."""
        if self._closed:
            return
        self._detach()
        self._parameters = self.logic.parameters()
        self._gui_tag = self._parameters.connectGui(self.ui)
        for section in (self._presets, self._display, self._scan, self._comparison, self._regions):
            section.attach(self._parameters)
        self.addObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._settings_changed)
        self._update()

    def _detach(self) -> None:
        if self._parameters is not None:
            self.removeObservers(self._settings_changed)
            self.removeObservers(self._update)
            self._watched = []
            self._apply.forget_settings()
            self._parameters.disconnectGui(self._gui_tag)
        self._presets.detach()
        self._display.detach()
        self._scan.detach()
        self._parameters = self._gui_tag = None

    def _leave_scene(self, *_events: Any) -> None:
        self._detach()
        self._comparison.detach()
        self._regions.detach()

    def _scene_replaced(self, *_events: Any) -> None:
        """A scene was closed or loaded: what was said of the former one does not hold."""
        self._apply.scene_replaced()
        self._attach()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_about_to_be_removed(self, scene: Any, _event: str, node: Any) -> None:
        """Choose nothing in place of a node that goes."""
        if self._parameters is not None and not scene.IsClosing():
            for name in NODE_SETTINGS:
                if getattr(self._parameters, name) is node:
                    setattr(self._parameters, name, None)

    # -- settings -------------------------------------------------------------------------------------------------

    def _settings_changed(self, *_events: Any) -> None:
        self._presets.update()
        self._apply.settings_changed()
        self._update()

    def _update(self, *_events: Any) -> None:
        """Bring everything that follows from the settings and the scene up to date."""
        parameters = self._parameters
        if parameters is None:
            return
        self._show_controls()
        for name in ("mask", "region"):
            self._fill_parts(name, wanted=name == "mask" or parameters.reference is Reference.REGION)
        self._methods.update(parameters.methods.split())
        self._weights.choose(parameters.weights)
        self._devices.choose(parameters.device)
        self._server.update(parameters.device)
        self._tiles.choose(parameters.tileSize)
        self._watch_voxels()
        field = parameters.field
        direction = "" if field is None else " ".join(f"{x + 0.0:.3g}" for x in nodes.b0_direction_of(field))
        self.ui.b0DirectionEdit.setPlaceholderText(_("from the volume: {b0}").format(b0=direction) if direction else "")
        if field is not None and not problems_of(field, None)[0]:
            self._inspector.inspect(field)
            self._information.ask()
        self._inspector.adopt(parameters)
        self._scan.update()
        self._show_readiness()
        for section in (self._display, self._report, self._export, self._comparison, self._regions):
            section.update()

    def _show_controls(self) -> None:
        """Show the controls that the input and the methods need."""
        parameters, ui, information = self._parameters, self.ui, self._information
        methods = parameters.methods.split()
        needs = information.needs(methods)
        phase, local = (parameters.input is kind for kind in (Input.PHASE, Input.LOCAL))
        unit = parameters.unit
        for shown, names in (
            (not phase, ("unitLabel", "unitSelector")),
            (phase or unit is not Unit.PPM or "b0" in needs, ("b0Label", "b0Spin")),
            (not phase and (unit is Unit.RAD or "echo_time" in needs), ("echoTimeLabel", "echoTimeSpin")),
            (not phase and information.takes(methods, "magnitude"), ("magnitudeLabel", "magnitudeSelector")),
            (not local, ("backgroundLabel", "backgroundSelector", "flipSignCheck", "keepCheck")),
            (parameters.reference is Reference.REGION, ("regionLabel", "regionSelector")),
        ):
            for name in names:
                getattr(ui, name).setVisible(shown)
        ui.fieldLabel.setText(_("Ph&ase:") if phase else _("Fiel&d:"))

    def _fill_parts(self, name: str, wanted: bool) -> None:
        node, selector = getattr(self._parameters, name), getattr(self.ui, f"{name}PartSelector")
        parts = masks.parts_of(node) if wanted else []
        for widget in (selector, getattr(self.ui, f"{name}PartLabel")):
            widget.setVisible(len(parts) > 1)
        fill_selector(selector, parts, getattr(self._parameters, f"{name}Part"))

    def _watch_voxels(self) -> None:
        """Notice changes in the voxels and segments of what is chosen."""
        parameters = self._parameters
        chosen = [n for n in (parameters.field, parameters.mask, parameters.region) if n is not None]
        if chosen == self._watched:
            return
        self.removeObservers(self._update)
        for node, event in masks.change_events(chosen):
            self.addObserver(node, event, self._update)
        self._watched = chosen

    def _set(self, name: str, value: Any) -> None:
        if self._parameters is not None:
            setattr(self._parameters, name, value)

    def _item_chosen(self, name: str, selector: qt.QComboBox) -> None:
        data = selector.itemData(selector.property("currentIndex"))
        if self._parameters is not None and data is not None and data != getattr(self._parameters, name):
            self._set(name, data)

    def _choice(self) -> Choice | None:
        """What the person has chosen; None while the panel is not in view."""
        if self._parameters is None:
            return None
        return Choice(
            parameters=self._parameters,
            phases=tuple(self._scan.phases()),
            magnitudes=tuple(self._scan.magnitudes()),
            field_answer=self._inspector.answer(self._parameters.field),
            information=self._information,
            field_awaited=self._inspector.waiting,
        )

    def _show_readiness(self) -> None:
        """Say beside each control what is wrong, and let Apply be pressed when nothing is."""
        choice = self._choice()
        if choice is None:
            return
        ui, state = self.ui, readiness(choice)
        for label, note in ((ui.fieldNote, state.field), (ui.scanNote, state.scan), (ui.maskNote, state.mask)):
            show_note(label, note.text, note.is_problem)
        self._methods.show_note(state.methods)
        self._apply.update(state.ready, state.settings.text)

    def _volumes_by_role(self) -> dict[str, Any]:
        """The volumes whose names the log replaces by what they are used as."""
        if self._parameters is None:
            return {}
        names = {"field": "field", "mask": "mask", "region": "region", "magnitude": "magnitude", "chi": "map"}
        volumes = {role: getattr(self._parameters, name) for name, role in names.items()}
        for role, images in (("phase", self._scan.phases()), ("magnitude", self._scan.magnitudes())):
            volumes |= {f"{role} {n + 1}": echo for n, node in enumerate(images) if node for echo in echoes_of(node)}
        return volumes
