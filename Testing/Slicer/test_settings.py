"""Settings survive scenes and reloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slicer

from Testing.Slicer.steps import apply, tick

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


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
    reloaded = slicer.modules.IR2QSMWidget
    assert reloaded is not ready
    reloaded.enter()
    assert reloaded.ui.windowSelector.currentIndex() == 2 and not reloaded.ui.uncertaintyCheck.isChecked()
    assert reloaded.ui.fieldSelector.currentNode().GetName() == "field"


def test_a_window_set_elsewhere_is_left_alone(ready: Any, wait_until: Wait) -> None:
    tick(ready.ui.methodList, "tkd")
    apply(ready, wait_until)
    display = slicer.util.getNode("field QSM TKD").GetDisplayNode()
    display.SetWindowLevelMinMax(-0.02, 0.02)
    ready.ui.b0DirectionEdit.setText("0 0 1")
    assert display.GetWindowLevelMax() == pytest.approx(0.02)


def test_settings_of_the_version_before_are_understood(panel: Any) -> None:
    panel.exit()
    node = panel.logic.getParameterNode()
    for name, value in (("tile", "T160"), ("judged", "vtkMRMLScalarVolumeNode7"), ("window", "WIDE")):
        node.SetParameter(name, value)
    for name in ("tileSize", "recognisedField"):
        node.UnsetParameter(name)
    parameters = panel.logic.parameters()
    assert (parameters.tileSize, parameters.recognisedField) == ("160", "vtkMRMLScalarVolumeNode7")
    panel.enter()
    assert panel.ui.tileSelector.currentText() == "160 voxels" and panel.ui.windowSelector.currentIndex() == 2
    node.SetParameter("tile", "AUTO")
    panel.enter()
    assert panel.logic.parameters().tileSize == "160"  # what was chosen since


def test_a_status_does_not_outlive_its_scene(panel: Any, sample: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    for replace_scene in (lambda: slicer.mrmlScene.Clear(False), lambda: slicer.util.loadScene(str(path))):
        panel._apply.say("Done in 0:04.")
        replace_scene()
        assert panel.ui.statusLabel.text() == ""


def test_nothing_is_chosen_in_place_of_a_node_that_is_removed(panel: Any, sample: Any) -> None:
    slicer.modules.volumes.logic().CloneVolume(sample[0], "other")
    panel.ui.fieldSelector.setCurrentNode(sample[0])
    panel.ui.maskSelector.setCurrentNode(sample[1])
    for node, selector in zip(sample, (panel.ui.fieldSelector, panel.ui.maskSelector), strict=True):
        slicer.mrmlScene.RemoveNode(node)
        assert selector.currentNode() is None
    assert panel._parameters.field is None and panel._parameters.mask is None
