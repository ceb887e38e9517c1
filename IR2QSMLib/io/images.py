"""Images through SimpleITK: NIfTI, NRRD and MetaImage to tensors indexed (x, y, z) and back."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from gzip import GzipFile
from io import BufferedReader
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from IR2QSMLib.errors import FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, ParameterInvalid
from IR2QSMLib.grid import AXES, Grid

sitk.ProcessObject.SetGlobalWarningDisplay(False)

MIN_VOXELS = 8
"""Fewest voxels along an axis of a volume that can be inverted."""

FORMATS = ("NiftiImageIO", "NrrdImageIO", "MetaImageIO")
N_SHOWN = 10


def read_image(path: Path | str) -> sitk.Image:
    """Read a NIfTI, NRRD or MetaImage file.

    Raises FileUnreadable when the file is missing, truncated, damaged or of another format, and GridInvalid
    when a NIfTI header's sform is sheared or at odds with its voxel size (ITK would quietly use other numbers).
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
            _require_nifti_geometry(path, reader)
            stored = nifti_data(path, reader)
            return _with_non_finite(reader.Execute(), stored)
        return reader.Execute()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise _sheared(name) from error
        raise FileUnreadable(
            f"{name} is truncated or damaged, or a data file that its header names is missing; copy or export it again."
        ) from error


