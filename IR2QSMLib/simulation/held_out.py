"""The held-out brain: another recipe from segmentation to χ than training's, at twice the resolution.

After the head phantom of the second reconstruction challenge (Marques 2021, doi 10.1002/mrm.28716): tissues with sharp
boundaries, χ = mean + slope · (contrast − its mean) inside them, literature values for each nucleus, and a venous tree;
with what that phantom lacks: fibres whose susceptibility depends on their angle to B0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation import anatomy
from IR2QSMLib.simulation.anatomy import CSF, GREY, NUCLEI, WHITE, Tissue
from IR2QSMLib.simulation.oversampling import refined_grid, upsample_linear
from IR2QSMLib.simulation.head import positions, sample_trilinear, union_of_spheres
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.vessels import veins

SIZE = 0.9
"""Of the template, which is larger than most heads: 1.35 litres of brain instead of 1.9."""
BLOOD = (0.24, 0.34)
"""Susceptibility of venous blood [ppm]: 0.27·4π · haematocrit 0.40 · (1 − saturation 0.75 to 0.82)."""
THICK = 1.2
"""Radius [mm] from which veins are drawn on the coarser grid."""


@dataclass(frozen=True)
class FineHead:
    """A brain on the grid on which it is acquired, of twice the resolution of `work`, and what its signal needs."""

    chi: Tensor
    """χ [ppm], isotropic part, relative to fluid: (x, y, z)."""
    density: Tensor
    """Signal at TE = 0, of water 1: (x, y, z)."""
    relaxation: Tensor
    """R2* [1/s] but for what χ itself adds: (x, y, z)."""
    veins: Tensor
    """Share of veins: (x, y, z)."""
    labels: Tensor
    """Nuclei by number, int16: (x, y, z)."""
    lesions: Tensor
    """Lesions by number, int16: (x, y, z)."""
    grid: Grid
    white: Tensor
    """Share of white matter on `work`: (x, y, z)."""
    fibres: Tensor
    """Unit direction of its fibres in voxel axes on `work`: (3, x, y, z)."""
    depth: Tensor
    """Depth below the brain's surface [mm] on `work`, negative outside: (x, y, z)."""
    mni: Tensor
    """Position in MNI space [mm] on `work`: (3, x, y, z)."""
    work: Grid


def draw_held_out(rng: RandomSource, grid: Grid, *, bleeds: bool = False, haemorrhage: float = 0.0) -> FineHead:
    """A brain that fills `grid`'s extent; isotropic voxels of `grid`'s smallest size, halved.

    `bleeds` adds microbleeds and a calcified nodule, `haemorrhage` [cm³] one of 0.6 ppm. Raises PackageMissing without
    nilearn.
    """
    work = isotropic_grid(grid)
    mni = place(rng, work, positions(work, rng.device))
    maps, zero = anatomy.maps()
    grey, white, t1, depth = sample_trilinear(maps.to(rng.device), mni + zero.to(rng.device).view(3, 1, 1, 1))
    inside = depth > 0.0
    csf = torch.where(inside, (1.0 - grey - white).clamp(0.0, 1.0), 1.0)
    direction = anatomy.fibres(mni, blur(depth.clamp(-5.0, 20.0), work, 2.0))
    shares = _shares(rng, work, (grey, white, csf))

    texture = _texture(rng, work, direction)
    chi, density, relaxation = (torch.zeros_like(shares[0]) for _ in range(3))
    for tissue, share, weight in zip((GREY, WHITE, CSF), shares, (grey, white, csf), strict=True):
        inner = _inside(rng, tissue, t1, weight * inside, work) + texture[tissue.name]
        chi.addcmul_(share, upsample_linear(inner))
        density.add_(share, alpha=tissue.signal)
        relaxation.add_(share, alpha=tissue.relaxation)
    labels = _add_nuclei(rng, chi, mni, (grey, white, t1, texture["nuclei"]), work)
    share = _veins(rng, mni, depth, white, csf, work)
    chi.lerp_(torch.tensor(rng.uniform(*BLOOD)), share)
    fine = refined_grid(work)
    lesions = torch.zeros(fine.shape, dtype=torch.int16)
    for body in _bodies(rng, bleeds, haemorrhage):
        body.put(rng, chi, density, lesions, mni, fine)
    surface = upsample_linear(depth)
    density.mul_(torch.where(surface > -3.0, 1.0, torch.where(surface > -9.0, 0.08, 0.5)))
    chi.mul_(((surface > -1.0) | (share > 0.01)).float())
    # Blood and tissue far outside the skull are no part of the head that is drawn.
    return FineHead(chi, density, relaxation, share, labels, lesions, fine, white * inside, direction, depth, mni, work)


