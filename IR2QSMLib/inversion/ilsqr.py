"""iLSQR: least squares with weights, less the streaks that a fast estimate tells apart from edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft, kernel_for_real_view
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.physics.solvers import Solution, conjugate_gradient, lsqr
from IR2QSMLib.physics.sphere import sphere_mean_kernel

SMOOTH = (60.0, 99.9)
"""Percentiles of the field's Laplacian between which its weight falls from 1 to 0."""
FLAT = (50.0, 70.0)
"""Percentiles of the fast estimate's gradient between which its weight falls from 1 to 0."""
SPHERE = 3.0
"""Radius of the mean that fills the cone in the fast estimate [mm]."""
POWER, BLEND = 0.001, (1.0, 30.0)
"""|D|^POWER between these percentiles of itself is the fast estimate's weight."""
TKD_THRESHOLD = 0.125
"""Threshold of the TKD that lends the fast estimate its scale."""
N_FAST_TRANSFORMS = 7
"""Of the fast estimate: two pairs, TKD's pair and the sphere's one."""


@dataclass(frozen=True)
class Ilsqr:
    """Streaks estimated and removed (Li 2015, doi 10.1016/j.neuroimage.2014.12.043).

    1. χ_lsqr of min ‖D F w F⁻¹ D F χ − D F(w f)‖, w small where the field is rough. 2. A fast estimate of the edges,
    the sign of D for D and the cone from a spherical mean. 3. The streaks χ_a, of the cone |D| < cone alone, of
    min ‖W (∇χ_a − ∇χ_lsqr)‖, W 0 at the edges. 4. χ = χ_lsqr − χ_a.

    Two things differ from the paper, for what is around a strong source. The first equation is solved by conjugate
    gradients, as its matrix is symmetric and positive semidefinite: LSQR, which squares its condition, has not reached
    the tolerance after 50 steps of twice the cost, and leaves a halo. And steps 3 and 4 are taken `rounds` times, each
    with the edges of the map before as well: the fast estimate has shadows of the source for edges, which then stay.
    Raises ParameterInvalid unless 0 < cone < 2/3, tolerance ≥ 0, max_iterations ≥ 1 and rounds ≥ 1.
    """

    cone: float = 0.1
    """|D| below which streaks live."""
    tolerance: float = 0.01
    """‖r‖/‖b‖ at which either solver ends."""
    max_iterations: int = 50
    """Steps of either solver at most."""
    rounds: int = 2
    """How often streaks are told from edges, 1 as published; an edge is where any estimate so far has one."""

    def __post_init__(self) -> None:
        if not 0.0 < self.cone < 2.0 / 3.0:
            raise ParameterInvalid(f"The cone of iLSQR is {self.cone:g}; expected a number between 0 and 2/3.")
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1 and self.rounds >= 1):
            raise ParameterInvalid(
                f"iLSQR was given tolerance {self.tolerance:g}, {self.max_iterations} iterations and {self.rounds} "
                "rounds; expected a tolerance of 0 or more, at least one iteration and at least one round."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        field = field.map_volumes(Tensor.contiguous, field.grid)  # as the gradient wants volumes
        kernel = dipole_kernel(field.grid, field.values.device)
        space = _Spectra(field.grid, field.values.device)
        found = [self._least_squares(field, kernel, space, part_of(progress, 0.0, 0.2))]
        first = torch.where(field.mask, space.image(found[0].x, kernel_for_real_view(space.inward)), 0.0)
        gradient = Gradient(field.grid, "periodic")
        chi, weights = first, gradient_weights(fast_estimate(field, kernel), field.mask, gradient)
        for n in range(self.rounds):
            if n > 0:
                again = gradient_weights(chi, field.mask, gradient)
                weights = [torch.minimum(w, more, out=w) for w, more in zip(weights, again, strict=True)]
            told = part_of(progress, 0.2 + 0.8 * n / self.rounds, 0.2 + 0.8 * (n + 1) / self.rounds)
            solution, streaks = self._streaks(first, weights, gradient, kernel, space, told)
            chi = torch.where(field.mask, first - streaks, 0.0)
            found.append(solution)
        notes = {
            "iterations": [f.n_iterations for f in found],
            "relative_residual": [f.relative_residual for f in found],
            "fft_pairs": (space.n_transforms + N_FAST_TRANSFORMS) / 2,
        }
        return Susceptibility(chi, notes=notes)

    def _least_squares(self, field: LocalField, kernel: Tensor, space: _Spectra, progress: Progress) -> Solution:
        weight = laplacian_weight(field)
        inward, outward = kernel_for_real_view(kernel * space.inward), kernel_for_real_view(kernel * space.outward)

        def apply(x: Tensor) -> Tensor:
            return space.spectrum(space.image(x, inward).mul_(weight), outward)

        rhs = space.spectrum(weight * field.values, outward)
        return conjugate_gradient(
            apply,
            rhs,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            progress=lambda fraction, _: progress(fraction, "inversion"),
        )

    def _streaks(
        self,
        chi: Tensor,
        weights: list[Tensor],
        gradient: Gradient,
        kernel: Tensor,
        space: _Spectra,
        progress: Progress,
    ) -> tuple[Solution, Tensor]:
        # The weights bring the voxel size along, so that the differences need not be divided by it.
        weights = [w / voxel for w, voxel in zip(weights, gradient.grid.voxel_size, strict=True)]
        cone = kernel.abs() < self.cone
        cone[0, 0, 0] = False  # the mean has no gradient: nothing would hold it
        inward, outward = kernel_for_real_view(cone * space.inward), kernel_for_real_view(cone * space.outward)

        sums, parts = torch.empty_like(chi), gradient.blocks(chi)

        def edges(x: Tensor, out: Tensor, scale: float) -> float:
            """W ∇x − scale·out in the place of `out`, and its square."""
            square = 0.0
            for part in parts:
                slope = torch.empty_like(x[part])
                for axis, weight in enumerate(weights):
                    gradient.difference(x, axis, slope, part).mul_(weight[part])
                    here = out[axis][part]
                    torch.sub(slope, here, alpha=scale, out=here)
                    square += float(here.view(-1).dot(here.view(-1)))
            return square

        def forward(x: Tensor, out: Tensor, scale: float) -> float:
            return edges(space.image(x, inward), out, scale)

        def adjoint(g: Tensor, out: Tensor, scale: float) -> float:
            sums[0].zero_()
            for part in parts:
                sums[part.start + 1 : part.stop + 1].zero_()
                for axis, weight in enumerate(weights):
                    gradient.add_adjoint(g[axis][part] * weight[part], axis, 1.0, sums, part)
            torch.sub(space.spectrum(sums, outward), out, alpha=scale, out=out)
            return float(out.view(-1).dot(out.view(-1)))

        rhs = chi.new_zeros((3, *chi.shape))
        edges(chi, rhs, 0.0)
        found = lsqr(
            forward,
            adjoint,
            rhs,
            torch.empty_like(space.filtered),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            progress=lambda fraction, _: progress(fraction, "inversion"),
        )
        return found, space.image(found.x, inward)


class _Spectra:
    """Real volumes as half spectra that are real vectors (x, y, z/2 + 1, 2), of the same length as the volume.

    A frequency that stands for its negative too is scaled by √2, and all by the number of voxels, so that `spectrum` is
    the adjoint of `image`, and its inverse: a solver there needs one pair of transforms where it needs two for volumes.
    """

    def __init__(self, grid: Grid, device: torch.device) -> None:
        nz, n_voxels = grid.shape[2], math.prod(grid.shape)
        root = torch.full((nz // 2 + 1,), (2.0 / n_voxels) ** 0.5, device=device)
        root[0] = n_voxels**-0.5
        if nz % 2 == 0:
            root[-1] = n_voxels**-0.5
        self.shape, self.outward, self.inward, self.n_transforms = grid.shape, root, 1.0 / root, 0
        self.filtered = torch.empty((*grid.shape[:2], nz // 2 + 1, 2), device=device)

    def image(self, x: Tensor, kernel: Tensor) -> Tensor:
        """F⁻¹ of the vector, times `twice` a kernel, which must hold `inward`."""
        self.n_transforms += 1
        return ifft(torch.view_as_complex(torch.mul(x, kernel, out=self.filtered)), self.shape)

    def spectrum(self, x: Tensor, kernel: Tensor) -> Tensor:
        """F of the volume, times `twice` a kernel, which must hold `outward`, as a vector."""
        self.n_transforms += 1
        return torch.view_as_real(fft(x)).mul_(kernel)


def laplacian_weight(field: LocalField) -> Tensor:
    """w of |∇²f| inside the mask: 1 below the lower percentile of `SMOOTH`, to 0 at the upper; 0 outside.

    Neighbours outside the mask, where the field is not known, take no part.
    """
    gradient, mask = Gradient(field.grid, "zero"), field.mask
    laplacian, slope = torch.zeros_like(field.values), torch.empty_like(field.values)
    for axis, voxel in enumerate(field.grid.voxel_size):
        gradient.difference(field.values, axis, slope)
        n = mask.shape[axis] - 1
        slope.narrow(axis, 0, n).mul_(mask.narrow(axis, 0, n) & mask.narrow(axis, 1, n))
        gradient.add_adjoint(slope, axis, voxel**-2, laplacian)
    return _falling(laplacian.abs_(), mask, SMOOTH)


def gradient_weights(chi: Tensor, mask: Tensor, gradient: Gradient) -> list[Tensor]:
    """W of |∂χ| along each axis: 1 below the lower percentile of `FLAT`, to 0 at the upper; 0 outside the mask."""
    return [_falling(gradient.difference(chi, axis, torch.empty_like(chi)).abs_(), mask, FLAT) for axis in range(3)]


def fast_estimate(field: LocalField, kernel: Tensor) -> Tensor:
    """χ_fast [ppm]: F⁻¹[sign(D) F f], twice blended near the cone with its spherical mean, on the scale of TKD."""
    shape, mask = field.grid.shape, field.mask
    weight = kernel.abs().pow_(POWER)
    # Of the whole spectrum, or the percentiles would hang on which axis was halved.
    twice = weight[..., 1 : (shape[2] + 1) // 2]
    low, high = _percentiles(torch.cat([weight.flatten(), twice.flatten()]), BLEND)
    weight = ((weight - low) / (high - low)).clamp_(0.0, 1.0)
    blend = weight + (1.0 - weight) * sphere_mean_kernel(field.grid, SPHERE, kernel.device)
    chi = torch.where(mask, ifft(fft(field.values).mul_(blend * kernel.sign()), shape), 0.0)
    chi = torch.where(mask, ifft(fft(chi).mul_(blend), shape), 0.0)
    scale = TruncatedDivision(TKD_THRESHOLD)(field).values
    centred = chi - chi.mean()
    slope = float((centred * scale).sum() / centred.square().sum().clamp_min(torch.finfo(chi.dtype).tiny))
    return torch.where(mask, slope * centred + scale.mean(), 0.0)


def _falling(x: Tensor, mask: Tensor, percentiles: tuple[float, float]) -> Tensor:
    low, high = _percentiles(x[mask], percentiles)
    span = max(high - low, torch.finfo(x.dtype).tiny)
    return torch.where(mask, (high - x).div_(span).clamp_(0.0, 1.0), 0.0)


def _percentiles(values: Tensor, percents: tuple[float, float]) -> list[float]:
    ranks = [max(1, math.ceil(p / 100.0 * values.numel())) - 1 for p in percents]
    return [float(x) for x in np.partition(values.cpu().numpy(), ranks)[ranks]]  # many times as fast as kthvalue
