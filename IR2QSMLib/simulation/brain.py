"""Brains drawn from the ICBM 152 maps: deformed, and filled with susceptibility at random.

The maps give folding and proportions; every value of susceptibility is drawn. No measured susceptibility map is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation.head import (
    Head,
    add_lesions,
    branching_tubes,
    ellipsoid,
    masked_head,
    positions,
    sample_trilinear,
)
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.template import cropped_template


@dataclass(frozen=True)
class Nucleus:
    """A deep grey nucleus: an ellipsoid in MNI space and its range of susceptibility."""

    name: str
    centre: tuple[float, float, float]
    """Of the right one [mm]; the left one mirrors it."""
    radii: tuple[float, float, float]
    """[mm]"""
    chi: tuple[float, float]
    """Least and largest χ [ppm]."""


NUCLEI = (
    Nucleus("thalamus", (11.0, -18.0, 8.0), (7.5, 13.0, 8.0), (-0.01, 0.03)),
    Nucleus("caudate", (12.5, 13.0, 8.0), (4.5, 9.0, 8.5), (0.02, 0.09)),
    Nucleus("putamen", (26.0, 3.0, 0.0), (5.0, 14.0, 9.0), (0.02, 0.11)),
    Nucleus("pallidum", (19.0, -3.0, -2.0), (4.2, 8.0, 6.0), (0.08, 0.22)),
    Nucleus("subthalamic nucleus", (11.0, -13.0, -7.5), (3.0, 4.5, 2.5), (0.04, 0.16)),
    Nucleus("substantia nigra", (10.0, -18.0, -12.0), (3.0, 6.0, 4.0), (0.06, 0.20)),
    Nucleus("red nucleus", (5.0, -21.0, -9.0), (3.0, 3.3, 4.0), (0.05, 0.17)),
    Nucleus("dentate nucleus", (15.0, -58.0, -33.0), (6.0, 8.0, 5.0), (0.04, 0.15)),
)
"""In the order of their labels, from 1 on."""


def draw_brain(rng: RandomSource, grid: Grid, *, lesions: bool = True, tilt: float = 1.0, sharp: bool = False) -> Head:
    """A random brain: tissue means with smooth modulation, texture, nuclei, veins and lesions.

    The mask is eroded by 0 to 4 mm, and its edge is irregular.

    Parameters
    ----------
    rng
        The same seed gives the same brain.
    grid
        Its voxel axes are right, anterior and superior but for the head's rotation.
    lesions
        Whether there may be microbleeds, haemorrhages and calcifications.
    tilt
        The head is rotated by up to 15° about the x axis and 8° about the others, times `tilt`.
    sharp
        Whether tissues have sharp boundaries, rough by a random amount, and a wider range of susceptibility; else the
        boundaries are as soft as the template's, a mean over 152 people.

    Raises
    ------
    PackageMissing
        Without nilearn.
    """
    device = rng.device
    maps, origin = cropped_template(str(device))
    mni = _deformed_positions(rng, positions(grid, device), grid, tilt)
    grey, white, t1, depth = sample_trilinear(maps, mni + origin.view(3, 1, 1, 1))
    if sharp:
        grey, white = _sharpened(rng, grid, grey, white)
        chi = tissue_chi(rng, grid, grey, white)
    else:
        chi = _soft_tissue_chi(rng, grid, grey, white)
    chi = chi + rng.uniform(-0.1, 0.1) * (t1 - blur(t1, grid, 3.0))
    chi, labels = _add_nuclei(rng, chi, mni, grid)
    if not sharp:
        chi = chi + _texture(rng, grid, grey, white)
    erosion, irregularity = rng.uniform(0.0, 4.0), rng.uniform(0.0, 1.5)
    mask = depth > erosion + irregularity * rng.smooth_noise(grid, rng.uniform(2.0, 6.0))
    if bool(mask.any()):
        veins = branching_tubes(rng, mask, grid, rng.integer(15, 70), (0.25, 1.6))
        chi = chi + veins * (rng.uniform(0.1, 0.4) - chi)
        if lesions:
            chi = add_lesions(rng, chi, mni, mask, grid)
    chi = chi * rng.uniform(0.7, 1.4)
    return masked_head(chi, mask, white, labels, grid)


def tissue_chi(rng: RandomSource, grid: Grid, grey: Tensor, white: Tensor) -> Tensor:
    """χ of the tissues [ppm]: their means, slow and fast modulation of each, and noise of several scales.

    The spread inside a region of maps from several orientations is 0.01 to 0.04 ppm at 1 mm (Lim 2013, doi
    10.1016/j.neuroimage.2013.06.004), of which noise is a part.

    Parameters
    ----------
    rng
        Draws all of it.
    grid
        Of the maps.
    grey, white
        Shares of tissue; the rest is fluid: (x, y, z).
    """

    def tissue(mean: float, spread: float) -> Tensor:
        slow = rng.smooth_noise(grid, rng.loguniform(5.0, 35.0))
        fast = rng.smooth_noise(grid, rng.loguniform(1.5, 6.0))
        grain = rng.loguniform(0.001, 0.02) * rng.power_law_noise(grid, rng.uniform(0.3, 2.0))
        return mean + spread * (slow + rng.uniform(0.0, 1.0) * fast) + grain

    return (
        grey * tissue(rng.uniform(-0.01, 0.06), rng.loguniform(0.003, 0.03))
        + white * tissue(rng.uniform(-0.07, 0.0), rng.loguniform(0.003, 0.03))
        + (1.0 - grey - white) * tissue(rng.uniform(-0.03, 0.03), rng.loguniform(0.001, 0.01))
    )


def _soft_tissue_chi(rng: RandomSource, grid: Grid, grey: Tensor, white: Tensor) -> Tensor:
    """χ of the template's tissues [ppm], their means with smooth modulation: (x, y, z)."""

    def modulated(mean: float, spread: float) -> Tensor:
        return mean + spread * rng.smooth_noise(grid, rng.uniform(4.0, 20.0))

    csf = (1.0 - grey - white).clamp(0.0, 1.0)
    return (
        grey * modulated(rng.uniform(0.0, 0.05), rng.uniform(0.002, 0.02))
        + white * modulated(rng.uniform(-0.06, -0.005), rng.uniform(0.002, 0.02))
        + csf * modulated(rng.uniform(-0.03, 0.03), rng.uniform(0.001, 0.01))
    )


