"""The panel's section Display: how maps look, and what is shown when a run ends."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.util import VTKObservationMixin

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.panel.compare_section import CompareSection
from IR2QSMGui.parameters import Parameters
from IR2QSMGui.run.run_queue import RunQueue
from IR2QSMGui.scene import display, layouts, nodes
from IR2QSMGui.scene.results import intermediate_titles


class DisplaySection(VTKObservationMixin):
    """Window, colours and legend of the maps.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Lays out the views.
    comparison
        Knows the maps that are compared.
    """

    def __init__(self, ui: Any, logic: IR2QSMLogic, comparison: CompareSection) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._logic, self._comparison = ui, logic, comparison
        self._parameters: Any = None
        self._applied_look: Any = None
        self._legends = display.LegendUpdater()
        ui.sideBySideButton.clicked.connect(self.side_by_side)

    def attach(self, parameters: Parameters) -> None:
        """Follow these settings; maps of the scene keep their looks."""
        self._parameters = parameters
        self._applied_look = self._look()
        scene = slicer.mrmlScene
        self.removeObservers()
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._nodes_changed)
        self._nodes_changed()

    def detach(self) -> None:
        """Let the settings go; legends still follow their windows."""
        self._parameters = None

    def cleanup(self) -> None:
        """Let the scene go."""
        self.removeObservers()
        self._legends.removeObservers()

    def update(self) -> None:
        """Give the maps the look of the panel, if that was changed there: a look that was set elsewhere stays."""
        chi, _volumes = self._map_with_origin()
        self._ui.sideBySideButton.setEnabled(chi is not None)
        if chi is not None and self._applied_look != self._look():
            self._applied_look = self._look()
            for node in {chi, *self._comparison.ticked()}:
                if nodes.is_map(node):
                    display.show_map(node, *self._applied_look)

    def show(self, queue: RunQueue) -> None:
        """Show what a queue of runs has made; its maps are those to compare, a single one where there is no other."""
        if len(queue.maps) > 1 or not self._comparison.ticked():
            self._comparison.tick(queue.maps)
        if self._parameters is not None:
            if self._parameters.chi is None:
                self._applied_look = None
            self.update()
        if len(queue.maps) > 1:
            self._comparison.lay_out()
        elif not layouts.n_views():
            layouts.show_in_slice_views(queue.maps[-1])
        elif len(queue.runs) == 1:
            self.side_by_side()

    def side_by_side(self, *_args: Any) -> None:
        """Show the map beside the field, the intermediates that were kept, and its uncertainty."""
        self._logic.lay_out(self._map_with_origin()[1])

    def chosen_map(self) -> Any:
        """The chosen output, or the latest map of the scene; None without one."""
        return self._map_with_origin()[0]

    def _map_with_origin(self) -> tuple[Any, list]:
        """The chosen output, or the latest map of the scene, and all volumes of its run in order."""
        chosen = self._parameters.chi if self._parameters is not None else None
        maps = [node for node in nodes.scalar_volumes() if nodes.is_map(node)]
        chi = chosen if chosen in maps else (maps[-1] if maps else None)
        if chi is None:
            return None, []
        origin = [chi.GetNodeReference(f"IR2QSM.{name}") for name in ("field", *intermediate_titles())]
        volumes = [*origin, chi, chi.GetNodeReference("IR2QSM.uncertainty")]
        return chi, [node for node in volumes if node is not None]

    def _look(self) -> Any:
        """Window, colours and legend that the panel asks for."""
        parameters = self._parameters
        return None if parameters is None else (parameters.window.value, parameters.colours, parameters.legend)

    def _nodes_changed(self, *_args: Any) -> None:
        if not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
            self._legends.follow_scene()
