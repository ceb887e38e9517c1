"""The cone of the dipole kernel: how a map fills it, and where in k-space a discrepancy lies.

Near the cone D = 0 the field holds no information on χ, so that streaks and blotches of a map lie there. Anatomy does
not depend on the direction of B0: a true map has about the same power in the cone as elsewhere at the same |k|.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, GridMismatch, MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, spectrum_multiplicity, wavenumber

CONE_THRESHOLD, OUTSIDE_THRESHOLD = 0.1, 0.2
"""|D| below which a frequency counts as in the cone, and above which as outside it."""
BANDS = ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.35))
"""Bands of |k| [cycles/mm] of the cone index: wavelengths from 50 to 3 mm."""
AGREEMENT_BAND = (0.02, 0.1)
"""|k| [cycles/mm] over which coherence and gain are pooled: wavelengths of blotches and streaks."""
FREQUENCY_BANDS = (*BANDS, (0.35, math.inf))
"""Bands of |k| [cycles/mm] for the shares of a discrepancy."""
DIRECTION_BANDS = ((0.0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.34), (0.34, 0.5), (0.5, math.inf))
"""Bands of |D| for the same."""
MIN_FREQUENCIES = 100
"""Frequencies that a band must have in the cone, and outside it, for an index."""


class ConeAgreement(NamedTuple):
    """How a map agrees with a true one inside the cone."""

    coherence: float
    """Re Σ X·Ȳ / √(Σ|X|² Σ|Y|²), at most 1."""
    gain: float
    """Re Σ X·Ȳ / Σ|Y|²: coherence² for a map of least squared error."""


class DiscrepancyShares(NamedTuple):
    """Share of a discrepancy in the field's power, 0 to 1."""

    total: float
    """Inside the mask."""
    by_frequency: tuple[float, ...]
    """In `FREQUENCY_BANDS`; NaN where the grid holds none."""
    by_direction: tuple[float, ...]
    """In `DIRECTION_BANDS`."""


def cone_index(chi: Tensor, mask: Tensor, grid: Grid) -> tuple[float | None, ...]:
    """Power of a map in the cone over that outside it, in `BANDS`; about 1 for anatomy.

    Index = mean |F(m·χ)|² over |D| < 0.1 / mean |F(m·χ)|² over |D| > 0.2, m the mask. Well above 1 there are streaks,
    far below the cone was left empty. None for a band that the grid does not hold in every direction, or of which it
    has too few frequencies, or in which the map is zero.

    Parameters
    ----------
    chi : Tensor
        Susceptibility [ppm]: (x, y, z). A constant added to it changes the index a little at the mask's edge.
    mask : Tensor
        Where the map is valid, bool: (x, y, z).
    grid : Grid
        Voxel sizes and the direction of B0.

    Returns
    -------
    tuple of float or None
        One number a band.

    Raises
    ------
    GridMismatch
        When a volume does not have the grid's shape.
    MaskInvalid
        When the mask is empty.
    FieldInvalid
        When the map is not finite in the mask.
    """
    power = _spectrum(chi, mask, grid, "map").abs().square().double()
    d, k, weight = _half_spectrum(grid, power.device)
    nyquist = 0.5 / max(grid.voxel_size)
    out: list[float | None] = []
    for low, high in BANDS:
        band = (k >= low) & (k < high)
        cone, outside = band & (d < CONE_THRESHOLD), band & (d > OUTSIDE_THRESHOLD)
        n_cone, n_outside = float(weight[cone].sum()), float(weight[outside].sum())
        power_outside = float((power * weight)[outside].sum())
        if high > nyquist or min(n_cone, n_outside) < MIN_FREQUENCIES or power_outside == 0.0:
            out.append(None)
        else:
            out.append(float((power * weight)[cone].sum()) / n_cone / (power_outside / n_outside))
    return tuple(out)


