"""Apply and Cancel, clicked: the real worker and the bundled weights, and whatever may happen meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.Slicer.steps import apply, arguments, press, tick, volumes, workers

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def matrix_of(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def test_apply_makes_a_map_on_the_grid_of_the_field(
    ready: Any, sample: Any, wait_until: Wait, screenshot: Callable[..., Path], render_slices: Callable[..., Path]
) -> None:
    field, _mask = sample
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    for node in sample:
        node.SetAndObserveTransformNodeID(shift.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, field)
    ready.ui.applyButton.click()
    assert ready.ui.applyButton.text() == "Cancel" and ready.ui.progressBar.isVisibleTo(ready.parent)
    beats: list[int] = []
    timer = qt.QTimer()
    timer.timeout.connect(lambda: beats.append(len(beats)))
    timer.start(20)
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    screenshot(ready.parent, "panel-running", 300)
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 120)
    timer.stop()
    assert len(set(beats)) > 10  # the panel answered during the run
    assert re.fullmatch(r"Done in \d+:\d\d\.", ready.ui.statusLabel.text())
    assert re.search(r"Cone index, coarse to fine: \d\.\d\d · \d\.\d\d · – · –\.", ready.ui.logText.toPlainText())
    chi, sigma = (slicer.util.getNode(f"field QSM IR2QSM{end}") for end in ("", " uncertainty"))
    for node in (chi, sigma):
        assert np.array_equal(matrix_of(node), matrix_of(field))
        assert node.GetParentTransformNode() is shift
        assert node.GetVoxelValueUnits().GetCodeValue() == "ppm"
        assert node.GetVoxelValueQuantity().GetCodeMeaning() == "Magnetic Susceptibility"
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert chi.GetAttribute("IR2QSM.Method.weights_sha256") and chi.GetAttribute("IR2QSM.Reference")
    display = chi.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((-0.1, 0.1))
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(chi)
    assert legend.GetTitleText() == "Susceptibility [ppm]" and legend.GetVisibility()
    values = slicer.util.arrayFromVolume(chi)
    inside = slicer.util.arrayFromVolume(sample[1]) > 0
    assert abs(values[inside].mean()) < 1e-4 and 0.01 < values[inside].std() < 0.2 and not values[~inside].any()
    assert (slicer.util.arrayFromVolume(sigma)[inside] > 0).all()
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == chi.GetID()
    screenshot(ready.parent, "panel-done", 300)
    ready.ui.sideBySideButton.click()
    views = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}") for i in (1, 2, 3)]
    shown = [view.mrmlSliceCompositeNode().GetBackgroundVolumeID() for view in views]
    assert shown == [field.GetID(), chi.GetID(), sigma.GetID()]
    assert all(view.mrmlSliceCompositeNode().GetLinkedControl() for view in views)
    render_slices([field, chi, sigma], "side-by-side", views=["IR2QSM1", "IR2QSM2", "IR2QSM3"])
    ready.ui.coloursSelector.setCurrentIndex(1)
    ready.ui.windowSelector.setCurrentIndex(2)
    assert display.GetColorNode().GetName() == "IR2QSM diverging"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((-0.2, 0.2))
    path = render_slices([field, chi, sigma], "diverging", views=["IR2QSM1", "IR2QSM2", "IR2QSM3"])
    picture = qt.QImage(str(path))
    drawn = [qt.QColor(picture.pixel(x, y)) for x in range(370, 560, 3) for y in range(40, 290, 3)]
    hues = [(c.red(), c.green(), c.blue()) for c in drawn]
    assert any(r > b + 60 for r, _g, b in hues) and any(b > r + 60 for r, _g, b in hues)
    assert sum(min(hue) > 200 for hue in hues) > 200  # white at zero
    ready.ui.legendCheck.click()
    assert not slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(chi).GetVisibility()


def test_a_second_run_makes_a_second_map_or_updates_the_chosen_one(ready: Any, sample: Any, wait_until: Wait) -> None:
    ready.ui.consistencyCheck.click()
    assert "--network-only" in arguments(ready)
    tick(ready.ui.methodList, "tikhonov")
    apply(ready, wait_until)
    first = slicer.util.getNode("field QSM TIKHONOV")
    kept = slicer.util.arrayFromVolume(first).copy()
    first.GetDisplayNode().SetWindowLevelMinMax(-0.05, 0.3)
    ready.ui.chiSelector.setCurrentNode(first)
    ready.ui.automaticCheck.click()
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM TIKHONOV"]
    assert np.abs(slicer.util.arrayFromVolume(first) - kept).max() > 1e-3
    assert first.GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.3)  # what the user set is kept
    ready.ui.chiSelector.setCurrentNode(None)
    ready.ui.automaticCheck.click()
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM TIKHONOV", "field QSM TIKHONOV_1"]
    assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.getNode("field QSM TIKHONOV_1")), kept)


def test_cancel_leaves_nothing(ready: Any, wait_until: Wait) -> None:
    before = slicer.mrmlScene.GetNumberOfNodes()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    press(ready.ui.maskSelector, qt.Qt.Key_Escape)
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 60)
    assert ready.ui.statusLabel.text() == "Cancelled; nothing was changed."
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert ready.ui.applyButton.isEnabled()


def test_a_worker_that_ignores_cancel_is_killed(ready: Any, wait_until: Wait) -> None:
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    for process in workers():
        process.suspend()
    from IR2QSMGui.run.worker import GRACE_MS

    assert GRACE_MS < 2000  # two seconds are promised
    ready.ui.applyButton.click()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 60)
    assert ready.ui.statusLabel.text() == "Cancelled; nothing was changed."


def test_a_worker_that_dies_is_reported_and_the_next_apply_works(
    ready: Any, wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    for process in workers():
        process.kill()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 60)
    assert ready.ui.statusLabel.text().startswith("The worker was ended by the system, most likely because memory ran")
    screenshot(ready.parent, "panel-died", 300)
    assert volumes() == ["field"]
    tick(ready.ui.methodList, "tkd")
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM TKD"]


def test_a_refusal_of_the_library_is_shown(ready: Any, sample: Any, wait_until: Wait) -> None:
    slicer.util.arrayFromVolume(sample[0])[20:30, 20:30, 20:30] = np.nan
    slicer.util.arrayFromVolumeModified(sample[0])
    wait_until(lambda: "1000 values are NaN" in ready.ui.fieldNote.text() and ready.ui.applyButton.isEnabled(), 60)
    apply(ready, wait_until)
    assert "NaN or infinite" in ready.ui.statusLabel.text()
    assert ready.ui.statusLabel.text() in ready.ui.logText.toPlainText()
    assert volumes() == ["field"]


def test_a_scene_closed_meanwhile_drops_the_run(ready: Any, wait_until: Wait) -> None:
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    slicer.mrmlScene.Clear(False)
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 60)
    assert ready.ui.statusLabel.text() == "" and volumes() == []
    assert not ready.ui.applyButton.isEnabled()


def test_the_map_of_a_field_that_was_removed_meanwhile_is_kept(ready: Any, sample: Any, wait_until: Wait) -> None:
    field, mask = sample
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    for node in sample:
        node.SetAndObserveTransformNodeID(shift.GetID())
    place = matrix_of(field)
    other = slicer.modules.volumes.logic().CloneVolume(field, "other")
    tick(ready.ui.methodList, "tkd")
    ready.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(field)
    assert ready.ui.fieldSelector.currentNode() is None  # and not another volume
    wait_until(lambda: not ready._apply.running, 120)
    assert "'field' was removed meanwhile; its map lies where it was." in ready.ui.statusLabel.text()
    assert volumes() == ["other", "field QSM TKD"]
    chi = slicer.util.getNode("field QSM TKD")
    assert np.array_equal(matrix_of(chi), place) and chi.GetParentTransformNode() is shift
    assert slicer.util.arrayFromVolume(chi).std() > 0.01
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == chi.GetID() and other.GetScene() is not None
    assert ready.ui.maskSelector.currentNode() is mask


def test_a_map_whose_output_was_removed_meanwhile_is_a_new_one(ready: Any, sample: Any, wait_until: Wait) -> None:
    output = slicer.modules.volumes.logic().CloneVolume(sample[0], "output")
    ready.ui.chiSelector.setCurrentNode(output)
    tick(ready.ui.methodList, "tkd")
    ready.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(output)
    wait_until(lambda: not ready._apply.running, 120)
    assert "The output volume was removed meanwhile; the map is a new one." in ready.ui.statusLabel.text()
    assert volumes() == ["field", "field QSM TKD"]


def test_the_panel_may_be_left_while_it_runs(ready: Any, wait_until: Wait) -> None:
    tick(ready.ui.methodList, "tkd")
    ready.ui.applyButton.click()
    ready.exit()
    wait_until(lambda: len(volumes()) == 2, 120)
    ready.enter()
    assert ready.ui.applyButton.text() == "Apply" and ready.ui.applyButton.isEnabled()
