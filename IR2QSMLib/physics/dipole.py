"""The dipole kernel and the operator that maps susceptibility to field."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from IR2QSMLib.core.errors import GridMismatch
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import fft, frequencies, good_size, ifft, pad


def _kernel_at(k: Sequence[Tensor], b: tuple[float, float, float]) -> Tensor:
    k2 = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along = k[0] * b[0] + k[1] * b[1] + k[2] * b[2]
    return torch.where(k2 == 0, 0.0, 1.0 / 3.0 - along**2 / torch.where(k2 == 0, 1.0, k2))


def dipole_kernel(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """Dipole kernel on the half spectrum: (x, y, z/2 + 1), float32, dimensionless.

    D(k) = 1/3 − (k·b)²/|k|², D(0) = 0, b the unit B0 direction in voxel axes, k in cycles/mm (Salomir 2003;
    Marques and Bowtell 2005, doi 10.1002/cmr.b.20034). On even sizes with an oblique b, D(k) and D(−k) differ
    on the Nyquist planes, so the two are averaged: the operator is then real and self-adjoint.
    """
    k, b = frequencies(grid, device), grid.b0_direction
    kernel = _kernel_at(k, b)
    # −k on the grid: the Nyquist frequency is its own negative, every other one changes sign.
    nyquist = [torch.arange(f.numel(), device=f.device).view_as(f) * 2 == n for f, n in zip(k, grid.shape, strict=True)]
    minus = [torch.where(at, f, -f) for f, at in zip(k, nyquist, strict=True)]
    for axis, at in enumerate(nyquist):
        for i in at.flatten().nonzero().flatten().tolist():
            here, there = ([f.narrow(axis, i, 1) if a == axis else f for a, f in enumerate(g)] for g in (k, minus))
            kernel.narrow(axis, i, 1).copy_(0.5 * (_kernel_at(here, b) + _kernel_at(there, b)))
    # On isotropic grids the diagonal kx = ky = kz makes D rounding noise, whose sign TKD would amplify.
    kernel[kernel.abs() < 1e-12] = 0.0
    return kernel.to(torch.float32).to(device)


def sampled_dipole_kernel(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """Transform of the dipole field sampled at voxel centres: (x, y, z/2 + 1), float32, real, dimensionless.

    d(r) = V·(3cos²θ − 1)/(4π|r|³), d(0) = 0, V the voxel's volume, r the shortest way on the periodic grid
    (Li and Leigh 2004, doi 10.1002/mrm.10695). Unlike `dipole_kernel` it has no periodic images of its sources.
    """
    square, along = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for axis, (n, v, b) in enumerate(zip(grid.shape, grid.voxel_size, grid.b0_direction, strict=True)):
        x = ((torch.arange(n, dtype=torch.float64) + n // 2) % n - n // 2) * v
        x = x.view([-1 if a == axis else 1 for a in range(3)])
        square, along = square + x**2, along + x * b
    away = torch.where(square == 0, 1.0, square)
    field = torch.where(square == 0, 0.0, (3.0 * along**2 / away - 1.0) / (4.0 * torch.pi * away**1.5))
    # Half a grid away there are two shortest ways; the real part is the mean of both.
    return fft((field * math.prod(grid.voxel_size)).to(torch.float32).to(device)).real


class DipoleOp(nn.Module):
    """Susceptibility [ppm] to relative field shift [ppm]: δB/B0 = F⁻¹ D F χ, real and self-adjoint.

    Periodic on the grid it is given. Raises GridMismatch when a tensor's last three axes are not the grid's.
    """

    kernel: Tensor

    def __init__(self, grid: Grid, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("kernel", dipole_kernel(grid, device), persistent=False)

    def forward(self, chi: Tensor) -> Tensor:
        """(..., x, y, z) [ppm] to (..., x, y, z) [ppm]."""
        if tuple(chi.shape[-3:]) != self.grid.shape:
            raise GridMismatch(
                f"DipoleOp was given {tuple(chi.shape[-3:])} and expects its grid's shape {self.grid.shape}."
            )
        return ifft(self.kernel * fft(chi), self.grid.shape)

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint, which is the operator itself."""
        return self.forward(field)


class DipoleStack:
    """The dipole operator of each sample of a batch and each orientation: crop F⁻¹ D F pad, real and self-adjoint.

    `grids` are those of the samples, one an orientation, all of one shape. Each volume has `margin` empty voxels around
    it, which keep its periodic images away; a frame of the pipeline has them already. Raises GridMismatch when shapes
    differ, here or in a call.
    """

    def __init__(self, grids: Sequence[Sequence[Grid]], margin: int = 0, device: torch.device | str = "cpu") -> None:
        self.shape = grids[0][0].shape
        shapes = {grid.shape for sample in grids for grid in sample}
        if shapes != {self.shape}:
            raise GridMismatch(f"The samples' grids have the shapes {sorted(shapes)}; expected one shape.")
        self.padded = tuple(n if margin == 0 else good_size(n + 2 * margin, 2) for n in self.shape)
        self.start = [(m - n) // 2 for m, n in zip(self.padded, self.shape, strict=True)]
        around = [-s for s in self.start]
        kernels = [dipole_kernel(grid.cropped(around, self.padded), device) for sample in grids for grid in sample]
        self.kernel = torch.stack(kernels).unflatten(0, (len(grids), -1))

    def __call__(self, chi: Tensor) -> Tensor:
        """(n, 1 or o, x, y, z) [ppm] to (n, o, x, y, z) [ppm]."""
        if tuple(chi.shape[-3:]) != self.shape:
            raise GridMismatch(
                f"DipoleStack was given {tuple(chi.shape[-3:])} and expects its grids' shape {self.shape}."
            )
        field = ifft(self.kernel * fft(pad(chi, self.padded, self.start)), self.padded)
        return pad(field, self.shape, [-s for s in self.start])

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint for each orientation, which is the operator itself: (n, o, x, y, z) to the same."""
        return self(field)


def simulate_field(chi: Tensor, grid: Grid) -> Tensor:
    """Relative field shift [ppm] of a susceptibility map [ppm] in empty space: (..., x, y, z) to the same.

    The grid is doubled, because the dipole field is long-ranged and a periodic one would wrap around.
    """
    doubled = grid.cropped((0, 0, 0), [good_size(2 * n, 2) for n in grid.shape])
    field = DipoleOp(doubled, chi.device)(pad(chi, doubled.shape))
    return pad(field, grid.shape)
