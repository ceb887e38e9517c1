"""Sidecars that call phase and magnitude the same: names, and what the user gives, are believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
TIMES = (0.004, 0.010)


def write(folder: Path, names: tuple[str, str], types: tuple[list[str], list[str]]) -> tuple[list[Path], list[Path]]:
    """The files of phase and of magnitude, by their names with the number of the echo and their ImageTypes."""
    files = tuple(
        [
            write_echo(
                folder / name.format(e + 1), values[e], EchoTime=te, MagneticFieldStrength=3, ImageType=image_type
            )
            for e, te in enumerate(TIMES)
        ]
        for name, image_type, values in zip(names, types, (PHASE, MAGNITUDE), strict=True)
    )
    return files[0], files[1]


PHASE_TYPE, PHILIPS_TYPE = ["ORIGINAL", "PRIMARY", "P", "ND"], ["ORIGINAL", "PRIMARY", "PHASE", "MAP", "P", "FFE"]
MAGNITUDE_TYPE = ["ORIGINAL", "PRIMARY", "M", "FFE", "M", "FFE"]
CASES = {
    "magnitudes typed as phase": (("swi_12_e{}_ph.nii", "swi_12_e{}.nii"), (PHILIPS_TYPE, PHILIPS_TYPE)),
    "magnitudes typed as phase, _pha": (("gre_e{}_pha.nii.gz", "gre_e{}.nii.gz"), (PHASE_TYPE, PHASE_TYPE)),
    "phases typed as magnitude": (("a_e{}_phase.nii", "a_e{}.nii"), (MAGNITUDE_TYPE, MAGNITUDE_TYPE)),
    "magnitudes named real": (
        ("b0_6_e{}_real_ph.nii", "b0_6_e{}_real.nii"),
        ([*PHILIPS_TYPE, "REAL"], [*MAGNITUDE_TYPE, "REAL"]),
    ),
    "magnitudes typed real": (("gre_6_e{}_ph.nii", "gre_6_e{}.nii"), (PHILIPS_TYPE, ["ORIGINAL", "PRIMARY", "REAL"])),
}


@pytest.mark.parametrize("case", CASES)
def test_folder_is_read_by_the_names_of_its_files(case: str, tmp_path: Path) -> None:
    write(tmp_path, *CASES[case])
    scan = find_acquisition(tmp_path)
    assert scan.echo_times == TIMES and scan.kinds == ("phase", "magnitude")
    assert np.allclose(scan.values_of("phase"), PHASE) and np.allclose(scan.values_of("magnitude"), MAGNITUDE)


@pytest.mark.parametrize("case", [*CASES, "names say nothing, typed as phase", "names say nothing, typed as magnitude"])
def test_files_are_what_the_user_gives_them_for(case: str, tmp_path: Path) -> None:
    silent = ("one_{}.nii", "two_{}.nii")
    types = (PHASE_TYPE, PHASE_TYPE) if case.endswith("phase") else (MAGNITUDE_TYPE, MAGNITUDE_TYPE)
    phases, magnitudes = write(tmp_path, *CASES.get(case, (silent, types)))
    scan = find_acquisition(phases, magnitudes)
    assert np.allclose(scan.values_of("phase"), PHASE) and np.allclose(scan.values_of("magnitude"), MAGNITUDE)
    if case not in CASES:
        assert any("as they were given; names or sidecars say otherwise" in note for note in scan.notes)


@pytest.mark.parametrize("names", [("a_{}.nii", "b_{}.nii"), ("a_{}_ph.nii", "a_{}.nii")])
def test_confused_phase_and_magnitude_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    phases, magnitudes = write(tmp_path, names, (PHASE_TYPE, MAGNITUDE_TYPE))
    with pytest.raises(FieldInvalid, match="given as magnitude, says that it is phase; give the magnitude"):
        find_acquisition(magnitudes, phases)
