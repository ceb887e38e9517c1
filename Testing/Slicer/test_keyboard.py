"""The panel from the keyboard, and at the width that it has in Slicer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QPushButton, QSizePolicy, QWidget

from Testing.Slicer.steps import press

SECTIONS = ("methods", "display", "compare", "regions", "advanced", "log")
OF_SLICER = set("FEVH")
"""Letters of Slicer's own menus."""


def settle() -> None:
    for _ in range(3):
        QApplication.sendPostedEvents(None, 0)
        QApplication.processEvents()


@pytest.fixture(params=[0, 1, 2], ids=["local field", "total field", "phase"])
def unfolded(panel: Any, request: pytest.FixtureRequest) -> Any:
    """The panel with all sections unfolded and all buttons that there can be, for each kind of input."""
    panel.ui.inputSelector.setCurrentIndex(request.param)
    panel.ui.unitSelector.setCurrentIndex(2)
    panel.ui.referenceSelector.setCurrentIndex(2)
    for name in SECTIONS:
        getattr(panel.ui, f"{name}Section").click()
    for button in panel.parent.findChildren(QPushButton):
        button.setEnabled(True)
        button.setVisible(True)
    panel.ui.automaticCheck.setEnabled(True)
    return panel


def named_in_the_file(panel: Any) -> list[str]:
    """The controls that Tab is to reach, as the panel's file lists them."""
    text = Path(panel.resourcePath("UI/IR2QSM.ui")).read_text(encoding="utf-8")
    return re.findall(r"<tabstop>(\w+)</tabstop>", text)


def control_of(widget: QWidget, names: set[str]) -> str:
    """The control that a widget is, or is a part of."""
    while widget.objectName() not in names:
        widget = widget.parentWidget()
    return widget.objectName()


def stops(panel: Any) -> Iterator[QWidget]:
    """The widgets that Tab reaches from the first one on, once around."""
    press(panel.ui.presetSelector, Qt.Key_Shift)
    first = QApplication.focusWidget()
    for _ in range(200):
        yield QApplication.focusWidget()
        QTest.keyClick(QApplication.focusWidget(), Qt.Key_Tab)
        if QApplication.focusWidget() is first:
            return
    raise AssertionError("Tab does not come back to the first control")


def test_tab_reaches_every_control_in_visual_order(unfolded: Any) -> None:
    listed = named_in_the_file(unfolded)
    shown = {name for name in listed if getattr(unfolded.ui, name).isVisibleTo(unfolded.parent)}
    assert len(shown) > 40
    reached = [control_of(widget, set(listed)) for widget in stops(unfolded)]
    assert set(reached) == shown and len(reached) == len(shown)
    corners = [getattr(unfolded.ui, name).mapTo(unfolded.parent, QPoint(0, 0)) for name in reached]
    places = [(corner.y(), corner.x()) for corner in corners]
    assert places == sorted(places), [name for name, place in zip(reached, places, strict=True) if place]


def test_labels_lead_to_their_controls(unfolded: Any) -> None:
    labels = {name: getattr(unfolded.ui, name) for name in vars(unfolded.ui) if name.endswith("Label")}
    of_controls = {name: label for name, label in labels.items() if name not in ("statusLabel", "footLabel")}
    assert len(of_controls) > 25
    for name, label in of_controls.items():
        buddy = label.buddy()
        assert buddy is not None and buddy.objectName().startswith(name.removesuffix("sLabel").removesuffix("Label"))
    texts = [widget.text() for kind in (QLabel, QAbstractButton) for widget in unfolded.parent.findChildren(kind)]
    letters = [letter.upper() for text in texts for letter in re.findall(r"&(\w)", text)]
    assert len(letters) > 15 and len(letters) == len(set(letters)) and not set(letters) & OF_SLICER


def test_enter_presses_a_button_and_a_letter_leads_to_its_control(panel: Any) -> None:
    panel.ui.advancedSection.click()
    pressed: list[bool] = []
    panel.ui.copyReportButton.clicked.connect(lambda *_: pressed.append(True))
    panel.ui.logSection.click()
    press(panel.ui.copyReportButton, Qt.Key_Return)
    assert pressed == [True]
    press(panel.ui.copyReportButton, Qt.Key_M, Qt.AltModifier)
    assert panel.ui.maskSelector.isAncestorOf(QApplication.focusWidget())
    press(panel.ui.b0DirectionEdit, Qt.Key_Return)
    press(panel.ui.b0DirectionEdit, Qt.Key_Escape)
    press(panel.ui.b0DirectionEdit, Qt.Key_Return, Qt.ControlModifier)  # nothing is ready
    assert pressed == [True] and not panel._apply.running and panel.ui.statusLabel.text() == ""


def test_nothing_is_squeezed_at_300_pixels(unfolded: Any) -> None:
    parent = unfolded.parent
    controls = [getattr(unfolded.ui, name) for name in named_in_the_file(unfolded)]
    notes = [label for label in parent.findChildren(QLabel) if label.wordWrap()]
    longer = {label: f"{label.text()} xxxx" for label in parent.findChildren(QLabel) if label not in notes}
    for texts in ({}, longer):  # as translations are
        for label, text in texts.items():
            label.setText(text)
        for n_words in range(1, 30, 4):
            for note in notes:
                note.setText("sentence " * n_words)
                note.setVisible(True)
            parent.setFixedWidth(300)
            parent.show()
            settle()
            parent.resize(300, parent.layout().totalHeightForWidth(300))
            settle()
            assert parent.minimumSizeHint().width() <= 300
            for widget in [*notes, *controls]:
                if widget.isVisibleTo(parent):
                    least, name = widget.minimumSizeHint(), widget.objectName()
                    may_be_cut = widget.sizePolicy().horizontalPolicy() is QSizePolicy.Ignored
                    folds = widget.hasHeightForWidth()
                    needed = widget.heightForWidth(widget.width()) if folds else least.height()
                    assert widget.height() >= needed, name
                    assert widget.width() >= least.width() or may_be_cut, name
