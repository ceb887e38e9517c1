"""Volumes of a time series and single receive coils, in DICOM and in NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.inspection import inspect_image
from Testing.Library.scanners import Scanner, random_scan, write_echo

TIMES = (0.004, 0.010)
N_VOLUMES = 3
SCANS = [random_scan((12, 10, 9), 2, seed) for seed in range(N_VOLUMES)]
SIGNALS = np.stack([magnitude * np.exp(1j * phase) for phase, magnitude in SCANS])
"""(volume, echo, x, y, z)"""
Write = Callable[[Path], Any]


def signal_of(phase: Phase) -> np.ndarray:
    return np.asarray(phase.magnitude.numpy() * np.exp(1j * phase.values.numpy()))


def siemens(folder: Path) -> None:
    """Time points in two series, in the order of their acquisition numbers, files in another order."""
    scanner = Scanner(folder)
    for n in (1, 0, 2):
        scanner.extra = {"AcquisitionNumber": n + 1}
        phase, magnitude = SCANS[n]
        scanner.write("m", magnitude, series=5, uid="1.2.3", image_type=["ORIGINAL", "PRIMARY", "M"])
        stored = np.floor((phase + np.pi) / (2 * np.pi) * 4096).clip(0, 4095)
        image_type = ["ORIGINAL", "PRIMARY", "P"]
        scanner.write("p", stored, series=6, uid="1.2.4", image_type=image_type, slope=2.0, intercept=-4096.0)


def ge(folder: Path) -> None:
    """Real and imaginary parts in one series, numbered by instance only."""
    scanner = Scanner(folder, "GE MEDICAL SYSTEMS")
    for n, signal in enumerate(SIGNALS):
        for kind, part in ((2, signal.real), (3, -signal.imag)):
            scanner.extra = {"InstanceNumber": 10 * n + kind}
            image_type = ["ORIGINAL", "PRIMARY", "OTHER"]
            scanner.write("part", part.round(), series=7, uid="1.2.3", image_type=image_type, ge_kind=kind)


def fourth_axis(folder: Path) -> None:
    """One file an echo, whose fourth axis is time by its BIDS name."""
    for e, te in enumerate(TIMES):
        for part, values in (("phase", np.angle(SIGNALS)), ("mag", np.abs(SIGNALS))):
            path = folder / f"sub-1_task-rest_echo-{e + 1}_part-{part}_bold.nii.gz"
            write_echo(path, np.moveaxis(values[:, e], 0, -1), EchoTime=te, MagneticFieldStrength=3)


def fifth_axis(folder: Path) -> None:
    """One complex file (x, y, z, echo, time), which nothing but the user says to hold time."""
    path = write_echo(folder / "scan.nii", SCANS[0][0][0], EchoTime=list(TIMES), MagneticFieldStrength=3)
    nibabel.save(nibabel.Nifti1Image(SIGNALS.transpose(2, 3, 4, 1, 0).astype(np.complex64), np.eye(4)), path)


@pytest.mark.parametrize("write", [siemens, ge, fourth_axis, fifth_axis])
def test_volume_is_chosen_by_number_or_the_complex_mean_is_taken(write: Write, tmp_path: Path) -> None:
    write(tmp_path)
    for volume, expected in (("2", SIGNALS[1]), (3, SIGNALS[2]), ("mean", SIGNALS.mean(0))):
        scan = find_acquisition(tmp_path, volume=volume)
        phase, notes, _ = PhaseConversion()(scan)
        assert np.abs(signal_of(phase) - expected).max() < 0.004 * np.abs(SIGNALS).max()
        assert notes.get("n_volumes_averaged") == (N_VOLUMES if volume == "mean" else None)
        assert scan.echo_times == TIMES
    with pytest.raises(ParameterInvalid, match="no volume 4; the time series has 3: say --volume 1 to --volume 3"):
        find_acquisition(tmp_path, volume="4")
    with pytest.raises(ParameterInvalid, match="volume is 'first'; expected a number from 1, or mean"):
        find_acquisition(tmp_path, volume="first")


@pytest.mark.parametrize("write", [siemens, ge, fourth_axis])
def test_time_series_without_a_choice_names_the_option(write: Write, tmp_path: Path) -> None:
    write(tmp_path)
    advice = "a time series of 3 volumes; choose one with --volume 1 to --volume 3, or take .* with --volume mean"
    with pytest.raises(ParameterInvalid, match=advice) as error:
        find_acquisition(tmp_path)
    assert error.value.option == "volume"
    assert "with --volume mean" in inspect_image(tmp_path)["problems"][0]


def test_volumes_that_may_be_echoes_name_both_options(tmp_path: Path) -> None:
    images = {}
    for part, values in (("phase", np.angle(SIGNALS)), ("mag", np.abs(SIGNALS))):
        path = tmp_path / f"scan_{part}.nii"
        images[part] = write_echo(path, np.moveaxis(values[:, 1], 0, -1), EchoTime=0.01, MagneticFieldStrength=3)
    with pytest.raises(ParameterInvalid, match=r"has 3 volumes .* give one for each echo with --te, or.*--volume N"):
        find_acquisition(images["phase"], [images["mag"]])
    scan = find_acquisition(images["phase"], [images["mag"]], volume=3)
    assert np.abs(signal_of(PhaseConversion()(scan)[0]) - SIGNALS[2, 1]).max() < 0.01
    assert find_acquisition(images["phase"], [images["mag"]], echo_times=[0.01, 0.02, 0.03]).echo_times[2] == 0.03


def test_images_of_several_types_in_one_series_are_no_time_series(tmp_path: Path) -> None:
    phase, magnitude = SCANS[0]
    scanner = Scanner(tmp_path)
    for factor, image_type in ((2.0, ["NORM", "DIS3D"]), (1.0, ["ND"])):
        values = factor * magnitude
        scanner.write("m", values, series=5, uid="1.2.3", image_type=["ORIGINAL", "PRIMARY", "M", *image_type])
    stored = np.floor((phase + np.pi) / (2 * np.pi) * 4096).clip(0, 4095)
    scanner.write("p", stored, series=6, image_type=["ORIGINAL", "PRIMARY", "P"], slope=2.0, intercept=-4096.0)
    scan = find_acquisition(tmp_path)
    assert np.array_equal(scan.values_of("magnitude"), magnitude)
    assert any(note.startswith("Left out of the folder: series 5: magnitude, 2 echoes") for note in scan.notes)


def test_scan_of_one_volume_refuses_the_option(tmp_path: Path) -> None:
    Scanner(tmp_path).siemens(*SCANS[0])
    with pytest.raises(ParameterInvalid, match="--volume was given, and the scan has one volume of every echo; leave"):
        find_acquisition(tmp_path, volume=1)


COIL_SHAPE = (20, 22, 18)
VOXEL = 5.0
N_COILS = 4


def coil_signals() -> tuple[np.ndarray, np.ndarray]:
    """The field's phase per second [rad/s] in a ball, and the signals of coils around it: (coil, echo, x, y, z)."""
    axes = [(np.arange(n) - 0.5 * (n - 1)) / (0.5 * n) for n in COIL_SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside = x**2 + y**2 + z**2 < 0.8
    rate = 250.0 * (x * z + 0.6 * y) + 120.0 * np.exp(-20.0 * ((x - 0.3) ** 2 + y**2 + z**2))
    signals = []
    for c in range(N_COILS):
        angle = 2.0 * np.pi * c / N_COILS
        distance = (x - 1.3 * np.cos(angle)) ** 2 + (y - 1.3 * np.sin(angle)) ** 2 + z**2
        offset = 1.7 * c + (0.8 + 0.3 * c) * x - 0.5 * c * y + 0.4 * z
        sensitivity = np.exp(1j * offset) / (0.5 + distance)
        signals.append([np.where(inside, 900.0, 2.0) * sensitivity * np.exp(1j * rate * te) for te in TIMES])
    return np.where(inside, rate, 0.0), np.array(signals)


RATE, COILS = coil_signals()


def coils_siemens(folder: Path) -> None:
    for n, signal in enumerate(COILS):
        _coil_slices(
            Scanner(folder, shape=COIL_SHAPE, voxel_size=(VOXEL,) * 3, n_written=1000 * n), f"H{n + 1}", signal
        )


def coils_siemens_with_combined(folder: Path) -> None:
    coils_siemens(folder)
    scanner = Scanner(folder, shape=COIL_SHAPE, voxel_size=(VOXEL,) * 3, n_written=9000)
    _coil_slices(scanner, "HEA;HEP", 700.0 * np.exp(1j * RATE * np.array(TIMES)[:, None, None, None]))


def _coil_slices(scanner: Scanner, coil: str, signal: np.ndarray) -> None:
    """Magnitude and phase of one coil in the series of all, named as receive coil."""
    scanner.extra = {"ReceiveCoilName": coil}
    scanner.write("m", np.abs(signal).round(), series=5, uid="1.2.3", image_type=["ORIGINAL", "PRIMARY", "M"])
    stored = np.floor((np.angle(signal) + np.pi) / (2 * np.pi) * 4096).clip(0, 4095)
    image_type = ["ORIGINAL", "PRIMARY", "P"]
    scanner.write("p", stored, series=6, uid="1.2.4", image_type=image_type, slope=2.0, intercept=-4096.0)


def coils_bids(folder: Path) -> None:
    for n, signal in enumerate(COILS):
        for e, te in enumerate(TIMES):
            for part, values in (("phase", np.angle(signal[e])), ("mag", np.abs(signal[e]))):
                path = folder / f"sub-1_rec-uncombined_coil-{n + 1:02d}_echo-{e + 1}_part-{part}_MEGRE.nii"
                _write(path, values, EchoTime=te)


def coils_dcm2niix(folder: Path) -> None:
    for n, signal in enumerate(COILS):
        for e, te in enumerate(TIMES):
            for end, values in (("_ph", np.angle(signal[e])), ("", np.abs(signal[e]))):
                kind = ["ORIGINAL", "PRIMARY", "P" if end else "M"]
                path = folder / f"gre_5_cH{n + 1}_e{e + 1}{end}.nii"
                _write(path, values, EchoTime=te, CoilString=f"H{n + 1}", ImageType=kind)


def coils_fifth_axis(folder: Path) -> None:
    for part, values in (("phase", np.angle(COILS)), ("mag", np.abs(COILS))):
        _write(folder / f"sub-1_part-{part}_MEGRE.nii", values.transpose(2, 3, 4, 1, 0), EchoTime=list(TIMES))


def coils_fourth_axis(folder: Path) -> None:
    """Coils before echoes, as the number of echo times says."""
    for part, values in (("phase", np.angle(COILS)), ("mag", np.abs(COILS))):
        _write(folder / f"sub-1_part-{part}_MEGRE.nii", values.transpose(2, 3, 4, 0, 1), EchoTime=list(TIMES))


def _write(path: Path, values: np.ndarray, **sidecar: Any) -> None:
    write_echo(path, values, MagneticFieldStrength=3, **sidecar)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([VOXEL, VOXEL, VOXEL, 1.0])), path)


