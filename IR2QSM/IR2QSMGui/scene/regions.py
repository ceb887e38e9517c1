"""Values of maps in the segments of a segmentation: a table in the scene, a plot of it, and its text."""

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from IR2QSMGui.panel.advanced import fill as fill_selector
from IR2QSMGui.panel.status import note
from IR2QSMGui.parameters import InputProblem
from IR2QSMGui.scene import layouts, masks

NAME = "IR2QSM regions"
SOURCE, CHART = "IR2QSM.segmentation", "IR2QSM.chart"
"""References of a table to what it was made from, and to its plot."""
COLOURS = (
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.00, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.40, 0.40, 0.40),
    (0.58, 0.40, 0.74),
)
"""One for each map; told apart by those who see no red or green, too."""
DELAY = 400
"""Milliseconds without a change after which the table is filled again."""


def fill(segmentation, maps, zero_segment="", table=None):
    """A table node of mean, SD, median [ppm] and volume [mm³] of each map in each segment; a row a segment.

    With a `zero_segment`, the ID of one of the segments, the map's mean there is taken from means and medians. Raises
    InputProblem without segments or maps.
    """
    parts = [] if segmentation is None else masks.parts_of(segmentation)[1:]
    if not parts or not maps:
        raise InputProblem(_("Choose a segmentation with segments, and at least one map."))
    rows = {identifier: _values(segmentation, identifier, maps) for identifier, _name in parts}
    zeros = [values.mean() if len(values) else np.nan for values in rows.get(zero_segment, [])] or [0.0] * len(maps)
    if table is None:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(NAME))
    with slicer.util.NodeModify(table):
        table.RemoveAllColumns()
        table.SetUseColumnNameAsColumnHeader(True)
        table.SetNodeReferenceID(SOURCE, segmentation.GetID())
        _column(table, vtk.vtkStringArray(), _("Segment"), [name for _id, name in parts])
        _column(table, vtk.vtkIntArray(), _("No."), range(1, len(parts) + 1))
        for i, node in enumerate(maps):
            cell = np.prod(node.GetSpacing())
            found = [rows[identifier][i] for identifier, _name in parts]
            for title, values in (
                (_("{map}: mean [ppm]"), [_of(np.mean, v) - zeros[i] for v in found]),
                (_("{map}: SD [ppm]"), [_of(np.std, v) for v in found]),
                (_("{map}: median [ppm]"), [_of(np.median, v) - zeros[i] for v in found]),
                (_("{map}: volume [mm³]"), [len(v) * cell for v in found]),
            ):
                _column(table, vtk.vtkDoubleArray(), title.format(map=node.GetName()), values)
    return table


def plot(table, maps, chart=None):
    """A chart node of the means in a table, bars of a colour for each map; an older chart is updated if given."""
    if chart is None:
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", NAME)
    for i in reversed(range(chart.GetNumberOfPlotSeriesNodes())):
        slicer.mrmlScene.RemoveNode(chart.GetNthPlotSeriesNode(i))
    with slicer.util.NodeModify(chart):
        chart.SetTitle(_("Mean susceptibility"))
        chart.SetXAxisTitle(_("Segment (No. in the table)"))
        chart.SetYAxisTitle("χ [ppm]")
        for i, node in enumerate(maps):
            series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", node.GetName())
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName(_("No."))
            series.SetYColumnName(_("{map}: mean [ppm]").format(map=node.GetName()))
            series.SetLabelColumnName(_("Segment"))
            series.SetPlotType(series.PlotTypeScatterBar)
            series.SetColor(*COLOURS[i % len(COLOURS)])
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    table.SetNodeReferenceID(CHART, chart.GetID())
    return chart


def text_of(table):
    """A table as tab-separated text, for a spreadsheet."""
    inside = table.GetTable()
    columns = [inside.GetColumn(i) for i in range(inside.GetNumberOfColumns())]
    lines = ["\t".join(column.GetName() for column in columns)]
    for row in range(inside.GetNumberOfRows()):
        cells = [inside.GetValue(row, i) for i in range(len(columns))]
        lines.append("\t".join(f"{cell.ToDouble():.6g}" if cell.IsDouble() else cell.ToString() for cell in cells))
    return "\n".join(lines) + "\n"


def _values(segmentation, identifier, maps):
    """The values of each map in a segment, which is looked up once for maps of one grid."""
    places, found = {}, []
    for node in maps:
        first = next(other for other in maps if masks.same_grid(other, node))
        if first not in places:
            places[first] = _voxels(segmentation, identifier, first)
        found.append(slicer.util.arrayFromVolume(node).ravel()[places[first]].astype(float))
    return found


