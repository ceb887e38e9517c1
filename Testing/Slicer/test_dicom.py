"""Scans from Slicer's DICOM database and in sequences: what DICOM says, and what is still asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer

from Testing.Slicer.steps import TIMES, apply, arguments, command_line, enter_scan, tick, ticked

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def dicom(scan: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """Slicer's DICOM database with what the scan's volumes came from, by instance and tag."""
    values: dict[tuple[str, str], str] = {}
    for name, node in scan.items():
        kind, _space, number = name.partition(" ")
        if kind not in ("phase", "magnitude"):
            continue
        node.SetAttribute("DICOM.instanceUIDs", f"{name[0]}{number}.1 {name[0]}{number}.2")
        image_type = "ORIGINAL\\PRIMARY\\P\\ND" if kind == "phase" else "ORIGINAL\\PRIMARY\\M\\ND"
        for slice_ in (1, 2):
            for tag, value in (
                ("0018,0081", f"{1000 * TIMES[int(number) - 1]:g}"),
                ("0018,0087", "3"),
                ("0008,0070", "SIEMENS"),
                ("0008,0008", image_type),
                ("0020,000D", "study"),
                ("0020,000E", kind),
            ):
                values[f"{name[0]}{number}.{slice_}", tag] = value
    database = SimpleNamespace(instanceValue=lambda uid, tag: values.get((uid, tag), ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    return values


def test_a_scan_from_dicom_needs_nothing_typed(
    panel: Any, dicom: Any, scan: dict[str, Any], files: Path, tmp_path_factory: Any, wait_until: Wait
) -> None:
    ui = panel.ui
    ui.fieldSelector.setCurrentNode(scan["phase 2"])
    ui.maskSelector.setCurrentNode(scan["brain"])
    wait_until(ui.applyButton.isEnabled, 240)
    assert ticked(ui.echoList) == {"phase 1", "phase 3"}
    assert ticked(ui.magnitudeList) == {"magnitude 1", "magnitude 2", "magnitude 3"}
    assert ui.echoTimesEdit.placeholderText() == "from DICOM: 4 10 16" and ui.b0Spin.text() == "3 T, from DICOM"
    assert "2. 10 ms: phase 2, magnitude 2" in ui.scanNote.text()
    tick(ui.methodList, "tkd")
    apply(panel, wait_until)
    chi = slicer.util.getNode("phase 1 QSM TKD")
    expected = command_line(files, tmp_path_factory.mktemp("known"), "--te", *TIMES, "--b0", 3)
    assert np.array_equal(slicer.util.arrayFromVolume(chi), expected)
    assert chi.GetAttribute("IR2QSM.Field.sources.echo_times") == "header"
    images = chi.GetAttribute("IR2QSM.Field.images")
    assert "SIEMENS" in images and "study" not in images
    ui.echoTimesEdit.setText("5 11 17")  # who types knows better
    assert "--te 0.005 0.011 0.017" in arguments(panel)
    assert "2. 11 ms: phase 2" in ui.scanNote.text()


def test_missing_headers_are_asked_for_and_the_sign_of_ge_is_inverted(
    panel: Any, dicom: dict[tuple[str, str], str], scan: dict[str, Any], wait_until: Wait
) -> None:
    from IR2QSMGui.scene import scan as acquisition

    header = acquisition.header_of(scan["phase 3"])
    assert header["EchoTime"] == 0.016 and header["ImageType"] == ["ORIGINAL", "PRIMARY", "P", "ND"]
    phases, magnitudes = ([scan[f"{kind} {n}"] for n in (1, 2, 3)] for kind in ("phase", "magnitude"))

    def chi() -> np.ndarray:
        acquisition._header_cache.clear()
        made = panel.logic.reconstruct(phases, scan["brain"], magnitude=magnitudes, method="tkd")
        return slicer.util.arrayFromVolume(made)

    usual = chi()
    for key in [key for key in dicom if key[1] == "0008,0070"]:
        dicom[key] = "GE MEDICAL SYSTEMS"
    assert np.corrcoef(chi()[usual != 0], usual[usual != 0])[0, 1] < -0.99
    dicom["p2.2", "0018,0081"] = "16"  # several echoes in one volume
    dicom["p1.1", "0018,0087"] = dicom["p1.1", "0018,0081"] = ""
    dicom["p1.2", "0018,0081"] = ""
    acquisition._header_cache.clear()
    panel.ui.fieldSelector.setCurrentNode(scan["phase 1"])
    wait_until(lambda: "Looks like" in panel.ui.fieldNote.text(), 240)
    assert ticked(panel.ui.echoList) == ticked(panel.ui.magnitudeList) == set()
    enter_scan(panel)
    panel.ui.echoTimesEdit.setText("")
    panel.ui.b0Spin.setValue(0.0)
    assert panel.ui.scanNote.text().startswith("'phase 2' holds the slices of several echoes")
    dicom["p2.2", "0018,0081"] = "10"
    acquisition._header_cache.clear()
    panel._update()
    assert panel.ui.scanNote.text().startswith("The echo time of 'phase 1' is not known")
    panel.ui.echoTimesEdit.setText("4 10 16")
    assert panel.ui.scanNote.text() == "The field strength of 'phase 1' is not known; enter B0 in tesla."


def test_a_sequence_is_taken_as_its_echoes(
    panel: Any, scan: dict[str, Any], files: Path, tmp_path_factory: Any, wait_until: Wait
) -> None:
    proxies = {}
    for kind in ("phase", "magnitude"):
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{kind} sequence")
        for n in (1, 2, 3):
            sequence.SetDataNodeAtValue(scan[f"{kind} {n}"], str(n))
        browser = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        shown = slicer.modules.volumes.logic().CloneVolume(scan[f"{kind} 1"], f"all {kind}")
        proxies[kind] = browser.AddProxyNode(shown, sequence, False)
    panel.ui.fieldSelector.setCurrentNode(proxies["phase"])
    wait_until(lambda: "wrapped phase" in panel.ui.fieldNote.text(), 240)
    tick(panel.ui.magnitudeList, "all magnitude")
    panel.ui.echoTimesEdit.setText("4 10 16")
    panel.ui.b0Spin.setValue(3.0)
    panel.ui.maskSelector.setCurrentNode(scan["brain"])
    assert "3. 16 ms: " in panel.ui.scanNote.text()
    tick(panel.ui.methodList, "tkd")
    wait_until(panel.ui.applyButton.isEnabled, 240)
    apply(panel, wait_until)
    expected = command_line(files, tmp_path_factory.mktemp("known"), "--te", *TIMES, "--b0", 3)
    assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.getNode("all phase QSM TKD")), expected)
