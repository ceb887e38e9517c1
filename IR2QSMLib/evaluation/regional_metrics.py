"""Regional scores: lesions and their streaks, veins, noise, and whether an uncertainty keeps its word.

As in `metrics`, maps are in ppm on (x, y, z), all is float64, and a number that does not exist is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.distance import distance_from

EDGE = 4.0
"""Width of the rim that counts as near the mask's edge [mm]."""
SHELL = (3.0, 12.0)
"""Distances from a lesion between which its streaks are measured [mm]."""
VEIN = 0.5
"""Share of a voxel from which it counts as a vein."""
STRONG = 0.08
"""Susceptibility [ppm] above which a source is strong: pallidum, substantia nigra, large veins."""


def lesion_moment(chi: Tensor, truth: Tensor, lesion: Tensor, mask: Tensor) -> float:
    """Σχ over a lesion dilated by two voxels, in percent of the truth's: 100 is right.

    A blurred lesion keeps its moment, one that was clipped or regularised away does not. `lesion` and `mask` are bool,
    all (x, y, z); both maps are used about their own mean in the rest of the mask.
    """
    near = _near(lesion) & mask
    rest = mask & ~near
    if not bool(near.any()) or not bool(rest.any()):
        return math.nan
    found, expected = (float((x[near].double() - x[rest].double().mean()).sum()) for x in (chi, truth))
    return 100.0 * found / expected if expected else math.nan


def lesion_streaks(chi: Tensor, truth: Tensor, lesion: Tensor, mask: Tensor, grid: Grid) -> float:
    """Standard deviation [ppm] of the error 3 to 12 mm away from a lesion: streaks and shadows of it."""
    far = distance_from(lesion, grid, SHELL[1])
    shell = (far >= SHELL[0]) & (far <= SHELL[1]) & mask
    if int(shell.sum()) < 2:
        return math.nan
    return float((chi - truth)[shell].double().std())


class Region(NamedTuple):
    """The values of a map in a region [ppm]."""

    n_voxels: int
    mean: float
    sd: float
    median: float


def region_values(chi: Tensor, labels: Tensor, mask: Tensor) -> dict[int, Region]:
    """What a map [ppm] holds in each region of a label map, by label; label 0 is background.

    `chi`, integer `labels` and bool `mask`, outside which nothing counts: (x, y, z). A region without voxels in the
    mask has NaN. Raises MaskInvalid when the labels are 0 everywhere.
    """
    numbers = labels[labels != 0].unique().tolist()
    if not numbers:
        raise MaskInvalid("The label map is 0 everywhere; expected at least one region.")
    found = {}
    for number in numbers:
        inside = chi[(labels == number) & mask].double()
        n, some = len(inside), len(inside) > 0
        found[int(number)] = Region(
            n,
            float(inside.mean()) if some else math.nan,
            float(inside.std()) if n > 1 else math.nan,
            float(inside.median()) if some else math.nan,
        )
    return found


def noise_level(chi: Tensor, where: Tensor) -> float:
    """Robust standard deviation of a map's voxel-to-voxel noise in a bool region, in the map's unit: (x, y, z).

    1.4826 · median |d − median d| / √(7/6), d a voxel less the mean of its six neighbours, which all lie in the region
    too. White noise of any mean keeps its σ; anatomy that is smooth over three voxels leaves no d, edges are too few to
    move a median, and neither do streaks, which are long. NaN where no voxel has all its neighbours.
    """
    inner, sums = where.clone(), torch.zeros_like(chi, dtype=torch.float64)
    for axis, n in enumerate(chi.shape):
        for step in (1, -1):
            inner &= where.roll(step, axis)
            sums += chi.roll(step, axis)
        inner.narrow(axis, 0, 1).fill_(False)
        inner.narrow(axis, n - 1, 1).fill_(False)
    detail = (chi - sums / 6.0)[inner]
    if not len(detail):
        return math.nan
    return float(1.4826 * (detail - detail.median()).abs().median()) / (7.0 / 6.0) ** 0.5


def vein_recovery(chi: Tensor, truth: Tensor, veins: Tensor, mask: Tensor) -> float:
    """Median of recovered over true susceptibility in voxels that are mostly vein (`veins`: its share); 1 is right.

    Where the truth is below 0.05 ppm the ratio is not taken.
    """
    inside = (veins >= VEIN) & mask & (truth > 0.05)
    if not bool(inside.any()):
        return math.nan
    return float((chi[inside].double() / truth[inside].double()).median())


def regions(mask: Tensor, labels: Tensor, veins: Tensor | None, grid: Grid) -> dict[str, Tensor]:
    """The regions in which an uncertainty is judged, bool: all, nuclei, veins (where known) and the mask's edge."""
    outside = torch.nn.functional.pad(~mask, [1] * 6, value=True)  # the volume's faces are edges, too
    x, y, z = outside.shape
    depth = distance_from(outside, grid.cropped((-1, -1, -1), (x, y, z)), EDGE)[1:-1, 1:-1, 1:-1]
    found = {"all": mask, "nuclei": mask & (labels > 0), "edge": mask & torch.isfinite(depth)}
    if veins is not None:
        found["veins"] = mask & (veins >= VEIN)
    return found


def coverage(
    chi: Tensor, uncertainty: Tensor, truth: Tensor, where: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Percent of errors within one and two standard errors, by region; a normal error has 68.3 and 95.4.

    `chi`, `uncertainty` and `truth` in ppm, regions bool: (x, y, z). The difference of the maps' means in the region
    named "all" is not an error: susceptibility has no zero. Raises ParameterInvalid when a region is called "all" by
    nobody.
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


def _near(region: Tensor) -> Tensor:
    """A region dilated by two voxels, whatever their size."""
    return distance_from(region, Grid(tuple(region.shape)), 2.0) <= 2.0  # type: ignore[arg-type]


def strong_slope(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Slope of a map in strong sources, Σ χ·χ₀ / Σ χ₀² over χ₀ > 0.08 ppm; 1 is right, less is faint.

    χ and χ₀, the map and the truth [ppm], are both about their mean in the bool mask, all (x, y, z); NaN where the
    truth has no such source. Raises MaskInvalid when the mask is empty.
    """
    if not bool(mask.any()):
        raise MaskInvalid("The mask is empty; expected at least one voxel to score.")
    x, y = (values[mask].double() for values in (chi, truth))
    x, y = x - x.mean(), y - y.mean()
    strong = y > STRONG
    return float(x[strong] @ y[strong] / (y[strong] @ y[strong])) if bool(strong.any()) else math.nan
