"""Values of maps in segments: the table against NumPy, the zero, the plot and the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from Testing.Slicer.steps import tick

Wait = Callable[..., None]


def cells(table: Any) -> dict[str, list[Any]]:
    inside = table.GetTable()
    return {
        inside.GetColumn(i).GetName(): [inside.GetValue(row, i).ToString() for row in range(inside.GetNumberOfRows())]
        for i in range(inside.GetNumberOfColumns())
    }


def numbers(table: Any, column: str) -> np.ndarray:
    inside = table.GetTable()
    return np.array([inside.GetValueByName(row, column).ToDouble() for row in range(inside.GetNumberOfRows())])


def statistic(name: str) -> Any:
    from IR2QSMGui.parameters import Statistic

    return Statistic[name]


@pytest.fixture
def brain(panel: Any) -> tuple[list[Any], Any, np.ndarray]:
    """Two maps with voxels of 1 × 2 × 3 mm, a segmentation of two regions drawn on them, and its labels (z, y, x)."""
    rng = np.random.default_rng(1)
    made = []
    for name in ("first", "second"):
        node = slicer.util.addVolumeFromArray(rng.normal(size=(12, 14, 16)).astype(np.float32), name=name)
        node.SetSpacing(1.0, 2.0, 3.0)
        made.append(node)
    labels = np.zeros((12, 14, 16), np.uint8)
    labels[2:6, 3:9, 2:7] = 1
    labels[7:11, 4:12, 9:15] = 2
    volume = slicer.util.addVolumeFromArray(labels, name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode")
    volume.SetSpacing(1.0, 2.0, 3.0)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "regions")
    segmentation.CreateDefaultDisplayNodes()
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(volume, segmentation)
    for i, name in enumerate(("nucleus", "csf")):
        segmentation.GetSegmentation().GetNthSegment(i).SetName(name)
    return made, segmentation, labels


@pytest.fixture
def filled(panel: Any, brain: Any) -> Any:
    """The panel with its table and plot shown; the table."""
    tick(panel.ui.compareList, "first", "second")
    panel.ui.segmentationSelector.setCurrentNode(brain[1])
    panel.ui.regionsButton.click()
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    return table


def test_the_table_agrees_with_numpy(panel: Any, brain: Any) -> None:
    made, segmentation, labels = brain
    filled = panel.logic.regions(segmentation, made)
    assert cells(filled)["Segment"] == ["nucleus", "csf"]
    for node in made:
        values = slicer.util.arrayFromVolume(node).astype(float)
        inside = [values[labels == n] for n in (1, 2)]
        name = node.GetName()
        assert numbers(filled, f"{name}: mean [ppm]") == pytest.approx([v.mean() for v in inside])
        assert numbers(filled, f"{name}: SD [ppm]") == pytest.approx([v.std() for v in inside])
        assert numbers(filled, f"{name}: median [ppm]") == pytest.approx([np.median(v) for v in inside])
        assert numbers(filled, f"{name}: volume [mm³]") == pytest.approx([v.size * 6.0 for v in inside])


def test_the_table_follows_the_chosen_zero_and_the_segments(
    panel: Any, filled: Any, brain: Any, wait_until: Wait
) -> None:
    made, segmentation, labels = brain
    before = panel.logic.regions(segmentation, made)
    csf = segmentation.GetSegmentation().GetNthSegmentID(1)
    after = panel.logic.regions(segmentation, made, zero_segment=csf)
    mean, deviation, median = (
        [numbers(t, f"first: {m} [ppm]") for t in (before, after)] for m in ("mean", "SD", "median")
    )
    assert mean[1] == pytest.approx(mean[0] - mean[0][1]) and median[1] == pytest.approx(median[0] - mean[0][1])
    assert deviation[1] == pytest.approx(deviation[0])
    for table in (before, after):
        slicer.mrmlScene.RemoveNode(table)
    panel.ui.zeroSelector.setCurrentIndex(2)
    wait_until(lambda: abs(numbers(filled, "first")[1]) < 1e-12, 60)
    assert numbers(filled, "first") == pytest.approx(mean[1])
    identifier = segmentation.GetSegmentation().GetNthSegmentID(0)
    half = labels == 1
    half[3:] = False
    panel.exit()  # segments are drawn in another module
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), segmentation, identifier, made[0])
    panel.logic.parameters().statistic = statistic("VOLUME")
    panel.enter()
    wait_until(lambda: numbers(filled, "first")[0] == pytest.approx(half.sum() * 6.0), 60)
    segmentation.GetSegmentation().GetSegment(identifier).SetName("caudate")
    wait_until(lambda: cells(filled)["Segment"][0] == "caudate", 60)
    made[0].SetName("newly named")
    wait_until(lambda: "newly named" in cells(filled), 60)
    made[0].SetName("first")
    slicer.util.updateVolumeFromArray(made[1], np.full(labels.shape, 0.25, np.float32))
    panel.ui.statisticSelector.setCurrentIndex(1)
    wait_until(lambda: abs(numbers(filled, "second")).max() < 1e-6, 60)
    panel.ui.zeroSelector.setCurrentIndex(0)
    panel.ui.statisticSelector.setCurrentIndex(0)
    wait_until(lambda: numbers(filled, "second") == pytest.approx([0.25, 0.25]), 60)


def test_table_and_plot_are_shown_below_the_maps(
    panel: Any, filled: Any, brain: Any, pictures: Path, screenshot: Callable[..., Path]
) -> None:
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    series = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [s.GetName() for s in series] == ["first", "second"]
    columns = cells(filled)
    assert all({s.GetXColumnName(), s.GetYColumnName(), s.GetLabelColumnName()} <= set(columns) for s in series)
    assert len({s.GetColor() for s in series}) == 2
    (table_view,) = slicer.util.getNodesByClass("vtkMRMLTableViewNode")
    (plot_view,) = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    assert table_view.GetTableNodeID() == filled.GetID() and plot_view.GetPlotChartNodeID() == chart.GetID()
    shown = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}").mrmlSliceCompositeNode() for i in (1, 2)]
    assert [s.GetBackgroundVolumeID() for s in shown] == [node.GetID() for node in brain[0]]
    panel.ui.regionsButton.click()  # again: the same nodes
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")) == 2
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1
    assert list(columns) == ["Segment", "No.", "first", "second"]  # one column a map
    assert chart.GetYAxisTitle() == "Susceptibility [ppm]"
    low, high = chart.GetXAxisRange()
    assert not chart.GetXAxisRangeAuto() and low < 1 and high - 2.5 > 0.3 * (high - low)  # the legend's place
    panel.ui.statisticSelector.setCurrentIndex(3)
    panel.ui.regionsButton.click()
    assert chart.GetYAxisTitle() == "Volume [mm³]" and filled.GetDescription() == "Volume [mm³]"
    panel.ui.regionsSection.click()
    screenshot(panel.parent, "panel-regions", 300)


def test_a_table_of_a_saved_scene_stays_up_to_date(panel: Any, filled: Any, tmp_path: Path, wait_until: Wait) -> None:
    before = numbers(filled, "first")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert numbers(table, "first") == pytest.approx(before, rel=1e-5)  # as text
    panel.ui.zeroSelector.setCurrentIndex(2)
    wait_until(lambda: abs(numbers(table, "first")[1]) < 1e-12, 60)
    assert numbers(table, "first") == pytest.approx(before - before[1])
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1


def test_the_table_is_copied_as_text(panel: Any, filled: Any) -> None:
    panel.ui.copyTableButton.click()
    lines = [line.split("\t") for line in slicer.app.clipboard().text().splitlines()]
    measures = ("mean [ppm]", "SD [ppm]", "median [ppm]", "volume [mm³]")
    assert lines[0] == ["Segment", *(f"{name}: {measure}" for name in ("first", "second") for measure in measures)]
    assert [line[0] for line in lines[1:]] == ["nucleus", "csf"]
    assert float(lines[1][1]) == pytest.approx(numbers(filled, "first")[0], rel=1e-5)
    assert panel.ui.regionsNote.text() == "Copied; paste it into a spreadsheet."


def test_an_empty_segment_has_a_row_without_values(panel: Any, brain: Any) -> None:
    made, segmentation, _labels = brain
    segmentation.GetSegmentation().AddEmptySegment("nothing", "nothing")
    logic = panel.logic
    table = logic.regions(segmentation, made)
    assert cells(table)["Segment"] == ["nucleus", "csf", "nothing"]
    assert np.isnan(numbers(table, "first: mean [ppm]")[2]) and numbers(table, "first: volume [mm³]")[2] == 0
    from IR2QSMGui.parameters import InputProblem

    with pytest.raises(InputProblem, match="at least one map"):
        logic.regions(segmentation, [])


def test_segments_on_another_grid_are_evaluated_where_they_lie(panel: Any, brain: Any) -> None:
    made, segmentation, labels = brain
    reoriented = slicer.util.addVolumeFromArray(
        np.ascontiguousarray(slicer.util.arrayFromVolume(made[0]).transpose(2, 1, 0)), name="turned"
    )
    matrix = vtk.vtkMatrix4x4()  # its axes are z, y, x of the first map
    matrix.DeepCopy((0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1))
    reoriented.SetIJKToRASMatrix(matrix)
    table = panel.logic.regions(segmentation, [made[0], reoriented])
    assert numbers(table, "turned: volume [mm³]") == pytest.approx(numbers(table, "first: volume [mm³]"))
    assert numbers(table, "turned: mean [ppm]") == pytest.approx(numbers(table, "first: mean [ppm]"))
    assert numbers(table, "first: volume [mm³]") == pytest.approx([(labels == n).sum() * 6.0 for n in (1, 2)])
