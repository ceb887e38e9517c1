"""A geometric phantom unlike anything in the training data: spheres, rods and cubes of known susceptibility."""

from __future__ import annotations

import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.head import Head, masked_head, positions
from IR2QSMLib.simulation.random_source import RandomSource

BODY_CHI = (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.3, 0.4)
"""χ of the bodies [ppm], in the order of their labels."""


def draw_phantom(rng: RandomSource, grid: Grid) -> Head:
    """A cylinder of liquid that holds a ring of spheres, a ring of rods and a ring of cubes, with sharp edges.

    Only the angle of the rings is random. χ of the liquid varies along z by ±0.02 ppm. Label i is the sphere, the rod
    and the cube of χ = `BODY_CHI[i − 1]`.

    Parameters
    ----------
    rng
        Draws the angle.
    grid
        Of the phantom, which fills its shortest side.
    """
    x, y, z = positions(grid, rng.device)
    half = min(n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)) / 2.0
    mask = ((x**2 + y**2).sqrt() < 0.85 * half) & (z.abs() < 0.8 * half)
    chi = 0.02 * torch.sin(3.0 * torch.pi * z / half)
    labels = torch.zeros(grid.shape, dtype=torch.int16, device=rng.device)
    first_angle, step = rng.uniform(0.0, 2.0 * torch.pi), 2.0 * torch.pi / len(BODY_CHI)
    for i, value in enumerate(BODY_CHI):
        angle = torch.tensor(first_angle + i * step)
        cx, cy = (0.55 * half * torch.cos(angle)).item(), (0.55 * half * torch.sin(angle)).item()
        r = half * (0.05 + 0.01 * i)
        u, v = x - cx, y - cy
        sphere = (u**2 + v**2 + (z - 0.45 * half) ** 2).sqrt() < r
        rod = ((u**2 + z**2).sqrt() < 0.6 * r) & (v.abs() < 2.0 * r)
        cube = torch.maximum(torch.maximum(u.abs(), v.abs()), (z + 0.45 * half).abs()) < 0.8 * r
        inside = sphere | rod | cube
        chi = torch.where(inside, value, chi)
        labels[inside] = i + 1
    return masked_head(chi, mask, torch.zeros_like(chi), labels, grid)
