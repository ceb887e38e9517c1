"""MEDI: the total variation away from the magnitude's edges, against the complex signal of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.options import AUTO, number_or_auto, option
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.edges import magnitude_edges
from IR2QSMLib.inversion.regularisation import Regularisation, medi_regularisation, require_regularisation
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import Filter
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.physics.solvers import conjugate_gradient
from IR2QSMLib.physics.sphere import sphere_mean_kernel

SMOOTHING = 1e-6
"""ε [rad²/mm²] of |·| ≈ √(·² + ε)."""
INNER_TOLERANCE, N_INNER = 0.01, 100
WHOLE_SPHERE = 0.999
"""Least mean of the mask over the sphere for a voxel to stay."""
OUTLIER = 6.0
"""Residuals above so many standard deviations make MERIT raise the noise."""


@dataclass(frozen=True)
class Medi:
    """Morphology enabled dipole inversion (Liu 2012, doi 10.1016/j.neuroimage.2011.08.082).

    min ‖M ∇χ‖₁ + λ‖m (e^{iDχ} − e^{if})‖², f and χ in rad per echo spacing, M 0 at edges of the magnitude and 1
    elsewhere, m the inverse noise over its mean: nonlinear MEDI (Liu 2013, doi 10.1002/mrm.24272) by Gauss-Newton steps
    and conjugate gradients, as in Cornell's toolbox. Raises ParameterInvalid for a parameter out of range, and
    FieldInvalid without magnitude, B0 or echo spacing: nothing is put in their place. Without a noise map all
    voxels weigh the same, which the notes say.
    """

    regularisation: Regularisation = option(
        1000.0, "of the data", parse=number_or_auto, metavar="λ|auto", limits=(0.0, None), old_names=("strength",)
    )
    """λ, or "auto" to follow the noise found in the field."""
    smv_radius: float = option(0.0, "take out the mean over such a sphere; 0: none", metavar="MM", limits=(0.0, None))
    """Radius of the spherical mean that is taken out [mm]; 0 for none. The mask shrinks by it."""
    merit: bool = option(False, "distrust voxels that the model cannot explain", flag=True)
    """Whether voxels that the model cannot explain lose weight after each step."""
    csf_regularisation: float = 100.0
    """Weight of a uniform ventricular fluid (MEDI+0: Liu 2018, doi 10.1002/mrm.26946), where it is marked."""
    tolerance: float = 0.1
    """‖Δχ‖/‖χ‖ at which the steps end."""
    max_iterations: int = 10

    def __post_init__(self) -> None:
        require_regularisation("MEDI", self.regularisation)
        if not (0.0 <= self.smv_radius < math.inf and 0.0 <= self.csf_regularisation < math.inf):
            raise ParameterInvalid(
                f"MEDI was given an SMV radius of {self.smv_radius:g} mm and a CSF regularisation of "
                f"{self.csf_regularisation:g}; expected numbers of 0 or more."
            )
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1):
            raise ParameterInvalid(
                f"MEDI was given tolerance {self.tolerance:g} and {self.max_iterations} steps; expected a tolerance "
                "of 0 or more and at least one step."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm] that brings its magnitude, B0 and echo spacing."""
        progress(0.0, "inversion")
        field = field.map_volumes(Tensor.contiguous, field.grid)  # as the gradient wants volumes
        data = _Data.of(field, self.smv_radius)
        regularisation = (
            medi_regularisation(field, data.rad_per_ppm) if self.regularisation == AUTO else float(self.regularisation)
        )
        chi = torch.zeros_like(data.phase)
        shift = torch.zeros_like(data.phase)  # D∗χ
        change, n_inner, n = math.inf, 0, 0
        while n < self.max_iterations and change > self.tolerance:

            def within(fraction: float, _: str, done: int = n) -> None:
                progress((done + fraction) / self.max_iterations, "inversion")

            hessian = _Hessian(data, chi, regularisation, self.csf_regularisation)
            fidelity = data.dipole(hessian.squared * torch.sin(shift - data.phase))
            gradient = hessian.add_penalty(chi, fidelity)
            step, n_steps, _ = conjugate_gradient(
                hessian, gradient.neg_(), tolerance=INNER_TOLERANCE, max_iterations=N_INNER, progress=within
            )
            before = float(chi.norm())  # at first 0, which ends nothing
            change = float(step.norm()) / before if before > 0.0 else math.inf
            chi += step
            n, n_inner = n + 1, n_inner + n_steps
            shift = data.dipole(chi)
            if self.merit:
                data = data.tuned(shift)
        chi = torch.where(data.mask, chi / data.rad_per_ppm, 0.0)
        if data.csf is not None and self.csf_regularisation > 0.0:
            chi = torch.where(data.mask, chi - chi[data.csf].mean(), 0.0)
        notes = {
            "regularisation": regularisation,
            "iterations": n,
            "inner_iterations": n_inner,
            "relative_change": change if math.isfinite(change) else None,  # one step changes nothing yet
            "fft_pairs": data.dipole.n_fft_pairs + data.n_pairs,
            "noise_weights": "uniform, no noise map was given" if field.noise is None else "noise map",
        }
        return Susceptibility(chi, mask=data.mask, notes=notes)


