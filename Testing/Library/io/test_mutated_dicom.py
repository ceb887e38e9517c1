"""DICOM files with bytes changed, cut or added: every slice that is read is what a header says, or there is none."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from IR2QSMLib.core.errors import IR2QSMError
from IR2QSMLib.io.acquisition import Acquisition, Echo
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.inspection import inspect_image
from Testing.Library.mutations import mutated
from Testing.Library.scanners import Scanner, random_scan

SHAPE, TIMES, B0 = (9, 8, 8), (0.005, 0.011), 3.0


def classic(folder: Path) -> list[Path]:
    Scanner(folder, echo_times=TIMES[:1], shape=SHAPE, b0=B0).siemens(*random_scan(SHAPE, 1))
    return sorted(folder.iterdir())


def enhanced(folder: Path) -> list[Path]:
    return [Scanner(folder, echo_times=TIMES, shape=SHAPE, b0=B0).enhanced(*random_scan(SHAPE, 2))]


OTHER_KINDS = {"P", "PHASE", "R", "REAL", "I", "IMAGINARY"}
WRITERS = {"classic": classic, "enhanced": enhanced}


@dataclass
class StoredSlice:
    """One slice as its header describes it, read without the library."""

    place: np.ndarray
    cosines: np.ndarray
    spacing: np.ndarray
    echo_time: float
    b0: float
    kinds: set[str]
    pixels: np.ndarray


def stored_slices(files: list[Path]) -> Iterator[StoredSlice]:
    """The slices of those files that can be read."""
    for file in files:
        with contextlib.suppress(Exception):
            ds = pydicom.dcmread(file, force=True)
            frames = list(ds.get("PerFrameFunctionalGroupsSequence") or [pydicom.Dataset()])
            size = (len(frames), int(ds.Rows), int(ds.Columns))
            kind = "<i2" if ds.PixelRepresentation else "<u2"
            pixels = np.frombuffer(ds.PixelData, kind, int(np.prod(size))).reshape(size).astype(np.float64)
            for n, frame in enumerate(frames):
                with contextlib.suppress(Exception):
                    yield _stored_slice(ds, frame, pixels[n])


def _stored_slice(ds: Any, frame: Any, pixels: np.ndarray) -> StoredSlice:
    shared = [item for group in ds.get("SharedFunctionalGroupsSequence") or [] for item in _nested(group)]
    datasets = [*_nested(frame), *shared, ds]

    def get(*names: str, default: Any = None) -> Any:
        return next((d.get(name) for name in names for d in datasets if d.get(name) not in (None, "")), default)

    words = {str(v).upper() for v in (get("FrameType", "ImageType") or ())}
    return StoredSlice(
        np.array(get("ImagePositionPatient"), float),
        np.array(get("ImageOrientationPatient"), float),
        np.array(get("PixelSpacing"), float),
        float(get("EffectiveEchoTime", "EchoTime")) / 1e3,
        float(get("MagneticFieldStrength", default="nan")),
        words | {str(get("ComplexImageComponent")).upper()},
        pixels * float(get("RescaleSlope", default=1)) + float(get("RescaleIntercept", default=0)),
    )


def _nested(group: Any) -> list[Any]:
    return [item for element in group if element.VR == "SQ" for item in element.value]


def require_described(echo: Echo, te: float, slices: list[StoredSlice]) -> None:
    """Each slice of an echo is one of those stored, with its place, size, kind and echo time."""
    values, grid = echo.read_values().numpy(), echo.grid
    names = {"P", "PHASE"} if echo.kind == "phase" else {"M", "MAGNITUDE"}
    for z in range(grid.shape[2]):
        place = np.asarray(grid.origin) + z * grid.voxel_size[2] * grid.matrix[:, 2]
        assert any(
            np.allclose(s.place, place, atol=0.06 * grid.voxel_size[2])
            and np.allclose(s.spacing, grid.voxel_size[1::-1], rtol=2e-3)
            and np.allclose(s.cosines, grid.matrix[:, :2].T.ravel(), atol=3e-3)
            and abs(s.echo_time - te) < 2e-5
            and (s.kinds & names or (echo.kind == "magnitude" and not s.kinds & OTHER_KINDS))
            and s.pixels.shape == values.shape[1::-1]
            and np.allclose(s.pixels, values[:, :, z].T, rtol=1e-5, atol=1e-3)
            for s in slices
        ), f"slice {z} of the {echo.kind} is in no header"


def require_true(scan: Acquisition, slices: list[StoredSlice], all_say_b0: bool) -> None:
    """What was read is what the headers say; a header that differs from all others decides nothing."""
    for echo, te in zip(scan.echoes, [*scan.echo_times] * 2, strict=True):
        require_described(echo, te, slices)
    said = {s.b0 for s in slices} | {1e-4 * s.b0 for s in slices}
    assert any(np.isclose(scan.b0, b0) for b0 in said)
    assert all_say_b0 or scan.b0 == B0


def fuzz(folder: Path, kind: str, n: int, seed: int) -> int:
    """Mutate one file, or all of a kind alike, `n` times; returns how many scans could be read."""
    files, n_read = WRITERS[kind](folder / "scan"), 0
    contents = {file: file.read_bytes() for file in files}
    for number in range(seed, seed + n):
        one = files[number % len(files)]
        alike = [one] if number % 2 else files[number % 2 : len(files) // 2] if number % 4 else files
        for file in alike:
            content = contents[file]
            file.write_bytes(content[:132] + mutated(content[132:], len(content) - 400, random.Random(number)))
        try:
            with contextlib.suppress(IR2QSMError):
                scan = find_acquisition(folder / "scan")
                require_true(scan, list(stored_slices(files)), len(alike) > 1 or len(files) == 1)
                n_read += 1
            if number % 8 == 0:
                with contextlib.suppress(IR2QSMError):
                    inspect_image(folder / "scan")
        except Exception as error:
            raise AssertionError(f"{kind} DICOM with the seed {number}: {error!r}") from error
        for file in alike:
            file.write_bytes(contents[file])
    return n_read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRITERS)
def test_damaged_dicom_is_read_as_its_headers_say_or_refused(tmp_path: Path, kind: str) -> None:
    assert fuzz(tmp_path, kind, 12, 0)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRITERS)
def test_many_damaged_dicom_files_are_read_as_their_headers_say_or_refused(tmp_path: Path, kind: str) -> None:
    assert fuzz(tmp_path, kind, 1000, 10_000) > 50
