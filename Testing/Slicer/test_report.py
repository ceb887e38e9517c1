"""The button Report: the page of a map, from the scene's volumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer

Wait = Callable[..., None]


def add_sample_map(panel: Any, field: Any) -> Any:
    """The module's own map of its sample in the scene, with a sidecar."""
    from IR2QSMGui.scene import nodes

    volume = nodes.read_volume(panel.resourcePath("SampleData/chi.nrrd"), field)
    values = slicer.util.arrayFromVolume(volume)
    provenance = {
        "Software": {"name": "ir2qsm", "version": "0.1.0"},
        "Method": {"name": "tkd", "citation": "Shmueli et al. 2009, doi 10.1002/mrm.22135"},
        "Inputs": {"field": "field.nrrd", "unit": "ppm"},
        "MaskVoxels": int(np.count_nonzero(values)),
    }
    chi = nodes.add_map(volume, field, provenance, kind="chi", name="Jane Doe")
    chi.SetNodeReferenceID(nodes.FIELD, field.GetID())
    return chi


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Pages that would be in the browser; temporary files of Slicer are the test's."""
    pages: list[Path] = []
    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path))
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: pages.append(Path(url.toLocalFile())) or True)
    return pages


def test_one_click_opens_the_page_of_the_map(
    panel: Any, sample: Any, opened: list[Path], wait_until: Wait, tmp_path: Path
) -> None:
    assert not panel.ui.reportButton.isEnabled()
    chi = add_sample_map(panel, sample[0])
    panel._update()
    panel.ui.reportButton.click()
    assert not panel.ui.reportButton.isEnabled() and "being made" in panel.ui.statusLabel.text()
    wait_until(lambda: opened or "being made" not in panel.ui.statusLabel.text(), 120)
    assert panel.ui.statusLabel.text() == "The report is open in your browser."
    text = opened[0].read_text(encoding="utf-8")
    assert "Shmueli et al. 2009" in text and "local field" in text and chi.GetName() not in text
    assert [path.name for path in opened[0].parent.iterdir()] == ["report.html"]
    assert json.loads(chi.GetAttribute("IR2QSM.Provenance"))["Method"]["name"] == "tkd"
    panel.cleanup()
    assert not list(tmp_path.glob("ir2qsm-report-*"))
