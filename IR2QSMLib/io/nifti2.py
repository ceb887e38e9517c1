"""NIfTI-2 files, which ITK does not read: as NIfTI-1."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from gzip import GzipFile
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np

from IR2QSMLib.core.errors import FileUnreadable

SINGLE_FILE_MAGIC = b"n+2"
CHANGED_FIELDS = ("sizeof_hdr", "magic", "vox_offset")
"""Fields of a header that say how the file is made, not what the image is."""
FIRST_VOXEL = 352
"""Byte at which the voxels of a NIfTI-1 file begin, if no extension stands before them."""


def open_unpacked(path: Path) -> GzipFile | BufferedReader:
    """Open a file, unpacking it where it is gzipped, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return GzipFile(path) if packed else path.open("rb")


def nifti1_header(start: bytes) -> nibabel.Nifti1Header | None:
    """The header of NIfTI-1 that says what that of NIfTI-2 says, or None where the file does not begin with one."""
    size = nibabel.Nifti2Header.sizeof_hdr
    if len(start) < size or size not in (int.from_bytes(start[:4], order) for order in ("little", "big")):
        return None
    second = nibabel.Nifti2Header(start[:size], check=False)
    first = nibabel.Nifti1Header(endianness=second.endianness, check=False)
    if int(second["dim"].max()) > np.iinfo(first["dim"].dtype).max:
        return None
    for name in first.keys():  # noqa: SIM118, iterating over a header is iterating over its keys only by this method
        if name in second.keys() and name not in CHANGED_FIELDS:  # noqa: SIM118
            first[name] = second[name]
    first["vox_offset"] = FIRST_VOXEL
    return first


@contextmanager
def as_nifti1(path: Path, header_only: bool = False) -> Iterator[Path]:
    """The path itself, or that of a temporary copy of the same name in NIfTI-1 where it is of NIfTI-2.

    Parameters
    ----------
    path
        Any file.
    header_only
        Whether the copy does without the voxels.

    Raises
    ------
    FileUnreadable
        For the two files of an .hdr and .img pair.
    """
    try:
        with open_unpacked(path) as stream:
            start = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    except (EOFError, OSError, zlib.error):
        start = b""
    header = nifti1_header(start)
    if header is None:
        yield path
        return
    second = nibabel.Nifti2Header(start, check=False)
    if bytes(second["magic"].item())[:3] != SINGLE_FILE_MAGIC:
        raise FileUnreadable(f"{path.name} is a NIfTI-2 header with its voxels in another file; save both as one .nii.")
    with TemporaryDirectory(prefix="ir2qsm-") as folder:
        copy = Path(folder) / path.name
        with copy.open("wb") as output, open_unpacked(path) as stream:
            output.write(header.binaryblock.ljust(FIRST_VOXEL, b"\0"))
            if not header_only:
                with suppress(EOFError, zlib.error):  # too few voxels, which reading the copy says
                    stream.read(int(second["vox_offset"]))
                    shutil.copyfileobj(stream, output, 1 << 20)
        yield copy
