"""Field and mask as they are chosen: what they are recognised as, and what is refused."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


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


def test_an_empty_mask_is_refused_and_one_on_another_grid_noted(ready: Any, sample: Any) -> None:
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


def test_a_wrong_b0_direction_is_refused_and_that_of_the_volume_shown(ready: Any) -> None:
    assert ready.ui.b0DirectionEdit.placeholderText() == "from the volume: 0 0 1"
    ready.ui.b0DirectionEdit.setText("0 0")
    assert not ready.ui.applyButton.isEnabled() and "three numbers" in ready.ui.statusLabel.text()
    ready.ui.b0DirectionEdit.setText("0, 0.1, 1")
    assert ready.ui.applyButton.isEnabled()


@pytest.mark.parametrize("attribute", ["IR2QSM.Kind", "IR2QSM.OnTheWay"])  # the latter of the version before
@pytest.mark.parametrize(("kind", "name", "row"), [("totalfield", "Total field", 1), ("localfield", "Local field", 0)])
def test_kind_and_unit_of_a_field_made_here_come_from_its_node(
    panel: Any, sample: Any, wait_until: Wait, attribute: str, kind: str, name: str, row: int
) -> None:
    from IR2QSMGui.scene import nodes

    made = nodes.add_intermediate(sample[0], sample[0], kind, name="made")
    made.RemoveAttribute("IR2QSM.Kind")
    made.SetAttribute(attribute, kind)
    panel.ui.unitSelector.setCurrentIndex(2)
    panel.ui.inputSelector.setCurrentIndex(1 - row)
    panel.ui.fieldSelector.setCurrentNode(made)
    assert panel.ui.inputSelector.currentText() == name and panel.ui.unitSelector.currentText() == "ppm"
    assert panel.ui.fieldNote.text().startswith(f"A {name.lower()} in ppm that was made here")
    assert "color" not in panel.ui.fieldNote.styleSheet()
    panel.ui.inputSelector.setCurrentIndex(1 - row)
    assert panel.ui.inputSelector.currentIndex() == 1 - row  # a correction stays
    made.SetAttribute(attribute, None)
    made.SetAttribute("IR2QSM.Kind", "chi")
    panel._update()
    assert panel.ui.fieldNote.text() == "This is a susceptibility map; choose phase or a field."
