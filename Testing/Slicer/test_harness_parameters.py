"""The harness: parameters on a parameter node, bound to widgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import slicer
import slicer.packaging
from PySide6.QtWidgets import QApplication


def test_parameters_and_widgets_follow_each_other(toy: Any, volume: Callable[..., Any]) -> None:
    node = volume("chi")
    toy.node.field = node
    toy.node.strength, toy.node.colour = 1.5, type(toy.node.colour)["RED"]
    toy.node.legend, toy.node.note = False, "text"
    assert toy.ui.field.currentNode() is node
    assert (toy.ui.strength.value(), toy.ui.colour.currentText()) == (1.5, "RED")
    assert not toy.ui.legend.isChecked() and toy.ui.note.text() == "text"
    toy.ui.strength.setValue(0.25)
    toy.ui.colour.setCurrentIndex(0)
    toy.ui.legend.click()
    assert (toy.node.strength, toy.node.colour.name, toy.node.legend) == (0.25, "GREY", True)


def test_a_default_is_where_it_was_said(toy: Any) -> None:
    assert (toy.node.strength, toy.node.legend, toy.node.note) == (0.5, True, "")
    assert toy.node.colour.name == "GREY" and toy.node.field is None and toy.node.either is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("strength", 2.5, ValueError),
        ("strength", "1", TypeError),
        ("note", 1, TypeError),
        ("note", None, ValueError),
        ("legend", 1, TypeError),
        ("colour", "RED", TypeError),
        ("field", 3, TypeError),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(toy: Any, name: str, value: object, error: type[Exception]) -> None:
    before = getattr(toy.node, name)
    with pytest.raises(error):
        setattr(toy.node, name, value)
    assert getattr(toy.node, name) == before


def test_nodes_of_several_classes_need_none_among_them(scene: Any) -> None:
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    either = slicer.vtkMRMLLabelMapVolumeNode | slicer.vtkMRMLSegmentationNode
    wrapped = parameterNodeWrapper(type("Wrapped", (), {"__annotations__": {"mask": either}}))
    with pytest.raises((TypeError, ValueError)):
        wrapped(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    wrapped = parameterNodeWrapper(type("Wrapped", (), {"__annotations__": {"mask": either | None}}))
    parameters = wrapped(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    assert parameters.mask is None
    parameters.mask = mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert parameters.mask is mask
    selector = slicer.qMRMLNodeComboBox()
    selector.setProperty("SlicerParameterName", "mask")
    selector.setNoneEnabled(True)
    selector.setMRMLScene(slicer.mrmlScene)
    tag = parameters.connectGui(SimpleNamespace(selector=selector))
    assert selector.currentNode() is mask
    selector.setCurrentNode(None)
    assert parameters.mask is None
    parameters.disconnectGui(tag)
    selector.setMRMLScene(None)


def test_one_change_of_many_parameters_is_one_event(toy: Any) -> None:
    events: list[str] = []
    tag = toy.node.AddObserver("ModifiedEvent", lambda *_: events.append(toy.ui.note.text()))
    with slicer.util.NodeModify(toy.node):
        toy.node.strength, toy.node.note = 0.1, "b"
    toy.node.RemoveObserver(tag)
    assert len(events) == 1


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
def test_parameters_are_saved_with_the_scene(toy: Any, volume: Callable[..., Any], tmp_path: Path, ending: str) -> None:
    toy.node.field, toy.node.strength, toy.node.note = volume("kept"), 1.25, "kept too"
    path = tmp_path / f"saved.{ending}"
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        assert slicer.util.saveNode(node, str(tmp_path / f"{node.GetName()}.nrrd"))
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    assert (toy.node.field, toy.node.strength, toy.node.note) == (None, 0.5, "")
    slicer.util.loadScene(str(path))
    assert toy.node.field.GetName() == "kept" and (toy.node.strength, toy.node.note) == (1.25, "kept too")
    assert toy.ui.field.currentNode() is toy.node.field and toy.ui.strength.value() == 1.25


def test_a_reloaded_module_keeps_its_parameters(toy: Any) -> None:
    toy.node.note = "kept"
    toy.onReload()
    reloaded = slicer.modules.ToyWidget
    assert toy.clean and reloaded is not toy
    reloaded.enter()
    assert reloaded.node.note == "kept" and reloaded.ui.note.text() == "kept"


def test_a_widget_that_is_gone_hears_nothing(toy: Any) -> None:
    node = toy.logic.getParameterNode()
    for slot in list(slicer.app.slots):
        slot("Toy")
    toy.ui.note.deleteLater()
    QApplication.sendPostedEvents()
    node.note = "nobody listens"
    assert toy.clean
