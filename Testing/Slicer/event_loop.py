"""Tests inside Qt's event loop, where Slicer's code runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QEventLoop, QTimer


def run(function: Callable[..., None], arguments: dict[str, Any]) -> None:
    """Call a function inside the event loop, and raise its error, or one that a slot would only print."""
    loop, raised, before = QEventLoop(), [], sys.excepthook

    def call() -> None:
        try:
            function(**arguments)
        except BaseException as error:
            raised.insert(0, error)
        loop.quit()

    sys.excepthook = lambda kind, error, trace: raised.append(error)
    try:
        QTimer.singleShot(0, call)
        loop.exec()
    finally:
        sys.excepthook = before
    if raised:
        raise raised[0]


PATIENCE = 300.0
"""Seconds in which anything ends that ends at all, also on a machine whose processors are all busy."""


def wait(condition: Callable[[], Any], seconds: float = 60.0, what: str = "") -> None:
    """Spin the event loop until a condition holds; fail when it does not within the seconds or `PATIENCE`."""
    seconds = max(seconds, PATIENCE)
    end = time.monotonic() + seconds
    loop = QEventLoop()
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what or condition}"
        QTimer.singleShot(20, loop.quit)
        loop.exec()
