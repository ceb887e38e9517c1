"""Spheres on a grid: the kernel of the spherical mean value, and the V-SHARP filter, which removes harmonic fields."""

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
MIN_MASK_MEAN = 0.999
"""Mean of the mask over a sphere above which the sphere lies inside it."""


def ellipsoid_fractions(voxel_size: tuple[float, float, float], radii: tuple[float, float, float]) -> Tensor:
    """Fraction of each voxel inside an ellipsoid about the middle voxel's centre.

    Parameters
    ----------
    voxel_size, radii : tuple of float
        Along x, y and z [mm].

    Returns
    -------
    Tensor
        0 to 1, odd sizes, float64: (x, y, z).
    """
    reach = [int(r / v + 0.5) for r, v in zip(radii, voxel_size, strict=True)]
    samples = []
    for n, v, r in zip(reach, voxel_size, radii, strict=True):
        step = (torch.arange(N_SAMPLES, dtype=torch.float64) + 0.5) / N_SAMPLES - 0.5
        samples.append((torch.arange(-n, n + 1, dtype=torch.float64).view(-1, 1) + step) * (v / r))
    fractions = torch.zeros([2 * n + 1 for n in reach], dtype=torch.float64)
    yz = samples[1][:, None, :, None] ** 2 + samples[2][None, :, None, :] ** 2  # (y, z, samples, samples)
    for i, x in enumerate(samples[0]):
        for sample in x.tolist():
            fractions[i] += (yz <= 1.0 - sample**2).sum((-2, -1))
    return fractions / N_SAMPLES**3


def sphere_mean_kernel(grid: Grid, radius: float, device: torch.device | str = "cpu", balanced: bool = False) -> Tensor:
    """Transform S(k) of the mean over a sphere with sub-voxel edges, S(0) = 1.

    A mean of samples at voxel centres has the second moment r²/5 + v²/12 along an axis of voxel size v. Where these
    differ, the mean of a harmonic field is not its value at the centre; `balanced` shortens the radius along the
    longer voxels until they agree.

    Parameters
    ----------
    grid : Grid
        Its shape and voxel sizes.
    radius : float
        Of the sphere [mm].
    device : torch.device or str
        Where the kernel is to be.
    balanced : bool
        Whether the second moments are made equal along the three axes.

    Returns
    -------
    Tensor
        Real, dimensionless: (x, y, z/2 + 1).

    Raises
    ------
    ParameterInvalid
        When the radius is not positive or the sphere is wider than the grid.
    """
    if not radius > 0.0:
        raise ParameterInvalid(f"The sphere's radius is {radius:g} mm; expected a positive number.")
    a, b, c = (_balanced(radius, v, min(grid.voxel_size)) if balanced else radius for v in grid.voxel_size)
    fractions = _cached_fractions(grid.voxel_size, (a, b, c))
    if any(n > m for n, m in zip(fractions.shape, grid.shape, strict=True)):
        raise ParameterInvalid(
            f"A sphere of {radius:g} mm spans {tuple(fractions.shape)} voxels and the grid has {grid.shape}; "
            "choose a smaller radius."
        )
    x = torch.zeros(grid.shape, device=device)
    x[tuple(slice(n) for n in fractions.shape)] = (fractions / fractions.sum()).float().to(device)
    return fft(x.roll([-(n // 2) for n in fractions.shape], (0, 1, 2))).real


def _balanced(radius: float, voxel: float, smallest: float) -> float:
    return max(radius**2 - (voxel**2 - smallest**2) * 5.0 / 12.0, (0.5 * radius) ** 2) ** 0.5


class SphericalMeanFilter:
    """The linear map of V-SHARP on one mask, f to F⁻¹[F Σ_r m_r (f − S_r f) / (1 − S_R)]: zero for a harmonic f.

    m_r are the mask's voxels for which r is the largest radius whose sphere lies inside the mask, R the largest radius
    that fits anywhere. Where no sphere fits at all, `inside` is empty and the result is zero.

    Parameters
    ----------
    mask : Tensor
        Bool: (x, y, z).
    grid : Grid
        Its shape and voxel sizes.
    radii : sequence of float
        Falling [mm].
    threshold : float
        Frequencies with |1 − S_R| below it are left out.
    progress : callable
        Called with the fraction done and the stage.

    References
    ----------
    Wu et al. 2012, Magn Reson Med, doi 10.1002/mrm.23000.
    """

    def __init__(
        self, mask: Tensor, grid: Grid, radii: Sequence[float], threshold: float, progress: Progress = silent
    ) -> None:
        self.mask, self.shape = mask, grid.shape
        self.shells: list[tuple[Tensor, Tensor]] = []
        self.deconvolution = torch.zeros(())
        mask_spectrum, remaining = fft(mask.float()), mask.clone()
        extents = [int(mask.transpose(axis, 0).flatten(1).any(1).sum()) for axis in range(3)]
        max_radius = 0.5 * min(min(n, m - 1) * v for n, m, v in zip(extents, grid.shape, grid.voxel_size, strict=True))
        for n, radius in enumerate(radii):
            progress(n / len(radii), "spheres")
            if radius > max_radius:
                continue
            kernel = sphere_mean_kernel(grid, radius, mask.device, balanced=True)
            fits = remaining & (ifft(kernel * mask_spectrum, grid.shape) > MIN_MASK_MEAN)
            if not bool(fits.any()):
                continue
            if not self.shells:
                self.deconvolution = torch.where((1.0 - kernel).abs() < threshold, 0.0, 1.0 / (1.0 - kernel))
            self.shells.append((fits, 1.0 - kernel))
            remaining &= ~fits
        self.inside = mask & ~remaining
        """Voxels about which a sphere lies in the mask, bool: (x, y, z)."""

    def __call__(self, values: Tensor) -> Tensor:
        """(x, y, z) to the same unit and shape, zero where no sphere fits."""
        filtered = torch.zeros_like(values)
        if not self.shells:
            return filtered
        spectrum = fft(torch.where(self.mask, values, 0.0))
        for fits, kernel in self.shells:
            torch.where(fits, ifft(kernel * spectrum, self.shape), filtered, out=filtered)
        return torch.where(self.inside, ifft(self.deconvolution * fft(filtered), self.shape), 0.0)


_cached_fractions = lru_cache(maxsize=64)(ellipsoid_fractions)
