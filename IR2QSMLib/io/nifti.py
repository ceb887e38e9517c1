"""Checks of NIfTI-1 files that ITK, which reads the images, does not make; headers are parsed by nibabel."""

from __future__ import annotations

import math
import re
import zlib
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.quaternions import mat2quat, quat2mat
from nibabel.wrapstruct import WrapStructError

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid
from IR2QSMLib.core.grid import AXES
from IR2QSMLib.core.tolerances import COSINE_TOLERANCE, SPACING_TOLERANCE
from IR2QSMLib.io.length_units import require_believable
from IR2QSMLib.io.nifti2 import FIRST_VOXEL, nifti1_header, open_unpacked

UNITS_OF_LENGTH = {1: ("m", 1e3), 3: ("µm", 1e-3)}
"""Codes of xyzt_units: the unit and its millimetres; all others mean mm. ITK converts them, too."""
DAMAGE = (EOFError, KeyError, OSError, ValueError, zlib.error, nibabel.spatialimages.HeaderDataError, WrapStructError)
"""What nibabel raises of damaged headers."""
ROUNDING_ERROR = 1e-6
"""Rounding error of 1 − b² − c² − d², b, c and d a header's quaternion in single precision: 1.2e-7, and what programs
that wrote the header before have added to it."""


def read_header(path: Path) -> nibabel.Nifti1Header:
    """The header of a NIfTI file as it is, without repairs, NIfTI-2 as NIfTI-1; of a pair, that of the .hdr file."""
    header_files = [path.with_name(re.sub(r"\.img(\.gz)?$", suffix, path.name)) for suffix in (".hdr", ".hdr.gz")]
    with open_unpacked(next((file for file in header_files if file.is_file()), path)) as stream:
        start = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    return nifti1_header(start) or nibabel.Nifti1Header(start[: nibabel.Nifti1Header.sizeof_hdr], check=False)


