"""A local field of which a chosen share is discrepancy, with the spectrum that measured fields have.

In a measured local field f = D∗χ + n, the discrepancy n is as large as D∗χ at nearly every wavelength, lies mostly
near the cone D = 0, and has a white floor. Three causes and noise are simulated. Their weights are such that heads of
the seeds `FIT` and `CHOOSE` have the spectrum of three measured brains, band by band of |k| and of |D|, and rank two
methods as measured brains do (docs/experiments/2026-11-30-mismatch-axis.md). Training draws its discrepancies in
another way (`acquisition.Discrepancy`).
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
from IR2QSMLib.simulation.anisotropy import off_diagonal_field
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource

WHITE_NOISE = 1.0 / 3.0
"""Share of white noise in the discrepancy's power."""
OFF_DIAGONAL, TISSUE_SHIFT, GHOSTS = 0.69, 0.19, 0.12
"""Share of each cause in the power of the rest."""
MYELIN_ANISOTROPY = 0.15
"""m [ppm] in the anisotropy Δχ = χ − m·(share of white matter), before all is scaled."""
NEIGHBOURHOOD, REGION = 2.0, 15.0
"""Width of the local mean that is subtracted for a tissue's shift, and of the regions between which it varies [mm]."""
GHOST_SHIFT = (20.0, 60.0)
"""Least and largest distance of a ghost [mm]."""


def field_with_mismatch(head: Head, fibres: Tensor, share: float, rng: RandomSource) -> LocalField:
    """The local field f = D∗χ + n of a head, where n has the given share of the power.

    n = s·(√(2/3)·structure + √(1/3)·noise), each of unit power in the mask, s such that Σn² = share · Σf² there. The
    structure is the sum of the off-diagonal terms of the tissues' susceptibility tensors, of shifts in place, and of
    ghosts.

    Parameters
    ----------
    head
        Its χ [ppm] is zero outside the mask.
    fibres
        Unit direction of the fibres in voxel axes: (3, x, y, z).
    share
        Power of n over that of f inside the mask, from 0 (f = D∗χ) to below 1.
    rng
        The same seed gives the same n up to the factor s, whatever the share.

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
        (OFF_DIAGONAL, off_diagonal_field(head.chi - MYELIN_ANISOTROPY * head.white, fibres, head.grid)),
        (TISSUE_SHIFT, tissue_shift(head, rng)),
        (GHOSTS, ghost_field(field, head.grid, rng.uniform(*GHOST_SHIFT))),
    )
    structure = sum((math.sqrt(weight) * _unit_power(part, mask) for weight, part in parts), torch.zeros_like(field))
    noise = _unit_power(rng.normal(*head.grid.shape), mask)
    n = math.sqrt(1.0 - WHITE_NOISE) * _unit_power(structure, mask) + math.sqrt(WHITE_NOISE) * noise
    return LocalField(field + _mismatch_scale(field[mask], n[mask], share) * n, mask, head.grid)


def tissue_shift(head: Head, rng: RandomSource) -> Tensor:
    """Frequency shift in place, in proportion to the difference of χ to its neighbourhood.

    Chemical exchange, and iron and myelin in structures smaller than a voxel, shift the frequency where they are,
    without a dipole field; how much depends on the region.

    Parameters
    ----------
    head
        Its χ [ppm].
    rng
        Draws the regional differences.

    Returns
    -------
    Tensor
        In proportion to the shift: (x, y, z).

    References
    ----------
    Shmueli 2011, doi 10.1002/mrm.22604; He 2009, doi 10.1073/pnas.0904899106.
    """
    contrast = head.chi - blur(head.chi, head.grid, NEIGHBOURHOOD)
    return contrast * (1.0 + 0.5 * rng.smooth_noise(head.grid, REGION))


def ghost_field(field: Tensor, grid: Grid, distance: float) -> Tensor:
    """Sum of two copies of a field, moved both ways along the phase encoding axis, y, as periodic motion leaves them.

    Parameters
    ----------
    field
        Periodic on the grid: (x, y, z).
    grid
        Its voxel sizes.
    distance
        By which the copies are moved [mm].

    Returns
    -------
    Tensor
        (x, y, z).
    """
    ky = frequencies(grid)[1].float().to(field.device)
    return ifft(2.0 * torch.cos(2.0 * math.pi * distance * ky) * fft(field), grid.shape)


def _unit_power(x: Tensor, mask: Tensor) -> Tensor:
    """x of zero mean and unit power in the mask, zero outside."""
    x = torch.where(mask, x - x[mask].mean(), 0.0)
    return x / x[mask].square().mean().sqrt().clamp_min(1e-20)


def _mismatch_scale(field: Tensor, n: Tensor, share: float) -> float:
    """s ≥ 0 with Σ(s·n)² = share · Σ(field + s·n)²."""
    field, n = field.double(), n.double()
    ff, fn, nn = float(field @ field), float(field @ n), float(n @ n)
    return (share * fn + math.sqrt((share * fn) ** 2 + (1.0 - share) * nn * share * ff)) / ((1.0 - share) * nn)
