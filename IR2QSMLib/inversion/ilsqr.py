"""iLSQR: weighted least squares, less the streaks that a fast estimate separates from edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import Filter, fft, ifft
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.physics.solvers import Solution, conjugate_gradient
from IR2QSMLib.physics.sphere import sphere_mean_kernel

LAPLACIAN_PERCENTILES = (60.0, 99.9)
"""Percentiles of the field's Laplacian: its weight falls from 1 to 0 between them (Li 2015)."""
GRADIENT_PERCENTILES = (50.0, 70.0)
"""Percentiles of the fast estimate's gradient: its weight falls from 1 to 0 between them (Li 2015)."""
SPHERE_RADIUS = 3.0
"""Radius of the spherical mean that fills the cone in the fast estimate [mm]."""
KERNEL_POWER, KERNEL_PERCENTILES = 0.001, (1.0, 30.0)
"""|D|^KERNEL_POWER, from 0 to 1 between these percentiles of itself, is the fast estimate's weight in k-space."""
TKD_THRESHOLD = 0.125
"""Threshold of the TKD from which the fast estimate takes its scale."""
FAST_ESTIMATE_FFT_PAIRS = 3.5
"""Two filters, TKD's pair and the sphere's transform."""


@dataclass(frozen=True)
class Ilsqr:
    """Streaks estimated and removed.

    1. χ₁ of min ‖D F w (F⁻¹ D F χ − f)‖, w small where the field is rough.
    2. A fast estimate of the edges: sign(D) in place of D, and the cone filled by a spherical mean.
    3. The streaks χ_s, of the cone |D| < cone alone, of min ‖W ∇(χ_s − χ₁)‖, W 0 at the edges.
    4. χ = χ₁ − χ_s.

    Two things differ from the paper, for what is around a strong source. Conjugate gradients take the place of LSQR:
    the first equation's matrix is symmetric and positive semidefinite, and LSQR, which squares its condition, does not
    reach the tolerance in 50 steps of twice the cost, and leaves a halo. And steps 3 and 4 are taken `rounds` times,
    each with the edges of the map before as well: the fast estimate shows shadows of the source as edges, which then
    stay.

    Raises
    ------
    ParameterInvalid
        Unless 0 < cone < 2/3, tolerance ≥ 0, max_iterations ≥ 1 and rounds ≥ 1.

    References
    ----------
    Li et al. 2015, NeuroImage, doi 10.1016/j.neuroimage.2014.12.043.
    """

    cone: float = 0.1
    """|D| below which streaks lie."""
    tolerance: float = 0.01
    """Relative residual of the normal equations at which either solver ends."""
    max_iterations: int = 50
    """Most iterations of either solver."""
    rounds: int = 2
    """How often streaks are separated from edges, 1 as published; an edge is where any estimate so far has one."""

    def __post_init__(self) -> None:
        if not 0.0 < self.cone < 2.0 / 3.0:
            raise ParameterInvalid(f"The cone of iLSQR is {self.cone:g}; expected a number between 0 and 2/3.")
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1 and self.rounds >= 1):
            raise ParameterInvalid(
                f"iLSQR has tolerance {self.tolerance:g}, {self.max_iterations} iterations and {self.rounds} rounds; "
                "expected a tolerance of 0 or more, at least one iteration and at least one round."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        field = field.map_volumes(Tensor.contiguous, field.grid)  # as `Gradient.difference` needs them
        kernel, gradient = dipole_kernel(field.grid, field.values.device), Gradient(field.grid, "periodic")
        dipole = Filter(kernel, field.grid.shape)
        solutions = [self._least_squares(field, dipole, part_of(progress, 0.0, 0.2))]
        first_map = torch.where(field.mask, solutions[0].x, 0.0)
        edge_weights = gradient_weights(fast_estimate(field, kernel), field.mask, gradient)
        in_cone = kernel.abs() < self.cone
        in_cone[0, 0, 0] = False  # a constant has no gradient, and any would solve the equation
        cone_filter, chi = Filter(in_cone.float(), field.grid.shape), first_map
        for n in range(self.rounds):
            if n > 0:
                new_weights = gradient_weights(chi, field.mask, gradient)
                edge_weights = [torch.minimum(w, new) for w, new in zip(edge_weights, new_weights, strict=True)]
            round_progress = part_of(progress, 0.2 + 0.8 * n / self.rounds, 0.2 + 0.8 * (n + 1) / self.rounds)
            streaks = self._streaks(first_map, edge_weights, gradient, cone_filter, round_progress)
            chi = torch.where(field.mask, first_map - streaks.x, 0.0)
            solutions.append(streaks)
        notes = {
            "iterations": [s.n_iterations for s in solutions],
            "relative_residual": [s.relative_residual for s in solutions],
            "fft_pairs": dipole.n_fft_pairs + cone_filter.n_fft_pairs + FAST_ESTIMATE_FFT_PAIRS,
        }
        return Susceptibility(chi, notes=notes)

    def _least_squares(self, field: LocalField, dipole: Filter, progress: Progress) -> Solution:
        """χ₁ [ppm] of D∗(w·(D∗χ)) = D∗(w·f)."""
        weight = laplacian_weight(field)
        return self._solve(lambda chi: dipole(dipole(chi).mul_(weight)), dipole(weight * field.values), progress)

    def _streaks(
        self, chi: Tensor, weights: list[Tensor], gradient: Gradient, cone_filter: Filter, progress: Progress
    ) -> Solution:
        """χ_s [ppm] of C∇ᵀW²∇C χ_s = C∇ᵀW²∇χ, C the projection on the cone's frequencies.

        All vectors of the solver are sums of such frequencies, so that C need not be applied before ∇.
        """
        squared = [(w / voxel).square_() for w, voxel in zip(weights, gradient.grid.voxel_size, strict=True)]

        def weighted_laplacian(x: Tensor) -> Tensor:
            """∇ᵀW²∇x, block by block."""
            out = torch.zeros_like(x)
            for block in gradient.blocks(x):
                slope = torch.empty_like(x[block])
                for axis, weight in enumerate(squared):
                    gradient.difference(x, axis, slope, block).mul_(weight[block])
                    gradient.add_adjoint(slope, axis, 1.0, out, block)
            return out

        return self._solve(lambda x: cone_filter(weighted_laplacian(x)), cone_filter(weighted_laplacian(chi)), progress)

    def _solve(self, apply: Callable[[Tensor], Tensor], rhs: Tensor, progress: Progress) -> Solution:
        return conjugate_gradient(
            apply,
            rhs,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            progress=lambda fraction, _: progress(fraction, "inversion"),
        )


def laplacian_weight(field: LocalField) -> Tensor:
    """w of |∇²f| inside the mask, 1 to 0 between `LAPLACIAN_PERCENTILES`, and 0 outside: (x, y, z).

    Neighbours outside the mask, where the field is not known, take no part.
    """
    gradient, mask = Gradient(field.grid, "zero"), field.mask
    laplacian, slope = torch.zeros_like(field.values), torch.empty_like(field.values)
    for axis, voxel in enumerate(field.grid.voxel_size):
        gradient.difference(field.values, axis, slope)
        n = mask.shape[axis] - 1
        slope.narrow(axis, 0, n).mul_(mask.narrow(axis, 0, n) & mask.narrow(axis, 1, n))
        gradient.add_adjoint(slope, axis, voxel**-2, laplacian)
    return _falling_weight(laplacian.abs_(), mask, LAPLACIAN_PERCENTILES)


def gradient_weights(chi: Tensor, mask: Tensor, gradient: Gradient) -> list[Tensor]:
    """W of |∂χ| along each axis, 1 to 0 between `GRADIENT_PERCENTILES`, and 0 outside the mask: three (x, y, z)."""
    slopes = (gradient.difference(chi, axis, torch.empty_like(chi)).abs_() for axis in range(3))
    return [_falling_weight(slope, mask, GRADIENT_PERCENTILES) for slope in slopes]


def fast_estimate(field: LocalField, kernel: Tensor) -> Tensor:
    """χ_fast [ppm], F⁻¹[sign(D) F f] twice blended near the cone with its spherical mean, on the scale of TKD.

    Parameters
    ----------
    field : LocalField
        The local field [ppm].
    kernel : Tensor
        D: (x, y, z/2 + 1).

    Returns
    -------
    Tensor
        Zero outside the mask: (x, y, z).
    """
    shape, mask = field.grid.shape, field.mask
    weight = kernel.abs().pow_(KERNEL_POWER)
    # Percentiles of the full spectrum, so that they do not depend on which axis is halved.
    mirrored = weight[..., 1 : (shape[2] + 1) // 2]
    low, high = _percentiles(torch.cat([weight.flatten(), mirrored.flatten()]), KERNEL_PERCENTILES)
    weight = ((weight - low) / (high - low)).clamp_(0.0, 1.0)
    blend = weight + (1.0 - weight) * sphere_mean_kernel(field.grid, SPHERE_RADIUS, kernel.device)
    chi = torch.where(mask, ifft(fft(field.values).mul_(blend * kernel.sign()), shape), 0.0)
    chi = torch.where(mask, ifft(fft(chi).mul_(blend), shape), 0.0)
    tkd = TruncatedDivision(TKD_THRESHOLD)(field).values
    centred = chi - chi.mean()
    slope = float((centred * tkd).sum() / centred.square().sum().clamp_min(torch.finfo(chi.dtype).tiny))
    return torch.where(mask, slope * centred + tkd.mean(), 0.0)


def _falling_weight(x: Tensor, mask: Tensor, percentiles: tuple[float, float]) -> Tensor:
    low, high = _percentiles(x[mask], percentiles)
    span = max(high - low, torch.finfo(x.dtype).tiny)
    return torch.where(mask, (high - x).div_(span).clamp_(0.0, 1.0), 0.0)


def _percentiles(values: Tensor, percents: tuple[float, float]) -> list[float]:
    ranks = [max(1, math.ceil(p / 100.0 * values.numel())) - 1 for p in percents]
    return [float(x) for x in np.partition(values.cpu().numpy(), ranks)[ranks]]  # many times faster than kthvalue
