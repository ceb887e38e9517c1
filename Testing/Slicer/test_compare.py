"""Maps beside each other: linked views, one window, differences, two that alternate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.Slicer.slice_pictures import view_image
from Testing.Slicer.steps import tick
from Testing.Slicer.view_steps import label, shown, view, window

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def ticked(ticks: Any) -> list[str]:
    return [ticks.item(i).text() for i in range(ticks.count()) if ticks.item(i).checkState() == qt.Qt.Checked]


@pytest.fixture
def maps(panel: Any) -> list[Any]:
    """Three maps of one grid, and one of another."""
    rng = np.random.default_rng(0)
    made = [
        slicer.util.addVolumeFromArray((0.1 * rng.normal(size=(16, 20, 24))).astype(np.float32), name=name)
        for name in ("one", "two", "three")
    ]
    made.append(slicer.util.addVolumeFromArray(np.zeros((10, 10, 10), np.float32), name="elsewhere"))
    for node in made:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(-0.1, 0.1)
    return made


def test_ticked_maps_are_laid_out_in_views_that_move_together(panel: Any, maps: list[Any]) -> None:
    ui = panel.ui
    assert not ui.compareButton.isEnabled()
    tick(ui.compareList, "one")
    assert not ui.compareButton.isEnabled()
    tick(ui.compareList, "one", "two", "three")
    ui.compareButton.click()
    assert [shown(i) for i in (1, 2, 3)] == maps[:3] and [label(i) for i in (1, 2, 3)] == ["one", "two", "three"]
    view(3).mrmlSliceCompositeNode().SetBackgroundVolumeID(maps[3].GetID())  # chosen in the view itself
    assert label(3) == "elsewhere"
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    before = red.GetFieldOfView()[1]
    moved = view(2)
    moved.sliceLogic().StartSliceOffsetInteraction()
    moved.sliceLogic().SetSliceOffset(4.0)
    moved.sliceLogic().EndSliceOffsetInteraction()
    moved.sliceLogic().StartSliceNodeInteraction(slicer.vtkMRMLSliceNode.FieldOfViewFlag)
    fov = moved.mrmlSliceNode().GetFieldOfView()
    moved.mrmlSliceNode().SetFieldOfView(fov[0] / 2, fov[1] / 2, fov[2])
    moved.sliceLogic().EndSliceNodeInteraction()
    for i in (1, 2, 3):
        assert view(i).mrmlSliceNode().GetSliceOffset() == pytest.approx(4.0)
        assert view(i).mrmlSliceNode().GetFieldOfView()[1] == pytest.approx(fov[1] / 2)
    assert red.GetFieldOfView()[1] == before  # Slicer's own views stay
    tick(ui.compareList, "one", "two")
    assert shown(1) is maps[0] and shown(2) is maps[1]
    assert view(2).mrmlSliceNode().GetSliceOffset() == pytest.approx(4.0)  # what was looked at is kept


def test_one_window_is_shared_while_maps_are_compared(panel: Any, maps: list[Any]) -> None:
    tick(panel.ui.compareList, "one", "two")
    panel.ui.compareButton.click()
    maps[1].GetDisplayNode().SetWindowLevelMinMax(-0.02, 0.3)
    assert window(maps[0]) == (-0.02, 0.3) and window(maps[2]) == (-0.1, 0.1)
    panel.exit()
    maps[0].GetDisplayNode().SetWindowLevelMinMax(-0.5, 0.5)  # from another module, too
    assert window(maps[1]) == (-0.5, 0.5)
    panel.enter()
    tick(panel.ui.compareList, "one", "three")
    maps[1].GetDisplayNode().SetWindowLevelMinMax(-0.3, 0.3)
    assert window(maps[0]) == window(maps[2]) == (-0.5, 0.5)


def test_differences_are_shown_and_removed(panel: Any, maps: list[Any]) -> None:
    ui, (one, two, three, _elsewhere) = panel.ui, maps
    tick(ui.compareList, "one", "two", "three")
    ui.compareButton.click()
    ui.baseMapSelector.setCurrentNode(two)
    assert shown(2) is two
    before = {n.GetID() for n in slicer.mrmlScene.GetNodes()}
    ui.differenceCheck.click()
    assert shown(1) is two and [label(i) for i in (1, 2, 3)] == ["two", "one − two", "three − two"]
    differences = slicer.util.arrayFromVolume(shown(3))
    assert np.array_equal(differences, slicer.util.arrayFromVolume(three) - slicer.util.arrayFromVolume(two))
    assert "one − two" not in [ui.compareList.item(i).text() for i in range(ui.compareList.count())]
    slicer.util.updateVolumeFromArray(three, slicer.util.arrayFromVolume(two))
    assert not slicer.util.arrayFromVolume(shown(3)).any()  # a map that was made anew
    ui.differenceCheck.click()
    assert [shown(i) for i in (1, 2, 3)] == [one, two, three]
    assert {n.GetID() for n in slicer.mrmlScene.GetNodes()} ^ before == set()
    tick(ui.compareList, "one", "elsewhere")
    ui.differenceCheck.click()
    assert ui.compareNote.text() == "'elsewhere' lies on another grid than 'two'; no difference can be shown."


def test_two_maps_alternate_by_button_and_key(panel: Any, maps: list[Any], app: Any) -> None:
    ui = panel.ui
    assert not ui.blinkButton.isEnabled()
    tick(ui.compareList, "one", "two", "three")
    assert ui.baseMapSelector.currentNode() is maps[0] and ui.otherMapSelector.currentNode() is maps[1]
    ui.otherMapSelector.setCurrentNode(maps[2])
    ui.compareButton.click()
    view(1).sliceLogic().SetSliceOffset(3.0)
    pictures = []
    for press in (ui.blinkButton.click, panel._comparison._shortcut.activated.emit, ui.blinkButton.click):
        press()
        pictures.append((shown(1).GetName(), label(1), view(1).mrmlSliceNode().GetSliceOffset()))
    assert pictures == [("one", "one", 3.0), ("three", "three", 3.0), ("one", "one", 3.0)]
    first = view_image(view(1))
    ui.blinkButton.click()
    assert (view_image(view(1)) != first).any()
    assert panel._comparison._shortcut.key().toString() == "Shift+B"
    panel.exit()
    assert panel._comparison._shortcut is None
    panel.enter()
    ui.compareButton.click()
    assert [shown(i) for i in (1, 2, 3)] == maps[:3]
    assert [view(i).mrmlSliceNode().GetSliceOffset() for i in (1, 2, 3)] == [3.0] * 3


def test_a_renamed_map_keeps_its_view_and_takes_its_name_along(panel: Any, maps: list[Any]) -> None:
    tick(panel.ui.compareList, "one", "two", "three")
    panel.ui.compareButton.click()
    maps[1].SetName("renamed")
    assert [shown(i) for i in (1, 2, 3)] == maps[:3] and [label(i) for i in (1, 2, 3)] == ["one", "renamed", "three"]
    panel.ui.differenceCheck.click()
    maps[2].SetName("renamed too")
    assert [label(i) for i in (1, 2, 3)] == ["one", "renamed − one", "renamed too − one"]
    panel.exit()  # maps are renamed in the Data module
    maps[0].SetName("first")
    assert shown(1) is maps[0] and label(1) == "first"


def test_a_legend_is_removed_before_its_volume(panel: Any, maps: list[Any]) -> None:
    from IR2QSMGui.parameters import Colours
    from IR2QSMGui.scene import display

    for node in maps[:2]:
        display.show_map(node, (-0.1, 0.1), Colours.GREY, True)
    tick(panel.ui.compareList, "one", "two")
    panel.ui.compareButton.click()
    panel.ui.differenceCheck.click()
    removed: list[str] = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def note(_scene: Any, _event: str, node: Any) -> None:
        removed.append(node.GetClassName())

    slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeRemovedEvent, note)
    panel.ui.differenceCheck.click()  # Slicer files a legend under its volume, and warns where that is gone
    first_legend = removed.index("vtkMRMLColorLegendDisplayNode")
    assert first_legend < removed.index("vtkMRMLScalarVolumeNode") < removed.index("vtkMRMLScalarVolumeDisplayNode")


def test_differences_come_back_with_the_scene(panel: Any, maps: list[Any], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    tick(panel.ui.compareList, "one", "two")
    panel.ui.compareButton.click()
    panel.ui.differenceCheck.click()
    known = slicer.util.arrayFromVolume(shown(2)).copy()
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(path))
    assert panel.ui.differenceCheck.isChecked() and [label(1), label(2)] == ["one", "two − one"]
    assert np.array_equal(slicer.util.arrayFromVolume(shown(2)), known)
    panel.ui.differenceCheck.click()
    assert [label(1), label(2)] == ["one", "two"]


def test_eleven_maps_are_too_many(panel: Any, maps: list[Any]) -> None:
    for n in range(8):
        slicer.modules.volumes.logic().CloneVolume(maps[0], f"more {n}")
    names = [panel.ui.compareList.item(i).text() for i in range(panel.ui.compareList.count())]
    tick(panel.ui.compareList, *names[:11])
    assert panel.ui.compareNote.text() == "At most 10 maps can be shown." and not panel.ui.compareButton.isEnabled()
    tick(panel.ui.compareList, *names[:10])
    panel.ui.compareButton.click()
    assert [shown(i).GetName() for i in range(1, 11)] == names[:10]


def test_what_is_compared_comes_back_with_the_scene(panel: Any, maps: list[Any], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    tick(panel.ui.compareList, "one", "three")
    panel.ui.baseMapSelector.setCurrentNode(maps[2])
    panel.ui.compareButton.click()
    panel.ui.differenceCheck.click()
    panel.ui.differenceCheck.click()
    arrangement = slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer.util.loadScene(str(path))
    assert ticked(panel.ui.compareList) == ["one", "three"]
    assert panel.ui.baseMapSelector.currentNode().GetName() == "three"
    assert slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement() == arrangement
    assert [shown(i).GetName() for i in (1, 2)] == ["one", "three"]
