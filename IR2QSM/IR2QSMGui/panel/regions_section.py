"""The panel's section Regions: a table and a plot of the maps' values in segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.panel.widgets import fill_selector, show_note
from IR2QSMGui.parameters import InputProblem, Parameters
from IR2QSMGui.scene import layouts, masks, regions

DELAY_MS = 400
"""Without a change, after which the table is filled anew."""


class RegionsSection(VTKObservationMixin):
    """Fills the table and keeps it up to date.

    Parameters
    ----------
    ui
        The panel's widgets.
    logic
        Lays out the views.
    maps
        Returns the maps whose values are wanted.
    """

    def __init__(self, ui: Any, logic: IR2QSMLogic, maps: Callable[[], list]) -> None:
        VTKObservationMixin.__init__(self)
        self._ui, self._logic, self._maps = ui, logic, maps
        self._parameters: Any = None
        self._table: Any = None
        self._chart: Any = None
        self._watched: list | None = None
        self._filled: tuple | None = None
        self._hint = ""
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._fill)
        ui.zeroSelector.currentIndexChanged.connect(self._zero_chosen)
        ui.regionsButton.clicked.connect(self._show)
        ui.copyTableButton.clicked.connect(self._copy)

    def attach(self, parameters: Parameters) -> None:
        """Follow the scene of these settings."""
        self._parameters = parameters
        self.update()

    def detach(self) -> None:
        """Let the scene go."""
        self._timer.stop()
        self.removeObservers()
        self._parameters = self._watched = self._table = self._chart = self._filled = None

    def update(self) -> None:
        """Bring the section up to date, and the table if there is one."""
        parameters, ui = self._parameters, self._ui
        if parameters is None:
            return
        segmentation = parameters.segmentation
        parts = masks.parts_of(segmentation)[1:] if segmentation is not None else []
        fill_selector(ui.zeroSelector, [("", _("As in the map")), *parts], parameters.zeroSegment)
        can_fill = bool(parts and self._maps())
        ui.regionsButton.setEnabled(can_fill)
        ui.copyTableButton.setEnabled(can_fill)
        hint = "" if segmentation is None or can_fill else _("Tick a map under Compare.")
        if segmentation is not None and not parts:
            hint = _("'{name}' has no segments; draw one in the Segment Editor.").format(name=segmentation.GetName())
        if hint or self._hint:  # else what was said last stays
            show_note(ui.regionsNote, hint)
        self._hint = hint
        self._watch()
        if self._table is None and segmentation is not None:  # a table that came with the scene
            tables = slicer.util.getNodesByClass("vtkMRMLTableNode")
            self._table = next((t for t in tables if t.GetNodeReference(regions.SOURCE) is segmentation), None)
            self._chart = self._table and self._table.GetNodeReference(regions.CHART)
        if self._table is not None and self._wanted() != self._filled:
            self._timer.start()

    def _watch(self) -> None:
        """Notice changes in the segments and the maps."""
        nodes = [node for node in (self._parameters.segmentation, *self._maps()) if node is not None]
        if nodes == self._watched:
            return
        self._watched = nodes
        self.removeObservers()
        for node, event in masks.change_events(nodes):
            is_rename = event == vtk.vtkCommand.ModifiedEvent
            self.addObserver(node, event, self._node_renamed if is_rename else self._values_changed)

    def _wanted(self) -> tuple:
        """What the table is to show."""
        parameters, maps = self._parameters, self._maps()
        names = tuple(node.GetName() for node in maps)
        return parameters.segmentation, parameters.zeroSegment, parameters.statistic, tuple(maps), names

    def _node_renamed(self, *_args: Any) -> None:
        if self._table is not None and self._wanted() != self._filled:
            self.update()

    def _values_changed(self, *_args: Any) -> None:
        self._filled = None
        self.update()

    def _zero_chosen(self, *_args: Any) -> None:
        data = self._ui.zeroSelector.itemData(self._ui.zeroSelector.property("currentIndex"))
        if self._parameters is not None and data is not None and data != self._parameters.zeroSegment:
            self._parameters.zeroSegment = data

    def _measure(self) -> regions.RegionValues | None:
        """The values of the maps in the segments; None when there is a problem, which is said."""
        parameters = self._parameters
        try:
            values = regions.measure(parameters.segmentation, self._maps(), parameters.zeroSegment)
        except InputProblem as problem:
            show_note(self._ui.regionsNote, str(problem), True)
            return None
        show_note(self._ui.regionsNote, "")
        return values

    def _fill(self, *_args: Any) -> None:
        if self._parameters is None:
            return
        if self._table is not None and self._table.GetScene() is None:  # a person removed it
            self._table = self._chart = None
        self._filled = self._wanted()
        values, statistic = self._measure(), self._parameters.statistic
        if values is not None:
            self._table = regions.fill_table(values, statistic, self._table)
            self._chart = regions.plot(values, statistic, self._table, self._chart)

    def _show(self, *_args: Any) -> None:
        """Fill the table and show it with its plot below the maps."""
        self._fill()
        if self._table is None:
            return
        self._logic.lay_out(self._maps()[: layouts.MAX_VIEWS], with_plot=True)
        scene = slicer.mrmlScene
        scene.GetSingletonNode(layouts.TABLE, "vtkMRMLTableViewNode").SetTableNodeID(self._table.GetID())
        scene.GetSingletonNode(layouts.PLOT, "vtkMRMLPlotViewNode").SetPlotChartNodeID(self._chart.GetID())

    def _copy(self, *_args: Any) -> None:
        """Copy all statistics."""
        values = self._measure() if self._parameters is not None else None
        if values is not None:
            slicer.app.clipboard().setText(regions.text_of(values))
            show_note(self._ui.regionsNote, _("Copied; paste it into a spreadsheet."))
