"""What all tests of the inversions share."""

from __future__ import annotations

import pytest

from IR2QSMLib.inversion import learned


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor: half precision would hide small differences. Its own test turns it on."""
    monkeypatch.setattr(learned, "half_precision", lambda kind: None)
