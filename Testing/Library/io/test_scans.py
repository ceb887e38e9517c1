"""From the files of a scan to phase and magnitude."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan, write_bids, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)
PARTS = {"phase": PHASE, "mag": MAGNITUDE}


def test_real_and_imaginary_parts_become_phase_and_magnitude(tmp_path: Path) -> None:
    signal = MAGNITUDE * np.exp(1j * PHASE)
    scan = find_acquisition(write_bids(tmp_path / "a", TIMES, {"real": signal.real, "imag": signal.imag}))
    phase, _, _ = PhaseConversion()(scan)
    assert np.allclose(phase.values, PHASE, atol=1e-4) and np.allclose(phase.magnitude, MAGNITUDE, rtol=1e-4)
    ge_signal = np.conj(signal) * np.where(np.arange(9) % 2, -1.0, 1.0)
    ge_parts = {"real": ge_signal.real, "imag": ge_signal.imag}
    ge = find_acquisition(write_bids(tmp_path / "b", TIMES, ge_parts, Manufacturer="GE"))
    assert np.allclose(np.exp(1j * PhaseConversion()(ge)[0].values.numpy()), np.exp(1j * PHASE), atol=1e-3)
    alternating = find_acquisition(
        write_bids(
            tmp_path / "c", TIMES, {"phase": np.angle(ge_signal), "mag": MAGNITUDE}, Manufacturer="GE MEDICAL SYSTEMS"
        )
    )
    phase, notes, _ = PhaseConversion()(alternating)
    assert np.allclose(np.exp(1j * phase.values.numpy()), np.exp(1j * PHASE), atol=1e-3)
    assert notes["ge_slices"] == "every other slice along z negated"


def test_alternating_slices_of_ge_are_corrected_along_any_axis(tmp_path: Path) -> None:
    ge_signal = MAGNITUDE * np.exp(-1j * PHASE) * np.where(np.arange(12) % 2, -1.0, 1.0)[:, None, None]
    parts = {"phase": np.angle(ge_signal), "mag": MAGNITUDE}
    phase, notes, _ = PhaseConversion()(find_acquisition(write_bids(tmp_path / "a", TIMES, parts, Manufacturer="GE")))
    assert np.allclose(np.exp(1j * phase.values.numpy()), np.exp(1j * PHASE), atol=1e-3)
    assert notes["ge_slices"] == "every other slice along x negated"
    for more, n_warnings in (({}, 1), ({"Manufacturer": "Siemens"}, 0)):
        phase, notes, warnings = PhaseConversion()(find_acquisition(write_bids(tmp_path / "b", TIMES, parts, **more)))
        assert np.allclose(np.exp(1j * phase.values.numpy()), ge_signal / np.abs(ge_signal), atol=1e-3)
        slice_warnings = [w for w in warnings if "Every other slice along x" in w and "--manufacturer GE" in w]
        assert len(slice_warnings) == n_warnings and "ge_slices" not in notes
    _, _, warnings = PhaseConversion()(find_acquisition(write_bids(tmp_path / "c", TIMES, PARTS)))
    assert not any("slice" in w for w in warnings)


def test_unwrapped_phase_or_unknown_range_is_a_warning(tmp_path: Path) -> None:
    magnitude = write_echo(tmp_path / "m.nii", MAGNITUDE[0])
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 10, 9)), indexing="ij")
    smooth = 40.0 * x + 15.0 * (y + 1)
    scan = find_acquisition(write_echo(tmp_path / "p.nii", smooth), [magnitude], echo_times=[0.01], b0=3.0)
    assert any(
        w.startswith("The phase is unwrapped already") and "--phase-range" in w for w in PhaseConversion()(scan)[2]
    )
    odd = find_acquisition(write_echo(tmp_path / "q.nii", 0.00117 * PHASE[0]), [magnitude], echo_times=[0.01], b0=3.0)
    phase, notes, warnings = PhaseConversion()(odd)
    assert "unknown unit" in notes["scaling"] and len(warnings) == 1
    half_range = 0.00117 * math.pi
    converted, _, no_warnings = PhaseConversion((-half_range, half_range))(odd)
    assert no_warnings == [] and np.allclose(converted.values[0], PHASE[0], atol=1e-4)
    assert np.abs(np.angle(np.exp(1j * (phase.values[0].numpy() - PHASE[0])))).max() < 0.1


def test_sign_can_be_flipped(tmp_path: Path) -> None:
    scan = find_acquisition(write_bids(tmp_path, TIMES, PARTS))
    assert torch.equal(PhaseConversion(flip_sign=True)(scan)[0].values, -PhaseConversion()(scan)[0].values)
    assert PhaseConversion(flip_sign=True)(scan)[1]["sign"]["turned_by_user"]
    assert PhaseConversion(bipolar=True)(scan)[0].bipolar
