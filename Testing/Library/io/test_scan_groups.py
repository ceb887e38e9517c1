"""Which images of a folder are one scan, and how one of several is chosen."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, ParameterInvalid
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import Scanner, random_scan, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
TIMES, OTHER_TIMES = (0.004, 0.010), (0.007, 0.013)


def write_scan(folder: Path, stem: str, times: tuple[float, ...], magnitude_type: str = "M", **header: object) -> None:
    """A scan by dcm2niix' names."""
    for e, te in enumerate(times):
        about = {"EchoTime": te, "MagneticFieldStrength": 3, **header}
        write_echo(folder / f"{stem}_e{e + 1}_ph.nii", PHASE[e], ImageType=["ORIGINAL", "P"], **about)
        write_echo(folder / f"{stem}_e{e + 1}.nii", MAGNITUDE[e], ImageType=["ORIGINAL", magnitude_type], **about)


def test_scans_of_two_folders_are_not_merged_and_names_choose(tmp_path: Path) -> None:
    write_scan(tmp_path / "visit1", "gre_5", TIMES)
    write_scan(tmp_path / "visit2", "gre_6", OTHER_TIMES)
    with pytest.raises(ParameterInvalid, match=r"2 scans with phase: visit1/gre_5; visit2/gre_6\.") as caught:
        find_acquisition(tmp_path)
    advised = re.findall(r"such as --series (\S+)\.$", str(caught.value))
    assert find_acquisition(tmp_path, series=advised).echo_times == TIMES
    assert find_acquisition(tmp_path, series=["gre_6"]).echo_times == OTHER_TIMES


@pytest.mark.parametrize(("first", "second"), [("sub-1", "sub-2"), ("sub-1_ses-1", "sub-1_ses-2"), ("mtw", "pdw")])
def test_scans_with_other_names_are_not_merged(first: str, second: str, tmp_path: Path) -> None:
    write_scan(tmp_path, first, TIMES)
    write_scan(tmp_path, second, OTHER_TIMES)
    with pytest.raises(ParameterInvalid, match=f"{first}; {second}"):
        find_acquisition(tmp_path)


def test_magnitudes_of_another_series_number_are_found(tmp_path: Path) -> None:
    write_scan(tmp_path, "gre_6", TIMES, SeriesNumber=6)
    for path in tmp_path.glob("gre_6_e?.*"):
        path.rename(path.with_name(path.name.replace("gre_6", "gre_5")))
    assert find_acquisition(tmp_path).kinds == ("phase", "magnitude")


def test_magnitudes_of_unusual_type_are_found_by_series_and_time(tmp_path: Path) -> None:
    write_scan(tmp_path, "gre", TIMES, "MIXED", SeriesNumber=2001)
    scan = find_acquisition(tmp_path)
    assert np.array_equal(scan.values_of("magnitude"), MAGNITUDE)
    assert any(note.startswith("Taken for magnitude") for note in scan.notes)
    assert not any("Left out" in note for note in scan.notes)


def test_field_map_beside_a_scan_is_left_out(tmp_path: Path) -> None:
    write_scan(tmp_path, "qsm_20", TIMES, SeriesNumber=20)
    for e, te in enumerate(OTHER_TIMES):
        about = {"EchoTime": te, "MagneticFieldStrength": 3, "ImageType": ["M"], "SeriesNumber": 10}
        write_echo(tmp_path / f"gre_field_mapping_10_e{e + 1}.nii", MAGNITUDE[e], **about)
    about |= {"ImageType": ["P"], "SeriesNumber": 11}
    write_echo(tmp_path / "gre_field_mapping_11_e2_ph.nii", PHASE[0], **about)
    scan = find_acquisition(tmp_path)
    assert scan.echo_times == TIMES and "gre_field_mapping_11_e2_ph.nii" in scan.notes[0]
    assert find_acquisition(tmp_path, series=[11]).echo_times == pytest.approx((0.006,))


def test_folders_without_a_scan_name_their_files(tmp_path: Path) -> None:
    field = write_echo(tmp_path / "sub-1_fieldmap.nii", PHASE[0], Units="Hz")
    with pytest.raises(FileUnreadable, match=r"sub-1_fieldmap\.nii is a map of the field: give that file with --input"):
        find_acquisition(tmp_path)
    field.unlink()
    write_echo(tmp_path / "sub-1_task-rest_part-phase_bold.nii", PHASE[0])
    with pytest.raises(FieldInvalid, match=r"holds the phase sub-1_task-rest_part-phase_bold\.nii, but no magnitude"):
        find_acquisition(tmp_path)


