"""The panel, clicked: real nodes, the real worker and the bundled weights on the sample that comes with the module."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
import vtk
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QWidget

from Testing.Slicer.steps import apply, tick

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


# -- before Apply -----------------------------------------------------------------------------------------------------


def test_an_empty_panel_asks_for_its_inputs(panel: Any, screenshot: Callable[..., Path]) -> None:
    assert not panel.ui.applyButton.isEnabled()
    assert panel.ui.fieldNote.text() == "Choose the phase of an echo, or a field."
    assert panel.ui.maskNote.text().startswith("Choose the mask")
    screenshot(panel.parent, "panel-empty", 300)


def test_the_field_is_recognised(ready: Any, wait_until: Wait, screenshot: Callable[..., Path]) -> None:
    wait_until(lambda: "local field in ppm" in ready.ui.fieldNote.text(), 60)
    assert ready.ui.unitSelector.currentText() == "ppm"
    assert ready.ui.b0Spin.isHidden() and ready.ui.echoTimeSpin.isHidden()
    screenshot(ready.parent, "panel-ready", 300)


def test_a_field_in_hz_is_recognised_and_asks_for_b0(ready: Any, sample: Any, wait_until: Wait) -> None:
    slicer.util.arrayFromVolume(sample[0])[:] *= 42.576 * 7.0
    slicer.util.arrayFromVolumeModified(sample[0])
    ready.ui.fieldSelector.setCurrentNode(None)
    ready.ui.fieldSelector.setCurrentNode(sample[0])
    wait_until(lambda: "local field in Hz" in ready.ui.fieldNote.text(), 60)
    assert ready.ui.unitSelector.currentText() == "Hz"
    assert not ready.ui.b0Spin.isHidden() and ready.ui.echoTimeSpin.isHidden()
    assert not ready.ui.applyButton.isEnabled()
    assert ready.ui.statusLabel.text() == "A field in Hz needs the field strength: enter B0 in tesla."
    ready.ui.b0Spin.setValue(7.0)
    assert ready.ui.applyButton.isEnabled() and ready.ui.statusLabel.text() == ""
    ready.ui.unitSelector.setCurrentIndex(2)
    assert not ready.ui.echoTimeSpin.isHidden() and not ready.ui.applyButton.isEnabled()
    assert ready.ui.statusLabel.text() == "A field in rad needs the echo time: enter TE."


def test_wrapped_phase_is_recognised_and_not_taken_without_its_magnitude(
    ready: Any, sample: Any, wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    values = slicer.util.arrayFromVolume(sample[0])
    values[:] = np.random.default_rng(0).uniform(-np.pi, np.pi, values.shape)
    slicer.util.arrayFromVolumeModified(sample[0])
    ready.ui.fieldSelector.setCurrentNode(None)
    ready.ui.fieldSelector.setCurrentNode(sample[0])
    wait_until(lambda: "wrapped phase" in ready.ui.fieldNote.text(), 60)
    assert ready.ui.inputSelector.currentText() == "Wrapped phase"
    assert ready.ui.scanNote.text() == "The magnitude is missing: choose that of each echo."
    assert not ready.ui.applyButton.isEnabled()
    screenshot(ready.parent, "panel-problem", 300)


def test_an_empty_mask_and_one_on_another_grid_are_told(ready: Any, sample: Any) -> None:
    empty = slicer.modules.volumes.logic().CloneVolume(sample[1], "empty")
    slicer.util.updateVolumeFromArray(empty, np.zeros_like(slicer.util.arrayFromVolume(sample[1])))
    ready.ui.maskSelector.setCurrentNode(empty)
    assert not ready.ui.applyButton.isEnabled()
    assert ready.ui.maskNote.text() == "'empty' is empty; choose another mask."
    sample[1].SetSpacing(2.0, 2.0, 2.0)
    ready.ui.maskSelector.setCurrentNode(sample[1])
    assert ready.ui.applyButton.isEnabled()
    assert "another grid" in ready.ui.maskNote.text()


def test_a_mask_somewhere_else_is_refused(ready: Any, sample: Any) -> None:
    away = slicer.modules.volumes.logic().CloneVolume(sample[1], "away")
    away.SetOrigin(1000.0, 0.0, 0.0)
    ready.ui.maskSelector.setCurrentNode(away)
    assert ready.ui.maskNote.text() == "'away' does not overlap the field; choose another mask."
    assert not ready.ui.applyButton.isEnabled()


def test_a_mask_with_several_values_a_voxel_is_refused(ready: Any, sample: Any) -> None:
    shape = slicer.util.arrayFromVolume(sample[1]).shape
    colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    slicer.util.updateVolumeFromArray(colours, np.ones((*shape, 3), np.uint8))
    ready.ui.maskSelector.setCurrentNode(colours)
    assert ready.ui.maskNote.text() == "'colours' has several values a voxel; choose another mask."
    assert not ready.ui.applyButton.isEnabled()


def test_a_volume_that_is_deleted_is_freed(ready: Any) -> None:
    node = slicer.util.addVolumeFromArray(np.zeros((16, 20, 24), np.float32), name="gone")
    held = vtk.vtkWeakReference()
    held.Set(node)
    ready.ui.inputSelector.setCurrentIndex(0)
    slicer.mrmlScene.RemoveNode(node)
    del node
    gc.collect()
    assert held.Get() is None


def test_a_thin_or_empty_volume_is_refused(ready: Any) -> None:
    thin = slicer.util.addVolumeFromArray(np.zeros((4, 20, 20), np.float32), name="thin")
    ready.ui.fieldSelector.setCurrentNode(thin)
    assert "has 20×20×4 voxels" in ready.ui.fieldNote.text() and not ready.ui.applyButton.isEnabled()
    none = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "none")
    ready.ui.fieldSelector.setCurrentNode(none)
    assert "'none' holds no image" in ready.ui.fieldNote.text() and not ready.ui.applyButton.isEnabled()


def test_the_output_cannot_be_the_input(ready: Any, sample: Any) -> None:
    ready.ui.chiSelector.setCurrentNode(sample[0])
    assert not ready.ui.applyButton.isEnabled()
    assert "would replace its own input" in ready.ui.statusLabel.text()


def test_a_wrong_b0_direction_is_refused_and_the_volume_s_own_is_shown(ready: Any) -> None:
    assert ready.ui.b0DirectionEdit.placeholderText() == "from the volume: 0 0 1"
    ready.ui.b0DirectionEdit.setText("0 0")
    assert not ready.ui.applyButton.isEnabled() and "three numbers" in ready.ui.statusLabel.text()
    ready.ui.b0DirectionEdit.setText("0, 0.1, 1")
    assert ready.ui.applyButton.isEnabled()


# -- scenes, parameters -----------------------------------------------------------------------------------------------


def test_parameters_come_back_with_the_scene(ready: Any, tmp_path_factory: Any, wait_until: Wait) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    ready.ui.unitSelector.setCurrentIndex(1)
    ready.ui.b0Spin.setValue(7.0)
    ready.ui.uncertaintyCheck.click()
    ready.ui.tileSelector.setCurrentIndex(3)
    ready.ui.windowSelector.setCurrentIndex(1)
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    assert ready.ui.fieldSelector.currentNode() is None
    slicer.util.loadScene(str(path))
    assert ready.ui.fieldSelector.currentNode().GetName() == "field"
    assert ready.ui.maskSelector.currentNode().GetName() == "mask"
    assert (ready.ui.unitSelector.currentText(), ready.ui.b0Spin.value()) == ("Hz", 7.0)
    assert ready.ui.tileSelector.currentText() == "160 voxels"
    assert not ready.ui.uncertaintyCheck.isChecked()
    assert ready.ui.windowSelector.currentText() == "−0.1 to 0.2 ppm"


def test_parameters_survive_a_reload_of_the_module(ready: Any) -> None:
    ready.ui.windowSelector.setCurrentIndex(2)
    ready.ui.uncertaintyCheck.click()
    ready.onReload()
    again = slicer.modules.IR2QSMWidget
    assert again is not ready
    again.enter()
    assert again.ui.windowSelector.currentIndex() == 2 and not again.ui.uncertaintyCheck.isChecked()
    assert again.ui.fieldSelector.currentNode().GetName() == "field"


def test_a_window_set_elsewhere_is_left_alone(ready: Any, wait_until: Wait) -> None:
    ready.ui.uncertaintyCheck.click()
    apply(ready, wait_until)
    display = slicer.util.getNode("field QSM IR2QSM").GetDisplayNode()
    display.SetWindowLevelMinMax(-0.02, 0.02)
    ready.ui.b0DirectionEdit.setText("0 0 1")
    assert display.GetWindowLevelMax() == pytest.approx(0.02)


# -- masks ------------------------------------------------------------------------------------------------------------


def segmentation_of(mask: Any) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    labels = slicer.util.arrayFromVolume(mask)
    labels[:, :, : labels.shape[2] // 2] *= 2
    slicer.util.arrayFromVolumeModified(mask)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(mask, node)
    return node


def test_a_segment_or_a_label_can_be_chosen(ready: Any, sample: Any, wait_until: Wait) -> None:
    mask = sample[1]
    node = segmentation_of(mask)
    half = slicer.util.arrayFromVolume(mask) == 2
    for chosen in (mask, node):  # the labelmap's labels have changed since it was chosen
        ready.ui.maskSelector.setCurrentNode(chosen)
        part = ready.ui.maskPartSelector
        assert not part.isHidden() and part.count() == 3
        part.setCurrentIndex(2)
        assert ready._parameters.maskPart == part.itemData(2) != ""
    ready.ui.uncertaintyCheck.click()
    n_colours = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")
    apply(ready, wait_until)
    values = slicer.util.arrayFromVolume(slicer.util.getNode("field QSM IR2QSM"))
    assert values[half].std() > 0.01 and not values[~half].any()
    assert not slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")[1:]  # none of the export stays
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == n_colours
    node.GetSegmentation().RemoveSegment(ready._parameters.maskPart)
    ready._update()
    assert not ready.ui.applyButton.isEnabled() and "no longer in" in ready.ui.maskNote.text()


def test_a_segmentation_on_another_grid_is_told_and_an_empty_segment_refused(
    ready: Any, sample: Any, wait_until: Wait
) -> None:
    node = segmentation_of(sample[1])
    ready.ui.maskSelector.setCurrentNode(node)
    assert ready.ui.maskNote.text() == "" and ready.ui.applyButton.isEnabled()
    identifier = node.GetSegmentation().AddEmptySegment("tumour", "tumour")
    ready.ui.maskPartSelector.setCurrentIndex(3)
    assert ready._parameters.maskPart == identifier and not ready.ui.applyButton.isEnabled()
    assert ready.ui.maskNote.text() == "'tumour' has no voxels; draw them, or choose another mask."
    drawn = slicer.util.arrayFromVolume(sample[1]) == 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn.astype(np.uint8), node, identifier, sample[1])
    assert ready.ui.applyButton.isEnabled() and ready.ui.maskNote.text() == ""
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros(drawn.shape, np.uint8), node, identifier, sample[1])
    assert not ready.ui.applyButton.isEnabled()
    ready.ui.maskPartSelector.setCurrentIndex(1)
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = np.eye(4)
    matrix[0, 3] = 1.5  # half a voxel
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(shift.GetID())
    ready._update()
    assert ready.ui.maskNote.text() == "The mask lies on another grid; it will be resampled to the field's."
    ready.ui.uncertaintyCheck.click()
    apply(ready, wait_until)
    told = "lies on another grid and was resampled to that of the field."
    assert told in ready.ui.statusLabel.text() and told in ready.ui.logText.toPlainText()
    values = slicer.util.arrayFromVolume(slicer.util.getNode("field QSM IR2QSM"))
    assert (values != 0).sum() == pytest.approx(drawn.sum(), rel=0.02) and values[drawn].std() > 0.01


def test_the_voxels_of_segments_are_those_that_slicer_exports(panel: Any, sample: Any) -> None:
    from IR2QSMGui.scene import masks

    node = segmentation_of(sample[1])
    first = node.GetSegmentation().GetNthSegmentID(0)
    overlapping = np.zeros(slicer.util.arrayFromVolume(sample[1]).shape, np.uint8)
    overlapping[10:40, 20:50, 15:45] = 1
    second = node.GetSegmentation().AddEmptySegment("box", "box")
    slicer.util.updateSegmentBinaryLabelmapFromArray(overlapping, node, second, sample[1])
    for segment in (first, second):
        found, told = masks.mask_on(node, segment, sample[0])
        assert np.array_equal(found, slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, sample[0]) != 0)
        assert told == ""
    both, _told = masks.mask_on(node, "", sample[0])
    assert np.array_equal(both > 0, (slicer.util.arrayFromVolume(sample[1]) > 0) | (overlapping > 0))


# -- devices, weights, log --------------------------------------------------------------------------------------------


def test_devices_are_listed_when_advanced_is_opened(
    ready: Any, wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    ready.ui.advancedSection.click()
    wait_until(lambda: "GB free" in ready.ui.deviceSelector.itemText(1), 60)
    assert ready.ui.deviceSelector.itemText(0) == "Automatic"
    kinds = [ready.ui.deviceSelector.itemData(i) for i in range(ready.ui.deviceSelector.count())]
    assert "cpu" in kinds
    if kinds == ["auto", "cpu"]:
        assert "so the CPU is used" in ready.ui.deviceNote.text()
    ready.ui.deviceSelector.setCurrentIndex(kinds.index("cpu"))
    assert ready._parameters.device == "cpu"
    ready.ui.displaySection.click()
    screenshot(ready.parent, "panel-advanced", 300)


def test_imported_weights_are_used_and_missed_when_gone(
    ready: Any, wait_until: Wait, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    bundled = Path(__file__).resolve().parents[2] / "Resources" / "Models" / "ir2qsm.safetensors"
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    path.write_bytes(bundled.read_bytes())
    path.with_suffix(".json").write_bytes(bundled.with_suffix(".json").read_bytes())
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *_: str(path)))
    ready.ui.importWeightsButton.click()
    assert ready.ui.weightsSelector.currentText() == "mine.safetensors"
    ready.ui.uncertaintyCheck.click()
    apply(ready, wait_until)
    chi = slicer.util.getNode("field QSM IR2QSM")
    assert chi.GetAttribute("IR2QSM.Method.weights") == "mine.safetensors"
    assert str(path.parent) not in ready.ui.logText.toPlainText()
    path.unlink()
    ready._update()
    assert not ready.ui.applyButton.isEnabled() and "are not there any more" in ready.ui.statusLabel.text()
    ready.ui.weightsSelector.setCurrentIndex(0)
    assert ready.ui.applyButton.isEnabled()


def test_a_checkpoint_that_is_none_is_refused_in_words(
    ready: Any, wait_until: Wait, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    path.write_bytes(b"not a checkpoint")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *_: str(path)))
    ready.ui.importWeightsButton.click()
    wait_until(lambda: "model.pth" in ready.ui.statusLabel.text() and "…" not in ready.ui.statusLabel.text(), 60)
    assert ready._parameters.weights == ""


def test_the_report_holds_no_name_and_no_folder(ready: Any, sample: Any, wait_until: Wait) -> None:
    from IR2QSMGui.run.worker import without_folders

    assert without_folders('File "/home/me/lib/x.py", line 3: C:\\Users\\me\\y.nrrd') == 'File "x.py", line 3: y.nrrd'
    for node, name in zip(sample, ("Patient Name", "Patient Mask"), strict=True):
        node.SetName(name)
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    shift.SetAndObserveMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.01, 1, 1, 1])))
    sample[1].SetAndObserveTransformNodeID(shift.GetID())
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    ready.exit()  # another module is entered meanwhile
    wait_until(lambda: not ready._apply.running, 120)
    ready.enter()
    ready.ui.copyReportButton.click()
    report = slicer.app.clipboard().text()
    assert report.startswith("IR2QSM, Slicer 5.12") and "--units ppm" in report and "Done in" in report
    assert "The mask 'mask' lies on another grid" in report
    assert "Patient" not in report and os.sep not in report.replace("n/a", "")


# -- how it looks -----------------------------------------------------------------------------------------------------


def test_nothing_is_clipped_at_300_pixels(ready: Any, screenshot: Callable[..., Path], wait_until: Wait) -> None:
    ready.ui.unitSelector.setCurrentIndex(2)
    ready.ui.referenceSelector.setCurrentIndex(2)
    tick(ready.ui.methodList, "ir2qsm", "tikhonov", "medi")
    for name in ("methods", "display", "compare", "regions", "advanced", "log"):
        getattr(ready.ui, f"{name}Section").click()
    wait_until(lambda: "GB free" in ready.ui.deviceSelector.itemText(1), 60)
    screenshot(ready.parent, "panel-open", 300)
    seen = 0
    for widget in ready.parent.findChildren(QWidget):
        if not widget.isVisibleTo(ready.parent) or not isinstance(widget, QLabel | QAbstractButton | QComboBox):
            continue
        text = widget.currentText() if isinstance(widget, QComboBox) else widget.text()
        room = widget.width() - (40 if isinstance(widget, QComboBox) else 0)
        if isinstance(widget, QLabel) and widget.wordWrap():
            assert widget.height() >= widget.heightForWidth(widget.width()), text
        elif text and not text.startswith("Intel") and widget is not ready.ui.deviceSelector:
            assert QFontMetrics(widget.font()).horizontalAdvance(text.replace("&", "")) <= room, text
            seen += 1
    assert seen > 40


def test_every_control_says_what_it_does(panel: Any) -> None:
    kinds = r"Q(?:ComboBox|CheckBox|PushButton|ListWidget|DoubleSpinBox|\w+Edit)|qMRMLNodeComboBox"
    names = re.findall(
        rf'class="(?:{kinds})" name="(\w+)"',
        Path(panel.resourcePath("UI/IR2QSM.ui")).read_text(encoding="utf-8"),
    )
    assert len(names) > 20
    for name in names:
        assert len(getattr(panel.ui, name).toolTip()) > 20, name
    tabs = re.findall(r"<tabstop>(\w+)</tabstop>", Path(panel.resourcePath("UI/IR2QSM.ui")).read_text(encoding="utf-8"))
    assert set(tabs) == set(names) and tabs[0] == "inputSelector"
    assert panel.ui.footLabel.text() == "Research software, not for diagnosis."
