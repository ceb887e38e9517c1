"""Harmonic polynomials: the fields that sources outside a region have inside it, from smooth to fine."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid

MAX_SAMPLES = 20_000
"""Voxels that a fit uses, at most; the polynomials have some tens of coefficients."""


def harmonic_polynomials(position: Tensor, order: int) -> Tensor:
    """All solid harmonics rˡ·Pₗᵐ(cos θ)·(cos mφ, sin mφ) up to an order, by their recursion in l.

    Parameters
    ----------
    position : Tensor
        Points (x, y, z), best about their mean and no larger than 1: (n, 3).
    order : int
        Largest l.

    Returns
    -------
    Tensor
        One column a polynomial: (n, (order + 1)²).
    """
    x, y, z = position.T
    square = x * x + y * y + z * z
    real, imaginary = torch.ones_like(x), torch.zeros_like(x)  # (x + iy)ᵐ
    columns = []
    for m in range(order + 1):
        before, now = torch.zeros_like(x), torch.ones_like(x)
        for degree in range(m, order + 1):
            columns += [now * real] if m == 0 else [now * real, now * imaginary]
            after = ((2 * degree + 1) * z * now - (degree + m) * square * before) / (degree + 1 - m)
            before, now = now, after
        real, imaginary = x * real - y * imaginary, x * imaginary + y * real
    return torch.stack(columns, dim=1)


def harmonic_share(values: Tensor, mask: Tensor, grid: Grid, order: int, max_samples: int = MAX_SAMPLES) -> float:
    """Share of a field's variance in a mask that harmonic polynomials up to an order explain, 0 to 1.

    Parameters
    ----------
    values : Tensor
        Field, any unit: (x, y, z).
    mask : Tensor
        Bool: (x, y, z).
    grid : Grid
        Its voxel sizes.
    order : int
        Of the polynomials.
    max_samples : int
        Every n-th voxel of the mask is used where it has more.

    Returns
    -------
    float
        0 where the field is constant or the mask has fewer voxels than there are polynomials.
    """
    step = max(1, int(mask.sum()) // max_samples)
    index = mask.nonzero()[::step].cpu()  # in double precision, which not every device knows
    if len(index) < (order + 1) ** 2:
        return 0.0
    position = index.double() * torch.tensor(grid.voxel_size, dtype=torch.float64)
    position = position - position.mean(0)
    columns = harmonic_polynomials(position / position.abs().max().clamp_min(1e-12), order)
    columns = columns / columns.norm(dim=0).clamp_min(1e-12)
    sample = values[mask][::step].cpu().double()
    sample = sample - sample.mean()
    total = float(sample.square().sum())
    if total == 0.0:
        return 0.0
    gram = columns.T @ columns + 1e-9 * torch.eye(columns.shape[1], dtype=torch.float64)
    explained = columns @ torch.linalg.solve(gram, columns.T @ sample)
    return min(1.0, max(0.0, 1.0 - float((sample - explained).square().sum()) / total))