def test_time_series_is_not_taken_for_echoes(tmp_path: Path) -> None:
    for part, values in (("phase", PHASE), ("mag", MAGNITUDE)):
        path = tmp_path / f"sub-1_task-rest_part-{part}_bold.nii"
        write_echo(path, np.moveaxis(values, 0, -1), EchoTime=0.03, MagneticFieldStrength=3)
    with pytest.raises(ParameterInvalid, match=r"a time series of 2 volumes; choose one with --volume 1 to --volume 2"):
        find_acquisition(tmp_path)


def test_metadata_of_the_dataset_is_inherited(tmp_path: Path) -> None:
    anat = tmp_path / "sub-1" / "anat"
    for e in range(2):
        for part, values in (("phase", PHASE), ("mag", MAGNITUDE)):
            write_echo(anat / f"sub-1_echo-{e + 1}_part-{part}_MEGRE.nii", values[e])
        (tmp_path / f"echo-{e + 1}_MEGRE.json").write_text(f'{{"EchoTime": {TIMES[e]}}}')
    (tmp_path / "MEGRE.json").write_text('{"MagneticFieldStrength": 7, "Manufacturer": "GE"}')
    (tmp_path / "sub-2_MEGRE.json").write_text('{"MagneticFieldStrength": 1.5}')
    scan = find_acquisition(anat)
    assert (scan.echo_times, scan.b0, scan.manufacturer) == (TIMES, 7.0, "GE")


def test_dicom_scans_with_other_echo_times_are_not_merged(tmp_path: Path) -> None:
    first, second = Scanner(tmp_path), Scanner(tmp_path, echo_times=OTHER_TIMES, n_written=100)
    first.siemens(PHASE, MAGNITUDE)
    second.siemens(-PHASE, MAGNITUDE, first=9)
    with pytest.raises(ParameterInvalid, match=r"Several scans with phase.*: 6, 10, of .*such as --series 6"):
        find_acquisition(tmp_path)
    assert find_acquisition(tmp_path, series=["10"]).echo_times == OTHER_TIMES


def test_dicom_scans_of_two_studies_with_one_series_number_are_not_merged(tmp_path: Path) -> None:
    for n, times in enumerate((TIMES, OTHER_TIMES)):
        extra = {"StudyInstanceUID": f"1.2.{n + 1}"}
        Scanner(tmp_path, echo_times=times, extra=extra, n_written=100 * n).siemens(PHASE, MAGNITUDE)
    with pytest.raises(ParameterInvalid, match=r"6\.1, 6\.2, of"):
        find_acquisition(tmp_path)
    assert find_acquisition(tmp_path, series=["6.2"]).echo_times == OTHER_TIMES


def test_copied_dicom_files_count_once(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(PHASE, MAGNITUDE)
    for path in sorted(tmp_path.iterdir())[:3]:
        shutil.copy(path, path.with_name(f"{path.name} (1)"))
    scan = find_acquisition(tmp_path)
    assert scan.grid.shape == (12, 10, 9) and "3 files are copies" in scan.notes[0]


def test_dicom_without_preamble_is_read(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(PHASE, MAGNITUDE)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert find_acquisition(tmp_path).values_of("phase").shape == (2, 12, 10, 9)


def test_rounding_of_echo_times_and_cosines_is_passed_over(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(PHASE, MAGNITUDE)
    for n, path in enumerate(sorted(tmp_path.iterdir())):
        header = pydicom.dcmread(path)
        header.EchoTime = f"{float(header.EchoTime) + 0.0004 * (n % 2):.4f}"
        header.ImageOrientationPatient = [1.0, 0.0005 + 1e-6 * (-1) ** n, 0.0, 0.0, 1.0, 0.0]
        header.save_as(path)
    assert find_acquisition(tmp_path).echo_times == pytest.approx(TIMES, abs=1e-5)


def test_field_map_in_dicom_is_no_phase(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path)
    scanner.write("mag", MAGNITUDE, series=5, image_type=["ORIGINAL", "PRIMARY", "M"])
    scanner.write("b0", 500 + 100 * PHASE, series=5, image_type=["ORIGINAL", "PRIMARY", "VELOCITY", "P"])
    with pytest.raises(FieldInvalid, match="Give the field that the scanner computed with --input total-field"):
        find_acquisition(tmp_path)
