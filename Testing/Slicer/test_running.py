"""Apply and Cancel, clicked: the real worker and the bundled weights, and whatever may happen meanwhile."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.Slicer.steps import apply, volumes, workers

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def matrix_of(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


# -- a run ------------------------------------------------------------------------------------------------------------


def test_apply_makes_a_map_on_the_field_s_grid(
    ready: Any, sample: Any, wait_until: Wait, screenshot: Callable[..., Path], render_slices: Callable[..., Path]
) -> None:
    field, _mask = sample
    turn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turn")
    for node in sample:
        node.SetAndObserveTransformNodeID(turn.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, field)
    before = time.monotonic()
    ready.ui.applyButton.click()
    assert ready.ui.applyButton.text() == "Cancel" and ready.ui.progressBar.isVisibleTo(ready.parent)
    beats: list[float] = []
    timer = qt.QTimer()
    timer.timeout.connect(lambda: beats.append(time.monotonic()))
    timer.start(20)
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    screenshot(ready.parent, "panel-running", 300)
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 120)
    timer.stop()
    assert max(np.diff([before, *beats])) < 1.5, "the panel did not answer for that long"
    assert re.fullmatch(r"Done in 0:\d\d\.", ready.ui.statusLabel.text())
    assert re.search(r"Cone index, coarse to fine: \d\.\d\d · \d\.\d\d · – · –\.", ready.ui.logText.toPlainText())
    chi, sigma = (slicer.util.getNode(f"field QSM IR2QSM{end}") for end in ("", " uncertainty"))
    for node in (chi, sigma):
        assert np.array_equal(matrix_of(node), matrix_of(field))
        assert node.GetParentTransformNode() is turn
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
    ready.ui.uncertaintyCheck.click()
    apply(ready, wait_until)
    first = slicer.util.getNode("field QSM IR2QSM")
    kept = slicer.util.arrayFromVolume(first).copy()
    first.GetDisplayNode().SetWindowLevelMinMax(-0.05, 0.3)
    ready.ui.chiSelector.setCurrentNode(first)
    ready.ui.consistencyCheck.click()
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM IR2QSM"]
    assert np.abs(slicer.util.arrayFromVolume(first) - kept).max() > 1e-3
    assert first.GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.3)  # what the user set is kept
    ready.ui.chiSelector.setCurrentNode(None)
    ready.ui.consistencyCheck.click()
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM IR2QSM", "field QSM IR2QSM_1"]
    assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.getNode("field QSM IR2QSM_1")), kept)


def test_cancel_ends_within_two_seconds_and_leaves_nothing(ready: Any, wait_until: Wait) -> None:
    before = slicer.mrmlScene.GetNumberOfNodes()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    start = time.monotonic()
    ready.ui.applyButton.click()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 5)
    assert time.monotonic() - start < 2.0
    assert ready.ui.statusLabel.text() == "Cancelled; nothing was changed."
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert ready.ui.applyButton.isEnabled()


def test_a_worker_that_does_not_listen_is_ended(ready: Any, wait_until: Wait) -> None:
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    for process in workers():
        process.suspend()
    start = time.monotonic()
    ready.ui.applyButton.click()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 5)
    assert time.monotonic() - start < 2.2
    assert ready.ui.statusLabel.text() == "Cancelled; nothing was changed."


def test_a_worker_that_dies_is_reported_and_the_next_apply_works(
    ready: Any, wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    for process in workers():
        process.kill()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 10)
    assert ready.ui.statusLabel.text().startswith("The worker was ended by the system, most likely because memory ran")
    screenshot(ready.parent, "panel-died", 300)
    assert volumes() == ["field"]
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM IR2QSM"]


def test_the_library_s_own_refusal_is_shown_in_its_words(ready: Any, sample: Any, wait_until: Wait) -> None:
    slicer.util.arrayFromVolume(sample[0])[20:30, 20:30, 20:30] = np.nan
    slicer.util.arrayFromVolumeModified(sample[0])
    wait_until(lambda: "1000 values are NaN" in ready.ui.fieldNote.text() and ready.ui.applyButton.isEnabled(), 60)
    apply(ready, wait_until)
    assert "NaN or infinite" in ready.ui.statusLabel.text()
    assert ready.ui.statusLabel.text() in ready.ui.logText.toPlainText()
    assert volumes() == ["field"]


def test_a_scene_closed_meanwhile_drops_the_run_quietly(ready: Any, wait_until: Wait) -> None:
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    slicer.mrmlScene.Clear(False)
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 5)
    assert ready.ui.statusLabel.text() == "" and volumes() == []
    assert not ready.ui.applyButton.isEnabled()


def test_the_map_of_a_field_that_was_removed_meanwhile_is_kept(ready: Any, sample: Any, wait_until: Wait) -> None:
    field, mask = sample
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    for node in sample:
        node.SetAndObserveTransformNodeID(shift.GetID())
    known = matrix_of(field)
    other = slicer.modules.volumes.logic().CloneVolume(field, "other")
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    slicer.mrmlScene.RemoveNode(field)
    assert ready.ui.fieldSelector.currentNode() is None  # and not another volume
    wait_until(lambda: not ready._apply.running, 120)
    assert "'field' was removed meanwhile; its map lies where it was." in ready.ui.statusLabel.text()
    assert volumes() == ["other", "field QSM IR2QSM"]
    chi = slicer.util.getNode("field QSM IR2QSM")
    assert np.array_equal(matrix_of(chi), known) and chi.GetParentTransformNode() is shift
    assert slicer.util.arrayFromVolume(chi).std() > 0.01
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == chi.GetID() and other.GetScene() is not None
    assert ready.ui.maskSelector.currentNode() is mask


def test_a_map_whose_output_was_removed_meanwhile_is_a_new_one(ready: Any, sample: Any, wait_until: Wait) -> None:
    output = slicer.modules.volumes.logic().CloneVolume(sample[0], "output")
    ready.ui.chiSelector.setCurrentNode(output)
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    slicer.mrmlScene.RemoveNode(output)
    wait_until(lambda: not ready._apply.running, 120)
    assert "The output volume was removed meanwhile; the map is a new one." in ready.ui.statusLabel.text()
    assert volumes() == ["field", "field QSM IR2QSM"]


def test_the_panel_may_be_left_while_it_runs(ready: Any, wait_until: Wait) -> None:
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    ready.exit()
    wait_until(lambda: len(volumes()) == 2, 120)
    ready.enter()
    assert ready.ui.applyButton.text() == "Apply" and ready.ui.applyButton.isEnabled()


# -- what goes wrong on the way back ----------------------------------------------------------------------------------


def test_a_broken_second_file_leaves_no_half_result(ready: Any, sample: Any, tmp_path_factory: Any) -> None:
    from IR2QSMGui.scene import results

    folder = tmp_path_factory.mktemp("result")
    (folder / "uncertainty.nrrd").write_bytes(b"NRRD0004\nbroken\n")
    (folder / "chi.json").write_text("{}")
    chi = str(Path(ready.resourcePath("SampleData/chi.nrrd")))
    result = {"chi": chi, "uncertainty": str(folder / "uncertainty.nrrd"), "provenance": str(folder / "chi.json")}
    older = slicer.modules.volumes.logic().CloneVolume(sample[0], "older")
    kept, n_nodes = slicer.util.arrayFromVolume(older).copy(), slicer.mrmlScene.GetNumberOfNodes()
    for output in (None, older):
        with pytest.raises(RuntimeError, match="could not be read; apply again"):
            results.bring_in(result, sample[0], "ir2qsm", outputs=(output, None))
        assert slicer.mrmlScene.GetNumberOfNodes() == n_nodes
        assert np.array_equal(slicer.util.arrayFromVolume(older), kept)


def test_what_entered_the_scene_leaves_it_again_on_failure(ready: Any, sample: Any) -> None:
    from IR2QSMGui.scene import nodes

    older = slicer.modules.volumes.logic().CloneVolume(sample[0], "older")
    kept, n_nodes = slicer.util.arrayFromVolume(older).copy(), slicer.mrmlScene.GetNumberOfNodes()
    volume = nodes.read_volume(ready.resourcePath("SampleData/chi.nrrd"), sample[0])
    with pytest.raises(ZeroDivisionError), nodes.all_or_nothing(older, None):
        nodes.add_map(volume, sample[0], {"Method": "x"}, kind="chi", name="new")
        nodes.add_map(volume, sample[0], {"Method": "x"}, kind="chi", name="", output=older)
        assert slicer.mrmlScene.GetNumberOfNodes() > n_nodes and older.GetAttribute("IR2QSM.Method") == "x"
        raise ZeroDivisionError
    assert slicer.mrmlScene.GetNumberOfNodes() == n_nodes
    assert np.array_equal(slicer.util.arrayFromVolume(older), kept) and older.GetAttribute("IR2QSM.Method") is None


LAUNCHER = """#!/bin/sh
# As Slicer's launcher: a child of its own, 1 for a child that was killed, and a line that says so.
{python} "$@"
code=$?
if [ $code -gt 128 ]; then
    echo "error: [{python}] exit abnormally - Report the problem." >&2
    exit 1
