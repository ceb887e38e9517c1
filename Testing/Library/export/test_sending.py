"""To an archive and back, and archives that say no."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, SegmentationStorage, Verification

from IR2QSMLib.io.images import read_volume
from Testing.Library.export.conftest import MANUFACTURERS, OBLIQUE, SAGITTAL, Archive, SourceFiles, free_port, patient
from Testing.Library.export.test_privacy import SECRETS
from Testing.Library.scanners import Scanner, head_scan

Run = Callable[..., Any]
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Study Root Query/Retrieve, FIND."""


def find(archive: Archive, sent: Dataset) -> list[str]:
    """The instances of the series of an object, asked for by C-FIND."""
    host, port = archive.dicom.split(":")
    entity = AE()
    entity.add_requested_context(FIND)
    sockets: list[socket.socket] = []
    keep = [(evt.EVT_CONN_OPEN, lambda event: sockets.append(event.assoc.dul.socket.socket))]
    association = entity.associate(host, int(port), ae_title="ORTHANC", evt_handlers=keep)
    query = Dataset()
    query.QueryRetrieveLevel, query.SOPInstanceUID = "IMAGE", ""
    query.StudyInstanceUID, query.SeriesInstanceUID = sent.StudyInstanceUID, sent.SeriesInstanceUID
    answers = [str(answer.SOPInstanceUID) for _, answer in association.send_c_find(query, FIND) if answer is not None]
    association.release()
    sockets[0].close()
    return answers


def fetch(archive: Archive, sop_uid: str) -> Dataset:
    """An instance as the archive keeps it."""
    with urllib.request.urlopen(
        urllib.request.Request(f"{archive.http}/tools/lookup", data=sop_uid.encode())
    ) as answer:
        (found,) = json.load(answer)
    with urllib.request.urlopen(f"{archive.http}{found['Path']}/file") as answer:
        return pydicom.dcmread(BytesIO(answer.read()))


def test_objects_come_back_from_an_archive_as_they_were_sent(
    archive: Archive, make_source: Callable[..., SourceFiles], ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    more = ("--segmentation", source.labels_file)
    assert ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out", *more).code == 0
    ran = ir2qsm("send", tmp_path / "out", archive.dicom, "--aec", "ORTHANC", "--progress", "json")
    assert ran.code == 0 and ran.events()[-1] == {"event": "result", "sent": 11, "warnings": []}
    sent = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, (tmp_path / "out").iterdir())}
    by_series = {ds.SeriesInstanceUID: ds for ds in sent.values()}
    assert len(by_series) == 3
    for series, one in by_series.items():
        assert set(find(archive, one)) == {uid for uid, ds in sent.items() if ds.SeriesInstanceUID == series}
    for uid, ds in sent.items():
        assert fetch(archive, uid) == ds


def round_trip(kind: str, orientation: tuple[float, ...], archive: Archive, ir2qsm: Run, folder: Path) -> None:
    """A simulated head in DICOM to a map, to an archive, and back to the same map."""
    shape, voxel = (24, 28, 24), (6.6, 6.6, 6.6)
    times = (0.004, 0.010, 0.016)
    _, _, _, phase, magnitude = head_scan(shape, voxel, times)
    scanner = Scanner(folder / "scan", MANUFACTURERS[kind], times, shape, voxel, orientation, extra=patient())
    getattr(scanner, kind)(phase.numpy(), magnitude.round().numpy())
    chi = folder / "chi.nii.gz"
    ran = ir2qsm("reconstruct", folder / "scan", "-o", chi, "--method", "tkd", "--recover", 0, "--input", "phase")
    assert ran.code == 0, ran.err
    exported = ir2qsm("export", chi, "--like", folder / "scan", "-o", folder / "out")
    assert exported.code == 0 and "Only the geometry" not in exported.err, exported.err
    assert ir2qsm("send", folder / "out", archive.dicom, "--aec", "ORTHANC").code == 0
    sent = pydicom.dcmread(next((folder / "out").iterdir()))
    images = [fetch(archive, uid) for uid in find(archive, sent)]
    assert len(images) == shape[2]
    values, grid = read_volume(chi)
    assert values.abs().max() > 0.1
    for image in images:
        row, column, place = (
            np.asarray(v, float)
            for v in (image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:], image.ImagePositionPatient)
        )
        stored = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        for i, j in ((0, 0), (5, 17), (23, 27), (12, 14)):
            point = place + i * image.PixelSpacing[1] * row + j * image.PixelSpacing[0] * column
            index = grid.matrix.T @ (point - np.asarray(grid.origin)) / np.asarray(grid.voxel_size)
            assert np.abs(index - index.round()).max() < 1e-3
            assert abs(stored[j, i] - float(values[tuple(index.round().astype(int))])) < 1e-4
    stack = np.stack([image.pixel_array for image in sorted(images, key=lambda image: int(image.InstanceNumber))])
    stack = stack.transpose(2, 1, 0) * float(images[0].RescaleSlope)
    assert np.abs(stack - values.numpy()).max() < 1e-4
    written = (folder / "chi.json").read_text(encoding="utf-8") + ran.out + ran.err + exported.out + exported.err
    assert not [secret for secret in SECRETS if secret in written]


