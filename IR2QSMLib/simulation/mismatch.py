"""A local field of which a chosen share is discrepancy, of the shape that measured fields have.

In a measured local field f = D∗χ + n, the discrepancy n is as strong as D∗χ at nearly every wavelength, lies mostly
near the cone D = 0, and has a white floor. Three causes and noise are simulated, weighted so that heads of the seeds
`FIT` and `CHOOSE` have the shape of three measured brains, band by band of |k| and of |D|, and order two methods as
measured brains do (docs/experiments/2026-11-30-mismatch-axis.md). Training draws its discrepancies in another way.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import blur, fft, frequencies, ifft
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource

WHITE_NOISE = 1.0 / 3.0
"""Share of white noise in the discrepancy's power."""
OFF_DIAGONAL, TISSUE_SHIFT, GHOSTS = 0.69, 0.19, 0.12
"""Share of each cause in the power of the rest."""
MYELIN = 0.15
"""Anisotropy that white matter has beside that of the other tissues [ppm, before the whole is scaled]."""
NEIGHBOURHOOD, REGION = 2.0, 15.0
"""Width of the mean that a tissue's shift is against, and of the regions between which it varies [mm]."""
GHOST_SHIFT = (20.0, 60.0)
"""Least and largest distance of a ghost [mm]."""


def field_with_mismatch(head: Head, fibres: Tensor, share: float, rng: RandomSource) -> LocalField:
    """The local field f = D∗χ + n of a head, n of the given share in its power.

    n = s·(√(2/3)·structure + √(1/3)·noise), each of unit power in the mask, s such that Σn² = share · Σf² there. The
    structure sums what lies off the diagonal of the tissues' susceptibility tensors, shifts in place, and ghosts.

    Parameters
    ----------
    head : Head
        The truth; its χ [ppm] is zero outside the mask.
    fibres : Tensor
        Unit direction of the fibres in voxel axes: (3, x, y, z).
    share : float
        Power of n over that of f inside the mask, from 0 (f = D∗χ) to below 1.
    dice : Dice
        The same seed gives the same n but for s, whatever the share.

    Returns
    -------
    LocalField
        Its values [ppm], zero outside the mask.

    Raises
    ------
    ParameterInvalid
        When the share is not from 0 to below 1.
    """
    if not 0.0 <= share < 1.0:
        raise ParameterInvalid(f"The share of the discrepancy is {share:g}; expected 0 or more and less than 1.")
    mask = head.mask
    field = torch.where(mask, simulate_field(head.chi, head.grid), 0.0)
    if share == 0.0:
        return LocalField(field, mask, head.grid)
    parts = (
        (OFF_DIAGONAL, off_diagonal_field(head.chi - MYELIN * head.white, fibres, head.grid)),
        (TISSUE_SHIFT, tissue_shift(head, rng)),
        (GHOSTS, ghost_field(field, head.grid, rng.uniform(*GHOST_SHIFT))),
    )
    structure = sum((math.sqrt(weight) * _unit(part, mask) for weight, part in parts), torch.zeros_like(field))
    noise = _unit(rng.normal(*head.grid.shape), mask)
    n = math.sqrt(1.0 - WHITE_NOISE) * _unit(structure, mask) + math.sqrt(WHITE_NOISE) * noise
    return LocalField(field + _scale(field[mask], n[mask], share) * n, mask, head.grid)


def off_diagonal_field(anisotropy: Tensor, fibres: Tensor, grid: Grid) -> Tensor:
    """Field [ppm] of the tensor components χ_xz and χ_yz, z along B0, which no isotropic χ has.

    F δ = −(k·b)(k·F v)/|k|², v = Δχ·(n·b)·(n − (n·b)b): what of χ·b, for the tensor Δχ·n nᵀ, is perpendicular to B0.
    What is along B0 acts as an isotropic χ does and is left out. It is strongest where k lies at 45° to B0, beside the
    cone (54.7°), where D∗χ has nothing. Liu 2010, doi 10.1002/mrm.22482.

    Parameters
    ----------
    anisotropy : Tensor
        Δχ [ppm]: (x, y, z).
    fibres : Tensor
        n, unit vectors in voxel axes: (3, x, y, z).
    grid : Grid
        Voxel sizes and b, the direction of B0.
    """
    b = torch.tensor(grid.b0_direction, dtype=torch.float32, device=fibres.device).view(3, 1, 1, 1)
    along = (fibres * b).sum(0)
    across = anisotropy * along * (fibres - along * b)
    k = [f.float().to(fibres.device) for f in frequencies(grid)]
    k2 = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).clamp_min(1e-12)
    divergence = sum((f * fft(v) for f, v in zip(k, across, strict=True)), torch.zeros((), dtype=torch.complex64))
    kb = sum((f * float(c) for f, c in zip(k, b.flatten(), strict=True)), torch.zeros(()))
    return ifft(-divergence * kb / k2, grid.shape)


def tissue_shift(head: Head, rng: RandomSource) -> Tensor:
    """Frequency shift in place, in proportion to how χ differs from its neighbourhood: (x, y, z).

    Chemical exchange, and iron and myelin in structures that a voxel does not resolve, shift the frequency where they
    are, without a dipole field, by region more or less. Shmueli 2011, doi 10.1002/mrm.22604; He 2009, doi
    10.1073/pnas.0904899106.
    """
    contrast = head.chi - blur(head.chi, head.grid, NEIGHBOURHOOD)
    return contrast * (1.0 + 0.5 * rng.smooth(head.grid, REGION))


def ghost_field(field: Tensor, grid: Grid, distance: float) -> Tensor:
    """Both copies of the field that motion in step with the pulse leaves `distance` [mm] along the phase encoding (y).

    Periodic on the grid: (x, y, z) to the same.
    """
    ky = frequencies(grid)[1].float().to(field.device)
    return ifft(2.0 * torch.cos(2.0 * math.pi * distance * ky) * fft(field), grid.shape)


def _unit(x: Tensor, mask: Tensor) -> Tensor:
    x = torch.where(mask, x - x[mask].mean(), 0.0)
    return x / x[mask].square().mean().sqrt().clamp_min(1e-20)


def _scale(field: Tensor, n: Tensor, share: float) -> float:
    """s ≥ 0 with Σ(s·n)² = share · Σ(field + s·n)²."""
    field, n = field.double(), n.double()
    f2, both, n2 = float(field @ field), float(field @ n), float(n @ n)
    return (share * both + math.sqrt((share * both) ** 2 + (1.0 - share) * n2 * share * f2)) / ((1.0 - share) * n2)
