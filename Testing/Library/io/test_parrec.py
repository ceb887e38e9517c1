"""Philips' PAR/REC: kinds of image, echoes, scaling, place, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import FileUnreadable, ParameterInvalid
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.io.total_fields import read_total_field
from IR2QSMLib.pipeline.inspection import detect_input, inspect_image
from Testing.Library.scanners import random_scan

PHASE, MAGNITUDE = random_scan((12, 10, 9), 2)
TIMES = (0.004, 0.010)
MAGNITUDE_SCALE, SIGNAL_SCALE = 1.2, 1.5
"""Scale slopes: floating-point values are stored numbers over these, up to the intercept."""
ORIENTATIONS = {"transverse": 1, "sagittal": 2, "coronal": 3}
SLICE_AXIS = {"transverse": (0.0, 1.0, 0.0), "sagittal": (0.0, 0.0, -1.0), "coronal": (-1.0, 0.0, 0.0)}
"""Direction of slices (ap, fh, rl) without angulation."""

GENERAL = """\
# CLINICAL TRYOUT             Research image export tool     V4.2
# === GENERAL INFORMATION ========================================================
.    Patient name                       :   M\u00fcller
.    Max. number of cardiac phases      :   1
.    Max. number of echoes              :   {n_echoes}
.    Max. number of slices/locations    :   {n_slices}
.    Max. number of dynamics            :   {n_dynamics}
.    Patient position                   :   Head First Supine
.    Repetition time [ms]               :   30.0
.    Angulation midslice(ap,fh,rl)[degr]:   0.0  0.0  0.0
.    Off Centre midslice(ap,fh,rl) [mm] :   5.0  7.0  9.0
.    Dynamic scan      <0=no 1=yes> ?   :   0
.    Diffusion         <0=no 1=yes> ?   :   0
# === IMAGE INFORMATION ==========================================================
"""
LINE = (
    "{z} {echo} {dynamic} 1 {kind} {sequence} {index} 16 100 {nx} {ny} {ri:.5f} {rs:.5f} {ss:.6e} 0 4095 0 0 0 "
    "{centre[0]:.3f} {centre[1]:.3f} {centre[2]:.3f} 3.0 0.0 0 {orientation} 0 2 1.5 1.5 {te:.2f} 0.0 0.0 0.0 1 15.0 "
    "0 0 0 1 0.0 1 1 7 0 0 0 0 1\n"
)


def write_par(
    folder: Path,
    images: list[tuple[int, int, int, np.ndarray]],
    *,
    name: str = "scan",
    orientation: str = "transverse",
    reverse: bool = False,
    sequence: int = 2,
    suffixes: tuple[str, str] = (".PAR", ".REC"),
) -> Path:
    """Images as (kind, echo, dynamic, displayed or floating values), each line with the scaling of its kind."""
    folder.mkdir(exist_ok=True)
    nx, ny, n_slices = images[0][3].shape
    lines, pixels = [], []
    for kind, echo, dynamic, values in images:
        slope, intercept, scale = {
            0: (1.3, 0.0, MAGNITUDE_SCALE),
            1: (2.5, -5120.0, SIGNAL_SCALE),
            2: (2.5, -5120.0, SIGNAL_SCALE),
            3: (1.534554, -3142.0, 650.0) if sequence == 2 else (0.2442, -500.0, 4.0),
        }[kind]
        displayed = values if kind == 3 else values * slope * scale
        for z in range(n_slices):
            step = 3.0 * (z - 0.5 * (n_slices - 1)) * (-1.0 if reverse else 1.0)
            centre = [c + step * d for c, d in zip((5.0, 7.0, 9.0), SLICE_AXIS[orientation], strict=True)]
            line = {"z": z + 1, "echo": echo, "dynamic": dynamic, "kind": kind, "index": len(lines), "nx": nx, "ny": ny}
            line |= {"ri": intercept, "rs": slope, "ss": scale, "te": 1e3 * TIMES[echo - 1], "centre": centre}
            line |= {"sequence": sequence if kind == 3 else 2, "orientation": ORIENTATIONS[orientation]}
            lines.append(LINE.format(**line))
            pixels.append(((displayed[:, :, z].T - intercept) / slope).round().astype("<u2"))
    general = {"n_echoes": len({i[1] for i in images}), "n_dynamics": len({i[2] for i in images})}
    par, rec = (folder / f"{name}{suffix}" for suffix in suffixes)
    par.write_text(GENERAL.format(n_slices=n_slices, **general) + "".join(lines), encoding="latin-1")
    rec.write_bytes(np.stack(pixels).tobytes())
    return par


def images_of(
    kinds: dict[int, Callable[[int], np.ndarray]], dynamics: int = 1
) -> list[tuple[int, int, int, np.ndarray]]:
    """The images of all echoes and dynamics, interleaved as Philips writes them."""
    return [(k, e + 1, d + 1, make(e)) for e in range(2) for d in range(dynamics) for k, make in kinds.items()]


PHASE_AND_MAGNITUDE = {0: lambda e: MAGNITUDE[e], 3: lambda e: 1000.0 * PHASE[e]}
PARTS = {
    1: lambda e: (MAGNITUDE * np.cos(PHASE))[e],
    2: lambda e: (MAGNITUDE * np.sin(PHASE))[e],
}


@pytest.mark.parametrize("suffixes", [(".PAR", ".REC"), (".par", ".rec")])
@pytest.mark.parametrize("kinds", [PHASE_AND_MAGNITUDE, PARTS, PHASE_AND_MAGNITUDE | PARTS])
def test_phase_and_magnitude_of_all_echoes_are_read(
    kinds: dict[int, Callable[[int], np.ndarray]], suffixes: tuple[str, str], tmp_path: Path
) -> None:
    par = write_par(tmp_path / "par", images_of(kinds), suffixes=suffixes)
    assert detect_input(par) == detect_input(tmp_path / "par") == "phase"
    with pytest.raises(ParameterInvalid, match=r"No field strength is known of scan\.(par|PAR).*--b0"):
        find_acquisition(par)
    for source in (par, par.with_suffix(suffixes[1]), tmp_path / "par"):
        phase, _, warnings = PhaseConversion()(find_acquisition(source, b0=3.0))
        assert phase.echo_times == TIMES and not any("was taken as" in w for w in warnings)
        signal = phase.magnitude.numpy() * np.exp(1j * phase.values.numpy())
        assert np.abs(signal - MAGNITUDE * np.exp(1j * PHASE)).max() < 0.003 * MAGNITUDE.max()
    assert inspect_image(par)["problems"] != [] and len(inspect_image(par)["images"]) == 2 * len(kinds)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("orientation", "axes"),
    [
        ("transverse", [(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
        ("sagittal", [(0, 1, 0), (0, 0, -1), (-1, 0, 0)]),
        ("coronal", [(1, 0, 0), (0, 0, -1), (0, -1, 0)]),
    ],
)
def test_slices_lie_where_their_centres_say(
    orientation: str, axes: list[tuple[int, int, int]], reverse: bool, tmp_path: Path
) -> None:
    par = write_par(tmp_path, images_of(PHASE_AND_MAGNITUDE), orientation=orientation, reverse=reverse)
    grid = find_acquisition(par, b0=3.0).grid
    expected = np.array(axes, dtype=float).T
    expected[:, 2] *= -1.0 if reverse else 1.0
    assert np.allclose(grid.matrix, expected, atol=1e-6) and grid.voxel_size == pytest.approx((1.5, 1.5, 3.0))
    assert grid.b0_direction == pytest.approx(expected[2])
    assert grid.point((5.5, 4.5, 4)) == pytest.approx((9.0, 5.0, 7.0), abs=1e-3)


@pytest.mark.parametrize("volume", ["1", "3", "mean"])
def test_volume_of_a_dynamic_scan_is_chosen(volume: str, tmp_path: Path) -> None:
    images = [(k, e, d, d * v if k == 0 else v) for k, e, d, v in images_of(PHASE_AND_MAGNITUDE, dynamics=3)]
    par = write_par(tmp_path, images)
    with pytest.raises(ParameterInvalid, match="a time series of 3 volumes; choose one with --volume 1 to --volume 3"):
        find_acquisition(par, b0=3.0)
    phase, _, _ = PhaseConversion()(find_acquisition(par, b0=3.0, volume=volume))
    factor = 2.0 if volume == "mean" else float(volume)
    assert torch.allclose(phase.magnitude, torch.tensor(factor * MAGNITUDE, dtype=torch.float32), rtol=0.01)


def test_field_map_is_a_total_field_in_hz(tmp_path: Path) -> None:
    hz = 400.0 * np.sin(PHASE[0])
    par = write_par(tmp_path / "b0", [(0, 1, 1, MAGNITUDE[0]), (3, 1, 1, hz)], sequence=4)
    assert detect_input(par) == "total-field"
    field = read_total_field(par)
    assert field.header["Units"] == "hz" and np.abs(field.values.numpy() - hz).max() < 0.2


def test_one_of_several_par_files_is_chosen(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_par(tmp_path, images_of(PHASE_AND_MAGNITUDE), name=name)
    with pytest.raises(ParameterInvalid, match=r"first, second\. Say which with --series, such as --series first"):
        find_acquisition(tmp_path, b0=3.0)
    scan = find_acquisition(tmp_path, b0=3.0, series=["second"])
    assert scan.echoes[0].name.startswith("second.PAR") and "Left out of the folder: first.PAR." in scan.notes


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    par = write_par(tmp_path, images_of(PHASE_AND_MAGNITUDE))
    rec = par.with_suffix(".REC")
    content, text = rec.read_bytes(), par.read_text(encoding="latin-1")
    rec.write_bytes(content[:-100])
    with pytest.raises(FileUnreadable, match=r"scan\.REC is truncated: scan\.PAR promises 8,640 bytes"):
        find_acquisition(par, b0=3.0)
    rec.write_bytes(content)
    for damaged in ("", text[: len(text) // 2], text.replace("12 10", "x y")):
        par.write_text(damaged, encoding="latin-1")
        with pytest.raises(FileUnreadable, match=r"scan\.PAR and scan\.REC cannot be read"):
            find_acquisition(par, b0=3.0)
    par.write_text(
        text.replace(
            ".    Angulation midslice(ap,fh,rl)[degr]:   0.0", ".    Angulation midslice(ap,fh,rl)[degr]:   30.0"
        )
    )
    with pytest.raises(FileUnreadable, match="says twice where its slices lie"):
        find_acquisition(par, b0=3.0)
    rec.unlink()
    with pytest.raises(FileUnreadable, match=r"scan\.REC is missing beside scan\.PAR"):
        find_acquisition(par, b0=3.0)
