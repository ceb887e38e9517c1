"""Total fields that a scanner computed, in DICOM and in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.io.total_fields import read_total_field
from IR2QSMLib.pipeline.inspection import detect_input
from IR2QSMLib.pipeline.metadata import FieldMetadata
from Testing.Library.scanners import Scanner, random_scan, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 1)
HZ = 400.0 * np.sin(PHASE)
STORED = ((HZ + 500.0) / 1000.0 * 4095).round()
SLOPE, INTERCEPT = 1000.0 / 4095, -500.0
MAGNITUDE_TYPE = ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]


@pytest.mark.parametrize(
    ("manufacturer", "image_type", "extra", "unit"),
    [
        ("Philips Medical Systems", ["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"], {}, "hz"),
        ("Philips", ["DERIVED", "PRIMARY", "VELOCITY MAP", "VELOCITY", "NONE"], {"RescaleType": "Hz"}, "hz"),
        ("GE MEDICAL SYSTEMS", ["DERIVED", "SECONDARY", "FIELDMAP"], {}, "hz"),
        ("SIEMENS", ["DERIVED", "PRIMARY", "P", "ND"], {"RescaleType": "rad/s"}, "rad/s"),
    ],
)
def test_field_map_of_dicom_is_a_total_field(
    manufacturer: str, image_type: list[str], extra: dict[str, str], unit: str, tmp_path: Path
) -> None:
    scanner = Scanner(tmp_path, manufacturer, echo_times=(0.007,))
    scanner.write("m", MAGNITUDE, series=5, uid="1.2.3", image_type=MAGNITUDE_TYPE)
    scanner.extra = extra
    scanner.write("b0", STORED, series=5, uid="1.2.3", image_type=image_type, slope=SLOPE, intercept=INTERCEPT)
    assert detect_input(tmp_path) == "total-field"
    field = read_total_field(tmp_path)
    assert np.abs(field.values.numpy() - HZ[0]).max() < 0.2 and field.grid.shape == (12, 10, 9)
    metadata, sources, _ = FieldMetadata().with_sidecar(field.name, field.header)
    assert (metadata.unit, metadata.b0) == (unit, 3.0) and sources["unit"] == "JSON"
    with pytest.raises(FieldInvalid, match="Give the field that the scanner computed with --input total-field"):
        find_acquisition(tmp_path)


def test_phase_beside_a_field_map_is_the_input(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path)
    scanner.siemens(*random_scan((12, 10, 9), 2))
    scanner.echo_times = (0.007,)
    image_type = ["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"]
    for series in (11, 12):
        scanner.write("b0", STORED, series=series, image_type=image_type, slope=SLOPE, intercept=INTERCEPT)
    assert detect_input(tmp_path) == "phase"
    assert find_acquisition(tmp_path).echo_times == (0.004, 0.010)
    with pytest.raises(ParameterInvalid, match=r"holds 2 total fields, of .*; say which with --series"):
        read_total_field(tmp_path)
    assert read_total_field(tmp_path, ["12"]).name.startswith("series 12")


@pytest.mark.parametrize(
    "image_type", [["DERIVED", "PRIMARY", "VELOCITY MAP", "VELOCITY", "PCA"], ["O", "P", "VELOCITY"]]
)
def test_velocities_of_flow_are_no_field(image_type: list[str], tmp_path: Path) -> None:
    scanner = Scanner(tmp_path, "Philips", echo_times=(0.007,))
    scanner.extra = {"RescaleType": "cm/s"} if "PCA" not in image_type else {}
    scanner.write("flow", STORED, series=5, image_type=image_type, slope=SLOPE, intercept=INTERCEPT)
    assert detect_input(tmp_path) == "phase"
    with pytest.raises(FieldInvalid, match=r"No series in .* is a phase: series 5 .*: unknown kind"):
        find_acquisition(tmp_path)


def test_maps_beside_a_scan_in_dicom_are_not_the_input(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(*random_scan((12, 10, 9), 2))
    write_echo(tmp_path / "totalfield.nii.gz", HZ[0], Units="ppm")
    write_echo(tmp_path / "localfield.nii.gz", HZ[0], Units="ppm")
    assert detect_input(tmp_path) == "phase" and find_acquisition(tmp_path).echo_times == (0.004, 0.010)
    assert read_total_field(tmp_path).name == "totalfield.nii.gz"


def test_folder_of_nifti_with_one_field_map_is_a_total_field(tmp_path: Path) -> None:
    write_echo(tmp_path / "sub-1_magnitude.nii", MAGNITUDE[0])
    with pytest.raises(FieldInvalid, match=r"holds no total field .*, but sub-1_magnitude\.nii; give the file"):
        read_total_field(tmp_path)
    write_echo(tmp_path / "sub-1_fieldmap.nii", HZ[0], Units="Hz", MagneticFieldStrength=7)
    assert detect_input(tmp_path) == "total-field"
    field = read_total_field(tmp_path)
    assert field.name == "sub-1_fieldmap.nii" and field.header["MagneticFieldStrength"] == 7