fi
exit $code
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher of this test is a shell script")
def test_a_launcher_that_ends_abnormally_is_one_clear_message(
    ready: Any, wait_until: Wait, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = tmp_path_factory.mktemp("bin") / "PythonSlicer"
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{launcher.parent}{os.pathsep}{os.environ['PATH']}")
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    for process in workers():
        if process.children() == []:
            process.kill()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 10)
    assert ready.ui.statusLabel.text().startswith("The worker was ended by the system, most likely because memory ran")
    assert "abnormally" not in ready.ui.statusLabel.text()
    launcher.write_text("#!/bin/sh\necho 'ImportError: libtorch.so: cannot open shared object file' >&2\nexit 1\n")
    apply(ready, wait_until)
    assert ready.ui.statusLabel.text() == (
        "The worker ended without a result (exit code 1). ImportError: libtorch.so: cannot open shared object file"
    )
    assert volumes() == ["field"]
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM IR2QSM"]


def colours_of(table: Any) -> list[list[float]]:
    found: list[list[float]] = []
    for i in range(table.GetNumberOfColors()):
        found.append([0.0] * 4)
        assert table.GetColor(i, found[-1])
    return found


def test_map_colours_legend_and_layout_come_back_with_the_scene(
    ready: Any, wait_until: Wait, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    ready.ui.coloursSelector.setCurrentIndex(1)
    apply(ready, wait_until)
    ready.ui.sideBySideButton.click()
    name = "field QSM IR2QSM"
    table = slicer.util.getNode(name).GetDisplayNode().GetColorNode()
    known = colours_of(table)
    assert len(known) == 256 and known[0][2] > known[0][0] + 0.3 and known[255][0] > known[255][2] + 0.3
    assert min(known[127][:3]) > 0.9  # white at zero
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer.util.loadScene(str(path))
    chi = slicer.util.getNode(name)
    found = chi.GetDisplayNode().GetColorNode()
    assert found.GetName() == "IR2QSM diverging"
    assert np.allclose(colours_of(found), known, atol=0.01)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(chi)
    assert legend.GetTitleText() == "Susceptibility [ppm]" and legend.GetVisibility()
    assert chi.GetVoxelValueUnits().GetCodeValue() == "ppm"
    assert chi.GetAttribute("IR2QSM.Method.name") == "ir2qsm"
    views = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}") for i in (1, 2, 3)]
    shown = [slicer.mrmlScene.GetNodeByID(v.mrmlSliceCompositeNode().GetBackgroundVolumeID()).GetName() for v in views]
    assert shown == ["field", name, f"{name} uncertainty"]
    ready.ui.windowSelector.setCurrentIndex(2)  # and the panel still knows the map
    assert chi.GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.2)
