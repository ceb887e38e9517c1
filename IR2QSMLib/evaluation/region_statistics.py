"""Values of a map in the regions of a label map.

All is float64, and a number that does not exist is NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.evaluation.masked_maps import float64_device, require_finite
from IR2QSMLib.evaluation.metrics import demeaned, ratio


def roi_means(values: Tensor, labels: Tensor) -> dict[int, float]:
    """Mean of a map in every region, by label; label 0 is background.

    Parameters
    ----------
    values
        In any unit: (x, y, z).
    labels
        Integers: (x, y, z).

    Raises
    ------
    ParameterInvalid
        When the shapes differ or the labels are not integers.
    MaskInvalid
        When no label is set.
    FieldInvalid
        When a value in a region is not finite.
    """
    if values.shape != labels.shape:
        raise ParameterInvalid(
            f"The map is {tuple(values.shape)}, the labels {tuple(labels.shape)}; expected one shape."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ParameterInvalid(f"The labels are {labels.dtype}; expected integers, 0 for background.")
    region = labels != 0
    if not region.any():
        raise MaskInvalid("The labels are 0 everywhere; expected at least one region.")
    device = float64_device(values)
    label, value = labels[region].to(device), values.detach().to(device)[region.to(device)].double()
    require_finite(value, "map")
    # One masked mean a label, as a scattered sum is not bit-identical from run to run on a GPU.
    return {n: value[label == n].mean().item() for n in torch.unique(label).tolist()}


def roi_slope(chi: Tensor, truth: Tensor, labels: Tensor) -> float:
    """Slope of the regional means of a map against those of the truth; 1 is right, NaN when the truth's are equal.

    The least-squares a of x = a·y + b, each region counted once.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    labels
        Integers: (x, y, z).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `roi_means`; ParameterInvalid also with fewer than two regions.

    References
    ----------
    Bilgic 2021, doi 10.1002/mrm.28754.
    """
    map_means, true_means = roi_means(chi, labels), roi_means(truth, labels)
    if len(true_means) < 2:
        raise ParameterInvalid(f"The labels hold one region, {next(iter(true_means))}; a slope needs at least two.")
    x, y = (demeaned(torch.tensor(list(m.values()), dtype=torch.float64)) for m in (map_means, true_means))
    return ratio((x @ y).item(), (y @ y).item())


class RegionStatistics(NamedTuple):
    """The values of a map in a region [ppm]."""

    n_voxels: int
    mean: float
    sd: float
    median: float


def region_statistics(chi: Tensor, labels: Tensor, mask: Tensor) -> dict[int, RegionStatistics]:
    """Number of voxels, mean, standard deviation and median of a map in each region, by label; 0 is background.

    Parameters
    ----------
    chi
        [ppm]: (x, y, z).
    labels
        Integers: (x, y, z).
    mask
        Outside which nothing counts, bool; a region without voxels in it has NaN: (x, y, z).

    Raises
    ------
    MaskInvalid
        When the labels are 0 everywhere.
    """
    numbers = labels[labels != 0].unique().tolist()
    if not numbers:
        raise MaskInvalid("The label map is 0 everywhere; expected at least one region.")
    out = {}
    for number in numbers:
        inside = chi[(labels == number) & mask].double()
        n = len(inside)
        out[int(number)] = RegionStatistics(
            n,
            float(inside.mean()) if n else math.nan,
            float(inside.std()) if n > 1 else math.nan,
            float(inside.median()) if n else math.nan,
        )
    return out
