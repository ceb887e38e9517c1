"""The alternating direction method of multipliers for total variation: as in the papers, and fast.

min ½‖D∗χ − f‖² + λ‖z‖₁ with z = ∇χ, s the scaled multipliers of this constraint and μ its weight (Bilgic 2014,
doi 10.1002/mrm.25029). Where the field is known inside a mask m alone, ½‖m (z₂ − f)‖² with z₂ = D∗χ takes the place of
the first term, with multipliers s₂ and weight μ₂ (Milovic 2018, doi 10.1002/mrm.27073).

`reference_tv` and `reference_tv_in_mask` are these steps as the papers have them. `tv_iterations` gives the same maps
by blocks that stay in the processor's cache, faster and with less memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import Filter, fft, frequencies, ifft, kernel_for_real_view
from IR2QSMLib.physics.gradient import Gradient

MU_OVER_LAMBDA = 100.0
"""μ/λ [mm/ppm] (Milovic 2018); its inverse is the threshold of the gradients. It decides how fast χ converges."""
MU_2 = 0.1
"""μ₂, dimensionless. It decides how fast χ converges, not where."""


def reference_tv(field: LocalField, regularisation: float, n_iterations: int) -> Tensor:
    """χ [ppm] after so many iterations, where the field outside the mask counts as it is (zero): (x, y, z)."""
    gradient, mu = Gradient(field.grid, "periodic"), MU_OVER_LAMBDA * regularisation
    d = dipole_kernel(field.grid)
    denominator = _denominator(d.square(), field.grid, mu)
    z = s = torch.zeros(3, *field.grid.shape)
    chi = torch.zeros(field.grid.shape)
    for _ in range(n_iterations):
        numerator = d * fft(field.values) + mu * fft(gradient.adjoint(z - s))
        chi = ifft(numerator / denominator, field.grid.shape)
        z = softshrink(gradient.forward(chi) + s, regularisation / mu)
        s = s + gradient.forward(chi) - z
    return chi


def reference_tv_in_mask(field: LocalField, regularisation: float, n_iterations: int) -> Tensor:
    """χ [ppm] after so many iterations, the first of which is `reference_tv`'s, with the field in the mask alone."""
    gradient, mu = Gradient(field.grid, "periodic"), MU_OVER_LAMBDA * regularisation
    d, m = dipole_kernel(field.grid), field.mask.float()
    denominator = _denominator(MU_2 * d.square(), field.grid, mu)
    s, s2 = torch.zeros(3, *field.grid.shape), torch.zeros(field.grid.shape)
    chi = reference_tv(field, regularisation, 1)
    for _ in range(n_iterations - 1):
        slope, predicted = gradient.forward(chi), ifft(d * fft(chi), field.grid.shape)
        z = softshrink(slope + s, regularisation / mu)
        z2 = (m * field.values + MU_2 * (predicted + s2)) / (m + MU_2)
        s, s2 = s + slope - z, s2 + predicted - z2
        numerator = mu * fft(gradient.adjoint(z - s)) + MU_2 * d * fft(z2 - s2)
        chi = ifft(numerator / denominator, field.grid.shape)
    return chi


class ChiUpdate(Protocol):
    """The χ of an iteration, from a right-hand side ∇ᵀ(z − s) that is added to what `initialise` writes into it."""

    chi: Tensor

    @property
    def n_fft_pairs(self) -> float: ...
    def initialise(self, rhs: Tensor, rows: slice) -> None: ...
    def __call__(self, rhs: Tensor) -> Tensor: ...


def tv_iterations(update: ChiUpdate, gradient: Gradient) -> Iterator[Tensor]:
    """χ [ppm] after each iteration that follows the update's first χ: (x, y, z).

    z = shrink(∇χ + s, λ/μ) and s ← s + ∇χ − z, block by block and axis by axis, then the χ of ∇ᵀ(z − s). The
    multipliers are stored times the voxel size, as differences are, and z is not stored: with g = ∇χ + s, the new s is
    g clamped to ±λ/μ, and z − s is g − 2s.
    """
    chi, voxel_size, threshold = update.chi, gradient.grid.voxel_size, 1.0 / MU_OVER_LAMBDA
    multipliers, rhs = [torch.zeros_like(chi) for _ in range(3)], torch.empty_like(chi)
    while True:
        update.initialise(rhs, slice(0, 1))
        for block in gradient.blocks(chi):
            slope = torch.empty_like(chi[block])
            update.initialise(rhs, slice(block.start + 1, block.stop + 1))
            for axis, (s, voxel) in enumerate(zip(multipliers, voxel_size, strict=True)):
                gradient.difference(chi, axis, slope, block).add_(s[block])
                torch.clamp(slope, -voxel * threshold, voxel * threshold, out=s[block])
                gradient.add_adjoint(slope.sub_(s[block], alpha=2.0), axis, voxel**-2, rhs, block)
        chi = update(rhs)
        yield chi


