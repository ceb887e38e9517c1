"""DICOM as it is packed: gzipped, compressed, as a mosaic."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from IR2QSMLib.core.errors import FileUnreadable, PackageMissing
from IR2QSMLib.io.acquisition import Acquisition
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import Scanner, random_scan

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
ROOT = Path(__file__).resolve().parents[3]


def require_equal(a: Acquisition, b: Acquisition) -> None:
    assert a.grid.shape == b.grid.shape and a.grid.direction == pytest.approx(b.grid.direction, abs=1e-6)
    assert a.grid.origin == pytest.approx(b.grid.origin, abs=1e-4) and a.echo_times == b.echo_times
    assert a.grid.voxel_size == pytest.approx(b.grid.voxel_size)
    for kind in ("phase", "magnitude"):
        assert torch.equal(a.values_of(kind), b.values_of(kind))


def compressed_by_itk(frame: np.ndarray, compressor: str, folder: Path) -> bytes:
    """The bytes of a frame as SimpleITK compresses them."""
    file = folder / "frame.dcm"
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(file))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(frame[None].astype(np.uint16)))
    dataset = pydicom.dcmread(file)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


@pytest.mark.parametrize("manufacturer", ["siemens", "philips", "enhanced"])
def test_gzipped_files_are_read(manufacturer: str, tmp_path: Path) -> None:
    getattr(Scanner(tmp_path / "plain", orientation=OBLIQUE), manufacturer)(PHASE, MAGNITUDE)
    (tmp_path / "packed").mkdir()
    for n, path in enumerate((tmp_path / "plain").iterdir()):
        content = path.read_bytes()[132 * (n % 2) :]  # every other one without preamble
        (tmp_path / "packed" / f"{path.name}.dcm.gz").write_bytes(gzip.compress(content))
    (tmp_path / "packed" / "short.dcm.gz").write_bytes(gzip.compress(content)[:-50])
    require_equal(find_acquisition(tmp_path / "packed"), find_acquisition(tmp_path / "plain"))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLosslessSV1, JPEG2000Lossless])
def test_compressed_frames_are_read(syntax: str, tmp_path: Path) -> None:
    for name in ("plain", "packed"):
        Scanner(tmp_path / name, orientation=OBLIQUE).enhanced(PHASE, MAGNITUDE)
    path = next((tmp_path / "packed").iterdir())
    dataset = pydicom.dcmread(path)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        compressor = "JPEG" if syntax == JPEGLosslessSV1 else "JPEG2000"
        frames = [compressed_by_itk(frame, compressor, tmp_path) for frame in dataset.pixel_array]
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    require_equal(find_acquisition(tmp_path / "packed"), find_acquisition(tmp_path / "plain"))


def test_missing_decoder_names_the_packages_that_have_one(tmp_path: Path) -> None:
    path = Scanner(tmp_path).enhanced(PHASE, MAGNITUDE)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)] * int(dataset.NumberOfFrames))
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
    dataset.save_as(path)
    with pytest.raises(
        PackageMissing, match=r"High-Throughput JPEG 2000.*pip install 'ir2qsm\[dicom-compressed\]'"
    ) as e:
        find_acquisition(tmp_path).values_of("phase")
    extra = re.search(r"ir2qsm\[([\w-]+)\]", str(e.value))
    assert extra is not None and f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def csa_header(n_slices: int, normal: np.ndarray) -> bytes:
    """Siemens' private header of a mosaic, in the form SV10."""
    tags = {"NumberOfImagesInMosaic": [f"{n_slices}"], "SliceNormalVector": [f"{v:.8f}" for v in normal]}
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, values in tags.items():
        vr = b"US\0\0" if len(values) == 1 else b"FD\0\0"
        content += struct.pack("<64si4siii", name.encode(), len(values), vr, 0, len(values), 77)
        for value in values:
            item = value.encode() + b"\0"
            content += struct.pack("<4i", len(item), len(item), 77, len(item)) + item + bytes(-len(item) % 4)
    return content


def write_mosaic(scanner: Scanner, phase: np.ndarray, magnitude: np.ndarray, *, down: bool, private: bool) -> None:
    """Each volume as one image of 3 × 3 or more slices, those below in the order of their numbers."""
    nx, ny, n_slices = scanner.shape
    per_row = int(np.ceil(np.sqrt(n_slices)))
    stored_phase = np.floor((phase + np.pi) / (2 * np.pi) * 4096).clip(0, 4095)
    for series, kind, values in ((5, "M", magnitude), (6, "P", stored_phase)):
        for e, te in enumerate(scanner.echo_times):
            image_type = ["ORIGINAL", "PRIMARY", kind, "ND", "MOSAIC"]
            ds = scanner.header(kind, te, series, f"1.2.{series}", image_type)
            mosaic = np.zeros((per_row * ny, per_row * nx), "<u2")
            for n, z in enumerate(range(n_slices)[:: -1 if down else 1]):
                row, column = divmod(n, per_row)
                mosaic[row * ny : (row + 1) * ny, column * nx : (column + 1) * nx] = values[e, :, :, z].T
            ds.Rows, ds.Columns = mosaic.shape
            along_x, along_y = np.array(scanner.orientation[:3]), np.array(scanner.orientation[3:])
            first = np.array(scanner.position(n_slices - 1 if down else 0))
            shift = 0.5 * (per_row - 1) * (nx * scanner.voxel_size[0] * along_x + ny * scanner.voxel_size[1] * along_y)
            ds.ImagePositionPatient = (first - shift).round(6).tolist()
            ds.SpacingBetweenSlices = scanner.voxel_size[2]
            if kind == "P":
                ds.RescaleSlope, ds.RescaleIntercept = 2.0, -4096.0
            if private:
                ds.add_new((0x0029, 0x0010), "LO", "SIEMENS CSA HEADER")
                ds.add_new((0x0029, 0x1010), "OB", csa_header(n_slices, scanner.normal() * (-1 if down else 1)))
            ds.PixelRepresentation, ds.PixelData = 0, mosaic.tobytes()
            scanner.save(ds)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize(("orientation", "n_slices"), [(OBLIQUE, 9), (OBLIQUE, 8), ((0, 1, 0, 0, 0, -1), 9)])
def test_mosaics_are_cut_into_slices(orientation: tuple[float, ...], n_slices: int, down: bool, tmp_path: Path) -> None:
    scan = [values[..., :n_slices] for values in (PHASE, MAGNITUDE)]
    for name in ("plain", "mosaic"):
        scanner = Scanner(tmp_path / name, orientation=orientation, shape=(12, 10, n_slices))
        if name == "plain":
            scanner.siemens(*scan)
        else:
            write_mosaic(scanner, *scan, down=down, private=True)
    require_equal(find_acquisition(tmp_path / "mosaic"), find_acquisition(tmp_path / "plain"))


def test_mosaic_without_its_private_header_is_refused_by_that_word(tmp_path: Path) -> None:
    write_mosaic(Scanner(tmp_path), PHASE, MAGNITUDE, down=False, private=False)
    with pytest.raises(FileUnreadable, match="is a mosaic: all slices lie in one image, and Siemens' private header"):
        find_acquisition(tmp_path)
    Scanner(tmp_path, n_written=100).siemens(PHASE, MAGNITUDE, first=11)  # the scan beside it is used
    assert find_acquisition(tmp_path).grid.shape == (12, 10, 9)
