"""The first inversion that a network corrects, and what of the measured field it goes by."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.field.background import LaplacianBoundaryValue, VSharp
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import blur, fft, frequencies, ifft
from IR2QSMLib.physics.noise import noise_share
from IR2QSMLib.physics.sphere import SphericalMeanFilter
from IR2QSMLib.regional import distance_from
from IR2QSMLib.runtime import Progress, part_of, silent
from IR2QSMLib.volumes import LocalField, Susceptibility, TotalField

K0 = 0.25
"""The frequency at which the gradient's penalty counts once [cycles/mm]."""
SPHERES = VSharp(largest=8.0, smallest=1.0, step=3.0)
"""The filter for harmonic parts: few radii, as it is applied at every step."""
SMOOTH = 3.0
"""σ [mm] of the blur that leaves what noise there is out of the unexplained part."""
DOUBTED = (0.05, 0.07)
"""Smooth part that four steps leave unexplained, less 0.3 of the noise's share: below, a field is whole."""
LACKING = (0.65, 0.9)
"""That part over the harmonic part's share of the field deep inside: below, a field is whole; above, its harmonic part
is missing. Simulated whole fields, of heads that the volume cuts through, too, have up to 0.58, or 0.9 where smooth
errors are nearly as large as the field; those after V-SHARP, LBV or RESHARP (10⁻⁴ to 10⁻²) mostly from 0.96, and less
in much noise."""
DEEP = 4.0
"""Depth below the mask's edge, one voxel at least, from which on the harmonic part is looked at [mm]: nearer, noise
passes for it."""
HARMONIC = LaplacianBoundaryValue(tolerance=1e-3)
"""Whose background is the harmonic part. `LACKING` goes with its tolerance."""
THIN = 0.2
"""The harmonic part's share where nothing lies deep inside: between what whole and lacking fields have elsewhere."""
HOLES = 2.0
"""σ [mm] of the blur that fills holes of the mask, each of which would be an edge."""
TRUSTED = 0.8
"""Weight of a map's harmonic part against an estimate of the field's own."""


class Fidelity:
    """What of a residual counts: all of it in the mask, or what background removal leaves of a local field.

    Background removal takes the harmonic part of the local field away together with the background: no χ explains
    what is left, and steps that try are led astray. Where a field lacks that part, it is taken out of the residual,
    too, so that it plays no role. Whether it does is judged from the field: of a whole one, a few plain steps explain
    nearly all that is smooth, or the field of Laplace's equation inside, with its values at the mask's edge, is a large
    part of it. Of a field whose harmonic part is an estimate (`recovered`), see `of_what_was_measured`.

    A field is known up to a constant, as the scanner's frequency is arbitrary and χ has no zero, and a thirtieth of its
    RMS is enough to spoil a map: of a residual no mean counts, and what a few steps leave on average is taken out,
    unless the field is `absolute`, as a simulated one is.
    """

    def __init__(self, field: LocalField, progress: Progress = silent, *, absolute: bool = False) -> None:
        self.field, self.absolute = field, absolute
        self.noise = noise_share(field)
        """Share of noise in the field's power."""
        self.kernel = dipole_kernel(field.grid, field.values.device)
        self.offset = 0.0
        """The constant that was taken out [ppm]."""
        self.lacking = 0.0
        """How surely the field lacks its harmonic part, 0 to 1."""
        self.spheres: SphericalMeanFilter | None = None
        lacking = 0.0 if field.recovered else self._judged(progress)
        if lacking > 0.0:
            self._leave_out_harmonic_part(lacking)

    def of_what_was_measured(self) -> Fidelity:
        """The same, less the harmonic part where that is an estimate: good to start from, and nothing to fit."""
        if not self.field.recovered:
            return self
        found = copy(self)
        found._leave_out_harmonic_part(1.0)
        return found

    def completed(self, chi: Tensor) -> LocalField:
        """The field with the harmonic part that `chi` [ppm] gives it, for what it lacks or for most of an estimate.

        Near the mask's edge, where no sphere fits, that share of the whole field is what `chi` gives: background
        removal is least right there, and maps were better for it.
        """
        if self.spheres is None:
            return self.field
        field, left = self.field, self._left(chi)
        share = self.lacking * (TRUSTED if field.recovered else 1.0)
        return replace(field, values=field.values - share * (left - self.spheres(left)), recovered=True)

    def residual(self, chi: Tensor) -> Tensor:
        """What `chi` [ppm] leaves of the field [ppm], zero outside the mask: (x, y, z) to the same."""
        left = self._left(chi)
        if not self.absolute:
            left = torch.where(self.field.mask, left - self._mean(left), 0.0)
        return left if self.spheres is None else torch.lerp(left, self.spheres(left), self.lacking)

    def _mean(self, left: Tensor) -> Tensor:
        return left.sum() / self.field.mask.sum()

    def _left(self, chi: Tensor) -> Tensor:
        field = self.field
        return torch.where(field.mask, field.values - ifft(self.kernel * fft(chi), field.grid.shape), 0.0)

    def _leave_out_harmonic_part(self, share: float) -> None:
        field = self.field
        spheres = SphericalMeanFilter(field.mask, field.grid, SPHERES.radii(field.grid), SPHERES.threshold)
        if spheres.parts:                       # in a mask too thin for any, nothing can be told apart
            self.lacking, self.spheres = share, spheres

    def _judged(self, progress: Progress) -> float:
        """How surely the harmonic part is missing, 0 to 1."""
        if not self.absolute:
            self._take_out_constant()
        unexplained = self._unexplained() - 0.3 * self.noise
        doubt = _between(unexplained, DOUBTED)
        return doubt and doubt * _between(unexplained / max(self._harmonic_share(progress), 1e-9), LACKING)

    def _harmonic_share(self, progress: Progress) -> float:
        """The harmonic part over the field, deep inside the mask."""
        field, grid = self.field, self.field.grid
        weight = blur(field.mask.float(), grid, HOLES)
        mask = field.mask | (weight > 0.5)
        values = torch.where(field.mask, field.values, blur(field.values, grid, HOLES) / weight.clamp_min(1e-3))
        deep = distance_from(~mask, grid, max(DEEP, *grid.voxel_size)).isinf()
        if not bool(deep.any()):
            return THIN
        local = HARMONIC(TotalField(values, mask, grid), lambda done, _: progress(done, "harmonic part")).values
        return float((values - local)[deep].norm() / values[deep].norm().clamp_min(1e-30))

    def _take_out_constant(self) -> None:
        field, self.offset = self.field, float(self._mean(self._left(self._plainly())))
        self.field = replace(field, values=torch.where(field.mask, field.values - self.offset, 0.0))
        self.noise = noise_share(self.field)

    def _unexplained(self) -> float:
        left = self.residual(self._plainly())
        smooth, whole = (blur(x, self.field.grid, SMOOTH)[self.field.mask].norm() for x in (left, self.field.values))
        return float(smooth / whole.clamp_min(1e-30))

    def _plainly(self) -> Tensor:
        return GradientTikhonov(n_steps=4).refine(torch.zeros_like(self.field.values), self)


