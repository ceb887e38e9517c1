"""A simulated head, and the sources that all constructions share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

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
    """A head whose maps are zero outside the mask, and whose χ has zero mean inside it.

    Parameters
    ----------
    chi
        χ [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).
    white
        Share of white matter: (x, y, z).
    labels
        Deep grey nuclei by number: (x, y, z).
    grid
        Of all maps.
    """
    mean = chi[mask].mean() if bool(mask.any()) else chi.new_zeros(())
    return Head(torch.where(mask, chi - mean, 0.0), mask, white * mask, labels * mask, grid)


def positions(grid: Grid, device: torch.device) -> Tensor:
    """Distance of every voxel from the grid's centre along each voxel axis [mm]: (3, x, y, z)."""
    axes = [
        (torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2) * v
        for n, v in zip(grid.shape, grid.voxel_size, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample_trilinear(maps: Tensor, index: Tensor) -> Tensor:
    """Trilinear interpolation of (c, x, y, z) at voxel indices (3, x, y, z); beyond a face, the values on it."""
    size = torch.tensor(maps.shape[1:], device=maps.device).view(3, 1, 1, 1)
    normalised = (2.0 * index / (size - 1) - 1.0).flip(0).permute(1, 2, 3, 0)
    return grid_sample(maps[None], normalised[None], align_corners=True, padding_mode="border")[0]


def ellipsoid(p: Tensor, centre: Tensor, radii: Tensor, softness: float, roughness: Tensor | float = 0.0) -> Tensor:
    """Share of each voxel inside an ellipsoid with a soft, rough boundary.

    Parameters
    ----------
    p
        Positions [mm]: (3, x, y, z).
    centre, radii
        Of the ellipsoid [mm]: (3).
    softness
        Width of the boundary [mm].
    roughness
        Distance by which the boundary is moved outwards [mm]: (x, y, z) or a number.

    Returns
    -------
    Tensor
        0 to 1: (x, y, z).
    """
    r2 = torch.zeros_like(p[0])
    for a in range(3):
        r2 += ((p[a] - centre[a]) / radii[a]).square_()
    depth = (1.0 - r2.sqrt_()) * radii.min() + roughness
    return torch.sigmoid(depth * (4.0 / softness))


def random_position(rng: RandomSource, mask: Tensor, p: Tensor) -> Tensor:
    """Position, out of `p` (3, x, y, z), of a random voxel of the mask: (3)."""
    inside = mask.nonzero()
    x, y, z = inside[rng.integer(0, len(inside) - 1)].tolist()
    return p[:, x, y, z]


def branching_tubes(rng: RandomSource, mask: Tensor, grid: Grid, n: int, radius: tuple[float, float]) -> Tensor:
    """Share of each voxel inside branching tubes, which look like veins.

    `n` tubes start in the mask, bend at random and become thinner; then `n` more branch off them.

    Parameters
    ----------
    rng
        Draws starts, directions, bends, lengths and radii.
    mask
        Where tubes may start, bool: (x, y, z).
    grid
        Of the mask.
    n
        Number of tubes, and of branches.
    radius
        Least and largest radius at the start [mm].

    Returns
    -------
    Tensor
        0 to 1: (x, y, z).
    """
    device = mask.device
    size = torch.tensor(grid.voxel_size, dtype=torch.float32, device=device)
    inside = mask.nonzero().float()
    position = inside[(rng.rand(n) * len(inside)).long()] * size
    heading = normalize(rng.normal(n, 3), dim=1)
    thickness = radius[0] * (radius[1] / radius[0]) ** rng.rand(n)
    points: list[Tensor] = []
    step = 0.6 * float(size.min())
    for generation in range(2):
        n_steps = rng.integer(40, 110)
        bend = rng.uniform(0.05, 0.3)
        for i in range(n_steps):
            heading = normalize(heading + bend * rng.normal(len(heading), 3), dim=1)
            position = position + step * heading
            points.append(torch.cat([position, (thickness * (1.0 - 0.5 * i / n_steps)).view(-1, 1)], dim=1))
        if generation == 0:
            parents = torch.cat(points)[(rng.rand(n) * n * n_steps).long()]
            position, thickness = parents[:, :3], 0.7 * parents[:, 3]
            heading = normalize(rng.normal(n, 3), dim=1)
    return union_of_spheres(torch.cat(points), grid)


def union_of_spheres(spheres: Tensor, grid: Grid) -> Tensor:
    """Share of each voxel inside any of the spheres, whose edges are soft.

    Parameters
    ----------
    spheres
        Centre, from the first voxel's centre along the voxel axes, and radius [mm]: (n, 4).
    grid
        Its shape and voxel sizes.

    Returns
    -------
    Tensor
        0 to 1: (x, y, z).
    """
    size = torch.tensor(grid.voxel_size, dtype=torch.float32, device=spheres.device)
    reach = [int(min(4.0, float(spheres[:, 3].max()) / float(v) + 1.0)) for v in size]
    offsets = torch.cartesian_prod(*(torch.arange(-r, r + 1, device=spheres.device) for r in reach))
    out = torch.zeros(grid.shape, device=spheres.device).view(-1)
    shape = torch.tensor(grid.shape, device=spheres.device)
    nearest = (spheres[:, :3] / size).round().long()
    for start in range(0, len(spheres), 20000):  # all at once would take gigabytes
        chunk = spheres[start : start + 20000, None]
        index = nearest[start : start + 20000, None] + offsets
        distance = (index * size - chunk[..., :3]).norm(dim=-1)
        share = torch.sigmoid((chunk[..., 3] - distance) * 4.0 / size.mean())
        on_grid = ((index >= 0) & (index < shape)).all(-1)
        flat = (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2]
        out.scatter_reduce_(0, flat[on_grid], share[on_grid], "amax")
    return out.view(grid.shape)


def add_lesions(rng: RandomSource, chi: Tensor, p: Tensor, mask: Tensor, grid: Grid) -> Tensor:
    """A map with microbleeds, a haemorrhage and calcifications of 0.15 to 1 ppm, each kind in a quarter of heads or so.

    Parameters
    ----------
    rng
        Draws which lesions there are, where, and of what size and susceptibility.
    chi
        χ [ppm]: (x, y, z).
    p
        Positions [mm]: (3, x, y, z).
    mask
        Where their centres lie, bool: (x, y, z).
    grid
        Of the map.
    """
    device = chi.device
    haemorrhage = rng.chance(0.25)
    # Number, radius [mm], |χ| [ppm] and its sign.
    lesions = (
        (rng.integer(0, 4) if rng.chance(0.4) else 0, (0.8, 2.0), (0.15, 0.8), 1.0),
        (1 if haemorrhage else 0, (3.0, 11.0), (0.25, 1.0), 1.0),
        (rng.integer(1, 2) if rng.chance(0.3) else 0, (1.0, 5.0), (0.15, 0.9), -1.0),
    )
    for n, radii, magnitude, sign in lesions:
        for _ in range(n):
            centre = random_position(rng, mask, p)
            r = torch.tensor([rng.loguniform(*radii) * rng.uniform(0.8, 1.25) for _ in range(3)], device=device)
            smallest = float(r.min())
            roughness: Tensor | float = 0.0
            if smallest > 2.0:
                roughness = 0.3 * smallest * rng.smooth_noise(grid, max(1.5, 0.5 * smallest))
            share = ellipsoid(p, centre, r, rng.uniform(0.7, 2.0) * max(grid.voxel_size), roughness)
            inner: Tensor | float = sign * rng.uniform(*magnitude)
            if smallest > 3.0:
                inner = inner * (1.0 + 0.3 * rng.smooth_noise(grid, 2.0)).clamp_min(0.2)
            chi = chi + share * (inner - chi)
    return chi
