"""Advice that works: what a message says to do is done here, and leads to a map or to another message.

Each row is a command, the message that it gets, and the words that the message itself tells to add or to change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from Testing.Library.scanners import Scanner, random_scan, write_echo

SHAPE = (12, 13, 14)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
HZ = 42.576 * 3.0
Words = list[str]
Follow = Callable[[Words, "re.Match[str]"], Words]


def image(folder: Path, name: str, values: np.ndarray, **sidecar: Any) -> None:
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), AFFINE), folder / f"{name}.nii")
    if sidecar:
        (folder / f"{name}.json").write_text(json.dumps(sidecar))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields, masks and scans of a few voxels, right and wrong."""
    folder, rng = tmp_path_factory.mktemp("advice"), np.random.default_rng(0)
    field, mask = 0.02 * rng.normal(size=SHAPE), np.zeros(SHAPE)
    mask[1:-1, 1:-1, 1:-1] = 1
    x = np.linspace(-1, 1, SHAPE[0])[:, None, None]
    image(folder, "field", field)
    image(folder, "hz", HZ * field)
    image(folder, "odd_unit", HZ * field, Units="arbitrary", MagneticFieldStrength=3)
    image(folder, "seconds", HZ * 0.126 * field, Units="rad", MagneticFieldStrength=3, EchoTime=20)
    image(folder, "bad_json", field)
    (folder / "bad_json.json").write_text("{")
    image(folder, "total", field + 2.0 * x)
    image(folder, "noise", 0.01 + 0 * field)
    image(folder, "magnitude", 100 + 10 * rng.random(SHAPE))
    image(folder, "nan", np.where(np.arange(field.size).reshape(SHAPE) == 1000, np.nan, field))
    image(folder, "mask", mask)
    image(folder, "labels", mask * (1 + (np.arange(SHAPE[0]) > 5)[:, None, None]))
    image(folder, "soft", mask * np.clip(0.2 + rng.random(SHAPE), 0, 1))
    image(folder, "resampled", mask * (1 - 1e-6 * rng.integers(0, 2, SHAPE)))
    image(folder, "bytes", np.round(255 * mask * rng.random(SHAPE)))
    image(folder, "corner", np.where(np.arange(mask.size).reshape(SHAPE) == 0, 1, 0))
    (folder / "a_file").write_text("")
    (folder / "other.json").write_text("{}")
    phase, size = random_scan((12, 10, 9), 2)
    for name, times in {"bids": (0.004, 0.01), "ms": (4, 10), "no_te": (None, None), "ute": (3e-5, 1e-4)}.items():
        for n in range(2):
            more = {"EchoTime": times[n]} if times[n] else {}
            for part, values in (("phase", phase), ("mag", size)):
                path = folder / name / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii"
                write_echo(path, values[n], MagneticFieldStrength=3, **more)
    for run in (1, 2):
        for part, values in (("phase", phase), ("mag", size)):
            path = folder / "two" / f"sub-1_run-{run}_part-{part}_GRE.nii"
            write_echo(path, values[0], MagneticFieldStrength=3, EchoTime=0.004)
    write_echo(folder / "no_b0" / "sub-1_part-phase_GRE.nii", phase[0], EchoTime=0.004)
    write_echo(folder / "no_b0" / "sub-1_part-mag_GRE.nii", size[0], EchoTime=0.004)
    write_echo(folder / "alone" / "sub-1_part-phase_GRE.nii", phase[0], MagneticFieldStrength=3, EchoTime=0.004)
    write_echo(folder / "alone_mag.nii", size[0])
    write_echo(folder / "swi" / "a_ph.nii", phase[0], MagneticFieldStrength=3, EchoTime=0.02, ImageType=["P", "SWI"])
    write_echo(folder / "swi" / "a_mag.nii", size[0], MagneticFieldStrength=3, EchoTime=0.02)
    write_echo(folder / "difference" / "a_phasediff.nii", phase[0], MagneticFieldStrength=3)
    write_echo(folder / "difference" / "a_magnitude1.nii", size[0], MagneticFieldStrength=3)
    scanner = Scanner(folder / "dicom", shape=(12, 10, 9))
    scanner.siemens(phase, size, 5)
    scanner.siemens(phase, size, 15)
    return folder


def add(*words: str) -> Follow:
    """Add these words, in which {1} is the first group of the message's pattern."""
    return lambda before, said: [*before, *(part for word in words for part in word.format(*said.groups()).split())]


def without(word: str, n: int = 2) -> Follow:
    """Leave out an option and its value."""

    def follow(before: Words, said: re.Match[str]) -> Words:
        i = before.index(word)
        return before[:i] + before[i + n :]

    return follow


