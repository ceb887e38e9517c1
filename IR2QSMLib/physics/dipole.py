"""The dipole kernel and the operator that maps susceptibility to field."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from IR2QSMLib.core.errors import GridMismatch
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import fft, frequencies, good_size, ifft, pad

Vector = tuple[float, float, float]


def _kernel_at(k: Sequence[Tensor], b: Vector) -> Tensor:
    k2 = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along = k[0] * b[0] + k[1] * b[1] + k[2] * b[2]
    return torch.where(k2 == 0, 0.0, 1.0 / 3.0 - along**2 / torch.where(k2 == 0, 1.0, k2))


def dipole_kernel(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """Dipole kernel on the half spectrum, D(k) = 1/3 − (k·b)²/|k|², D(0) = 0.

    b is the unit B0 direction in voxel axes. On even sizes with an oblique b, D(k) and D(−k) differ on the Nyquist
    planes, so the two are averaged: the operator is then real and self-adjoint. The last two kernels are kept in
    memory and shared by all callers, who must not change them in place.

    Parameters
    ----------
    grid : Grid
        Shape, voxel sizes and the direction of B0.
    device : torch.device or str
        Where the kernel is to be.

    Returns
    -------
    Tensor
        D, dimensionless, float32: (x, y, z/2 + 1).

    References
    ----------
    Salomir et al. 2003, Concepts Magn Reson B, doi 10.1002/cmr.b.10083.
    Marques and Bowtell 2005, Concepts Magn Reson B, doi 10.1002/cmr.b.20034.
    """
    (nx, ny, nz), (dx, dy, dz) = grid.shape, grid.voxel_size
    return _cached_dipole_kernel((nx, ny, nz), (dx, dy, dz), grid.b0_direction, torch.device(device))


@lru_cache(maxsize=2)
@torch.inference_mode(False)  # a kernel made in inference mode could not be used in training later
def _cached_dipole_kernel(shape: tuple[int, int, int], voxel_size: Vector, b: Vector, device: torch.device) -> Tensor:
    grid = Grid(shape, voxel_size, user_b0_direction=b)
    k = frequencies(grid, device)
    kernel = _kernel_at(k, b)
    # −k on the grid: the Nyquist frequency is its own negative, every other one changes sign.
    nyquist = [torch.arange(f.numel(), device=f.device).view_as(f) * 2 == n for f, n in zip(k, grid.shape, strict=True)]
    minus = [torch.where(at, f, -f) for f, at in zip(k, nyquist, strict=True)]
    for axis, at in enumerate(nyquist):
        for i in at.flatten().nonzero().flatten().tolist():
            plane, mirrored = ([f.narrow(axis, i, 1) if a == axis else f for a, f in enumerate(g)] for g in (k, minus))
            kernel.narrow(axis, i, 1).copy_(0.5 * (_kernel_at(plane, b) + _kernel_at(mirrored, b)))
    # On isotropic grids the diagonal kx = ky = kz makes D rounding noise, whose sign TKD would amplify.
    kernel[kernel.abs() < 1e-12] = 0.0
    return kernel.to(torch.float32).to(device)


def sampled_dipole_kernel(grid: Grid, device: torch.device | str = "cpu") -> Tensor:
    """Transform of the dipole field sampled at voxel centres, d(r) = V·(3cos²θ − 1)/(4π|r|³), d(0) = 0.

    V is the voxel's volume, r the shortest vector on the periodic grid. Unlike `dipole_kernel` it has no periodic
    images of the sources.

    Parameters
    ----------
    grid : Grid
        Shape, voxel sizes and the direction of B0.
    device : torch.device or str
        Where the kernel is to be.

    Returns
    -------
    Tensor
        Dimensionless, real, float32: (x, y, z/2 + 1).

    References
    ----------
    Li and Leigh 2004, Magn Reson Med, doi 10.1002/mrm.10695.
    """
    square, along = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for axis, (n, v, b) in enumerate(zip(grid.shape, grid.voxel_size, grid.b0_direction, strict=True)):
        x = ((torch.arange(n, dtype=torch.float64) + n // 2) % n - n // 2) * v
        x = x.view([-1 if a == axis else 1 for a in range(3)])
        square, along = square + x**2, along + x * b
    nonzero = torch.where(square == 0, 1.0, square)
    field = torch.where(square == 0, 0.0, (3.0 * along**2 / nonzero - 1.0) / (4.0 * torch.pi * nonzero**1.5))
    # Half a grid away there are two shortest vectors; the real part is the mean of both.
    return fft((field * grid.voxel_volume).to(torch.float32).to(device)).real


class DipoleOp(nn.Module):
    """Susceptibility [ppm] to relative field shift [ppm], δB/B0 = F⁻¹ D F χ: real, self-adjoint and periodic.

    Parameters
    ----------
    grid : Grid
        The grid of the volumes.
    device : torch.device or str
        Where the volumes are.

    Raises
    ------
    GridMismatch
        In a call, when a tensor's last three axes are not the grid's.
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
                f"DipoleOp got a volume of {tuple(chi.shape[-3:])} voxels; expected its grid's shape {self.grid.shape}."
            )
        return ifft(self.kernel * fft(chi), self.grid.shape)

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint, which is the operator itself."""
        return self.forward(field)


class DipoleStack:
    """The dipole operator of each sample of a batch and each orientation, crop F⁻¹ D F pad: real and self-adjoint.

    Parameters
    ----------
    grids : sequence of sequence of Grid
        For each sample, the grids of its orientations; all of one shape.
    margin : int
        Voxels of zeros around each volume that keep its periodic images away; a working grid has them already.
    device : torch.device or str
        Where the volumes are.

    Raises
    ------
    GridMismatch
        When shapes differ, here or in a call.
    """

    def __init__(self, grids: Sequence[Sequence[Grid]], margin: int = 0, device: torch.device | str = "cpu") -> None:
        self.shape = grids[0][0].shape
        shapes = {grid.shape for sample in grids for grid in sample}
        if shapes != {self.shape}:
            raise GridMismatch(f"The samples' grids have the shapes {sorted(shapes)}; expected one shape.")
        self.padded_shape = tuple(n if margin == 0 else good_size(n + 2 * margin, 2) for n in self.shape)
        self.start = [(m - n) // 2 for m, n in zip(self.padded_shape, self.shape, strict=True)]
        outer_start = [-s for s in self.start]
        padded_grids = [grid.cropped(outer_start, self.padded_shape) for sample in grids for grid in sample]
        kernels = [dipole_kernel(grid, device) for grid in padded_grids]
        self.kernel = torch.stack(kernels).unflatten(0, (len(grids), -1))

    def __call__(self, chi: Tensor) -> Tensor:
        """(n, 1 or o, x, y, z) [ppm] to (n, o, x, y, z) [ppm]."""
        if tuple(chi.shape[-3:]) != self.shape:
            raise GridMismatch(
                f"DipoleStack got a volume of {tuple(chi.shape[-3:])} voxels; expected its grids' shape {self.shape}."
            )
        field = ifft(self.kernel * fft(pad(chi, self.padded_shape, self.start)), self.padded_shape)
        return pad(field, self.shape, [-s for s in self.start])

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint for each orientation, which is the operator itself: (n, o, x, y, z) to the same."""
        return self(field)


def simulate_field(chi: Tensor, grid: Grid) -> Tensor:
    """Relative field shift of a susceptibility map in empty space, on a doubled grid that keeps periodic images away.

    Parameters
    ----------
    chi : Tensor
        Susceptibility [ppm]: (..., x, y, z).
    grid : Grid
        Its voxel sizes and the direction of B0.

    Returns
    -------
    Tensor
        δB/B0 [ppm]: (..., x, y, z).
    """
    doubled = grid.cropped((0, 0, 0), [good_size(2 * n, 2) for n in grid.shape])
    field = DipoleOp(doubled, chi.device)(pad(chi, doubled.shape))
    return pad(field, grid.shape)
