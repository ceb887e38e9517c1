"""Whether a field has the right sign, by what is strongest in every brain: veins and iron, both paramagnetic."""

from __future__ import annotations

import math

import torch

from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.distance import distance_from
from IR2QSMLib.physics.fourier import blur, fft, ifft
from IR2QSMLib.physics.working_grid import WorkingGrid

# The numbers were chosen on simulated heads: docs/experiments/2026-12-01-sign-check.md.
REGULARISATION = 0.02
"""λ of the Tikhonov inversion."""
FINE_SIGMA, COARSE_SIGMA = 1.0, 8.0
"""σ [mm] of the Gaussians whose difference keeps veins and nuclei."""
DEPTH = 8.0
"""Distance from the mask's surface [mm] up to which nothing is counted: there are artefacts, and where the mask is too
large bone and air."""
STRONG = 4.0
"""Robust standard deviations from the median beyond which a voxel is strong."""
STRONG_SHARES = (2e-4, 0.03)
"""Least and largest share of strong voxels: noise has fewer, and fields of bone and air within the mask have more."""
MIN_STRONG = 50
"""Strong voxels below which nothing is said."""
MIN_DEEPEST = 28.0
"""Distance from the mask's surface [mm] that its deepest voxel must have: thin slabs may hold few veins or none."""
FLIPPED_BALANCE = -0.45
"""Sign balance below which the sign seems flipped."""
BRAIN_VOLUMES = (3e5, 2e6)
"""Smallest and largest mask [mm³] that can be a human brain: a newborn's has 350 mL, the largest adults' 1.8 L."""
DARK, MOST_DARK = 0.1, 0.05
"""Share of the median magnitude below which a voxel is air or bone, and the share of them that a brain's mask may hold:
its veins and iron are as dark in late echoes only."""


def may_be_brain(local: LocalField) -> bool:
    """Whether the mask can be that of a brain: of its size, and without the head's air, bone and fat."""
    low, high = BRAIN_VOLUMES
    if not low <= int(local.mask.sum()) * local.grid.voxel_volume <= high:
        return False
    if local.magnitude is None:
        return True
    magnitude = local.magnitude[local.mask]
    return float((magnitude < DARK * magnitude.median()).float().mean()) <= MOST_DARK


def sign_balance(local: LocalField) -> float:
    """(p − d)/(p + d), p and d the numbers of strongly para- and diamagnetic voxels inside the mask, +1 to −1.

    χ comes from a quick Tikhonov inversion, without its smooth part. Strong are voxels beyond `STRONG` robust standard
    deviations (1.4826 times the median distance) from the median.

    Parameters
    ----------
    local : LocalField
        In ppm.

    Returns
    -------
    float
        0 where the mask is thin, and where too few or too many voxels are strong.
    """
    if not bool(local.mask.any()):
        return 0.0
    field_and_mask = LocalField(local.values, local.mask, local.grid)
    field = WorkingGrid.around(field_and_mask, margin=4).to_working_grid(field_and_mask)
    grid, mask = field.grid, field.mask
    kernel = dipole_kernel(grid, mask.device)
    chi = torch.where(mask, ifft(kernel / (kernel.square() + REGULARISATION) * fft(field.values), grid.shape), 0.0)
    fine = blur(chi, grid, FINE_SIGMA) - blur(chi, grid, COARSE_SIGMA)
    depth = distance_from(~mask, grid, math.inf)
    if float(depth.max()) < MIN_DEEPEST:
        return 0.0
    inner = fine[depth > DEPTH]
    centred = inner - inner.median()
    limit = STRONG * 1.4826 * centred.abs().median()
    n_para, n_dia = int((centred > limit).sum()), int((centred < -limit).sum())
    n_strong = n_para + n_dia
    low, high = STRONG_SHARES
    if n_strong < max(MIN_STRONG, low * len(inner)) or n_strong > high * len(inner):
        return 0.0
    return (n_para - n_dia) / n_strong


def sign_flipped(local: LocalField) -> bool:
    """Whether what is strongest in a brain seems diamagnetic, as when the phase has the wrong sign."""
    return may_be_brain(local) and sign_balance(local) < FLIPPED_BALANCE