def cone_agreement(chi: Tensor, truth: Tensor, mask: Tensor, grid: Grid) -> ConeAgreement:
    """Coherence with the truth, and gain, pooled over the cone's frequencies from 0.02 to 0.1 cycles/mm.

    With X and Y the transforms of both maps inside the mask, over |D| < 0.1: coherence Re Σ X·Ȳ / √(Σ|X|² Σ|Y|²), gain
    Re Σ X·Ȳ / Σ|Y|².

    Parameters
    ----------
    chi, truth : Tensor
        Susceptibility [ppm]: (x, y, z).
    mask : Tensor
        Where both are valid, bool: (x, y, z).
    grid : Grid
        Voxel sizes and the direction of B0.

    Returns
    -------
    ConeAgreement
        Both NaN where the grid has no such frequency or a map nothing there.

    Raises
    ------
    GridMismatch, MaskInvalid, FieldInvalid
        As `cone_index`.
    """
    x, y = _spectrum(chi, mask, grid, "map"), _spectrum(truth, mask, grid, "truth")
    d, k, weight = _half_spectrum(grid, x.device)
    where = (k >= AGREEMENT_BAND[0]) & (k < AGREEMENT_BAND[1]) & (d < CONE_THRESHOLD)
    x, y, weight = x[where].to(torch.complex128), y[where].to(torch.complex128), weight[where]
    cross = float((weight * (x * y.conj()).real).sum())
    power_x, power_y = (float((weight * z.abs().square()).sum()) for z in (x, y))
    coherence = cross / math.sqrt(power_x * power_y) if power_x * power_y else math.nan
    return ConeAgreement(coherence, cross / power_y if power_y else math.nan)


def discrepancy_shares(field: Tensor, discrepancy: Tensor, mask: Tensor, grid: Grid) -> DiscrepancyShares:
    """Share of a discrepancy n in the power of the field f that holds it, by frequency and by direction.

    Σ|F(m·n)|² / Σ|F(m·f)|² over each band of |k| and of |D|, m the mask. A share may exceed 1, as n and the rest of f
    may cancel.

    Parameters
    ----------
    field, discrepancy : Tensor
        f and n = f − D∗χ [ppm]: (x, y, z).
    mask : Tensor
        Where they are known, bool: (x, y, z).
    grid : Grid
        Voxel sizes and the direction of B0.

    Returns
    -------
    DiscrepancyShares
        In all, by |k| and by |D|.

    Raises
    ------
    GridMismatch, MaskInvalid, FieldInvalid
        As `cone_index`.
    """
    n, f = (_spectrum(x, mask, grid, name) for x, name in ((discrepancy, "discrepancy"), (field, "field")))
    d, k, weight = _half_spectrum(grid, n.device)
    n, f = (weight * x.abs().square().double() for x in (n, f))

    def shares(x: Tensor, bands: Sequence[tuple[float, float]]) -> tuple[float, ...]:
        return tuple(_ratio(n, f, (x >= low) & (x < high) & (k > 0.0)) for low, high in bands)

    return DiscrepancyShares(_ratio(n, f, k >= 0.0), shares(k, FREQUENCY_BANDS), shares(d, DIRECTION_BANDS))


def _ratio(part: Tensor, total: Tensor, where: Tensor) -> float:
    denominator = float(total[where].sum())
    return float(part[where].sum()) / denominator if denominator else math.nan


def _spectrum(x: Tensor, mask: Tensor, grid: Grid, name: str) -> Tensor:
    if not tuple(x.shape) == tuple(mask.shape) == grid.shape:
        raise GridMismatch(
            f"The {name} has shape {tuple(x.shape)}, the mask {tuple(mask.shape)} and the grid {grid.shape}; "
            "expected one shape."
        )
    if not bool(mask.any()):
        raise MaskInvalid(f"The mask of the {name} is empty; expected voxels inside the brain.")
    if not bool(x[mask].isfinite().all()):
        raise FieldInvalid(f"The {name} is not finite inside the mask; leave such voxels out of the mask.")
    return fft(torch.where(mask, x, 0.0).float())


def _half_spectrum(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """|D|, |k| [cycles/mm] and multiplicity in the full spectrum of each frequency of the half spectrum."""
    k = wavenumber(grid, dtype=torch.float64)
    return dipole_kernel(grid).abs().to(device), k.to(device), spectrum_multiplicity(grid).expand(k.shape).to(device)
