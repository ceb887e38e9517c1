"""Values of maps in the segments of a segmentation: a table in the scene, a plot of it, and its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from IR2QSMGui.parameters import InputProblem, Statistic
from IR2QSMGui.scene import masks, nodes

NAME = "IR2QSM regions"
SOURCE, CHART = "IR2QSM.segmentation", "IR2QSM.chart"
"""References of a table to its segmentation and to its plot."""
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
"""One for each map, distinct also for people who do not see red or green."""
LEGEND_ROOM = 0.6
"""Width that a plot leaves for its legend beside the bars, as a share of the bars' width."""


@dataclass(frozen=True)
class RegionValues:
    """Statistics of maps in the segments of a segmentation."""

    segmentation: slicer.vtkMRMLSegmentationNode
    segments: tuple[str, ...]
    """Names."""
    maps: tuple[str, ...]
    """Names."""
    statistics: dict[Statistic, np.ndarray]
    """Mean, SD and median [ppm], volume [mm³], NaN for a segment without voxels: (map, segment)."""


def measure(
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    maps: Sequence[slicer.vtkMRMLScalarVolumeNode],
    zero_segment: str = "",
) -> RegionValues:
    """Statistics of maps in segments.

    Parameters
    ----------
    segmentation
        With at least one segment.
    maps
        At least one.
    zero_segment
        ID of the segment whose mean is taken from the means and medians of each map; none when empty.

    Raises
    ------
    InputProblem
        Without segments or maps.
    """
    parts = [] if segmentation is None else masks.parts_of(segmentation)[1:]
    if not parts or not maps:
        raise InputProblem(_("Choose a segmentation with segments, and at least one map."))
    identifiers = [identifier for identifier, _name in parts]
    values = [_values(segmentation, identifier, maps) for identifier in identifiers]
    means, deviations, medians, sizes = (
        np.array([[_of(function, values[j][i]) for j in range(len(parts))] for i in range(len(maps))])
        for function in (np.mean, np.std, np.median, len)
    )
    cells = np.array([[np.prod(node.GetSpacing())] for node in maps])
    zeros = means[:, [identifiers.index(zero_segment)]] if zero_segment in identifiers else 0.0
    return RegionValues(
        segmentation,
        tuple(name for _id, name in parts),
        tuple(node.GetName() for node in maps),
        {
            Statistic.MEAN: means - zeros,
            Statistic.SD: deviations,
            Statistic.MEDIAN: medians - zeros,
            Statistic.VOLUME: np.nan_to_num(sizes) * cells,
        },
    )


def fill_table(
    values: RegionValues, statistic: Statistic | None = None, table: slicer.vtkMRMLTableNode | None = None
) -> slicer.vtkMRMLTableNode:
    """Fill a table node, a row a segment: one column a map for one statistic, or a column for each statistic.

    Parameters
    ----------
    values
        What to fill in.
    statistic
        All of them when None.
    table
        A table to fill instead of a new one.
    """
    if table is None:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", slicer.mrmlScene.GenerateUniqueName(NAME))
    with slicer.util.NodeModify(table):
        table.RemoveAllColumns()
        if hasattr(table, "SetUseColumnTitleAsColumnHeader"):
            table.SetUseColumnTitleAsColumnHeader(True)
        else:
            table.SetUseColumnNameAsColumnHeader(True)
        table.SetDescription("" if statistic is None else statistic.label())
        table.SetNodeReferenceID(SOURCE, values.segmentation.GetID())
        _add_column(table, vtk.vtkStringArray(), _("Segment"), values.segments)
        _add_column(table, vtk.vtkIntArray(), _("No."), range(1, len(values.segments) + 1))
        for i, name in enumerate(values.maps):
            for one in Statistic if statistic is None else (statistic,):
                title = name if statistic is not None else _all_statistics_title(name, one)
                _add_column(table, vtk.vtkDoubleArray(), title, values.statistics[one][i])
    return table


