"""Files that are missing, truncated, damaged or of other formats: refused with their name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import image_of, read_image, read_volume

SHAPE = (9, 10, 11)
VALUES = torch.arange(9.0 * 10 * 11).reshape(SHAPE)


def write(path: Path, values: torch.Tensor, *, compressed: bool = True) -> Path:
    sitk.WriteImage(image_of(values, Grid(tuple(values.shape))), str(path), useCompression=compressed)
    return path


def test_missing_file_is_refused_by_name_without_folder(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable) as caught:
        read_image(tmp_path / "phase.nii.gz")
    assert str(caught.value) == "phase.nii.gz does not exist; check the path."


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match=r"cannot be opened \(Is a directory\)"):
        read_image(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello" * 200])
def test_file_of_another_format_is_refused_with_known_ones_listed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "phase.nii"
    path.write_bytes(content)
    with pytest.raises(FileUnreadable, match=r"^phase\.nii is not a NIfTI, NRRD or MetaImage file .*; convert it"):
        read_image(path)


def test_picture_is_not_a_volume(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([16, 16], sitk.sitkUInt8), str(tmp_path / "a.png"))
    with pytest.raises(FileUnreadable, match=r"a\.png is not a NIfTI, NRRD or MetaImage file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kept", [0.99, 0.6])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, compressed: bool, kept: float) -> None:
    path = write(tmp_path / f"phase{suffix}", torch.rand(SHAPE), compressed=compressed)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FileUnreadable, match=rf"^phase{suffix} is truncated or damaged.*; copy or export it again\.$"):
        read_image(path)


def test_one_missing_byte_of_a_nifti_file_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "phase.nii", VALUES)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileUnreadable, match="the 4,312 bytes that its header promises cannot all be read"):
        read_image(path)


def test_damaged_gzip_stream_is_noticed_by_its_checksum(tmp_path: Path) -> None:
    content = write(tmp_path / "intact.nii", torch.rand(40, 40, 40)).read_bytes()
    packed = bytearray(gzip.compress(content))
    packed[-8] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(FileUnreadable, match=r"a\.nii\.gz is .* damaged"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("header", "data"), [("a.mhd", "a.raw"), ("a.nhdr", "a.raw"), ("a.hdr", "a.img")])
@pytest.mark.parametrize("kept", [0.9, 0.0])
def test_short_or_missing_data_file_is_refused(tmp_path: Path, header: str, data: str, kept: float) -> None:
    if header == "a.hdr":
        sitk.WriteImage(image_of(VALUES, Grid(SHAPE)), str(tmp_path / "a.img"))
    else:
        write(tmp_path / header, VALUES, compressed=False)
    assert torch.equal(read_volume(tmp_path / header)[0], VALUES)
    content = (tmp_path / data).read_bytes()
    (tmp_path / data).unlink()
    if kept:
        (tmp_path / data).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FileUnreadable, match=r"truncated or damaged|is not a NIfTI"):
        read_image(tmp_path / header)


@pytest.mark.parametrize(
    ("suffix", "right", "wrong"),
    [
        (".nrrd", b"(0,1,0)", b"(0,1{5,0)"),
        (".nrrd", b"(0,0,0)\n", b"(0,0)0,0)\n"),
        (".nrrd", b"sizes: 9 10", b"sizes: 9 10e2"),
        (".mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1.x 1"),
        (".mha", b"Offset =", b"Offset\0="),
        (".mha", b"Offset = 0 0 0", b"Offset = 0 00"),
        (".mha", b"AnatomicalOrientation = ", b"AnatomicalOrientation "),
        (".mha", b"TransformMatrix = 1 0", b"TransformMatrix = 1 nan"),
    ],
)
def test_numbers_of_a_text_header_that_are_none_are_refused(
    tmp_path: Path, suffix: str, right: bytes, wrong: bytes
) -> None:
    path = write(tmp_path / f"a{suffix}", VALUES, compressed=False)
    content = path.read_bytes()
    assert right in content
    path.write_bytes(content.replace(right, wrong, 1))
    with pytest.raises(FileUnreadable, match=rf"^a{suffix} is damaged: its header has .*; copy or export it again\.$"):
        read_image(path)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [(".nrrd", b"space directions: (1,0,0) (0,1,0) (0,0,1)\n"), (".mha", b"ElementSpacing = 1 1 1\n")],
)
def test_an_image_without_a_voxel_size_is_refused(tmp_path: Path, suffix: str, line: bytes) -> None:
    path = write(tmp_path / f"a{suffix}", VALUES, compressed=False)
    content = path.read_bytes()
    assert line in content
    path.write_bytes(content.replace(line, b""))
    with pytest.raises(GridInvalid, match=rf"^a{suffix} gives no voxel size \(.*\); set it in the header\.$"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("factor", [1e-5, 1e3, 1e25])
def test_voxels_that_no_scanner_has_are_refused(tmp_path: Path, suffix: str, factor: float) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image_of(VALUES, Grid(SHAPE, (factor, 1.0, 1.0))), str(path))
    with pytest.raises(GridInvalid, match=r"; expected 0\.001 to 100 mm: correct the voxel size in its header\.$"):
        read_image(path)


@pytest.mark.parametrize("size", [-2.0, float("nan"), 0.0])
def test_a_voxel_size_of_nifti_that_is_not_positive_is_refused(tmp_path: Path, size: float) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[84:88] = struct.pack("<f", size)
    path.write_bytes(content)
    with pytest.raises(GridInvalid, match=r"no voxel size along y \(pixdim is .*\); set it in the header"):
        read_image(path)


@pytest.mark.parametrize(("place", "number"), [(70, 4096), (72, -32736), (72, 16), (42, -9), (46, 0)])
def test_a_nifti_header_of_unknown_types_or_sizes_is_refused(tmp_path: Path, place: int, number: int) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[place : place + 2] = struct.pack("<h", number)
    path.write_bytes(content[:-8])
    with pytest.raises((FileUnreadable, GridInvalid), match=r"damaged"):
        read_image(path)


@pytest.mark.parametrize("offset", [0.0, 1.0, 348.0, -352.0, float("nan"), float("inf")])
def test_voxels_of_a_nifti_file_cannot_begin_inside_its_header(tmp_path: Path, offset: float) -> None:
    path = write(tmp_path / "a.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[108:112] = struct.pack("<f", offset)
    path.write_bytes(content)
    with pytest.raises(FileUnreadable, match=r"inside its header; set vox_offset to 352, or export it again\.$"):
        read_image(path)
    content[108:112] = struct.pack("<f", 352)  # as the message says
    path.write_bytes(content)
    assert torch.equal(read_volume(path)[0], VALUES)
