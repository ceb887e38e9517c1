"""Lesions and calcified structures of the held-out brain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.anatomy import HEAD_SIZE
from IR2QSMLib.simulation.oversampling import upsample_linear
from IR2QSMLib.simulation.random_source import RandomSource

HAEMORRHAGE_CHI = 0.6
"""χ of a haemorrhage [ppm]."""


@dataclass(frozen=True)
class Lesion:
    """A body of one susceptibility with a lobed boundary."""

    number: int
    """Its label; 0 for a structure that healthy brains have."""
    centre: tuple[float, float, float]
    """MNI position [mm]."""
    radius: float
    """Of the ball of the same volume [mm]."""
    chi: float
    """[ppm]"""
    lobes: float = 0.2
    """How far the boundary deviates from the ball's, over the radius."""

    def add_to(self, rng: RandomSource, chi: Tensor, density: Tensor, labels: Tensor, mni: Tensor, fine: Grid) -> None:
        """Lay the lesion over the maps in place.

        Parameters
        ----------
        rng
            Draws the boundary.
        chi, density, labels
            χ [ppm], signal and lesions on the fine grid: (x, y, z).
        mni
            Position in MNI space on the base grid [mm]: (3, x, y, z).
        fine
            Grid of twice the resolution of the base grid.
        """
        # The template is scaled to the head; the radius is in the head's millimetres.
        r = (mni - torch.tensor(self.centre).view(3, 1, 1, 1)).square().sum(0).sqrt() * HEAD_SIZE
        box = bounding_box(r < 1.8 * self.radius + 2.0)
        if box is None:
            return
        fine_box = tuple(slice(2 * s.start, 2 * s.stop) for s in box)
        r = upsample_linear(r[box])
        box_grid = Grid((r.shape[0], r.shape[1], r.shape[2]), fine.voxel_size)
        level = self.radius * (1.0 + self.lobes * rng.smooth_noise(box_grid, 0.7 * self.radius)) - r
        # The boundary is moved until the volume is right, as far as voxels allow.
        n = max(1, round(4.0 / 3.0 * math.pi * self.radius**3 / fine.voxel_volume))
        level = level - level.flatten().kthvalue(max(1, level.numel() - n))[0]
        share = torch.sigmoid(level * 4.0 / fine.voxel_size[0])
        signal = 0.6 if self.chi > 0 else 0.25
        chi[fine_box] = torch.lerp(chi[fine_box], torch.full_like(share, self.chi), share)
        density[fine_box] = torch.lerp(density[fine_box], torch.full_like(share, signal), share)
        labels[fine_box] = torch.where(level > 0, torch.tensor(self.number, dtype=torch.int16), labels[fine_box])


def draw_lesions(rng: RandomSource, bleeds: bool, haemorrhage: float) -> list[Lesion]:
    """The pineal gland and choroid plexus, calcified in most adults, and the lesions of a case.

    Susceptibility of calcium: Deistung 2013, doi 10.1016/j.neuroimage.2012.09.055. Frequency of the two: Chen 2014, doi
    10.1148/radiol.13122640.

    Parameters
    ----------
    rng
        Draws sizes, places and susceptibilities.
    bleeds
        Whether there are six microbleeds and a calcified nodule.
    haemorrhage
        Volume of a haemorrhage [cm³]; 0 for none.
    """
    lesions = [Lesion(0, (0.0, -31.0, 3.0), 1.8, -0.25)]
    lesions += [Lesion(0, (side * 22.0, -40.0, 6.0), rng.uniform(1.2, 2.2), -0.15) for side in (-1.0, 1.0)]
    if bleeds:
        places = ((-30, 20, 18), (34, -10, 30), (-14, -20, 6), (40, -52, 4), (-24, -64, 24), (-27, 2, -2))
        for i, place in enumerate(places):
            x, y, z = (c + rng.uniform(-2.0, 2.0) for c in place)
            lesions.append(Lesion(2 + i, (x, y, z), rng.uniform(0.9, 2.0), rng.uniform(0.4, 0.9), 0.1))
        lesions.append(Lesion(1, (28.0, 24.0, 14.0), 3.2, -0.5))
    if haemorrhage > 0.0:
        radius = (3000.0 * haemorrhage / (4.0 * math.pi)) ** (1.0 / 3.0)
        lesions.append(Lesion(1, (-28.0, -10.0, 12.0), radius, HAEMORRHAGE_CHI))
    return lesions


def bounding_box(region: Tensor) -> tuple[slice, slice, slice] | None:
    """The box around a region, bool (x, y, z), with a margin of one voxel; None for an empty region."""
    inside = region.nonzero()
    if not len(inside):
        return None
    low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
    x, y, z = (slice(max(a - 1, 0), b + 2) for a, b in zip(low, high, strict=True))
    return x, y, z
