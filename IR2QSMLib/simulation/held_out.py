"""The held-out brain: built from the template in another way than training's brains, at twice the resolution.

After the head phantom of the second reconstruction challenge (Marques 2021, doi 10.1002/mrm.28716): tissues with sharp
boundaries, χ = mean + slope · (contrast − its mean) inside them, literature values for each nucleus, and a venous tree;
and, beyond that phantom, fibres whose susceptibility depends on their angle to B0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation import anatomy
from IR2QSMLib.simulation.anatomy import CSF, GREY, HEAD_SIZE, NUCLEI, WHITE, Tissue
from IR2QSMLib.simulation.head import positions, sample_trilinear, union_of_spheres
from IR2QSMLib.simulation.lesions import bounding_box, draw_lesions
from IR2QSMLib.simulation.oversampling import refined_grid, upsample_linear
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.template import padded_template
from IR2QSMLib.simulation.vessels import venous_tree

BLOOD_CHI = (0.24, 0.34)
"""χ of venous blood [ppm]: 0.27·4π · haematocrit 0.40 · (1 − saturation 0.75 to 0.82)."""
THICK_VEIN = 1.2
"""Radius [mm] from which veins are drawn on the base grid."""


@dataclass(frozen=True)
class FineHead:
    """A brain at twice the resolution of its base grid, and what its signal needs."""

    chi: Tensor
    """χ [ppm], isotropic part, relative to fluid: (x, y, z)."""
    density: Tensor
    """Signal at TE = 0, that of water being 1: (x, y, z)."""
    relaxation: Tensor
    """R2* [1/s] without what χ itself adds: (x, y, z)."""
    veins: Tensor
    """Share of veins: (x, y, z)."""
    labels: Tensor
    """Nuclei by number, int16: (x, y, z)."""
    lesions: Tensor
    """Lesions by number, int16: (x, y, z)."""
    grid: Grid
    """Of the maps above."""
    white: Tensor
    """Share of white matter on the base grid: (x, y, z)."""
    fibres: Tensor
    """Unit direction of its fibres in voxel axes on the base grid: (3, x, y, z)."""
    depth: Tensor
    """Depth below the brain's surface [mm] on the base grid, negative outside: (x, y, z)."""
    mni: Tensor
    """Position in MNI space [mm] on the base grid: (3, x, y, z)."""
    base_grid: Grid
    """Isotropic, of half the resolution."""


def draw_held_out(rng: RandomSource, grid: Grid, *, bleeds: bool = False, haemorrhage: float = 0.0) -> FineHead:
    """A brain that fills a grid's extent, on isotropic voxels of half the grid's smallest size.

    Parameters
    ----------
    rng
        The same seed gives the same brain.
    grid
        On which the brain will be scanned.
    bleeds
        Whether there are microbleeds and a calcified nodule.
    haemorrhage
        Volume of a haemorrhage of 0.6 ppm [cm³]; 0 for none.

    Raises
    ------
    PackageMissing
        Without nilearn.
    """
    base = isotropic_grid(grid)
    mni = draw_mni_positions(rng, base, positions(base, rng.device))
    maps, origin = padded_template()
    template = maps.to(rng.device)
    grey, white, t1, depth = sample_trilinear(template, mni + origin.to(rng.device).view(3, 1, 1, 1))
    inside = depth > 0.0
    csf = torch.where(inside, (1.0 - grey - white).clamp(0.0, 1.0), 1.0)
    fibres = anatomy.fibre_directions(mni, blur(depth.clamp(-5.0, 20.0), base, 2.0))
    shares = _tissue_shares(rng, base, (grey, white, csf))

    texture = _texture(rng, base, fibres)
    chi, density, relaxation = (torch.zeros_like(shares[0]) for _ in range(3))
    for tissue, share, weight in zip((GREY, WHITE, CSF), shares, (grey, white, csf), strict=True):
        tissue_chi = _tissue_chi(rng, tissue, t1, weight * inside, base) + texture[tissue.name]
        chi.addcmul_(share, upsample_linear(tissue_chi))
        density.add_(share, alpha=tissue.signal)
        relaxation.add_(share, alpha=tissue.relaxation)
    labels = _add_nuclei(rng, chi, mni, (grey, white, t1, texture["nuclei"]), base)
    veins = _vein_share(rng, mni, depth, white, csf, base)
    chi.lerp_(torch.tensor(rng.uniform(*BLOOD_CHI)), veins)
    fine = refined_grid(base)
    lesions = torch.zeros(fine.shape, dtype=torch.int16)
    for lesion in draw_lesions(rng, bleeds, haemorrhage):
        lesion.add_to(rng, chi, density, lesions, mni, fine)
    surface = upsample_linear(depth)
    density.mul_(torch.where(surface > -3.0, 1.0, torch.where(surface > -9.0, 0.08, 0.5)))
    chi.mul_(((surface > -1.0) | (veins > 0.01)).float())  # no tissue outside the brain but its veins
    return FineHead(chi, density, relaxation, veins, labels, lesions, fine, white * inside, fibres, depth, mni, base)