@dataclass(frozen=True)
class _Data:
    """What stays the same over the steps, and with MERIT the noise and its weights."""

    phase: Tensor
    """f [rad per echo spacing], zero outside the mask."""
    mask: Tensor
    noise: Tensor
    squared: Tensor
    """m²."""
    edges: list[Tensor]
    """M along each axis."""
    csf: Tensor | None
    gradient: Gradient
    dipole: Filter
    sphere: Tensor | None
    rad_per_ppm: float
    n_pairs: int

    @classmethod
    def of(cls, field: LocalField, radius: float) -> _Data:
        if field.magnitude is None:
            raise FieldInvalid("MEDI takes its edges from the magnitude; give the magnitude image too, or use TV.")
        if field.b0 is None or field.echo_spacing is None:
            raise FieldInvalid(
                "MEDI weighs the field in rad per echo spacing; give the field strength in tesla (--b0) and the echo "
                "spacing in seconds (--te)."
            )
        scale = 1.0 / ppm_per_unit("rad", field.b0, field.echo_spacing)
        device, grid, mask = field.values.device, field.grid, field.mask
        kernel, phase = dipole_kernel(grid, device), field.values * scale
        noise = torch.where(mask, field.noise if field.noise is not None else torch.ones_like(phase), 0.0)
        sphere, n_pairs = None, 0
        if radius > 0.0:
            sphere = sphere_mean_kernel(grid, radius, device)
            mean = Filter(sphere, grid.shape)
            mask = mean(mask.float()) > WHOLE_SPHERE
            if not bool(mask.any()):
                raise MaskInvalid(f"No sphere of {radius:g} mm fits inside the mask; choose a smaller SMV radius.")
            kernel, phase, n_pairs = kernel * (1.0 - sphere), phase - mean(phase), 3
        phase = torch.where(mask, phase, 0.0)
        csf = None if field.csf is None else field.csf & mask
        if csf is not None and not bool(csf.any()):
            raise MaskInvalid("The marked cerebrospinal fluid lies nowhere inside the mask; mark some of it there.")
        gradient = Gradient(grid, "zero")
        return cls(
            phase,
            mask,
            noise,
            _squared_weights(noise, mask, sphere),
            magnitude_edges(field.magnitude, mask, gradient),
            csf,
            gradient,
            Filter(kernel, grid.shape),
            sphere,
            scale,
            n_pairs,
        )

    def tuned(self, shift: Tensor) -> _Data:
        """MERIT: after a step the noise is raised where the complex residual is too large."""
        weight = self.squared[self.mask].sqrt()
        residual = weight * (torch.exp(1j * shift[self.mask]) - torch.exp(1j * self.phase[self.mask]))
        size = (residual - residual.mean()).abs()
        factor = (size / (OUTLIER * size.std())).clamp_min(1.0).square()
        noise = self.noise.clone()
        noise[self.mask] *= factor
        n_pairs = self.n_pairs + (self.sphere is not None)
        return replace(self, noise=noise, squared=_squared_weights(noise, self.mask, self.sphere), n_pairs=n_pairs)


class _Hessian:
    """The normal equations of one Gauss-Newton step, real and symmetric."""

    def __init__(self, data: _Data, chi: Tensor, regularisation: float, csf_regularisation: float) -> None:
        self.data, self.csf_regularisation = data, csf_regularisation
        self.squared = 2.0 * regularisation * data.squared
        self.weights = []
        for axis, (edge, voxel) in enumerate(zip(data.edges, data.gradient.grid.voxel_size, strict=True)):
            slope = data.gradient.difference(chi, axis, torch.empty_like(chi)).mul_(edge)
            self.weights.append(edge / slope.div_(voxel).square_().add_(SMOOTHING).sqrt_().mul_(voxel**2))

    def add_penalty(self, x: Tensor, out: Tensor) -> Tensor:
        """∇ᵀ M |M ∇χ|⁻¹ M ∇ x, and the fluid's uniformity, added to `out`."""
        gradient = self.data.gradient
        for part in gradient.blocks(x):
            slope = torch.empty_like(x[part])
            for axis, weight in enumerate(self.weights):
                gradient.difference(x, axis, slope, part).mul_(weight[part])
                gradient.add_adjoint(slope, axis, 1.0, out, part)
        if self.data.csf is not None:
            out[self.data.csf] += self.csf_regularisation * (x[self.data.csf] - x[self.data.csf].mean())
        return out

    def __call__(self, x: Tensor) -> Tensor:
        """The penalty's part + 2λ·Dᵀ m² D x."""
        dipole = self.data.dipole
        return self.add_penalty(x, dipole(dipole(x).mul_(self.squared)))


def _squared_weights(noise: Tensor, mask: Tensor, sphere: Tensor | None) -> Tensor:
    """m² with m = mask/noise over its mean in the mask; a voxel without a positive finite noise has none."""
    variance = noise.square()
    if sphere is not None:
        variance = variance + Filter(sphere, noise.shape)(variance).clamp_min_(0.0)
    inverse = torch.where(mask & (variance > 0.0) & variance.isfinite(), variance.rsqrt(), 0.0)
    mean = inverse[mask].double().mean()
    if not mean > 0.0:
        raise FieldInvalid("The noise map holds no positive number inside the mask; give the field's standard error.")
    return (inverse / mean.float()).square_()
