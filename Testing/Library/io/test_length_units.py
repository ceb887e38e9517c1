"""The unit of length in a header counts, and an sform that is nearly a rotation is taken for the nearest one."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IR2QSMLib.core.errors import GridInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import has_orientation, is_in_template_space, read_volume

SHAPE, VOXEL, ORIGIN = (9, 10, 11), (2.0, 2.5, 3.0), (4.0, -5.0, 6.0)


def require_grid(path: Path) -> None:
    grid = read_volume(path)[1]
    assert grid.voxel_size == pytest.approx(VOXEL, rel=1e-5)
    assert grid.origin == pytest.approx(ORIGIN, rel=1e-5)


def nifti(path: Path, factor: float, code: int, qform: int = 1, sform: int = 1) -> Path:
    affine = np.diag([-VOXEL[0], -VOXEL[1], VOXEL[2], 1.0])
    affine[:3, 3] = -ORIGIN[0], -ORIGIN[1], ORIGIN[2]
    affine[:3] *= factor
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), affine)
    image.header.set_qform(affine, qform)
    image.header.set_sform(affine, sform)
    image.header["xyzt_units"] = code
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(("code", "factor"), [(1, 1e-3), (3 + 8, 1e3), (2 + 16, 1.0), (0, 1.0)])
@pytest.mark.parametrize("forms", [(1, 1), (1, 0), (0, 1), (2, 1)])
def test_nifti_in_metres_or_microns_is_converted(
    tmp_path: Path, code: int, factor: float, forms: tuple[int, int]
) -> None:
    require_grid(nifti(tmp_path / "a.nii", factor, code, *forms))


def written(path: Path, factor: float) -> bytes:
    image = sitk.Image(*SHAPE, sitk.sitkFloat32)
    image.SetSpacing([factor * v for v in VOXEL])
    image.SetOrigin([factor * v for v in ORIGIN])
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("unit", "factor"), [("m", 1e-3), ("cm", 0.1), ("mm", 1.0), ("um", 1e3), ("microns", 1e3), ("", 1.0), ("???", 1.0)]
)
def test_nrrd_and_metaimage_in_other_units_are_converted(tmp_path: Path, unit: str, factor: float) -> None:
    nrrd, meta = tmp_path / "a.nrrd", tmp_path / "a.mha"
    stated = f'space units: "{unit}" "{unit}" "{unit}"\nspace origin'.encode()
    nrrd.write_bytes(written(nrrd, factor).replace(b"space origin", stated))
    require_grid(nrrd)
    if unit:
        meta.write_bytes(written(meta, factor).replace(b"DimSize", f"DistanceUnits = {unit}\nDimSize".encode()))
        require_grid(meta)


def test_axes_in_several_units_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(written(path, 1.0).replace(b"space origin", b'space units: "mm" "mm" "um"\nspace origin'))
    with pytest.raises(GridInvalid, match="several units"):
        read_volume(path)


@pytest.mark.parametrize("code", [1, 3])
def test_a_unit_that_makes_impossible_voxels_is_refused_and_mm_is_the_way_out(tmp_path: Path, code: int) -> None:
    path = tmp_path / "a.nii"
    if code == 1:
        with pytest.raises(GridInvalid, match="set the unit to mm"):
            read_volume(nifti(path, 1.0, code))
    else:
        with pytest.raises(GridInvalid, match="set the unit to mm"):
            read_volume(nifti(path, 0.1, code))
    require_grid(nifti(path, 1.0, 2))


@pytest.mark.parametrize("degrees", [0.002, 0.01, 0.05])
@pytest.mark.parametrize("qform", [0, 1, 2])
def test_an_sform_that_is_nearly_a_rotation_becomes_the_nearest(tmp_path: Path, degrees: float, qform: int) -> None:
    affine = np.diag([*VOXEL, 1.0])
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), affine)
    image.header.set_qform(affine, qform)
    angle = math.radians(degrees)
    affine[:2, 0] = VOXEL[0] * math.cos(angle), VOXEL[0] * math.sin(angle)
    image.header.set_sform(affine, 1)
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    grid: Grid = read_volume(path)[1]
    assert np.allclose(grid.matrix.T @ grid.matrix, np.eye(3), atol=1e-3)
    assert np.allclose(np.abs(grid.matrix), np.eye(3), atol=angle + 1e-6)
    assert has_orientation(path) and not is_in_template_space(path)
