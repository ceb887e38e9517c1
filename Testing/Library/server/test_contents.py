"""No file that is sent makes the server read another one."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import FileUnreadable
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.server.contents import require_self_contained

SECRET = bytes(range(256)) * 8
NRRD = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 8 8 8\nspacings: 1 1 1\nencoding: raw\n"
MHA = b"ObjectType = Image\nNDims = 3\nDimSize = 8 8 8\nElementType = MET_UCHAR\n"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.nrrd", lambda path: NRRD + b"data file: " + path + b"\n\n"),
        ("f.nrrd", lambda path: NRRD + b"DATAFILE:" + path + b"\n\n"),
        ("f.nrrd", lambda path: (NRRD + b"# a comment\ndata file: " + path + b"\n\n").replace(b"\n", b"\r\n")),
        ("f.mha", lambda path: NRRD + b"data file: " + path + b"\n\n"),
        ("f.mha", lambda path: MHA + b"ElementDataFile = " + path + b"\n"),
        ("f.mha", lambda path: MHA + b"Comment = ElementDataFile = LOCAL\nElementDataFile = " + path + b"\n"),
        ("f.nrrd", lambda path: b"abcd"),
        ("f.mha", lambda path: MHA),
        ("f.mha", lambda path: b""),
        ("f.nii", lambda path: b'<nifti_image image_filename = "' + path + b'" />'),
        ("f.nii", lambda path: (348).to_bytes(4, "little") + bytes(340) + b"ni1\0"),
        ("f.nii.gz", lambda path: gzip.compress(b"<nifti_image")),
        ("f.nii.gz", lambda path: b"\x1f\x8b" + bytes(40)),
        ("f.nhdr", lambda path: NRRD + b"\n"),
        ("f.mhd", lambda path: MHA + b"ElementDataFile = LOCAL\n"),
        ("f.hdr", lambda path: (348).to_bytes(4, "little") + bytes(340) + b"n+1\0"),
        ("f.txt", lambda path: b""),
    ],
)
def test_a_header_that_names_another_file_is_refused(
    tmp_path: Path, secret: Path, name: str, content: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(content(str(secret).encode()))
    with pytest.raises(FileUnreadable):
        require_self_contained(path, in_folder=False)


def test_such_a_header_would_bring_another_file_into_the_map(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "f.nrrd"
    path.write_bytes(NRRD + b"data file: " + str(secret).encode() + b"\n\n")
    values, _ = read_volume(path)
    assert bytes(values.permute(2, 1, 0).flatten().to(torch.uint8).tolist()) == SECRET[:512]


def test_a_dicom_file_that_is_a_header_as_well_is_refused(tmp_path: Path, secret: Path) -> None:
    for name in ("IM0001.nrrd", "IM0001"):
        path = tmp_path / name
        header = NRRD + b"data file: " + str(secret).encode() + b"\n\n"
        path.write_bytes(header.ljust(max(128, len(header)), b"\0") + b"DICM")
        with pytest.raises(FileUnreadable):
            require_self_contained(path, in_folder=True)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_images_with_their_voxels_are_accepted(tmp_path: Path, write_volume: Any, suffix: str) -> None:
    values = torch.rand((9, 8, 8), generator=torch.Generator().manual_seed(1))
    require_self_contained(write_volume(tmp_path / f"f{suffix}", values, Grid((9, 8, 8), (1.0, 1.0, 2.0))), False)


def test_sidecars_weights_and_files_of_a_folder_are_accepted(tmp_path: Path) -> None:
    for name, in_folder in (("f.json", False), ("w.safetensors", False), ("IM0001", True), ("empty.dcm", True)):
        (tmp_path / name).write_bytes(b"")
        require_self_contained(tmp_path / name, in_folder)
