"""What several tests of the panel do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import qt
import SimpleITK as sitk
import slicer
from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

ROOT = Path(__file__).resolve().parents[2]
TIMES = (0.004, 0.010, 0.016)
"""Echo times [s] of the scan that tests of phase use."""


def apply(panel: Any, wait_until: Callable[..., None]) -> None:
    """Press Apply and wait for the end of the run."""
    panel.ui.applyButton.click()
    wait_until(lambda: panel.ui.applyButton.text() == "Apply", 120, "the end of the run")


def arguments(panel: Any) -> str:
    """The options of the command line that the panel's settings become, for the first method."""
    return " ".join(panel._choice().options()[0].arguments())


def press(widget: Any, key: Any, modifiers: Any = Qt.NoModifier) -> None:
    """Press a key while a widget of the panel has the keyboard."""
    widget.window().show()
    widget.window().activateWindow()
    QApplication.processEvents()
    widget.setFocus()
    QTest.keyClick(QApplication.focusWidget(), key, modifiers)


def volumes() -> list[str]:
    """Names of the scalar volumes in the scene."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [n.GetName() for n in nodes if n.GetClassName() == "vtkMRMLScalarVolumeNode"]


def workers() -> list[psutil.Process]:
    """Processes that a test started and that still run."""
    return [p for p in psutil.Process().children(recursive=True) if p.is_running() and p.status() != "zombie"]


def tick(ticks: Any, *wanted: str) -> None:
    """Tick these items of a list, and no others, once they are there: a worker is asked which methods there are."""
    end = time.monotonic() + 120.0
    while not set(wanted) <= {ticks.item(i).text() for i in range(ticks.count())}:
        assert time.monotonic() < end, f"{wanted} are not all in the list"
        loop = QEventLoop()
        QTimer.singleShot(20, loop.quit)
        loop.exec()
    for i in range(ticks.count()):
        item = ticks.item(i)
        item.setCheckState(qt.Qt.Checked if item.text() in wanted else qt.Qt.Unchecked)


def enter_scan(panel: Any) -> None:
    """Tick and enter all that belongs to the scan whose first phase is chosen."""
    tick(panel.ui.echoList, "phase 2", "phase 3")
    tick(panel.ui.magnitudeList, "magnitude 1", "magnitude 2", "magnitude 3")
    panel.ui.echoTimesEdit.setText("4 10 16")
    panel.ui.b0Spin.setValue(3.0)


def items_of(ticks: Any) -> list[str]:
    """What is in a list."""
    return [ticks.item(i).text() for i in range(ticks.count())]


def ticked(ticks: Any) -> set[str]:
    """What is ticked in a list."""
    items = [ticks.item(i) for i in range(ticks.count())]
    return {item.text() for item in items if item.checkState() == qt.Qt.Checked}


def command_line(files: Path, folder: Path, *options: object) -> np.ndarray:
    """The map that `ir2qsm reconstruct` makes of the files: (z, y, x)."""
    phases, magnitudes = ([files / f"{kind} {n}.nrrd" for n in (1, 2, 3)] for kind in ("phase", "magnitude"))
    words = [phases[0], files / "brain.nrrd", "--echoes", *phases[1:], "--magnitude", *magnitudes, *options]
    command = [sys.executable, "-m", "IR2QSMLib", "reconstruct", *words, "-o", folder / "chi.nrrd", "--method", "tkd"]
    subprocess.run([*map(str, command), "--progress", "none"], check=True, cwd=ROOT)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "chi.nrrd")))
