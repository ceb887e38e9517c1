"""The ICBM 152 maps that nilearn carries: shares of tissue, T1 contrast and depth below the brain's surface.

Fonov 2011, doi 10.1016/j.neuroimage.2010.07.033. No susceptibility was measured for them.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from IR2QSMLib.core.errors import PackageMissing
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.distance import distance_from

CROPPED_MARGIN = 8
"""Voxels around the brain in `cropped_template`."""
PADDED_MARGIN = 36
"""Voxels added on every side in `padded_template`, in which the head's own surface lies."""


class Template(NamedTuple):
    """Maps of 1 mm and where MNI's origin lies in them."""

    maps: Tensor
    """Share of grey matter, share of white matter, T1 contrast, depth below the brain's surface [mm]: (4, x, y, z)."""
    origin: Tensor
    """Voxel index of MNI's origin: (3)."""


@lru_cache(maxsize=2)
def cropped_template(device: str) -> Template:
    """The template close around the brain, on a device; its depth is exact.

    Raises
    ------
    PackageMissing
        Without nilearn.
    """
    tissues, brain, origin = _load()
    grid = Grid(tuple(brain.shape))  # type: ignore[arg-type]
    depth = distance_from(~brain, grid, math.inf) - distance_from(brain, grid, math.inf)
    inside = brain.nonzero()
    low, high = inside.amin(0) - CROPPED_MARGIN, inside.amax(0) + 1 + CROPPED_MARGIN
    maps = torch.stack([*tissues, depth])
    sides = [s for a in (2, 1, 0) for s in (int(-low[a]), int(high[a]) - maps.shape[a + 1])]
    maps = pad(maps, sides)
    maps[3][maps[3] == 0.0] = -float(CROPPED_MARGIN)
    return Template(maps.to(device), (origin - low).to(device))


@lru_cache(maxsize=1)
def padded_template() -> Template:
    """The template with wide margins; outside the brain its depth is interpolated from every third voxel.

    Raises
    ------
    PackageMissing
        Without nilearn.
    """
    tissues, brain, origin = _load()
    near = distance_from(~brain, Grid(tuple(brain.shape)), math.inf)  # type: ignore[arg-type]
    tissues, brain, near = (pad(x, [PADDED_MARGIN] * 6) for x in (tissues, brain, near))
    coarse = brain[::3, ::3, ::3]
    far = distance_from(coarse, Grid(tuple(coarse.shape), (3.0, 3.0, 3.0)), math.inf)  # type: ignore[arg-type]
    far = interpolate(far[None, None], brain.shape, mode="trilinear", align_corners=False)[0, 0]
    depth = torch.where(brain, near, -far.clamp_min(0.5))
    return Template(torch.stack([*tissues, depth]), origin + PADDED_MARGIN)


def _load() -> tuple[Tensor, Tensor, Tensor]:
    """Grey matter, white matter and T1, (3, x, y, z); the brain, bool (x, y, z); voxel of MNI's origin, (3)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nilearn import datasets
    except ImportError as error:
        raise PackageMissing("Simulated brains need nilearn; install it with: pip install 'ir2qsm[demo]'.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaders = (
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_template,
            datasets.load_mni152_brain_mask,
        )
        images = [load(resolution=1) for load in loaders]
    *tissues, brain = (torch.from_numpy(image.get_fdata(dtype="float32")) for image in images)
    return torch.stack(tissues), brain > 0.5, torch.from_numpy(-images[0].affine[:3, 3]).float()
