"""The panel: what was chosen, what is wrong with it, Apply and Cancel, and how the maps are shown."""

import platform
import sys
import time
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from IR2QSMGui import dependencies, display, scene
from IR2QSMGui.advanced import DeviceSelector, WeightsSelector, fill
from IR2QSMGui.logic import Inspection, IR2QSMLogic, Reconstruction, key_of, problems_of
from IR2QSMGui.parameters import InputProblem, Options, Reference, Unit
from IR2QSMGui.runner import Cancelled, plain

PROBLEM = "color: #C62828;"
TICK = 500
"""Milliseconds between two looks at the clock."""


class IR2QSMWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel in Slicer."""

    def __init__(self, parent=None):
        self.logic = self.ui = None
        self._parameters = self._gui = self._run = self._inspection = self._devices = self._weights = None
        self._shown = self._settled = None
        self._watched, self._complaint = [], ""
        self._closed, self._began, self._fraction, self._stage = False, 0.0, 0.0, ""
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    # -- life -----------------------------------------------------------------------------------------------------

    def setup(self):
        """Build the panel; nothing heavy is imported and nothing is started."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/IR2QSM.ui"))
        self.layout.addWidget(panel)
        self.ui = ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = IR2QSMLogic()
        self._clock = qt.QTimer()
        self._clock.setInterval(TICK)
        self._clock.timeout.connect(self._tick)
        ui.applyButton.clicked.connect(self._apply_or_cancel)
        ui.sideBySideButton.clicked.connect(self._side_by_side)
        ui.copyReportButton.clicked.connect(self._copy_report)
        ui.maskPartSelector.currentIndexChanged.connect(lambda *_: self._chose("maskPart", ui.maskPartSelector))
        ui.regionPartSelector.currentIndexChanged.connect(lambda *_: self._chose("regionPart", ui.regionPartSelector))
        ui.deviceSelector.currentIndexChanged.connect(lambda *_: self._chose("device", ui.deviceSelector))
        ui.weightsSelector.currentIndexChanged.connect(lambda *_: self._chose("weights", ui.weightsSelector))
        self._devices = DeviceSelector(ui.deviceSelector, ui.deviceNote)
        self._weights = WeightsSelector(ui.weightsSelector, self._use_weights, self._say)
        ui.importWeightsButton.clicked.connect(self._weights.ask)
        ui.advancedSection.contentsCollapsed.connect(lambda collapsed: None if collapsed else self._devices.probe())
        ui.progressBar.setVisible(False)
        now = slicer.mrmlScene
        self.addObserver(now, now.StartCloseEvent, self._detach)
        for event in (now.EndCloseEvent, now.EndImportEvent):
            self.addObserver(now, event, self._attach)
        self._attach()

    def enter(self):
        """The panel comes into view."""
        self._attach()

    def exit(self):
        """The panel goes out of view; a run goes on."""
        self._detach()

    def cleanup(self):
        """The module is unloaded or Slicer ends: no process, file or callback stays."""
        self._closed = True
        self._detach()
        self.removeObservers()
        self._clock.stop()
        for work in (self._run, self._inspection, self._devices, self._weights):
            if work is not None:
                work.kill()

    def onReload(self):
        """Read the module's files again, those of its package too."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "IR2QSMGui"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _attach(self, *_events):
        """Bind the panel to the scene's parameters."""
        if self._closed:
            return
        self._detach()
        self._parameters = self.logic.parameters()
        self._gui = self._parameters.connectGui(self.ui)
        self._shown = self._looks()
        self.addObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def _detach(self, *_events):
        if self._parameters is not None:
            self.removeObservers(self._update)
            self._watched, self._complaint = [], ""
            self._parameters.disconnectGui(self._gui)
        self._parameters = self._gui = None

    # -- what is chosen -------------------------------------------------------------------------------------------

    def _update(self, *_events):
        """Bring everything that follows from the parameters up to date."""
        parameters, ui = self._parameters, self.ui
        if parameters is None:
            return
        for shown, names in (
            (parameters.unit is not Unit.PPM, ("b0Label", "b0Spin")),
            (parameters.unit is Unit.RAD, ("echoTimeLabel", "echoTimeSpin")),
            (parameters.reference is Reference.REGION, ("regionLabel", "regionSelector")),
        ):
            for name in names:
                getattr(ui, name).setVisible(shown)
        self._fill_parts("mask", True)
        self._fill_parts("region", parameters.reference is Reference.REGION)
        self._weights.choose(parameters.weights)
        self._devices.choose(parameters.device)
        field = parameters.field
        direction = "" if field is None else " ".join(f"{x + 0.0:.3g}" for x in scene.b0_of(field))
        ui.b0DirectionEdit.setPlaceholderText(_("from the volume: {b0}").format(b0=direction) if direction else "")
        self._watch()
        self._inspect()
        self._settle_unit()
        self._judge()
        self._show()

    def _watch(self):
        """Hear of changes in the voxels and segments of what is chosen."""
        nodes = [n for n in (self._parameters.field, self._parameters.mask, self._parameters.region) if n is not None]
        if nodes == self._watched:
            return
        for node, event in scene.changes_of(self._watched):
            if self.hasObserver(node, event, self._update):
                self.removeObserver(node, event, self._update)
        for node, event in scene.changes_of(nodes):
            self.addObserver(node, event, self._update)
        self._watched = nodes

    def _fill_parts(self, what, wanted):
        node, selector = getattr(self._parameters, what), getattr(self.ui, f"{what}PartSelector")
        parts = scene.parts_of(node) if wanted else []
        for widget in (selector, getattr(self.ui, f"{what}PartLabel")):
            widget.setVisible(len(parts) > 1)
        fill(selector, [(str(i), name) for i, name in parts], getattr(self._parameters, f"{what}Part"))

    def _use_weights(self, path):
        if self._parameters is not None:
            self._parameters.weights = path

    def _chose(self, name, selector):
        data = selector.itemData(selector.property("currentIndex"))
        if self._parameters is not None and data is not None and data != getattr(self._parameters, name):
            setattr(self._parameters, name, data)

    def _options(self):
        return Options.of(self._parameters)

    def _judge(self):
        """Say beside each selector what is wrong, and let Apply be pressed when nothing is."""
        parameters, ui = self._parameters, self.ui
        of_field, of_mask = problems_of(parameters.field, parameters.mask, parameters.maskPart)
        other = ""
        try:
            if parameters.reference is Reference.REGION and parameters.region is not None:
                other = problems_of(parameters.field, parameters.region, parameters.regionPart)[1]
            self._options()
        except InputProblem as problem:
            other = str(problem)
        if parameters.chi is not None and parameters.chi in (parameters.field, parameters.mask):
            other = _("The map would replace its own input; choose another output volume.")
        found = self._found()
        problems = [] if of_field or found is None else self._problems_seen(found)
        for label, text, bad in (
            (ui.fieldNote, of_field or " ".join(problems) or self._seen_text(found), bool(of_field or problems)),
            (ui.maskNote, of_mask or self._mask_text(), bool(of_mask)),
        ):
            chosen = (parameters.field if label is ui.fieldNote else parameters.mask) is not None
            label.setText(text)
            label.setStyleSheet(PROBLEM if bad and chosen else "")
            label.setVisible(bool(text))
        running = self._run is not None
        looking = self._inspection is not None and not of_field and not self._inspection.ended
        fit = not (of_field or of_mask or other or problems or looking)
        ui.applyButton.setText(_("Cancel") if running else _("Apply"))
        ui.applyButton.setEnabled(running or fit)
        if not running and other != self._complaint:    # else what a run said last stays
            self._say(other, bad=bool(other))
        self._complaint = other

    def _mask_text(self):
        parameters = self._parameters
        node, field = parameters.mask, parameters.field
        if field is None or node is None or node.IsA("vtkMRMLSegmentationNode") or problems_of(field, node)[0]:
            return ""
        if not scene.same_grid(node, field):
            return _("The mask lies on another grid; it will be resampled to the field's.")
        return ""

    # -- what the library takes the field to be -------------------------------------------------------------------

    def _found(self):
        field = self._parameters.field
        done = self._inspection
        return done.found if done is not None and field is not None and done.key == key_of(field) else None

    def _inspect(self):
        """Ask a worker what a newly chosen field is."""
        field = self._parameters.field
        if field is None or problems_of(field, None)[0]:
            return
        if self._inspection is not None and self._inspection.key == key_of(field):
            return
        if dependencies.missing():
            return
        if self._inspection is not None:
            self._inspection.kill()
        self._inspection = Inspection(field, self._inspected)

    def _inspected(self, inspection):
        if self._parameters is not None and inspection is self._inspection:
            self._settle_unit()
            self._judge()

    def _settle_unit(self):
        """Take the unit that was recognised, once a field, so that a correction stays."""
        parameters, found = self._parameters, self._found()
        if found is None or self._settled == self._inspection.key:
            return
        before, self._settled = self._settled, self._inspection.key
        changed = before is not None and before[0] == self._settled[0]      # its voxels, since it was looked at
        if found["unit"] in [u.value for u in Unit] and (changed or parameters.judged != self._settled[0]):
            with slicer.util.NodeModify(parameters):
                parameters.unit = Unit(found["unit"])
                parameters.judged = self._settled[0]

    def _seen_text(self, found):
        if self._inspection is not None and self._parameters.field is not None and not self._inspection.ended:
            return _("Looking at the field…")
        if found is None:
            return ""
        low, high = found["range"]
        what, unit = found["kind"], Unit(found["unit"]).label() if found["unit"] in ("ppm", "hz", "rad") else ""
        text = _("Looks like a {kind} in {unit} ({low} to {high}).").format(
            kind=what, unit=unit, low=f"{low:.3g}", high=f"{high:.3g}"
        )
        return " ".join([text, *found["problems"]])

    def _problems_seen(self, found):
        kinds = {
            "wrapped phase": _("This looks like wrapped phase; a local field is needed, without wraps and background."),
            "magnitude": _("This looks like a magnitude image; a local field is needed."),
            "empty": _("This volume is empty."),
        }
        return [kinds[found["kind"]]] if found["kind"] in kinds else []

    # -- running --------------------------------------------------------------------------------------------------

    def _apply_or_cancel(self, *_args):
        if self._run is not None:
            self.ui.applyButton.setEnabled(False)
            self._say(_("Cancelling…"))
            self._run.cancel()
            return
        try:
            if dependencies.install():
                self._update()      # now the field can be looked at
                self._say(_("Installed. Press Apply again once the field was looked at."))
                return
            self._start()
        except (InputProblem, RuntimeError) as problem:
            self._run = None
            self._judge()
            self._say(str(problem), bad=True)

    def _start(self):
        parameters = self._parameters
        options = self._options()
        output, uncertainty = parameters.chi, None
        if output is not None:
            uncertainty = output.GetNodeReference("IR2QSM.uncertainty")
        run = Reconstruction(
            parameters.field, parameters.mask, options, output, uncertainty, self._progressed, self._ended
        )
        self._run, self._began, self._fraction, self._stage = run, time.monotonic(), 0.0, _("starting")
        self._log(f"— {time.strftime('%H:%M:%S')}", _("Apply: {words}").format(words=_plain(options)))
        run.start()
        if self._run is None:
            return
        self.ui.progressBar.setValue(0)
        self.ui.progressBar.setVisible(True)
        self._clock.start()
        self._judge()
        self._tick()

    def _progressed(self, fraction, stage):
        self._fraction, self._stage = fraction, stage

    def _tick(self):
        spent, done = time.monotonic() - self._began, self._fraction
        text = _("{stage}: {spent} elapsed").format(stage=self._stage, spent=_clock(spent))
        if done > 0.05:
            text += _(", about {left} left").format(left=_clock(spent / done - spent))
        self.ui.progressBar.setValue(int(1000 * done))
        self._say(text)

    def _ended(self, run):
        self._run = None
        if self._closed:
            return
        self._clock.stop()
        self.ui.progressBar.setVisible(False)
        if self._parameters is not None:
            self._judge()
        if run.dropped:
            self._say("")
            return
        if run.error is not None:
            words = str(run.error)
            self._log(words, *getattr(run.error, "lines", []))
            self._say(words, bad=not isinstance(run.error, Cancelled))
            return
        self._log(*run.log, *run.notes, _("Done in {spent}.").format(spent=_clock(run.seconds)))
        self._say(" ".join([_("Done in {spent}.").format(spent=_clock(run.seconds)), *run.notes]))
        if not display.compared():
            slicer.util.setSliceViewerLayers(background=run.chi, fit=True)
        if self._parameters is not None:
            self._shown = None if self._parameters.chi is None else self._shown
            self._show()
            if display.compared():
                self._side_by_side()

    def _say(self, text, bad=False):
        self.ui.statusLabel.setText(text)
        self.ui.statusLabel.setStyleSheet(PROBLEM if bad else "")

    # -- display --------------------------------------------------------------------------------------------------

    def _maps(self):
        """The map to show with what it came from: the chosen output, or the latest map in the scene."""
        chosen = self._parameters.chi if self._parameters is not None else None
        made = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetNodeReference("IR2QSM.field")]
        chi = chosen if chosen in made else (made[-1] if made else None)
        if chi is None:
            return None, []
        field, sigma = chi.GetNodeReference("IR2QSM.field"), chi.GetNodeReference("IR2QSM.uncertainty")
        return chi, [node for node in (field, chi, sigma) if node is not None]

    def _show(self):
        chi, _nodes = self._maps()
        self.ui.sideBySideButton.setEnabled(chi is not None)
        if chi is not None and self._shown != self._looks():    # what was set elsewhere stays until it is changed here
            self._shown = self._looks()
            display.show_map(chi, *self._shown)

    def _looks(self):
        return self._parameters.window.value, self._parameters.colours, self._parameters.legend

    def _side_by_side(self, *_args):
        display.side_by_side(self._maps()[1])

    # -- log ------------------------------------------------------------------------------------------------------

    def _log(self, *lines):
        parameters = self._parameters
        nodes = () if parameters is None else (parameters.field, parameters.mask, parameters.region, parameters.chi)
        for line in lines:
            for name, node in zip(("field", "mask", "region", "map"), nodes, strict=False):
                if node is not None and node.GetName():
                    line = line.replace(f"'{node.GetName()}'", f"'{name}'")
            self.ui.logText.appendPlainText(plain(line))

    def _copy_report(self, *_args):
        head = f"IR2QSM, Slicer {slicer.app.property('applicationVersion')}, {platform.system()} {platform.machine()}"
        slicer.app.clipboard().setText(f"{head}\n{self.ui.logText.toPlainText()}")


def _clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _plain(options):
    """The options without folders."""
    words = options.words()
    return " ".join(Path(w).name if w == options.weights and w else w for w in words)
