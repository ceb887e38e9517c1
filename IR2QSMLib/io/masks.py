"""Masks and label maps: the one rule of what a mask is, and how they are read onto a field's grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import array_of, read_image

N_LABELS_SHOWN = 10
"""How many labels a message lists."""


def read_mask(path: Path | str, field_grid: Grid, field_name: str, labels: Sequence[int] | None = None) -> Tensor:
    """Read a mask on the grid of a field; its axes may be stored in another order or direction.

    Parameters
    ----------
    path
        Image file.
    field_grid, field_name
        Grid of the field, and its name for messages.
    labels
        Labels that make up the mask; by default every voxel that is not 0.

    Returns
    -------
    Tensor
        bool: (x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid
    GridMismatch
        When it does not lie on `field_grid`.
    MaskInvalid
        As `binary_mask` does.
    """
    return torch.from_numpy(binary_mask(_read_values_on(path, field_grid, field_name), Path(path).name, labels))


def binary_mask(
    values: np.ndarray, name: str, labels: Sequence[int] | None = None, labels_option: str = "--mask-labels"
) -> np.ndarray:
    """Where a mask is not 0, or where it has one of `labels`.

    Parameters
    ----------
    values
        Mask or label map, any shape.
    name
        Its name for messages.
    labels
        Labels that make up the mask.
    labels_option
        What messages call the option for `labels`.

    Returns
    -------
    numpy.ndarray
        bool, of the shape of `values`.

    Raises
    ------
    MaskInvalid
        When it is empty or not finite, when it has several labels and none were chosen, or when a chosen label is
        absent.
    """
    present = _labels_of(values, name)
    if labels is None:
        if len(present) > 1 and present.min() > 0 and present.max() <= 1:
            raise MaskInvalid(
                f"{name} has {len(present)} values between 0 and 1; expected 0 and one other value. Threshold it "
                "first, for example at 0.5.",
                option="mask",
            )
        if len(present) > 1:
            raise MaskInvalid(
                f"{name} has {_listed(present)}; expected 0 and one other value. Say which of them make up the mask "
                f"with {labels_option}.",
                option="mask_labels",
            )
        return np.asarray(values != 0)
    absent = [label for label in labels if label not in present]
    if absent or not labels:
        problem = f"{name} has no label {', '.join(map(str, absent))}" if absent else f"No label of {name} was chosen"
        raise MaskInvalid(
            f"{problem}; it has {_listed(present)}: choose among them with {labels_option}.", option="mask_labels"
        )
    return np.isin(values, labels)


def read_labels(path: Path | str, grid: Grid, name: str) -> Tensor:
    """Read a label map on the grid of the image `name`.

    Returns
    -------
    Tensor
        int32: (x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid, GridMismatch
    MaskInvalid
        When it is empty or has values that are not whole numbers.
    """
    values = _read_values_on(path, grid, name)
    labels = _labels_of(values, Path(path).name)
    not_whole = labels[(np.rint(labels) != labels) | (np.abs(labels.astype(float)) > np.iinfo(np.int32).max)]
    if len(not_whole):
        raise MaskInvalid(
            f"{Path(path).name} has {_listed(not_whole)} that are not 32-bit whole numbers; expected a map of labels."
        )
    return torch.from_numpy(np.array(values, dtype=np.int32, order="C"))


def _read_values_on(path: Path | str, grid: Grid, grid_name: str) -> np.ndarray:
    """The voxels (x, y, z) of a mask or label map, reoriented onto `grid`."""
    name = Path(path).name
    array, file_grid = array_of(read_image(path), name)
    axes, reversed_axes = file_grid.reorientation_onto(grid, name, grid_name)
    return np.ascontiguousarray(np.flip(array.transpose(axes), reversed_axes))


def _labels_of(values: np.ndarray, name: str) -> np.ndarray:
    """The distinct values other than 0 of a mask or label map; raises MaskInvalid for NaN, infinity or none."""
    n_non_finite = int(np.count_nonzero(~np.isfinite(values)))
    if n_non_finite:
        raise MaskInvalid(
            f"{name} holds NaN or infinity in {n_non_finite:,} of its voxels; set them to 0 or to a label.",
            option="mask",
        )
    labels = np.unique(values)
    labels = labels[labels != 0]
    if not len(labels):
        raise MaskInvalid(
            f"{name} is empty: every voxel is 0; give a mask with voxels inside the object.", option="mask"
        )
    return labels


def _listed(labels: np.ndarray) -> str:
    shown = ", ".join(f"{v:.6g}" if v % 1 else str(int(v)) for v in labels[:N_LABELS_SHOWN].tolist())
    plural = "s" if len(labels) > 1 else ""
    return f"{len(labels)} label{plural} ({shown}{', …' if len(labels) > N_LABELS_SHOWN else ''})"
