"""*Open in comparison* in the context menu of Slicer's Data tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slicer

from Testing.Slicer.steps import ticked
from Testing.Slicer.view_steps import shown

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def menu(panel: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The menu's entry as it is for a node, whose item is the current one."""
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: None)
    (plugin,) = slicer.qSlicerSubjectHierarchyPluginHandler.plugins
    (action,) = plugin.python.itemContextMenuActions()

    def entry(node: Any) -> Any:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        monkeypatch.setattr(slicer.qSlicerSubjectHierarchyPluginHandler, "item", item)
        plugin.python.showContextMenuActionsForItem(item)
        return action

    return entry


@pytest.fixture
def maps(panel: Any, volume: Callable[..., Any]) -> list[Any]:
    """Three maps of one field and one of another."""
    from IR2QSMGui.scene import nodes

    field, other_field = volume("field"), volume("other field")
    made = [volume(name) for name in ("a", "b", "c", "d")]
    for node, of in zip(made, (field, field, field, other_field), strict=True):
        node.SetAttribute(nodes.KIND, nodes.CHI)
        node.SetNodeReferenceID(nodes.FIELD, of.GetID())
    return made


def test_it_is_offered_for_maps_only(
    menu: Callable[..., Any], maps: list[Any], volume: Callable[..., Any], scene: Any
) -> None:
    assert menu(maps[0]).isVisible() and menu(maps[0]).text() == "Open in comparison"
    uncertainty = volume("uncertainty")
    uncertainty.SetAttribute("IR2QSM.Kind", "uncertainty")
    segments = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    for node in (volume("plain"), uncertainty, segments):
        assert not menu(node).isVisible(), node.GetName()


def test_a_map_is_shown_beside_the_others_of_its_field(menu: Callable[..., Any], panel: Any, maps: list[Any]) -> None:
    menu(maps[1]).trigger()
    assert ticked(panel.ui.compareList) == {"a", "b", "c"} and not panel.ui.compareSection.property("collapsed")
    assert [shown(i).GetName() for i in (1, 2, 3)] == ["a", "b", "c"]
    panel._comparison.tick(maps[:2])
    menu(maps[3]).trigger()
    assert ticked(panel.ui.compareList) == {"a", "b", "d"}
    assert [shown(i).GetName() for i in (1, 2, 3)] == ["a", "b", "d"]


def test_a_map_alone_is_shown_and_another_asked_for(menu: Callable[..., Any], panel: Any, maps: list[Any]) -> None:
    menu(maps[3]).trigger()
    assert ticked(panel.ui.compareList) == {"d"} and shown(1) is maps[3]
    assert panel.ui.compareNote.text() == "Tick another map to compare it with."


def test_without_the_application_nothing_is_registered(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from IR2QSMGui.panel import data_tree

    monkeypatch.setattr(slicer.qSlicerSubjectHierarchyScriptedPlugin, "setPythonSource", lambda self, path: False)
    assert not data_tree.register()
    monkeypatch.delattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin")
    assert not data_tree.register()
