"""Presets: settings that are chosen together."""

from __future__ import annotations

from typing import Any

import pytest
import slicer

from Testing.Slicer.steps import arguments

pytestmark = pytest.mark.usefixtures("clean")

BEST, FAST, CUSTOM = range(3)


@pytest.fixture
def informed(panel: Any) -> Any:
    """The panel, with what the library says of two methods."""
    words = {"sentence": "A method.", "citation": "A paper"}
    learned = {"options": {"weights": {}, "network_only": {}}, "outputs": ["uncertainty"], **words}
    panel._information.answer = {
        "methods": {"ir2qsm": learned, "tikhonov": {"options": {"regularisation": {}}, **words}}
    }
    panel._update()
    return panel


def settings(panel: Any) -> tuple:
    parameters = panel._parameters
    return parameters.methods, parameters.automatic, parameters.uncertainty


def test_a_preset_sets_the_settings_that_are_seen(informed: Any) -> None:
    ui = informed.ui
    assert [ui.presetSelector.itemText(i) for i in range(3)] == ["Best (minutes)", "Fast (seconds)", "Custom"]
    assert ui.presetSelector.currentIndex() == BEST and settings(informed) == ("ir2qsm", False, True)
    ui.presetSelector.setCurrentIndex(FAST)
    assert settings(informed) == ("tikhonov", True, False)
    assert not ui.uncertaintyCheck.isChecked() and ui.automaticCheck.isChecked()
    assert ui.methodsSection.text() == "Methods: tikhonov"
    assert "--method tikhonov " in arguments(informed) and "--regularisation auto" in arguments(informed)
    informed._parameters.weights = "mine.safetensors"
    ui.presetSelector.setCurrentIndex(BEST)
    assert settings(informed) == ("ir2qsm", False, True) and informed._parameters.weights == ""
    assert informed._choice().options()[0].uncertainty


@pytest.mark.parametrize("control", ["uncertaintyCheck", "consistencyCheck", "automaticCheck"])
def test_another_setting_makes_it_custom(informed: Any, control: str) -> None:
    ui = informed.ui
    ui.windowSelector.setCurrentIndex(1)
    ui.unitSelector.setCurrentIndex(1)
    assert ui.presetSelector.currentIndex() == BEST  # neither belongs to a preset
    getattr(ui, control).setChecked(not getattr(ui, control).isChecked())
    changed = settings(informed)
    assert ui.presetSelector.currentIndex() == CUSTOM and changed == settings(informed)
    ui.presetSelector.setCurrentIndex(BEST)
    assert settings(informed) == ("ir2qsm", False, True) and ui.consistencyCheck.isChecked()


def test_the_preset_comes_back_with_the_scene(informed: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    informed.ui.presetSelector.setCurrentIndex(FAST)
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    assert informed.ui.presetSelector.currentIndex() == BEST
    slicer.util.loadScene(str(path))
    assert informed.ui.presetSelector.currentIndex() == FAST and settings(informed) == ("tikhonov", True, False)


def test_settings_of_a_scene_without_a_preset_stay(informed: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrml"
    node = informed.logic.getParameterNode()
    informed.exit()
    node.SetParameter("methods", "tkd tv")
    node.UnsetParameter("preset")
    assert slicer.util.saveScene(str(path))
    informed.enter()
    assert informed.ui.presetSelector.currentIndex() == CUSTOM and settings(informed)[0] == "tkd tv"
    informed.ui.presetSelector.setCurrentIndex(FAST)
    slicer.util.loadScene(str(path))
    assert informed.ui.presetSelector.currentIndex() == CUSTOM and settings(informed)[0] == "tkd tv"
