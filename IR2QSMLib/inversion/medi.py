"""MEDI: total variation away from the magnitude's edges, against the complex signal of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.options import AUTO, number_or_auto, option
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.edges import magnitude_edges
from IR2QSMLib.inversion.regularisation.automatic import (
    Regularisation,
    centred_field,
    medi_regularisation,
    require_regularisation,
)
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import Filter
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.physics.solvers import conjugate_gradient
from IR2QSMLib.physics.sphere import sphere_mean_kernel

# As in Cornell's toolbox, whose maps are met to 0.1 %.
SMOOTHING = 1e-6
"""ε [rad²/mm²] of |·| ≈ √(·² + ε)."""
CG_TOLERANCE, CG_MAX_ITERATIONS = 0.01, 100
"""Relative residual and number of steps at which the conjugate gradients of a Gauss-Newton step end."""
MIN_MASK_MEAN = 0.999
"""Mean of the mask over the sphere from which on a voxel stays in the mask."""
OUTLIER = 6.0
"""Residuals above so many standard deviations make MERIT raise the noise."""


@dataclass(frozen=True)
class Medi:
    """Morphology enabled dipole inversion, min ‖M ∇χ‖₁ + λ‖w (e^{iD∗χ} − e^{if})‖².

    f and χ are in rad per echo spacing, M is 0 at edges of the magnitude and 1 elsewhere, w the inverse noise over its
    mean. Nonlinear MEDI by Gauss-Newton steps and conjugate gradients, as in Cornell's toolbox. Without a noise map all
    voxels weigh the same, which the notes say. With "auto", the field's constant is taken out, too.

    Raises
    ------
    ParameterInvalid
        For a parameter out of range.
    FieldInvalid
        In a call, without magnitude, B0 or echo spacing: nothing is put in their place.

    References
    ----------
    Liu et al. 2012, NeuroImage, doi 10.1016/j.neuroimage.2011.08.082.
    Liu et al. 2013, Magn Reson Med, doi 10.1002/mrm.24272.
    """

    regularisation: Regularisation = option(
        1000.0, "of the data", parse=number_or_auto, metavar="λ|auto", limits=(0.0, None), old_names=("strength",)
    )
    """λ, or "auto" to follow what of the field no susceptibility explains."""
    smv_radius: float = option(0.0, "take out the mean over such a sphere; 0: none", metavar="MM", limits=(0.0, None))
    """Radius of the spherical mean that is taken out [mm]; 0 for none. The mask shrinks by it."""
    merit: bool = option(False, "distrust voxels that the model cannot explain", flag=True)
    """Whether voxels that the model cannot explain lose weight after each step."""
    csf_regularisation: float = 100.0
    """Weight of a uniform ventricular fluid (MEDI+0: Liu 2018, doi 10.1002/mrm.26946), where it is marked."""
    tolerance: float = 0.1
    """‖Δχ‖/‖χ‖ at which the Gauss-Newton steps end."""
    max_iterations: int = 10
    """Gauss-Newton steps at most."""

    def __post_init__(self) -> None:
        require_regularisation("MEDI", self.regularisation)
        if not (0.0 <= self.smv_radius < math.inf and 0.0 <= self.csf_regularisation < math.inf):
            raise ParameterInvalid(
                f"MEDI has an SMV radius of {self.smv_radius:g} mm and a CSF regularisation of "
                f"{self.csf_regularisation:g}; expected numbers of 0 or more.",
                option="smv_radius",
            )
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1):
            raise ParameterInvalid(
                f"MEDI has tolerance {self.tolerance:g} and {self.max_iterations} iterations; expected a tolerance of "
                "0 or more and at least one iteration."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm] with its magnitude, B0 and echo spacing."""
        progress(0.0, "inversion")
        field = field.map_volumes(Tensor.contiguous, field.grid)  # as `Gradient.difference` needs them
        magnitude, rad_per_ppm = _required_inputs(field)
        notes: dict[str, Any] = {}
        if self.regularisation == AUTO:
            field, spectrum = centred_field(field)
            regularisation = medi_regularisation(field, spectrum, rad_per_ppm)
            notes["field_offset_ppm"] = round(spectrum.offset, 6)
        else:
            regularisation = float(self.regularisation)
        problem = _Problem.of(field, magnitude, rad_per_ppm, self.smv_radius)
        chi = torch.zeros_like(problem.phase)
        predicted = torch.zeros_like(problem.phase)  # D∗χ
        change, n_inner, n = math.inf, 0, 0
        while n < self.max_iterations and change > self.tolerance:

            def step_progress(fraction: float, _: str, n_done: int = n) -> None:
                progress((n_done + fraction) / self.max_iterations, "inversion")

            hessian = _Hessian(problem, chi, regularisation, self.csf_regularisation)
            data_gradient = problem.dipole(hessian.data_weight * torch.sin(predicted - problem.phase))
            gradient = hessian.add_penalty(chi, data_gradient)
            step, n_iterations, _ = conjugate_gradient(
                hessian,
                gradient.neg_(),
                tolerance=CG_TOLERANCE,
                max_iterations=CG_MAX_ITERATIONS,
                progress=step_progress,
            )
            norm = float(chi.norm())  # 0 at first, when no change is known
            change = float(step.norm()) / norm if norm > 0.0 else math.inf
            chi += step
            n, n_inner = n + 1, n_inner + n_iterations
            predicted = problem.dipole(chi)
            if self.merit:
                problem = problem.with_outliers_downweighted(predicted)
        chi = torch.where(problem.mask, chi / rad_per_ppm, 0.0)
        if problem.csf is not None and self.csf_regularisation > 0.0:
            chi = torch.where(problem.mask, chi - chi[problem.csf].mean(), 0.0)
        notes = {
            "regularisation": regularisation,
            **notes,
            "iterations": n,
            "inner_iterations": n_inner,
            "relative_change": change if math.isfinite(change) else None,  # of one step there is none
            "fft_pairs": problem.dipole.n_fft_pairs + problem.n_sphere_fft_pairs,
            "noise_weights": "uniform, no noise map was given" if field.noise is None else "noise map",
        }
        return Susceptibility(chi, mask=problem.mask, notes=notes)


