"""NIfTI geometry: qform against sform, pairs of files, and files without orientation."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.errors import GridInvalid
from IR2QSMLib.io.images import has_orientation, read_volume

SHAPE = (9, 10, 11)


def about_x(angle: float, shift: float = 0.0) -> np.ndarray:
    affine = np.eye(4)
    affine[1:3, 1:3] = (math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))
    affine[2, 3] = shift
    return affine


def write(path: Path, sform: tuple[np.ndarray, int], qform: tuple[np.ndarray, int]) -> Path:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), None)
    image.header.set_sform(*sform)
    image.header.set_qform(*qform)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("code", [1, 2])
@pytest.mark.parametrize(("qform", "distance"), [(about_x(math.pi / 6), "6.21"), (about_x(0.0, 0.2), "0.20")])
def test_contradictory_qform_and_sform_are_refused(tmp_path: Path, code: int, qform: np.ndarray, distance: str) -> None:
    # 9·cos 30° − 10·sin 30° − 9 = −6.21 at the last corner
    with pytest.raises(GridInvalid) as caught:
        read_volume(write(tmp_path / "a.nii", (np.eye(4), code), (qform, code)))
    assert str(caught.value) == (
        f"a.nii says twice where it lies: its sform and its qform, both of code {code}, are up to {distance} mm apart, "
        "which leaves its place and B0 in doubt. Correct one of them, or set the code of the wrong one to 0."
    )


@pytest.mark.parametrize("degrees", [30, 150, 178])
def test_rotations_in_opposite_directions_are_refused(tmp_path: Path, degrees: int) -> None:
    angle = math.radians(degrees)
    with pytest.raises(GridInvalid, match="says twice where it lies"):
        read_volume(write(tmp_path / "a.nii", (about_x(angle), 1), (about_x(-angle), 1)))


def test_scanner_coordinates_are_preferred(tmp_path: Path) -> None:
    by_sform, by_qform = (0.0, 0.0, 1.0), (0.0, 0.5, math.sqrt(0.75))
    for codes, b0 in (
        ((1, 0), by_sform),
        ((0, 1), by_qform),
        ((1, 2), by_sform),
        ((2, 1), by_qform),
        ((4, 1), by_qform),
    ):
        path = write(tmp_path / "a.nii", (np.eye(4), codes[0]), (about_x(math.pi / 6), codes[1]))
        assert read_volume(path)[1].b0_direction == pytest.approx(b0, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(-0.5, 0.5), st.tuples(*[st.floats(0.3, 3.0)] * 3), st.integers(0, 2**32 - 1))
def test_qform_and_sform_that_differ_by_rounding_are_accepted(tilt: float, size: tuple[float, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    oblique = np.eye(4)
    oblique[:3, :3], _ = np.linalg.qr(rng.standard_normal((3, 3)))
    by_180_degrees = np.diag([-1.0, -1.0, 1.0, 1.0]) @ about_x(tilt)  # where a qform is least exact
    for affine in (oblique, by_180_degrees):
        affine = affine @ np.diag([*size, 1.0])
        affine[:3, 3] = rng.uniform(-150, 150, 3)
        with tempfile.TemporaryDirectory() as folder:
            image = nibabel.Nifti1Image(np.zeros((8, 500, 400), np.uint8), None)
            image.header.set_sform(affine, 1)
            image.header.set_qform(affine, 1)
            nibabel.save(image, Path(folder) / "a.nii")
            assert read_volume(Path(folder) / "a.nii")[1].shape == (8, 500, 400)


def test_pair_of_files_is_read_by_either_name(tmp_path: Path) -> None:
    values = np.arange(990, dtype=np.float32).reshape(SHAPE)
    values[1, 2, 3] = np.nan
    nibabel.save(nibabel.Nifti1Pair(values, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "a.img")
    for name in ("a.hdr", "a.img"):
        stored, grid = read_volume(tmp_path / name)
        assert np.array_equal(stored, values, equal_nan=True) and grid.voxel_size == (2.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("geometry", "oriented"),
    [("spacings: 1 2 3", False), ("space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)", True)],
)
def test_nrrd_without_space_directions_has_no_orientation(tmp_path: Path, geometry: str, oriented: bool) -> None:
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 9 10 11\n{geometry}\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"\nspace directions:".ljust(990))
    assert read_volume(tmp_path / "a.nrrd")[1].shape == SHAPE
    assert has_orientation(tmp_path / "a.nrrd") is oriented