@pytest.mark.long
@pytest.mark.parametrize("kind", list(MANUFACTURERS))
@pytest.mark.parametrize("orientation", [OBLIQUE, SAGITTAL], ids=["oblique", "sagittal"])
def test_scans_of_each_manufacturer_go_the_whole_way(
    kind: str, orientation: tuple[float, ...], archive: Archive, ir2qsm: Run, tmp_path: Path
) -> None:
    round_trip(kind, orientation, archive, ir2qsm, tmp_path)


def test_an_archive_of_another_title_says_no(
    archive: Archive, make_source: Callable[..., SourceFiles], ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    ran = ir2qsm("send", source.folder, archive.dicom, "--aec", "PACS")
    assert ran.code == 2 and "rejected the connection" in ran.err and "'PACS'" in ran.err
    ran = ir2qsm("send", source.folder, archive.http.removeprefix("http://"))
    assert ran.code == 2 and "ended the connection" in ran.err
    ran = ir2qsm("send", source.folder, f"127.0.0.1:{free_port()}")
    assert ran.code == 2 and "cannot be reached (Connection refused)" in ran.err


@contextmanager
def listening(classes: list[str], status: int) -> Iterator[str]:
    """An archive that takes some classes, and answers with a status."""
    entity, port = AE(ae_title="STRICT"), free_port()
    for sop_class in (Verification, *classes):
        entity.add_supported_context(sop_class)
    sockets: list[socket.socket] = []
    handlers = [
        (evt.EVT_C_STORE, lambda event: status),
        (evt.EVT_C_ECHO, lambda event: 0),
        (evt.EVT_CONN_OPEN, lambda event: sockets.append(event.assoc.dul.socket.socket)),
    ]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.shutdown()
        for connection in sockets:
            connection.close()


@pytest.mark.parametrize(
    ("classes", "status", "answer"),
    [
        ([MRImageStorage], 0, "does not take Comprehensive 3D SR Storage, Segmentation Storage, and nothing was sent"),
        ([], 0xA700, "status A700, it is out of space) after 0 of 11 objects"),
        ([], 0xC123, "status C123, it cannot understand the object"),
        ([], 0x0124, "status 0124, this sender is not authorised"),
    ],
)
def test_an_archive_that_says_no_is_quoted(
    classes: list[str],
    status: int,
    answer: str,
    make_source: Callable[..., SourceFiles],
    ir2qsm: Run,
    tmp_path: Path,
) -> None:
    source = make_source()
    more = ("--segmentation", source.labels_file)
    assert ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out", *more).code == 0
    every = [MRImageStorage, SegmentationStorage, "1.2.840.10008.5.1.4.1.1.88.34"]
    with listening(classes or every, status) as address:
        ran = ir2qsm("send", tmp_path / "out", address)
    assert ran.code == 2 and answer in ran.err, ran.err


def test_a_warning_of_the_archive_is_passed_on(
    make_source: Callable[..., SourceFiles], ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    (source.folder / "notes.txt").write_text("no DICOM")
    with listening([MRImageStorage], 0xB000) as address:
        ran = ir2qsm("send", source.folder, address)
    assert ran.code == 0 and "took 36 objects with a warning" in ran.err and "1 files in the folder are not" in ran.err


@pytest.mark.parametrize(
    ("address", "options", "answer"),
    [
        ("archive", (), "expected HOST:PORT"),
        ("archive:99999", (), "expected HOST:PORT"),
        ("127.0.0.1:104", ("--aet", "A" * 17), "1 to 16 ASCII characters"),
        ("127.0.0.1:104", (), "holds no DICOM file"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    address: str, options: tuple[str, ...], answer: str, ir2qsm: Run, tmp_path: Path
) -> None:
    ran = ir2qsm("send", tmp_path, address, *options)
    assert ran.code == 2 and answer in ran.err
