"""What several tests of the panel do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import qt
import slicer


def apply(panel: Any, wait_until: Callable[..., None]) -> None:
    """Press Apply and wait for the end of the run."""
    panel.ui.applyButton.click()
    wait_until(lambda: panel.ui.applyButton.text() == "Apply", 120, "the end of the run")


def volumes() -> list[str]:
    """Names of the scalar volumes in the scene."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [n.GetName() for n in nodes if n.GetClassName() == "vtkMRMLScalarVolumeNode"]


def workers() -> list[psutil.Process]:
    """Processes that a test started and that still run."""
    return [p for p in psutil.Process().children(recursive=True) if p.is_running() and p.status() != "zombie"]


def tick(ticks: Any, *wanted: str) -> None:
    """Tick these items of a list, and no others."""
    for i in range(ticks.count()):
        item = ticks.item(i)
        item.setCheckState(qt.Qt.Checked if item.text() in wanted else qt.Qt.Unchecked)
