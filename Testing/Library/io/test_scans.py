"""NIfTI with BIDS sidecars, and the checks that echoes of any origin must pass."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, IR2QSMError, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.field.scanner import Conversion
from IR2QSMLib.io.acquisition import Echo, assemble_acquisition, orientation
from IR2QSMLib.io.bids import read_echoes
from IR2QSMLib.io.images import read_image
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)
AFFINE = np.diag([1.5, 2.0, 3.0, 1.0])


def write(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE, **header: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)
    if header:
        path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json").write_text(json.dumps(header))
    return path


def bids(folder: Path, parts: dict[str, np.ndarray], **more: Any) -> Path:
    for part, values in parts.items():
        for n, te in enumerate(TIMES):
            path = folder / "sub-1" / "anat" / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz"
            write(path, values[n], **{"EchoTime": te, "MagneticFieldStrength": 3, **more})
    return folder


def test_a_bids_folder_is_read(tmp_path: Path) -> None:
    found = find_acquisition(bids(tmp_path, {"phase": PHASE, "mag": MAGNITUDE}, Manufacturer="Siemens"))
    assert found.echo_times == TIMES and found.b0 == 3.0 and found.manufacturer == "Siemens"
    phase, notes, warnings = Conversion()(found)
    assert np.allclose(phase.values, PHASE, atol=1e-4) and np.array_equal(phase.magnitude, MAGNITUDE)
    assert "±π" in notes["scaling"] and warnings == []
    assert found.rows()[0]["image"] == "sub-1_echo-1_part-phase_MEGRE.nii.gz"


def test_of_a_bids_folder_the_scan_with_phase_is_taken_and_the_rest_is_told(tmp_path: Path) -> None:
    folder = bids(tmp_path, {"phase": PHASE, "mag": MAGNITUDE})
    anat = folder / "sub-1" / "anat"
    write(anat / "sub-1_T1w.nii.gz", MAGNITUDE[0], ImageType=["ORIGINAL", "PRIMARY", "M"])
    write(anat / "sub-1_phasediff.nii.gz", PHASE[0], ImageType=["ORIGINAL", "PRIMARY", "P"], EchoTime=0.004)
    write(folder / "magnitude.nii.gz", MAGNITUDE[0])
    found = find_acquisition(folder)
    assert found.echo_times == TIMES and np.array_equal(found.part("magnitude"), MAGNITUDE)
    (note,) = found.notes
    assert all(name in note for name in ("magnitude.nii.gz", "sub-1_T1w.nii.gz", "sub-1_phasediff.nii.gz"))
    for path in list(anat.glob("*MEGRE*")):
        path.with_name(path.name.replace("sub-1", "sub-2")).write_bytes(path.read_bytes())
    with pytest.raises(ParameterInvalid, match="holds 2 scans with phase: sub-1_MEGRE, sub-2_MEGRE; give a folder"):
        find_acquisition(folder)
    with pytest.raises(ParameterInvalid, match="is no DICOM, and has no series; leave --series out"):
        find_acquisition(anat / "sub-2_echo-1_part-phase_MEGRE.nii.gz", [], series=[3])


@pytest.mark.parametrize(
    ("phase", "magnitude"),
    [
        ("sub-1_gre_e{}_ph", "sub-1_gre_e{}"),
        ("sub-1_echo-{}_phase", "sub-1_echo-{}_mag"),
        ("sub-1_acq-phase_echo-{}_GRE", "sub-1_acq-mag_echo-{}_GRE"),
    ],
)
def test_names_that_bids_does_not_know_are_one_scan_as_well(phase: str, magnitude: str, tmp_path: Path) -> None:
    for n in range(3):
        about = {"EchoTime": TIMES[n], "MagneticFieldStrength": 3}
        write(tmp_path / f"{phase.format(n + 1)}.nii.gz", PHASE[n], ImageType=["ORIGINAL", "P"], **about)
        write(tmp_path / f"{magnitude.format(n + 1)}.nii.gz", MAGNITUDE[n], ImageType=["ORIGINAL", "M"], **about)
    assert find_acquisition(tmp_path).kinds == ("phase", "magnitude")


def test_the_tenth_echo_comes_after_the_ninth(tmp_path: Path) -> None:
    times = [0.002 * (n + 1) for n in range(11)]
    for n in range(11):
        for part, values in (("phase", PHASE[0]), ("mag", MAGNITUDE[0] + n)):
            write(tmp_path / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz", values, MagneticFieldStrength=3)
    found = find_acquisition(tmp_path, echo_times=times)
    assert [e.name for e in found.echoes[:11]] == [f"sub-1_echo-{n + 1}_part-phase_MEGRE.nii.gz" for n in range(11)]
    assert torch.allclose(found.part("magnitude").diff(dim=0), torch.ones(()), atol=1e-3)


def test_a_header_with_other_numbers_of_echo_times_than_volumes_is_told(tmp_path: Path) -> None:
    for part, values in (("phase", PHASE), ("mag", MAGNITUDE)):
        path = tmp_path / f"sub-1_part-{part}_MEGRE.nii.gz"
        write(path, np.moveaxis(values, 0, -1), EchoTime=[*TIMES, 0.022], MagneticFieldStrength=3)
    with pytest.raises(ParameterInvalid, match="has 3 volumes and its header lists 4 echo times; give one"):
        find_acquisition(tmp_path)
    assert find_acquisition(tmp_path, echo_times=TIMES).echo_times == TIMES


def test_real_and_imaginary_parts_are_read(tmp_path: Path) -> None:
    signal = MAGNITUDE * np.exp(1j * PHASE)
    found = find_acquisition(bids(tmp_path / "a", {"real": signal.real, "imag": signal.imag}))
    phase, _, _ = Conversion()(found)
    assert np.allclose(phase.values, PHASE, atol=1e-4) and np.allclose(phase.magnitude, MAGNITUDE, rtol=1e-4)
    turned = np.conj(signal) * np.where(np.arange(9) % 2, -1.0, 1.0)
    ge = find_acquisition(bids(tmp_path / "b", {"real": turned.real, "imag": turned.imag}, Manufacturer="GE"))
    assert np.allclose(np.exp(1j * Conversion()(ge)[0].values.numpy()), np.exp(1j * PHASE), atol=1e-3)
    alternating = find_acquisition(
        bids(tmp_path / "c", {"phase": np.angle(turned), "mag": MAGNITUDE}, Manufacturer="GE MEDICAL SYSTEMS")
    )
    phase, notes, _ = Conversion()(alternating)
    assert np.allclose(np.exp(1j * phase.values.numpy()), np.exp(1j * PHASE), atol=1e-3)
    assert notes["ge_slices"] == "every other slice along z negated"


def test_ges_slices_are_set_right_in_an_image_that_was_turned(tmp_path: Path) -> None:
    turned = MAGNITUDE * np.exp(-1j * PHASE) * np.where(np.arange(12) % 2, -1.0, 1.0)[:, None, None]
    parts = {"phase": np.angle(turned), "mag": MAGNITUDE}
    phase, notes, _ = Conversion()(find_acquisition(bids(tmp_path / "a", parts, Manufacturer="GE")))
    assert np.allclose(np.exp(1j * phase.values.numpy()), np.exp(1j * PHASE), atol=1e-3)
    assert notes["ge_slices"] == "every other slice along x negated"
    for more, n_said in (({}, 1), ({"Manufacturer": "Siemens"}, 0)):
        phase, notes, warnings = Conversion()(find_acquisition(bids(tmp_path / "b", parts, **more)))
        assert np.allclose(np.exp(1j * phase.values.numpy()), turned / np.abs(turned), atol=1e-3)
        said = [w for w in warnings if "Every other slice along x" in w and "Manufacturer in the sidecar" in w]
        assert len(said) == n_said and "ge_slices" not in notes
    _, _, none = Conversion()(find_acquisition(bids(tmp_path / "c", {"phase": PHASE, "mag": MAGNITUDE})))
    assert not any("slice" in w for w in none)


def test_parts_may_share_a_sidecar_and_converters_names_are_known(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / f"gre_e{n + 1}_ph.nii", PHASE[n], EchoTime=TIMES[n], MagneticFieldStrength=3)
        write(tmp_path / f"gre_e{n + 1}.nii", MAGNITUDE[n], EchoTime=TIMES[n], ImageType=["ORIGINAL", "PRIMARY", "M"])
    assert find_acquisition(tmp_path).kinds == ("phase", "magnitude")
    shared = tmp_path / "shared"
    write(shared / "s_part-phase_MEGRE.nii", np.moveaxis(PHASE, 0, -1))
    write(shared / "s_part-mag_MEGRE.nii", np.moveaxis(MAGNITUDE, 0, -1))
    (shared / "s_MEGRE.json").write_text(json.dumps({"EchoTime": list(TIMES), "ImagingFrequency": 127.728}))
    found = find_acquisition(shared)
    assert found.b0 == pytest.approx(3.0, abs=1e-3) and found.sources["b0"] == "imaging frequency"
    assert np.array_equal(found.part("magnitude"), MAGNITUDE)


def test_files_with_echoes_in_any_order_are_sorted(tmp_path: Path) -> None:
    order = (2, 0, 1)
    phases = [write(tmp_path / f"p{n}.nii", PHASE[n]) for n in order]
    magnitudes = [write(tmp_path / f"m{n}.nrrd.nii", MAGNITUDE[n]) for n in order]
    found = find_acquisition(phases, magnitudes, echo_times=[TIMES[n] for n in order], b0=3.0)
    assert found.echo_times == TIMES and np.array_equal(found.part("magnitude"), MAGNITUDE)
    assert np.allclose(found.part("phase"), PHASE, atol=1e-6)


@pytest.mark.parametrize("name", ["small_phase_with_nan", "small_Phase", "small2_Phase"])
def test_real_phase_is_read_as_another_reader_does_nan_and_all(name: str, reference_data: Path) -> None:
    path = reference_data / "gre_small" / f"{name}.nii"
    if name == "small_phase_with_nan":  # five slices are too few for a scan, not for its numbers
        image = read_image(path)
        values = sitk.GetArrayFromImage(image).transpose(0, 3, 2, 1)
        assert int(np.isnan(values).sum()) == 1280
    else:
        values = read_echoes(path)[0].numpy()
    expected = nibabel.load(path).get_fdata(dtype=np.float32)
    expected = expected[None] if expected.ndim == 3 else np.moveaxis(expected, -1, 0)
    assert np.array_equal(values, expected, equal_nan=True)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_echoes_are_a_fourth_axis_or_the_values_of_a_voxel(suffix: str, tmp_path: Path) -> None:
    array = np.ascontiguousarray(PHASE.transpose(0, 3, 2, 1), dtype=np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / f"four{suffix}"))
    assert np.array_equal(read_echoes(tmp_path / f"four{suffix}")[0], PHASE.astype(np.float32))
    vectors = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(array, 0, -1)), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / f"vector{suffix}"))
    assert np.array_equal(read_echoes(tmp_path / f"vector{suffix}")[0], PHASE.astype(np.float32))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz"])
def test_nan_in_the_values_of_a_voxel_stays(suffix: str, tmp_path: Path) -> None:
    phase = PHASE.astype(np.float32)
    phase[1, 3, 4, 5], phase[2, 11, 0, 8] = np.nan, -np.inf
    array = np.ascontiguousarray(phase.transpose(3, 2, 1, 0))
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / f"vector{suffix}"))
    assert np.array_equal(read_echoes(tmp_path / f"vector{suffix}")[0], phase, equal_nan=True)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"EchoTime": 1' + 400 * "0" + ', "MagneticFieldStrength": 3}', "echo times are inf s; expected 0.0005 to"),
        ('{"EchoTime": 0.01, "MagneticFieldStrength": 1' + 400 * "0" + "}", "B0 is inf T; expected 0.01 to 25 T"),
        (100_000 * "[", r"a_ph\.json is not JSON that can be read"),
        ('{"EchoTime": ' + 100_000 * "[" + 100_000 * "]" + "}", r"a_ph\.json is not JSON that can be read"),
    ],
)
def test_a_sidecar_beyond_all_measure_is_refused_in_a_sentence(header: str, message: str, tmp_path: Path) -> None:
    phase, magnitude = write(tmp_path / "a_ph.nii", PHASE[0]), write(tmp_path / "m.nii", MAGNITUDE[0])
    (tmp_path / "a_ph.json").write_text(header)
    with pytest.raises(IR2QSMError, match=message):
        find_acquisition(phase, [magnitude])


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    array = np.zeros((9, 9, 9), np.complex64)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "z.nii"))
    with pytest.raises(GridInvalid, match="holds complex numbers"):
        read_echoes(tmp_path / "z.nii")


def test_each_confusion_has_its_own_sentence(tmp_path: Path) -> None:
    phase, magnitude = (
        write(tmp_path / f"{name}.nii", np.moveaxis(v, 0, -1)) for name, v in (("p", PHASE), ("m", MAGNITUDE))
    )
    known: dict[str, Any] = {"echo_times": TIMES, "b0": 3.0}
    with pytest.raises(FieldInvalid, match=r"3 phase images came without any magnitude; give .* --magnitude"):
        find_acquisition(phase, **known)
    with pytest.raises(ParameterInvalid, match="There are 3 echoes and 2 echo times; give one for each echo"):
        find_acquisition(phase, [magnitude], echo_times=TIMES[:2], b0=3.0)
    with pytest.raises(ParameterInvalid, match=r"No echo time is known of p\.nii, echo 1 and 2 more"):
        find_acquisition(phase, [magnitude], b0=3.0)
    with pytest.raises(ParameterInvalid, match=r"look like milliseconds: give 0\.004, 0\.01, 0\.016"):
        find_acquisition(phase, [magnitude], echo_times=[1e3 * t for t in TIMES], b0=3.0)
    with pytest.raises(ParameterInvalid, match=r"No field strength is known of p\.nii, echo 1; give B0"):
        find_acquisition(phase, [magnitude], echo_times=TIMES)
    with pytest.raises(ParameterInvalid, match="Two echoes have the echo time 4 ms"):
        find_acquisition(phase, [magnitude], echo_times=(0.004, 0.004, 0.01), b0=3.0)
    with pytest.raises(ParameterInvalid, match="B0 is 123 T"):
        find_acquisition(phase, [magnitude], echo_times=TIMES, b0=123.0)
    short = write(tmp_path / "short.nii", np.moveaxis(MAGNITUDE[:2], 0, -1))
    with pytest.raises(FieldInvalid, match="There are 3 phase images and 2 of magnitude"):
        find_acquisition(phase, [short], **known)
    thin = write(tmp_path / "thin.nii", np.moveaxis(MAGNITUDE[..., :8], 0, -1))
    with pytest.raises(GridMismatch, match=r"thin\.nii, echo 1 and p\.nii, echo 1 differ along z: 8 voxels against 9"):
        find_acquisition(phase, [thin], **known)
    named = write(tmp_path / "x_part-mag_MEGRE.nii", MAGNITUDE[0])
    with pytest.raises(FieldInvalid, match=r"There is no phase \(1 magnitude\)"):
        find_acquisition(named, echo_times=TIMES[:1], b0=3.0)
    with pytest.raises(FieldInvalid, match="given as magnitude, says that it is phase"):
        find_acquisition(phase, [write(tmp_path / "y_part-phase_MEGRE.nii", PHASE[0])], **known)
    doubled = find_acquisition(magnitude, [magnitude], **known)
    with pytest.raises(FieldInvalid, match=r"The phase m\.nii, echo 1 looks like the magnitude"):
        Conversion()(doubled)
    swapped = find_acquisition(magnitude, [phase], **known)
    with pytest.raises(FieldInvalid, match="holds negative numbers; is it the phase"):
        Conversion()(swapped)


def test_a_phase_that_is_unwrapped_already_or_of_no_known_range_is_said(tmp_path: Path) -> None:
    magnitude = write(tmp_path / "m.nii", MAGNITUDE[0])
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 10, 9)), indexing="ij")
    smooth = 40.0 * x + 15.0 * (y + 1)
    found = find_acquisition(write(tmp_path / "p.nii", smooth), [magnitude], echo_times=[0.01], b0=3.0)
    assert any(w.startswith("The phase is unwrapped already") and "--phase-range" in w for w in Conversion()(found)[2])
    odd = find_acquisition(write(tmp_path / "q.nii", 0.00117 * PHASE[0]), [magnitude], echo_times=[0.01], b0=3.0)
    phase, notes, warnings = Conversion()(odd)
    assert "unknown unit" in notes["scaling"] and len(warnings) == 1
    given = 0.00117 * math.pi
    told, _, none = Conversion((-given, given))(odd)
    assert none == [] and np.allclose(told.values[0], PHASE[0], atol=1e-4)
    assert np.abs(np.angle(np.exp(1j * (phase.values[0].numpy() - PHASE[0])))).max() < 0.1


def test_the_sign_can_be_turned(tmp_path: Path) -> None:
    found = find_acquisition(bids(tmp_path, {"phase": PHASE, "mag": MAGNITUDE}))
    assert torch.equal(Conversion(flip_sign=True)(found)[0].values, -Conversion()(found)[0].values)
    assert Conversion(flip_sign=True)(found)[1]["sign"]["turned_by_user"]
    assert Conversion(bipolar=True)(found)[0].bipolar


def test_folders_and_sidecars_that_say_nothing_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a" / "image.nii", PHASE[0])
    with pytest.raises(FileUnreadable, match="holds 1 NIfTI images, none of which"):
        find_acquisition(tmp_path / "a")
    path = write(tmp_path / "b" / "x_ph.nii", PHASE[0])
    (tmp_path / "b" / "x_ph.json").write_text("{")
    with pytest.raises(FileUnreadable, match=r"x_ph\.json is not JSON that can be read"):
        find_acquisition(path)
    (tmp_path / "b" / "x_ph.json").write_text("[]")
    with pytest.raises(FileUnreadable, match="holds no JSON object"):
        find_acquisition(path)


def test_slices_are_described(tmp_path: Path) -> None:
    assert orientation(Grid((9, 9, 9))) == "axial"
    tilted = (1.0, 0.0, 0.0, 0.0, math.cos(0.2), -math.sin(0.2), 0.0, math.sin(0.2), math.cos(0.2))
    assert orientation(Grid((9, 9, 9), direction=tilted)) == "axial, 11.5° off"
    assert orientation(Grid((9, 9, 9), direction=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))) == "sagittal"


KINDS = st.sampled_from(["phase", "magnitude", "real", "imaginary"])
NUMBER = st.one_of(st.none(), st.floats(-10.0, 1e5))


@given(
    st.lists(st.tuples(KINDS, NUMBER, NUMBER, NUMBER, st.integers(8, 9)), max_size=6),
    st.one_of(st.none(), st.lists(st.floats(-1.0, 50.0), max_size=4)),
    NUMBER,
)
def test_any_set_of_headers_is_an_acquisition_or_a_sentence(
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
        found = assemble_acquisition(echoes, echo_times=times, b0=b0)
    except IR2QSMError as error:
        assert str(error).endswith(".") and len(str(error)) > 30
    else:
        rising = list(found.echo_times)
        assert rising == sorted(set(rising)) and all(0.0005 <= te <= 0.1 for te in rising)
        assert 0.01 <= found.b0 <= 25.0 and len({e.grid for e in found.echoes}) == 1
        assert len(found.rows()) == len(found.echoes) == len(found.kinds) * len(rising)