def isotropic_grid(grid: Grid) -> Grid:
    """Isotropic voxels of the smallest size of a grid, over its extent."""
    v = min(grid.voxel_size)
    shape = [round(n * s / v) for n, s in zip(grid.shape, grid.voxel_size, strict=True)]
    first = [0.5 * (v / s - 1.0) for s in grid.voxel_size]
    return replace(grid, shape=(shape[0], shape[1], shape[2]), voxel_size=(v, v, v), origin=grid.point(first))


def draw_mni_positions(rng: RandomSource, grid: Grid, p: Tensor) -> Tensor:
    """Where a head's voxels lie in MNI space: a random rotation, scale and smooth displacement.

    Parameters
    ----------
    rng
        Draws them.
    grid
        Of the head.
    p
        Positions from the grid's centre [mm]: (3, x, y, z).

    Returns
    -------
    Tensor
        [mm]: (3, x, y, z).
    """
    yaw, pitch, roll = (math.radians(rng.uniform(-a, a)) for a in (4.0, 8.0, 4.0))
    (cy, sy), (cp, sp), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (yaw, pitch, roll))
    rotation = torch.tensor([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    rotation = rotation @ torch.tensor([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    rotation = rotation @ torch.tensor([[cr, 0.0, sr], [0.0, 1.0, 0.0], [-sr, 0.0, cr]])
    affine = torch.diag(torch.tensor([rng.uniform(0.96, 1.04) / HEAD_SIZE for _ in range(3)])) @ rotation
    mni = torch.einsum("ij,jxyz->ixyz", affine, p) + torch.tensor([0.0, -18.0, 6.0]).view(3, 1, 1, 1)
    # Large lobes and single gyri, each displaced by itself.
    for width, size in ((28.0, 2.5), (11.0, 1.2)):
        for axis in range(3):
            mni[axis] += size * rng.smooth_noise(grid, width)
    return mni


def _tissue_shares(rng: RandomSource, base: Grid, tissues: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Tissue shares with sharp boundaries on the fine grid, from smooth probabilities: (3, x, y, z).

    A boundary deviates by a fraction of a millimetre from the template's, which is an average over 152 people.
    """
    logits = [upsample_linear(5.0 * (torch.log(p + 0.03) + 0.25 * rng.smooth_noise(base, 1.6))) for p in tissues]
    return torch.softmax(torch.stack(logits), dim=0)


def _tissue_chi(rng: RandomSource, tissue: Tissue, t1: Tensor, weight: Tensor, base: Grid) -> Tensor:
    """χ of a tissue [ppm]: its mean, its own contrast in T1, and slow regional differences."""
    mean = tissue.chi[0] + tissue.chi[1] * rng.uniform(-1.0, 1.0)
    mean_t1 = float((t1 * weight).sum() / weight.sum().clamp_min(1e-6))
    chi = mean + tissue.slope * (t1 - mean_t1).clamp(-0.15, 0.15)
    return chi + 0.5 * tissue.chi[1] * rng.smooth_noise(base, 14.0)


def _texture(rng: RandomSource, base: Grid, fibres: Tensor) -> dict[str, Tensor]:
    """Fine structure [ppm]: bundles along the fibres in white matter, columns and layers of a few mm in the cortex."""
    noise = blur(rng.normal(*base.shape), base, 0.45 * base.voxel_size[0])
    index = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in base.shape), indexing="ij"))
    along_fibres = noise.clone()
    for distance in (-4.0, -2.0, 2.0, 4.0):  # [mm]
        along_fibres += sample_trilinear(noise[None], index + fibres * (distance / base.voxel_size[0]))[0]
    bundles = along_fibres / along_fibres.std() + 0.8 * rng.smooth_noise(base, 2.2)
    cortex = noise / noise.std() + rng.smooth_noise(base, 1.8) + 0.7 * rng.smooth_noise(base, 4.0)
    grain = rng.smooth_noise(base, 0.6 * base.voxel_size[0])
    # The spread inside a region in maps from several orientations at 1 mm: least in white matter, most in nuclei.
    return {
        WHITE.name: 0.007 * bundles + 0.010 * grain,
        GREY.name: 0.008 * cortex + 0.016 * grain,
        CSF.name: 0.002 * grain,
        "nuclei": 0.010 * cortex + 0.020 * grain,
    }


def _add_nuclei(rng: RandomSource, chi: Tensor, mni: Tensor, maps: tuple[Tensor, ...], base: Grid) -> Tensor:
    """Lay the nuclei over `chi` in place and return their labels."""
    grey, white, t1, texture = maps
    labels = torch.zeros(chi.shape, dtype=torch.int16)
    levels = anatomy.nucleus_levels(mni, grey, white)
    deviation, lamina = 0.35 * rng.smooth_noise(base, 2.0), anatomy.pallidum_lamina(mni)
    side = torch.sign(mni[0])
    for number, nucleus in enumerate(NUCLEI, start=1):
        asymmetry = rng.uniform(-0.06, 0.06)
        box = bounding_box(levels[nucleus.name] > -2.0)
        if box is None:
            continue
        level = (levels[nucleus.name] + deviation)[box]
        inner = _tissue_chi(rng, nucleus, t1, (levels[nucleus.name] > 0).float(), base) * (1.0 + asymmetry * side)
        inner = inner + texture
        if nucleus.name == "pallidum":
            inner = inner - 0.07 * lamina
        share = torch.sigmoid(upsample_linear(level) * (8.0 / base.voxel_size[0]))
        fine_box = tuple(slice(2 * s.start, 2 * s.stop) for s in box)
        chi[fine_box] = torch.lerp(chi[fine_box], upsample_linear(inner[box]), share)
        labels[fine_box] = torch.where(share > 0.5, torch.tensor(number, dtype=torch.int16), labels[fine_box])
    return labels


def _vein_share(rng: RandomSource, mni: Tensor, depth: Tensor, white: Tensor, csf: Tensor, base: Grid) -> Tensor:
    """Share of veins on the fine grid: thin ones drawn there, the thickest on the base grid."""
    points = venous_tree(rng, mni, depth, white, csf)
    fine = refined_grid(base)
    thin, thick = points[points[:, 3] < THICK_VEIN].clone(), points[points[:, 3] >= THICK_VEIN].clone()
    # From voxels to mm; the centre of the first fine voxel lies a quarter of a voxel before that of the first base one.
    thin[:, :3] = (thin[:, :3] + 0.25) * base.voxel_size[0]
    thick[:, :3] = thick[:, :3] * base.voxel_size[0]
    out = upsample_linear(union_of_spheres(thick, base)) if len(thick) else torch.zeros(fine.shape)
    # A group of similar radii at a time, as the reach of the largest sphere sets the cost of all.
    for low, high in ((0.0, 0.35), (0.35, 0.6), (0.6, THICK_VEIN)):
        group = thin[(thin[:, 3] >= low) & (thin[:, 3] < high)]
        if len(group):
            out = torch.maximum(out, union_of_spheres(group, fine))
    return out