def _sharpened(rng: RandomSource, grid: Grid, grey: Tensor, white: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of grey and white matter with sharp, rough boundaries: (x, y, z) each."""
    sharpness, roughness, width = rng.uniform(1.5, 6.0), rng.uniform(0.0, 0.7), rng.loguniform(1.0, 5.0)
    shares = (grey, white, (1.0 - grey - white).clamp(0.0, 1.0))
    logits = [sharpness * ((share + 0.03).log() + roughness * rng.smooth_noise(grid, width)) for share in shares]
    grey, white, _ = torch.softmax(torch.stack(logits), dim=0)
    return grey, white


def draw_rotation(rng: RandomSource, tilt: float) -> Tensor:
    """Matrix (3, 3) of a rotation by up to 15° about the x axis and 8° about the others, times `tilt`."""
    return _rotation([math.radians(tilt * rng.uniform(-limit, limit)) for limit in (15, 8, 8)], rng.device)


def _rotation(angles: list[float], device: torch.device) -> Tensor:
    """Matrix (3, 3) of rotations about the x, y and z axis [rad]."""
    out = torch.eye(3, device=device)
    for axis, angle in enumerate(angles):
        i, j = [a for a in range(3) if a != axis]
        about_axis = torch.eye(3, device=device)
        about_axis[i, i] = about_axis[j, j] = math.cos(angle)
        about_axis[i, j], about_axis[j, i] = -math.sin(angle), math.sin(angle)
        out = out @ about_axis
    return out


def _deformed_positions(rng: RandomSource, p: Tensor, grid: Grid, tilt: float) -> Tensor:
    """Positions on the grid to positions in MNI space [mm]: a random affine map and a smooth displacement."""
    rotation = draw_rotation(rng, tilt)
    scale = torch.tensor([rng.uniform(0.88, 1.18) for _ in range(3)], device=p.device)
    shear = torch.eye(3, device=p.device) + 0.03 * torch.triu(rng.normal(3, 3), 1)
    affine = torch.diag(1.0 / scale) @ shear @ rotation
    extent = [n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    middle = torch.tensor([0.0, -18.0, 8.0], device=p.device)
    # What does not fit a small grid is cut, at a place that changes from head to head.
    shift = torch.tensor(
        [rng.uniform(-1, 1) * max(3.0, 0.5 * (s - e)) for e, s in zip(extent, (140, 175, 145), strict=True)],
        device=p.device,
    )
    mni = torch.einsum("ij,jxyz->ixyz", affine, p) + (middle + shift).view(3, 1, 1, 1)
    for width, size in ((25.0, rng.uniform(0.0, 4.0)), (9.0, rng.uniform(0.0, 1.5))):
        mni = mni + size * torch.stack([rng.smooth_noise(grid, width) for _ in range(3)])
    return mni


def _add_nuclei(rng: RandomSource, chi: Tensor, mni: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """The map with nuclei, and their labels."""
    labels = torch.zeros(grid.shape, dtype=torch.int16, device=chi.device)
    roughness = rng.smooth_noise(grid, 2.5) * rng.uniform(0.2, 1.2)
    modulation = rng.smooth_noise(grid, 2.5)
    mirrored = torch.cat([mni[:1].abs(), mni[1:]])
    side = torch.sign(mni[0])
    for number, nucleus in enumerate(NUCLEI, start=1):
        value = rng.uniform(*nucleus.chi)
        centre = torch.tensor([c + rng.uniform(-1.5, 1.5) for c in nucleus.centre], device=chi.device)
        radii = torch.tensor([r * rng.uniform(0.8, 1.2) for r in nucleus.radii], device=chi.device)
        share = ellipsoid(mirrored, centre, radii, rng.uniform(0.7, 2.0), roughness)
        inner = value * (1.0 + rng.uniform(-0.15, 0.15) * side + rng.uniform(0.0, 0.2) * modulation)
        chi = torch.lerp(chi, inner, share)
        labels[share > 0.5] = number
    return chi, labels


def _texture(rng: RandomSource, grid: Grid, grey: Tensor, white: Tensor) -> Tensor:
    """Noise of several scales [ppm], weighted by tissue: (x, y, z)."""
    fine = rng.loguniform(0.001, 0.015) * rng.power_law_noise(grid, rng.uniform(1.0, 2.5))
    coarse = rng.loguniform(0.001, 0.010) * rng.smooth_noise(grid, rng.uniform(0.8, 3.0))
    weight = rng.uniform(0.3, 1.0) + grey * rng.uniform(0.0, 0.7) + white * rng.uniform(0.0, 0.7)
    return weight * (fine + coarse)