def _between(x: float, ends: tuple[float, float]) -> float:
    """0 at the lower end, 1 at the upper one."""
    return min(max((x - ends[0]) / (ends[1] - ends[0]), 0.0), 1.0)


@dataclass(frozen=True)
class GradientTikhonov:
    """Iterated Tikhonov regularisation with a penalty on the gradient that follows the noise in the field.

    χ ← χ + F⁻¹[D/(D² + λ(k)) · F r], `n_steps` times from an estimate or from zero, r the residual that counts (see
    `Fidelity`), λ(k) = floor + per_noise · q · (|k|/k₀)², q the share of noise in the field's power (`noise_share`),
    k₀ a quarter cycle a millimetre: noise is white and anatomy is not, so fine detail has to be the surer of the two.
    The floor is threefold where the field lacks its harmonic part. Each step is the closed form of Bilgic 2014
    (doi 10.1002/mrm.25029); steps repeat it because the mask leaves some residual. Raises ParameterInvalid unless
    floor > 0, per_noise ≥ 0 and n_steps ≥ 1.
    """

    floor: float = 0.01
    per_noise: float = 4.0
    n_steps: int = 12

    def __post_init__(self) -> None:
        if not (0.0 < self.floor < math.inf and 0.0 <= self.per_noise < math.inf and self.n_steps >= 1):
            raise ParameterInvalid(
                f"Gradient Tikhonov was given floor {self.floor:g}, per_noise {self.per_noise:g} and {self.n_steps} "
                "steps; expected a positive floor, a factor of 0 or more, and at least one step."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        fidelity = Fidelity(field, part_of(progress, 0.0, 0.5))
        chi = self.refine(torch.zeros_like(field.values), fidelity, part_of(progress, 0.5, 1.0))
        return Susceptibility(chi, notes={"harmonic_part_lacking": round(fidelity.lacking, 3)})

    def refine(self, chi: Tensor, fidelity: Fidelity, progress: Progress = silent) -> Tensor:
        """Reconcile an estimate [ppm] with the measured field: (x, y, z) to the same, zero outside the mask.

        Where a step explained less than the one before, as may be in a mask with gaps, no further one is taken.
        """
        field, d = fidelity.field, fidelity.kernel
        x, y, z = (f.to(chi.device, torch.float32) for f in frequencies(field.grid, chi.device))
        penalty = self.per_noise * fidelity.noise * (x**2 + y**2 + z**2) / K0**2
        step = d / (d.square() + self.floor * 3.0**fidelity.lacking + penalty)
        best, least = chi, math.inf
        for n in range(self.n_steps):
            progress(n / self.n_steps, "inversion")
            left = fidelity.residual(chi)
            size = float(left.norm())
            if size > least:
                return best
            best, least = chi, size
            chi = torch.where(field.mask, chi + ifft(step * fft(left), field.grid.shape), 0.0)
        return chi
