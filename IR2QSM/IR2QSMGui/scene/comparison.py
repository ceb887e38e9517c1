"""Maps beside each other: 2 to 10 in linked views of one window, as they are, as differences, or two in turn."""

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin
from vtk.util import numpy_support

from IR2QSMGui.panel.methods import Ticks
from IR2QSMGui.panel.status import note
from IR2QSMGui.parameters import Colours, InputProblem
from IR2QSMGui.scene import display, layouts, masks
from IR2QSMGui.scene import nodes as scene

DIFFERENCE = "IR2QSM.difference"
"""Reference of a difference to the two maps that it is of."""
COMPARED = "IR2QSM.compared"
"""Reference of the panel's parameters to the maps that are ticked."""
KEY = "Shift+B"
"""Switches between two maps; B alone is Slicer's key for the previous slice."""


def show(maps, difference_to=None):
    """Show 2 to 10 maps in linked views, or what they differ by from one of them, which stays as it is.

    Raises InputProblem for too many or too few, and for maps on different grids where differences are wanted.
    """
    if not 2 <= len(maps) <= layouts.MOST:
        raise InputProblem(_("Maps that are chosen: {n}; choose 2 to {most}.").format(n=len(maps), most=layouts.MOST))
    if difference_to is None:
        forget_differences()
        layouts.side_by_side(maps)
        return
    for node in maps:
        if not masks.same_grid(node, difference_to):
            raise InputProblem(
                _("'{name}' lies on another grid than '{base}'; no difference can be shown.").format(
                    name=node.GetName(), base=difference_to.GetName()
                )
            )
    others = [node for node in maps if node is not difference_to]
    if len(others) >= layouts.MOST:
        raise InputProblem(
            _("Maps that are chosen beside {base}: {n}; choose {most} at most.").format(
                base=difference_to.GetName(), n=len(others), most=layouts.MOST - 1
            )
        )
    forget_differences()
    differences = [_difference(node, difference_to) for node in others]
    layouts.side_by_side([difference_to, *differences])


def forget_differences():
    """Remove the differences from the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetNodeReferenceID(DIFFERENCE) is not None:
            shown, legend = node.GetDisplayNode(), slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
            slicer.mrmlScene.RemoveNode(node)  # first, or the views that show it would give it another display
            for one in filter(None, (legend, shown)):
                slicer.mrmlScene.RemoveNode(one)


def maps_of_scene():
    """The volumes that can be compared: χ maps first, then others; not labelmaps, nor what is hidden."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [n for n in nodes if n.GetClassName() == "vtkMRMLScalarVolumeNode" and n.GetImageData() is not None]
    return sorted((n for n in nodes if not n.GetHideFromEditors()), key=lambda node: not scene.is_map(node))


def _difference(node, base):
    """What a map differs by from another [ppm], as a volume that is not saved and in no list."""
    values = slicer.util.arrayFromVolume(node).astype(np.float32) - slicer.util.arrayFromVolume(base)
    image = vtk.vtkImageData()
    image.SetDimensions(node.GetImageData().GetDimensions())
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.ravel(), deep=True))
    made = slicer.vtkMRMLScalarVolumeNode()
    made.SetName(" − ".join(_told_apart(node.GetName(), base.GetName())))
    made.SetHideFromEditors(True)
    made.SetSaveWithScene(False)
    made = slicer.mrmlScene.AddNode(made)
    made.CopyOrientation(node)
    made.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    made.SetAndObserveImageData(image)
    made.CreateDefaultDisplayNodes()
    made.GetDisplayNode().SetSaveWithScene(False)
    made.AddNodeReferenceID(DIFFERENCE, node.GetID())
    made.AddNodeReferenceID(DIFFERENCE, base.GetID())
    shown = base.GetDisplayNode()
    half = (shown.GetWindowLevelMax() - shown.GetWindowLevelMin()) / 2
    display.show_map(made, (-half, half), Colours.GREY, False)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(base)
    display.show_legend(made, legend is not None and bool(legend.GetVisibility()), _("Δχ [ppm]"))
    return made


def _told_apart(*names):
    """Names without the words that all of them begin with."""
    words = [name.split() for name in names]
    while all(len(w) > 1 for w in words) and len({w[0] for w in words}) == 1:
        words = [w[1:] for w in words]
    return [" ".join(w) for w in words]


class SameWindow(VTKObservationMixin):
    """Keeps the windows of volumes equal: what is set for one is set for all."""

    def __init__(self):
        VTKObservationMixin.__init__(self)
        self._nodes, self._busy = [], False

    def hold(self, nodes):
        """Hold the windows of these, beginning with the first one's, and of no others."""
        self.removeObservers(self._changed)
        self._nodes = [node for node in nodes if node.GetDisplayNode() is not None]
        for node in self._nodes:
            self.addObserver(node.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent, self._changed)
        if self._nodes:
            self._changed(self._nodes[0].GetDisplayNode())

    def _changed(self, changed, _event=None):
        if self._busy:
            return
        self._busy = True
        low, high = changed.GetWindowLevelMin(), changed.GetWindowLevelMax()
        for node in self._nodes:
            shown = node.GetDisplayNode()
            if shown is not None and (shown.GetWindowLevelMin(), shown.GetWindowLevelMax()) != (low, high):
                with slicer.util.NodeModify(shown):
                    shown.SetAutoWindowLevel(False)
                    shown.SetWindowLevelMinMax(low, high)
        self._busy = False


