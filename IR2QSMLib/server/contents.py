"""Files that were sent are looked at before anything opens them: an image must hold its voxels itself.

Headers of NRRD and MetaImage may name another file that holds the voxels, anywhere on the server, and so may the
text form of NIfTI. Such a file would be read into a map and sent to the client.
"""

from __future__ import annotations

import gzip
import mmap
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from IR2QSMLib.core.choices import VOLUME_SUFFIXES
from IR2QSMLib.core.errors import FileUnreadable

NIFTI_HEADER_BYTES = 348
"""Size of a header of NIfTI-1; that of NIfTI-2 is longer and says what it is at its beginning."""
NRRD_DATA_FILE = re.compile(rb"data\s*file\s*:", re.IGNORECASE)
METAIMAGE_DATA_FILE = re.compile(rb"elementdatafile\s*[=:]?\s*(\S*)", re.IGNORECASE)
OTHER_SUFFIXES = (".json", ".safetensors")
"""Suffixes of files that are sent beside images."""
HEADER_SUFFIXES = (".hdr", ".img", ".nhdr", ".mhd", ".nia", ".hdr.gz", ".img.gz", ".nia.gz")
"""Suffixes of headers that have their voxels in a second file."""


def require_self_contained(path: Path, in_folder: bool) -> None:
    """Raise FileUnreadable unless a file can be opened without opening another one.

    Parameters
    ----------
    path
        The file, under the name that it has on the client.
    in_folder
        Whether it is part of a folder, which may hold DICOM files of any name.
    """
    name = path.name.lower()
    if name.endswith(HEADER_SUFFIXES) or not (in_folder or name.endswith((*VOLUME_SUFFIXES, *OTHER_SUFFIXES))):
        raise FileUnreadable(
            f"{path.name} cannot be sent to a server; convert it to a file that holds header and voxels: "
            f"{', '.join(VOLUME_SUFFIXES)}."
        )
    with path.open("rb") as file:
        start = file.read(4)
    if name.endswith((".nii", ".nii.gz")):
        if not _is_nifti(path):
            raise FileUnreadable(f"{path.name} is not a NIfTI file with its voxels inside; convert it once more.")
    elif start == b"NRRD" or name.endswith(".nrrd"):
        _require_own_voxels(path, _is_whole_nrrd)
    elif name.endswith(".mha"):
        _require_own_voxels(path, lambda content: _values(content) == [b"local"])


def _is_nifti(path: Path) -> bool:
    """Whether a header, gzipped or not, is a binary one that says that the voxels follow in the same file."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            header = stream.read(NIFTI_HEADER_BYTES)
    except (EOFError, OSError, zlib.error):
        return False
    sizes = {int.from_bytes(header[:4], order) for order in ("little", "big")}
    return (348 in sizes and header[344:348] == b"n+1\0") or (540 in sizes and header[4:8] == b"n+2\0")


def _is_whole_nrrd(content: mmap.mmap) -> bool:
    """Whether no data file is named before the first empty line, which ends a header for every reader."""
    end = content.find(b"\n\n")
    header = (0, len(content) if end < 0 else end)
    return content[:4] == b"NRRD" and not NRRD_DATA_FILE.search(content, *header)


def _values(content: mmap.mmap) -> list[bytes]:
    """What a MetaImage file names as the place of its voxels, wherever in the file it says so."""
    return [match[1].lower() for match in METAIMAGE_DATA_FILE.finditer(content)]


def _require_own_voxels(path: Path, is_own: Callable[[mmap.mmap], bool]) -> None:
    if path.stat().st_size > 0:  # an empty file cannot be mapped
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if is_own(content):
                return
    raise FileUnreadable(f"{path.name} does not hold its voxels itself; save header and voxels as one file.")
