"""A held-out brain in a head in air whose background is harmonic in the brain, with wrapped echoes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField, Phase
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.cases import Case
from IR2QSMLib.simulation.head import sample_trilinear
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.oversampling import block_mean, free_space_field
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.scan import RELAXIVITY
from IR2QSMLib.simulation.surroundings import (
    AIR_CHI,
    MARGIN,
    affine_positions,
    shimmed,
    surrounding_chi,
    voxel_indices,
)
from IR2QSMLib.simulation.template import padded_template

B0 = 3.0
"""[T]"""
ECHO_TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)
"""[s]"""


@dataclass(frozen=True)
class HeadInAir:
    """A head with its surroundings, before noise."""

    signal: Tensor
    """Complex: (echo, x, y, z)."""
    chi: Tensor
    """[ppm]: (x, y, z)."""
    mask: Tensor
    """The brain without its outermost 1.5 mm, bool: (x, y, z)."""
    grid: Grid

    def phase(self, noise: float, seed: int = 0) -> Phase:
        """Wrapped echoes with noise.

        Parameters
        ----------
        noise
            σ of real and imaginary part; the signal of grey matter at TE = 0 is about 1.
        seed
            Of the noise.
        """
        generator = torch.Generator().manual_seed(seed)
        parts = noise * torch.randn(2, *self.signal.shape, generator=generator)
        signal = self.signal + torch.complex(parts[0], parts[1])
        return Phase(signal.angle(), signal.abs(), ECHO_TIMES, B0, self.grid, self.mask)

    def true_local_field(self, mask: Tensor) -> LocalField:
        """The field [ppm] of all sources in the head's own mask, as far as another mask, bool (x, y, z), reaches."""
        inside = torch.where(self.mask, self.chi - self.chi[self.mask].mean(), 0.0)
        return LocalField(torch.where(mask, simulate_field(inside, self.grid), 0.0), mask, self.grid)


def draw_head_in_air(n: int, voxel: float, seed: int = 900) -> HeadInAir:
    """A held-out brain in a head in air, with five echoes and a linear shim.

    Cavities are 9.4 ppm and the skull is −2 ppm against tissue. Unlike in the case 'as measured' neither reaches into
    the brain, so that the background is harmonic there.

    Parameters
    ----------
    n
        Voxels along each axis.
    voxel
        Their size [mm].
    seed
        Of the brain.
    """
    grid = Case(seed, math.inf, (n, n, n), (voxel, voxel, voxel)).grid()
    rng = RandomSource(seed)
    fine = draw_held_out(rng, grid)
    chi, density = (block_mean(x, (2, 2, 2)) for x in (fine.chi, fine.density))
    decay = block_mean(fine.relaxation + RELAXIVITY * fine.chi.abs(), (2, 2, 2))
    field = _field_in_air(chi, fine.mni, fine.depth, grid)
    mask = fine.depth > 1.5
    for axis in range(3):
        mask.narrow(axis, 0, 1).zero_()
        mask.narrow(axis, n - 1, 1).zero_()
    lines = [torch.linspace(-1.0, 1.0, m) for m in field.shape]
    linear = torch.stack([torch.ones_like(field), *torch.meshgrid(*lines, indexing="ij")])
    field = shimmed(field, linear, mask)
    coil, offset = 0.2 * rng.smooth_noise(grid, 45.0), 1.5 * rng.smooth_noise(grid, 45.0)
    rad_per_second = 2.0 * math.pi * hz_per_ppm(B0)
    signal = [
        torch.polar(density * (coil - te * decay).exp(), offset + rad_per_second * te * field) for te in ECHO_TIMES
    ]
    return HeadInAir(torch.stack(signal), chi, mask, grid)


def _field_in_air(chi: Tensor, mni: Tensor, depth: Tensor, grid: Grid) -> Tensor:
    """Field [ppm] of a brain and its surroundings: (x, y, z)."""
    voxel, n = grid.voxel_size[0], grid.shape[0]
    margin = 8 * round(MARGIN / voxel / 8.0)
    large = grid.cropped([-margin] * 3, [n + 2 * margin] * 3)
    box = (slice(margin, margin + n),) * 3
    large_mni = affine_positions(mni, voxel_indices(large.shape, [margin] * 3))
    large_mni[(slice(None), *box)] = mni
    maps, origin = padded_template()
    large_depth = sample_trilinear(maps[3:], large_mni + origin.view(3, 1, 1, 1))[0]
    large_depth[box] = depth

    def edge(level: Tensor) -> Tensor:
        return (level / voxel + 0.5).clamp(0.0, 1.0)

    surroundings = surrounding_chi(large_mni, large_depth, edge, voxel, 2.0)
    # `free_space_field` needs an empty margin; the neck ends above the lower face.
    height = torch.arange(large.shape[2]).view(1, 1, -1) * voxel - 8.0 * voxel
    surroundings = surroundings * edge(height)
    surroundings[box] = torch.where(depth > 0.0, -AIR_CHI, surroundings[box]) + chi
    return free_space_field(surroundings, large)[box]
