"""The venous tree of the held-out brain: deep veins, medullary veins and cortical veins, in MNI space."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.simulation.random_source import RandomSource

# Right-hand courses, mirrored; x, y, z and radius [mm]. After Ono 1984, Microsurgical anatomy of the deep venous
# system (doi 10.3171/jns.1984.60.4.0684), calibres as seen by susceptibility-weighted imaging.
PAIRED = (
    ((2.5, 3, 14, 0.9), (2.6, -8, 15.5, 1.0), (2.6, -20, 13, 1.1), (2.0, -30, 10, 1.2), (0.5, -38, 8, 1.5)),
    ((2.5, 3, 14, 0.9), (8, 6, 17, 0.7), (15, 2, 20, 0.6), (18, -8, 21, 0.5), (20, -18, 21, 0.4)),
    ((2.5, 3, 14, 0.7), (3, 14, 14, 0.6), (5, 24, 10, 0.5), (9, 30, 12, 0.35)),
    ((9, -2, -14, 0.7), (13, -12, -13, 0.8), (16, -22, -8, 0.9), (10, -32, 2, 1.0), (1, -38, 8, 1.2)),
    ((27, -44, 10, 0.5), (18, -40, 12, 0.7), (8, -39, 11, 0.9), (1, -38, 9, 1.1)),
    ((3, -27, -4, 0.4), (3, -33, 2, 0.6), (1, -38, 8, 0.8)),
)
MIDLINE = (((0, -37, 8, 1.7), (0, -44, 9, 2.0), (0, -58, 2, 2.2), (0, -76, -6, 2.6), (0, -92, -12, 3.0)),)
"""The vein of Galen and the straight sinus."""
STEP = 0.3
"""Distance between a vein's points [mm]."""


def veins(rng: RandomSource, mni: Tensor, depth: Tensor, white: Tensor, csf: Tensor) -> Tensor:
    """Indices, in voxels of the grid that `mni` (3, x, y, z) [mm] is given on, and radius [mm] of the tree: (n, 4).

    `depth` below the brain's surface [mm], shares of white matter and fluid: (x, y, z). Deep veins follow their
    anatomy; medullary veins run from the white matter to the ventricles; cortical veins climb in the sulci to the
    superior sagittal sinus, which follows the midline along the brain's upper edge.
    """
    deep = [_course(rng, line, side) for line in PAIRED for side in (-1.0, 1.0)]
    deep += [_course(rng, line, 1.0) for line in MIDLINE]
    points = [_located(torch.cat(deep), mni)]
    points += [_medullary(rng, mni, depth, white), _cortical(rng, mni, depth, csf), _sagittal(mni, depth)]
    return torch.cat([p for p in points if len(p)])


def _course(rng: RandomSource, line: tuple[tuple[float, ...], ...], side: float) -> Tensor:
    """Points along a bent line, each support moved by about a millimetre."""
    knots = torch.tensor(line, dtype=torch.float32)
    knots[:, 0] *= side
    knots[:, :3] += 0.8 * rng.normal(len(knots), 3).cpu()
    knots[:, 3] *= rng.uniform(0.8, 1.2)
    n = 40 * (len(knots) - 1) + 1
    fine = torch.nn.functional.interpolate(knots.T[None], size=n, mode="linear", align_corners=True)[0]
    soft = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(fine[None], (12, 12), mode="replicate"), 25, 1)[0]
    return soft.T


def _located(points: Tensor, mni: Tensor) -> Tensor:
    """Where points of MNI space lie on a grid that carries its MNI positions; those beyond it are left out.

    The deformation is smooth, so a few fixed-point steps with its mean scale find the place.
    """
    shape = torch.tensor(mni.shape[1:])
    middle = (shape - 1) / 2
    centre = [int(n) // 2 for n in mni.shape[1:]]
    axes = [mni.narrow(a + 1, centre[a] + 1, 1) - mni.narrow(a + 1, centre[a] - 1, 1) for a in range(3)]
    jacobian = torch.stack([0.5 * d.flatten(1).mean(1) for d in axes], dim=1)
    inverse = torch.linalg.inv(jacobian)
    index = middle + (points[:, :3] - mni[:, centre[0], centre[1], centre[2]]) @ inverse.T
    for _ in range(12):
        near = index.round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=shape - 1)
        there = mni[:, near[:, 0], near[:, 1], near[:, 2]].T + (index - near) @ jacobian.T
        index = index + (points[:, :3] - there) @ inverse.T
    inside = ((index >= 0) & (index <= shape - 1)).all(1)
    return torch.cat([index, points[:, 3:]], dim=1)[inside]


