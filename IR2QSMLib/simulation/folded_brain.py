"""Brains whose cortex, ventricles and nuclei are drawn at random, so that no two have the same folds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation.brain import draw_rotation, tissue_chi
from IR2QSMLib.simulation.head import Head, add_lesions, branching_tubes, ellipsoid, masked_head, positions
from IR2QSMLib.simulation.random_source import RandomSource


@dataclass(frozen=True)
class Cortex:
    """Sizes of a folded cortex [mm]."""

    fold_width: float
    """σ of the noise whose zero level the sulci follow; they lie some three times as far apart."""
    sulcus_width: float
    """Half the width of a sulcus."""
    thickness: float
    """Of grey matter."""
    sulcus_depth: float
    """How deep below the surface sulci reach."""


def draw_folded_brain(rng: RandomSource, grid: Grid, *, tilt: float = 1.0) -> Head:
    """A random brain: folded cortex and cerebellum, fissure, ventricles, paired nuclei, veins and lesions.

    Parameters
    ----------
    rng
        The same seed gives the same brain.
    grid
        Of the head; what does not fit is cut.
    tilt
        The head is rotated by up to 15° about the x axis and 8° about the others, times `tilt`.
    """
    device = rng.device
    p = _head_positions(rng, grid, tilt)
    radii = torch.tensor([rng.uniform(58.0, 76.0), rng.uniform(72.0, 96.0), rng.uniform(52.0, 74.0)], device=device)
    r = sum(((p[a] / radii[a]).square() for a in range(3)), torch.zeros_like(p[0])).sqrt()
    depth = (1.0 - r) * float(radii.min()) + rng.uniform(1.0, 5.0) * rng.smooth_noise(grid, rng.uniform(12.0, 28.0))
    grey, white = _tissues(rng, grid, p, depth)
    chi = tissue_chi(rng, grid, grey, white)
    for _ in range(rng.integer(3, 10)):
        chi, white = _add_pair(rng, grid, p, chi, white)
    mask = depth > rng.uniform(0.0, 4.0) + rng.uniform(0.0, 1.5) * rng.smooth_noise(grid, rng.uniform(2.0, 6.0))
    if bool(mask.any()):
        veins = branching_tubes(rng, mask, grid, rng.integer(15, 80), (0.25, rng.uniform(1.0, 2.5)))
        chi = chi + veins * (rng.uniform(0.1, 0.45) - chi)
        chi = add_lesions(rng, chi, p, mask, grid)
    chi = chi * rng.uniform(0.7, 1.5)
    labels = torch.zeros(grid.shape, dtype=torch.int16, device=device)
    return masked_head(chi, mask, white, labels, grid)


def _head_positions(rng: RandomSource, grid: Grid, tilt: float) -> Tensor:
    """Positions relative to a head's centre, rotated and displaced [mm]: (3, x, y, z)."""
    p = torch.einsum("ij,jxyz->ixyz", draw_rotation(rng, tilt), positions(grid, rng.device))
    extent = [n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    shift = [
        rng.uniform(-1.0, 1.0) * max(3.0, 0.5 * (s - e)) for e, s in zip(extent, (140.0, 175.0, 145.0), strict=True)
    ]
    p = p + torch.tensor(shift, device=rng.device).view(3, 1, 1, 1)
    return p + rng.uniform(0.0, 3.0) * torch.stack([rng.smooth_noise(grid, 20.0) for _ in range(3)])


def _tissues(rng: RandomSource, grid: Grid, p: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of grey and of white matter: (x, y, z) each."""
    size = max(grid.voxel_size)
    cerebrum = Cortex(rng.uniform(2.5, 5.5), rng.uniform(0.1, 1.5), rng.uniform(2.0, 4.5), rng.uniform(8.0, 26.0))
    cerebellum = Cortex(rng.uniform(1.0, 2.2), rng.uniform(0.0, 0.6), rng.uniform(0.8, 2.5), rng.uniform(8.0, 20.0))
    below = torch.sigmoid((-p[2] - rng.uniform(20.0, 35.0) - 0.5 * (p[1] + rng.uniform(20.0, 40.0))) / 2.0)
    csf, grey = (
        torch.lerp(x, y, below)
        for x, y in zip(_folded(rng, grid, p, depth, cerebrum), _folded(rng, grid, p, depth, cerebellum), strict=True)
    )
    fluid = _ventricles(rng, grid, p)
    csf = 1.0 - (1.0 - csf) * (1.0 - fluid) * torch.sigmoid(depth * (4.0 / size))
    grey = grey * (1.0 - csf)
    return grey, (1.0 - csf - grey).clamp_min(0.0)


def _folded(rng: RandomSource, grid: Grid, p: Tensor, depth: Tensor, cortex: Cortex) -> tuple[Tensor, Tensor]:
    """Share of fluid in the sulci, and of grey matter in what is left: (x, y, z) each."""
    noise = rng.normal(*grid.shape)
    noise = noise + rng.uniform(0.0, 1.0) * noise.flip(0)  # both halves are folded alike, more or less
    level = blur(noise, grid, cortex.fold_width) - blur(noise, grid, 2.0 * cortex.fold_width)
    slope = torch.stack(torch.gradient(level, spacing=list(grid.voxel_size))).norm(dim=0)
    distance = level.abs() / (slope + 0.2 * slope.mean())
    distance = distance + (depth - cortex.sulcus_depth - 3.0 * rng.smooth_noise(grid, 12.0)).clamp_min(0.0)
    fissure = (p[0] + 1.5 * rng.smooth_noise(grid, 15.0)).abs() + (depth - 40.0).clamp_min(0.0)
    distance = torch.minimum(distance, fissure + (-p[2] - rng.uniform(-10.0, 20.0)).clamp_min(0.0))
    soft = 4.0 / max(grid.voxel_size)
    width = cortex.sulcus_width * (1.0 + 0.4 * rng.smooth_noise(grid, 10.0))
    thickness = cortex.thickness * (1.0 + 0.2 * rng.smooth_noise(grid, 6.0))
    fluid = torch.sigmoid((width - distance) * soft)
    return fluid, torch.sigmoid((thickness - torch.minimum(distance - width, depth)) * soft)


def _ventricles(rng: RandomSource, grid: Grid, p: Tensor) -> Tensor:
    """Share of fluid in a pair of lateral ventricles and a slit between them: (x, y, z)."""
    device, rough = p.device, rng.uniform(0.0, 2.0) * rng.smooth_noise(grid, 4.0)
    mirrored = torch.cat([p[:1].abs(), p[1:]])
    centre = torch.tensor([rng.uniform(6.0, 15.0), rng.uniform(-15.0, 10.0), rng.uniform(2.0, 18.0)], device=device)
    radii = torch.tensor([rng.uniform(2.5, 9.0), rng.uniform(18.0, 38.0), rng.uniform(3.0, 11.0)], device=device)
    slit = torch.tensor([rng.uniform(0.8, 3.5), rng.uniform(8.0, 16.0), rng.uniform(6.0, 14.0)], device=device)
    lateral = ellipsoid(mirrored, centre, radii, 1.0, rough)
    return torch.maximum(lateral, ellipsoid(p, centre * torch.tensor([0.0, 1.0, -0.5], device=device), slit, 1.0))


def _add_pair(rng: RandomSource, grid: Grid, p: Tensor, chi: Tensor, white: Tensor) -> tuple[Tensor, Tensor]:
    """The map and the share of white matter with one more nucleus on either side."""
    device = p.device
    centre = torch.tensor([rng.uniform(2.0, 34.0), rng.uniform(-60.0, 28.0), rng.uniform(-36.0, 24.0)], device=device)
    radii = torch.tensor([rng.loguniform(2.5, 13.0) for _ in range(3)], device=device)
    axis = normalize(rng.normal(3), dim=0).view(3, 1, 1, 1)
    mirrored = torch.cat([p[:1].abs(), p[1:]]) - centre.view(3, 1, 1, 1)
    bent = mirrored + rng.uniform(-0.03, 0.03) * (mirrored * axis).sum(0).square() * axis.roll(1, 0)
    rough = 0.3 * float(radii.min()) * rng.smooth_noise(grid, rng.uniform(1.5, 4.0))
    share = ellipsoid(bent, torch.zeros(3, device=device), radii, rng.uniform(0.7, 2.5), rough)
    value = rng.uniform(-0.03, 0.22) * (1.0 + rng.uniform(-0.2, 0.2) * torch.sign(p[0]))
    value = value * (1.0 + rng.uniform(0.0, 0.3) * rng.smooth_noise(grid, 2.5))
    return torch.lerp(chi, value, share), white * (1.0 - share)
