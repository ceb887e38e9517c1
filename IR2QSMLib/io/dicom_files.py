"""DICOM files as they reach users: with or without preamble, gzipped or not."""

from __future__ import annotations

import struct
import zlib
from gzip import GzipFile
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

DAMAGE = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises of damaged files, when it reads them or when an element is asked for."""


def read_dataset(path: Path, **options: Any) -> Dataset:
    """Read a DICOM file, also one that is gzipped or has no preamble.

    Parameters
    ----------
    path
        Any file.
    options
        Of `pydicom.dcmread`.

    Raises
    ------
    InvalidDicomError
        When it is no DICOM file.
    """
    with path.open("rb") as file:
        start = file.read(132)
    source: Path | BytesIO = path
    if start[:2] == b"\x1f\x8b":
        try:
            content = GzipFile(path).read()
        except (EOFError, zlib.error) as error:
            raise InvalidDicomError(f"{path.name} is no complete gzip file.") from error
        source, start = BytesIO(content), content[:132]
    # Without a preamble a file starts with a tag of group 2 or 8, little-endian, and no other kind of file does.
    bare = start[128:] != b"DICM" and start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\x00"
    dataset = pydicom.dcmread(source, force=bare, **options)
    if bare and "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset
