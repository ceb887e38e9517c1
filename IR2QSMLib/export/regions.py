"""Regions of a label map as DICOM knows them: numbers, names, codes, and the values of the map in them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.sr.coding import Code
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable, MaskInvalid
from IR2QSMLib.evaluation.region_statistics import RegionStatistics, region_statistics
from IR2QSMLib.export.codes import region_code, side_of
from IR2QSMLib.io.sidecars import image_stem

MAX_REGIONS = 255


@dataclass(frozen=True)
class Region:
    """One label of a label map, and the values of the map in it."""

    number: int
    """Number of its segment, from 1."""
    label: int
    name: str
    code: Code
    side: Code | None
    """Left or right."""
    volume: float
    """Volume of all its voxels [mm³]."""
    statistics: RegionStatistics
    """Statistics of its voxels where χ is valid [ppm]."""


def read_names(labels: Path) -> dict[int, str]:
    """The names of a label map's regions by label, from the TSV of the same name beside it, as BIDS has it.

    Raises
    ------
    FileUnreadable
        When it has no columns `index` and `name`.
    """
    path = labels.with_name(f"{image_stem(labels)}.tsv")
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return {int(row["index"]): row["name"].strip() for row in rows}
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as error:
        raise FileUnreadable(
            f"{path.name} does not name regions; expected the columns index (whole numbers) and name of a BIDS lookup "
            "table, with tabs between.",
            option="segmentation",
        ) from error


def measure_regions(
    chi: Tensor, labels: Tensor, voxel_volume: float, names: Mapping[int, str]
) -> tuple[list[Region], list[str]]:
    """The regions of a label map and the values of a map in them.

    Parameters
    ----------
    chi
        [ppm], exactly 0 where it is not valid: (x, y, z).
    labels
        Whole numbers, 0 for background: (x, y, z).
    voxel_volume
        [mm³]
    names
        By label.

    Returns
    -------
    regions, warnings

    Raises
    ------
    MaskInvalid
        When there are too many regions, or negative labels.
    """
    statistics = region_statistics(chi, labels, chi != 0)
    if len(statistics) > MAX_REGIONS or min(statistics) < 0:
        raise MaskInvalid(
            f"The segmentation has {len(statistics)} labels from {min(statistics)} to {max(statistics)}; expected at "
            f"most {MAX_REGIONS} of positive numbers. Give a label map of regions.",
            option="segmentation",
        )
    regions, warnings = [], []
    for number, (label, values) in enumerate(sorted(statistics.items()), 1):
        name = names.get(label) or f"Region {label}"
        n_voxels = int((labels == label).sum())
        if values.n_voxels < n_voxels:
            warnings.append(
                f"{n_voxels - values.n_voxels} of {n_voxels} voxels of label {label} lie where the map is not valid: "
                "they count in its volume only."
            )
        regions.append(Region(number, label, name, region_code(name), side_of(name), n_voxels * voxel_volume, values))
    return regions, warnings


def segment_numbers(labels: np.ndarray, regions: list[Region]) -> np.ndarray:
    """The label map with the numbers of segments in place of labels, uint8, of the same shape."""
    numbers = np.zeros(labels.shape, dtype=np.uint8)
    for region in regions:
        numbers[labels == region.label] = region.number
    return numbers
