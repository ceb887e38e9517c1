"""Spheres on a grid: the kernel of the spherical mean value, and the filter that takes harmonic fields away."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.physics.fourier import fft, ifft

N_SAMPLES = 10
"""Samples along each axis of a voxel that the sphere's surface passes through."""
FITS = 0.999
"""Mean of the mask over a sphere above which the sphere lies inside it."""


def sphere_share(voxel_size: tuple[float, float, float], radii: tuple[float, float, float]) -> Tensor:
    """Share of each voxel inside an ellipsoid of `radii` [mm] about a voxel's centre: odd (x, y, z), float64."""
    reach = [int(r / v + 0.5) for r, v in zip(radii, voxel_size, strict=True)]
    fine = []
    for n, v, r in zip(reach, voxel_size, radii, strict=True):
        step = (torch.arange(N_SAMPLES, dtype=torch.float64) + 0.5) / N_SAMPLES - 0.5
        fine.append((torch.arange(-n, n + 1, dtype=torch.float64).view(-1, 1) + step) * (v / r))
    share = torch.zeros([2 * n + 1 for n in reach], dtype=torch.float64)
    yz = fine[1][:, None, :, None] ** 2 + fine[2][None, :, None, :] ** 2  # (y, z, samples, samples)
    for i, x in enumerate(fine[0]):
        for sample in x.tolist():
            share[i] += (yz <= 1.0 - sample**2).sum((-2, -1))
    return share / N_SAMPLES**3


def sphere_mean_kernel(grid: Grid, radius: float, device: torch.device | str = "cpu", balanced: bool = False) -> Tensor:
    """Transform S(k) of the mean over a sphere of `radius` [mm], sub-voxel edges, sum 1: (x, y, z/2 + 1), real.

    A mean of samples at voxel centres has the second moment r²/5 + v²/12 along an axis of voxel size v. Where these
    differ, the mean of a harmonic field is not its value at the centre; `balanced` shortens the radius along the
    longer voxels until they agree. Raises ParameterInvalid when the radius is not positive or the sphere is wider
    than the grid.
    """
    if not radius > 0.0:
        raise ParameterInvalid(f"The sphere's radius is {radius:g} mm; expected a positive number.")
    a, b, c = (_balanced(radius, v, min(grid.voxel_size)) if balanced else radius for v in grid.voxel_size)
    share = _share(grid.voxel_size, (a, b, c))
    if any(n > m for n, m in zip(share.shape, grid.shape, strict=True)):
        raise ParameterInvalid(
            f"A sphere of {radius:g} mm spans {tuple(share.shape)} voxels and the grid has {grid.shape}; "
            "choose a smaller radius."
        )
    x = torch.zeros(grid.shape, device=device)
    x[tuple(slice(n) for n in share.shape)] = (share / share.sum()).float().to(device)
    return fft(x.roll([-(n // 2) for n in share.shape], (0, 1, 2))).real


def _balanced(radius: float, voxel: float, smallest: float) -> float:
    return max(radius**2 - (voxel**2 - smallest**2) * 5.0 / 12.0, (0.5 * radius) ** 2) ** 0.5


class SphericalMeanFilter:
    """The linear map of V-SHARP on one mask: f to F⁻¹[F Σ_r m_r (f − S_r f) / (1 − S_R)], zero for a harmonic f.

    m_r are the voxels of the `mask`, bool (x, y, z), in which of the falling `radii` [mm] r is the first whose sphere
    lies inside, R the first radius that any has, and frequencies with |1 − S_R| below `threshold` are left out
    (Wu 2012, doi 10.1002/mrm.23000). Where no sphere fits at all, `inside` is empty and so is what comes out.
    """

    def __init__(
        self, mask: Tensor, grid: Grid, radii: Sequence[float], threshold: float, progress: Progress = silent
    ) -> None:
        self.mask, self.shape = mask, grid.shape
        self.parts: list[tuple[Tensor, Tensor]] = []
        self.deconvolution = torch.zeros(())
        inside, left = fft(mask.float()), mask.clone()
        counts = [int(mask.transpose(axis, 0).flatten(1).any(1).sum()) for axis in range(3)]
        room = 0.5 * min(min(n, m - 1) * v for n, m, v in zip(counts, grid.shape, grid.voxel_size, strict=True))
        for n, radius in enumerate(radii):
            progress(n / len(radii), "spheres")
            if radius > room:
                continue
            kernel = sphere_mean_kernel(grid, radius, mask.device, balanced=True)
            fits = left & (ifft(kernel * inside, grid.shape) > FITS)
            if not bool(fits.any()):
                continue
            if not self.parts:
                self.deconvolution = torch.where((1.0 - kernel).abs() < threshold, 0.0, 1.0 / (1.0 - kernel))
            self.parts.append((fits, 1.0 - kernel))
            left &= ~fits
        self.inside = mask & ~left
        """Voxels that some sphere around lies in the mask: (x, y, z)."""

    def __call__(self, values: Tensor) -> Tensor:
        """(x, y, z) to the same unit and shape, zero where no sphere fits."""
        filtered = torch.zeros_like(values)
        if not self.parts:
            return filtered
        spectrum = fft(torch.where(self.mask, values, 0.0))
        for fits, kernel in self.parts:
            torch.where(fits, ifft(kernel * spectrum, self.shape), filtered, out=filtered)
        return torch.where(self.inside, ifft(self.deconvolution * fft(filtered), self.shape), 0.0)


_share = lru_cache(maxsize=64)(sphere_share)