def read_stored_values(path: Path) -> np.ndarray:
    """The voxels as a NIfTI-1 file stores them, in its byte order: floats as such (or complex), other types as bytes.

    Returns
    -------
    numpy.ndarray
        One axis, in the order of the file.

    Raises
    ------
    FileUnreadable
        Unless all bytes that the header promises are in the file; ITK would fill up with zeros. Also when the voxels
        are said to begin inside the header; ITK would take some of it for voxels.
    """
    damaged = FileUnreadable(f"{path.name} is truncated or damaged in its header; copy or export it again.")
    try:
        header = read_header(path)
        dtype = header.get_data_dtype()
    except DAMAGE as error:
        raise damaged from error
    sizes = [int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]]
    if min(sizes) < 1 or dtype.itemsize * 8 != int(header["bitpix"]):
        raise damaged
    n_bytes = math.prod(sizes) * dtype.itemsize
    data_file, offset = path, float(header["vox_offset"])
    first = FIRST_VOXEL if header["magic"] == b"n+1" else 0
    if not first <= offset < 2**31:
        raise FileUnreadable(
            f"{path.name} says that its voxels begin at byte {offset:g}, which is inside its header; set vox_offset to "
            f"{first}, or export it again."
        )
    start = int(offset)
    if header["magic"] != b"n+1":  # a pair: the voxels are in the .img file beside the .hdr file
        data_files = [path.with_name(re.sub(r"\.(hdr|img)(\.gz)?$", end, path.name)) for end in (".img", ".img.gz")]
        data_file = next((file for file in data_files if file.is_file()), path)
    try:
        with open_unpacked(data_file) as stream:
            content = stream.read()  # to its end, where gzip keeps the checksum
    except (EOFError, OSError, zlib.error):
        content = b""
    if len(content) < start + n_bytes:
        raise FileUnreadable(
            f"{data_file.name} is truncated or damaged: the {start + n_bytes:,} bytes that its header promises cannot "
            "all be read; copy or export it again."
        )
    if dtype.kind not in "fc":
        dtype = np.dtype(np.uint8)
    return np.frombuffer(content, dtype, n_bytes // dtype.itemsize, start)


def is_complex(path: Path) -> bool:
    """Whether a NIfTI file holds complex numbers; False for files of other formats and damaged ones."""
    if not path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return False
    try:
        return bool(read_header(path).get_data_dtype().kind == "c")
    except DAMAGE:
        return False


def restore_non_finite(image: sitk.Image, stored: np.ndarray) -> sitk.Image:
    """The image with NaN and infinity where the file has them; ITK reads them from NIfTI as zeros.

    Parameters
    ----------
    image
        As ITK read it.
    stored
        From `read_stored_values`.
    """
    n_components = image.GetNumberOfComponentsPerPixel()
    if np.isfinite(stored).all():
        return image
    array = sitk.GetArrayFromImage(image)
    stored = stored.reshape(n_components, -1).T  # NIfTI stores component by component, ITK voxel by voxel
    non_finite = ~np.isfinite(stored)
    array.reshape(-1, n_components)[non_finite] = stored[non_finite]
    restored = sitk.GetImageFromArray(array, isVector=n_components > 1)
    restored.CopyInformation(image)
    return restored


def sheared(name: str) -> GridInvalid:
    """The error for an image `name` whose axes are not at right angles."""
    return GridInvalid(
        f"{name} has axes that are not at right angles (its sform is sheared or degenerate); resample it to an "
        "orthogonal grid first."
    )


def require_geometry(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse a header whose geometry is contradictory.

    ITK would silently take the qform for a sheared sform, and pixdim for the sform's scale. Of a qform and an sform it
    takes the sform where its code is 1 (scanner coordinates). The two may differ where their codes differ; under one
    code they must agree.

    Parameters
    ----------
    path
        A NIfTI-1 or Analyze file.
    reader
        Has read the image information of `path`.

    Raises
    ------
    GridInvalid
        For Analyze images, a voxel size of 0, a sheared sform, and an sform that contradicts pixdim or the qform.
    """
    name, header = path.name, read_header(path)
    if header["magic"] not in (b"n+1", b"ni1"):
        raise GridInvalid(f"{name} is an Analyze 7.5 image, which does not say left from right; convert it to NIfTI.")
    for axis, size, _ in zip(AXES, header["pixdim"][1:4], reader.GetSize(), strict=False):
        if not size > 0:
            raise GridInvalid(f"{name} gives no voxel size along {axis} (pixdim is {size:g}); set it in the header.")
    unit, millimetres = UNITS_OF_LENGTH.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))
    require_believable(name, unit, reader.GetSpacing()[:3])
    if int(header["sform_code"]) <= 0:
        return
    sform = header.get_sform()
    sform[:3] *= millimetres
    voxel_size = np.linalg.norm(sform[:3, :3], axis=0)
    if not np.all(np.isfinite(voxel_size)) or not np.all(voxel_size > 0):
        raise sheared(name)
    cosines = sform[:3, :3] / voxel_size
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > COSINE_TOLERANCE:
        raise sheared(name)
    for axis, by_sform, by_pixdim in zip(AXES, voxel_size, reader.GetSpacing(), strict=False):
        if abs(by_sform - by_pixdim) > SPACING_TOLERANCE * by_pixdim:
            raise GridInvalid(
                f"{name} has voxels of {by_sform:g} mm along {axis} by its sform and {by_pixdim:g} mm by its pixdim; "
                "correct its header first."
            )
    if int(header["qform_code"]) != int(header["sform_code"]):
        return
    corners = np.array(list(product(*((0, n - 1) for n in (*reader.GetSize(), 1)[:3]))))
    with np.errstate(all="ignore"):
        qform = _qform_cosines(header, cosines) * voxel_size
        qform_origin = np.array([millimetres * float(header[f"qoffset_{axis}"]) for axis in AXES])
        distance = float(np.abs(corners @ (qform - sform[:3, :3]).T + qform_origin - sform[:3, 3]).max())
    if not distance <= 0.1 * voxel_size.min():
        raise GridInvalid(
            f"{name} says twice where it lies: its sform and its qform, both of code {int(header['qform_code'])}, are "
            f"up to {distance:.2f} mm apart, which leaves its place and B0 in doubt. Correct one of them, or set the "
            "code of the wrong one to 0."
        )


def _qform_cosines(header: nibabel.Nifti1Header, sform_cosines: np.ndarray) -> np.ndarray:
    """Direction cosines (3, 3) of the qform.

    The header stores b, c and d of the quaternion in single precision. For rotations by nearly 180° this leaves few
    digits of a = √(1 − b² − c² − d²): within the rounding error, a is taken as near to the sform's as possible.
    """
    flip_z = (1.0, 1.0, -1.0 if header["pixdim"][0] < 0 else 1.0)
    bcd = np.array([float(header[f"quatern_{letter}"]) for letter in "bcd"])
    a_squared = 1.0 - float(bcd @ bcd)
    lowest_a, highest_a = (math.sqrt(max(0.0, a_squared + error)) for error in (-ROUNDING_ERROR, ROUNDING_ERROR))
    sform_a, *sform_bcd = mat2quat(sform_cosines * flip_z)
    a = np.clip(sform_a * np.sign(sform_bcd @ bcd), lowest_a, highest_a)
    cosines: np.ndarray = quat2mat((a, *bcd)) * flip_z
    return cosines