def instead(old: str, new: str) -> Follow:
    """Give another word in the place of one."""
    return lambda before, said: [new.format(*said.groups()) if word.endswith(old) else word for word in before]


RECONSTRUCT = "reconstruct @{field} @mask.nii -o @chi.nii --method tkd"
FIELDS = {
    "unit needs B0": ("hz --units hz", r"\((--b0)\)", add("{0} 3"), True),
    "unit needs TE": ("hz --units rad --b0 3", r"\((--te)\)", add("{0} 0.159"), True),
    "TE in milliseconds": ("hz --units rad --b0 3 --te 159", r"seconds, not milli", instead("159", "0.159"), True),
    "TE of the JSON in milliseconds": ("seconds", r"TE is 20 s", add("--te 0.02"), True),
    "B0 in hertz": ("hz --units hz --b0 3000", r"in tesla", instead("3000", "3"), True),
    "unknown unit": ("odd_unit", r"say it with (--units) \(ppm, ppb, (hz)", add("{0} {1}"), True),
    "wrong unit": ("hz", r"Say its unit with (--units) \(ppm, ppb, (hz)", add("{0} {1} --b0 3"), True),
    "a total field": ("total", r"of a total field say (--input total-field)", add("{0} --completion-steps 0"), False),
    "NaN": ("nan", r"with (--non-finite mask)\.", add("{0}"), True),
    "phase options": ("field --bipolar", r"say otherwise with (--input)", add("{0} phase"), False),
    "a turned sign": ("field --flip-sign", r"say otherwise with (--input)", add("{0} total-field"), False),
    "labels": ("field --mask-labels 9", r"it has 1 label \((1)\): choose", instead("9", "{0}"), True),
    "another method's option": ("field --tile 64", r"belongs to --method (ir2qsm)", without("--tile"), True),
    "a broken JSON": ("bad_json", r"mend or remove it", instead("bad_json.nii", "@field.nii"), True),
    "no magnitude": ("field --method medi", r"or use TV", add("--method tv"), True),
    "MEDI without spacing": (
        "field --method medi --magnitude @magnitude.nii",
        r"\((--b0)\) .* \((--te)\)",
        add("{0} 3 {1} 0.01"),
        True,
    ),
    "no noise": (
        "total --input total-field --background pdf",
        r"with its noise",
        add("--noise @noise.nii"),
        False,
    ),
    "no such folder": ("field -o @none/chi.nii", r"create it first", instead("none/chi.nii", "@made/chi.nii"), True),
    "no such suffix": ("field -o @chi.png", r"expected one of (\.nii\.gz)", instead("chi.png", "@chi{0}"), True),
    "two files": ("field -o @chi.mhd", r"expected one of (\.nii\.gz)", instead("chi.mhd", "@chi{0}"), True),
    "an input in danger": ("field -o @field.nii", r"another name", add("-o @x.nii"), True),
    "a foreign sidecar": ("field -o @other.nii", r"rename the result", add("-o @y.nii"), True),
    "one file for two": ("field --mask-output @chi.nii", r"its own file", add("--mask-output @m.nii"), True),
    "a reference elsewhere": (
        "field --reference @corner.nii",
        r"choose another one, or mean, or (none)",
        add("--reference {0}"),
        True,
    ),
    "no such device": ("field --device tpu", r"expected (auto)", add("--device {0}"), True),
    "series of a field": ("field --series 5", r"say otherwise with --input", without("--series"), True),
    "units of phase": (
        "bids/sub-1_echo-1_part-phase_MEGRE --units ppm",
        r"say (--input local-field)",
        add("{0}"),
        False,
    ),
}
MASKS = {
    "labels": ("labels", r"with (--mask-labels)", "{0} 1"),
    "probabilities": ("soft", r"such as (--mask-threshold [\d.e-]+)\.$", "{0}"),
    "resampled": ("resampled", r"such as (--mask-threshold [\d.e-]+)\.$", "{0}"),
    "bytes": ("bytes", r"of a smoothed mask (--mask-threshold [\d.e-]+)\.$", "{0}"),
    "too high": ("soft --mask-threshold 7", r"such as (--mask-threshold [\d.e-]+)\.$", "{0}"),
}
SCANS = {
    "echo times in milliseconds": ("@ms", r"say (--te [\d. ]+)\.$", add("{0}")),
    "no echo times": ("@no_te", r"in seconds with (--te), one for each", add("{0} 0.004 0.01")),
    "echo times in another order": ("@bids --te 0.01 0.004", r"Give (--te [\d. ]+), as", add("{0}")),
    "one time too few": ("@bids --te 0.01", r"one for each echo with (--te)", add("{0} 0.004 0.01")),
    "no B0": ("@no_b0", r"in tesla with (--b0)", add("{0} 3")),
    "no magnitude": (
        "@alone",
        r"theirs with (--magnitude)",
        lambda words, said: (
            [w.replace("alone", "alone/sub-1_part-phase_GRE.nii") for w in words] + [said[1], "@alone_mag.nii"]
        ),
    ),
    "two scans": ("@two", r"such as (--series \S+?)\.?$", add("{0}")),
    "two DICOM scans": ("@dicom", r"such as (--series \d+)", add("{0}")),
    "one DICOM file": ("@dicom/IM00000", r"give its folder", instead("/IM00000", "@dicom")),
    "an unknown series": ("@dicom --series 3", r"(16)", instead("3", "{0}")),
    "a series of one image": ("@bids/sub-1_echo-1_part-phase_MEGRE.nii --series 5", r"leave (--series)", None),
    "filtered phase": ("@swi", r"(--accept-filtered)", add("{0}")),
    "a difference without times": ("@difference", r"in seconds, with (--te)", add("{0} 0.0025")),
    "noise of phase": ("@bids --noise @noise.nii", r"Leave it out", without("--noise")),
    "a readout of two echoes": ("@bids --bipolar", r"three echoes or more", without("--bipolar", 1)),
}


