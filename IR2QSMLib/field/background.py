"""Background removal: the field of sources outside the mask is taken from the total field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.physics.dipole import dipole_kernel, sampled_dipole_kernel
from IR2QSMLib.physics.fourier import fft, good_size, ifft, pad
from IR2QSMLib.physics.solvers import conjugate_gradient
from IR2QSMLib.physics.sphere import SphericalMeanFilter

Removal = Callable[[TotalField, Progress], LocalField]
"""What every background removal is: a total field [ppm] in, a local field [ppm] with its own mask out."""
STAGE = "background removal"


@dataclass(frozen=True)
class VSharp:
    """Spherical mean values with the largest sphere that fits, V-SHARP (Wu 2012, doi 10.1002/mrm.23000).

    A field of outside sources is harmonic and equals its mean over a sphere: f − S∗f holds only inside sources, and
    dividing by 1 − S of the largest sphere brings them back. The mask shrinks by the smallest sphere, whose radius
    is never less than the longest side of a voxel. Raises ParameterInvalid unless largest ≥ smallest > 0, step > 0
    and 0 < threshold < 1.
    """

    largest: float = 12.0
    """Radius [mm]."""
    smallest: float = 1.0
    """Radius [mm]."""
    step: float = 1.0
    """Between radii [mm]."""
    threshold: float = 0.05
    """|1 − S| below which a frequency is left out of the deconvolution."""

    def __post_init__(self) -> None:
        if not (math.inf > self.largest >= self.smallest > 0.0 and self.step > 0.0 and 0.0 < self.threshold < 1.0):
            raise ParameterInvalid(
                f"V-SHARP was given radii from {self.largest:g} to {self.smallest:g} mm in steps of {self.step:g} mm "
                f"and threshold {self.threshold:g}; expected falling positive radii and a threshold between 0 and 1."
            )

    def radii(self, grid: Grid) -> list[float]:
        """Radii [mm] from the largest down; the smallest spans a voxel."""
        least = min(max(self.smallest, *grid.voxel_size), self.largest)
        n = int((self.largest - least) / self.step + 1e-6)
        radii = [self.largest - i * self.step for i in range(n + 1)]
        return radii if radii[-1] - least < 1e-6 else [*radii, least]

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """The local field [ppm] and the mask in which it is known."""
        radii = self.radii(field.grid)
        values, mask, start = boxed(field, [int(self.largest / v) + 2 for v in field.grid.voxel_size])
        grid = field.grid.cropped(start, mask.shape)
        spheres = SphericalMeanFilter(mask, grid, radii, self.threshold, lambda done, _: progress(done, STAGE))
        if not bool(spheres.inside.any()):
            raise MaskInvalid(
                f"No sphere of {radii[-1]:g} mm fits inside the mask; give a larger mask or a smaller radius.",
                option="mask",
            )
        # A constant is background, too; without it there is less for single precision to lose.
        local = spheres(values - values[mask].mean())
        return _restored(local, spheres.inside, start, field.grid)


@dataclass(frozen=True)
class ProjectionOntoDipoles:
    """The outside dipoles that explain most of the field, PDF (Liu 2011, doi 10.1002/nbm.1670).

    Minimise ‖W(f − D∗χ)‖ over χ outside the mask, W = mask/noise, by conjugate gradients on the normal equations
    until ‖r‖ ≤ tolerance·‖D∗W‖ outside the mask. Where B0 lies along a voxel axis D is the k-space kernel, elsewhere
    the one sampled in image space. The mask stays as it is. Raises ParameterInvalid unless tolerance > 0,
    n_iterations ≥ 1 and padding ≥ 0.
    """

    tolerance: float = 0.1
    n_iterations: int = 30
    """At most."""
    padding: int = 40
    """Voxels by which the periodic grid is larger than the mask's box, along each axis."""

    def __post_init__(self) -> None:
        if not (0.0 < self.tolerance < math.inf and self.n_iterations >= 1 and self.padding >= 0):
            raise ParameterInvalid(
                f"PDF was given tolerance {self.tolerance:g}, {self.n_iterations} iterations and padding "
                f"{self.padding}; expected a positive tolerance, at least one iteration and no negative padding."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """The local field [ppm] in the whole mask; raises FieldInvalid without a noise map."""
        if field.noise is None:
            raise FieldInvalid(
                "PDF weighs every voxel by its noise; give the total field with its noise map.", option="noise"
            )
        values, mask, start = boxed(field, [self.padding] * 3)
        grid = field.grid.cropped(start, mask.shape)
        noise = pad(torch.where(field.mask, field.noise, 0.0), grid.shape, [-s for s in start])
        weight = torch.where(mask & (noise > 0.0), 1.0 / torch.where(noise > 0.0, noise, 1.0), 0.0)
        aligned = sum(abs(b) for b in grid.b0_direction) < 1.01
        kernel = (dipole_kernel if aligned else sampled_dipole_kernel)(grid, values.device)

        def dipoles(x: Tensor) -> Tensor:
            return ifft(kernel * fft(x), grid.shape)

        def normal(chi: Tensor) -> Tensor:
            return torch.where(mask, 0.0, dipoles(weight.square() * dipoles(chi)))

        rhs = torch.where(mask, 0.0, dipoles(weight.square() * values))
        noise_level = torch.where(mask, 0.0, dipoles(weight)).norm() / rhs.norm().clamp_min(1e-30)
        found = conjugate_gradient(
            normal,
            rhs,
            tolerance=self.tolerance * float(noise_level),
            max_iterations=self.n_iterations,
            progress=lambda fraction, _: progress(fraction, STAGE),
        )
        return _restored(values - dipoles(found.x), mask, start, field.grid)


@dataclass(frozen=True)
class LaplacianBoundaryValue:
    """The harmonic field with the total field's values at the mask's edge is the background, LBV (Zhou 2014).

    (doi 10.1002/nbm.3064.) The local field u solves ∇²u = ∇²f inside and is zero in the outermost voxels, which the
    mask loses; ∇² is the 7-point stencil in mm, solved by conjugate gradients. `peel` layers of voxels, whose phase
    is often poor, are taken off the mask before. Raises ParameterInvalid unless tolerance > 0, n_iterations ≥ 1 and
    peel ≥ 0.
    """

    tolerance: float = 1e-3
    """On the relative residual."""
    n_iterations: int = 1000
    """At most."""
    peel: int = 0

    def __post_init__(self) -> None:
        if not (0.0 < self.tolerance < math.inf and self.n_iterations >= 1 and self.peel >= 0):
            raise ParameterInvalid(
                f"LBV was given tolerance {self.tolerance:g}, {self.n_iterations} iterations and {self.peel} layers to "
                "peel; expected a positive tolerance, at least one iteration and no negative number of layers."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """The local field [ppm] and the mask without its outermost voxels."""
        values, mask, start = boxed(field, [1] * 3)
        for _ in range(self.peel):
            mask = _inner(mask)
        inside = _inner(mask)
        if not bool(inside.any()):
            raise MaskInvalid(
                "The mask has no inside but only an edge; give a larger one or peel fewer layers.", option="mask"
            )
        values = torch.where(mask, values - values[mask].mean(), 0.0)

        def minus_laplacian(x: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for axis, v in enumerate(field.grid.voxel_size):
                total += (2.0 * x - x.roll(1, axis) - x.roll(-1, axis)) / v**2
            return torch.where(inside, total, 0.0)

        found = conjugate_gradient(
            minus_laplacian,
            minus_laplacian(values),
            tolerance=self.tolerance,
            max_iterations=self.n_iterations,
            progress=lambda fraction, _: progress(fraction, STAGE),
        )
        return _restored(found.x, inside, start, field.grid)


def _inner(mask: Tensor) -> Tensor:
    """Voxels whose six neighbours are in the mask, too; the box has an empty plane along each axis."""
    inner = mask.clone()
    for axis in range(3):
        inner &= mask.roll(1, axis) & mask.roll(-1, axis)
    return inner


def boxed(field: TotalField, margin: list[int]) -> tuple[Tensor, Tensor, list[int]]:
    """Field and mask in a box of good size around the mask, zero beyond, and where the box begins.

    The margin [voxels] is on one side only: the box is periodic, and so it parts the mask from itself.
    """
    inside = field.mask.nonzero()
    if len(inside) == 0:
        raise MaskInvalid("The mask is empty; give one that marks the brain.", option="mask")
    low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
    shape = [good_size(h - lo + 1 + m, 2) for lo, h, m in zip(low, high, margin, strict=True)]
    values = torch.where(field.mask, field.values, 0.0)
    values, mask = (pad(x, shape, [-lo for lo in low]).contiguous() for x in (values, field.mask))
    return values, mask, low


def _restored(local: Tensor, mask: Tensor, start: list[int], grid: Grid) -> LocalField:
    values, inside = (pad(x, grid.shape, start) for x in (torch.where(mask, local, 0.0), mask))
    return LocalField(values.contiguous(), inside.contiguous(), grid)
