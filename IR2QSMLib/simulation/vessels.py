"""The venous tree of the held-out brain: deep veins, medullary veins and cortical veins, in MNI space."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.simulation.random_source import RandomSource

# Right-hand courses, mirrored; x, y, z and radius [mm]. After Ono 1984, Microsurgical anatomy of the deep venous
# system (doi 10.3171/jns.1984.60.4.0684), calibres as in susceptibility-weighted imaging.
PAIRED_VEINS = (
    ((2.5, 3, 14, 0.9), (2.6, -8, 15.5, 1.0), (2.6, -20, 13, 1.1), (2.0, -30, 10, 1.2), (0.5, -38, 8, 1.5)),
    ((2.5, 3, 14, 0.9), (8, 6, 17, 0.7), (15, 2, 20, 0.6), (18, -8, 21, 0.5), (20, -18, 21, 0.4)),
    ((2.5, 3, 14, 0.7), (3, 14, 14, 0.6), (5, 24, 10, 0.5), (9, 30, 12, 0.35)),
    ((9, -2, -14, 0.7), (13, -12, -13, 0.8), (16, -22, -8, 0.9), (10, -32, 2, 1.0), (1, -38, 8, 1.2)),
    ((27, -44, 10, 0.5), (18, -40, 12, 0.7), (8, -39, 11, 0.9), (1, -38, 9, 1.1)),
    ((3, -27, -4, 0.4), (3, -33, 2, 0.6), (1, -38, 8, 0.8)),
)
MIDLINE_VEINS = (((0, -37, 8, 1.7), (0, -44, 9, 2.0), (0, -58, 2, 2.2), (0, -76, -6, 2.6), (0, -92, -12, 3.0)),)
"""The vein of Galen and the straight sinus."""
STEP = 0.3
"""Distance between a vein's points [mm]."""


def venous_tree(rng: RandomSource, mni: Tensor, depth: Tensor, white: Tensor, csf: Tensor) -> Tensor:
    """Points along the veins of a brain, and their radius.

    Deep veins follow their anatomy; medullary veins run from the white matter to the ventricles; cortical veins rise
    in the sulci to the superior sagittal sinus, which follows the midline along the brain's upper edge.

    Parameters
    ----------
    rng
        Draws how veins deviate from their course, and where medullary and cortical ones start.
    mni
        Position of every voxel in MNI space [mm]: (3, x, y, z).
    depth
        Below the brain's surface [mm]: (x, y, z).
    white, csf
        Shares of white matter and fluid: (x, y, z).

    Returns
    -------
    Tensor
        Voxel indices, and radius [mm]: (n, 4).
    """
    deep = [_vein_points(rng, line, side) for line in PAIRED_VEINS for side in (-1.0, 1.0)]
    deep += [_vein_points(rng, line, 1.0) for line in MIDLINE_VEINS]
    points = [_on_grid(torch.cat(deep), mni)]
    points += [
        _medullary_veins(rng, mni, depth, white),
        _cortical_veins(rng, mni, depth, csf),
        _sagittal_sinus(mni, depth),
    ]
    return torch.cat([p for p in points if len(p)])


def _vein_points(rng: RandomSource, line: tuple[tuple[float, ...], ...], side: float) -> Tensor:
    """Points along a bent line whose knots are moved by about a millimetre: x, y, z and radius [mm], (n, 4)."""
    knots = torch.tensor(line, dtype=torch.float32)
    knots[:, 0] *= side
    knots[:, :3] += 0.8 * rng.normal(len(knots), 3).cpu()
    knots[:, 3] *= rng.uniform(0.8, 1.2)
    n = 40 * (len(knots) - 1) + 1
    fine = torch.nn.functional.interpolate(knots.T[None], size=n, mode="linear", align_corners=True)[0]
    soft = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(fine[None], (12, 12), mode="replicate"), 25, 1)[0]
    return soft.T


def _on_grid(points: Tensor, mni: Tensor) -> Tensor:
    """Voxel indices of points of MNI space, by fixed-point steps; points beyond the grid are left out: (n, 4)."""
    shape = torch.tensor(mni.shape[1:])
    middle = (shape - 1) / 2
    centre = [int(n) // 2 for n in mni.shape[1:]]
    axes = [mni.narrow(a + 1, centre[a] + 1, 1) - mni.narrow(a + 1, centre[a] - 1, 1) for a in range(3)]
    jacobian = torch.stack([0.5 * d.flatten(1).mean(1) for d in axes], dim=1)
    inverse = torch.linalg.inv(jacobian)
    index = middle + (points[:, :3] - mni[:, centre[0], centre[1], centre[2]]) @ inverse.T
    for _ in range(12):
        near = index.round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=shape - 1)
        mni_nearby = mni[:, near[:, 0], near[:, 1], near[:, 2]].T + (index - near) @ jacobian.T
        index = index + (points[:, :3] - mni_nearby) @ inverse.T
    inside = ((index >= 0) & (index <= shape - 1)).all(1)
    return torch.cat([index, points[:, 3:]], dim=1)[inside]


