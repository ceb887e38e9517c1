"""Background removal: the field of sources outside the mask is taken from the total field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.physics.fourier import fft, good_size, ifft, pad
from IR2QSMLib.physics.sphere import sphere_mean_kernel
from IR2QSMLib.runtime import Progress, silent
from IR2QSMLib.volumes import LocalField, TotalField

Removal = Callable[[TotalField, Progress], LocalField]
"""What every background removal is: a total field [ppm] in, a local field [ppm] with its own mask out."""
FITS = 0.999
"""Mean of the mask over a sphere above which the sphere lies inside it."""


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
        margin = [int(self.largest / v) + 2 for v in field.grid.voxel_size]
        values, mask, start = _boxed(field, margin)
        grid = field.grid.cropped(start, mask.shape)
        # A constant is background; without it there is less for single precision to lose.
        centred = torch.where(mask, values - values[mask].mean(), 0.0)
        spectrum, inside = fft(centred), fft(mask.float())
        left = mask.clone()
        filtered = torch.zeros_like(values)
        kernel = deconvolution = None
        radii = self.radii(field.grid)
        for n, radius in enumerate(radii):
            progress(n / len(radii), "background removal")
            kernel = sphere_mean_kernel(grid, radius, values.device, balanced=True)
            fits = left & (ifft(kernel * inside, grid.shape) > FITS)
            if not bool(fits.any()):
                continue
            filtered[fits] = (centred - ifft(kernel * spectrum, grid.shape))[fits]
            left &= ~fits
            if deconvolution is None:
                deconvolution = torch.where((1.0 - kernel).abs() < self.threshold, 0.0, 1.0 / (1.0 - kernel))
        if deconvolution is None:
            raise MaskInvalid(
                f"No sphere of {radii[-1]:g} mm fits inside the mask; give a larger mask or a smaller radius."
            )
        local = ifft(deconvolution * fft(filtered), grid.shape)
        return _restored(local, mask & ~left, start, field.grid)


def _boxed(field: TotalField, margin: list[int]) -> tuple[Tensor, Tensor, list[int]]:
    """Field and mask in a box of good size around the mask, zero beyond, and where the box begins.

    The margin [voxels] is on one side only: the box is periodic, and so it parts the mask from itself.
    """
    inside = field.mask.nonzero()
    if len(inside) == 0:
        raise MaskInvalid("The mask is empty; give one that marks the brain.")
    low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
    shape = [good_size(h - lo + 1 + m, 2) for lo, h, m in zip(low, high, margin, strict=True)]
    values = torch.where(field.mask, field.values, 0.0)
    values, mask = (pad(x, shape, [-lo for lo in low]).contiguous() for x in (values, field.mask))
    return values, mask, low


def _restored(local: Tensor, mask: Tensor, start: list[int], grid: Grid) -> LocalField:
    values, inside = (pad(x, grid.shape, start) for x in (torch.where(mask, local, 0.0), mask))
    return LocalField(values.contiguous(), inside.contiguous(), grid)
