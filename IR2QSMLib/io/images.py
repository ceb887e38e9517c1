"""Images in NIfTI, NRRD and MetaImage files: to tensors indexed (x, y, z) and back, through SimpleITK."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from IR2QSMLib.core.errors import (
    FileUnreadable,
    GridInvalid,
    GridMismatch,
    OutOfMemory,
    ParameterInvalid,
    is_out_of_memory,
)
from IR2QSMLib.core.grid import AXES, Grid
from IR2QSMLib.io.length_units import convert_to_millimetres
from IR2QSMLib.io.metaimage import require_header
from IR2QSMLib.io.nifti import read_stored_values, require_geometry, restore_non_finite, sheared
from IR2QSMLib.io.nifti2 import as_nifti1
from IR2QSMLib.io.nrrd import nrrd_fields, require_nrrd_geometry

sitk.ProcessObject.SetGlobalWarningDisplay(False)

MIN_VOXELS = 8
"""Fewest voxels along an axis of a volume that can be inverted."""

ITK_READERS = ("NiftiImageIO", "NrrdImageIO", "MetaImageIO")


def itk_path(path: Path | str) -> str:
    """A path as ITK takes it, in UTF-8 whatever the locale.

    Raises
    ------
    FileUnreadable
        When its bytes are not UTF-8: SimpleITK would end the process.
    """
    try:
        return os.fsencode(path).decode()
    except UnicodeError as error:
        shown = os.fspath(path).encode("ascii", "backslashreplace").decode()
        raise FileUnreadable(
            f"The path '{shown}' holds bytes that are not UTF-8; rename its file or folder."
        ) from error


def read_image(path: Path | str) -> sitk.Image:
    """Read a NIfTI, NRRD or MetaImage file; NaN and infinity are kept.

    Raises
    ------
    FileUnreadable
        When the file is missing, truncated, damaged or of another format.
    GridInvalid
        When a NIfTI header's sform is sheared or contradicts its voxel size or its qform.
    """
    path = Path(path)
    name = path.name
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except FileNotFoundError as error:
        raise FileUnreadable(f"{name} does not exist; check the path.") from error
    except OSError as error:
        raise FileUnreadable(f"{name} cannot be opened ({error.strerror}); give a file that can be read.") from error
    if start[128:] == b"DICM":
        raise FileUnreadable(f"{name} is a DICOM file, one part of a scan; give its folder, or convert it to NIfTI.")
    itk_path(path)
    with as_nifti1(path) as readable:
        return _read_by_itk(readable)


def _read_by_itk(path: Path) -> sitk.Image:
    """Read a file of NIfTI-1, NRRD or MetaImage; raises as `read_image` does."""
    file_name, name = itk_path(path), path.name
    image_format = sitk.ImageFileReader.GetImageIOFromFileName(file_name)
    if image_format not in ITK_READERS:
        raise FileUnreadable(
            f"{name} is not a NIfTI, NRRD or MetaImage file (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd), or it is "
            "damaged; convert it to one of these or copy it again."
        )
    if image_format == "MetaImageIO":
        require_header(path)
    elif image_format == "NrrdImageIO":
        require_nrrd_geometry(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(file_name)
    reader.SetImageIO(image_format)
    try:
        if image_format == "NiftiImageIO":
            with _nearest_rotation():
                reader.ReadImageInformation()
                require_geometry(path, reader)
                stored_values = read_stored_values(path)
                return restore_non_finite(reader.Execute(), stored_values)
        return convert_to_millimetres(reader.Execute(), path)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory from error
        if "orthonormal" in str(error):
            raise sheared(name) from error
        raise FileUnreadable(
            f"{name} is truncated or damaged, or a data file that its header names is missing; copy or export it again."
        ) from error


@contextmanager
def _nearest_rotation() -> Iterator[None]:
    """Let ITK take the rotation nearest to an sform; `require_geometry` refuses those that are far from one.

    Otherwise ITK refuses an sform that is off by a hundredth of a degree, or takes the qform in its place.
    """
    name = "ITK_NIFTI_SFORM_PERMISSIVE"
    before = os.environ.get(name)
    os.environ[name] = "ON"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def has_orientation(path: Path | str) -> bool:
    """Whether an image file says how it lies in the patient.

    NIfTI does not where the codes of qform and sform are 0, nor does NRRD without space directions.
    """
    if sitk.ImageFileReader.GetImageIOFromFileName(itk_path(path)) == "NrrdImageIO":
        return "space directions" in nrrd_fields(Path(path))
    codes = _transform_codes(path)
    return codes is None or max(codes) > 0


def _transform_codes(path: Path | str) -> tuple[int, int] | None:
    """The codes of a NIfTI file's qform and sform; None for other formats."""
    with as_nifti1(Path(path), header_only=True) as readable, _nearest_rotation():
        reader = sitk.ImageFileReader()
        reader.SetFileName(itk_path(readable))
        reader.ReadImageInformation()
    qform_code, sform_code = (
        int(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else None for key in ("qform_code", "sform_code")
    )
    return None if qform_code is None and sform_code is None else (qform_code or 0, sform_code or 0)


def is_in_template_space(path: Path | str) -> bool:
    """Whether ITK reads a NIfTI file in Talairach's or the MNI's space (code 3 or 4), where B0 may point anywhere.

    Code 2, "aligned", may be either: nibabel gives it to every image that it makes of an array.
    """
    qform_code, sform_code = _transform_codes(path) or (0, 0)
    return (sform_code if qform_code <= 0 or sform_code == 1 else qform_code) in (3, 4)


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 3D image, or of the first three axes of one with more; raises GridInvalid when it is sheared."""
    n = image.GetDimension()
    direction = np.asarray(image.GetDirection()).reshape(n, n)[:3, :3]
    x, y, z = image.GetSize()[:3]
    dx, dy, dz = image.GetSpacing()[:3]
    ox, oy, oz = image.GetOrigin()[:3]
    return Grid((x, y, z), (dx, dy, dz), tuple(direction.ravel().tolist()), (ox, oy, oz))


def require_size(grid: Grid, name: str) -> None:
    """Raise GridInvalid when an axis has fewer than eight voxels."""
    for axis, n in zip(AXES, grid.shape, strict=True):
        if n < MIN_VOXELS:
            raise GridInvalid(
                f"{name} has {n} voxels along {axis}; expected at least {MIN_VOXELS}: give the whole volume."
            )


def volume_of(image: sitk.Image, name: str) -> tuple[Tensor, Grid]:
    """The values of an image and its grid.

    Returns
    -------
    values, grid
        float32 in the image's unit: (x, y, z).

    Raises
    ------
    GridInvalid
        When the image is not one real 3D volume of at least eight voxels along each axis.
    """
    array, grid = array_of(image, name)
    require_size(grid, name)
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, which the check of the field reports
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C")), grid


def read_volume(path: Path | str) -> tuple[Tensor, Grid]:
    """Read one 3D volume, float32 (x, y, z) in the file's unit, and its grid; raises FileUnreadable, GridInvalid."""
    return volume_of(read_image(path), Path(path).name)


def read_volume_on(path: Path | str, grid: Grid, name: str) -> Tensor:
    """Read one 3D volume on the grid of the image `name`; its axes may be stored in another order or direction.

    Returns
    -------
    Tensor
        float32 in the file's unit: (x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid
    GridMismatch
        When it does not lie on `grid`.
    """
    values, file_grid = read_volume(path)
    axes, reversed_axes = file_grid.reorientation_onto(grid, Path(path).name, name)
    return values.permute(axes).flip(reversed_axes).contiguous()


def image_of(values: Tensor, grid: Grid) -> sitk.Image:
    """The image of a volume on its grid: uint8 for bool and uint8 values, float32 for real ones.

    Parameters
    ----------
    values
        (x, y, z)
    grid
        Of the same shape.

    Raises
    ------
    GridMismatch
        When the shapes differ.
    ParameterInvalid
        For other types of values.
    """
    if tuple(values.shape) != grid.shape:
        raise GridMismatch(f"The volume has shape {tuple(values.shape)} and its grid {grid.shape}; expected one shape.")
    if values.dtype in (torch.bool, torch.uint8):
        dtype = torch.uint8
    elif values.is_floating_point():
        dtype = torch.float32
    else:
        raise ParameterInvalid(f"The volume is of {values.dtype}; expected real numbers, bool or uint8.")
    array = values.detach().to("cpu", dtype).numpy()
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(grid.voxel_size)
    image.SetDirection(grid.direction)
    image.SetOrigin(grid.origin)
    return image


def array_of(image: sitk.Image, name: str) -> tuple[np.ndarray, Grid]:
    """The voxels of one real 3D image, (x, y, z) in the image's type and memory order, and its grid."""
    n_components = image.GetNumberOfComponentsPerPixel()
    shape = "×".join(str(n) for n in (*image.GetSize(), *([n_components] if n_components > 1 else [])))
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise GridInvalid(f"{name} holds complex numbers, {shape}; save its magnitude and its phase as two volumes.")
    if n_components > 1:
        raise GridInvalid(f"{name} has {n_components} values a voxel, {shape}; expected one 3D volume: split it first.")
    if image.GetDimension() < 3 or any(n != 1 for n in image.GetSize()[3:]):
        advice = "split it first" if image.GetDimension() > 3 else "give the whole volume"
        raise GridInvalid(f"{name} has {image.GetDimension()} axes, {shape}; expected one 3D volume: {advice}.")
    try:
        grid = grid_of(image)
    except GridInvalid as error:
        raise GridInvalid(f"{name}: {error}") from error
    array = sitk.GetArrayFromImage(image)
    return array.reshape(array.shape[-3:]).T, grid