def _medullary_veins(rng: RandomSource, mni: Tensor, depth: Tensor, white: Tensor) -> Tensor:
    """Straight thin veins of the deep white matter, from 6 to 25 mm above the lateral ventricles down to them."""
    suitable = (white > 0.8) & (mni[2] > 5.0) & (mni[2] < 45.0) & (mni[0].abs() > 8.0) & (depth > 8.0)
    candidates = suitable.nonzero().float()
    if not len(candidates):
        return torch.zeros(0, 4)
    n = 260
    start = candidates[(rng.rand(n) * len(candidates)).long()]
    i, j, k = start.long().T
    position = mni[:, i, j, k].T
    aim = torch.stack([position[:, 0].sign() * 14.0, position[:, 1] * 0.85, torch.full_like(position[:, 0], 19.0)], 1)
    heading = torch.nn.functional.normalize(aim - position, dim=1)
    scale = _mean_step(mni)
    out, radius = [], 0.18 + 0.22 * rng.rand(n, 1)
    index = start
    for _ in range(int(22.0 / STEP)):
        heading = torch.nn.functional.normalize(heading + 0.04 * rng.normal(n, 3), dim=1)
        index = index + heading * STEP / scale
        near = index.round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=torch.tensor(white.shape) - 1)
        inside = white[near[:, 0], near[:, 1], near[:, 2]] > 0.4
        out.append(torch.cat([index, radius], 1)[inside])
    return torch.cat(out)


def _cortical_veins(rng: RandomSource, mni: Tensor, depth: Tensor, csf: Tensor) -> Tensor:
    """Veins that rise out of the sulci, join the surface and run over it towards the upper midline."""
    n = 64
    x, y, z = mni
    ventricles = (x.abs() < 26.0) & (y > -55.0) & (y < 26.0) & (z < 26.0)
    candidates = ((csf > 0.35) & (depth > 2.0) & (depth < 22.0) & (z > -25.0) & ~ventricles).nonzero().float()
    if not len(candidates):
        return torch.zeros(0, 4)
    index = candidates[(rng.rand(n) * len(candidates)).long()]
    depth_gradient = torch.stack(list(torch.gradient(depth)))
    heading = torch.nn.functional.normalize(rng.normal(n, 3), dim=1)
    scale, limit = _mean_step(mni), torch.tensor(depth.shape) - 1
    radius = 0.25 + 0.3 * rng.rand(n, 1)
    out = []
    for step in range(int(75.0 / STEP)):
        near = index.round().long().clamp(min=torch.zeros(3, dtype=torch.long), max=limit)
        i, j, k = near.T
        position, below = mni[:, i, j, k].T, depth[i, j, k][:, None]
        outward = -torch.nn.functional.normalize(depth_gradient[:, i, j, k].T, dim=1)
        goal = torch.stack([torch.zeros(n), position[:, 1], torch.full((n,), 75.0)], 1) - position
        goal = torch.nn.functional.normalize(goal, dim=1)
        # Below the surface a vein rises to it; from 1.5 mm on it runs along it.
        pull = outward * (0.5 * (below - 1.5)).clamp(-1.0, 1.0) + 0.35 * goal
        heading = torch.nn.functional.normalize(heading + 0.12 * pull + 0.13 * rng.normal(n, 3), dim=1)
        index = index + heading * STEP / scale
        wider = radius * (1.0 + 0.8 * step * STEP / 75.0)
        inside = (position[:, 0].abs() > 1.0) & (below[:, 0] > -3.0)
        out.append(torch.cat([index, wider], 1)[inside])
    return torch.cat(out)


def _sagittal_sinus(mni: Tensor, depth: Tensor) -> Tensor:
    """The superior sagittal sinus: radius 3 to 4.5 mm, its lower wall on the brain's edge at the midline."""
    middle = (mni[0].abs() < 0.8 * _mean_step(mni)) & (depth < -2.5) & (depth > -5.5) & (mni[2] > -5.0 - 0.1 * mni[1])
    indices = middle.nonzero().float()
    return torch.cat([indices, torch.full((len(indices), 1), 2.4)], 1)


def _mean_step(mni: Tensor) -> float:
    """Mean size of a step of the grid [mm]."""
    return float((mni[0, 1:] - mni[0, :-1]).abs().mean())
