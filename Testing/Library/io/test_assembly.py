"""Echoes of any origin are checked against each other and put in order."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from IR2QSMLib.core.errors import FieldInvalid, GridMismatch, IR2QSMError, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import B0_RANGE, TE_RANGE
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.acquisition import Echo, slice_orientation
from IR2QSMLib.io.assembly import assemble_acquisition
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)


def test_echoes_are_sorted_by_echo_time(tmp_path: Path) -> None:
    order = (2, 0, 1)
    phases = [write_echo(tmp_path / f"p{n}.nii", PHASE[n]) for n in order]
    magnitudes = [write_echo(tmp_path / f"m{n}.nrrd.nii", MAGNITUDE[n]) for n in order]
    acquisition = find_acquisition(phases, magnitudes, echo_times=[TIMES[n] for n in order], b0=3.0)
    assert acquisition.echo_times == TIMES and np.array_equal(acquisition.values_of("magnitude"), MAGNITUDE)
    assert np.allclose(acquisition.values_of("phase"), PHASE, atol=1e-6)


def test_missing_and_mismatched_images_are_refused(tmp_path: Path) -> None:
    phase, magnitude = (
        write_echo(tmp_path / f"{name}.nii", np.moveaxis(v, 0, -1)) for name, v in (("p", PHASE), ("m", MAGNITUDE))
    )
    known: dict[str, Any] = {"echo_times": TIMES, "b0": 3.0}
    with pytest.raises(FieldInvalid, match=r"3 phase images came without any magnitude; give .* --magnitude"):
        find_acquisition(phase, **known)
    with pytest.raises(ParameterInvalid, match="There are 3 echoes and 2 echo times; give one for each echo"):
        find_acquisition(phase, [magnitude], echo_times=TIMES[:2], b0=3.0)
    with pytest.raises(ParameterInvalid, match=r"No echo time is known of p\.nii, echo 1 and 2 more"):
        find_acquisition(phase, [magnitude], b0=3.0)
    with pytest.raises(ParameterInvalid, match=r"look like milliseconds: say --te 0\.004 0\.01 0\.016"):
        find_acquisition(phase, [magnitude], echo_times=[1e3 * t for t in TIMES], b0=3.0)
    with pytest.raises(ParameterInvalid, match=r"No field strength is known of p\.nii, echo 1; give B0"):
        find_acquisition(phase, [magnitude], echo_times=TIMES)
    with pytest.raises(ParameterInvalid, match="Two echoes have the echo time 4 ms"):
        find_acquisition(phase, [magnitude], echo_times=(0.004, 0.004, 0.01), b0=3.0)
    with pytest.raises(ParameterInvalid, match="B0 is 123 T"):
        find_acquisition(phase, [magnitude], echo_times=TIMES, b0=123.0)
    short = write_echo(tmp_path / "short.nii", np.moveaxis(MAGNITUDE[:2], 0, -1))
    with pytest.raises(FieldInvalid, match="There are 3 phase images and 2 of magnitude"):
        find_acquisition(phase, [short], **known)
    thin = write_echo(tmp_path / "thin.nii", np.moveaxis(MAGNITUDE[..., :8], 0, -1))
    with pytest.raises(GridMismatch, match=r"thin\.nii, echo 1 and p\.nii, echo 1 differ along z: 8 voxels against 9"):
        find_acquisition(phase, [thin], **known)
    named = write_echo(tmp_path / "x_part-mag_MEGRE.nii", MAGNITUDE[0])
    with pytest.raises(FieldInvalid, match=r"There is no phase \(1 magnitude\)"):
        find_acquisition(named, echo_times=TIMES[:1], b0=3.0)
    with pytest.raises(FieldInvalid, match="given as magnitude, says that it is phase"):
        find_acquisition(phase, [write_echo(tmp_path / "y_part-phase_MEGRE.nii", PHASE[0])], **known)
    doubled = find_acquisition(magnitude, [magnitude], **known)
    with pytest.raises(FieldInvalid, match=r"The phase m\.nii, echo 1 looks like the magnitude"):
        PhaseConversion()(doubled)
    swapped = find_acquisition(magnitude, [phase], **known)
    with pytest.raises(FieldInvalid, match="holds negative numbers; is it the phase"):
        PhaseConversion()(swapped)


def test_slice_orientation_is_described(tmp_path: Path) -> None:
    assert slice_orientation(Grid((9, 9, 9))) == "axial"
    tilted = (1.0, 0.0, 0.0, 0.0, math.cos(0.2), -math.sin(0.2), 0.0, math.sin(0.2), math.cos(0.2))
    assert slice_orientation(Grid((9, 9, 9), direction=tilted)) == "axial, 11.5° off"
    assert slice_orientation(Grid((9, 9, 9), direction=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))) == "sagittal"


KINDS = st.sampled_from(["phase", "magnitude", "real", "imaginary"])


NUMBER = st.one_of(st.none(), st.floats(-10.0, 1e5))


@given(
    st.lists(st.tuples(KINDS, NUMBER, NUMBER, NUMBER, st.integers(8, 9)), max_size=6),
    st.one_of(st.none(), st.lists(st.floats(-1.0, 50.0), max_size=4)),
    NUMBER,
)
def test_any_set_of_headers_makes_an_acquisition_or_an_error(
    headers: list[tuple[str, float | None, float | None, float | None, int]],
    times: list[float] | None,
    b0: float | None,
) -> None:
    plain = Echo("phase", "image", Grid((8, 8, 8)), lambda: torch.zeros(8, 8, 8))
    echoes = [
        replace(plain, kind=kind, echo_time=te, b0=b, frequency=f, grid=Grid((8, 8, n)))
        for kind, te, b, f, n in headers
    ]
    try:
        acquisition = assemble_acquisition(echoes, echo_times=times, b0=b0)
    except IR2QSMError as error:
        assert str(error).endswith(".") and len(str(error)) > 30
    else:
        rising = list(acquisition.echo_times)
        assert rising == sorted(set(rising)) and all(TE_RANGE[0] <= te <= TE_RANGE[1] for te in rising)
        assert B0_RANGE[0] <= acquisition.b0 <= B0_RANGE[1] and len({e.grid for e in acquisition.echoes}) == 1
        assert len(acquisition.table()) == len(acquisition.echoes) == len(acquisition.kinds) * len(rising)
