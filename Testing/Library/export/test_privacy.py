"""Who was scanned stands in the objects alone: in no sidecar and no message, and in anonymised objects nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from IR2QSMLib.export.sending import address_of
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.export.conftest import SourceFiles, free_port

SECRETS = (
    "Müller",
    "MÃ¼ller",
    "Jane",
    "4711",
    "19700203",
    "3.2.1970",
    "20260405",
    "ACC-99",
    "House",
    "Princeton",
    "MRPLAINS1",
    "SN-31415",
    "ST-7",
)
INVALID = {"PatientName": "Mrs Jane Müller " + 60 * "x", "PatientBirthDate": "3.2.1970", "PatientSex": "female"}
"""Values that libraries of DICOM quote when they warn of them."""


def uids(folder: Path) -> set[str]:
    """All UIDs in DICOM files that are not those of the standard."""
    values = {str(e.value) for path in folder.iterdir() for e in pydicom.dcmread(path).iterall() if e.VR == "UI"}
    return {value for value in values if not value.startswith("1.2.840.10008.")}


@pytest.mark.parametrize("header", [{}, INVALID])
@pytest.mark.filterwarnings("ignore")
def test_messages_of_export_and_send_name_nobody(
    header: dict[str, object], make_source: Callable[..., SourceFiles], ir2qsm: Callable[..., Any], tmp_path: Path
) -> None:
    with pydicom.config.disable_value_validation():
        source = make_source(**header)
    outputs = [ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out", "--progress", "json")]
    assert outputs[0].code == 0, outputs[0].err
    outputs.append(ir2qsm("send", tmp_path / "out", f"127.0.0.1:{free_port()}"))
    assert outputs[1].code == 2
    text = "".join(ran.out + ran.err for ran in outputs)
    assert not [secret for secret in (*SECRETS, *uids(source.folder)) if secret in text]
    assert [p.suffix for p in (tmp_path / "out").iterdir() if p.suffix != ".dcm"] == []


@pytest.mark.parametrize("kind", ["mr", "parametric-map"])
def test_anonymised_objects_name_nobody_and_belong_together(
    kind: str, make_source: Callable[..., SourceFiles], ir2qsm: Callable[..., Any], tmp_path: Path
) -> None:
    source = make_source("enhanced")
    ran = ir2qsm(
        *("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out", "--anonymise"),
        *("--kind", kind, "--segmentation", source.labels_file),
    )
    assert ran.code == 0, ran.err
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert not [secret for secret in SECRETS if secret.encode() in content or secret.encode("latin-1") in content]
    assert uids(source.folder).isdisjoint(uids(tmp_path / "out"))
    objects = [pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()]
    for keyword in ("PatientID", "StudyInstanceUID", "PatientIdentityRemoved"):
        assert len({str(ds[keyword].value) for ds in objects}) == 1, keyword
    assert len({str(ds.FrameOfReferenceUID) for ds in objects if "FrameOfReferenceUID" in ds}) == 1
    dates = {str(e.value) for ds in objects for e in ds.iterall() if e.VR in ("DA", "DT") and e.value}
    assert {date[:8] for date in dates} == {"19000101"}


def test_what_a_scan_leaves_in_a_sidecar_names_nobody(make_source: Callable[..., SourceFiles], tmp_path: Path) -> None:
    source = make_source()
    pydicom_files = [pydicom.dcmread(path) for path in source.folder.iterdir()]
    other = generate_uid()
    for number, ds in enumerate(pydicom_files[:9]):  # a series that is left out, which a note says
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.SOPInstanceUID = other, 99, generate_uid()
        ds.SeriesDescription, ds.ImageType = "mIP of Jane", ["DERIVED", "PRIMARY", "MNIP"]
        ds.ImagePositionPatient = [0.0, 0.0, 3.0 * number]
        ds.save_as(source.folder / f"more{number}")
    folder = source.folder.rename(tmp_path / "Jane")
    scan = find_acquisition(folder)
    assert any("series 99" in note for note in scan.notes)
    text = json.dumps([scan.table(), scan.notes, scan.sources], ensure_ascii=False)
    assert not [secret for secret in (*SECRETS, *uids(folder)) if secret in text]


@pytest.mark.parametrize(("text", "address"), [("a.b:104", ("a.b", 104)), ("[::1]:4242", ("::1", 4242))])
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address
