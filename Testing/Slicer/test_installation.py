"""What Slicer does not bring is installed once, when it is needed, and nothing else happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slicer

from Testing.Slicer.steps import volumes

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def test_a_declined_installation_leaves_slicer_as_it_was(
    ready: Any, dialogs: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    check = slicer.packaging.pip_check
    installed: list[str] = []
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda r, *more: "safetensors" not in str(r) and check(r, *more))
    monkeypatch.setattr(slicer.packaging, "pip_install", lambda *a, **k: installed.append(str(a)))
    dialogs.answer("Cancel")
    ready.ui.applyButton.click()
    asked = dialogs.texts[0]
    assert "safetensors" in asked and "less than 15 MB" in asked and "torch" not in asked
    assert ready.ui.statusLabel.text() == "Nothing was installed, so nothing can be reconstructed yet."
    assert installed == [] and volumes() == ["field"]
    dialogs.answer("OK")
    ready.ui.applyButton.click()
    assert len(installed) == 1 and "safetensors" in installed[0]
    assert "is missing" in ready.ui.statusLabel.text()
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda r, *more: "torch" not in str(r) and check(r, *more))
    dialogs.answer("Cancel")
    ready.ui.applyButton.click()
    assert "torch>=2.3" in dialogs.texts[2] and "torchvision" in dialogs.texts[2] and "3 GB" in dialogs.texts[2]
    monkeypatch.undo()
    ready.ui.uncertaintyCheck.click()


def test_nothing_is_started_twice_while_packages_are_installed(
    ready: Any, dialogs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = slicer.packaging.pip_check
    installing: list[str] = []

    def install(*_args: Any, **_more: Any) -> None:  # pip's output lets Slicer hear clicks
        installing.append(ready.ui.statusLabel.text())
        assert not ready.ui.applyButton.isEnabled()
        ready._update()
        ready.ui.applyButton.click()
        ready.exit()
        raise RuntimeError("no network")

    monkeypatch.setattr(slicer.packaging, "pip_check", lambda r, *more: "safetensors" not in str(r) and check(r, *more))
    monkeypatch.setattr(slicer.packaging, "pip_install", install)
    dialogs.answer("OK")
    ready.ui.applyButton.click()
    assert len(installing) == 1 and installing[0].startswith("Installing safetensors")
    assert "The installation failed" in ready.ui.statusLabel.text() and "no network" in ready.ui.statusLabel.text()
    monkeypatch.undo()
    ready.enter()
    assert ready.ui.applyButton.isEnabled()
