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
"""How many labels a message lists; a mask with more may have been smoothed."""
OPTIONS = ("--mask-labels", "--mask-threshold")
"""What messages call the options that say what of a mask counts."""


def read_mask(
    path: Path | str,
    field_grid: Grid,
    field_name: str,
    labels: Sequence[int] | None = None,
    threshold: float | None = None,
) -> Tensor:
    """Read a mask on the grid of a field; its axes may be stored in another order or direction.

    Parameters
    ----------
    path
        Image file.
    field_grid, field_name
        Grid of the field, and its name for messages.
    labels
        Labels that make up the mask; by default every voxel that is not 0.
    threshold
        The lowest value that belongs to a mask of probabilities.

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
    values = _read_values_on(path, field_grid, field_name)
    return torch.from_numpy(binary_mask(values, Path(path).name, labels, threshold))


def binary_mask(
    values: np.ndarray,
    name: str,
    labels: Sequence[int] | None = None,
    threshold: float | None = None,
    options: tuple[str, str] = OPTIONS,
) -> np.ndarray:
    """Where a mask is not 0, where it has one of `labels`, or where it reaches `threshold`.

    Parameters
    ----------
    values
        Mask or label map, any shape.
    name
        Its name for messages.
    labels
        Labels that make up the mask.
    threshold
        The lowest value that belongs to a mask of probabilities, above 0.
    options
        What messages call the options for `labels` and `threshold`.

    Returns
    -------
    numpy.ndarray
        bool, of the shape of `values`.

    Raises
    ------
    MaskInvalid
        When it is empty or not finite, when it has several values and neither labels nor a threshold were said, when a
        chosen label is absent, or no voxel reaches the threshold.
    """
    present = _labels_of(values, name)
    labels_option, threshold_option = options
    if threshold is not None:
        if labels is not None:
            raise MaskInvalid(
                f"Labels and a threshold of {name} were given; leave out {labels_option} or {threshold_option}.",
                option="mask_threshold",
            )
        if not 0.0 < threshold <= present.max():
            raise MaskInvalid(
                f"The threshold of {name} is {threshold:g}, and its values go up to {present.max():g}; expected a "
                f"number above 0 that some voxel reaches, such as {threshold_option} {_half(present)}.",
                option="mask_threshold",
            )
        return np.asarray(values >= threshold)
    if labels is None:
        if len(present) > 1:
            raise _not_binary(present, name, options)
        return np.asarray(values != 0)
    absent = [label for label in labels if label not in present]
    if absent or not labels:
        problem = f"{name} has no label {', '.join(map(str, absent))}" if absent else f"No label of {name} was chosen"
        raise MaskInvalid(
            f"{problem}; it has {_listed(present)}: choose among them with {labels_option}.", option="mask_labels"
        )
    return np.isin(values, labels)


def _not_binary(present: np.ndarray, name: str, options: tuple[str, str]) -> MaskInvalid:
    """The error for a mask of several values, with the option that makes a mask of them."""
    is_whole, is_positive = bool((present % 1 == 0).all()), present.min() >= -0.1 * present.max()
    if is_whole:
        smoothed = f", or of a smoothed mask {options[1]} {_half(present)}" if len(present) > N_LABELS_SHOWN else ""
        return MaskInvalid(
            f"{name} has {_listed(present)}; expected 0 and one other value. Say which of them make up the mask with "
            f"{options[0]}{smoothed if is_positive else ''}.",
            option="mask_labels",
        )
    spread = f"{name} has {len(present)} values from {present.min():g} to {present.max():g}; expected 0 and one other"
    if not is_positive:
        return MaskInvalid(f"{spread}. It seems to be no mask; give the mask.", option="mask")
    return MaskInvalid(
        f"{spread}. Of probabilities, or of a mask that was resampled, say from which value on a voxel belongs to it, "
        f"such as {options[1]} {_half(present)}.",
        option="mask_threshold",
    )


def _half(present: np.ndarray) -> str:
    """Half of the largest value of a mask, which the mask of probabilities begins with."""
    return f"{0.5 * float(present.max()):.4g}"


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