class Comparison(VTKObservationMixin):
    """The panel's section that compares maps; `changed()` is called when other maps are ticked."""

    def __init__(self, ui, changed):
        VTKObservationMixin.__init__(self)
        self._ui, self._changed, self._parameters, self._window = ui, changed, None, SameWindow()
        self._ticks = Ticks(ui.compareList, self._ticked)
        self._shortcut, self._turn = None, False
        self._shown, self._named = (), scene.Watch(self._nodes_changed)
        ui.compareButton.clicked.connect(self.lay_out)
        ui.blinkButton.clicked.connect(self.blink)

    def attach(self, parameters):
        """Follow the scene that these parameters are in."""
        before, self._parameters = self._parameters, parameters
        if before is not None and before.parameterNode is parameters.parameterNode:
            self.update()
            return
        now = slicer.mrmlScene
        for event in (now.NodeAddedEvent, now.NodeRemovedEvent):
            self.addObserver(now, event, self._nodes_changed)
        self.update()

    def listen(self, wanted):
        """Hear the key while the panel is in view, and not otherwise."""
        window = slicer.util.mainWindow()
        if wanted and self._shortcut is None and window is not None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(KEY), window)
            self._shortcut.activated.connect(self.blink)
        elif not wanted and self._shortcut is not None:
            self._shortcut.setEnabled(False)
            self._shortcut.deleteLater()
            self._shortcut = None

    def detach(self):
        """Let the scene go."""
        self.removeObservers()
        self._named.hold([])
        self._window.hold([])
        self._parameters, self._shown = None, ()

    def ticked(self):
        """The maps that are ticked, in the order of the list."""
        if self._parameters is None:
            return []
        node = self._parameters.parameterNode
        chosen = [node.GetNthNodeReference(COMPARED, i) for i in range(node.GetNumberOfNodeReferences(COMPARED))]
        return [n for n in maps_of_scene() if n in chosen]

    def tick(self, maps):
        """Tick these maps and no others; without a first and a second map, these are the first two."""
        node = self._parameters.parameterNode
        with slicer.util.NodeModify(node):
            node.RemoveNodeReferenceIDs(COMPARED)
            for one in maps:
                node.AddNodeReferenceID(COMPARED, one.GetID())
        if len(maps) > 1 and self._parameters.baseMap is None and self._parameters.otherMap is None:
            self._parameters.baseMap, self._parameters.otherMap = maps[:2]

    def update(self):
        """Bring the list and the buttons up to date; what is shown follows the tick of the difference."""
        parameters, ui = self._parameters, self._ui
        if parameters is None:
            return
        ticked, every = self.ticked(), maps_of_scene()
        self._named.hold(every)
        self._ticks.show([(n.GetID(), n.GetName(), "") for n in every], [n.GetID() for n in ticked])
        few = len(ticked) < 2
        many = len(ticked) > layouts.MOST
        ui.compareButton.setEnabled(not few and not many)
        two = {parameters.baseMap, parameters.otherMap} - {None}
        ui.blinkButton.setEnabled(len(two) == 2)
        note(ui.compareNote, _("At most {n} maps can be shown.").format(n=layouts.MOST) if many else "", many)
        wanted = self._wanted()
        if self._shown and wanted != self._shown and layouts.shown() > 1:
            self.lay_out()

    def lay_out(self, *_args):
        """Show the ticked maps, or their differences."""
        parameters = self._parameters
        base = parameters.baseMap if parameters.difference else None
        self._shown, self._turn = self._wanted(), False
        try:
            show(self.ticked(), base)
        except InputProblem as problem:
            note(self._ui.compareNote, str(problem), True)
            return
        note(self._ui.compareNote, "")
        self._hold()

    def blink(self, *_args):
        """Show one map, and at the next call the other one in its place."""
        parameters = self._parameters
        if parameters is None or None in (parameters.baseMap, parameters.otherMap):
            return
        self._turn = layouts.shown() == 1 and not self._turn
        chosen = parameters.otherMap if self._turn else parameters.baseMap
        layouts.side_by_side([chosen])
        self._window.hold([chosen, parameters.baseMap if self._turn else parameters.otherMap])

    def _wanted(self):
        parameters = self._parameters
        return (tuple((n.GetID(), n.GetName()) for n in self.ticked()), parameters.difference, parameters.baseMap)

    def _hold(self):
        """One window for the maps, another one for the differences."""
        made = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetNodeReferenceID(DIFFERENCE)]
        self._window.hold(made or self.ticked())
        self.removeObservers(self._stale)
        for node in self.ticked() if made else ():
            self.addObserver(node, node.ImageDataModifiedEvent, self._stale)

    def _stale(self, *_args):
        """A map was made anew, and what it differs by with it."""
        self.lay_out()

    def _ticked(self, identifiers):
        if self._parameters is not None:
            self.tick([slicer.mrmlScene.GetNodeByID(i) for i in identifiers])
            self.update()
            self._changed()

    def _nodes_changed(self, *_args):
        if self._parameters is not None and not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
            self.update()
