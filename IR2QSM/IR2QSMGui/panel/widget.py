"""The panel: what was chosen, what is wrong with it, Apply and Cancel, and what happens to the maps."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.panel import methods
from IR2QSMGui.panel.advanced import DeviceSelector, WeightsSelector, fill
from IR2QSMGui.panel.scan_section import ScanSection
from IR2QSMGui.panel.showing import Showing
from IR2QSMGui.panel.status import Log, Status, clock, note, outcome
from IR2QSMGui.parameters import Background, Input, InputProblem, Reference, Unit
from IR2QSMGui.run import install as dependencies
from IR2QSMGui.run.inspection import Recognition
from IR2QSMGui.run.options import Options
from IR2QSMGui.run.reconstruction import Series
from IR2QSMGui.scene import masks
from IR2QSMGui.scene import nodes as scene
from IR2QSMGui.scene.comparison import Comparison
from IR2QSMGui.scene.regions import Regions
from IR2QSMGui.scene.scan import echoes_of
from IR2QSMGui.scene.validation import problems_of


class IR2QSMWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel in Slicer."""

    def __init__(self, parent=None):
        self.logic = self.ui = None
        self._parameters = self._gui = self._run = None
        self._installing = False
        self._watched, self._complaint, self._closed = [], "", False
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
        self._status = Status(ui.statusLabel, ui.progressBar)
        self._log = Log(ui.logText, self._named)
        self._installation = methods.Installation()
        self._installation.tell(self._update)
        self._recognition = Recognition(self._update)
        self._methods = methods.MethodList(ui.methodList, self._installation, self._ticked)
        self._devices = DeviceSelector(ui.deviceSelector, ui.deviceNote, self._installation)
        self._weights = WeightsSelector(ui.weightsSelector, self._use_weights, self._status.say)
        self._regions = Regions(ui, lambda: self._comparison.ticked())
        self._comparison = Comparison(ui, self._regions.update)
        self._showing = Showing(ui, self._comparison)
        self._scan = ScanSection(ui, self._update)
        ui.applyButton.clicked.connect(self._apply_or_cancel)
        ui.copyReportButton.clicked.connect(self._log.copy)
        ui.importWeightsButton.clicked.connect(self._weights.ask)
        ui.maskPartSelector.currentIndexChanged.connect(lambda *_: self._chose("maskPart", ui.maskPartSelector))
        ui.regionPartSelector.currentIndexChanged.connect(lambda *_: self._chose("regionPart", ui.regionPartSelector))
        ui.deviceSelector.currentIndexChanged.connect(lambda *_: self._chose("device", ui.deviceSelector))
        ui.weightsSelector.currentIndexChanged.connect(lambda *_: self._chose("weights", ui.weightsSelector))
        for section in (ui.advancedSection, ui.methodsSection):
            section.contentsCollapsed.connect(lambda collapsed: None if collapsed else self._devices.probe())
        now = slicer.mrmlScene
        self.addObserver(now, now.StartCloseEvent, self._leave)
        for event in (now.EndCloseEvent, now.EndImportEvent):
            self.addObserver(now, event, self._attach)
        self._attach()

    def enter(self):
        """The panel comes into view."""
        self._installation.retry()
        self._attach()
        self._comparison.listen(True)

    def exit(self):
        """The panel goes out of view; a run, the maps' common window and the table of their values go on."""
        self._comparison.listen(False)
        self._detach()

    def cleanup(self):
        """The module is unloaded or Slicer ends: no process, file or callback stays."""
        self._closed = True
        self._comparison.listen(False)
        self._leave()
        self.removeObservers()
        self._status.end()
        for work in (self._run, self._recognition, self._installation, self._weights):
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
        self._showing.attach(self._parameters)
        self._scan.attach(self._parameters)
        self._comparison.attach(self._parameters)
        self._regions.attach(self._parameters)
        self.addObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def _leave(self, *_events):
        """The scene is closed, or the module goes."""
        self._detach()
        self._comparison.detach()
        self._regions.detach()

    def _detach(self):
        if self._parameters is not None:
            self.removeObservers(self._update)
            self._watched, self._complaint = [], ""
            self._parameters.disconnectGui(self._gui)
        self._showing.detach()
        self._scan.detach()
        self._parameters = self._gui = None

    # -- what is chosen -------------------------------------------------------------------------------------------

    def _update(self, *_events):
        """Bring everything that follows from the parameters up to date."""
        parameters, ui = self._parameters, self.ui
        if parameters is None:
            return
        chosen = parameters.methods.split()
        needs = self._methods.needs(chosen)
        phase, local = (parameters.input is kind for kind in (Input.PHASE, Input.LOCAL))
        for shown, names in (
            (not phase, ("unitLabel", "unitSelector")),
            (phase or parameters.unit is not Unit.PPM or "b0" in needs, ("b0Label", "b0Spin")),
            (not phase and (parameters.unit is Unit.RAD or "echo_time" in needs), ("echoTimeLabel", "echoTimeSpin")),
            (not phase and self._methods.takes(chosen, "magnitude"), ("magnitudeLabel", "magnitudeSelector")),
            (not local, ("backgroundLabel", "backgroundSelector", "flipSignCheck", "keepCheck")),
            (parameters.reference is Reference.REGION, ("regionLabel", "regionSelector")),
        ):
            for name in names:
                getattr(ui, name).setVisible(shown)
        ui.fieldLabel.setText(_("Phase:") if phase else _("Field:"))
        ui.automaticCheck.setEnabled(self._methods.takes(chosen, "regularisation"))
        self._fill_parts("mask", True)
        self._fill_parts("region", parameters.reference is Reference.REGION)
        self._methods.show(chosen)
        self._weights.choose(parameters.weights)
        self._devices.choose(parameters.device)
        field = parameters.field
        direction = "" if field is None else " ".join(f"{x + 0.0:.3g}" for x in scene.b0_of(field))
        ui.b0DirectionEdit.setPlaceholderText(_("from the volume: {b0}").format(b0=direction) if direction else "")
        self._watch()
        if field is not None and not problems_of(field, None)[0]:
            self._recognition.look_at(field)
            self._installation.ask()
        self._recognition.settle(parameters)
        self._scan.update()
        ui.b0Spin.setSpecialValueText(self._scan.b0_text())
        self._judge()
        self._showing.update()
        self._comparison.update()
        self._regions.update()

    def _watch(self):
        """Hear of changes in the voxels and segments of what is chosen."""
        nodes = [n for n in (self._parameters.field, self._parameters.mask, self._parameters.region) if n is not None]
        if nodes == self._watched:
            return
        for node, event in masks.changes_of(self._watched):
            if self.hasObserver(node, event, self._update):
                self.removeObserver(node, event, self._update)
        for node, event in masks.changes_of(nodes):
            self.addObserver(node, event, self._update)
        self._watched = nodes

    def _fill_parts(self, what, wanted):
        node, selector = getattr(self._parameters, what), getattr(self.ui, f"{what}PartSelector")
        parts = masks.parts_of(node) if wanted else []
        for widget in (selector, getattr(self.ui, f"{what}PartLabel")):
            widget.setVisible(len(parts) > 1)
        fill(selector, [(str(i), name) for i, name in parts], getattr(self._parameters, f"{what}Part"))

    def _ticked(self, names):
        if self._parameters is not None:
            self._parameters.methods = " ".join(names)

    def _use_weights(self, path):
        if self._parameters is not None:
            self._parameters.weights = path

    def _chose(self, name, selector):
        data = selector.itemData(selector.property("currentIndex"))
        if self._parameters is not None and data is not None and data != getattr(self._parameters, name):
            setattr(self._parameters, name, data)

    def _options(self):
        """One for each method that is ticked; what is on the way to their maps is kept once."""
        chosen, magnitudes = self._parameters.methods.split(), self._scan.magnitudes()
        every = [Options.of(self._parameters, name, self._installation.about(name), magnitudes) for name in chosen]
        return [replace(one, keep=one.keep and n == 0) for n, one in enumerate(every)]

    def _judge(self):
        """Say beside each selector what is wrong, and let Apply be pressed when nothing is."""
        parameters, ui = self._parameters, self.ui
        of_field, of_mask = problems_of(parameters.field, parameters.mask, parameters.maskPart, parameters.input)
        chosen, other = parameters.methods.split(), ""
        try:
            if parameters.reference is Reference.REGION and parameters.region is not None:
                other = problems_of(parameters.field, parameters.region, parameters.regionPart)[1]
            self._options()
        except InputProblem as problem:
            other = str(problem)
        if parameters.input is Input.TOTAL and parameters.background is Background.PDF:
            other = _("PDF needs the noise of the field, which comes with phase only; choose another removal.")
        inputs = (*self._scan.phases(), *self._scan.magnitudes(), parameters.mask)
        if parameters.chi is not None and parameters.chi in inputs:
            other = _("The map would replace its own input; choose another output volume.")
        if parameters.chi is not None and len(chosen) > 1:
            other = _('Several methods make several maps: choose "Create new volume" as output.')
        of_methods = methods.problem_of(self._methods, chosen, parameters) or self._installation.error
        problem = "" if of_field else self._recognition.problem(parameters.field, parameters.input)
        seen = self._recognition.text(parameters.field)
        doubt = of_field or problem or self._recognition.doubt(parameters.field, parameters.input)
        note(ui.fieldNote, of_field or problem or seen, bool(parameters.field and doubt))
        of_scan = self._scan.judge()
        note(ui.maskNote, of_mask or self._mask_text(), bool(parameters.mask and of_mask))
        note(ui.methodsNote, of_methods, bool(of_methods))
        listed = ", ".join(chosen) if len(chosen) < 4 else _("{n} ticked").format(n=len(chosen))
        ui.methodsSection.setText(_("Methods: {listed}").format(listed=listed))
        running = self._run is not None
        looking = not of_field and (self._recognition.looking() or self._installation.looking())
        looking = looking or self._installing
        fit = not (of_field or of_scan or of_mask or of_methods or other or problem or looking)
        ui.applyButton.setText(_("Cancel") if running else _("Apply"))
        ui.applyButton.setEnabled(running or fit)
        if not running and other != self._complaint:  # else what a run said last stays
            self._status.say(other, bad=bool(other))
        self._complaint = other

    def _mask_text(self):
        parameters = self._parameters
        node, field = parameters.mask, parameters.field
        if node is None and parameters.input is Input.PHASE:
            return self._scan.mask_text()
        if field is None or node is None or any(problems_of(field, node, parameters.maskPart)):
            return ""
        if not masks.on_grid(node, parameters.maskPart, field):
            return _("The mask lies on another grid; it will be resampled to the field's.")
        return ""

    # -- running --------------------------------------------------------------------------------------------------

    def _apply_or_cancel(self, *_args):
        if self._run is not None:
            self.ui.applyButton.setEnabled(False)
            self._status.end()
            self._status.say(_("Cancelling…"))
            self._run.cancel()
            return
        said, bad, self._installing = "", False, True
        try:
            if dependencies.install(phase=self._parameters.input is not Input.LOCAL, on_begin=self._wait):
                said = _("Installed. Press Apply again once the field was looked at.")
            else:
                self._start()
        except (InputProblem, RuntimeError, OSError) as problem:
            self._run = None
            said, bad = str(problem), True
        finally:
            self._installing = False
            self.ui.applyButton.unsetCursor()
        self._update()  # now the field can be looked at, unless another module was entered meanwhile
        if said:
            self._status.say(said, bad)

    def _wait(self, names):
        """Packages are about to be installed, which holds up the window and may take minutes."""
        self.ui.applyButton.setEnabled(False)
        self.ui.applyButton.setCursor(qt.QCursor(qt.Qt.WaitCursor))
        self._status.say(_("Installing {names}. This takes minutes…").format(names=", ".join(names)))
        self.ui.statusLabel.repaint()  # what follows holds up the window

    def _start(self):
        parameters, options = self._parameters, self._options()
        uncertainty = None if parameters.chi is None else parameters.chi.GetNodeReference("IR2QSM.uncertainty")
        self._run = run = Series(
            self._scan.phases(),
            parameters.mask,
            options,
            (parameters.chi, uncertainty),
            self._status.progressed,
            self._mapped,
            self._ended,
        )
        for one in options:
            self._log.add(f"— {time.strftime('%H:%M:%S')}", _("Apply: {words}").format(words=_plain(one)))
        run.start()
        if self._run is not None:
            self._status.begin()
            self._judge()

    def _mapped(self, run):
        """One of the methods ended."""
        if run.error is not None and not run.dropped:
            self._log.add(f"{run.method}: {run.error}", *getattr(run.error, "lines", []))
        elif not run.dropped:
            self._log.add(f"{run.method}:", *run.log, *run.notes, _("Done in {t}.").format(t=clock(run.seconds)))

    def _ended(self, series):
        self._run = None
        if self._closed:
            return
        self._status.end()
        if self._parameters is not None:
            self._judge()
        self._status.say(*outcome(series))
        if series.maps and not series.dropped:
            self._showing.show(series)

    def _named(self):
        """The volumes whose names the log replaces by what they are."""
        if self._parameters is None:
            return {}
        names = ("field", "mask", "region", "magnitude", "chi")
        found = {"map" if name == "chi" else name: getattr(self._parameters, name) for name in names}
        for kind, nodes in (("phase", self._scan.phases()), ("magnitude", self._scan.magnitudes())):
            found |= {f"{kind} {n + 1}": echo for n, node in enumerate(nodes) if node for echo in echoes_of(node)}
        return found


def _plain(options):
    """The options without folders."""
    words = options.words()
    return " ".join(Path(w).name if w == options.weights and w else w for w in words)
