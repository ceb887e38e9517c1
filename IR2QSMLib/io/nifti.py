"""What NIfTI-1 files say and store that ITK, which reads them, would pass over or mend by itself."""

from __future__ import annotations

import math
import re
import struct
import zlib
from gzip import GzipFile
from io import BufferedReader
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid
from IR2QSMLib.core.grid import AXES


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
    dtype = np.dtype(_header(path)[1] + kind)
    return np.frombuffer(content, dtype, n_bytes // dtype.itemsize, start)


def _unpacked(path: Path) -> GzipFile | BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return GzipFile(path) if packed else path.open("rb")


def _header(path: Path) -> tuple[bytes, str]:
    """The header, which of a pair is the .hdr beside the .img, and the byte order of the file."""
    pair = [path.with_name(re.sub(r"\.img(\.gz)?$", end, path.name)) for end in (".hdr", ".hdr.gz")]
    with _unpacked(next((p for p in pair if p.is_file()), path)) as stream:
        header = stream.read(348)
    return header, "<" if header[:4] == struct.pack("<i", 348) else ">"


def with_non_finite(image: sitk.Image, stored: np.ndarray) -> sitk.Image:
    """Put back the NaN and infinity that ITK turns into zeros as it reads NIfTI."""
    n = image.GetNumberOfComponentsPerPixel()
    if np.isfinite(stored).all():
        return image
    array = sitk.GetArrayFromImage(image)
    stored = stored.reshape(n, -1).T  # NIfTI keeps the values of a voxel as volumes, ITK side by side
    bad = ~np.isfinite(stored)
    array.reshape(-1, n)[bad] = stored[bad]
    mended = sitk.GetImageFromArray(array, isVector=n > 1)
    mended.CopyInformation(image)
    return mended


def sheared(name: str) -> GridInvalid:
    """What is raised for axes that are not at right angles."""
    return GridInvalid(
        f"{name} has axes that are not at right angles (its sform is sheared or degenerate); resample it to an "
        "orthogonal grid first."
    )


def require_geometry(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse headers that ITK would mend by itself: it takes the qform for a sheared sform, pixdim for its scale.

    Of a qform and an sform it takes the latter where its code is 1, the scanner's coordinates before aligned ones. Both
    may differ where their codes do; two that differ under one code contradict each other.
    """
    name = path.name
    if reader.GetMetaData("nifti_type") == "0":
        raise GridInvalid(f"{name} is an Analyze 7.5 image, which does not say left from right; convert it to NIfTI.")
    header, order = _header(path)
    pixdim = np.frombuffer(header, order + "f4", 4, 76)
    for axis, v, _ in zip(AXES, pixdim[1:], reader.GetSize(), strict=False):
        if v == 0:
            raise GridInvalid(f"{name} gives no voxel size along {axis} (pixdim is 0); set it in the header.")
    if int(reader.GetMetaData("sform_code")) <= 0:
        return
    stored = np.frombuffer(header, order + "f4", 18, 256).astype(float)  # b, c, d, offsets; rows of the sform
    sform, origin = stored[6:].reshape(3, 4)[:, :3], stored[9::4]
    size = np.linalg.norm(sform, axis=0)
    if not np.all(np.isfinite(size)) or not np.all(size > 0):
        raise sheared(name)
    cosines = sform / size
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-3:
        raise sheared(name)
    for axis, v, w in zip(AXES, size, reader.GetSpacing(), strict=False):
        if abs(v - w) > 1e-3 * w:
            raise GridInvalid(
                f"{name} has voxels of {v:g} mm along {axis} by its sform and {w:g} mm by its pixdim; "
                "correct its header first."
            )
    codes = {kind: int(reader.GetMetaData(f"{kind}_code")) for kind in ("sform", "qform")}
    if codes["qform"] != codes["sform"]:
        return
    corners = np.array(list(product(*((0, n - 1) for n in (*reader.GetSize(), 1)[:3]))))
    with np.errstate(all="ignore"):
        qform = _qform(stored[:3], pixdim, cosines) * size
        apart = float(np.abs(corners @ (qform - sform).T + stored[3:6] - origin).max())
    if not apart <= 0.1 * size.min():
        raise GridInvalid(
            f"{name} says twice where it lies: its sform and its qform, both of code {codes['qform']}, are up to "
            f"{apart:.2f} mm apart, which leaves its place and B0 in doubt. Correct one of them, or set the code of "
            "the wrong one to 0."
        )


def _qform(quaternion: np.ndarray, pixdim: np.ndarray, sform: np.ndarray) -> np.ndarray:
    """Direction cosines (3, 3) of the qform, from its b, c, d and the sign in `pixdim`, beside those of the sform."""
    sign = -1.0 if pixdim[0] < 0 else 1.0
    b, c, d = quaternion
    square = 1.0 - quaternion @ quaternion
    a = math.sqrt(max(0.0, square))
    if square < 0.1:  # near half a turn little of a is left in single precision; the sform may know it better
        x, y, z = (sform * (1.0, 1.0, sign)).T
        known = float(quaternion @ (y[2] - z[1], z[0] - x[2], x[1] - y[0])) / (4.0 * (1.0 - square))
        a = known if abs(known * known - square) < 1e-6 else a
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    ) * (1.0, 1.0, sign)