def nifti_data(path: Path, reader: sitk.ImageFileReader) -> np.ndarray:
    """The voxels as a NIfTI file stores them, flat: floats as they are, all other types as bytes.

    Raises FileUnreadable unless all bytes that the header promises are there; ITK fills up with zeros. `reader` has
    read the image information of `path`.
    """
    n_voxels = math.prod(int(reader.GetMetaData(f"dim[{i + 1}]")) for i in range(int(reader.GetMetaData("dim[0]"))))
    n_bytes = n_voxels * int(reader.GetMetaData("bitpix")) // 8
    data, start = path, int(float(reader.GetMetaData("vox_offset")))
    if reader.GetMetaData("nifti_type") != "1":  # a pair: the voxels are in the .img beside the .hdr
        pair = [path.with_name(re.sub(r"\.(hdr|img)(\.gz)?$", end, path.name)) for end in (".img", ".img.gz")]
        data, start = next((p for p in pair if p.is_file()), path), 0
    try:
        with _unpacked(data) as stream:
            content = stream.read()  # to its end, where gzip keeps the checksum
    except (EOFError, OSError, zlib.error):
        content = b""
    if len(content) < start + n_bytes:
        raise FileUnreadable(
            f"{data.name} is truncated or damaged: the {start + n_bytes:,} bytes that its header promises cannot all "
            "be read; copy or export it again."
        )
    kind = {"16": "f4", "64": "f8"}.get(reader.GetMetaData("datatype"), "u1")
    dtype = np.dtype(_byte_order(path) + kind)
    return np.frombuffer(content, dtype, n_bytes // dtype.itemsize, start)


def _unpacked(path: Path) -> GzipFile | BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return GzipFile(path) if packed else path.open("rb")


def _byte_order(path: Path) -> str:
    with _unpacked(path) as stream:
        return "<" if stream.read(4) == struct.pack("<i", 348) else ">"


def _with_non_finite(image: sitk.Image, stored: np.ndarray) -> sitk.Image:
    """Put back the NaN and infinity that ITK turns into zeros as it reads NIfTI."""
    n = image.GetNumberOfComponentsPerPixel()
    if np.isfinite(stored).all():
        return image
    array = sitk.GetArrayFromImage(image)
    stored = stored.reshape(n, -1).T            # NIfTI keeps the values of a voxel as volumes, ITK side by side
    bad = ~np.isfinite(stored)
    array.reshape(-1, n)[bad] = stored[bad]
    mended = sitk.GetImageFromArray(array, isVector=n > 1)
    mended.CopyInformation(image)
    return mended


def _sheared(name: str) -> GridInvalid:
    return GridInvalid(
        f"{name} has axes that are not at right angles (its sform is sheared or degenerate); resample it to an "
        "orthogonal grid first."
    )


def _require_nifti_geometry(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse headers that ITK would mend by itself: it takes the qform for a sheared sform, pixdim for its scale."""
    name = path.name
    if reader.GetMetaData("nifti_type") == "0":
        raise GridInvalid(f"{name} is an Analyze 7.5 image, which does not say left from right; convert it to NIfTI.")
    with _unpacked(path) as stream:
        stored = np.frombuffer(stream.read(92), _byte_order(path) + "f4", 3, 80)
    for axis, v, _ in zip(AXES, stored, reader.GetSize(), strict=False):
        if v == 0:
            raise GridInvalid(f"{name} gives no voxel size along {axis} (pixdim is 0); set it in the header.")
    if int(reader.GetMetaData("sform_code")) <= 0:
        return
    rows = [[float(v) for v in reader.GetMetaData(f"srow_{axis}").split()[:3]] for axis in AXES]
    sform = np.array(rows)
    size = np.linalg.norm(sform, axis=0)
    if not np.all(np.isfinite(size)) or not np.all(size > 0):
        raise _sheared(name)
    cosines = sform / size
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-3:
        raise _sheared(name)
    for axis, v, w in zip(AXES, size, reader.GetSpacing(), strict=False):
        if abs(v - w) > 1e-3 * w:
            raise GridInvalid(
                f"{name} has voxels of {v:g} mm along {axis} by its sform and {w:g} mm by its pixdim; "
                "correct its header first."
            )


def has_orientation(path: Path | str) -> bool:
    """Whether an image file says how it lies in the patient: NIfTI with qform and sform codes of 0 does not."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    codes = [reader.GetMetaData(k) for k in ("qform_code", "sform_code") if reader.HasMetaDataKey(k)]
    return not codes or any(int(code) > 0 for code in codes)


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
    axes, reversed_axes = own_grid.turns_onto(grid, Path(path).name, name)
    return values.permute(axes).flip(reversed_axes).contiguous()


def read_mask(path: Path | str, field_grid: Grid, field_name: str, labels: Sequence[int] | None = None) -> Tensor:
    """Read a mask on the field's grid, bool (x, y, z): where it is not 0, or where it has one of `labels`.

    Its axes may be stored in another order or sense. Raises FileUnreadable; GridInvalid; GridMismatch when it does not
    lie on `field_grid`; MaskInvalid when it is empty or not finite, has several labels and none were chosen, or lacks
    one that was.
    """
    name = Path(path).name
    array, found = _labels_on(path, field_grid, field_name)
    if labels is None:
        if len(found) > 1 and found.min() > 0 and found.max() <= 1:
            raise MaskInvalid(
                f"{name} has {len(found)} values between 0 and 1; expected 0 and one other value. Threshold it first, "
                "for example at 0.5."
            )
        if len(found) > 1:
            raise MaskInvalid(
                f"{name} has {_listed(found)}; expected 0 and one other value. Say which of them make up the mask "
                "with --mask-labels."
            )
        return torch.from_numpy(array != 0)
    absent = [label for label in labels if label not in found]
    if absent or not labels:
        problem = f"{name} has no label {', '.join(map(str, absent))}" if absent else f"No label of {name} was chosen"
        raise MaskInvalid(f"{problem}; it has {_listed(found)}: choose among them with --mask-labels.")
    return torch.from_numpy(np.isin(array, labels))


def read_labels(path: Path | str, grid: Grid, name: str) -> Tensor:
    """Read a label map on `grid`, that of the image `name`: int32 (x, y, z).

    Raises FileUnreadable; GridInvalid; GridMismatch; MaskInvalid when it is empty or not of whole numbers.
    """
    array, found = _labels_on(path, grid, name)
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


def _labels_on(path: Path | str, grid: Grid, grid_name: str) -> tuple[np.ndarray, np.ndarray]:
    """The voxels (x, y, z) of a mask or label map on `grid`, and its distinct values other than 0."""
    name = Path(path).name
    array, own_grid = _array_of(read_image(path), name)
    axes, reversed_axes = own_grid.turns_onto(grid, name, grid_name)
    array = np.flip(array.transpose(axes), reversed_axes)
    n_odd = int(np.count_nonzero(~np.isfinite(array)))
    if n_odd:
        raise MaskInvalid(f"{name} holds NaN or infinity in {n_odd:,} of its voxels; set them to 0 or to a label.")
    found = np.unique(array)
    found = found[found != 0]
    if not len(found):
        raise MaskInvalid(f"{name} is empty: every voxel is 0; give a mask with voxels inside the object.")
    return np.ascontiguousarray(array), found


def _listed(found: np.ndarray) -> str:
    shown = ", ".join(f"{v:.6g}" if v % 1 else str(int(v)) for v in found[:N_SHOWN].tolist())
    plural = "s" if len(found) > 1 else ""
    return f"{len(found)} label{plural} ({shown}{', …' if len(found) > N_SHOWN else ''})"
