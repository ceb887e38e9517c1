"""Heads of random shapes, so that nothing a network learns depends on the template."""

from __future__ import annotations

import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.head import (
    Head,
    add_lesions,
    branching_tubes,
    ellipsoid,
    masked_head,
    positions,
    random_position,
)
from IR2QSMLib.simulation.random_source import RandomSource


def draw_shapes(rng: RandomSource, grid: Grid) -> Head:
    """A head of thresholded noise, ellipsoids, tubes and texture inside an irregular mask.

    Parameters
    ----------
    rng
        The same seed gives the same head.
    grid
        Of the head, which fills it more or less.
    """
    device = rng.device
    p = positions(grid, device)
    half = torch.tensor([0.5 * n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)], device=device)
    radii = half * torch.tensor([rng.uniform(0.6, 1.1) for _ in range(3)], device=device)
    roughness = rng.uniform(0.0, 6.0) * rng.smooth_noise(grid, rng.uniform(4.0, 20.0))
    mask = ellipsoid(p, 0.1 * half * torch.tensor(rng.direction(), device=device), radii, 1.0, roughness) > 0.5

    chi = torch.zeros(grid.shape, device=device)
    for _ in range(rng.integer(2, 6)):
        level = rng.smooth_noise(grid, rng.loguniform(1.5, 15.0))
        edge = rng.uniform(0.05, 0.5)
        share = torch.sigmoid((level - rng.uniform(-1.0, 2.0)) * 4.0 / edge)
        chi = chi + share * (rng.uniform(-0.08, 0.08) - chi * rng.uniform(0.0, 1.0))
    white = torch.sigmoid(6.0 * rng.smooth_noise(grid, rng.uniform(4.0, 12.0)))
    for _ in range(rng.integer(0, 12)):
        r = torch.tensor([rng.loguniform(1.5, 14.0) for _ in range(3)], device=device)
        centre = random_position(rng, mask, p)
        share = ellipsoid(p, centre, r, rng.uniform(0.5, 2.0), rng.uniform(0.0, 1.0) * level)
        chi = chi + share * (rng.uniform(-0.1, 0.2) - chi)
    chi = chi + rng.loguniform(0.001, 0.02) * rng.power_law_noise(grid, rng.uniform(0.8, 2.5))
    veins = branching_tubes(rng, mask, grid, rng.integer(2, 50), (0.25, 2.0))
    chi = chi + veins * (rng.uniform(-0.1, 0.4) - chi)
    chi = add_lesions(rng, chi, p, mask, grid)
    chi = chi * rng.uniform(0.5, 1.5)
    labels = torch.zeros(grid.shape, dtype=torch.int16, device=device)
    return masked_head(chi, mask, white, labels, grid)
