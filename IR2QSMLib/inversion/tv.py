"""Total variation by the alternating direction method of multipliers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion.strength import AUTO, Strength, require_strength, tv_strength
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import Filter, frequencies
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.runtime import Progress, silent
from IR2QSMLib.volumes import LocalField, Susceptibility

COUPLING = 100.0
"""ρ over λ [mm/ppm]: gradients below its inverse are pulled to zero in one step."""


@dataclass(frozen=True)
class TotalVariation:
    """Least squares with an anisotropic total variation: min ½‖D χ − f‖² + λ‖∇χ‖₁, ∇ periodic, in ppm/mm.

    By ADMM (Bilgic 2014, doi 10.1002/mrm.25029; Milovic 2018, doi 10.1002/mrm.27073), one pair of transforms a step:
    χ̂ = (D f̂ + ρ F ∇ᵀ(z − u)) / (D² + ρ|E|²), z = shrink(∇χ + u, λ/ρ), u ← u + ∇χ − z, ρ = 100 λ.
    Raises ParameterInvalid unless λ > 0, tolerance ≥ 0 and max_iterations ≥ 1.
    """

    strength: Strength = 2e-4
    """λ [ppm·mm], or "auto" to follow the noise found in the field."""
    tolerance: float = 1e-3
    """‖Δχ‖/‖χ‖ at which the steps end."""
    max_iterations: int = 250

    def __post_init__(self) -> None:
        require_strength("TV", self.strength)
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1):
            raise ParameterInvalid(
                f"TV was given tolerance {self.tolerance:g} and {self.max_iterations} steps; expected a tolerance of "
                "0 or more and at least one step."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        strength = tv_strength(field) if self.strength == AUTO else float(self.strength)
        d, grid = dipole_kernel(field.grid, field.values.device), field.grid
        denominator = d.square() + COUPLING * strength * squared_gradient(grid, d.device)
        denominator[0, 0, 0] = math.inf                 # the mean of χ leaves no field
        first, later = Filter(d / denominator, grid.shape), Filter(COUPLING * strength / denominator, grid.shape)
        data = first(field.values)
        chi, change, n = data, math.inf, 1
        gradient = Gradient(grid, "periodic")
        # u·voxel along each axis, and memory that is used again: new pages would cost more than the arithmetic.
        dual, spare, source = [torch.zeros_like(chi) for _ in range(3)], torch.empty_like(chi), torch.empty_like(chi)
        while n < self.max_iterations and change > self.tolerance:
            progress(n / self.max_iterations, "inversion")
            source.zero_()                                              # ∇ᵀ(z − u)
            for axis, voxel in enumerate(grid.voxel_size):
                slope = gradient.difference(chi, axis, spare).add_(dual[axis])
                new = torch.clamp(slope, -voxel / COUPLING, voxel / COUPLING, out=dual[axis])  # ∇χ + u less its shrinkage
                gradient.add_adjoint(slope.sub_(new, alpha=2.0), axis, voxel**-2, source)
            before, chi = chi, later(source).add_(data)
            change, n = float(before.sub_(chi).norm() / chi.norm()) if n > 1 else math.inf, n + 1
        notes = {
            "strength": strength,
            "iterations": n,
            "relative_change": change,
            "fft_pairs": first.n_pairs + later.n_pairs,
        }
        return Susceptibility(torch.where(field.mask, chi, 0.0), notes=notes)


def squared_gradient(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """|E|² of the periodic forward difference [1/mm²]: (x, y, z/2 + 1)."""
    out = torch.zeros((), device=device)
    for k, voxel in zip(frequencies(grid, device), grid.voxel_size, strict=True):
        out = out + ((2.0 - 2.0 * torch.cos(2.0 * math.pi * k * voxel)) / voxel**2).float().to(device)
    return out
