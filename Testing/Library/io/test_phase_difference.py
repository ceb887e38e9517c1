"""One phase that is the difference of two echoes: its time is their spacing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import Scanner, random_scan, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
TE1, TE2 = 0.00519, 0.00765
MAGNITUDE_TYPE, PHASE_TYPE = ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "P", "ND"]


def write_magnitudes(folder: Path, names: tuple[str, str]) -> list[Path]:
    return [
        write_echo(folder / f"{n}.nii", MAGNITUDE[e], EchoTime=te, MagneticFieldStrength=3, ImageType=MAGNITUDE_TYPE)
        for e, (n, te) in enumerate(zip(names, (TE1, TE2), strict=True))
    ]


@pytest.mark.parametrize(
    ("magnitudes", "phase", "header"),
    [
        (("sub-1_magnitude1", "sub-1_magnitude2"), "sub-1_phasediff", {"EchoTime1": TE1, "EchoTime2": TE2}),
        (("sub-1_magnitude1", "sub-1_magnitude2"), "sub-1_phasediff", {}),
        (("s2_gre_e1", "s2_gre_e2"), "s3_gre_e2_ph", {"EchoTime": TE2, "EchoTime1": TE1, "EchoTime2": TE2}),
        (("s2_gre_e1", "s2_gre_e2"), "s3_gre_e2_ph", {"EchoTime": TE2}),
    ],
)
def test_phase_difference_has_the_spacing_of_its_echoes(
    magnitudes: tuple[str, str], phase: str, header: dict[str, Any], tmp_path: Path
) -> None:
    write_magnitudes(tmp_path, magnitudes)
    file = write_echo(tmp_path / f"{phase}.nii", PHASE[0], MagneticFieldStrength=3, ImageType=PHASE_TYPE, **header)
    scan = find_acquisition(tmp_path)
    assert scan.echo_times == pytest.approx((TE2 - TE1,)) and "difference" in scan.sources["echo_times"]
    assert np.array_equal(scan.values_of("magnitude")[0], MAGNITUDE[1])
    assert "phase difference of the echoes at 5.19 and 7.65 ms" in scan.notes[-1]
    by_hand = find_acquisition(file, write_magnitudes(tmp_path, magnitudes))
    assert by_hand.echo_times == scan.echo_times
    assert find_acquisition(tmp_path, echo_times=[TE2]).echo_times == (TE2,)


def test_phase_difference_of_unknown_echoes_asks_for_their_spacing(tmp_path: Path) -> None:
    magnitude = write_echo(tmp_path / "m.nii", MAGNITUDE[0])
    phase = write_echo(tmp_path / "sub-1_phasediff.nii", PHASE[0], EchoTime=TE2, MagneticFieldStrength=3)
    with pytest.raises(ParameterInvalid, match="give their difference, TE2 − TE1 in seconds, with --te"):
        find_acquisition(phase, [magnitude])
    assert find_acquisition(phase, [magnitude], echo_times=[0.00246]).echo_times == (0.00246,)


def test_phase_difference_in_dicom(tmp_path: Path) -> None:
    Scanner(tmp_path, echo_times=(TE1, TE2)).write("mag", MAGNITUDE, series=10, image_type=MAGNITUDE_TYPE)
    stored = np.floor((PHASE[:1] + math.pi) / (2 * math.pi) * 4096).clip(0, 4095)
    Scanner(tmp_path, echo_times=(TE2,), n_written=50).write("pha", stored, series=11, image_type=PHASE_TYPE)
    scan = find_acquisition(tmp_path)
    assert scan.echo_times == pytest.approx((TE2 - TE1,))
    assert np.array_equal(scan.values_of("magnitude")[0], MAGNITUDE[1])


def test_two_phases_beside_two_magnitudes_stay_echoes(tmp_path: Path) -> None:
    Scanner(tmp_path, echo_times=(TE1, TE2)).siemens(PHASE, MAGNITUDE)
    assert find_acquisition(tmp_path).echo_times == (TE1, TE2)


def test_phase_that_bids_names_as_that_of_one_echo_is_no_difference(tmp_path: Path) -> None:
    write_magnitudes(tmp_path, ("sub-1_echo-1_part-mag_MEGRE", "sub-1_echo-2_part-mag_MEGRE"))
    phase = tmp_path / "sub-1_echo-2_part-phase_MEGRE.nii"
    write_echo(phase, PHASE[1], EchoTime=TE2, MagneticFieldStrength=3, ImageType=PHASE_TYPE)
    with pytest.raises(FieldInvalid, match="1 phase images and 2 of magnitude; expected one of each for every echo"):
        find_acquisition(tmp_path)
    alone = find_acquisition(phase, [tmp_path / "sub-1_echo-2_part-mag_MEGRE.nii"])
    assert alone.echo_times == (TE2,) and alone.notes == []
