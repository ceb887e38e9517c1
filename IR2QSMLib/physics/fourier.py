"""The FFT convention of the library (zero frequency first, real to half spectrum), filters in k-space and padding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid


def fft(x: Tensor) -> Tensor:
    """Real (..., x, y, z) to its half spectrum (..., x, y, z/2 + 1)."""
    return torch.fft.rfftn(x, dim=(-3, -2, -1))


def ifft(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Half spectrum (..., x, y, z/2 + 1) to real (..., *shape)."""
    return torch.fft.irfftn(x, s=tuple(shape), dim=(-3, -2, -1))


def frequencies(grid: Grid, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Spatial frequencies [cycles/mm] of the half spectrum, each broadcastable to (x, y, z/2 + 1), float64."""
    (nx, ny, nz), (dx, dy, dz) = grid.shape, grid.voxel_size
    device = "cpu" if torch.device(device).type == "mps" else device  # which knows no float64
    kx = torch.fft.fftfreq(nx, dx, dtype=torch.float64, device=device).view(-1, 1, 1)
    ky = torch.fft.fftfreq(ny, dy, dtype=torch.float64, device=device).view(1, -1, 1)
    # Not rfftfreq, whose Nyquist frequency is positive: axes must not differ, or D would hang on their order.
    kz = torch.fft.fftfreq(nz, dz, dtype=torch.float64, device=device)[: nz // 2 + 1].view(1, 1, -1)
    return kx, ky, kz


def squared_wavenumber(grid: Grid, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """|k|² [1/mm²] of the half spectrum: (x, y, z/2 + 1)."""
    x, y, z = (f.to(dtype).to(device) for f in frequencies(grid, device))
    return x**2 + y**2 + z**2


def wavenumber(grid: Grid, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """|k| [cycles/mm] of the half spectrum: (x, y, z/2 + 1)."""
    return squared_wavenumber(grid, device, dtype).sqrt_()


def spectrum_multiplicity(grid: Grid, dtype: torch.dtype = torch.float64) -> Tensor:
    """How many coefficients of the full spectrum each plane of the half spectrum stands for, 1 or 2: (z/2 + 1)."""
    nz = grid.shape[2]
    multiplicity = torch.full((nz // 2 + 1,), 2.0, dtype=dtype)
    multiplicity[0] = 1.0
    if nz % 2 == 0:
        multiplicity[-1] = 1.0
    return multiplicity


def kernel_for_real_view(kernel: Tensor) -> Tensor:
    """A real kernel repeated for real and imaginary part: (..., 2).

    It multiplies spectra under `torch.view_as_real`. Times a complex tensor, torch would first copy the kernel to a
    complex one.
    """
    return torch.stack([kernel, kernel], dim=-1)


class Filter:
    """Multiplication by a real kernel in k-space, which is real and self-adjoint: F⁻¹ K F.

    Parameters
    ----------
    kernel : Tensor
        K: (x, y, z/2 + 1).
    shape : sequence of int
        The volumes' shape.
    """

    def __init__(self, kernel: Tensor, shape: Sequence[int]) -> None:
        self.kernel, self.shape = kernel_for_real_view(kernel), tuple(shape)
        self.n_fft_pairs = 0
        """Pairs of transforms so far."""

    def __call__(self, x: Tensor) -> Tensor:
        """(x, y, z) to a new (x, y, z)."""
        self.n_fft_pairs += 1
        spectrum = fft(x)
        torch.view_as_real(spectrum).mul_(self.kernel)
        return ifft(spectrum, self.shape)


def blur(x: Tensor, grid: Grid, sigma: float) -> Tensor:
    """Gaussian filter of standard deviation `sigma` [mm], periodic on the grid: (x, y, z) to the same."""
    k = frequencies(grid, x.device)
    gx, gy, gz = (torch.exp(-2.0 * (math.pi * sigma * f) ** 2).float().to(x.device) for f in k)
    return ifft(fft(x).mul_(gx).mul_(gy * gz), grid.shape)


def band_limit(x: Tensor, grid: Grid, voxel_size: float) -> Tensor:
    """Low-pass filter before sampling on cubes of edge v = `voxel_size` [mm], exp(−(2v|k|)⁸): (x, y, z) to the same."""
    relative = squared_wavenumber(grid, x.device) * (2.0 * voxel_size) ** 2  # (|k| over the Nyquist frequency)²
    return ifft(fft(x) * torch.exp(-(relative**4)), grid.shape)


def good_size(n: int, multiple: int = 8) -> int:
    """The smallest size from `n` up that is `multiple` times a product of 2, 3 and 5: a fast transform."""
    factor = -(-n // multiple)
    while True:
        remainder = factor
        for prime in (2, 3, 5):
            while remainder % prime == 0:
                remainder //= prime
        if remainder == 1:
            return factor * multiple
        factor += 1


def pad(x: Tensor, shape: Sequence[int], start: Sequence[int] = (0, 0, 0)) -> Tensor:
    """Place (..., x, y, z) at `start` in zeros of (..., *shape); a negative start or smaller shape crops."""
    sides: list[int] = []
    for n, new, begin in zip(reversed(x.shape[-3:]), reversed(shape), reversed(start), strict=True):
        sides += [begin, new - n - begin]
    return torch.nn.functional.pad(x, sides)