def run(ir2qsm: Any, files: Path, words: Words) -> tuple[int, str]:
    (files / "made").mkdir(exist_ok=True)
    ran = ir2qsm(*(str(files / word[1:]) if word.startswith("@") else word for word in words))
    return ran.code, ran.err.strip().splitlines()[-1] if ran.err.strip() else ""


def require_way_out(
    ir2qsm: Any, files: Path, words: Words, pattern: str, follow: Follow, leads_to_map: bool = False
) -> None:
    """The command is refused with a message of that pattern; when it is followed, that message does not come again."""
    code, message = run(ir2qsm, files, words)
    said = re.search(pattern, message)
    assert code == 2 and said, message
    code, after = run(ir2qsm, files, follow(words, said))
    assert code == 0 if leads_to_map else code in (0, 2), after
    assert code == 0 or not re.search(pattern, after), f"in a circle: {after}"


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long if "MEDI" in n else ()) for n in FIELDS])
def test_advice_on_a_field_leads_on(ir2qsm: Any, files: Path, name: str) -> None:
    arguments, pattern, follow, leads_to_map = FIELDS[name]
    field, *options = arguments.split()
    words = [*RECONSTRUCT.format(field=f"{field}.nii").split(), *options]
    require_way_out(ir2qsm, files, words, pattern, follow, leads_to_map)


@pytest.mark.parametrize("name", MASKS)
def test_advice_on_a_mask_leads_to_a_map(ir2qsm: Any, files: Path, name: str) -> None:
    arguments, pattern, words = MASKS[name]
    mask, *options = arguments.split()
    before = ["reconstruct", "@field.nii", f"@{mask}.nii", "-o", "@chi.nii", "--method", "tkd", *options]
    require_way_out(ir2qsm, files, before, pattern, add(words), True)


@pytest.mark.long
def test_advice_on_a_mask_leads_to_a_comparison(ir2qsm: Any, files: Path) -> None:
    before = ["compare", "@field.nii", "@soft.nii", "-o", "@compared", "--methods", "tkd"]
    require_way_out(ir2qsm, files, before, r"such as (--mask-threshold [\d.e-]+)\.$", add("{0}"), True)


@pytest.mark.parametrize("name", SCANS)
def test_advice_on_a_scan_leads_on(ir2qsm: Any, files: Path, name: str) -> None:
    arguments, pattern, follow = SCANS[name]
    words = ["reconstruct", *arguments.split(), "-o", "@chi.nii", "--method", "tkd", "--completion-steps", "0"]
    require_way_out(ir2qsm, files, words, pattern, follow or without("--series"))


def test_advice_on_ultrashort_echo_times_is_no_circle(ir2qsm: Any, files: Path) -> None:
    from IR2QSMLib.io.scans import find_acquisition

    (note,) = (n for n in find_acquisition(files / "ute").notes if "ultrashort" in n)
    said = re.search(r"say --te ([\d. ]+)\.$", note)
    assert said
    assert find_acquisition(files / "ute", echo_times=list(map(float, said[1].split()))).echo_times == (0.03, 0.1)


@pytest.mark.parametrize("command", ["reconstruct", "fieldmap", "compare", "inspect", "simulate", "import-weights"])
def test_the_help_that_a_wrong_word_points_to_is_there(ir2qsm: Any, command: str) -> None:
    said = re.search(r"see: ir2qsm (.*)\.$", ir2qsm(command, "--no-such-option", "x").err.strip())
    assert said
    with pytest.raises(SystemExit) as ended:
        ir2qsm(*said[1].split())
    assert ended.value.code in (0, None)
