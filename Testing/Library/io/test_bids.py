"""Folders and images with BIDS names and sidecars: which of them are echoes of one scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import FileUnreadable, IR2QSMError, ParameterInvalid
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan, write_bids, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)
PARTS = {"phase": PHASE, "mag": MAGNITUDE}


def test_bids_folder_is_read(tmp_path: Path) -> None:
    scan = find_acquisition(write_bids(tmp_path, TIMES, PARTS, Manufacturer="Siemens"))
    assert scan.echo_times == TIMES and scan.b0 == 3.0 and scan.manufacturer == "Siemens"
    phase, notes, warnings = PhaseConversion()(scan)
    assert np.allclose(phase.values, PHASE, atol=1e-4) and np.array_equal(phase.magnitude, MAGNITUDE)
    assert "±π" in notes["scaling"] and warnings == []
    assert scan.table()[0]["image"] == "sub-1_echo-1_part-phase_MEGRE.nii.gz"


def test_scan_with_phase_is_used_and_other_images_are_listed(tmp_path: Path) -> None:
    folder = write_bids(tmp_path, TIMES, PARTS)
    anat = folder / "sub-1" / "anat"
    write_echo(anat / "sub-1_T1w.nii.gz", MAGNITUDE[0], ImageType=["ORIGINAL", "PRIMARY", "M"])
    write_echo(anat / "sub-1_phasediff.nii.gz", PHASE[0], ImageType=["ORIGINAL", "PRIMARY", "P"], EchoTime=0.004)
    write_echo(folder / "magnitude.nii.gz", MAGNITUDE[0])
    scan = find_acquisition(folder)
    assert scan.echo_times == TIMES and np.array_equal(scan.values_of("magnitude"), MAGNITUDE)
    (note,) = scan.notes
    assert all(name in note for name in ("magnitude.nii.gz", "sub-1_T1w.nii.gz", "sub-1_phasediff.nii.gz"))
    for path in list(anat.glob("*MEGRE*")):
        path.with_name(path.name.replace("sub-1", "sub-2")).write_bytes(path.read_bytes())
    with pytest.raises(
        ParameterInvalid, match=r"holds 2 scans with phase: sub-1_MEGRE; sub-2_MEGRE\. Choose one with --series"
    ):
        find_acquisition(anat)
    assert find_acquisition(anat, series=["sub-2_MEGRE"]).echoes[0].name.startswith("sub-2")
    with pytest.raises(ParameterInvalid, match="No scan in 'anat' is called 'sub-3'; choose among sub-1_MEGRE"):
        find_acquisition(anat, series=["sub-3"])
    with pytest.raises(ParameterInvalid, match="is one image, and has no series; leave --series out"):
        find_acquisition(anat / "sub-2_echo-1_part-phase_MEGRE.nii.gz", [], series=[3])


@pytest.mark.parametrize(
    ("phase", "magnitude"),
    [
        ("sub-1_gre_e{}_ph", "sub-1_gre_e{}"),
        ("sub-1_echo-{}_phase", "sub-1_echo-{}_mag"),
        ("sub-1_acq-phase_echo-{}_GRE", "sub-1_acq-mag_echo-{}_GRE"),
    ],
)
def test_images_with_names_beyond_bids_are_one_scan(phase: str, magnitude: str, tmp_path: Path) -> None:
    for n in range(3):
        about = {"EchoTime": TIMES[n], "MagneticFieldStrength": 3}
        write_echo(tmp_path / f"{phase.format(n + 1)}.nii.gz", PHASE[n], ImageType=["ORIGINAL", "P"], **about)
        write_echo(tmp_path / f"{magnitude.format(n + 1)}.nii.gz", MAGNITUDE[n], ImageType=["ORIGINAL", "M"], **about)
    assert find_acquisition(tmp_path).kinds == ("phase", "magnitude")


def test_tenth_echo_comes_after_the_ninth(tmp_path: Path) -> None:
    times = [0.002 * (n + 1) for n in range(11)]
    for n in range(11):
        for part, values in (("phase", PHASE[0]), ("mag", MAGNITUDE[0] + n)):
            write_echo(tmp_path / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz", values, MagneticFieldStrength=3)
    scan = find_acquisition(tmp_path, echo_times=times)
    assert [e.name for e in scan.echoes[:11]] == [f"sub-1_echo-{n + 1}_part-phase_MEGRE.nii.gz" for n in range(11)]
    assert torch.allclose(scan.values_of("magnitude").diff(dim=0), torch.ones(()), atol=1e-3)


def test_different_numbers_of_volumes_and_echo_times_are_refused(tmp_path: Path) -> None:
    for part, values in (("phase", PHASE), ("mag", MAGNITUDE)):
        path = tmp_path / f"sub-1_part-{part}_MEGRE.nii.gz"
        write_echo(path, np.moveaxis(values, 0, -1), EchoTime=[*TIMES, 0.022], MagneticFieldStrength=3)
    with pytest.raises(ParameterInvalid, match="has 3 volumes and its header lists 4 echo times; give one"):
        find_acquisition(tmp_path)
    assert find_acquisition(tmp_path, echo_times=TIMES).echo_times == TIMES


def test_shared_sidecars_and_names_of_converters_are_understood(tmp_path: Path) -> None:
    for n in range(3):
        write_echo(tmp_path / f"gre_e{n + 1}_ph.nii", PHASE[n], EchoTime=TIMES[n], MagneticFieldStrength=3)
        write_echo(
            tmp_path / f"gre_e{n + 1}.nii", MAGNITUDE[n], EchoTime=TIMES[n], ImageType=["ORIGINAL", "PRIMARY", "M"]
        )
    assert find_acquisition(tmp_path).kinds == ("phase", "magnitude")
    shared = tmp_path / "shared"
    write_echo(shared / "s_part-phase_MEGRE.nii", np.moveaxis(PHASE, 0, -1))
    write_echo(shared / "s_part-mag_MEGRE.nii", np.moveaxis(MAGNITUDE, 0, -1))
    (shared / "s_MEGRE.json").write_text(json.dumps({"EchoTime": list(TIMES), "ImagingFrequency": 127.728}))
    scan = find_acquisition(shared)
    assert scan.b0 == pytest.approx(3.0, abs=1e-3) and scan.sources["b0"] == "imaging frequency"
    assert np.array_equal(scan.values_of("magnitude"), MAGNITUDE)


def test_folder_without_phase_and_invalid_sidecars_are_refused(tmp_path: Path) -> None:
    write_echo(tmp_path / "a" / "image.nii", PHASE[0])
    with pytest.raises(FileUnreadable, match="holds 1 NIfTI images, none of which"):
        find_acquisition(tmp_path / "a")
    path = write_echo(tmp_path / "b" / "x_ph.nii", PHASE[0])
    (tmp_path / "b" / "x_ph.json").write_text("{")
    with pytest.raises(FileUnreadable, match=r"x_ph\.json is not JSON that can be read"):
        find_acquisition(path)
    (tmp_path / "b" / "x_ph.json").write_text("[]")
    with pytest.raises(FileUnreadable, match="holds no JSON object"):
        find_acquisition(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            '{"EchoTime": 1' + 400 * "0" + ', "MagneticFieldStrength": 3}',
            "echo times are inf s; expected 0.00002 to 0.25 s",
        ),
        ('{"EchoTime": 0.01, "MagneticFieldStrength": 1' + 400 * "0" + "}", "B0 is inf T; expected 0.01 to 25 T"),
        (100_000 * "[", r"a_ph\.json is not JSON that can be read"),
        ('{"EchoTime": ' + 100_000 * "[" + 100_000 * "]" + "}", r"a_ph\.json is not JSON that can be read"),
    ],
)
def test_sidecar_with_huge_numbers_or_nesting_is_refused(header: str, message: str, tmp_path: Path) -> None:
    phase, magnitude = write_echo(tmp_path / "a_ph.nii", PHASE[0]), write_echo(tmp_path / "m.nii", MAGNITUDE[0])
    (tmp_path / "a_ph.json").write_text(header)
    with pytest.raises(IR2QSMError, match=message):
        find_acquisition(phase, [magnitude])
