"""What surrounds the brain and shifts the field in it: the head in air, its sinuses and its skull."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.field.background import LaplacianBoundaryValue
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import blur, good_size
from IR2QSMLib.simulation import anatomy
from IR2QSMLib.simulation.oversampling import block_mean, upsample_spline
from IR2QSMLib.simulation.head import ellipsoid, positions, sample_trilinear

AIR, BONE = 9.4, -2.0
"""Susceptibility against water [ppm]: Schenck 1996, doi 10.1118/1.597854."""
CAVITIES = (
    ((0, 80, -12), (17, 6, 11)),
    ((0, 52, -40), (12, 22, 13)),
    ((0, 14, -44), (12, 12, 9)),
    ((0, 35, -66), (13, 36, 18)),
    ((51, -24, -44), (10, 13, 13)),
    ((64, -14, -42), (14, 4, 4)),
    ((33, 48, -66), (12, 15, 14)),
)
"""Air in the head, centre and radii in MNI space [mm], mirrored: frontal, ethmoid and sphenoid sinuses, nose and
pharynx, mastoids, ear canals, maxillary sinuses."""
MARGIN = 48.0
"""Of head and air around the brain's grid [mm]."""


def background(mni: Tensor, depth: Tensor, work: Grid) -> Tensor:
    """Field [ppm] of everything outside the brain after second-order shimming, on the working grid: (x, y, z).

    Voxels of twice the size and a spline hold it, as it is harmonic in the brain.
    """
    step = tuple(2.0 * v for v in work.voxel_size)
    room = round(MARGIN / step[0])
    inner = [n // 2 for n in work.shape]
    shape = [good_size(n + 2 * room, 2) for n in inner]
    start = [(m - n) // 2 for m, n in zip(shape, inner, strict=True)]
    coarse = Grid((shape[0], shape[1], shape[2]), (step[0], step[1], step[2])).with_b0(work.b0_direction)
    where = _continued(torch.stack([block_mean(c, (2, 2, 2)) for c in mni]), coarse, start)
    maps, zero = anatomy.maps()
    below = sample_trilinear(maps[3:], where + zero.view(3, 1, 1, 1))[0]
    field = simulate_field(blur(_surroundings(where, below, step[0]), coarse, 0.85 * step[0]), coarse)
    box = tuple(slice(s, s + n) for s, n in zip(start, inner, strict=True))
    return _shimmed(_harmonic_inside(upsample_spline(field[box]), depth > -3.0, work), depth > 0.0, work)


def _harmonic_inside(field: Tensor, brain: Tensor, work: Grid) -> Tensor:
    """The field made harmonic in the brain from its values at the surface.

    The coarse grid blurs skull and air by up to 5 mm into the brain, where no background removal could take their field
    away again.
    """
    left = LaplacianBoundaryValue()(TotalField(field, brain, work))
    return field - torch.where(left.mask, left.values, 0.0)


def _continued(mni: Tensor, coarse: Grid, start: list[int]) -> Tensor:
    """MNI positions on a grid that reaches beyond the one they are known on: an affine part, and the edge's rest."""
    index = torch.stack(
        torch.meshgrid(*(torch.arange(n) - s for n, s in zip(coarse.shape, start, strict=True)), indexing="ij")
    ).float()
    known = torch.stack(torch.meshgrid(*(torch.arange(n) for n in mni.shape[1:]), indexing="ij")).float()
    columns = torch.cat([known.flatten(1), torch.ones(1, known[0].numel())]).T[::7]
    affine = torch.linalg.lstsq(columns, mni.flatten(1).T[::7]).solution  # (4, 3)

    def straight(at: Tensor) -> Tensor:
        return torch.einsum("ij,ixyz->jxyz", affine[:3], at) + affine[3].view(3, 1, 1, 1)

    return straight(index) + sample_trilinear(mni - straight(known), index)


def _surroundings(p: Tensor, depth: Tensor, soft: float) -> Tensor:
    """χ of the head against air, and of its cavities and skull [ppm]; air around it is 0."""

    def share(level: Tensor) -> Tensor:
        return torch.sigmoid(level * (3.0 / soft))

    x, y, z = p
    neck = torch.minimum(58.0 - ((0.9 * x) ** 2 + (y + 28.0) ** 2).sqrt(), -40.0 - z)
    face = ellipsoid(p, torch.tensor([0.0, 42.0, -48.0]), torch.tensor([60.0, 52.0, 72.0]), 3.0)
    head = torch.maximum(torch.maximum(share(depth + 14.0), share(neck)), face)
    air, mirrored = torch.zeros_like(x), torch.stack([x.abs(), y, z])
    for centre, radii in CAVITIES:
        air = torch.maximum(air, ellipsoid(mirrored, torch.tensor(centre).float(), torch.tensor(radii).float(), 3.0))
    air = air * share(-4.5 - depth)  # the skull's base keeps it off the brain
    bone = share(-3.0 - depth) * share(depth + 8.5) * share(z + 55.0)
    return -AIR * (head - air * head) + BONE * bone * (1.0 - air)


def _shimmed(field: Tensor, brain: Tensor, work: Grid) -> Tensor:
    """The field without the part that is quadratic in position, fitted in the brain."""
    x, y, z = positions(work, field.device) / 50.0
    ring = x * x + y * y
    terms = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, z * z - 0.5 * ring])
    flat = terms[:, brain][:, ::5].T
    weights = torch.linalg.lstsq(flat, field[brain][::5, None]).solution[:, 0]
    return field - torch.einsum("t,txyz->xyz", weights, terms)
