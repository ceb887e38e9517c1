"""The one FFT convention (DC first, real to half spectrum) and the one padding function."""

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


def twice(kernel: Tensor) -> Tensor:
    """A real kernel for `view_as_real` spectra, (..., 2): times a real tensor, torch would copy it to a complex one."""
    return torch.stack([kernel, kernel], dim=-1)


class Filter:
    """Multiplication by a real kernel (x, y, z/2 + 1) in k-space, which is real and self-adjoint; it counts its use."""

    def __init__(self, kernel: Tensor, shape: Sequence[int]) -> None:
        self.kernel, self.shape, self.n_pairs = twice(kernel), tuple(shape), 0

    def __call__(self, x: Tensor) -> Tensor:
        """(x, y, z) to a new (x, y, z): a pair of transforms."""
        self.n_pairs += 1
        spectrum = fft(x)
        torch.view_as_real(spectrum).mul_(self.kernel)
        return ifft(spectrum, self.shape)


def blur(x: Tensor, grid: Grid, width: float) -> Tensor:
    """Gaussian filter of σ = `width` [mm], periodic on the grid: (x, y, z) to the same."""
    k = frequencies(grid, x.device)
    gx, gy, gz = (torch.exp(-2.0 * (math.pi * width * f) ** 2).float().to(x.device) for f in k)
    return ifft(fft(x).mul_(gx).mul_(gy * gz), grid.shape)


def band_limit(x: Tensor, grid: Grid, voxel: float) -> Tensor:
    """What voxels of `voxel` [mm] can hold, exp(−(2·voxel·|k|)⁸) of the spectrum, to be sampled there: (x, y, z)."""
    kx, ky, kz = (f.float().to(x.device) for f in frequencies(grid, x.device))
    square = (kx**2 + ky**2 + kz**2) * (2.0 * voxel) ** 2
    return ifft(fft(x) * torch.exp(-(square**4)), grid.shape)


def good_size(n: int, multiple: int = 8) -> int:
    """The smallest size from `n` up that is `multiple` times a product of 2, 3 and 5: a fast transform."""
    m = -(-n // multiple)
    while True:
        rest = m
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return m * multiple
        m += 1


def pad(x: Tensor, shape: Sequence[int], start: Sequence[int] = (0, 0, 0)) -> Tensor:
    """Place (..., x, y, z) at `start` in zeros of (..., *shape); a negative start or smaller shape crops."""
    sides: list[int] = []
    for n, new, begin in zip(reversed(x.shape[-3:]), reversed(shape), reversed(start), strict=True):
        sides += [begin, new - n - begin]
    return torch.nn.functional.pad(x, sides)
