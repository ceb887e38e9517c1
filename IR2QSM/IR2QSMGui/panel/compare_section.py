"""The panel's section Compare: maps beside each other, their differences, and two of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.panel.widgets import TickList, show_note
from IR2QSMGui.parameters import InputProblem, Parameters
from IR2QSMGui.scene import comparison, layouts, nodes

COMPARED = "IR2QSM.compared"
"""Reference of the settings to the maps that are ticked."""
KEY = "Shift+B"
"""Switches between two maps; B alone is Slicer's key for the previous slice."""


class CompareSection(VTKObservationMixin):
    """Ticks maps and shows them.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Lays out the views.
    on_ticked
        Called without arguments when other maps are ticked.
    """

    def __init__(self, ui: Any, logic: IR2QSMLogic, on_ticked: Callable[[], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._logic, self._on_ticked = ui, logic, on_ticked
        self._parameters: Any = None
        self._ticks = TickList(ui.compareList, self._maps_ticked)
        self._window = comparison.SharedWindow()
        self._watcher = nodes.NodeWatcher(self._nodes_changed)
        self._shortcut: Any = None
        self._shows_other_map = False
        self._laid_out: tuple = ()
        ui.compareButton.clicked.connect(self.lay_out)
        ui.blinkButton.clicked.connect(self.blink)

    def attach(self, parameters: Parameters) -> None:
        """Follow the scene of these settings."""
        before, self._parameters = self._parameters, parameters
        if before is None or before.parameterNode is not self._parameters.parameterNode:
            scene = slicer.mrmlScene
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
                self.addObserver(scene, event, self._nodes_changed)
        self.update()
        self._restore_views()

    def detach(self) -> None:
        """Let the scene go."""
        self.removeObservers()
        self._watcher.watch([])
        self._window.share([])
        self._parameters, self._laid_out = None, ()

    def enable_key(self, enabled: bool) -> None:
        """Let the key switch between two maps, while the panel is in view."""
        window = slicer.util.mainWindow()
        if enabled and self._shortcut is None and window is not None:
            self._shortcut = qt.QShortcut(qt.QKeySequence(KEY), window)
            self._shortcut.activated.connect(self.blink)
        elif not enabled and self._shortcut is not None:
            self._shortcut.setEnabled(False)
            self._shortcut.deleteLater()
            self._shortcut = None

    def ticked(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The maps that are ticked, in the order of the list."""
        if self._parameters is None:
            return []
        node = self._parameters.parameterNode
        compared = [node.GetNthNodeReference(COMPARED, i) for i in range(node.GetNumberOfNodeReferences(COMPARED))]
        return [volume for volume in comparison.comparable_volumes() if volume in compared]

    def tick(self, maps: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        """Tick these maps and no others; the first two become first and second map where neither is chosen."""
        parameters = self._parameters
        if parameters is None:
            return
        node = parameters.parameterNode
        with slicer.util.NodeModify(node):
            node.RemoveNodeReferenceIDs(COMPARED)
            for volume in maps:
                node.AddNodeReferenceID(COMPARED, volume.GetID())
        if len(maps) > 1 and parameters.baseMap is None and parameters.otherMap is None:
            parameters.baseMap, parameters.otherMap = maps[0], maps[1]

    def open(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a volume beside those that are ticked, or beside the other maps of its field where none is ticked."""
        if self._parameters is None:
            return
        field = volume.GetNodeReference(nodes.FIELD)
        maps = [node for node in comparison.comparable_volumes() if nodes.is_map(node)]
        of_field = [node for node in maps if field is not None and node.GetNodeReference(nodes.FIELD) is field]
        others = [node for node in self.ticked() or of_field if node is not volume]
        self.tick([volume, *others[: layouts.MAX_VIEWS - 1]])
        self._ui.compareSection.setProperty("collapsed", False)
        self.update()
        self._on_ticked()
        if others:
            self.lay_out()
        else:
            self._logic.lay_out([volume])
            show_note(self._ui.compareNote, _("Tick another map to compare it with."))

    def update(self) -> None:
        """Bring list, buttons and views up to date."""
        parameters, ui = self._parameters, self._ui
        if parameters is None:
            return
        ticked, volumes = self.ticked(), comparison.comparable_volumes()
        self._watcher.watch(volumes)
        self._ticks.show([(n.GetID(), n.GetName(), "") for n in volumes], [n.GetID() for n in ticked])
        too_many = len(ticked) > layouts.MAX_VIEWS
        ui.compareButton.setEnabled(len(ticked) > 1 and not too_many)
        ui.blinkButton.setEnabled(len({parameters.baseMap, parameters.otherMap} - {None}) == 2)
        show_note(
            ui.compareNote,
            _("At most {n} maps can be shown.").format(n=layouts.MAX_VIEWS) if too_many else "",
            too_many,
        )
        if self._laid_out and self._wanted() != self._laid_out and layouts.n_views() > 1:
            self.lay_out()

    def lay_out(self, *_args: Any) -> None:
        """Show the maps that are ticked, or their differences."""
        parameters = self._parameters
        if parameters is None:
            return
        self._laid_out, self._shows_other_map = self._wanted(), False
        try:
            self._logic.side_by_side(self.ticked(), parameters.baseMap if parameters.difference else None)
        except InputProblem as problem:
            show_note(self._ui.compareNote, str(problem), True)
            return
        show_note(self._ui.compareNote, "")
        differences = comparison.differences()
        self._window.share(differences or self.ticked())
        self.removeObservers(self._map_recomputed)
        for node in self.ticked() if differences else ():
            self.addObserver(node, node.ImageDataModifiedEvent, self._map_recomputed)

    def blink(self, *_args: Any) -> None:
        """Show the first map, and at the next call the second one in its place."""
        parameters = self._parameters
        if parameters is None or None in (parameters.baseMap, parameters.otherMap):
            return
        self._shows_other_map = layouts.n_views() == 1 and not self._shows_other_map
        maps = [parameters.baseMap, parameters.otherMap]
        if self._shows_other_map:
            maps.reverse()
        self._logic.lay_out(maps[:1])
        self._window.share(maps)

    def _restore_views(self) -> None:
        """Write the names into views that came with a scene, and make differences, which are not saved, anew."""
        layouts.write_names()
        shown, parameters = layouts.volumes_shown(), self._parameters
        if parameters is None or not parameters.difference or len(shown) < 2:
            return
        if shown[0] is parameters.baseMap and shown[1] is None:
            self.lay_out()

    def _wanted(self) -> tuple:
        """What is to be laid out: maps, the map of reference for differences, and the names that these show."""
        parameters, ticked = self._parameters, self.ticked()
        if parameters is None:
            return ()
        names = tuple(n.GetName() for n in ticked) if parameters.difference else ()
        return tuple(n.GetID() for n in ticked), parameters.difference, parameters.baseMap, names

    def _map_recomputed(self, *_args: Any) -> None:
        """A map has other voxels, and so have the differences."""
        self.lay_out()

    def _maps_ticked(self, identifiers: list[str]) -> None:
        self.tick([slicer.mrmlScene.GetNodeByID(i) for i in identifiers])
        self.update()
        self._on_ticked()

    def _nodes_changed(self, *_args: Any) -> None:
        if self._parameters is not None and not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
            self.update()
