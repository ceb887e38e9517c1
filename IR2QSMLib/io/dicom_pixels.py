"""The pixels of DICOM slices: by pydicom, and by SimpleITK where they are compressed and pydicom has no decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable, PackageMissing
from IR2QSMLib.io.dicom_files import DAMAGE, read_dataset
from IR2QSMLib.io.dicom_slices import DicomSlice
from IR2QSMLib.io.images import itk_path

ENCODING = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
"""Attributes without which pixels cannot be decoded."""


def read_pixels(slices: Sequence[DicomSlice]) -> Tensor:
    """Read the pixels of slices of one grid.

    Parameters
    ----------
    slices
        In the order of their positions.

    Returns
    -------
    Tensor
        Values after slope and intercept, float32: (x, y, z).

    Raises
    ------
    FileUnreadable
        When the pixels of a file cannot be decoded.
    PackageMissing
        When they are compressed in a way for which no decoder is installed.
    """
    frames_of: dict[Path, np.ndarray] = {}
    images = []
    several_files = len({s.path for s in slices}) > 1
    for s in slices:
        if s.path not in frames_of:
            if several_files:
                frames_of.clear()  # classic files hold one slice each, or one mosaic
            frames = _decode(s.path)
            frames_of[s.path] = _tiles(frames[0], s) if s.tiles_per_row else frames
        images.append(frames_of[s.path][s.index].astype(np.float32) * s.slope + s.intercept)
    return torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(2, 1, 0), dtype=np.float32))


def digest_of_middle_slice(slices: Sequence[DicomSlice]) -> str:
    """SHA-256 of the values of the middle one of sorted slices: it tells scans apart and names nobody."""
    return hashlib.sha256(read_pixels([slices[len(slices) // 2]]).numpy().tobytes()).hexdigest()


def _tiles(mosaic: np.ndarray, s: DicomSlice) -> np.ndarray:
    """The slices of a mosaic (row, column), which lie row by row: (slice, row, column)."""
    rows, columns = s.size
    tiled = mosaic.reshape(-1, rows, s.tiles_per_row, columns).swapaxes(1, 2)
    return tiled.reshape(-1, rows, columns)


def _decode(path: Path) -> np.ndarray:
    """The stored numbers of a file: (frame, row, column)."""
    try:
        header = read_dataset(path)
    except (InvalidDicomError, *DAMAGE) as error:
        raise FileUnreadable(f"{path.name} is truncated or damaged; copy or export it again.") from error
    try:
        stack = np.asarray(header.pixel_array)
        return stack[None] if stack.ndim == 2 else stack
    except TypeError as error:  # lists where numbers belong, of which SimpleITK would take the first
        raise FileUnreadable(
            f"The pixels of {path.name} cannot be read: their header holds a list where a number belongs; export the "
            "scan again."
        ) from error
    except (RuntimeError, *DAMAGE) as error:
        syntax = header.file_meta.get("TransferSyntaxUID")
        is_known = syntax is not None and syntax.is_transfer_syntax and "PixelData" in header
        if syntax is None or not is_known or not syntax.is_compressed:
            raise FileUnreadable(
                f"The pixels of {path.name} cannot be read ({error}); export the scan again."
            ) from error
        try:
            return _decode_by_simpleitk(header)
        except (AttributeError, ImportError, RuntimeError, ValueError):
            raise PackageMissing(
                f"The pixels of {path.name} are compressed as {syntax.name}, and no decoder that is installed reads "
                "them; install more with: pip install 'ir2qsm[dicom-compressed]', or export the scan again without "
                "compression."
            ) from error


def _decode_by_simpleitk(header: Dataset) -> np.ndarray:
    """The stored numbers of compressed frames: (frame, row, column).

    Each frame is written as an image without place, slope and intercept, which ITK would apply or refuse.
    """
    from pydicom.encaps import encapsulate, generate_frames  # an older pydicom, as of Slicer, has no such function

    frames = []
    n_frames = int(header.get("NumberOfFrames") or 1)
    with TemporaryDirectory(prefix="ir2qsm-") as folder:
        file = Path(folder) / "frame.dcm"
        for content in generate_frames(header.PixelData, number_of_frames=n_frames):
            single = Dataset()
            single.file_meta = FileMetaDataset()
            single.file_meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
            single.SOPClassUID, single.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
            for name in ENCODING:
                setattr(single, name, header.get(name))
            single.PixelData = encapsulate([content])
            single["PixelData"].is_undefined_length = True
            single.save_as(file, enforce_file_format=True)
            frames.append(sitk.GetArrayFromImage(sitk.ReadImage(itk_path(file)))[0])
    return np.stack(frames)
