"""Images through SimpleITK: NIfTI, NRRD and MetaImage to tensors indexed (x, y, z) and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import AXES, Grid
from IR2QSMLib.io.nifti import read_stored_values, require_geometry, restore_non_finite, sheared

sitk.ProcessObject.SetGlobalWarningDisplay(False)

MIN_VOXELS = 8
"""Fewest voxels along an axis of a volume that can be inverted."""

FORMATS = ("NiftiImageIO", "NrrdImageIO", "MetaImageIO")
N_SHOWN = 10


def read_image(path: Path | str) -> sitk.Image:
    """Read a NIfTI, NRRD or MetaImage file.

    Raises FileUnreadable when the file is missing, truncated, damaged or of another format, and GridInvalid
    when a NIfTI header's sform is sheared or at odds with its voxel size or its qform (ITK would quietly use others).
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
    image_format = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if image_format not in FORMATS:
        raise FileUnreadable(
            f"{name} is not a NIfTI-1, NRRD or MetaImage file (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd), or it is "
            "damaged; convert it to one of these or copy it again."
        )
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_format)
    try:
        reader.ReadImageInformation()
        if image_format == "NiftiImageIO":
            require_geometry(path, reader)
            stored_values = read_stored_values(path)
            return restore_non_finite(reader.Execute(), stored_values)
        return reader.Execute()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise sheared(name) from error
        raise FileUnreadable(
            f"{name} is truncated or damaged, or a data file that its header names is missing; copy or export it again."
        ) from error


def has_orientation(path: Path | str) -> bool:
    """Whether an image file says how it lies in the patient.

    NIfTI with qform and sform codes of 0 does not, nor does NRRD without space directions.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if reader.GetImageIOFromFileName(str(path)) == "NrrdImageIO":
        with Path(path).open("rb") as file:  # the header ends with an empty line
            return any(line.lower().startswith(b"space directions:") for line in takewhile(bytes.strip, file))
    reader.ReadImageInformation()
    codes = [reader.GetMetaData(k) for k in ("qform_code", "sform_code") if reader.HasMetaDataKey(k)]
    return not codes or any(int(code) > 0 for code in codes)


def is_in_template_space(path: Path | str) -> bool:
    """Whether ITK reads a NIfTI file in Talairach's or the MNI's space (code 3 or 4), where B0 may be anywhere.

    Code 2, "aligned", says nothing: nibabel gives it to every image that it makes of an array.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    codes = [int(reader.GetMetaData(k)) if reader.HasMetaDataKey(k) else 0 for k in ("qform_code", "sform_code")]
    return (codes[1] if codes[0] <= 0 or codes[1] == 1 else codes[0]) in (3, 4)


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
    """The values of an image in its own unit, float32 (x, y, z), and its grid.

    Raises GridInvalid when the image is not one real 3D volume of at least eight voxels along each axis.
    """
    array, grid = _array_of(image, name)
    require_size(grid, name)
    with np.errstate(over="ignore"):  # beyond float32 becomes inf, which the field's own check reports
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C")), grid


def read_volume(path: Path | str) -> tuple[Tensor, Grid]:
    """Read one 3D volume: float32 (x, y, z) in the file's unit, and its grid; raises FileUnreadable, GridInvalid."""
    return volume_of(read_image(path), Path(path).name)


def read_volume_on(path: Path | str, grid: Grid, name: str) -> Tensor:
    """Read one 3D volume on `grid`, that of the image `name`: float32 (x, y, z) in the file's unit.

    Its axes may be stored in another order or sense. Raises FileUnreadable; GridInvalid; GridMismatch.
    """
    values, own_grid = read_volume(path)
    axes, reversed_axes = own_grid.reorientation_onto(grid, Path(path).name, name)
    return values.permute(axes).flip(reversed_axes).contiguous()


def read_mask(path: Path | str, field_grid: Grid, field_name: str, labels: Sequence[int] | None = None) -> Tensor:
    """Read a mask on the field's grid, bool (x, y, z): where it is not 0, or where it has one of `labels`.

    Its axes may be stored in another order or sense. Raises FileUnreadable; GridInvalid; GridMismatch when it does not
    lie on `field_grid`; MaskInvalid when it is empty or not finite, has several labels and none were chosen, or lacks
    one that was.
    """
    array = _values_on(path, field_grid, field_name)
    return torch.from_numpy(binary_mask(array, Path(path).name, labels))


def binary_mask(
    values: np.ndarray, name: str, labels: Sequence[int] | None = None, option: str = "--mask-labels"
) -> np.ndarray:
    """Where a mask is not 0, or where it has one of `labels`, bool of its shape; the one rule of what a mask is.

    `name` is what messages call it, `option` what they call `labels`. Raises MaskInvalid when it is empty or not
    finite, has several labels and none were chosen, or lacks one that was.
    """
    present = _labels_of(values, name)
    if labels is None:
        if len(present) > 1 and present.min() > 0 and present.max() <= 1:
            raise MaskInvalid(
                f"{name} has {len(present)} values between 0 and 1; expected 0 and one other value. Threshold it "
                f"first, "
                "for example at 0.5.",
                option="mask",
            )
        if len(present) > 1:
            raise MaskInvalid(
                f"{name} has {_listed(present)}; expected 0 and one other value. Say which of them make up the mask "
                f"with {option}.",
                option="mask_labels",
            )
        return np.asarray(values != 0)
    absent = [label for label in labels if label not in present]
    if absent or not labels:
        problem = f"{name} has no label {', '.join(map(str, absent))}" if absent else f"No label of {name} was chosen"
        raise MaskInvalid(
            f"{problem}; it has {_listed(present)}: choose among them with {option}.", option="mask_labels"
        )
    return np.isin(values, labels)


def read_labels(path: Path | str, grid: Grid, name: str) -> Tensor:
    """Read a label map on `grid`, that of the image `name`: int32 (x, y, z).

    Raises FileUnreadable; GridInvalid; GridMismatch; MaskInvalid when it is empty or not of whole numbers.
    """
    array = _values_on(path, grid, name)
    found = _labels_of(array, Path(path).name)
    odd = found[(np.rint(found) != found) | (np.abs(found.astype(float)) > np.iinfo(np.int32).max)]
    if len(odd):
        raise MaskInvalid(
            f"{Path(path).name} has {_listed(odd)} that are not 32-bit whole numbers; expected a map of labels."
        )
    return torch.from_numpy(np.array(array, dtype=np.int32, order="C"))


def image_of(values: Tensor, grid: Grid) -> sitk.Image:
    """The image of a volume (x, y, z): uint8 for bool and uint8 values, float32 for real ones.

    Raises GridMismatch when the shape is not the grid's and ParameterInvalid for other kinds of values.
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


def _array_of(image: sitk.Image, name: str) -> tuple[np.ndarray, Grid]:
    """The voxels of one real 3D image, (x, y, z) in its own type and the image's memory order, and its grid."""
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


def _values_on(path: Path | str, grid: Grid, grid_name: str) -> np.ndarray:
    """The voxels (x, y, z) of a mask or label map on `grid`."""
    name = Path(path).name
    array, own_grid = _array_of(read_image(path), name)
    axes, reversed_axes = own_grid.reorientation_onto(grid, name, grid_name)
    return np.ascontiguousarray(np.flip(array.transpose(axes), reversed_axes))


def _labels_of(values: np.ndarray, name: str) -> np.ndarray:
    """The distinct values other than 0 of a mask or label map; raises MaskInvalid for NaN, Inf or nothing."""
    n_odd = int(np.count_nonzero(~np.isfinite(values)))
    if n_odd:
        raise MaskInvalid(
            f"{name} holds NaN or infinity in {n_odd:,} of its voxels; set them to 0 or to a label.", option="mask"
        )
    present = np.unique(values)
    present = present[present != 0]
    if not len(present):
        raise MaskInvalid(
            f"{name} is empty: every voxel is 0; give a mask with voxels inside the object.", option="mask"
        )
    return present


def _listed(found: np.ndarray) -> str:
    shown = ", ".join(f"{v:.6g}" if v % 1 else str(int(v)) for v in found[:N_SHOWN].tolist())
    plural = "s" if len(found) > 1 else ""
    return f"{len(found)} label{plural} ({shown}{', …' if len(found) > N_SHOWN else ''})"
