"""Deep grey nuclei and tissues of the held-out brain, from the shapes in the ICBM 152 maps.

Every nucleus is a level [mm], positive inside, in MNI space: a superquadric, a chain of cones or a sheet, cut by what
the template's T1 and tissue maps show there. Training's brains, whose nuclei are ellipsoids, share only the maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

HEAD_SIZE = 0.9
"""Size of held-out heads over the template's, which is larger than most: 1.35 litres of brain instead of 1.9."""


@dataclass(frozen=True)
class Tissue:
    """Susceptibility and signal of a tissue, from the literature."""

    name: str
    chi: tuple[float, float]
    """Mean over people and its spread [ppm], relative to cerebrospinal fluid."""
    slope: float = 0.0
    """Change of χ with the T1 contrast [ppm per unit of the template]; myelin is bright and diamagnetic."""
    signal: float = 0.72
    """Of a spoiled gradient echo at TE = 0 (TR 30 ms, 15°), that of water being 1."""
    relaxation: float = 17.0
    """R2* at 3 T [1/s] without the share of iron."""


# Means over adults at 3 T from Lim 2013 (doi 10.1016/j.neuroimage.2013.06.004: table of the atlas), Li 2014
# (doi 10.1002/hbm.22360: middle age) and Bilgic 2012 (doi 10.1016/j.neuroimage.2011.08.077), which agree to 0.02 ppm.
NUCLEI = (
    Tissue("thalamus", (0.012, 0.006), -0.15),
    Tissue("pulvinar", (0.040, 0.010), -0.15),
    Tissue("caudate", (0.058, 0.010), -0.12),
    Tissue("caudate tail", (0.040, 0.008)),
    Tissue("putamen", (0.065, 0.015), -0.15),
    Tissue("pallidum", (0.150, 0.020), -0.20),
    Tissue("subthalamic nucleus", (0.095, 0.020)),
    Tissue("substantia nigra", (0.120, 0.020)),
    Tissue("red nucleus", (0.100, 0.020)),
    Tissue("dentate nucleus", (0.095, 0.020)),
)
"""In the order of their labels, from 1 on; a later one lies over an earlier one."""
GREY = Tissue("cortex", (0.016, 0.005), -0.10)
WHITE = Tissue("white matter", (-0.034, 0.005), -0.22, 0.70, 19.0)
CSF = Tissue("cerebrospinal fluid", (0.0, 0.004), 0.0, 0.55, 2.0)
CAUDATE_TAIL = (
    (13, 2, 18, 3.2),
    (15, -6, 20.5, 2.6),
    (19, -17, 21, 2.1),
    (24, -28, 16, 1.7),
    (29, -37, 7, 1.5),
    (33, -33, -3, 1.4),
    (35, -25, -9, 1.3),
    (32, -15, -13, 1.2),
)
"""The caudate's body and tail along the lateral ventricle: x, y, z and radius [mm]."""


def nucleus_levels(mni: Tensor, grey: Tensor, white: Tensor) -> dict[str, Tensor]:
    """How deep every position lies in each nucleus, by its name.

    Parameters
    ----------
    mni
        Positions in MNI space [mm]: (3, x, y, z).
    grey, white
        Shares of tissue there: (x, y, z).

    Returns
    -------
    dict
        Level, positive inside and about 0 at the boundary [mm]: (x, y, z) each.
    """
    x, y, z = mni[0].abs(), mni[1], mni[2]
    p = torch.stack([x, y, z])
    tissue = 6.0 * (grey + white - 0.6)
    caudate = torch.minimum(_superquadric(p, (13, 11, 8), (9, 17, 14), 0, 3.0), 8.0 * (grey - 0.5)).minimum(x - 3.5)
    putamen = torch.minimum(_superquadric(p, (26, 0, 1), (8, 21, 13), 15, 3.0), 8.0 * (grey - 0.42))
    pallidum = torch.minimum(_superquadric(p, (19.5, -4, -0.5), (5.6, 12, 7.5), 27, 2.3, bend=0.02), -putamen - 0.3)
    thalamus = torch.minimum(_superquadric(p, (11.5, -18.5, 7), (9, 16.5, 10), 27, 2.6), tissue).minimum(x - 1.2)
    return {
        "thalamus": thalamus,
        "pulvinar": torch.minimum(_superquadric(p, (15.5, -28, 6), (8, 6, 8), 20, 2.5), thalamus),
        "caudate": caudate,
        "caudate tail": _chain_of_cones(p, CAUDATE_TAIL),
        "putamen": putamen,
        "pallidum": pallidum,
        "subthalamic nucleus": _superquadric(p, (11, -13, -7), (2.6, 5.2, 2.7), 38, 2.0),
        "substantia nigra": _substantia_nigra(p),
        "red nucleus": _superquadric(p, (5, -20, -9), (3.5, 4.0, 4.7), 0, 2.0),
        "dentate nucleus": _dentate_nucleus(p),
    }