def isotropic_grid(grid: Grid) -> Grid:
    """Isotropic voxels of the smallest size of `grid`, over its extent."""
    v = min(grid.voxel_size)
    shape = [round(n * s / v) for n, s in zip(grid.shape, grid.voxel_size, strict=True)]
    first = [0.5 * (v / s - 1.0) for s in grid.voxel_size]
    return replace(grid, shape=(shape[0], shape[1], shape[2]), voxel_size=(v, v, v), origin=grid.point(first))


def place(rng: RandomSource, grid: Grid, p: Tensor) -> Tensor:
    """Positions [mm] to MNI space [mm]: a turn, a scale and a smooth displacement: (3, x, y, z) to the same."""
    yaw, pitch, roll = (math.radians(rng.uniform(-a, a)) for a in (4.0, 8.0, 4.0))
    (cy, sy), (cp, sp), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (yaw, pitch, roll))
    turn = torch.tensor([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    turn = turn @ torch.tensor([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    turn = turn @ torch.tensor([[cr, 0.0, sr], [0.0, 1.0, 0.0], [-sr, 0.0, cr]])
    scale = torch.tensor([rng.uniform(0.96, 1.04) / SIZE for _ in range(3)])
    mni = torch.einsum("ij,jxyz->ixyz", torch.diag(scale) @ turn, p) + torch.tensor([0.0, -18.0, 6.0]).view(3, 1, 1, 1)
    # Large lobes and single gyri, each its own displacement.
    for width, size in ((28.0, 2.5), (11.0, 1.2)):
        for axis in range(3):
            mni[axis] += size * rng.smooth(grid, width)
    return mni


def _shares(rng: RandomSource, work: Grid, tissues: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Tissue shares with sharp boundaries on the fine grid, from smooth probabilities: (3, x, y, z).

    A boundary wanders by a fraction of a millimetre about the template's, which is an average over 152 people.
    """
    logits = [upsample_linear(5.0 * (torch.log(p + 0.03) + 0.25 * rng.smooth(work, 1.6))) for p in tissues]
    return torch.softmax(torch.stack(logits), dim=0)


def _inside(rng: RandomSource, tissue: Tissue, t1: Tensor, weight: Tensor, work: Grid) -> Tensor:
    """χ inside a tissue: its mean, its own contrast in T1, and slow regional differences."""
    mean = tissue.chi[0] + tissue.chi[1] * rng.uniform(-1.0, 1.0)
    centre = float((t1 * weight).sum() / weight.sum().clamp_min(1e-6))
    inner = mean + tissue.slope * (t1 - centre).clamp(-0.15, 0.15)
    return inner + 0.5 * tissue.chi[1] * rng.smooth(work, 14.0)


def _texture(rng: RandomSource, work: Grid, direction: Tensor) -> dict[str, Tensor]:
    """Fine structure [ppm]: bundles along the fibres in white matter, columns and layers of a few mm in the cortex."""
    noise = blur(rng.normal(*work.shape), work, 0.45 * work.voxel_size[0])
    grid = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in work.shape), indexing="ij"))
    along = noise.clone()
    for step in (-4.0, -2.0, 2.0, 4.0):  # mm along the fibre
        along += sample_trilinear(noise[None], grid + direction * (step / work.voxel_size[0]))[0]
    bundles = along / along.std() + 0.8 * rng.smooth(work, 2.2)
    cortex = noise / noise.std() + rng.smooth(work, 1.8) + 0.7 * rng.smooth(work, 4.0)
    grain = rng.smooth(work, 0.6 * work.voxel_size[0])
    # The spread inside a region that maps of several orientations show at 1 mm: least in white matter, most in nuclei.
    return {
        WHITE.name: 0.007 * bundles + 0.010 * grain,
        GREY.name: 0.008 * cortex + 0.016 * grain,
        CSF.name: 0.002 * grain,
        "nuclei": 0.010 * cortex + 0.020 * grain,
    }


def _add_nuclei(rng: RandomSource, chi: Tensor, mni: Tensor, maps: tuple[Tensor, ...], work: Grid) -> Tensor:
    """Lay the nuclei over `chi` in place and return their labels."""
    grey, white, t1, texture = maps
    labels = torch.zeros(chi.shape, dtype=torch.int16)
    found = anatomy.levels(mni, grey, white)
    wander, parted = 0.35 * rng.smooth(work, 2.0), anatomy.pallidum_lamina(mni)
    side = torch.sign(mni[0])
    for number, nucleus in enumerate(NUCLEI, start=1):
        lean = rng.uniform(-0.06, 0.06)
        box = _box(found[nucleus.name] > -2.0)
        if box is None:
            continue
        level = (found[nucleus.name] + wander)[box]
        inner = _inside(rng, nucleus, t1, (found[nucleus.name] > 0).float(), work) * (1.0 + lean * side)
        inner = inner + texture
        if nucleus.name == "pallidum":
            inner = inner - 0.07 * parted
        share = torch.sigmoid(upsample_linear(level) * (8.0 / work.voxel_size[0]))
        at = tuple(slice(2 * s.start, 2 * s.stop) for s in box)
        chi[at] = torch.lerp(chi[at], upsample_linear(inner[box]), share)
        labels[at] = torch.where(share > 0.5, torch.tensor(number, dtype=torch.int16), labels[at])
    return labels


def _box(inside: Tensor) -> tuple[slice, slice, slice] | None:
    where = inside.nonzero()
    if not len(where):
        return None
    low, high = where.amin(0).tolist(), where.amax(0).tolist()
    x, y, z = (slice(max(a - 1, 0), b + 2) for a, b in zip(low, high, strict=True))
    return x, y, z


def _veins(rng: RandomSource, mni: Tensor, depth: Tensor, white: Tensor, csf: Tensor, work: Grid) -> Tensor:
    """Share of veins on the fine grid: thin ones drawn there, the thickest on `work`."""
    points = veins(rng, mni, depth, white, csf)
    fine = refined_grid(work)
    thin, thick = points[points[:, 3] < THICK].clone(), points[points[:, 3] >= THICK].clone()
    thin[:, :3] = (thin[:, :3] + 0.25) * work.voxel_size[0]  # the first fine voxel's centre is a quarter before
    thick[:, :3] = thick[:, :3] * work.voxel_size[0]
    out = upsample_linear(union_of_spheres(thick, work)) if len(thick) else torch.zeros(fine.shape)
    # A vein thinner than a voxel fills the part of it that its cross-section is.
    for low, high in ((0.0, 0.35), (0.35, 0.6), (0.6, THICK)):
        part = thin[(thin[:, 3] >= low) & (thin[:, 3] < high)]
        if len(part):
            out = torch.maximum(out, union_of_spheres(part, fine))
    return out


@dataclass(frozen=True)
class Lesion:
    """A lesion: a lump of one susceptibility with a lobed boundary."""

    number: int
    centre: tuple[float, float, float]
    """MNI position [mm]."""
    radius: float
    """Of the ball of its volume [mm]."""
    chi: float
    """[ppm]."""
    lobes: float = 0.2
    """How far the boundary wanders, over the radius."""

    def put(self, rng: RandomSource, chi: Tensor, density: Tensor, lesions: Tensor, mni: Tensor, fine: Grid) -> None:
        """Lay it over the maps in place."""
        # The template is scaled to this head; the radius is meant in this head's millimetres.
        r = (mni - torch.tensor(self.centre).view(3, 1, 1, 1)).square().sum(0).sqrt() * SIZE
        box = _box(r < 1.8 * self.radius + 2.0)
        if box is None:
            return
        at = tuple(slice(2 * s.start, 2 * s.stop) for s in box)
        local = upsample_linear(r[box])
        patch = Grid((local.shape[0], local.shape[1], local.shape[2]), fine.voxel_size)
        level = self.radius * (1.0 + self.lobes * rng.smooth(patch, 0.7 * self.radius)) - local
        # The boundary is moved until the volume is what was asked for, as far as voxels allow.
        n = max(1, round(4.0 / 3.0 * math.pi * self.radius**3 / math.prod(fine.voxel_size)))
        level = level - level.flatten().kthvalue(max(1, level.numel() - n))[0]
        share = torch.sigmoid(level * 4.0 / fine.voxel_size[0])
        chi[at] = torch.lerp(chi[at], torch.full_like(share, self.chi), share)
        density[at] = torch.lerp(density[at], torch.full_like(share, 0.6 if self.chi > 0 else 0.25), share)
        lesions[at] = torch.where(level > 0, torch.tensor(self.number, dtype=torch.int16), lesions[at])


def _bodies(rng: RandomSource, bleeds: bool, haemorrhage: float) -> list[Lesion]:
    """The pineal gland and choroid plexus, calcified in most adults, and what the case asks for."""
    # Calcium's susceptibility and the frequency of the two: Deistung 2013, doi 10.1016/j.neuroimage.2012.09.055;
    # Chen 2014, doi 10.1148/radiol.13122640.
    out = [Lesion(0, (0.0, -31.0, 3.0), 1.8, -0.25)]
    out += [Lesion(0, (side * 22.0, -40.0, 6.0), rng.uniform(1.2, 2.2), -0.15) for side in (-1.0, 1.0)]
    if bleeds:
        places = ((-30, 20, 18), (34, -10, 30), (-14, -20, 6), (40, -52, 4), (-24, -64, 24), (-27, 2, -2))
        for i, where in enumerate(places):
            x, y, z = (c + rng.uniform(-2.0, 2.0) for c in where)
            out.append(Lesion(2 + i, (x, y, z), rng.uniform(0.9, 2.0), rng.uniform(0.4, 0.9), 0.1))
        out.append(Lesion(1, (28.0, 24.0, 14.0), 3.2, -0.5))
    if haemorrhage > 0.0:
        out.append(Lesion(1, (-28.0, -10.0, 12.0), (3000.0 * haemorrhage / (4.0 * math.pi)) ** (1.0 / 3.0), 0.6))
    return out