def _medullary(rng: RandomSource, mni: Tensor, depth: Tensor, white: Tensor) -> Tensor:
    """Straight thin veins of the deep white matter, from 6 to 25 mm above the lateral ventricles down to them."""
    ok = (white > 0.8) & (mni[2] > 5.0) & (mni[2] < 45.0) & (mni[0].abs() > 8.0) & (depth > 8.0)
    found = ok.nonzero().float()
    if not len(found):
        return torch.zeros(0, 4)
    n = 260
    start = found[(rng.rand(n) * len(found)).long()]
    i, j, k = start.long().T
    here = mni[:, i, j, k].T
    aim = torch.stack([here[:, 0].sign() * 14.0, here[:, 1] * 0.85, torch.full_like(here[:, 0], 19.0)], 1)
    heading = torch.nn.functional.normalize(aim - here, dim=1)
    scale = _mm(mni)
    out, radius = [], 0.18 + 0.22 * rng.rand(n, 1)
    where = start
    for _ in range(int(22.0 / STEP)):
        heading = torch.nn.functional.normalize(heading + 0.04 * rng.normal(n, 3), dim=1)
        where = where + heading * STEP / scale
        near = where.round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=torch.tensor(white.shape) - 1)
        going = white[near[:, 0], near[:, 1], near[:, 2]] > 0.4
        out.append(torch.cat([where, radius], 1)[going])
    return torch.cat(out)


def _cortical(rng: RandomSource, mni: Tensor, depth: Tensor, csf: Tensor) -> Tensor:
    """Veins that rise out of the sulci, join the surface and run over it towards the upper midline."""
    n = 64
    x, y, z = mni
    ventricles = (x.abs() < 26.0) & (y > -55.0) & (y < 26.0) & (z < 26.0)
    found = ((csf > 0.35) & (depth > 2.0) & (depth < 22.0) & (z > -25.0) & ~ventricles).nonzero().float()
    if not len(found):
        return torch.zeros(0, 4)
    where = found[(rng.rand(n) * len(found)).long()]
    slope = torch.stack(list(torch.gradient(depth)))
    heading = torch.nn.functional.normalize(rng.normal(n, 3), dim=1)
    scale, limit = _mm(mni), torch.tensor(depth.shape) - 1
    radius = 0.25 + 0.3 * rng.rand(n, 1)
    out = []
    for step in range(int(75.0 / STEP)):
        near = where.round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=limit)
        i, j, k = near.T
        here, below = mni[:, i, j, k].T, depth[i, j, k][:, None]
        outward = -torch.nn.functional.normalize(slope[:, i, j, k].T, dim=1)
        goal = torch.stack([torch.zeros(n), here[:, 1], torch.full((n,), 75.0)], 1) - here
        goal = torch.nn.functional.normalize(goal, dim=1)
        # Below the surface a vein makes for it; at 1.5 mm it turns along it.
        pull = outward * (0.5 * (below - 1.5)).clamp(-1.0, 1.0) + 0.35 * goal
        heading = torch.nn.functional.normalize(heading + 0.12 * pull + 0.13 * rng.normal(n, 3), dim=1)
        where = where + heading * STEP / scale
        grown = radius * (1.0 + 0.8 * step * STEP / 75.0)
        going = (here[:, 0].abs() > 1.0) & (below[:, 0] > -3.0)
        out.append(torch.cat([where, grown], 1)[going])
    return torch.cat(out)


def _sagittal(mni: Tensor, depth: Tensor) -> Tensor:
    """The superior sagittal sinus: radius 3 to 4.5 mm, its lower wall on the brain's edge at the midline."""
    middle = (mni[0].abs() < 0.8 * _mm(mni)) & (depth < -2.5) & (depth > -5.5) & (mni[2] > -5.0 - 0.1 * mni[1])
    found = middle.nonzero().float()
    return torch.cat([found, torch.full((len(found), 1), 2.4)], 1)


def _mm(mni: Tensor) -> float:
    """Mean size of a step of the grid [mm]."""
    return float((mni[0, 1:] - mni[0, :-1]).abs().mean())
