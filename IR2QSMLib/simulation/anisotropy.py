"""Fields of white matter's anisotropic susceptibility, which no isotropic χ has."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import fft, frequencies, ifft

WHITE_MATTER_ANISOTROPY = 0.014
"""Difference of χ along and across white matter's fibres [ppm]: Li 2012, doi 10.1016/j.neuroimage.2011.09.072."""


def off_diagonal_field(anisotropy: Tensor, fibres: Tensor, grid: Grid) -> Tensor:
    """Field of the tensor components χ_xz and χ_yz, z along B0.

    F δ = −(k·b)(k·F v)/|k|², v = Δχ·(n·b)·(n − (n·b)b): the part of χ·b, for the tensor Δχ·n nᵀ, that is perpendicular
    to B0. The part along B0 acts as an isotropic χ does and is left out. The field is largest where k lies at 45° to
    B0, beside the cone (54.7°), where D∗χ vanishes.

    Parameters
    ----------
    anisotropy
        Δχ [ppm]: (x, y, z).
    fibres
        n, unit vectors in voxel axes: (3, x, y, z).
    grid
        Voxel sizes and b, the direction of B0.

    Returns
    -------
    Tensor
        [ppm]: (x, y, z).

    References
    ----------
    Liu 2010, doi 10.1002/mrm.22482.
    """
    b, cosine = _b0_and_cosine(fibres, grid)
    return -_longitudinal_part(anisotropy * cosine * (fibres - cosine * b), grid)


def white_matter_field(white: Tensor, fibres: Tensor, grid: Grid, microstructure: float) -> Tensor:
    """Field of white matter's anisotropic susceptibility, and the frequency shift of its microstructure.

    F δ = (b·F v)/3 − (k·b)(k·F v)/|k|², v = χ·b, χ = Δχ·(n nᵀ − 1/3), and a shift in place in proportion to
    2/3 − sin² of the angle between the fibres and B0.

    Parameters
    ----------
    white
        Share of white matter: (x, y, z).
    fibres
        n, unit vectors in voxel axes: (3, x, y, z).
    grid
        Voxel sizes and b, the direction of B0.
    microstructure
        Frequency shift of fibres along B0 over that of fibres across it [ppm].

    Returns
    -------
    Tensor
        [ppm]: (x, y, z).

    References
    ----------
    Liu 2010, doi 10.1002/mrm.22482; Wharton 2015, doi 10.1002/mrm.25189.
    """
    b, cosine = _b0_and_cosine(fibres, grid)
    v = WHITE_MATTER_ANISOTROPY * white * (fibres * cosine - b / 3.0)
    field = (v * b).sum(0) / 3.0 - _longitudinal_part(v, grid)
    return field - microstructure * white * (1.0 - cosine.square() - 2.0 / 3.0)


def _b0_and_cosine(fibres: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Direction of B0, (3, 1, 1, 1), and the cosine of its angle to the fibres, (x, y, z)."""
    b = torch.tensor(grid.b0_direction, dtype=torch.float32, device=fibres.device).view(3, 1, 1, 1)
    return b, (fibres * b).sum(0)


def _longitudinal_part(v: Tensor, grid: Grid) -> Tensor:
    """F⁻¹[(k·b)(k·F v)/|k|²] of a vector field (3, x, y, z): (x, y, z)."""
    k = [f.float().to(v.device) for f in frequencies(grid)]
    k2 = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).clamp_min(1e-12)
    kv = sum((f * fft(c) for f, c in zip(k, v, strict=True)), torch.zeros((), dtype=torch.complex64))
    b = torch.tensor(grid.b0_direction, dtype=torch.float32)
    kb = sum((f * float(c) for f, c in zip(k, b, strict=True)), torch.zeros(()))
    return ifft(kv * kb / k2, grid.shape)