@pytest.mark.parametrize("write", [coils_siemens, coils_bids, coils_dcm2niix, coils_fifth_axis, coils_fourth_axis])
def test_uncombined_coils_are_combined_without_their_offsets(write: Write, tmp_path: Path) -> None:
    write(tmp_path)
    scan = find_acquisition(tmp_path)
    assert len(scan.coils) == N_COILS and any("4 coils were combined" in note for note in scan.notes)
    phase, notes, _ = PhaseConversion()(scan)
    assert notes["n_coils_combined"] == N_COILS
    inside = RATE != 0.0
    for e, te in enumerate(TIMES):
        error = np.angle(np.exp(1j * (phase.values[e].numpy() - RATE * te)))[inside]
        error = error - np.median(error)  # a constant is no field
        assert np.quantile(np.abs(error), 0.99) < 0.1
    weights = np.abs(COILS[:, 0])
    expected = (weights[:, None] * np.abs(COILS)).sum(0) / np.sqrt((weights**2).sum(0))
    assert np.quantile(np.abs(phase.magnitude.numpy() / expected - 1.0)[:, inside], 0.99) < 0.05


def test_combined_image_stands_for_the_coils_beside_it(tmp_path: Path) -> None:
    coils_siemens_with_combined(tmp_path / "dicom")
    coils_bids(tmp_path / "bids")
    for e, te in enumerate(TIMES):
        for part, values in (("phase", RATE * te), ("mag", 700.0 + 0.0 * RATE)):
            _write(tmp_path / "bids" / f"sub-1_echo-{e + 1}_part-{part}_MEGRE.nii", values, EchoTime=te)
    for name in ("dicom", "bids"):
        scan = find_acquisition(tmp_path / name)
        assert scan.coils == () and float(scan.values_of("magnitude").amin()) >= 699.0
    chosen = find_acquisition(tmp_path / "bids", series=["sub-1_rec-uncombined_MEGRE"])
    assert len(chosen.coils) == N_COILS


def test_coils_of_one_echo_are_refused_by_that_word(tmp_path: Path) -> None:
    for n, signal in enumerate(COILS):
        for part, values in (("phase", np.angle(signal[0])), ("mag", np.abs(signal[0]))):
            _write(tmp_path / f"sub-1_coil-{n + 1}_part-{part}_GRE.nii", values, EchoTime=TIMES[0])
    with pytest.raises(FieldInvalid, match="of one of 4 uncombined coils, and has one echo"):
        find_acquisition(tmp_path)
