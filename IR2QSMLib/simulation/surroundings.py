"""What surrounds the brain and shifts the field in it: the head in air, its sinuses and its skull."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import blur, good_size
from IR2QSMLib.simulation.head import ellipsoid, positions, sample_trilinear
from IR2QSMLib.simulation.oversampling import block_mean, upsample_spline
from IR2QSMLib.simulation.template import padded_template

AIR_CHI, BONE_CHI = 9.4, -2.0
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


def background_field(mni: Tensor, depth: Tensor, grid: Grid) -> Tensor:
    """Field of everything outside the brain after second-order shimming.

    Voxels of twice the size and a spline hold it, as it is harmonic in the brain.

    Parameters
    ----------
    mni
        Position of every voxel in MNI space [mm]: (3, x, y, z).
    depth
        Below the brain's surface [mm]: (x, y, z).
    grid
        Of the brain, isotropic.

    Returns
    -------
    Tensor
        [ppm]: (x, y, z).
    """
    step = tuple(2.0 * v for v in grid.voxel_size)
    margin = round(MARGIN / step[0])
    inner = [n // 2 for n in grid.shape]
    shape = [good_size(n + 2 * margin, 2) for n in inner]
    start = [(m - n) // 2 for m, n in zip(shape, inner, strict=True)]
    coarse = Grid((shape[0], shape[1], shape[2]), (step[0], step[1], step[2])).with_b0(grid.b0_direction)
    coarse_mni = _extrapolated(torch.stack([block_mean(c, (2, 2, 2)) for c in mni]), coarse, start)
    maps, origin = padded_template()
    coarse_depth = sample_trilinear(maps[3:], coarse_mni + origin.view(3, 1, 1, 1))[0]
    chi = surrounding_chi(coarse_mni, coarse_depth, lambda level: torch.sigmoid(level * (3.0 / step[0])), 3.0, 3.0)
    field = simulate_field(blur(chi, coarse, 0.85 * step[0]), coarse)
    box = tuple(slice(s, s + n) for s, n in zip(start, inner, strict=True))
    field = _harmonic_inside(upsample_spline(field[box]), depth > -3.0, grid)
    x, y, z = positions(grid, field.device) / 50.0
    ring = x * x + y * y
    terms = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, z * z - 0.5 * ring])
    return shimmed(field, terms, depth > 0.0)


def surrounding_chi(
    mni: Tensor, depth: Tensor, edge: Callable[[Tensor], Tensor], softness: float, skull_gap: float
) -> Tensor:
    """Susceptibility of a head's soft tissue, air cavities and skull against the air around it.

    Parameters
    ----------
    mni
        Positions in MNI space [mm]: (3, x, y, z).
    depth
        Below the brain's surface, negative outside [mm]: (x, y, z).
    edge
        From a level, positive inside a body [mm], to the share of it in a voxel.
    softness
        Width of the boundary of face and cavities [mm].
    skull_gap
        Between brain and skull [mm]; cavities keep half as much more.

    Returns
    -------
    Tensor
        χ [ppm], 0 in the air around: (x, y, z).
    """
    x, y, z = mni
    neck = torch.minimum(58.0 - ((0.9 * x) ** 2 + (y + 28.0) ** 2).sqrt(), -40.0 - z)
    face = ellipsoid(mni, torch.tensor([0.0, 42.0, -48.0]), torch.tensor([60.0, 52.0, 72.0]), softness)
    head = torch.maximum(torch.maximum(edge(depth + 14.0), edge(neck)), face)
    air, mirrored = torch.zeros_like(x), torch.stack([x.abs(), y, z])
    for centre, radii in CAVITIES:
        cavity = ellipsoid(mirrored, torch.tensor(centre).float(), torch.tensor(radii).float(), softness)
        air = torch.maximum(air, cavity)
    air = air * edge(-1.5 * skull_gap - depth)
    bone = edge(-skull_gap - depth) * edge(depth + 8.5) * edge(z + 55.0)
    return -AIR_CHI * (head - air * head) + BONE_CHI * bone * (1.0 - air)


def affine_positions(mni: Tensor, index: Tensor) -> Tensor:
    """MNI positions at voxel indices, by the affine map that fits the known ones best.

    Parameters
    ----------
    mni
        Position of every voxel in MNI space [mm]: (3, x, y, z).
    index
        Voxel indices, also beyond those voxels: (3, X, Y, Z).

    Returns
    -------
    Tensor
        [mm]: (3, X, Y, Z).
    """
    known = voxel_indices(mni.shape[1:], (0, 0, 0))
    columns = torch.cat([known.flatten(1), torch.ones(1, known[0].numel())]).T[::7]
    affine = _least_squares(columns, mni.flatten(1).T[::7])  # (4, 3)
    return torch.einsum("ij,ixyz->jxyz", affine[:3], index) + affine[3].view(3, 1, 1, 1)


def voxel_indices(shape: tuple[int, ...], start: tuple[int, ...] | list[int]) -> Tensor:
    """Indices of a grid's voxels relative to the voxel `start`: (3, x, y, z)."""
    axes = [torch.arange(n) - s for n, s in zip(shape, start, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).float()


def shimmed(field: Tensor, terms: Tensor, mask: Tensor) -> Tensor:
    """A field without the sum of terms that fits it best in a mask.

    Parameters
    ----------
    field
        (x, y, z).
    terms
        (n, x, y, z).
    mask
        Bool: (x, y, z); every fifth voxel of it is fitted.
    """
    columns = terms[:, mask][:, ::5].T
    weights = _least_squares(columns, field[mask][::5, None])[:, 0]
    return field - torch.einsum("t,txyz->xyz", weights, terms)


def _least_squares(columns: Tensor, values: Tensor) -> Tensor:
    """Solution in float32, fitted in float64: the last bits of the solver's sums depend on where memory lies."""
    return torch.linalg.lstsq(columns.double(), values.double()).solution.float()


def _harmonic_inside(field: Tensor, brain: Tensor, grid: Grid) -> Tensor:
    """The field made harmonic in the brain from its values at the surface.

    The coarse grid blurs skull and air by up to 5 mm into the brain, where no background removal could remove their
    field.
    """
    local = LaplacianBoundaryValue()(TotalField(field, brain, grid))
    return field - torch.where(local.mask, local.values, 0.0)


def _extrapolated(mni: Tensor, grid: Grid, start: list[int]) -> Tensor:
    """MNI positions on a larger grid: an affine map, and its error at the nearest known voxel."""
    index, known = voxel_indices(grid.shape, start), voxel_indices(mni.shape[1:], (0, 0, 0))
    return affine_positions(mni, index) + sample_trilinear(mni - affine_positions(mni, known), index)
