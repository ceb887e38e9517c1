"""A simulated head: what every construction returns, and the sources they share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.random_source import RandomSource


@dataclass(frozen=True)
class Head:
    """A susceptibility map and what a simulated acquisition of it needs."""

    chi: Tensor
    """χ [ppm], zero outside the mask and of zero mean inside it: (x, y, z)."""
    mask: Tensor
    """Where the local field is known, bool: (x, y, z)."""
    white: Tensor
    """Share of white matter, 0 to 1: (x, y, z)."""
    labels: Tensor
    """Deep grey nuclei by number, 0 elsewhere, int16: (x, y, z)."""
    grid: Grid
    veins: Tensor | None = None
    """Share of veins, 0 to 1: (x, y, z); None where the construction does not say."""
    lesions: Tensor | None = None
    """Lesions by number, 0 elsewhere, int16: (x, y, z); None where the construction does not say."""


def masked_head(chi: Tensor, mask: Tensor, white: Tensor, labels: Tensor, grid: Grid) -> Head:
    """Mask the map and remove its mean."""
    mean = chi[mask].mean() if bool(mask.any()) else chi.new_zeros(())
    return Head(torch.where(mask, chi - mean, 0.0), mask, white * mask, labels * mask, grid)


def positions(grid: Grid, device: torch.device) -> Tensor:
    """Distance [mm] of every voxel from the grid's centre along each voxel axis: (3, x, y, z)."""
    axes = [
        (torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2) * v
        for n, v in zip(grid.shape, grid.voxel_size, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample_trilinear(maps: Tensor, index: Tensor) -> Tensor:
    """Trilinear values of (c, x, y, z) at voxel indices (3, x, y, z); beyond the edge, the edge's."""
    size = torch.tensor(maps.shape[1:], device=maps.device).view(3, 1, 1, 1)
    where = (2.0 * index / (size - 1) - 1.0).flip(0).permute(1, 2, 3, 0)
    return grid_sample(maps[None], where[None], align_corners=True, padding_mode="border")[0]


def ellipsoid(p: Tensor, centre: Tensor, radii: Tensor, softness: float, rough: Tensor | float = 0.0) -> Tensor:
    """Share of each voxel inside an ellipsoid with a soft, rough boundary: (x, y, z), 0 to 1.

    `p` (3, x, y, z), `centre` (3), `radii` (3) and `softness` in mm; `rough` moves the boundary, in mm.
    """
    r2 = torch.zeros_like(p[0])
    for a in range(3):
        r2 += ((p[a] - centre[a]) / radii[a]).square_()
    depth = (1.0 - r2.sqrt_()) * radii.min() + rough
    return torch.sigmoid(depth * (4.0 / softness))


def random_position(rng: RandomSource, mask: Tensor, p: Tensor) -> Tensor:
    """Position, out of `p` (3, x, y, z), of a random voxel of the mask: (3)."""
    found = mask.nonzero()
    x, y, z = found[rng.integer(0, len(found) - 1)].tolist()
    return p[:, x, y, z]


def branching_tubes(rng: RandomSource, mask: Tensor, grid: Grid, n: int, radius: tuple[float, float]) -> Tensor:
    """Branching tubes, as veins are: share of each voxel inside one, (x, y, z).

    `n` walkers start in the mask, keep their direction with a random bend, thin out, and half of them branch
    off an earlier one; `radius` [mm] bounds the thickness at the start.
    """
    device = mask.device
    size = torch.tensor(grid.voxel_size, dtype=torch.float32, device=device)
    found = mask.nonzero().float()
    where = found[(rng.rand(n) * len(found)).long()] * size
    heading = torch.nn.functional.normalize(rng.normal(n, 3), dim=1)
    thickness = radius[0] * (radius[1] / radius[0]) ** rng.rand(n)
    points: list[Tensor] = []
    step = 0.6 * float(size.min())
    for generation in range(2):
        n_steps = rng.integer(40, 110)
        bend = rng.uniform(0.05, 0.3)
        for i in range(n_steps):
            heading = torch.nn.functional.normalize(heading + bend * rng.normal(len(heading), 3), dim=1)
            where = where + step * heading
            points.append(torch.cat([where, (thickness * (1.0 - 0.5 * i / n_steps)).view(-1, 1)], dim=1))
        if generation == 0:
            parents = torch.cat(points)[(rng.rand(n) * n * n_steps).long()]
            where, thickness = parents[:, :3], 0.7 * parents[:, 3]
            heading = torch.nn.functional.normalize(rng.normal(n, 3), dim=1)
    return union_of_spheres(torch.cat(points), grid)


def union_of_spheres(points: Tensor, grid: Grid) -> Tensor:
    """Union of balls, (n, 4) of position [mm] and radius [mm], with soft edges: (x, y, z), 0 to 1."""
    size = torch.tensor(grid.voxel_size, dtype=torch.float32, device=points.device)
    reach = [int(min(4.0, float(points[:, 3].max()) / float(v) + 1.0)) for v in size]
    offsets = torch.cartesian_prod(*(torch.arange(-r, r + 1, device=points.device) for r in reach))
    out = torch.zeros(grid.shape, device=points.device).view(-1)
    shape = torch.tensor(grid.shape, device=points.device)
    nearest = (points[:, :3] / size).round().long()
    for part in range(0, len(points), 20000):
        index = nearest[part : part + 20000, None] + offsets
        distance = (index * size - points[part : part + 20000, None, :3]).norm(dim=-1)
        share = torch.sigmoid((points[part : part + 20000, None, 3] - distance) * 4.0 / size.mean())
        ok = ((index >= 0) & (index < shape)).all(-1)
        flat = (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2]
        out.scatter_reduce_(0, flat[ok], share[ok], "amax")
    return out.view(grid.shape)


def add_lesions(rng: RandomSource, chi: Tensor, p: Tensor, mask: Tensor, grid: Grid) -> Tensor:
    """Now and then microbleeds, haemorrhages and calcifications, 0.2 to 1 ppm in magnitude."""
    device = chi.device
    bleed = rng.chance(0.25)
    counts = (
        (rng.integer(0, 4) if rng.chance(0.4) else 0, (0.8, 2.0), (0.15, 0.8), 1.0),
        (1 if bleed else 0, (3.0, 11.0), (0.25, 1.0), 1.0),
        (rng.integer(1, 2) if rng.chance(0.3) else 0, (1.0, 5.0), (0.15, 0.9), -1.0),
    )
    for n, radii, strength, sign in counts:
        for _ in range(n):
            centre = random_position(rng, mask, p)
            r = torch.tensor([rng.loguniform(*radii) * rng.uniform(0.8, 1.25) for _ in range(3)], device=device)
            smallest = float(r.min())
            rough: Tensor | float = 0.0
            if smallest > 2.0:
                rough = 0.3 * smallest * rng.smooth(grid, max(1.5, 0.5 * smallest))
            share = ellipsoid(p, centre, r, rng.uniform(0.7, 2.0) * max(grid.voxel_size), rough)
            inner: Tensor | float = sign * rng.uniform(*strength)
            if smallest > 3.0:
                inner = inner * (1.0 + 0.3 * rng.smooth(grid, 2.0)).clamp_min(0.2)
            chi = chi + share * (inner - chi)
    return chi
