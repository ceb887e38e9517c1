"""From phase in the scene to χ: the volumes of a scan and what is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import slicer

from Testing.Slicer.steps import ROOT, arguments, items_of, tick, ticked

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")
KEPT = ("totalfield", "localfield", "mask", "residual", "quality")


def test_phase_is_recognised_and_what_is_missing_is_asked_for(
    chosen: Any, scan: dict[str, Any], wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    ui = chosen.ui
    wait_until(lambda: chosen._information.echo_time_range is not None)  # the library says which times can be
    assert ui.inputSelector.currentText() == "Wrapped phase" and ui.fieldLabel.text() == "Ph&ase:"
    assert "Its numbers are radians, ±π." in ui.fieldNote.text()
    assert ui.unitSelector.isHidden() and ui.echoTimeSpin.isHidden() and not ui.b0Spin.isHidden()
    assert items_of(ui.echoList) == sorted(set(scan) - {"phase 1"})
    assert ui.b0Label.text() == "B&0 [T]:" and ui.echoTimesLabel.text() == "Echo &times [ms]:"
    for change, sentence in (
        (lambda: None, "The magnitude is missing: choose that of each echo."),
        (
            lambda: tick(ui.magnitudeList, "magnitude 1", "magnitude 2", "magnitude 3"),
            "Phases that are chosen: 1, magnitudes: 3; choose one of each for every echo.",
        ),
        (
            lambda: tick(ui.echoList, "phase 2", "phase 3"),
            "The echo time of 'phase 1' is not known; enter the echo times in ms, one for each echo.",
        ),
        (
            lambda: ui.echoTimesEdit.setText("4 10"),
            "Echoes that are chosen: 3, echo times: 2; enter one for each echo, in ms.",
        ),
        (
            lambda: ui.echoTimesEdit.setText("0.004 0.01 0.016"),
            "The echo times are '0.004 0.01 0.016'; enter one for "
            "each echo in milliseconds, from 0.02 to 250, such as 4 8 12.",
        ),
        (
            lambda: (ui.echoTimesEdit.setText("4 10 16"), ui.phaseRangeEdit.setText("4095 0")),
            "The phase range is '4095 0'; enter the numbers that stand for −π and π, such as 0 4095, or nothing.",
        ),
        (lambda: ui.phaseRangeEdit.setText(""), "The field strength of 'phase 1' is not known; enter B0 in tesla."),
    ):
        change()
        assert ui.scanNote.text() == sentence and not ui.applyButton.isEnabled()
    ui.b0Spin.setValue(3.0)
    assert ui.scanNote.text().splitlines() == [
        "1. 4 ms: phase 1, magnitude 1",
        "2. 10 ms: phase 2, magnitude 2",
        "3. 16 ms: phase 3, magnitude 3",
    ]
    assert not {"phase 2", "phase 3"} & set(items_of(ui.magnitudeList))  # none is both
    wait_until(ui.applyButton.isEnabled, 240)
    assert ui.maskNote.text().startswith("Without a mask, one is made from the magnitude")
    assert ui.maskSelector.currentNode() is None
    screenshot(chosen.parent, "panel-phase", 300)
    ui.fieldSelector.setCurrentNode(scan["phase 2"])
    assert ticked(ui.echoList) == ticked(ui.magnitudeList) == set()  # the ticks were those of another echo


def test_the_choice_of_the_person_wins(chosen: Any, scan: dict[str, Any], wait_until: Wait) -> None:
    ui = chosen.ui
    ui.inputSelector.setCurrentIndex(0)
    ui.maskSelector.setCurrentNode(scan["brain"])
    wait_until(ui.applyButton.isEnabled, 240)
    assert arguments(chosen).startswith("--input local-field ")
    assert "wrapped phase" in ui.fieldNote.text() and "color" in ui.fieldNote.styleSheet()  # but it is doubted
    assert ui.echoList.isHidden() and ui.flipSignCheck.isHidden() and ui.keepCheck.isHidden()
    ui.inputSelector.setCurrentIndex(2)
    assert "color" not in ui.fieldNote.styleSheet() and not ui.flipSignCheck.isHidden()
    ui.fieldSelector.setCurrentNode(scan["magnitude 1"])
    wait_until(lambda: "magnitude" in ui.fieldNote.text(), 240)
    assert ui.inputSelector.currentText() == "Wrapped phase" and "color" in ui.fieldNote.styleSheet()
    ui.inputSelector.setCurrentIndex(1)
    assert ui.fieldNote.text() == "This looks like a magnitude image; phase or a field is needed."
    assert not ui.applyButton.isEnabled()


def test_an_installed_brain_extraction_is_linked(
    chosen: Any, scan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    assert "href" not in chosen.ui.maskNote.text()
    monkeypatch.setattr(slicer.modules, "hdbrainextractiontool", SimpleNamespace(), raising=False)
    chosen._update()
    name = re.search(r'<a href="(\w+)">HD Brain Extraction Tool</a>', chosen.ui.maskNote.text())
    assert name is not None and "Swiss" not in chosen.ui.maskNote.text()
    chosen.ui.maskNote.linkActivated.emit(name.group(1))
    assert opened == ["HDBrainExtractionTool"]
    chosen.ui.maskSelector.setCurrentNode(scan["brain"])
    assert chosen.ui.maskNote.text() == ""
    chosen.ui.maskSelector.setCurrentNode(None)
    chosen.ui.inputSelector.setCurrentIndex(1)
    assert chosen.ui.maskNote.text().startswith("Choose the mask")


def test_the_scan_comes_back_with_the_scene(ready_phase: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    ui = ready_phase.ui
    ui.flipSignCheck.click()
    ui.keepCheck.click()
    ui.backgroundSelector.setCurrentIndex(2)
    before = ui.scanNote.text()
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    assert ui.fieldSelector.currentNode() is None and ui.scanNote.text() == ""
    slicer.util.loadScene(str(path))
    assert ui.inputSelector.currentText() == "Wrapped phase" and ui.scanNote.text() == before
    assert ticked(ui.echoList) == {"phase 2", "phase 3"} and ui.echoTimesEdit.text() == "4 10 16"
    assert ui.flipSignCheck.isChecked() and ui.keepCheck.isChecked()
    assert ui.backgroundSelector.currentText() == "LBV"


def test_what_phase_needs_is_installed_when_it_is_needed(
    ready_phase: Any, dialogs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = slicer.packaging.pip_check
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda r, *more: "scikit" not in str(r) and check(r, *more))
    dialogs.answer("Cancel")
    ready_phase.ui.applyButton.click()
    assert "scikit-image" in dialogs.texts[0] and "less than 35 MB" in dialogs.texts[0]
    assert "Nothing was installed" in ready_phase.ui.statusLabel.text()
    from IR2QSMGui.run import install

    assert install.missing() == [] and install.missing(phase=True) == ["scikit-image>=0.22"]
    folder = ROOT / "IR2QSM" / "Resources"
    lines = (folder / "requirements-phase.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[<>=]", line)[0] for line in lines if not line.startswith("#")}
    assert named == {"pydicom", "scikit-image"}
    library = [path for name in ("field", "io") for path in (ROOT / "IR2QSMLib" / name).glob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in library)
    assert "import pydicom" in sources and "from skimage" in sources
