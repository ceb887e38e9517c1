"""How much of a local field no susceptibility explains, at each spatial frequency, estimated from the field itself.

Write f = D∗χ + n. In the cone where the dipole kernel D vanishes a field holds next to no χ, so what it holds there is
n, the discrepancy; measured fields have about as much of it at other angles (Milovic 2020, doi 10.1002/mrm.28185;
docs/experiments/measured-brains.md). λ(k) = N(k)/P(k), the powers of n and of χ, then is the regularisation of Wiener's
filter D/(D² + λ), for each scan and each frequency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft, spectrum_multiplicity, wavenumber

STAGE = "spectrum of the field"


@dataclass(frozen=True)
class Spectrum:
    """Powers in shells of |k|, each the mean of |F(m·x)|² over the shell; tensors are (shell), float64, on the CPU."""

    wavenumber: Tensor
    """Mean |k| [cycles/mm], rising."""
    discrepancy: Tensor
    """N, of the part of the field that no χ explains [ppm²]."""
    susceptibility: Tensor
    """P, of χ [ppm²]."""
    field: Tensor
    """Power of the field [ppm²]."""
    counts: Tensor
    """Coefficients of the full spectrum."""
    offset: float
    """The field's constant [ppm], which the scanner's frequency decides and which is no part of n."""

    @property
    def discrepancy_share(self) -> float:
        """Share of the discrepancy in the field's power, 0 to 1."""
        total = float((self.field * self.counts).sum())
        return min(1.0, float((self.discrepancy * self.counts).sum()) / total) if total > 0.0 else 0.0

    @property
    def regularisation(self) -> Tensor:
        """λ = N/P, dimensionless, from `SETTINGS.min_regularisation` to 1: (shell)."""
        ratio = self.discrepancy / self.susceptibility.clamp_min(torch.finfo(torch.float64).tiny)
        return ratio.clamp(SETTINGS.min_regularisation, 1.0)

    @property
    def mean_regularisation(self) -> float:
        """One λ for all frequencies: the mean over the power of χ, which is ΣN/ΣP where no bound is met.

        Where χ has no power at all, it is the mean over the frequencies.
        """
        power = self.susceptibility * self.counts
        weight = power if float(power.sum()) > 0.0 else self.counts
        return float((self.regularisation * weight).sum()) / float(weight.sum())

    def regularisation_at(self, grid: Grid, device: torch.device | str = "cpu") -> Tensor:
        """λ at every frequency of a grid, log λ linear in log |k|: (x, y, z/2 + 1), float32."""
        return interpolate(self.wavenumber, self.regularisation, wavenumber(grid, device))

    def to_dict(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "discrepancy_share": round(self.discrepancy_share, 4),
            "wavenumber_per_mm": [round(k, 4) for k in self.wavenumber.tolist()],
            "regularisation": [round(value, 5) for value in self.regularisation.tolist()],
        }


def interpolate(known: Tensor, values: Tensor, k: Tensor) -> Tensor:
    """Interpolate linearly in logarithms of |k| and of the values, constant beyond the known range.

    Parameters
    ----------
    known : Tensor
        Rising wavenumbers [cycles/mm]: (shell).
    values : Tensor
        Positive values at these: (shell).
    k : Tensor
        Wavenumbers [cycles/mm] at which to interpolate, any shape.

    Returns
    -------
    Tensor
        In the shape and precision of `k`.
    """
    known, values = known.to(k).log(), values.to(k).log()
    if len(known) == 1:
        return values.exp().expand(k.shape)
    at = k.clamp(float(known[0].exp()), float(known[-1].exp())).log_()
    i = torch.bucketize(at, known).clamp_(1, len(known) - 1)
    return torch.lerp(values[i - 1], values[i], (at - known[i - 1]) / (known[i] - known[i - 1])).exp_()