class ClosedFormUpdate:
    """χ̂ = (D f̂ + μ F ∇ᵀ(z − s)) / (D² + μ|E|²), one pair of transforms: the field counts outside the mask, too.

    Parameters
    ----------
    field : LocalField
        The local field [ppm].
    mu : float
        μ, dimensionless times mm².
    """

    def __init__(self, field: LocalField, mu: float) -> None:
        d, data = dipole_kernel(field.grid, field.values.device), fft(field.values)
        data_as_real = torch.view_as_real(data).mul_(kernel_for_real_view(d))
        self._filter = Filter(mu / _denominator(d.square(), field.grid, mu), field.grid.shape)
        data_as_real.div_(mu)
        self._data = ifft(data, field.grid.shape)  # F⁻¹ D f̂/μ, added to ∇ᵀ(z − s)
        data_as_real.mul_(self._filter.kernel)
        self.chi = ifft(data, field.grid.shape)

    @property
    def n_fft_pairs(self) -> float:
        """Pairs of transforms so far."""
        return 1.5 + self._filter.n_fft_pairs

    def initialise(self, rhs: Tensor, rows: slice) -> None:
        """Write the data's part of the right-hand side into its rows."""
        rhs[rows].copy_(self._data[rows])

    def __call__(self, rhs: Tensor) -> Tensor:
        """χ [ppm]: (x, y, z)."""
        return self._filter(rhs)


class MaskedUpdate:
    """χ̂ = (μ₂ D F(z₂ − s₂) + μ F ∇ᵀ(z − s)) / (μ₂ D² + μ|E|²), two pairs of transforms: the field in the mask alone.

    Parameters
    ----------
    field : LocalField
        The local field [ppm].
    mu : float
        μ, dimensionless times mm².
    start : Tensor
        The first χ [ppm]: (x, y, z).
    """

    def __init__(self, field: LocalField, mu: float, start: Tensor) -> None:
        d, self._shape = dipole_kernel(field.grid, field.values.device), field.grid.shape
        denominator = _denominator(MU_2 * d.square(), field.grid, mu)
        self._kernel_of_rhs = kernel_for_real_view(mu / denominator)
        self._kernel_of_data = kernel_for_real_view(MU_2 * d / denominator)
        self._kernel = kernel_for_real_view(d)
        self._values, self._weight = field.values, field.mask / (1.0 + MU_2)
        self._multipliers = torch.zeros_like(field.values)  # s₂
        self.chi = start
        self._predicted = Filter(d, self._shape)(start)  # D∗χ
        self.n_fft_pairs = 1.0

    def initialise(self, rhs: Tensor, rows: slice) -> None:
        """Empty the rows of the right-hand side: the data's part has a filter of its own."""
        rhs[rows].zero_()

    def __call__(self, rhs: Tensor) -> Tensor:
        """χ [ppm]: (x, y, z)."""
        data = self._predicted.add_(self._multipliers)  # D∗χ + s₂, of which the new s₂ is m·(… − f)/(1 + μ₂)
        torch.sub(data, self._values, out=self._multipliers).mul_(self._weight)
        data.sub_(self._multipliers, alpha=2.0)  # z₂ − s₂
        spectrum, data_spectrum = fft(rhs), fft(data)
        spectrum_as_real = torch.view_as_real(spectrum).mul_(self._kernel_of_rhs)
        spectrum_as_real.addcmul_(torch.view_as_real(data_spectrum), self._kernel_of_data)
        chi = ifft(spectrum, self._shape)
        spectrum_as_real.mul_(self._kernel)
        self._predicted = ifft(spectrum, self._shape)
        self.n_fft_pairs += 2
        return chi


def squared_gradient(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """|E|² of the periodic forward difference [1/mm²]: (x, y, z/2 + 1)."""
    out = torch.zeros((), device=device)
    for k, voxel in zip(frequencies(grid, device), grid.voxel_size, strict=True):
        out = out + ((2.0 - 2.0 * torch.cos(2.0 * math.pi * k * voxel)) / voxel**2).float().to(device)
    return out


def _denominator(data: Tensor, grid: Grid, mu: float) -> Tensor:
    out = data + mu * squared_gradient(grid, data.device)
    out[0, 0, 0] = math.inf  # no field depends on the mean of χ, which becomes zero
    return out