def plot(
    values: RegionValues,
    statistic: Statistic,
    table: slicer.vtkMRMLTableNode,
    chart: slicer.vtkMRMLPlotChartNode | None = None,
) -> slicer.vtkMRMLPlotChartNode:
    """A chart of a table with one column a map: bars of a colour for each map, the legend beside them.

    Parameters
    ----------
    values
        What the table was filled with.
    statistic
        What the table shows.
    table
        Filled by `fill_table`.
    chart
        A chart to update instead of a new one.
    """
    if chart is None:
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", NAME)
    for i in reversed(range(chart.GetNumberOfPlotSeriesNodes())):
        slicer.mrmlScene.RemoveNode(chart.GetNthPlotSeriesNode(i))
    n_segments = len(values.segments)
    with slicer.util.NodeModify(chart):
        chart.SetTitle(_("{statistic} of each segment").format(statistic=statistic.label()))
        chart.SetXAxisTitle(_("Segment (No. in the table)"))
        chart.SetYAxisTitle(_("Volume [mm³]") if statistic is Statistic.VOLUME else _("Susceptibility [ppm]"))
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(0.5, 0.5 + n_segments * (1.0 + LEGEND_ROOM))
        for i, (name, short_name) in enumerate(zip(values.maps, nodes.names_apart(values.maps), strict=True)):
            series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", short_name)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName(_("No."))
            series.SetYColumnName(name)
            series.SetLabelColumnName(_("Segment"))
            series.SetPlotType(series.PlotTypeScatterBar)
            series.SetColor(*COLOURS[i % len(COLOURS)])
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    table.SetNodeReferenceID(CHART, chart.GetID())
    return chart


def text_of(values: RegionValues) -> str:
    """All statistics as tab-separated text, for a spreadsheet."""
    titles = [_all_statistics_title(name, statistic) for name in values.maps for statistic in Statistic]
    lines = ["\t".join([_("Segment"), *titles])]
    for row, segment in enumerate(values.segments):
        numbers = [values.statistics[s][i, row] for i in range(len(values.maps)) for s in Statistic]
        lines.append("\t".join([segment, *(f"{number:.6g}" for number in numbers)]))
    return "\n".join(lines) + "\n"


def _all_statistics_title(map_name: str, statistic: Statistic) -> str:
    titles = {
        Statistic.MEAN: _("{map}: mean [ppm]"),
        Statistic.SD: _("{map}: SD [ppm]"),
        Statistic.MEDIAN: _("{map}: median [ppm]"),
        Statistic.VOLUME: _("{map}: volume [mm³]"),
    }
    return titles[statistic].format(map=map_name)


def _values(segmentation: slicer.vtkMRMLSegmentationNode, identifier: str, maps: Sequence) -> list[np.ndarray]:
    """The values of each map in a segment, whose voxels are looked up once for maps of one grid."""
    voxels: dict = {}
    values = []
    for node in maps:
        first = next(other for other in maps if masks.same_grid(other, node))
        if first not in voxels:
            voxels[first] = _voxels(segmentation, identifier, first)
        values.append(slicer.util.arrayFromVolume(node).ravel()[voxels[first]].astype(float))
    return values


def _voxels(segmentation: slicer.vtkMRMLSegmentationNode, identifier: str, node: slicer.vtkMRMLNode) -> np.ndarray:
    """Flat indices of a segment's voxels in a volume."""
    try:
        inside, _note = masks.mask_on(segmentation, identifier, node)
    except InputProblem:  # a segment without voxels has a row without values
        return np.empty(0, int)
    return np.flatnonzero(inside)


def _of(function: Callable[[np.ndarray], float], values: np.ndarray) -> float:
    return float(function(values)) if len(values) else np.nan


def _add_column(table: slicer.vtkMRMLTableNode, array: vtk.vtkAbstractArray, name: str, values: Sequence) -> None:
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    table.AddColumn(array)
