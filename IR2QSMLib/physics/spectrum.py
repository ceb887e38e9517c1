"""How much of a local field no susceptibility explains, at each spatial frequency, read off the field itself.

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
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, frequencies, ifft
from IR2QSMLib.physics.settings import SETTINGS, Settings

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
    """Of the field [ppm²]."""
    counts: Tensor
    """Coefficients of the full spectrum."""
    offset: float
    """The field's constant [ppm], which the scanner's frequency decides and which is no part of n."""

    @property
    def share(self) -> float:
        """Of the discrepancy in the field's power, 0 to 1."""
        total = float((self.field * self.counts).sum())
        return min(1.0, float((self.discrepancy * self.counts).sum()) / total) if total > 0.0 else 0.0

    @property
    def regularisation(self) -> Tensor:
        """λ = N/P, dimensionless: (shell)."""
        ratio = self.discrepancy / self.susceptibility.clamp_min(torch.finfo(torch.float64).tiny)
        return ratio.clamp(SETTINGS.least, 1.0)

    @property
    def mean_regularisation(self) -> float:
        """One λ for all frequencies: the mean over the power of χ, which is ΣN/ΣP where no bound is met."""
        power = self.susceptibility * self.counts
        total = float(power.sum())
        return float((self.regularisation * power).sum()) / total if total > 0.0 else SETTINGS.least

    def at(self, grid: Grid, device: torch.device | str = "cpu") -> Tensor:
        """λ at every frequency of a grid, log λ linear in log |k|: (x, y, z/2 + 1), float32."""
        return interpolate(self.wavenumber, self.regularisation, wavenumber(grid, device))

    def to_dict(self) -> dict[str, Any]:
        """For the provenance."""
        return {
            "discrepancy_share": round(self.share, 4),
            "wavenumber_per_mm": [round(k, 4) for k in self.wavenumber.tolist()],
            "regularisation": [round(value, 5) for value in self.regularisation.tolist()],
        }


def interpolate(known: Tensor, values: Tensor, k: Tensor) -> Tensor:
    """Positive `values` (shell) at the wavenumbers `known` (shell), at those of `k`: its shape; constant beyond."""
    known, values = known.to(k).log(), values.to(k).log()
    if len(known) == 1:
        return values.exp().expand(k.shape)
    at = k.clamp(float(known[0].exp()), float(known[-1].exp())).log_()
    i = torch.bucketize(at, known).clamp_(1, len(known) - 1)
    return torch.lerp(values[i - 1], values[i], (at - known[i - 1]) / (known[i] - known[i - 1])).exp_()


def wavenumber(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """|k| [cycles/mm] of the half spectrum: (x, y, z/2 + 1), float32."""
    x, y, z = (f.float().to(device) for f in frequencies(grid, device))
    return (x**2 + y**2 + z**2).sqrt_()


def estimate_spectrum(
    field: LocalField, settings: Settings = SETTINGS, progress: Progress = silent
) -> tuple[Spectrum, Tensor]:
    """The powers of discrepancy and χ in a local field [ppm], and the first map that they give [ppm]: (x, y, z).

    By turns: N is the mean power in the cone of m·(f − D∗χ₁), times `cone_to_mean`; P what the field's power exceeds N
    by, over that of D, outside the cone; χ₁ = m·F⁻¹[D/(D² + N/P) F f]. What the mask's edge spreads of the field over
    the cone is explained by χ₁ and so is not counted.
    """
    grid, mask, device = field.grid, field.mask, field.values.device
    d, k = dipole_kernel(grid, device), wavenumber(grid, device)
    cone, outside = d.abs() < settings.cone, d.abs() > settings.outside
    progress(0.0, STAGE)
    shell = _shells(k, cone, settings)
    in_cone, outside_cone, everywhere = (_ShellMean(shell, where, grid) for where in (cone, outside, k > 0.0))
    squared, wavenumbers = outside_cone(d.square()).clamp_min(torch.finfo(torch.float64).tiny), everywhere(k)
    values = torch.where(mask, field.values, 0.0)

    def first_map(transformed: Tensor, regularisation: Tensor | float) -> Tensor:
        return torch.where(mask, ifft(transformed * (d / (d.square() + regularisation)), grid.shape), 0.0)

    def powers(transformed: Tensor, chi: Tensor) -> Spectrum:
        left = values - ifft(d * fft(chi), grid.shape)
        offset = float(left[mask].mean())
        discrepancy = settings.cone_to_mean * in_cone(fft(torch.where(mask, left - offset, 0.0)).abs().square())
        power = transformed.abs().square()
        susceptibility = (outside_cone(power) - discrepancy).clamp_min(0.0) / squared
        return Spectrum(wavenumbers, discrepancy, susceptibility, everywhere(power), everywhere.counts, offset)

    transformed = fft(torch.where(mask, values - values[mask].mean(), 0.0))
    chi = first_map(transformed, settings.first)
    progress(0.0, STAGE)
    spectrum = powers(transformed, chi)
    for number in range(settings.rounds):
        progress((number + 1) / (settings.rounds + 1), STAGE)
        transformed = fft(torch.where(mask, values - spectrum.offset, 0.0))
        chi = first_map(transformed, spectrum.at(grid, device))
        spectrum = powers(transformed, chi)
    return spectrum, chi


class _ShellMean:
    """Means over the part of each shell that lies in a region of k-space, counted as in the full spectrum."""

    def __init__(self, shell: Tensor, where: Tensor, grid: Grid) -> None:
        shell, where = shell.cpu(), where.cpu()  # Apple's GPUs know no float64, and sums on others differ in bits
        self.where = where & (shell >= 0)
        multiplicity = torch.full((shell.shape[-1],), 2.0, dtype=torch.float64)
        multiplicity[0] = 1.0
        if grid.shape[-1] % 2 == 0:
            multiplicity[-1] = 1.0
        self.weight, self.index = multiplicity.expand(shell.shape)[self.where], shell[self.where]
        self.counts = torch.bincount(self.index, self.weight, int(shell.max()) + 1).double()

    def __call__(self, values: Tensor) -> Tensor:
        total = torch.bincount(self.index, self.weight * values.cpu()[self.where], len(self.counts))
        return total / self.counts.clamp_min(1.0)


def _shells(k: Tensor, cone: Tensor, settings: Settings) -> Tensor:
    """The shell of every coefficient, −1 at k = 0; one with too little of the cone is joined to the next."""
    low, high = float(k[k > 0.0].min()), float(k.max())
    edges = torch.logspace(0.0, 1.0, settings.shells + 1, base=high / low, device=k.device) * low
    index = torch.bucketize(k, edges[1:-1], right=True)
    index[k == 0.0] = settings.shells
    joined, number, held = [], 0, 0
    for count in torch.bincount(index[cone], minlength=settings.shells + 1).tolist()[:-1]:
        joined.append(number)
        held += 2 * count
        if held >= settings.fewest:
            number, held = number + 1, 0
    last = max(number - 1, 0)
    return torch.tensor([*(min(i, last) for i in joined), -1], device=k.device)[index]
