"""Every random draw of the simulation comes from one seeded pair of generators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import blur, fft, frequencies, ifft

T = TypeVar("T")


class RandomSource:
    """Random numbers and random volumes, from two generators with one seed.

    Numbers come from a generator on the CPU, volumes from one on `device`, so that the number of volumes drawn does
    not change the numbers.

    Parameters
    ----------
    seed
        The same seed, device and order of calls give the same values.
    device
        Where volumes are drawn.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._numbers = torch.Generator().manual_seed(seed)
        self._volumes = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number between `low` and `high`."""
        return low + (high - low) * float(torch.rand((), generator=self._numbers, dtype=torch.float64))

    def loguniform(self, low: float, high: float) -> float:
        """A number whose logarithm is uniform between those of `low` and `high`."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._numbers))

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        return self.uniform(0.0, 1.0) < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`, all equally likely."""
        return options[self.integer(0, len(options) - 1)]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal values of `shape` on the device."""
        return torch.randn(shape, generator=self._volumes, device=self.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform values in [0, 1) of `shape` on the device."""
        return torch.rand(shape, generator=self._volumes, device=self.device)

    def direction(self) -> tuple[float, float, float]:
        """A unit vector, every direction equally likely."""
        z, phi = self.uniform(-1.0, 1.0), self.uniform(0.0, 2.0 * math.pi)
        r = math.sqrt(1.0 - z * z)
        return (r * math.cos(phi), r * math.sin(phi), z)

    def smooth_noise(self, grid: Grid, width: float) -> Tensor:
        """White noise filtered by a Gaussian, of zero mean and unit standard deviation.

        Parameters
        ----------
        grid
            Of the noise.
        width
            σ of the Gaussian [mm].

        Returns
        -------
        Tensor
            (x, y, z).
        """
        return _standardised(blur(self.normal(*grid.shape), grid, width))

    def power_law_noise(self, grid: Grid, exponent: float, coarsest: float = 40.0) -> Tensor:
        """Noise of amplitude spectrum (|k|² + 1/coarsest²)^(−exponent/2), of zero mean and unit standard deviation.

        Parameters
        ----------
        grid
            Of the noise.
        exponent
            The larger, the smoother.
        coarsest
            Wavelength from which the spectrum is flat [mm].

        Returns
        -------
        Tensor
            (x, y, z).
        """
        kx, ky, kz = (k.float().to(self.device) for k in frequencies(grid, self.device))
        k2 = kx**2 + ky**2 + (kz**2 + coarsest**-2)
        return _standardised(ifft(fft(self.normal(*grid.shape)) * k2 ** (-0.5 * exponent), grid.shape))


def _standardised(x: Tensor) -> Tensor:
    x = x - x.mean()
    return x / x.std().clamp_min(1e-12)
