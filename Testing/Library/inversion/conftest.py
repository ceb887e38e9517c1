"""What all tests of the inversions share."""

from __future__ import annotations

from pathlib import Path

import pytest

from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned import whole_brain


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor: half precision would hide small differences. Its own test turns it on."""
    for module in (learned, whole_brain):
        monkeypatch.setattr(module, "half_precision", lambda kind: None)


@pytest.fixture(autouse=True)
def tiny_networks(tiny_whole_brain: Path) -> None:
    """No test of an inversion waits for the bundled whole-brain network, or depends on it."""