def _voxels(segmentation, identifier, node):
    try:
        inside, _note = masks.mask_on(segmentation, identifier, node)
    except InputProblem:  # a segment without voxels has a row without values
        return np.empty(0, int)
    return np.flatnonzero(inside)


def _of(what, values):
    return what(values) if len(values) else np.nan


def _column(table, array, name, values):
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    table.AddColumn(array)


class Regions(VTKObservationMixin):
    """The panel's section of values in segments; `maps()` are those to measure."""

    def __init__(self, ui, maps):
        VTKObservationMixin.__init__(self)
        self._ui, self._maps, self._parameters, self._table, self._chart = ui, maps, None, None, None
        self._watched, self._done = None, None
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(DELAY)
        self._later.timeout.connect(self._fill)
        ui.zeroSelector.currentIndexChanged.connect(self._chose)
        ui.regionsButton.clicked.connect(self._show)
        ui.copyTableButton.clicked.connect(self._copy)

    def attach(self, parameters):
        """Measure in the scene that these parameters are in."""
        self._parameters = parameters
        self.update()

    def detach(self):
        """Let the scene go."""
        self._later.stop()
        self.removeObservers()
        self._parameters = self._watched = self._table = self._chart = self._done = None

    def update(self):
        """Bring the section up to date, and the table if there is one."""
        parameters, ui = self._parameters, self._ui
        if parameters is None:
            return
        node = parameters.segmentation
        parts = masks.parts_of(node)[1:] if node is not None else []
        fill_selector(ui.zeroSelector, [("", _("As in the map")), *parts], parameters.zeroSegment)
        ready = bool(parts and self._maps())
        ui.regionsButton.setEnabled(ready)
        ui.copyTableButton.setEnabled(ready)
        self._watch(node)
        if self._table is None and node is not None:  # one that came with the scene
            tables = slicer.util.getNodesByClass("vtkMRMLTableNode")
            self._table = next((t for t in tables if t.GetNodeReference(SOURCE) is node), None)
            self._chart = self._table and self._table.GetNodeReference(CHART)
        if self._table is not None and self._wanted() != self._done:
            self._later.start()

    def _watch(self, segmentation):
        """Hear of changes in the segments and the maps."""
        nodes = [node for node in (segmentation, *self._maps()) if node is not None]
        if nodes == self._watched:
            return
        self._watched = nodes
        self.removeObservers()
        for node, event in masks.changes_of(nodes):
            renamed = event == vtk.vtkCommand.ModifiedEvent
            self.addObserver(node, event, self._renamed if renamed else self._touched)

    def _wanted(self):
        """What the table is of."""
        maps = self._maps()
        names = tuple(node.GetName() for node in maps)
        return self._parameters.segmentation, self._parameters.zeroSegment, tuple(maps), names

    def _renamed(self, *_args):
        if self._table is not None and self._wanted() != self._done:
            self.update()

    def _touched(self, *_args):
        self._done = None
        self.update()

    def _chose(self, *_args):
        data = self._ui.zeroSelector.itemData(self._ui.zeroSelector.property("currentIndex"))
        if self._parameters is not None and data is not None and data != self._parameters.zeroSegment:
            self._parameters.zeroSegment = data

    def _fill(self):
        parameters = self._parameters
        if parameters is None:
            return
        if self._table is not None and self._table.GetScene() is None:  # the user removed it
            self._table = self._chart = None
        self._done = self._wanted()
        try:
            self._table = fill(parameters.segmentation, self._maps(), parameters.zeroSegment, self._table)
            self._chart = plot(self._table, self._maps(), self._chart)
            note(self._ui.regionsNote, "")
        except InputProblem as problem:
            note(self._ui.regionsNote, str(problem), True)

    def _show(self, *_args):
        """Fill the table and show it with its plot below the maps."""
        self._fill()
        if self._table is None:
            return
        layouts.side_by_side(self._maps()[: layouts.MOST], plots=True)
        for tag, kind, choose in (
            (layouts.TABLE, "vtkMRMLTableViewNode", lambda view: view.SetTableNodeID(self._table.GetID())),
            (layouts.PLOT, "vtkMRMLPlotViewNode", lambda view: view.SetPlotChartNodeID(self._chart.GetID())),
        ):
            choose(slicer.mrmlScene.GetSingletonNode(tag, kind))

    def _copy(self, *_args):
        """Copy the table, filled if it is not yet."""
        if self._table is None or self._done is None:
            self._fill()
        if self._table is not None:
            slicer.app.clipboard().setText(text_of(self._table))
            note(self._ui.regionsNote, _("Copied; paste it into a spreadsheet."))
