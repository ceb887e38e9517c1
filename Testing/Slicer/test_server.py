"""Another computer as device: the same worker with its address, the same map, and a scene that knows nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer

from Testing.Library.servers import TOKEN, RunningServer, servers
from Testing.Slicer.steps import ROOT, apply, arguments, tick, volumes

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")
CONTROLS = ("serverAddressEdit", "tokenFileButton", "certificateButton")


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on this computer."""
    with servers(tmp_path_factory.mktemp("server")) as start:
        yield start()


def choose_device(panel: Any, name: str) -> None:
    selector = panel.ui.deviceSelector
    selector.setCurrentIndex(selector.findData(name))


def enter(panel: Any, monkeypatch: pytest.MonkeyPatch, address: str, token_file: Path) -> None:
    """Choose another computer, its address and its token."""
    choose_device(panel, "server")
    panel.ui.serverAddressEdit.setText(address)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(token_file))
    panel.ui.tokenFileButton.click()


def test_another_computer_is_entered_step_by_step(ready: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ui, token_file = ready.ui, tmp_path / "token"
    assert all(getattr(ui, name).isHidden() for name in CONTROLS)
    choose_device(ready, "server")
    assert ready.ui.deviceSelector.currentText() == "Another computer…"
    assert not any(getattr(ui, name).isHidden() for name in CONTROLS)
    assert "Enter the address" in ui.statusLabel.text() and not ui.applyButton.isEnabled()
    ui.serverAddressEdit.setText("name:8765")
    assert "begins with https://" in ui.statusLabel.text()
    ui.serverAddressEdit.setText("https://name.example.org:8765")
    assert "Choose the file with the other computer's token" in ui.statusLabel.text()
    token_file.write_text(TOKEN)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(token_file))
    ui.tokenFileButton.click()
    assert ui.tokenFileButton.text() == "token" and ui.statusLabel.text() == "" and ui.applyButton.isEnabled()
    ui.certificateButton.click()
    expected = f"--server https://name.example.org:8765 --token-file {token_file} --server-certificate {token_file}"
    assert expected in arguments(ready) and "--device" not in arguments(ready)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "")
    ui.certificateButton.click()
    assert "--server-certificate" not in arguments(ready)
    token_file.unlink()
    ui.b0DirectionEdit.setText("0 0 1")
    assert "'token' is not there any more" in ui.statusLabel.text() and not ui.applyButton.isEnabled()
    choose_device(ready, "cpu")
    assert "--device cpu" in arguments(ready) and all(getattr(ui, name).isHidden() for name in CONTROLS)


def test_the_address_is_kept_in_settings_and_not_in_the_scene(
    ready: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module_widget: Callable[..., Any]
) -> None:
    (tmp_path / "secret-token").write_text(TOKEN)
    enter(ready, monkeypatch, "https://name.example.org:8765", tmp_path / "secret-token")
    scene = tmp_path / "scene.mrml"
    assert slicer.util.saveScene(str(scene))
    text = scene.read_text()
    assert "server" in text and "example.org" not in text and "secret-token" not in text and TOKEN not in text
    ready.onReload()
    reloaded = slicer.modules.IR2QSMWidget
    reloaded.enter()
    assert reloaded.ui.serverAddressEdit.text() == "https://name.example.org:8765"
    assert reloaded.ui.tokenFileButton.text() == "secret-token"


@pytest.mark.long
@pytest.mark.parametrize("method", ["tkd", "ir2qsm"])
def test_another_computer_makes_the_same_map(
    ready: Any, running: RunningServer, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, method: str
) -> None:
    tick(ready.ui.methodList, method)
    for device in ("cpu", "server"):
        if device == "cpu":
            choose_device(ready, device)
        else:
            enter(ready, monkeypatch, running.address, running.token_file)
        ready.ui.applyButton.click()
        wait_until(lambda: ready.ui.applyButton.text() == "Apply", 900, "the end of the run")
        assert ready.ui.statusLabel.text().startswith("Done in")
    maps = [slicer.util.getNode(name) for name in volumes() if "QSM" in name and "uncertainty" not in name]
    assert np.array_equal(*map(slicer.util.arrayFromVolume, maps))
    assert [('"Server"' in node.GetAttribute("IR2QSM.Provenance")) for node in maps] == [False, True]
    text = ready.ui.logText.toPlainText()
    assert "--token-file token" in text and TOKEN not in text and str(running.token_file) not in text
    running.require_empty()


@pytest.mark.long
def test_a_server_that_refuses_leaves_the_scene_as_it_is(
    ready: Any, running: RunningServer, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, tmp_path: Path
) -> None:
    tick(ready.ui.methodList, "tkd")
    (tmp_path / "other").write_text("another-token-of-these-tests")
    before = slicer.mrmlScene.GetNumberOfNodes()
    for address, token_file, sentence, label in (
        (running.address, tmp_path / "other", "The server does not know this token", "tokenFileLabel"),
        ("http://127.0.0.1:9", running.token_file, "No server answers at 127.0.0.1, port 9", "serverAddressLabel"),
    ):
        enter(ready, monkeypatch, address, token_file)
        apply(ready, wait_until)
        assert ready.ui.statusLabel.text().startswith(sentence)
        assert getattr(ready.ui, label).styleSheet() != ""
        assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.long
@pytest.mark.parametrize("end", ["cancel", "kill the server"])
def test_a_run_that_ends_early_leaves_the_scene_as_it_is(
    ready: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, tmp_path_factory: pytest.TempPathFactory, end: str
) -> None:
    folder = tmp_path_factory.mktemp("server")
    options = ["--port", "0", "--token-file", str(folder / "token"), "--folder", str(folder), "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-m", "IR2QSMLib", "serve", *options],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if " serves at " in line)
        enter(ready, monkeypatch, line.split(" serves at ")[1].split(";")[0], folder / "token")
        before = slicer.mrmlScene.GetNumberOfNodes()
        ready.ui.applyButton.click()
        wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 120)
        if end == "cancel":
            ready.ui.applyButton.click()
        else:
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: ready.ui.applyButton.text() == "Apply", 60)
        text = ready.ui.statusLabel.text()
        assert ("Cancelled; nothing was changed." in text) if end == "cancel" else ("was lost; see whether" in text)
        assert slicer.mrmlScene.GetNumberOfNodes() == before
        wait_until(lambda: end != "cancel" or not list(folder.glob("ir2qsm-serve-*/run-*")), 60)
        process.kill()
        process.communicate()
