"""Images: axis order, geometry, and errors for geometry that cannot be used."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.errors import GridInvalid, GridMismatch, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import (
    grid_of,
    image_of,
    read_volume,
    require_size,
    volume_of,
)

SHAPE = (9, 10, 11)
GRID = Grid(SHAPE, (0.5, 1.0, 2.0), (0, 0, 1, 1, 0, 0, 0, 1, 0), (-10.0, 20.0, 30.0))


def ramp(shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    """A volume in which no two voxels are equal."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def write(path: Path, values: torch.Tensor, grid: Grid = GRID, compressed: bool = True) -> Path:
    sitk.WriteImage(image_of(values, grid), str(path), useCompression=compressed)
    return path


def write_nifti(
    path: Path,
    srow: object,
    codes: tuple[int, int] = (0, 1),
    pixdim: tuple[float, float, float] = (1.0, 1.0, 1.0),
    shape: tuple[int, ...] = SHAPE,
    magic: bytes = b"n+1\0",
) -> Path:
    """A NIfTI-1 file of zeros, written byte by byte so that its header may be as wrong as headers are."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<2h", header, 70, 16, 32)  # float32
    struct.pack_into("<8f", header, 76, 1.0, *pixdim, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<2f", header, 108, 352.0, 1.0)
    header[123] = 2  # mm
    struct.pack_into("<2h", header, 252, *codes)  # qform, the identity, and sform
    struct.pack_into("<12f", header, 280, *np.ravel(srow))
    header[344:348] = magic
    path.write_bytes(bytes(header) + bytes(4 * int(np.prod(shape))))
    return path


# -- axis order and geometry ------------------------------------------------------------------------------------------


def test_first_tensor_axis_is_the_images_x() -> None:
    image = sitk.Image([8, 9, 10], sitk.sitkInt16)
    image[5, 2, 7] = 42
    values, grid = volume_of(image, "a.nii")
    assert values.shape == grid.shape == (8, 9, 10)
    assert values.dtype == torch.float32
    assert values.is_contiguous()
    assert values.nonzero().tolist() == [[5, 2, 7]]


def test_positions_agree_with_itk() -> None:
    image = image_of(ramp(), GRID)
    grid = grid_of(image)
    for index in [(0, 0, 0), (8, 0, 3), (1, 2, 10)]:
        assert grid.point(index) == pytest.approx(image.TransformIndexToPhysicalPoint(index))
    assert image[1, 2, 10] == ramp()[1, 2, 10]


def test_nifti_affine_is_read_as_ras(tmp_path: Path) -> None:
    # voxel x runs to the patient's front, y to the head, z to the right; NIfTI counts right and front positive
    srow = [[0, 0, 3, 4], [1, 0, 0, 5], [0, 2, 0, 6]]
    _, grid = read_volume(write_nifti(tmp_path / "a.nii", srow, pixdim=(1, 2, 3)))
    assert grid.voxel_size == (1, 2, 3)
    assert grid.point((1, 1, 1)) == pytest.approx((-7, -6, 8))
    assert grid.b0_direction == pytest.approx((0, 1, 0))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, permuted or flipped, with one axis as long as a head scan's."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    oblique, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    square = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    direction = draw(st.sampled_from([oblique, square]))
    long = draw(st.permutations([256, 9, 8]))
    size = draw(st.tuples(*[st.floats(0.3, 1.2)] * 3))
    origin = rng.uniform(-150, 150, 3).tolist()
    return Grid((long[0], long[1], long[2]), size, tuple(direction.ravel().tolist()), tuple(origin))


@settings(max_examples=30, deadline=None)
@given(grids(), st.sampled_from([(".nii.gz", 1e-4), (".nii", 1e-4), (".nrrd", 1e-9), (".mha", 1e-9)]))
def test_geometry_and_values_survive_a_round_trip(grid: Grid, kind: tuple[str, float]) -> None:
    suffix, tolerance = kind
    with tempfile.TemporaryDirectory() as folder:
        values, back = read_volume(write(Path(folder) / f"a{suffix}", ramp(grid.shape), grid))
    assert back.shape == grid.shape
    assert torch.equal(values, ramp(grid.shape))
    assert np.abs(back.corners() - grid.corners()).max() < tolerance


def test_bools_are_written_as_uint8_and_doubles_as_float32() -> None:
    assert image_of(ramp() > 3, GRID).GetPixelID() == sitk.sitkUInt8
    assert image_of(ramp().double(), GRID).GetPixelID() == sitk.sitkFloat32


def test_volume_of_another_shape_than_its_grid_is_refused() -> None:
    with pytest.raises(GridMismatch, match=r"shape \(9, 10, 11\) and its grid \(8, 8, 8\); expected one shape"):
        image_of(ramp(), Grid((8, 8, 8)))


def test_complex_volume_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match=r"of torch\.complex64; expected real numbers, bool or uint8"):
        image_of(ramp().to(torch.complex64), GRID)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_are_kept(tmp_path: Path, suffix: str, dtype: Callable[[object], np.ndarray]) -> None:
    values = ramp()
    values[1, 2, 3] = torch.nan
    values[4, 5, 6] = -torch.inf
    image = sitk.GetImageFromArray(dtype(values.numpy()).T)
    image.CopyInformation(image_of(values, GRID))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    back, grid = read_volume(tmp_path / f"a{suffix}")
    assert torch.equal(back.nan_to_num(-7), values.nan_to_num(-7))
    np.testing.assert_allclose(grid.corners(), GRID.corners(), atol=1e-5)


def test_big_endian_nifti_file_reads_the_same(tmp_path: Path) -> None:
    little = write_nifti(tmp_path / "a.nii", np.diag([1.0, 1.0, 1.0, 0.0])[:3], (1, 1))
    content = bytearray(little.read_bytes())
    for kind, start, n in [("i4", 0, 1), ("i2", 40, 8), ("i2", 70, 2), ("f4", 76, 10), ("i2", 252, 2), ("f4", 256, 18)]:
        field = np.frombuffer(bytes(content), f"<{kind}", n, start)
        content[start : start + field.nbytes] = field.astype(f">{kind}").tobytes()
    values = ramp()
    values[0, 0, 0] = torch.nan
    content[352:] = values.numpy().astype(">f4").T.tobytes()
    (tmp_path / "b.nii").write_bytes(content)
    back, grid = read_volume(tmp_path / "b.nii")
    assert torch.equal(back.nan_to_num(-7), values.nan_to_num(-7))
    assert grid == read_volume(little)[1]


def test_value_beyond_float32_reads_as_infinite_without_a_warning() -> None:
    image = sitk.Image([8, 8, 8], sitk.sitkFloat64)
    image[0, 0, 0] = 1e300
    assert volume_of(image, "a.nrrd")[0][0, 0, 0].isinf()


# -- geometry that cannot be used -------------------------------------------------------------------------------------

SHEARED = [[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
FLAT = [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
EMPTY = [[0] * 4] * 3


@pytest.mark.parametrize("srow", [SHEARED, FLAT, EMPTY])
@pytest.mark.parametrize("codes", [(0, 1), (1, 1), (1, 2), (2, 4)])
def test_sheared_sform_is_refused_even_where_itk_would_take_the_qform(
    tmp_path: Path, srow: object, codes: tuple[int, int]
) -> None:
    with pytest.raises(GridInvalid) as caught:
        read_volume(write_nifti(tmp_path / "a.nii", srow, codes))
    assert str(caught.value) == (
        "a.nii has axes that are not at right angles (its sform is sheared or degenerate); resample it to an "
        "orthogonal grid first."
    )


def test_sform_of_code_zero_is_ignored(tmp_path: Path) -> None:
    _, grid = read_volume(write_nifti(tmp_path / "a.nii", SHEARED, (1, 0)))
    assert grid.direction == pytest.approx((-1, 0, 0, 0, -1, 0, 0, 0, 1))


def test_sheared_axes_of_another_format_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha", ramp(), Grid(SHAPE), compressed=False)
    path.write_bytes(
        path.read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 1 0 0 0.1 1 0 0 0 1")
    )
    with pytest.raises(GridInvalid, match=r"^a\.mha: The image's axes are not at right angles .*; resample it"):
        read_volume(path)


def test_sform_and_pixdim_that_disagree_are_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", np.diag([1.0, 2.0, 1.0, 0.0])[:3])
    with pytest.raises(GridInvalid, match=r"a\.nii has voxels of 2 mm along y by its sform and 1 mm by its pixdim"):
        read_volume(path)


def test_voxel_size_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GridInvalid, match=r"a\.nii gives no voxel size along z \(pixdim is 0\)"):
        read_volume(write_nifti(tmp_path / "a.nii", EMPTY, (1, 0), (1, 1, 0)))


def test_analyze_image_is_refused(tmp_path: Path) -> None:
    content = write_nifti(tmp_path / "a.hdr", EMPTY, (0, 0), magic=b"\0\0\0\0").read_bytes()
    (tmp_path / "a.hdr").write_bytes(content[:348])
    (tmp_path / "a.img").write_bytes(content[352:])
    with pytest.raises(GridInvalid, match=r"Analyze 7\.5 image, which does not say left from right; convert it"):
        read_volume(tmp_path / "a.hdr")


def test_series_is_refused_with_its_shape(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "phase.nii", EMPTY, (1, 0), shape=(16, 18, 20, 3))
    with pytest.raises(GridInvalid) as caught:
        read_volume(path)
    assert str(caught.value) == "phase.nii has 4 axes, 16×18×20×3; expected one 3D volume: split it first."


def test_fourth_axis_of_one_is_dropped() -> None:
    image = sitk.JoinSeries([image_of(ramp(), GRID)])
    values, grid = volume_of(image, "a.nrrd")
    assert torch.equal(values, ramp())
    np.testing.assert_allclose(grid.corners(), GRID.corners())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (sitk.Image([16, 18], sitk.sitkFloat32), "a.mha has 2 axes, 16×18; expected one 3D volume"),
        (sitk.Image([16, 18, 20], sitk.sitkVectorFloat32, 3), "a.mha has 3 values a voxel, 16×18×20×3; expected one"),
        (sitk.Image([16, 18, 20], sitk.sitkComplexFloat32), "a.mha holds complex numbers, 16×18×20; save its magnit"),
    ],
)
def test_slices_vectors_and_complex_numbers_are_refused(image: sitk.Image, message: str) -> None:
    with pytest.raises(GridInvalid, match=message):
        volume_of(image, "a.mha")


def test_thin_volume_is_refused_by_axis_and_count() -> None:
    require_size(Grid((8, 8, 8)), "a.nii")
    with pytest.raises(GridInvalid, match=r"a\.nii has 7 voxels along y; expected at least 8: give the whole volume"):
        volume_of(sitk.Image([9, 7, 9], sitk.sitkFloat32), "a.nii")