def _required_inputs(field: LocalField) -> tuple[Tensor, float]:
    """The magnitude, and the phase [rad] of 1 ppm over an echo spacing; raises FieldInvalid where one is missing."""
    if field.magnitude is None:
        raise FieldInvalid(
            "MEDI takes its edges from the magnitude; give the magnitude image too, or use TV.", option="magnitude"
        )
    if field.b0 is None or field.echo_spacing is None:
        raise FieldInvalid(
            "MEDI weighs the field in rad per echo spacing; give the field strength in tesla (--b0) and the echo "
            "spacing in seconds (--te).",
            option="b0" if field.b0 is None else "te",
        )
    return field.magnitude, 1.0 / ppm_per_unit("rad", field.b0, field.echo_spacing)


@dataclass(frozen=True)
class _Problem:
    """The terms of the objective; MERIT changes the noise and its weights between steps."""

    phase: Tensor
    """f [rad per echo spacing], zero outside the mask: (x, y, z)."""
    mask: Tensor
    """Bool: (x, y, z)."""
    noise: Tensor
    """Standard error of the field, any unit: (x, y, z)."""
    squared_weight: Tensor
    """w²: (x, y, z)."""
    edges: list[Tensor]
    """M along each axis: three (x, y, z)."""
    csf: Tensor | None
    """Marked cerebrospinal fluid inside the mask, bool: (x, y, z)."""
    gradient: Gradient
    dipole: Filter
    """D, with an SMV radius less its spherical mean."""
    sphere_kernel: Tensor | None
    n_sphere_fft_pairs: int

    @classmethod
    def of(cls, field: LocalField, magnitude: Tensor, rad_per_ppm: float, smv_radius: float) -> _Problem:
        device, grid, mask = field.values.device, field.grid, field.mask
        kernel, phase = dipole_kernel(grid, device), field.values * rad_per_ppm
        noise = torch.where(mask, field.noise if field.noise is not None else torch.ones_like(phase), 0.0)
        sphere_kernel, n_sphere_fft_pairs = None, 0
        if smv_radius > 0.0:
            sphere_kernel = sphere_mean_kernel(grid, smv_radius, device)
            sphere_mean = Filter(sphere_kernel, grid.shape)
            mask = sphere_mean(mask.float()) > MIN_MASK_MEAN
            if not bool(mask.any()):
                raise MaskInvalid(
                    f"No sphere of {smv_radius:g} mm fits inside the mask; choose a smaller SMV radius.",
                    option="smv_radius",
                )
            kernel, phase = kernel * (1.0 - sphere_kernel), phase - sphere_mean(phase)
            n_sphere_fft_pairs = 3
        phase = torch.where(mask, phase, 0.0)
        csf = None if field.csf is None else field.csf & mask
        if csf is not None and not bool(csf.any()):
            raise MaskInvalid(
                "The marked cerebrospinal fluid lies nowhere inside the mask; mark some of it there.", option="csf"
            )
        gradient = Gradient(grid, "zero")
        return cls(
            phase,
            mask,
            noise,
            _squared_weight(noise, mask, sphere_kernel),
            magnitude_edges(magnitude, mask, gradient),
            csf,
            gradient,
            Filter(kernel, grid.shape),
            sphere_kernel,
            n_sphere_fft_pairs,
        )

    def with_outliers_downweighted(self, predicted: Tensor) -> _Problem:
        """MERIT: the noise is raised where the complex residual of the predicted phase [rad] is too large."""
        weight = self.squared_weight[self.mask].sqrt()
        residual = weight * (torch.exp(1j * predicted[self.mask]) - torch.exp(1j * self.phase[self.mask]))
        deviation = (residual - residual.mean()).abs()
        factor = (deviation / (OUTLIER * deviation.std())).clamp_min(1.0).square()
        noise = self.noise.clone()
        noise[self.mask] *= factor
        return replace(
            self,
            noise=noise,
            squared_weight=_squared_weight(noise, self.mask, self.sphere_kernel),
            n_sphere_fft_pairs=self.n_sphere_fft_pairs + (self.sphere_kernel is not None),
        )


