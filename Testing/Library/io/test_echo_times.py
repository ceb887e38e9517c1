"""Echo times of headers and of the user, images in any order, and other files beside a scan."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.scanners import random_scan, sidecar_of, write_echo

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)
AT_3_T = {"MagneticFieldStrength": 3}


def scan(folder: Path) -> tuple[list[Path], list[Path]]:
    """Phases and magnitudes one by one, each with its own echo time in its sidecar."""
    phases, magnitudes = (
        [
            write_echo(folder / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz", values[n], EchoTime=TIMES[n], **AT_3_T)
            for n in range(3)
        ]
        for part, values in (("phase", PHASE), ("mag", MAGNITUDE))
    )
    return phases, magnitudes


def test_echo_times_of_the_headers_in_another_order_are_refused(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    with pytest.raises(ParameterInvalid) as caught:
        find_acquisition(phases[::-1], magnitudes, echo_times=TIMES)
    assert str(caught.value) == (
        "sub-1_echo-3_part-phase_MEGRE.nii.gz has the echo time 16 ms in its header and was given 4 ms: the times "
        "given are the headers' in another order. Give --te 0.016 0.01 0.004, as the images come, or leave it out."
    )
    for times in (TIMES[::-1], None):
        acquired = find_acquisition(phases[::-1], magnitudes, echo_times=times)
        assert acquired.echo_times == TIMES and acquired.notes == []
        assert np.allclose(acquired.values_of("phase"), PHASE, atol=1e-6)
        assert np.array_equal(acquired.values_of("magnitude"), MAGNITUDE)


def test_echo_times_of_the_user_override_the_headers_with_a_note(tmp_path: Path) -> None:
    user_times = (0.005, 0.011, 0.017)
    acquired = find_acquisition(*scan(tmp_path), echo_times=user_times)
    assert acquired.echo_times == user_times and acquired.sources["echo_times"] == "given"
    (note,) = acquired.notes
    assert note == "The headers have the echo times 4, 10, 16 ms; 5, 11, 17 ms, which were given, were used."
    assert PhaseConversion()(acquired)[2][0] == note


def test_magnitudes_are_matched_to_phases_by_echo_time(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for times in (None, TIMES, (0.005, 0.011, 0.017)):
        acquired = find_acquisition(phases, magnitudes[::-1], echo_times=times)
        assert np.array_equal(acquired.values_of("magnitude"), MAGNITUDE)
    for path in phases:
        sidecar_of(path).unlink()
    acquired = find_acquisition(phases[::-1], magnitudes, echo_times=TIMES[::-1])
    assert np.array_equal(acquired.values_of("magnitude"), MAGNITUDE)


def test_magnitudes_are_reoriented_to_the_phase(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for path in magnitudes:  # rows run the other way, as converters store them
        image = nibabel.load(path)
        nibabel.save(image.as_reoriented(nibabel.orientations.axcodes2ornt("PRS")), path)
    assert nibabel.load(magnitudes[0]).shape == (10, 12, 9)
    acquired = find_acquisition(phases, magnitudes)
    assert np.array_equal(acquired.values_of("magnitude"), MAGNITUDE)
    assert all(row["shape"] == [12, 10, 9] for row in acquired.table())


def test_real_and_imaginary_parts_beside_a_phase_are_left_out_with_a_note(tmp_path: Path) -> None:
    scan(tmp_path)
    real, imaginary = "sub-1_echo-1_part-real_MEGRE.nii.gz", "sub-1_echo-1_part-imag_MEGRE.nii.gz"
    for names in ([real], [real, imaginary]):
        for name in names:
            write_echo(tmp_path / name, MAGNITUDE[0], EchoTime=TIMES[0], **AT_3_T)
        acquired = find_acquisition(tmp_path)
        assert acquired.kinds == ("phase", "magnitude") and len(acquired.table()) == 6
        assert acquired.notes == [f"Left out, as there is a phase: {', '.join(sorted(names))}."]
        assert np.allclose(PhaseConversion()(acquired)[0].values, PHASE, atol=1e-4)


def test_metadata_files_of_macos_are_ignored(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for path in (*phases, *magnitudes, *map(sidecar_of, phases)):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(100))
    acquired = find_acquisition(tmp_path)
    assert acquired.notes == [] and [e.name for e in acquired.echoes] == [p.name for p in (*phases, *magnitudes)]


def test_sidecar_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    for path in map(sidecar_of, (*phases, *magnitudes)):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert find_acquisition(tmp_path).echo_times == TIMES


def test_contradictory_headers_are_refused_unless_echo_times_are_given(tmp_path: Path) -> None:
    phases, magnitudes = scan(tmp_path)
    sidecar_of(phases[2]).write_text('{"EchoTime": 0.004}')
    with pytest.raises(ParameterInvalid, match=r"part-mag.* 10 ms where the phase has 4 ms; give images of the same"):
        find_acquisition(phases, magnitudes)
    acquired = find_acquisition(phases, magnitudes, echo_times=TIMES)
    assert acquired.echo_times == TIMES and np.array_equal(acquired.values_of("magnitude"), MAGNITUDE)
    assert "4, 10, 4 ms; 4, 10, 16 ms, which were given" in acquired.notes[0]
    assert "taken in the order in which they came" in acquired.notes[1]
