"""Regional scores: lesions and their streaks, veins, noise, strong sources and the coverage of an uncertainty.

As in `metrics`, maps are in ppm on (x, y, z), all is float64, and a number that does not exist is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.evaluation.metrics import ratio
from IR2QSMLib.physics.distance import depth_inside, distance_from

EDGE_WIDTH = 4.0
"""Depth below the mask's edge that counts as near it [mm]."""
STREAK_DISTANCES = (3.0, 12.0)
"""Distances from a lesion between which its streaks are measured [mm]."""
LESION_MARGIN = 2.0
"""By which a lesion is dilated for its moment [voxels]."""
VEIN_SHARE = 0.5
"""Share of veins from which a voxel counts as a vein."""
VEIN_CHI = 0.05
"""Susceptibility [ppm] above which a vein is compared with the truth."""
STRONG_SOURCE = 0.08
"""Susceptibility [ppm] above which a source is strong: pallidum, substantia nigra, large veins."""


def lesion_moment(chi: Tensor, truth: Tensor, lesion: Tensor, mask: Tensor) -> float:
    """Σχ over a lesion dilated by two voxels, in percent of that of the truth: 100 is right.

    A blurred lesion keeps its moment, one that was clipped or regularised away does not.

    Parameters
    ----------
    chi, truth
        [ppm], each used without its mean in the rest of the mask: (x, y, z).
    lesion, mask
        Bool: (x, y, z).
    """
    dilated = distance_from(lesion, Grid(tuple(lesion.shape)), LESION_MARGIN) <= LESION_MARGIN  # type: ignore[arg-type]
    near, rest = dilated & mask, mask & ~dilated
    if not bool(near.any()) or not bool(rest.any()):
        return math.nan
    moment, true_moment = (float((x[near].double() - x[rest].double().mean()).sum()) for x in (chi, truth))
    return 100.0 * ratio(moment, true_moment)


def lesion_streaks(chi: Tensor, truth: Tensor, lesion: Tensor, mask: Tensor, grid: Grid) -> float:
    """Standard deviation of the error 3 to 12 mm away from a lesion [ppm]: its streaks and shadows.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    lesion, mask
        Bool: (x, y, z).
    grid
        Its voxel sizes.
    """
    low, high = STREAK_DISTANCES
    distance = distance_from(lesion, grid, high)
    shell = (distance >= low) & (distance <= high) & mask
    if int(shell.sum()) < 2:
        return math.nan
    return float((chi - truth)[shell].double().std())


def noise_level(chi: Tensor, region: Tensor) -> float:
    """Robust standard deviation of the voxel-to-voxel noise of a map, 1.4826 · median |d − median d| / √(7/6).

    d is a voxel less the mean of its six neighbours, which all lie in the region too. White noise of any mean keeps its
    σ; anatomy that is smooth over three voxels leaves no d; edges and streaks are too few to move a median.

    Parameters
    ----------
    chi
        In any unit: (x, y, z).
    region
        Bool: (x, y, z).

    Returns
    -------
    float
        In the unit of the map; NaN where no voxel has all its neighbours.
    """
    inner, sums = region.clone(), torch.zeros_like(chi, dtype=torch.float64)
    for axis, n in enumerate(chi.shape):
        for step in (1, -1):
            inner &= region.roll(step, axis)
            sums += chi.roll(step, axis)
        inner.narrow(axis, 0, 1).fill_(False)
        inner.narrow(axis, n - 1, 1).fill_(False)
    detail = (chi - sums / 6.0)[inner]
    if not len(detail):
        return math.nan
    return float(1.4826 * (detail - detail.median()).abs().median()) / (7.0 / 6.0) ** 0.5


def vein_ratio(chi: Tensor, truth: Tensor, veins: Tensor, mask: Tensor) -> float:
    """Median of a map over the truth in voxels that are mostly vein and above 0.05 ppm; 1 is right.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    veins
        Share of veins, 0 to 1: (x, y, z).
    mask
        Bool: (x, y, z).
    """
    inside = (veins >= VEIN_SHARE) & mask & (truth > VEIN_CHI)
    if not bool(inside.any()):
        return math.nan
    return float((chi[inside].double() / truth[inside].double()).median())


def regions(mask: Tensor, labels: Tensor, veins: Tensor | None, grid: Grid) -> dict[str, Tensor]:
    """The regions in which an uncertainty is assessed: all, nuclei, edge and, where they are known, veins.

    Parameters
    ----------
    mask
        Bool: (x, y, z).
    labels
        Nuclei by number: (x, y, z).
    veins
        Share of veins, or None: (x, y, z).
    grid
        Its voxel sizes.

    Returns
    -------
    dict
        Bool masks: (x, y, z) each.
    """
    near_edge = depth_inside(mask, grid) <= EDGE_WIDTH
    out = {"all": mask, "nuclei": mask & (labels > 0), "edge": mask & near_edge}
    if veins is not None:
        out["veins"] = mask & (veins >= VEIN_SHARE)
    return out


def coverage(
    chi: Tensor, uncertainty: Tensor, truth: Tensor, where: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Percent of errors within one and two standard errors, by region; a normal error has 68.3 and 95.4.

    The difference of the maps' means in the region "all" is not an error: susceptibility has no zero.

    Parameters
    ----------
    chi, uncertainty, truth
        [ppm]: (x, y, z).
    where
        Regions by name, one of them "all", bool: (x, y, z) each.

    Raises
    ------
    ParameterInvalid
        When no region is named "all".
    """
    if "all" not in where:
        raise ParameterInvalid(f"The regions are {', '.join(where) or 'none'}; expected one named 'all'.")
    difference = chi.double() - truth.double()
    error = (difference - difference[where["all"]].mean()).abs()
    out = {}
    for name, region in where.items():
        n = int(region.sum())
        inside = [float((error <= k * uncertainty.double())[region].double().mean()) if n else math.nan for k in (1, 2)]
        out[name] = (100.0 * inside[0], 100.0 * inside[1])
    return out


def strong_slope(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Slope of a map in strong sources, Σ χ·χ₀ / Σ χ₀² over χ₀ > 0.08 ppm; 1 is right, less is faint.

    Parameters
    ----------
    chi, truth
        χ and χ₀ [ppm], each used without its mean in the mask: (x, y, z).
    mask
        Bool: (x, y, z).

    Returns
    -------
    float
        NaN where the truth has no such source.

    Raises
    ------
    MaskInvalid
        When the mask is empty.
    """
    if not bool(mask.any()):
        raise MaskInvalid("The mask is empty; expected at least one voxel to score.")
    x, y = (values[mask].double() for values in (chi, truth))
    x, y = x - x.mean(), y - y.mean()
    strong = y > STRONG_SOURCE
    return float(x[strong] @ y[strong] / (y[strong] @ y[strong])) if bool(strong.any()) else math.nan