class _Hessian:
    """The matrix of one Gauss-Newton step, real, symmetric and positive semidefinite."""

    def __init__(self, problem: _Problem, chi: Tensor, regularisation: float, csf_regularisation: float) -> None:
        self.problem, self.csf_regularisation = problem, csf_regularisation
        self.data_weight = 2.0 * regularisation * problem.squared_weight
        self.penalty_weights = []
        for axis, (edge, voxel) in enumerate(zip(problem.edges, problem.gradient.grid.voxel_size, strict=True)):
            slope = problem.gradient.difference(chi, axis, torch.empty_like(chi)).mul_(edge)
            self.penalty_weights.append(edge / slope.div_(voxel).square_().add_(SMOOTHING).sqrt_().mul_(voxel**2))

    def add_penalty(self, x: Tensor, out: Tensor) -> Tensor:
        """∇ᵀ M |M ∇χ|⁻¹ M ∇ x, and the fluid's uniformity, added to `out`."""
        gradient, csf = self.problem.gradient, self.problem.csf
        for block in gradient.blocks(x):
            slope = torch.empty_like(x[block])
            for axis, weight in enumerate(self.penalty_weights):
                gradient.difference(x, axis, slope, block).mul_(weight[block])
                gradient.add_adjoint(slope, axis, 1.0, out, block)
        if csf is not None:
            out[csf] += self.csf_regularisation * (x[csf] - x[csf].mean())
        return out

    def __call__(self, x: Tensor) -> Tensor:
        """The penalty's part + 2λ·Dᵀ w² D x."""
        dipole = self.problem.dipole
        return self.add_penalty(x, dipole(dipole(x).mul_(self.data_weight)))


def _squared_weight(noise: Tensor, mask: Tensor, sphere_kernel: Tensor | None) -> Tensor:
    """w² with w = mask/noise over its mean in the mask; a voxel without a positive finite noise has none."""
    variance = noise.square()
    if sphere_kernel is not None:
        variance = variance + Filter(sphere_kernel, noise.shape)(variance).clamp_min_(0.0)
    inverse = torch.where(mask & (variance > 0.0) & variance.isfinite(), variance.rsqrt(), 0.0)
    mean = inverse[mask].double().mean()
    if not mean > 0.0:
        raise FieldInvalid(
            "The noise map holds no positive number inside the mask; give the field's standard error.", option="noise"
        )
    return (inverse / mean.float()).square_()
