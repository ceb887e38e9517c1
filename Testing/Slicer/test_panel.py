"""The panel: devices, weights, the report, and how it looks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLabel, QWidget

from Testing.Slicer.steps import apply, tick

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


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


def test_imported_weights_are_used_and_refused_when_gone(
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


def test_a_file_that_is_no_checkpoint_is_refused(
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
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.01, 1, 1, 1])))
    sample[1].SetAndObserveTransformNodeID(shift.GetID())
    tick(ready.ui.methodList, "tkd")
    ready.ui.applyButton.click()
    ready.exit()  # another module is entered meanwhile
    wait_until(lambda: not ready._apply.running, 120)
    ready.enter()
    ready.ui.copyReportButton.click()
    report = slicer.app.clipboard().text()
    assert report.startswith("IR2QSM, Slicer 5.12") and "--units ppm" in report and "Done in" in report
    assert "The mask 'mask' lies on another grid" in report
    assert "Patient" not in report and os.sep not in report.replace("n/a", "")


def test_nothing_is_clipped_at_300_pixels(ready: Any, screenshot: Callable[..., Path], wait_until: Wait) -> None:
    ready.ui.unitSelector.setCurrentIndex(2)
    ready.ui.referenceSelector.setCurrentIndex(2)
    tick(ready.ui.methodList, "ir2qsm", "tikhonov", "medi")
    for name in ("methods", "display", "compare", "regions", "advanced", "log"):
        getattr(ready.ui, f"{name}Section").click()
    wait_until(lambda: "GB free" in ready.ui.deviceSelector.itemText(1), 60)
    screenshot(ready.parent, "panel-open", 300)
    n_texts = 0
    for widget in ready.parent.findChildren(QWidget):
        if not widget.isVisibleTo(ready.parent) or not isinstance(widget, QLabel | QAbstractButton | QComboBox):
            continue
        text = widget.currentText() if isinstance(widget, QComboBox) else widget.text()
        room = widget.width() - (40 if isinstance(widget, QComboBox) else 0)
        if isinstance(widget, QLabel) and widget.wordWrap():
            assert widget.height() >= widget.heightForWidth(widget.width()), text
        elif text and not text.startswith("Intel") and widget is not ready.ui.deviceSelector:
            assert QFontMetrics(widget.font()).horizontalAdvance(text.replace("&", "")) <= room, text
            n_texts += 1
    assert n_texts > 40


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
    sections = {name for name in tabs if name.endswith("Section")}
    assert set(tabs) - sections == set(names) and len(sections) == 8 and tabs[0] == "presetSelector"
    assert panel.ui.footLabel.text() == "Research software, not for diagnosis."


SENTENCE = "Done in 1:02. The phase was taken as radians that were not unwrapped, and a long explanation follows. " * 3


def test_a_long_sentence_does_not_widen_the_panel(panel: Any) -> None:
    labels = [label for label in panel.parent.findChildren(QLabel) if label.wordWrap()]
    notes = {name for name in vars(panel.ui) if name.endswith("Note")}
    assert {label.objectName() for label in labels} == {*notes, "statusLabel", "footLabel"}
    for name in ("methods", "display", "compare", "regions", "advanced", "log"):
        getattr(panel.ui, f"{name}Section").click()
    panel.parent.show()
    QApplication.sendPostedEvents()
    before = panel.parent.sizeHint().width()
    for label in labels:
        label.setText(SENTENCE)
        label.setVisible(True)
        QApplication.sendPostedEvents()
        assert panel.parent.sizeHint().width() == before, label.objectName()


def test_the_control_that_an_error_means_is_marked(panel: Any) -> None:
    from IR2QSMGui.panel.option_marks import CONTROLS, OptionMarks

    ui = panel.ui
    marks = OptionMarks(ui)
    assert all(hasattr(ui, name) for names in CONTROLS.values() for name in names)
    ui.inputSelector.setCurrentIndex(2)
    marks.mark("phase_range")
    assert "color" in ui.phaseRangeLabel.styleSheet() and "color" not in ui.echoTimesLabel.styleSheet()
    marks.mark("te")
    assert "color" not in ui.phaseRangeLabel.styleSheet() and "color" in ui.echoTimesLabel.styleSheet()
    marks.mark("an option that is not on the panel")
    assert "color" not in ui.echoTimesLabel.styleSheet()
    sentence = "Say the numbers with --phase-range, check TE (--te), see --flip-sign and --unknown."
    assert marks.with_names(sentence) == (
        "Say the numbers with 'Phase range', check TE ('Echo times'), see 'Flip the sign' and --unknown."
    )
