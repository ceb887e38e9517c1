"""Siemens mosaics: all slices of a volume side by side in one DICOM image."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from IR2QSMLib.core.errors import FileUnreadable
from IR2QSMLib.core.tolerances import COSINE_TOLERANCE

N_SLICES_TAG = (0x0019, 0x100A)
"""Siemens' private number of slices in a mosaic."""


@dataclass(frozen=True)
class Mosaic:
    """How a mosaic is cut into slices."""

    tiles_per_row: int
    size: tuple[int, int]
    """Rows and columns of a slice."""
    positions: list[tuple[float, float, float]]
    """Centre of the first voxel of each slice in the patient (LPS) [mm]."""


def mosaic_of(header: Dataset, position: Sequence[float], cosines: Sequence[float], name: str) -> Mosaic:
    """The slices of a mosaic, from Siemens' private header.

    The position of a mosaic is that of an image of its size around the centre of the first slice.

    Parameters
    ----------
    header
        Of the file.
    position, cosines
        Of the mosaic as an image: LPS [mm], and the directions of rows and columns.
    name
        Of the file, for messages.

    Raises
    ------
    FileUnreadable
        When the private header does not say how many slices there are and in which direction they follow each other.
    """
    n_slices, normal = _private_entries(header)
    gap = float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0.0)
    if not n_slices or normal is None or abs(np.linalg.norm(normal) - 1.0) > COSINE_TOLERANCE or gap <= 0.0:
        raise FileUnreadable(
            f"{name} is a mosaic: all slices lie in one image, and Siemens' private header, which says how many they "
            "are and in which direction they follow each other, is missing. Export the scan as single slices "
            "(enhanced or classic DICOM without mosaic), or convert it to NIfTI before it is anonymised."
        )
    per_row = math.ceil(math.sqrt(n_slices))
    rows, columns = int(header.Rows), int(header.Columns)
    if rows % per_row or columns % per_row:
        raise FileUnreadable(
            f"{name} is a mosaic of {rows} × {columns} voxels, which {per_row} × {per_row} slices do not fill; export "
            "the scan again as single slices."
        )
    size = (rows // per_row, columns // per_row)
    along_columns, along_rows = (float(v) for v in header.PixelSpacing)
    first = (
        np.asarray(position, dtype=float)
        + 0.5 * (columns - size[1]) * along_rows * np.asarray(cosines[:3], dtype=float)
        + 0.5 * (rows - size[0]) * along_columns * np.asarray(cosines[3:], dtype=float)
    )
    places = [first + n * gap * normal for n in range(n_slices)]
    return Mosaic(per_row, size, [(float(p[0]), float(p[1]), float(p[2])) for p in places])


def _private_entries(header: Dataset) -> tuple[int | None, np.ndarray | None]:
    """The number of slices and the direction in which they follow each other (LPS), where Siemens' header has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls all of its readers of DICOM experimental
        from nibabel.nicom import csareader
    try:
        private = csareader.get_csa_header(header, "image")
        n_slices = private and csareader.get_scalar(private, "NumberOfImagesInMosaic")
        normal = private and csareader.get_vector(private, "SliceNormalVector", 3)
    except (csareader.CSAReadError, KeyError, ValueError):
        return None, None
    if not n_slices and N_SLICES_TAG in header:
        value = header[N_SLICES_TAG].value
        n_slices = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else value
    return (int(n_slices) if n_slices else None), (None if normal is None else np.asarray(normal, dtype=float))
