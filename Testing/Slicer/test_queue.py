"""Several runs one after another: one that fails or is skipped, and one that is added while others run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
from PySide6.QtCore import Qt

from Testing.Slicer.steps import press, tick, volumes, workers

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def test_runs_that_fail_or_are_skipped_do_not_keep_the_next_from_being_tried(
    ready: Any, sample: Any, wait_until: Wait
) -> None:
    ui, text = ready.ui, lambda: ready.ui.statusLabel.text()
    flat, other = (slicer.modules.volumes.logic().CloneVolume(sample[0], name) for name in ("flat", "other"))
    slicer.util.updateVolumeFromArray(flat, np.ones_like(slicer.util.arrayFromVolume(flat)))
    other.SetAttribute("IR2QSM.Kind", "localfield")
    ui.magnitudeSelector.setCurrentNode(flat)
    ui.b0Spin.setValue(3.0)
    ui.echoTimeSpin.setValue(20.0)
    tick(ui.methodList, "tkd", "tikhonov", "tv", "medi")
    assert ui.skipButton.isHidden() and ui.queueButton.isHidden()
    assert ui.estimateNote.text().startswith("Takes ") and not ui.estimateNote.isHidden()
    press(ui.fieldSelector, Qt.Key_Return, Qt.ControlModifier)
    assert ui.applyButton.text() == "Cancel" and not ui.skipButton.isHidden() and ui.estimateNote.isHidden()
    for process in workers():
        process.kill()
    wait_until(lambda: text().startswith("tkd: The worker was ended by the system"))
    assert ui.applyButton.text() == "Cancel" and "tkd: The worker was ended" in ui.logText.toPlainText()
    ui.skipButton.click()
    assert not ui.skipButton.isEnabled()
    wait_until(ui.skipButton.isEnabled)
    assert "tikhonov: Skipped." in ui.logText.toPlainText() and "elapsed" in text()
    ui.fieldSelector.setCurrentNode(other)
    tick(ui.methodList, "tkd")
    assert ui.queueButton.isEnabled()
    ui.queueButton.click()
    wait_until(lambda: ui.applyButton.text() == "Apply", 240, "the end of all runs")
    first = "'field' tkd: The worker was ended by the system"
    assert text().startswith(first) and "'field' medi: The magnitude is empty, flat" in text()
    assert "'field' tikhonov: Skipped. Done in " in text()
    assert volumes()[-2:] == ["field QSM TV", "other QSM TKD"] and len(volumes()) == 5
    assert ui.skipButton.isHidden() and ui.queueButton.isHidden()
    ui.magnitudeSelector.setCurrentNode(None)
    assert ui.estimateNote.text().endswith("by earlier runs.")