def pallidum_lamina(mni: Tensor) -> Tensor:
    """Nearness, 0 to 1, to the white lamina between the pallidum's two segments.

    Parameters
    ----------
    mni
        Positions in MNI space [mm]: (3, x, y, z).

    Returns
    -------
    Tensor
        1 on the lamina: (x, y, z).
    """
    q = _rotated(torch.stack([mni[0].abs(), mni[1], mni[2]]), (19.0, -4.0, -1.0), 27)
    return torch.exp(-((q[0] + 0.03 * q[1].square()) / 0.6).square())


def fibre_directions(mni: Tensor, depth: Tensor) -> Tensor:
    """Direction of the white matter's fibres, smooth over centimetres.

    They enter the cortex at right angles, cross the midline in the callosum, climb in the internal capsule and
    the brain stem, and run from front to back beside it.

    Parameters
    ----------
    mni
        Positions in MNI space [mm]: (3, x, y, z).
    depth
        Below the brain's surface [mm]: (x, y, z).

    Returns
    -------
    Tensor
        Unit vectors: (3, x, y, z).
    """
    x, y, z = mni
    out = torch.stack(list(torch.gradient(-depth)))
    out = torch.nn.functional.normalize(out, dim=0) * torch.exp(-depth.clamp_min(0.0) / 8.0)
    callosum = torch.exp(-(((z - 20.0 + 0.008 * (y + 10.0).square()) / 9.0) ** 2)) * torch.exp(-((x / 22.0) ** 2))
    capsule = torch.exp(-(((x.abs() - 20.0) / 8.0) ** 2)) + torch.exp(-((x / 12.0) ** 2)) * (z < -8.0)
    long = torch.exp(-(((x.abs() - 34.0) / 7.0) ** 2))
    out = out + torch.stack([callosum, long, capsule - 0.3 * callosum])
    return torch.nn.functional.normalize(out, dim=0)


def _rotated(p: Tensor, centre: tuple[float, ...], degrees: float) -> Tensor:
    """Positions relative to a centre, rotated about z so that the body's long axis leans outward and back."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y, z = (p[a] - centre[a] for a in range(3))
    return torch.stack([c * x + s * y, c * y - s * x, z])


def _superquadric(
    p: Tensor, centre: tuple[float, ...], radii: tuple[float, ...], degrees: float, power: float, bend: float = 0.0
) -> Tensor:
    """Level of a superquadric: power 2 is an ellipsoid, more is boxier; `bend` [1/mm] curves its long axis."""
    q = _rotated(p, centre, degrees)
    q[0] = q[0] + bend * q[1].square()
    r = sum(((q[a] / radii[a]).abs() ** power for a in range(3)), torch.zeros_like(q[0])) ** (1.0 / power)
    return (1.0 - r) * min(radii)


def _chain_of_cones(p: Tensor, points: tuple[tuple[float, ...], ...]) -> Tensor:
    """Level of a chain of cones, each point x, y, z and radius [mm]."""
    level = torch.full_like(p[0], -math.inf)
    for (ax, ay, az, ar), (bx, by, bz, br) in pairwise(points):
        d = (bx - ax, by - ay, bz - az)
        along = (p[0] - ax) * d[0] + (p[1] - ay) * d[1] + (p[2] - az) * d[2]
        t = (along / (d[0] ** 2 + d[1] ** 2 + d[2] ** 2)).clamp(0.0, 1.0)
        gap2 = (p[0] - ax - t * d[0]) ** 2 + (p[1] - ay - t * d[1]) ** 2 + (p[2] - az - t * d[2]) ** 2
        level = torch.maximum(level, ar + t * (br - ar) - gap2.sqrt())
    return level


def _substantia_nigra(p: Tensor) -> Tensor:
    """Level of the substantia nigra: a curved sheet behind the crus, leaning forward as it climbs."""
    u, v = p[0] - 3.0, p[1] + 24.0 - 0.4 * (p[2] + 12.0)
    rho, theta = (u.square() + v.square()).sqrt(), torch.atan2(v, u)
    sheet = 1.8 - (rho - 11.0).abs()
    ends = torch.minimum(11.0 * (theta - math.radians(12)), 11.0 * (math.radians(72) - theta))
    return torch.minimum(torch.minimum(sheet, ends), 4.5 - (p[2] + 12.0).abs())


def _dentate_nucleus(p: Tensor) -> Tensor:
    """Level of the dentate nucleus: a corrugated shell, open towards the midline in front."""
    q = _rotated(p, (14.5, -57.0, -34.0), 30)
    r = ((q[0] / 6.5) ** 2 + (q[1] / 9.0) ** 2 + (q[2] / 6.0) ** 2).sqrt()
    fold = 0.09 * torch.sin(7.0 * torch.atan2(q[1], q[0])) + 0.07 * torch.sin(5.0 * torch.atan2(q[2], q[0]))
    return torch.minimum(1.0 - (r + fold - 0.85).abs() * 6.5, 3.0 + q[0] - 0.5 * q[1])
