"""Whether a field has the right sign, by what is strongest in every brain: veins and iron, both paramagnetic."""

from __future__ import annotations

import torch

from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import blur, fft, ifft

REGULARISATION = 0.02
"""λ of the Tikhonov inversion."""
FINE_SIGMA, COARSE_SIGMA = 1.0, 8.0
"""σ [mm] of the Gaussians whose difference keeps veins and nuclei."""
EDGE_SIGMA, INSIDE = 4.0, 0.84
"""σ [mm] of the Gaussian of the mask, and its value inside: one σ from a plane edge, where artefacts are."""
TAIL_SHARE = 0.003
"""Share of the voxels at either end of the range that are compared."""
MIN_TAIL_VOXELS = 10
"""Voxels of a tail below which nothing is said."""
FLIPPED_BALANCE = -0.1
"""Sign balance below which the sign seems flipped."""
BRAIN_VOLUMES = (3e5, 2e6)
"""Smallest and largest mask [mm³] that can be a human brain: a newborn's has 350 mL, the largest adults' 1.8 L."""
DARK, MOST_DARK = 0.1, 0.05
"""Share of the median magnitude below which a voxel is air or bone, and the share of them that a brain's mask may hold:
its veins and iron are as dark in late echoes only."""


def may_be_brain(local: LocalField) -> bool:
    """Whether the mask can be that of a whole brain: neither a part of one nor the head with its air, bone and fat."""
    low, high = BRAIN_VOLUMES
    if not low <= int(local.mask.sum()) * local.grid.voxel_volume <= high:
        return False
    if local.magnitude is None:
        return True
    magnitude = local.magnitude[local.mask]
    return float((magnitude < DARK * magnitude.median()).float().mean()) <= MOST_DARK


def sign_balance(local: LocalField) -> float:
    """(p − d)/(p + d), p and d the mean |χ| of the most para- and diamagnetic voxels, +1 to −1.

    χ comes from a quick Tikhonov inversion, without its smooth part and the mask's edge.

    Parameters
    ----------
    local : LocalField
        In ppm.

    Returns
    -------
    float
        0 where the mask is too small.
    """
    grid = local.grid
    kernel = dipole_kernel(grid, local.values.device)
    values = torch.where(local.mask, local.values, 0.0)
    chi = torch.where(local.mask, ifft(kernel / (kernel.square() + REGULARISATION) * fft(values), grid.shape), 0.0)
    fine = blur(chi, grid, FINE_SIGMA) - blur(chi, grid, COARSE_SIGMA)
    inner = local.mask & (blur(local.mask.float(), grid, EDGE_SIGMA) > INSIDE)
    n_tail = int(TAIL_SHARE * int(inner.sum()))
    if n_tail < MIN_TAIL_VOXELS:
        return 0.0
    centred = (fine[inner] - fine[inner].median()).sort().values
    para, dia = float(centred[-n_tail:].mean()), -float(centred[:n_tail].mean())
    return (para - dia) / (para + dia) if para + dia > 0.0 else 0.0


def sign_flipped(local: LocalField) -> bool:
    """Whether what is strongest in a whole brain seems diamagnetic, as when the phase has the wrong sign."""
    return may_be_brain(local) and sign_balance(local) < FLIPPED_BALANCE
