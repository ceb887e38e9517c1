"""Total variation by the alternating direction method of multipliers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.options import AUTO, number_or_auto, option
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.regularisation import Regularisation, require_regularisation, tv_regularisation
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import Filter, fft, frequencies, ifft, kernel_for_real_view
from IR2QSMLib.physics.gradient import BLOCK_SIZE, Gradient

COUPLING = 100.0
"""ρ over λ [mm/ppm]: gradients below its inverse are pulled to zero in one step."""
DATA_COUPLING = 0.1
"""μ of the field's own multipliers where the field outside the mask is free."""
OUTSIDES = ("zero", "free", AUTO)


@dataclass(frozen=True)
class TotalVariation:
    """Least squares with an anisotropic total variation: min ½‖D χ − f‖² + λ‖∇χ‖₁, ∇ periodic, in ppm/mm.

    By ADMM (Bilgic 2014, doi 10.1002/mrm.25029; Milovic 2018, doi 10.1002/mrm.27073), one pair of transforms a step:
    χ̂ = (D f̂ + ρ F ∇ᵀ(z − u)) / (D² + ρ|E|²), z = shrink(∇χ + u, λ/ρ), u ← u + ∇χ − z, ρ = 100 λ. The closed form
    takes the field outside the mask for zero, which it is not; left free there, ‖m (D χ − f)‖ is a term of its own,
    split as ∇χ is, for two pairs a step. Raises ParameterInvalid for a parameter out of range.
    """

    regularisation: Regularisation = option(
        2e-4, "of the penalty [ppm·mm]", parse=number_or_auto, metavar="λ|auto", old_names=("strength",)
    )
    """λ [ppm·mm], or "auto" to follow the noise found in the field."""
    outside: str = option(
        AUTO, "field outside the mask; auto: free with automatic regularisation, else zero", parse=str, choices=OUTSIDES
    )
    """The field outside the mask: "zero" or "free"; "auto" is free with automatic λ."""
    tolerance: float = 1e-3
    """‖Δχ‖/‖χ‖ at which the steps end."""
    max_iterations: int = 250

    def __post_init__(self) -> None:
        require_regularisation("TV", self.regularisation)
        if self.outside not in OUTSIDES:
            raise ParameterInvalid(
                f"TV was told that the field outside the mask is '{self.outside}'; expected one of "
                f"{', '.join(OUTSIDES)}."
            )
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1):
            raise ParameterInvalid(
                f"TV was given tolerance {self.tolerance:g} and {self.max_iterations} steps; expected a tolerance of "
                "0 or more and at least one step."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        field = field.map_volumes(Tensor.contiguous, field.grid)  # as the gradient wants volumes
        chi, notes = self._solve(field, progress)
        return Susceptibility(torch.where(field.mask, chi, 0.0), notes=notes)

    def _solve(self, field: LocalField, progress: Progress) -> tuple[Tensor, dict[str, Any]]:
        """χ of the whole grid [ppm], and how it was found."""
        grid, free = field.grid, self.outside == "free" or (self.outside == AUTO and self.regularisation == AUTO)
        regularisation = tv_regularisation(field, free) if self.regularisation == AUTO else float(self.regularisation)
        closed = _whole(field, COUPLING * regularisation)
        fit = _InMask(field, COUPLING * regularisation, closed.chi) if free else closed
        n_before = closed.n_pairs if free else 0.0
        del closed  # two volumes
        chi, change, n = fit.chi, math.inf, 1
        steps = alternations(fit, Gradient(grid, "periodic"), 1.0 / COUPLING)
        while n < self.max_iterations and change > self.tolerance:
            progress(n / self.max_iterations, "inversion")
            before, chi = chi, next(steps)
            change, n = _relative_change(before, chi) if n > 1 else math.inf, n + 1
        return chi, {
            "regularisation": regularisation,
            "outside": "free" if free else "zero",
            "iterations": n,
            "relative_change": change if math.isfinite(change) else None,  # one step changes nothing yet
            "fft_pairs": fit.n_pairs + n_before,
        }


def alternations(fit: Fit, gradient: Gradient, limit: float) -> Iterator[Tensor]:
    """χ [ppm] after each step of the method of multipliers: gradients less their shrinkage by `limit`, then the `fit`.

    z = shrink(∇χ + u, limit), u ← u + ∇χ − z, and the χ of the fit to ρ ∇ᵀ(z − u); `limit` is in the gradient's unit.
    """
    chi, voxels = fit.chi, gradient.grid.voxel_size
    dual, source = [torch.zeros_like(chi) for _ in range(3)], torch.empty_like(chi)  # u·voxel along each axis
    while True:
        fit.begin(source, slice(0, 1))  # ∇ᵀ(z − u)
        for part in gradient.blocks(chi):
            slope = torch.empty_like(chi[part])
            fit.begin(source, slice(part.start + 1, part.stop + 1))
            for axis, (u, voxel) in enumerate(zip(dual, voxels, strict=True)):
                gradient.difference(chi, axis, slope, part).add_(u[part])
                torch.clamp(slope, -voxel * limit, voxel * limit, out=u[part])  # less its shrinkage
                gradient.add_adjoint(slope.sub_(u[part], alpha=2.0), axis, voxel**-2, source, part)
        chi = fit(source)
        yield chi


class Fit(Protocol):
    """The χ of given multipliers: `begin` lays what goes with ∇ᵀ(z − u) into rows of its volume, and a call solves."""

    chi: Tensor

    def begin(self, source: Tensor, rows: slice) -> None: ...
    def __call__(self, source: Tensor) -> Tensor: ...


class OnGrid:
    """The χ of given multipliers where the data's term is diagonal in k-space: ½ Σ p|χ̂|² − Re(data* χ̂)."""

    def __init__(self, precision: Tensor, data: Tensor, grid: Grid, rho: float) -> None:
        """`precision` p and the spectrum `data`, which is used up: (x, y, z/2 + 1)."""
        self.later = Filter(rho / _denominator(precision, grid, rho), grid.shape)
        parts = torch.view_as_real(data).div_(rho)
        self.data = ifft(data, grid.shape)  # goes with the gradients' part, which saves adding it to χ
        parts.mul_(self.later.kernel)
        self.chi = ifft(data, grid.shape)

    @property
    def n_pairs(self) -> float:
        return 1.5 + self.later.n_fft_pairs

    def begin(self, source: Tensor, rows: slice) -> None:
        source[rows].copy_(self.data[rows])

    def __call__(self, source: Tensor) -> Tensor:
        return self.later(source)


def _whole(field: LocalField, rho: float) -> OnGrid:
    """½‖Dχ − f‖² on the whole grid."""
    d, data = dipole_kernel(field.grid, field.values.device), fft(field.values)
    torch.view_as_real(data).mul_(kernel_for_real_view(d))
    return OnGrid(d.square(), data, field.grid, rho)


class _InMask:
    """The χ of given multipliers, from ½‖m (Dχ − f)‖²: y = Dχ is split off, and its multiplier kept."""

    def __init__(self, field: LocalField, rho: float, start: Tensor) -> None:
        """`start` is the first χ [ppm]."""
        d, self.shape = dipole_kernel(field.grid, field.values.device), field.grid.shape
        denominator = _denominator(DATA_COUPLING * d.square(), field.grid, rho)
        self.of_source = kernel_for_real_view(rho / denominator)
        self.of_field = kernel_for_real_view(DATA_COUPLING * d / denominator)
        self.kernel = kernel_for_real_view(d)
        self.values, self.weight = field.values, field.mask / (1.0 + DATA_COUPLING)
        self.multiplier = torch.zeros_like(field.values)
        self.chi = start
        self.predicted = Filter(d, self.shape)(start)
        self.n_pairs = 1.0

    def begin(self, source: Tensor, rows: slice) -> None:
        source[rows].zero_()

    def __call__(self, source: Tensor) -> Tensor:
        y = self.predicted.add_(self.multiplier)
        torch.sub(y, self.values, out=self.multiplier).mul_(self.weight)
        y.sub_(self.multiplier, alpha=2.0)
        spectrum, other = fft(source), fft(y)
        parts = torch.view_as_real(spectrum)
        parts.mul_(self.of_source).addcmul_(torch.view_as_real(other), self.of_field)
        chi = ifft(spectrum, self.shape)
        parts.mul_(self.kernel)
        self.predicted = ifft(spectrum, self.shape)
        self.n_pairs += 2
        return chi


def _relative_change(before: Tensor, after: Tensor) -> float:
    """‖after − before‖/‖after‖, of pieces that stay in the cache."""
    change, size = 0.0, 0.0
    for old, new in zip(before.view(-1).split(BLOCK_SIZE), after.view(-1).split(BLOCK_SIZE), strict=True):
        step = new - old
        change, size = change + float(step.dot(step)), size + float(new.dot(new))
    return (change / size) ** 0.5 if size > 0.0 else math.nan


def _denominator(data: Tensor, grid: Grid, rho: float) -> Tensor:
    out = data + rho * squared_gradient(grid, data.device)
    out[0, 0, 0] = math.inf  # the mean of χ leaves no field
    return out


def squared_gradient(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """|E|² of the periodic forward difference [1/mm²]: (x, y, z/2 + 1)."""
    out = torch.zeros((), device=device)
    for k, voxel in zip(frequencies(grid, device), grid.voxel_size, strict=True):
        out = out + ((2.0 - 2.0 * torch.cos(2.0 * math.pi * k * voxel)) / voxel**2).float().to(device)
    return out
