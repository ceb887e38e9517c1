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
    """Numbers from a CPU generator, volumes from one on `device`, both seeded with `seed`."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._numbers = torch.Generator().manual_seed(seed)
        self._volumes = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number between `low` and `high`."""
        return low + (high - low) * float(torch.rand((), generator=self._numbers, dtype=torch.float64))

    def loguniform(self, low: float, high: float) -> float:
        """A number whose logarithm is uniform."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._numbers))

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        return self.uniform(0.0, 1.0) < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.integer(0, len(options) - 1)]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers on the device: `shape`."""
        return torch.randn(shape, generator=self._volumes, device=self.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) on the device: `shape`."""
        return torch.rand(shape, generator=self._volumes, device=self.device)

    def direction(self) -> tuple[float, float, float]:
        """A unit vector, every direction equally likely."""
        z, phi = self.uniform(-1.0, 1.0), self.uniform(0.0, 2.0 * math.pi)
        r = math.sqrt(1.0 - z * z)
        return (r * math.cos(phi), r * math.sin(phi), z)

    def smooth(self, grid: Grid, width: float) -> Tensor:
        """Gaussian-filtered white noise of unit standard deviation, `width` [mm] its σ: (x, y, z)."""
        return _unit(blur(self.normal(*grid.shape), grid, width))

    def rough(self, grid: Grid, slope: float, coarsest: float = 40.0) -> Tensor:
        """Noise of unit standard deviation and spectrum |k|^−`slope` down from `coarsest` [mm]: (x, y, z)."""
        kx, ky, kz = (k.float().to(self.device) for k in frequencies(grid, self.device))
        k2 = kx**2 + ky**2 + (kz**2 + coarsest**-2)
        return _unit(ifft(fft(self.normal(*grid.shape)) * k2 ** (-0.5 * slope), grid.shape))


def _unit(x: Tensor) -> Tensor:
    x = x - x.mean()
    return x / x.std().clamp_min(1e-12)
