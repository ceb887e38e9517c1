"""DICOM folders as three manufacturers write them: the images of the scan, their place, and errors."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid, IR2QSMError, ParameterInvalid
from IR2QSMLib.core.units import B0_RANGE, TE_RANGE
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import Scanner, random_scan

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)


def phase_difference(a: torch.Tensor, b: np.ndarray) -> float:
    """Largest difference modulo 2π [rad]."""
    return float(np.abs(np.angle(np.exp(1j * (a.numpy() - b)))).max())


@pytest.mark.parametrize(
    ("manufacturer", "method"),
    [
        ("SIEMENS", "siemens"),
        ("Philips Medical Systems", "philips"),
        ("GE MEDICAL SYSTEMS", "ge"),
        ("SIEMENS", "enhanced"),
    ],
)
def test_scans_of_each_manufacturer_are_read(manufacturer: str, method: str, tmp_path: Path) -> None:
    scanner = Scanner(tmp_path / "scan", manufacturer, orientation=OBLIQUE)
    getattr(scanner, method)(PHASE, MAGNITUDE)
    scan = find_acquisition(tmp_path / "scan")
    assert scan.echo_times == (0.004, 0.010) and scan.b0 == 3.0 and scan.manufacturer == manufacturer
    phase, notes, _ = PhaseConversion()(scan)
    assert phase_difference(phase.values, PHASE) < 0.01
    scale = phase.magnitude.numpy() / MAGNITUDE
    assert scale == pytest.approx(np.full_like(scale, scale[0, 0, 0, 0]), rel=0.01)
    assert notes["sign"]["turned_as_manufacturer_is_ge"] == (method == "ge")
    grid = scan.grid
    assert grid.shape == (12, 10, 9) and grid.voxel_size == pytest.approx((1.5, 2.0, 3.0))
    assert grid.matrix[:, 0] == pytest.approx(OBLIQUE[:3]) and grid.matrix[:, 1] == pytest.approx(OBLIQUE[3:])
    assert grid.point((0, 0, 8)) == pytest.approx(scanner.position(8))
    assert [row["kind"] for row in scan.table()] == [k for k in scan.kinds for _ in range(2)]


def test_place_is_that_of_simpleitk(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path / "scan", orientation=OBLIQUE, echo_times=(0.01,))
    scanner.siemens(PHASE[:1], MAGNITUDE[:1])
    scan = find_acquisition(tmp_path / "scan")
    reader = sitk.ImageSeriesReader()
    files = sorted(str(p) for p in (tmp_path / "scan").iterdir())[:9]
    reader.SetFileNames(files)
    image = reader.Execute()
    assert image.GetOrigin() == pytest.approx(scan.grid.origin)
    assert image.GetDirection() == pytest.approx(scan.grid.direction, abs=1e-5)
    assert image.GetSpacing() == pytest.approx(scan.grid.voxel_size, abs=1e-5)
    assert np.array_equal(sitk.GetArrayFromImage(image).T, scan.values_of("magnitude")[0].numpy())


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_compressed_pixels_are_read(compressor: str, tmp_path: Path) -> None:
    Scanner(tmp_path / "plain", echo_times=(0.01,)).siemens(PHASE[:1], MAGNITUDE[:1])
    plain = find_acquisition(tmp_path / "plain")
    (tmp_path / "compressed").mkdir()
    for path in (tmp_path / "plain").iterdir():
        image, name = sitk.ReadImage(str(path)), tmp_path / "compressed" / f"{path.name}.dcm"
        header = pydicom.dcmread(path)
        stored = sitk.GetImageFromArray(header.pixel_array.astype(np.uint16)[None])
        for key in image.GetMetaDataKeys():
            if not key.startswith("0028"):
                stored.SetMetaData(key, image.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(name))
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(stored)
        compressed = pydicom.dcmread(name)
        assert compressed.file_meta.TransferSyntaxUID.is_compressed
        compressed.PixelSpacing, compressed.SliceThickness = header.PixelSpacing, header.SliceThickness
        compressed.ImageOrientationPatient = header.ImageOrientationPatient
        compressed.ImagePositionPatient = header.ImagePositionPatient
        if "RescaleSlope" in header:
            compressed.RescaleSlope, compressed.RescaleIntercept = header.RescaleSlope, header.RescaleIntercept
        compressed.save_as(name)
    scan = find_acquisition(tmp_path / "compressed")
    assert torch.equal(scan.values_of("phase"), plain.values_of("phase"))
    assert torch.equal(scan.values_of("magnitude"), plain.values_of("magnitude"))


def test_other_series_are_left_out_with_a_note(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path / "scan")
    scanner.siemens(PHASE, MAGNITUDE)
    scanner.write("T1", MAGNITUDE, series=2, image_type=["ORIGINAL", "PRIMARY", "M", "NORM"])
    scanner.write("mIP", MAGNITUDE, series=8, image_type=["DERIVED", "PRIMARY", "MNIP"])
    (tmp_path / "scan" / "notes.txt").write_text("not an image")
    scan = find_acquisition(tmp_path / "scan")
    assert {row["image"].split(",")[0] for row in scan.table()} == {"series 5", "series 6"}
    assert "series 2: magnitude" in scan.notes[0] and "series 8: unknown kind" in scan.notes[0]
    assert "gre_T1" not in scan.notes[0]  # free text, and notes go into sidecars


def test_one_of_two_scans_has_to_be_chosen(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path / "scan")
    scanner.siemens(PHASE, MAGNITUDE)
    scanner.siemens(-PHASE, 2 * MAGNITUDE, first=11)
    with pytest.raises(ParameterInvalid, match=r"Several scans with phase.*series 6.*series 12.*with --series"):
        find_acquisition(tmp_path / "scan")
    first, second = (find_acquisition(tmp_path / "scan", series=[n]) for n in (6, 12))
    assert float(second.values_of("magnitude").mean() / first.values_of("magnitude").mean()) == pytest.approx(2.0)
    assert phase_difference(PhaseConversion()(second)[0].values, -PHASE) < 0.01
    with pytest.raises(ParameterInvalid, match="There is no series 99"):
        find_acquisition(tmp_path / "scan", series=[99])
    with pytest.raises(FieldInvalid, match="No series in 'scan' is a phase"):
        find_acquisition(tmp_path / "scan", series=[5])


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (((0, 4),), r"has 8 slices where .* has 9 \(none at"),
        (((0, 8),), r"has 8 slices where .* has 9 \(none at 4\.0 mm\)"),
        (((0, 4), (1, 4)), r"has 8 slices where .*\(magnitude\) has 9"),
    ],
)
def test_missing_slices_are_refused(without: tuple[tuple[int, int], ...], message: str, tmp_path: Path) -> None:
    Scanner(tmp_path / "scan").siemens(PHASE, MAGNITUDE, without=without)
    with pytest.raises(GridInvalid, match=message):
        find_acquisition(tmp_path / "scan")


def test_slice_missing_in_all_volumes_is_refused(tmp_path: Path) -> None:
    scanner, gap = Scanner(tmp_path / "scan"), ((0, 4), (1, 4))
    scanner.write("mag", MAGNITUDE, series=5, image_type=["ORIGINAL", "PRIMARY", "M"], without=gap)
    scanner.write("pha", 9 + PHASE, series=6, image_type=["ORIGINAL", "PRIMARY", "P"], without=gap)
    with pytest.raises(GridInvalid, match=r"lacks 1 slice \(at -8\.0 mm along the stack\)"):
        find_acquisition(tmp_path / "scan")


@pytest.mark.parametrize(
    ("shift", "message"),
    [((5.0, 0.0, 0.0), "5.0 mm beside"), ((0.0, -4.0, 0.0), "beside"), ((0.0, 0.0, -1.4), "1.60 mm")],
)
def test_a_slice_that_lies_beside_its_stack_is_refused(shift: tuple[float, ...], message: str, tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(PHASE, MAGNITUDE)
    for file in tmp_path.iterdir():  # the last slice of every volume
        ds = pydicom.dcmread(file)
        if float(ds.ImagePositionPatient[2]) == 4.0:
            ds.ImagePositionPatient = [float(p) + d for p, d in zip(ds.ImagePositionPatient, shift, strict=True)]
            ds.save_as(file)
    with pytest.raises(GridInvalid, match=re.escape(message)):
        find_acquisition(tmp_path)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_fewer_than_eight_slices_are_refused(n: int, tmp_path: Path) -> None:
    Scanner(tmp_path / "scan", shape=(12, 10, n)).siemens(PHASE[..., :n], MAGNITUDE[..., :n])
    with pytest.raises(GridInvalid, match=f"^series 6, TE 4 ms has {n} voxels along z; expected at least 8: give the"):
        find_acquisition(tmp_path / "scan")


def test_missing_field_strength_is_requested_and_user_values_override(tmp_path: Path) -> None:
    Scanner(tmp_path / "scan", b0=None).siemens(PHASE, MAGNITUDE)
    with pytest.raises(ParameterInvalid, match=r"No field strength is known of series 6.*--b0"):
        find_acquisition(tmp_path / "scan")
    scan = find_acquisition(tmp_path / "scan", b0=7.0, echo_times=(0.005, 0.011))
    assert (scan.b0, scan.echo_times) == (7.0, (0.005, 0.011))
    assert scan.sources == {"echo_times": "given", "b0": "given"}
    assert "4, 10 ms; 5, 11 ms, which were given" in scan.notes[0]


@pytest.mark.parametrize(
    ("extra", "b0", "source", "note"),
    [
        ({"ImagingFrequency": 123.2}, 2.894, "imaging frequency", ""),
        ({"MagneticFieldStrength": 30000.0}, 3.0, "header", "was read as gauss"),
        ({"MagneticFieldStrength": 3.0, "ImagingFrequency": 63.9}, 3.0, "header", "belongs to 1.501 T"),
    ],
)
def test_field_strength_is_taken_from_the_headers(
    extra: dict[str, float], b0: float, source: str, note: str, tmp_path: Path
) -> None:
    Scanner(tmp_path / "scan", b0=None, extra=extra).siemens(PHASE, MAGNITUDE)
    scan = find_acquisition(tmp_path / "scan")
    assert scan.b0 == pytest.approx(b0) and scan.sources["b0"] == source
    assert any(note in line for line in scan.notes) if note else not scan.notes


def test_ultrashort_echo_times_of_headers_are_doubted(tmp_path: Path) -> None:
    Scanner(tmp_path / "scan", echo_times=(3e-5,)).siemens(PHASE[:1], MAGNITUDE[:1])  # or 0.03 s, not in milliseconds
    scan = find_acquisition(tmp_path / "scan")
    assert scan.echo_times == (3e-5,)
    assert scan.notes == [
        "The echo times of the headers are ultrashort, 0.03 ms; if they are seconds instead, say --te 0.03."
    ]
    assert find_acquisition(tmp_path / "scan", echo_times=[0.03]).echo_times == (0.03,)


def test_folder_without_a_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FileUnreadable, match=r"holds neither NIfTI nor DICOM images of MR \(1 other files\)"):
        find_acquisition(tmp_path)
    Scanner(tmp_path).write("mag", MAGNITUDE, series=5, image_type=["ORIGINAL", "PRIMARY", "M"])
    with pytest.raises(FieldInvalid, match="Export phase images from the scanner"):
        find_acquisition(tmp_path)


def test_single_dicom_file_is_refused_and_its_folder_requested(tmp_path: Path, ir2qsm: Callable[..., Any]) -> None:
    Scanner(tmp_path / "scan").siemens(PHASE, MAGNITUDE)
    file = tmp_path / "scan" / "IM00003"
    for command in (("inspect",), ("reconstruct", "-o", tmp_path / "chi.nii"), ("fieldmap", "-o", tmp_path / "f")):
        ran = ir2qsm(*command, file)
        assert ran.code == 2 and "IM00003 is a DICOM file, one part of a scan; give its folder" in ran.out + ran.err


def test_undecodable_pixels_are_refused_by_file_name(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(PHASE, MAGNITUDE)
    for path in tmp_path.iterdir():
        header = pydicom.dcmread(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header.BitsAllocated = [16, 16]
            header.save_as(path)
    with pytest.raises(FileUnreadable, match=r"The pixels of IM000\d\d cannot be read"):
        find_acquisition(tmp_path).values_of("phase")


def test_header_without_position_is_refused_by_file_name(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(PHASE, MAGNITUDE)
    broken = pydicom.dcmread(tmp_path / "IM00003")
    del broken.ImagePositionPatient
    broken.save_as(tmp_path / "IM00003")
    with pytest.raises(FileUnreadable, match="IM00003 lacks the place of its slices"):
        find_acquisition(tmp_path)


@settings(max_examples=25, deadline=None)
@given(
    te=st.lists(st.floats(-1.0, 2e5, allow_nan=False), min_size=1, max_size=3),
    b0=st.one_of(st.none(), st.floats(0.0, 1e5)),
    manufacturer=st.sampled_from(["SIEMENS", "GE", "", "Philips"]),
    image_type=st.lists(st.sampled_from(["ORIGINAL", "P", "M", "DERIVED", "R", "I", "NORM"]), max_size=4),
    slope=st.sampled_from([None, 0.0, 1.0, -2.0, 1e-30]),
)
def test_any_header_is_read_or_refused_with_an_error(
    te: list[float],
    b0: float | None,
    manufacturer: str,
    image_type: list[str],
    slope: float | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("headers")
    scanner = Scanner(folder, manufacturer, tuple(round(t, 6) for t in te), (8, 8, 8), b0=b0)
    stored = np.arange(8**3).reshape(8, 8, 8)[None].repeat(len(te), 0)
    scanner.write("a", stored, series=1, image_type=image_type, slope=slope)
    scanner.write("b", stored, series=2, image_type=["M"])
    try:
        scan = find_acquisition(folder)
    except IR2QSMError as error:
        assert re.search(r"\.$", str(error)) and str(folder) not in str(error)
    else:
        assert all(TE_RANGE[0] <= t <= TE_RANGE[1] for t in scan.echo_times) and B0_RANGE[0] <= scan.b0 <= B0_RANGE[1]
        assert list(scan.echo_times) == sorted(scan.echo_times)
        assert math.isfinite(float(scan.values_of(scan.kinds[0]).sum()))
