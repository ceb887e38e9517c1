"""Sources in DICOM of one patient, maps on their grids, and Orthanc on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pydicom.uid import generate_uid
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.dicom import dicom_volumes, grid_of_slices, in_order
from Testing.Library.scanners import Scanner, random_scan

OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
MANUFACTURERS = {
    "siemens": "SIEMENS",
    "philips": "Philips Medical Systems",
    "ge": "GE MEDICAL SYSTEMS",
    "enhanced": "SIEMENS",
}
PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)


def patient() -> dict[str, object]:
    """What a hospital's header says of a person, a visit and a scanner."""
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "Müller^Jane",
        "PatientID": "PID-4711",
        "PatientBirthDate": "19700203",
        "PatientSex": "F",
        "PatientAge": "056Y",
        "StudyInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "StudyDate": "20260405",
        "StudyTime": "101112",
        "StudyID": "ST-7",
        "AccessionNumber": "ACC-99",
        "StudyDescription": "Head of Mrs Müller",
        "ReferringPhysicianName": "House^Gregory",
        "InstitutionName": "Princeton-Plainsboro",
        "StationName": "MRPLAINS1",
        "DeviceSerialNumber": "SN-31415",
        "ManufacturerModelName": "Prisma",
        "SoftwareVersions": "XA30",
        "PatientPosition": "HFS",
        "ProtocolName": "gre of Jane",
        "AcquisitionDate": "20260405",
        "AcquisitionTime": "102030",
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "MRAcquisitionType": "3D",
        "RepetitionTime": 30.0,
        "FlipAngle": 15.0,
    }


@dataclass(frozen=True)
class SourceFiles:
    """A DICOM folder, and a map on its grid with everything that may go with it."""

    folder: Path
    """Folder of DICOM files."""
    grid: Grid
    chi: Tensor
    labels: Tensor
    chi_file: Path
    sigma_file: Path
    labels_file: Path


@pytest.fixture
def make_source(tmp_path: Path, write_volume: Callable[..., Path]) -> Callable[..., SourceFiles]:
    """Write a scan as one manufacturer does, and a map, its standard error and a label map on its grid."""

    def make(kind: str = "siemens", orientation: tuple[float, ...] = OBLIQUE, **header: object) -> SourceFiles:
        folder = tmp_path / "scan"
        extra = patient() | header
        scanner = Scanner(folder, MANUFACTURERS[kind], orientation=orientation, extra=extra)
        getattr(scanner, kind)(PHASE, MAGNITUDE)
        grid = grid_of_slices(in_order(dicom_volumes(folder)[0][0]))
        generator = torch.Generator().manual_seed(3)
        chi = 0.1 * torch.randn(grid.shape, generator=generator)
        chi[:2] = 0.0
        labels = torch.zeros(grid.shape, dtype=torch.uint8)
        labels[3:6, 3:7, 2:6], labels[1:4, 7:9, 3:6] = 4, 17
        (tmp_path / "labels.tsv").write_text("index\tname\n4\tLeft-Caudate\n17\tLesion of unknown name\n")
        files = {
            "chi": write_volume(tmp_path / "chi.nii.gz", chi, grid),
            "sigma": write_volume(tmp_path / "sigma.nii.gz", chi.abs() + 0.01, grid),
            "labels": write_volume(tmp_path / "labels.nii.gz", labels, grid),
        }
        return SourceFiles(folder, grid, chi, labels, files["chi"], files["sigma"], files["labels"])

    return make


@dataclass(frozen=True)
class Archive:
    """An archive that runs on loopback."""

    dicom: str
    """HOST:PORT."""
    http: str


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def program(name: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    path = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: orthanc, dicom3tools; PyPI: dcmqi)")
    return path


def _is_closed(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Orthanc on loopback, empty at first; it knows itself as ORTHANC and takes no other title."""
    command, folder = program("Orthanc"), tmp_path_factory.mktemp("archive")
    dicom, http = free_port(), free_port()
    (folder / "configuration.json").write_text(
        f'{{"StorageDirectory": "{folder}/db", "IndexDirectory": "{folder}/db", "Plugins": [], "HttpPort": {http}, '
        f'"DicomPort": {dicom}, "DicomAet": "ORTHANC", "DicomCheckCalledAet": true, "AuthenticationEnabled": false, '
        '"RemoteAccessAllowed": false, "DicomAlwaysAllowFind": true}'
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([command, str(folder / "configuration.json")], stdout=log, stderr=log)
    try:
        while any(_is_closed(port) for port in (dicom, http)):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield Archive(f"127.0.0.1:{dicom}", f"http://127.0.0.1:{http}")
    finally:
        process.terminate()
        process.wait()
