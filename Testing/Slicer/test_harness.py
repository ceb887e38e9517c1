"""The harness itself, on a module that is thrown away: what a module's tests may lean on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qt
import slicer
import slicer.packaging
from PySide6.QtWidgets import QComboBox

STANDINS = Path(__file__).resolve().parent / "standins"


# The panel.


def test_a_panel_is_loaded_and_a_click_reaches_its_code(toy: Any, wait_until: Callable[..., None]) -> None:
    toy.ui.note.setText("me")
    toy.ui.strength.setValue(0.0)
    toy.ui.apply.click()
    wait_until(lambda: toy.code is not None, 60)
    assert (toy.code, toy.lines) == (0, ["me"])
    assert slicer.modules.ToyInstance.started


def test_a_selector_follows_the_scene(toy: Any, volume: Callable[..., Any]) -> None:
    box = toy.ui.field.findChild(QComboBox)
    assert toy.ui.field.currentNode() is None and box.count() == 1
    first, second = volume("first"), volume("second")
    assert [box.itemText(i) for i in range(box.count())] == ["None", "first", "second"]
    before = toy.changes
    box.setCurrentIndex(2)
    assert toy.node.field is second and toy.changes > before
    second.SetName("renamed")
    assert box.currentText() == "renamed"
    slicer.mrmlScene.RemoveNode(second)
    assert toy.ui.field.currentNode() is first
    slicer.mrmlScene.Clear(False)
    assert toy.ui.field.currentNode() is None and box.count() == 1


def test_a_selector_without_a_scene_is_dead(app: Any, volume: Callable[..., Any]) -> None:
    volume("there")
    selector = slicer.qMRMLNodeComboBox()
    selector.setNodeTypes(["vtkMRMLScalarVolumeNode"])
    assert not selector.isEnabled()
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.isEnabled() and selector.currentNode().GetName() == "there"
    made = selector.addNode()
    assert selector.currentNode() is made and selector.currentNodeID == made.GetID()
    selector.setMRMLScene(None)


def test_a_folded_section_takes_no_room(toy: Any, tmp_path: Path, screenshot: Callable[..., Path]) -> None:
    screenshot(toy.parent, "harness-folded", 300)
    folded = toy.parent.height()
    assert toy.ui.strength.isHidden()
    toy.ui.more.click()
    path = screenshot(toy.parent, "harness-unfolded", 300)
    assert not toy.ui.strength.isHidden() and toy.parent.height() > folded + 50
    picture = qt.QImage(str(path))
    assert picture.width() == 300 and len({picture.pixel(x, y) for x in range(0, 300, 3) for y in range(0, 60, 3)}) > 3


@pytest.mark.parametrize("what", ["getter", "value", "assignment", "attribute", "string", "exec"])
def test_what_fails_in_slicer_or_in_pyside_fails_here(toy: Any, what: str) -> None:
    with pytest.raises(AttributeError):
        toy.read_wrongly(what)
    assert toy.read_wrongly("lawful") == "x"


def test_nothing_of_pyside_is_in_qt() -> None:
    for name in ("Signal", "Slot", "Property"):
        assert not hasattr(qt, name)


# Processes.


def test_a_killed_process_is_reported(toy: Any, wait_until: Callable[..., None]) -> None:
    toy.node.strength, toy.node.note = 2.0, "killed"
    toy.ui.apply.click()
    wait_until(lambda: toy.lines, 60)
    toy.process.kill()
    wait_until(lambda: toy.code is not None, 60)
    assert toy.code == -9


# Dialogs, packages, sample data.


@pytest.mark.parametrize(("button", "answer"), [("OK", True), ("Cancel", False)])
def test_a_dialog_is_answered_by_a_click(dialogs: Any, scene: Any, button: str, answer: bool) -> None:
    dialogs.answer(button)
    assert slicer.util.confirmOkCancelDisplay("Install?") is answer
    assert dialogs.texts == ["Install?\n"]


def test_an_error_is_shown(dialogs: Any, scene: Any) -> None:
    dialogs.answer("OK")
    slicer.util.errorDisplay("It failed", detailedText="why")
    assert dialogs.texts == ["It failed\nwhy"]


def test_declined_packages_are_an_error_and_not_installed(dialogs: Any, scene: Any, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("# needed\nnumpy>=1.20\nno-such-package-anywhere>=1\n")
    wanted = slicer.packaging.load_requirements(tmp_path / "r.txt")
    assert [slicer.packaging.pip_check(one) for one in wanted] == [True, False]
    dialogs.answer("Cancel")
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure(wanted, requester="Toy")
    assert "no-such-package-anywhere" in dialogs.texts[0]
    slicer.packaging.pip_ensure(wanted[:1], requester="Toy")


def test_sample_data_is_registered_once_and_loaded(scene: Any, volume: Callable[..., Any], tmp_path: Path) -> None:
    import SampleData

    path = tmp_path / "a.nrrd"
    assert slicer.util.saveNode(volume("saved"), str(path))
    for _ in range(2):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="Toys",
            sampleName="A",
            uris=[path.as_uri()],
            fileNames=["a.nrrd"],
            nodeNames=["a"],
            checksums=[f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"],
        )
    assert len(slicer.modules.sampleDataSources["Toys"]) == 1
    (node,) = SampleData.SampleDataLogic().downloadSamples("A")
    assert node.GetName() == "a" and slicer.util.arrayFromVolume(node).shape == (16, 20, 24)


# The views.


def test_a_layout_makes_its_views(scene: Any, volume: Callable[..., Any]) -> None:
    manager = slicer.app.layoutManager()
    assert set(manager.sliceViewNames()) == {"Red", "Green", "Yellow"}
    slicer.util.setSliceViewerLayers(background=volume("x"), fit=True)
    for name in manager.sliceViewNames():
        assert manager.sliceWidget(name).sliceLogic().GetBackgroundLayer().GetVolumeNode().GetName() == "x"


# Nothing is kinder or heavier than it must be.


def test_the_stand_ins_are_small() -> None:
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in STANDINS.rglob("*.py")) < 700


def test_the_harness_loads_no_torch() -> None:
    code = "import sys; from Testing.Slicer import harness; harness.install(); sys.exit('torch' in sys.modules)"
    root = STANDINS.parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True)


def test_a_slice_picture_shows_window_colours_and_legend(
    scene: Any, volume: Callable[..., Any], render_slices: Callable[..., Path]
) -> None:
    grey, colour = volume("grey"), volume("colour")
    for node, table in ((grey, "Grey"), (colour, "Rainbow")):
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(-0.1, 0.1)
        node.GetDisplayNode().SetAndObserveColorNodeID(f"vtkMRMLColorTableNode{table}")
    plain = qt.QImage(str(render_slices([grey, colour], "harness-plain")))
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(grey)
    legend.SetTitleText("χ [ppm]")
    with_legend = qt.QImage(str(render_slices([grey, colour], "harness-legend")))
    grey.GetDisplayNode().SetWindowLevelMinMax(-0.1, 0.0)
    windowed = qt.QImage(str(render_slices([grey, colour], "harness-window")))

    def colours(picture: Any, columns: range) -> set[int]:
        return {picture.pixel(x, y) for x in columns for y in range(60, 280, 4)}

    assert plain.width() == 2 * 320 + 4
    middle = qt.QColor(plain.pixel(160, 160))
    assert abs(middle.red() - 128) < 12 and middle.red() == middle.green() == middle.blue()
    assert any(len({qt.QColor(c).red(), qt.QColor(c).blue()}) == 2 for c in colours(plain, range(330, 640, 8)))
    assert colours(with_legend, range(240, 320)) - colours(plain, range(240, 320))
    assert qt.QColor(windowed.pixel(160, 160)).red() > 240


def test_a_warning_of_mrml_is_collected(scene: Any, messages: Any) -> None:
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(None)
    assert len(messages.texts) == 1 and "Invalid scene given" in messages.texts[0]
    messages.clear()


def test_a_loaded_labelmap_lies_on_top_and_renaming_a_volume_changes_linked_views(
    scene: Any, volume: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = volume("first"), volume("second")
    names = slicer.app.layoutManager().sliceViewNames()
    views = [slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode() for name in names]
    for view in views:
        view.SetLinkedControl(True)
        view.SetHotLinkedControl(True)
        view.SetBackgroundVolumeID(first.GetID())
    views[1].SetBackgroundVolumeID(second.GetID())
    second.SetName("renamed")
    assert {view.GetBackgroundVolumeID() for view in views} == {second.GetID()}
    assert slicer.util.saveNode(first, str(tmp_path / "labels.nrrd"))
    labels = slicer.util.loadVolume(str(tmp_path / "labels.nrrd"), {"labelmap": True})
    assert {view.GetLabelVolumeID() for view in views} == {labels.GetID()} and views[0].GetLabelOpacity() == 1.0
