"""Echo times from headers and from the user, images in any order, and what lies beside a scan."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.field.scanner import Conversion
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)


def write(path: Path, values: np.ndarray, te: float) -> Path:
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([1.5, 2.0, 3.0, 1.0])), path)
    header_of(path).write_text(json.dumps({"EchoTime": te, "MagneticFieldStrength": 3}))
    return path


def header_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", ".json"))


def scan(folder: Path) -> tuple[list[Path], list[Path]]:
    """Phases and magnitudes one by one, each with its own echo time in its sidecar."""
    phases, magnitudes = (
        [write(folder / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz", values[n], TIMES[n]) for n in range(3)]
        for part, values in (("phase", PHASE), ("mag", MAGNITUDE))
    )
    return phases, magnitudes


def test_echo_times_that_are_the_headers_in_another_order_are_refused(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    with pytest.raises(ParameterInvalid) as caught:
        find_acquisition(phases[::-1], magnitudes, echo_times=TIMES)
    assert str(caught.value) == (
        "sub-1_echo-3_part-phase_MEGRE.nii.gz has the echo time 16 ms in its header and was given 4 ms: the times "
        "given are the headers' in another order. Give --te 0.016 0.01 0.004, as the images come, or leave it out."
    )
    for times in (TIMES[::-1], None):
        found = find_acquisition(phases[::-1], magnitudes, echo_times=times)
        assert found.echo_times == TIMES and found.notes == []
        assert np.allclose(found.part("phase"), PHASE, atol=1e-6)
        assert np.array_equal(found.part("magnitude"), MAGNITUDE)


def test_other_echo_times_than_the_headers_win_and_it_is_said(tmp_path: Path) -> None:
    given = (0.005, 0.011, 0.017)
    found = find_acquisition(*scan(tmp_path), echo_times=given)
    assert found.echo_times == given and found.sources["echo_times"] == "given"
    (said,) = found.notes
    assert said == "The headers have the echo times 4, 10, 16 ms; 5, 11, 17 ms, which were given, were used."
    assert Conversion()(found)[2][0] == said


def test_magnitudes_belong_to_phases_by_the_headers_whatever_order_they_come_in(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for times in (None, TIMES, (0.005, 0.011, 0.017)):
        found = find_acquisition(phases, magnitudes[::-1], echo_times=times)
        assert np.array_equal(found.part("magnitude"), MAGNITUDE)
    for path in phases:
        header_of(path).unlink()
    found = find_acquisition(phases[::-1], magnitudes, echo_times=TIMES[::-1])
    assert np.array_equal(found.part("magnitude"), MAGNITUDE)


def test_images_whose_axes_are_stored_otherwise_are_turned_to_those_of_the_phase(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for path in magnitudes:  # rows run the other way, as converters store them
        image = nibabel.load(path)
        nibabel.save(image.as_reoriented(nibabel.orientations.axcodes2ornt("PRS")), path)
    assert nibabel.load(magnitudes[0]).shape == (10, 12, 9)
    found = find_acquisition(phases, magnitudes)
    assert np.array_equal(found.part("magnitude"), MAGNITUDE)
    assert all(row["shape"] == [12, 10, 9] for row in found.rows())


def test_real_and_imaginary_parts_beside_a_phase_are_left_out_and_said(tmp_path: Path) -> None:
    scan(tmp_path)
    real, imaginary = "sub-1_echo-1_part-real_MEGRE.nii.gz", "sub-1_echo-1_part-imag_MEGRE.nii.gz"
    for names in ([real], [real, imaginary]):
        for name in names:
            write(tmp_path / name, MAGNITUDE[0], TIMES[0])
        found = find_acquisition(tmp_path)
        assert found.kinds == ("phase", "magnitude") and len(found.rows()) == 6
        assert found.notes == [f"Left out, as there is a phase: {', '.join(sorted(names))}."]
        assert np.allclose(Conversion()(found)[0].values, PHASE, atol=1e-4)


def test_what_macos_writes_beside_files_is_passed_over(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for path in (*phases, *magnitudes, *map(header_of, phases)):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(100))
    found = find_acquisition(tmp_path)
    assert found.notes == [] and [e.name for e in found.echoes] == [p.name for p in (*phases, *magnitudes)]


def test_a_sidecar_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for path in map(header_of, (*phases, *magnitudes)):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert find_acquisition(tmp_path).echo_times == TIMES


def test_headers_of_phase_and_magnitude_that_disagree_are_refused_or_overruled(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    header_of(phases[2]).write_text('{"EchoTime": 0.004}')
    with pytest.raises(ParameterInvalid, match=r"part-mag.* 10 ms where the phase has 4 ms; give images of the same"):
        find_acquisition(phases, magnitudes)
    found = find_acquisition(phases, magnitudes, echo_times=TIMES)
    assert found.echo_times == TIMES and np.array_equal(found.part("magnitude"), MAGNITUDE)
    assert "4, 10, 4 ms; 4, 10, 16 ms, which were given" in found.notes[0]
    assert "taken in the order in which they came" in found.notes[1]