def estimate_spectrum(field: LocalField, progress: Progress = silent) -> tuple[Spectrum, Tensor]:
    """Estimate the powers of discrepancy and χ in a local field, and the map that Wiener's filter makes of them.

    In rounds: N is the mean power in the cone of m·(f − D∗χ₁), times `SETTINGS.cone_power_factor`; P what the field's
    power exceeds N by, over that of D, outside the cone; χ₁ = m·F⁻¹[D/(D² + N/P) F f]. What the mask's edge spreads of
    the field over the cone is explained by χ₁ and so is not counted.

    With `cone_power_factor` = 0.6, N and the share are about 0.6 of the truth: white noise has the same power in the
    cone as elsewhere, and structured discrepancies nearly so. The factor was chosen for the maps
    (docs/experiments/2026-11-30-spectrum.md); a factor of 1 would want all regularisations fitted anew.

    Parameters
    ----------
    field : LocalField
        The local field [ppm], with any constant added to it.
    progress : callable
        Called with the fraction done and the stage.

    Returns
    -------
    Spectrum
        The powers by |k|.
    Tensor
        χ₁ [ppm], zero outside the mask: (x, y, z).
    """
    grid, mask, device = field.grid, field.mask, field.values.device
    d, k = dipole_kernel(grid, device), wavenumber(grid, device)
    cone, outside = d.abs() < SETTINGS.cone_threshold, d.abs() > SETTINGS.outside_threshold
    progress(0.0, STAGE)
    shell = _shells(k, cone)
    mean_in_cone, mean_outside, mean = (_ShellMean(shell, where, grid) for where in (cone, outside, k > 0.0))
    squared_kernel = mean_outside(d.square()).clamp_min(torch.finfo(torch.float64).tiny)
    shell_wavenumbers = mean(k)
    values = torch.where(mask, field.values, 0.0)

    def wiener_map(transformed: Tensor, regularisation: Tensor | float) -> Tensor:
        return torch.where(mask, ifft(transformed * (d / (d.square() + regularisation)), grid.shape), 0.0)

    def powers(transformed: Tensor, chi: Tensor) -> Spectrum:
        residual = values - ifft(d * fft(chi), grid.shape)
        offset = float(residual[mask].mean())
        discrepancy = SETTINGS.cone_power_factor * mean_in_cone(
            fft(torch.where(mask, residual - offset, 0.0)).abs().square()
        )
        power = transformed.abs().square()
        susceptibility = (mean_outside(power) - discrepancy).clamp_min(0.0) / squared_kernel
        return Spectrum(shell_wavenumbers, discrepancy, susceptibility, mean(power), mean.counts, offset)

    transformed = fft(torch.where(mask, values - values[mask].mean(), 0.0))
    chi = wiener_map(transformed, SETTINGS.initial_regularisation)
    progress(0.0, STAGE)
    spectrum = powers(transformed, chi)
    for n in range(SETTINGS.n_rounds):
        progress((n + 1) / (SETTINGS.n_rounds + 1), STAGE)
        transformed = fft(torch.where(mask, values - spectrum.offset, 0.0))
        chi = wiener_map(transformed, spectrum.regularisation_at(grid, device))
        spectrum = powers(transformed, chi)
    return spectrum, chi


class _ShellMean:
    """Means over the part of each shell that lies in a region of k-space, counted as in the full spectrum."""

    def __init__(self, shell: Tensor, where: Tensor, grid: Grid) -> None:
        shell, where = shell.cpu(), where.cpu()  # Apple's GPUs know no float64, and sums on others differ in bits
        self.where = where & (shell >= 0)
        self.weight, self.index = spectrum_multiplicity(grid).expand(shell.shape)[self.where], shell[self.where]
        self.counts = torch.bincount(self.index, self.weight, int(shell.max()) + 1).double()

    def __call__(self, values: Tensor) -> Tensor:
        total = torch.bincount(self.index, self.weight * values.cpu()[self.where], len(self.counts))
        return total / self.counts.clamp_min(1.0)


def _shells(k: Tensor, cone: Tensor) -> Tensor:
    """The shell of every coefficient, −1 at k = 0; one with too few coefficients in the cone is joined to the next."""
    low, high = float(k[k > 0.0].min()), float(k.max())
    edges = torch.logspace(0.0, 1.0, SETTINGS.n_shells + 1, base=high / low, device=k.device) * low
    index = torch.bucketize(k, edges[1:-1], right=True)
    index[k == 0.0] = SETTINGS.n_shells
    joined, number, n_in_cone = [], 0, 0
    for count in torch.bincount(index[cone], minlength=SETTINGS.n_shells + 1).tolist()[:-1]:
        joined.append(number)
        n_in_cone += 2 * count
        if n_in_cone >= SETTINGS.min_cone_coefficients:
            number, n_in_cone = number + 1, 0
    last = max(number - 1, 0)
    return torch.tensor([*(min(i, last) for i in joined), -1], device=k.device)[index]
