"""The buttons Export and Send: from the map that is shown to the archive."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import qt
import slicer
from pydicom.uid import generate_uid
from pynetdicom import AE, evt

from Testing.Library.scanners import Scanner
from Testing.Slicer.test_report import add_sample_map

Wait = Callable[..., None]
MR = "1.2.840.10008.5.1.4.1.1.4"


def scan_like(node: Any, folder: Path) -> None:
    """A DICOM scan of one echo on the grid of a volume."""
    ras_to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = ras_to_lps @ vtk_matrix(node)
    voxel = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = lps[:3, :3] / voxel
    z, y, x = slicer.util.arrayFromVolume(node).shape
    extra = {name: generate_uid() for name in ("StudyInstanceUID", "FrameOfReferenceUID")}
    scanner = Scanner(
        folder,
        echo_times=(0.01,),
        shape=(x, y, z),
        voxel_size=tuple(voxel.tolist()),
        orientation=tuple(cosines[:, :2].T.ravel().round(9).tolist()),
        origin=tuple(lps[:3, 3].tolist()),
        extra={"PatientID": "P1", "PatientName": "Doe^Jane", **extra},
    )
    phase = np.broadcast_to(np.linspace(-math.pi, math.pi, x)[:, None, None], (x, y, z))[None]
    scanner.siemens(phase, np.full((1, x, y, z), 500.0))


def vtk_matrix(node: Any) -> np.ndarray:
    """Indices to patient (RAS)."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def test_the_buttons_wait_for_a_map_and_an_archive(panel: Any, sample: Any) -> None:
    assert not panel.ui.exportButton.isEnabled() and not panel.ui.sendButton.isEnabled()
    add_sample_map(panel, sample[0])
    panel._update()
    assert panel.ui.exportButton.isEnabled() and not panel.ui.sendButton.isEnabled()
    panel.ui.archiveEdit.setText("PACS@archive:104")
    assert panel.ui.sendButton.isEnabled()
    panel.ui.archiveEdit.setText("")


@pytest.mark.long
def test_a_map_goes_to_the_archive_as_it_is_shown(
    panel: Any, sample: Any, wait_until: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chi = add_sample_map(panel, sample[0])
    chi.GetDisplayNode().SetAutoWindowLevel(False)
    chi.GetDisplayNode().SetWindowLevelMinMax(-0.05, 0.15)
    scan_like(chi, tmp_path / "scan")
    folders = [str(tmp_path / "scan"), str(tmp_path / "objects")]
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_args: folders.pop(0))
    panel._update()
    panel.ui.exportButton.click()
    assert "being written" in panel.ui.statusLabel.text() and not panel.ui.exportButton.isEnabled()
    wait_until(lambda: "being written" not in panel.ui.statusLabel.text(), 120)
    assert "The map is written as DICOM" in panel.ui.statusLabel.text(), panel.ui.statusLabel.text()
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "objects").iterdir())]
    assert {(image.WindowCenter, image.WindowWidth) for image in images} == {(0.05, 0.2)}
    assert "tkd" in images[0].DerivationDescription
    stack = np.stack([image.pixel_array * float(image.RescaleSlope) for image in images])
    values = slicer.util.arrayFromVolume(chi)
    assert np.abs(stack - values).max() < 1e-4

    received: list[str] = []
    entity = AE(ae_title="STRICT")
    entity.require_called_aet = True
    for sop_class in ("1.2.840.10008.1.1", MR):
        entity.add_supported_context(sop_class)
    store = (evt.EVT_C_STORE, lambda event: received.append(str(event.request.AffectedSOPInstanceUID)) or 0)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[store])
    try:
        panel.ui.archiveEdit.setText(f"STRICT@127.0.0.1:{port}")
        panel.ui.sendButton.click()
        wait_until(lambda: "being sent" not in panel.ui.statusLabel.text(), 120)
    finally:
        server.shutdown()
        panel.ui.archiveEdit.setText("")
    assert panel.ui.statusLabel.text() == f"{len(images)} objects are in the archive."
    assert set(received) == {image.SOPInstanceUID for image in images}
