"""Complex images, NIfTI-2, and real and imaginary parts that only the user knows."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, ParameterInvalid
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.image_echoes import read_echoes
from IR2QSMLib.io.images import has_orientation, is_in_template_space, read_image
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.inspection import detect_input, inspect_image
from Testing.Library.scanners import Scanner, random_scan, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
SIGNAL = MAGNITUDE * np.exp(1j * PHASE)
TIMES = (0.004, 0.010)
AFFINE = np.diag([-1.5, -2.0, 3.0, 1.0])


def require_scan(phase: Phase) -> None:
    """The phase and magnitude are those of SIGNAL."""
    signal = phase.magnitude.numpy() * np.exp(1j * phase.values.numpy())
    assert np.abs(signal - SIGNAL).max() < 1e-3 * MAGNITUDE.max()
    assert phase.echo_times == TIMES


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("image", "dtype"),
    [(nibabel.Nifti1Image, np.complex64), (nibabel.Nifti1Image, np.complex128), (nibabel.Nifti2Image, np.complex64)],
)
def test_phase_and_magnitude_come_from_one_complex_image(image: type, dtype: type, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sub-1_MEGRE{suffix}"
    nibabel.save(image(np.moveaxis(SIGNAL, 0, -1).astype(dtype), AFFINE), path)
    assert detect_input(path) == "phase"
    scan = find_acquisition(path, echo_times=TIMES, b0=3.0)
    assert scan.kinds == ("real", "imaginary") and scan.grid.voxel_size == pytest.approx((1.5, 2.0, 3.0))
    require_scan(PhaseConversion()(scan)[0])


def test_complex_echoes_of_a_folder_are_one_scan(tmp_path: Path) -> None:
    for n, te in enumerate(TIMES):
        path = write_echo(tmp_path / f"sub-1_echo-{n + 1}_MEGRE.nii", PHASE[n], EchoTime=te, MagneticFieldStrength=7)
        nibabel.save(nibabel.Nifti1Image(SIGNAL[n].astype(np.complex64), AFFINE), path)
    scan = find_acquisition(tmp_path)
    assert scan.b0 == 7.0
    require_scan(PhaseConversion()(scan)[0])
    assert inspect_image(tmp_path)["kind"] == "scan"
    assert inspect_image(tmp_path / "sub-1_echo-1_MEGRE.nii")["images"][0]["kind"] == "real"


def test_nan_of_a_complex_image_is_kept(tmp_path: Path) -> None:
    signal = SIGNAL[0].astype(np.complex64)
    signal[3, 4, 5] = complex(np.nan, 1.0)
    nibabel.save(nibabel.Nifti1Image(signal, AFFINE), tmp_path / "z.nii.gz")
    scan = find_acquisition(tmp_path / "z.nii.gz", echo_times=[0.01], b0=3.0)
    assert int(scan.values_of("real").isnan().sum()) == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_2_is_read_as_nifti_1(order: str, suffix: str, tmp_path: Path) -> None:
    values = PHASE[0].astype(np.float32)
    values[1, 2, 3] = np.nan
    affine = np.array([[0.0, -2.0, 0.0, 5.0], [1.5, 0.0, 0.0, -7.0], [0.0, 0.0, 3.0, 9.0], [0.0, 0.0, 0.0, 1.0]])
    for image in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        header = image.header_class(endianness=order)
        nifti = image(values.astype(f"{order}f4"), affine, header)
        nifti.set_sform(affine, 4)
        nibabel.save(nifti, tmp_path / f"{image.__name__}{suffix}")
    one, two = (tmp_path / f"Nifti{n}Image{suffix}" for n in (1, 2))
    first, second = read_image(one), read_image(two)
    assert np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second), equal_nan=True)
    assert (first.GetDirection(), first.GetOrigin()) == (second.GetDirection(), second.GetOrigin())
    assert has_orientation(two) and is_in_template_space(two) == is_in_template_space(one)
    assert np.array_equal(read_echoes(two)[0][0], values, equal_nan=True)


def test_damaged_nifti_2_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(PHASE[0].astype(np.float32), AFFINE), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "short.nii").write_bytes(content[:-100])
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(content)[:-100])
    for name in ("short.nii", "short.nii.gz"):
        with pytest.raises(FileUnreadable, match=f"^{name} is truncated or damaged"):
            read_image(tmp_path / name)
    nibabel.save(nibabel.Nifti2Pair(PHASE[0].astype(np.float32), AFFINE), tmp_path / "b.hdr")
    with pytest.raises(FileUnreadable, match="is a NIfTI-2 header with its voxels in another file; save both as one"):
        read_image(tmp_path / "b.hdr")


def test_parts_without_a_name_are_given_one_by_one(tmp_path: Path) -> None:
    real = [write_echo(tmp_path / f"one{n}.nii", SIGNAL[n].real, EchoTime=te) for n, te in enumerate(TIMES)]
    imaginary = [str(write_echo(tmp_path / f"two{n}.nii", SIGNAL[n].imag)) for n in range(2)]
    require_scan(PhaseConversion()(find_acquisition(real, imaginary=imaginary, b0=3.0))[0])
    magnitude = [str(write_echo(tmp_path / f"three{n}.nii", MAGNITUDE[n])) for n in range(2)]
    with pytest.raises(FieldInvalid, match=r"imaginary part three0\.nii holds no negative number; is it a magnitude"):
        PhaseConversion()(find_acquisition(real, imaginary=magnitude, b0=3.0))
    with pytest.raises(ParameterInvalid, match="--real goes with a folder"):
        find_acquisition(real, real=imaginary, imaginary=imaginary)


@pytest.mark.parametrize("name", ["file", "SeriesNumber", "SeriesDescription"])
def test_parts_of_a_folder_are_named_by_file_or_series(name: str, tmp_path: Path) -> None:
    words: dict[str, list[str]] = {"real": [], "imaginary": []}
    for number, (kind, part) in enumerate((("real", SIGNAL.real), ("imaginary", SIGNAL.imag)), 7):
        for n, te in enumerate(TIMES):
            about = {"SeriesNumber": number, "SeriesDescription": f"gre {number}", "MagneticFieldStrength": 3}
            path = write_echo(tmp_path / f"scan_{number}_e{n + 1}.nii", part[n], EchoTime=te, **about)
            words[kind].append(path.name if name == "file" else str(about[name]))
    require_scan(PhaseConversion()(find_acquisition(tmp_path, **words))[0])
    with pytest.raises(ParameterInvalid, match="--imaginary is missing; name the imaginary parts by file or series"):
        find_acquisition(tmp_path, real=words["real"])
    with pytest.raises(ParameterInvalid, match="--real names nothing, which no file here is called"):
        find_acquisition(tmp_path, real=["nothing"], imaginary=words["imaginary"])


@pytest.mark.parametrize("manufacturer", ["GE MEDICAL SYSTEMS", ""])
def test_parts_of_anonymised_series_are_named_by_the_user(manufacturer: str, tmp_path: Path) -> None:
    signal = np.conj(SIGNAL) * np.where(np.arange(9) % 2, -1.0, 1.0)
    scanner = Scanner(tmp_path, manufacturer)
    for series, part in ((7, signal.real), (8, signal.imag)):
        scanner.write(f"part{series}", part.round(), series=series, image_type=["ORIGINAL", "PRIMARY", "OTHER"])
    with pytest.raises(FieldInvalid, match=r"If two series are .*, name them, such as --real 7 --imaginary 8"):
        find_acquisition(tmp_path)
    for words in ({"real": ["7"], "imaginary": ["8"]}, {"real": ["gre_part7"], "imaginary": ["gre_part8"]}):
        scan = find_acquisition(tmp_path, **words, manufacturer=None if manufacturer else "GE")
        phase, notes, _ = PhaseConversion()(scan)
        assert np.abs(np.angle(np.exp(1j * (phase.values.numpy() - PHASE)))).max() < 0.01
        assert notes["ge_slices"] == "every other slice along z negated"
    if not manufacturer:
        _, _, warnings = PhaseConversion()(find_acquisition(tmp_path, **words))
        assert any("say --manufacturer GE" in w for w in warnings)
    with pytest.raises(ParameterInvalid, match="--real came without --imaginary"):
        find_acquisition(tmp_path, real=["7"])
    with pytest.raises(ParameterInvalid, match="No series is called '9'; choose --imaginary among series 7"):
        find_acquisition(tmp_path, real=["7"], imaginary=["9"])


@pytest.mark.parametrize("with_phase", [False, True])
def test_parts_of_one_anonymised_series_are_named_by_their_order(with_phase: bool, tmp_path: Path) -> None:
    scanner = Scanner(tmp_path, "GE MEDICAL SYSTEMS")
    images = [MAGNITUDE, *([1000.0 * PHASE] if with_phase else []), SIGNAL.real, SIGNAL.imag]
    for n, values in enumerate(images):
        scanner.extra = {"InstanceNumber": n + 1}
        scanner.write("all", values.round(), series=7, uid="1.2.3", image_type=["ORIGINAL", "PRIMARY", "OTHER"])
    n = len(images)
    with pytest.raises(FieldInvalid, match=f"has {n} images at each place.*say --real 7:{n - 1} --imaginary 7:{n}"):
        find_acquisition(tmp_path)
    phase, _, _ = PhaseConversion()(find_acquisition(tmp_path, real=[f"7:{n - 1}"], imaginary=[f"7:{n}"]))
    assert np.abs(np.angle(np.exp(1j * (phase.values.numpy() + PHASE)))).max() < 0.01  # GE's sign is turned
    with pytest.raises(FieldInvalid, match=r"real part series 7.* holds no negative number"):
        PhaseConversion()(find_acquisition(tmp_path, real=["7:1"], imaginary=[f"7:{n}"]))
