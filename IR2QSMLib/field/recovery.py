"""What background removal takes too much: the part of the local field that is harmonic inside the mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.field.background import Removal, VSharp
from IR2QSMLib.physics.dipole import dipole_kernel, simulate_field
from IR2QSMLib.physics.fourier import fft, good_size, ifft, pad
from IR2QSMLib.runtime import Progress, part_of, silent
from IR2QSMLib.volumes import LocalField, TotalField

MARGIN = 16
"""Voxels around the mask's box, half of them on either side."""


@dataclass(frozen=True)
class Recovered:
    """A background removal B that keeps what sources inside explain: f ← B(t − D∗χ) + D∗χ, repeated.

    t is the total field and χ = m·F⁻¹[D/(D² + λ) F f] a quick inversion of the local field f so far, m its mask.
    Every removal takes harmonic fields away, and inside a mask nearly half of a brain's local field is harmonic,
    too; but sources inside, which the other half shows, explain much of it, and what they explain is not put before
    B again. The fixed point has B(t − D∗χ) = f − D∗χ: what differs from the model is free of background. Raises
    ParameterInvalid unless n_steps ≥ 0 and strength > 0.
    """

    removal: Removal = VSharp()
    n_steps: int = 4
    strength: float = 0.003
    """λ"""

    def __post_init__(self) -> None:
        if not (self.n_steps >= 0 and 0.0 < self.strength < 1e3):
            raise ParameterInvalid(
                f"The recovery was given {self.n_steps} steps and strength {self.strength:g}; expected 0 steps or more "
                "and a positive strength."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """The local field [ppm] and the mask in which it is known, that of the removal."""
        share = 1.0 / (self.n_steps + 1)
        local = self.removal(field, part_of(progress, 0.0, share))
        inside = local.mask.nonzero()
        low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
        shape = [good_size(h - lo + 1 + MARGIN, 2) for lo, h in zip(low, high, strict=True)]
        start = [lo - MARGIN // 2 for lo in low]
        grid = field.grid.cropped(start, shape)
        kernel = dipole_kernel(grid, field.values.device)
        inverse = kernel / (kernel.square() + self.strength)
        mask = pad(local.mask, grid.shape, [-s for s in start])
        for n in range(self.n_steps):
            values = pad(torch.where(local.mask, local.values, 0.0), grid.shape, [-s for s in start])
            chi = torch.where(mask, ifft(inverse * fft(values), grid.shape), 0.0)
            # A constant has no field of its own inside, but its edge has.
            chi = torch.where(mask, chi - chi[mask].mean(), 0.0)
            inner = torch.where(field.mask, pad(simulate_field(chi, grid), field.grid.shape, start), 0.0)
            rest = self.removal(
                replace(field, values=field.values - inner), part_of(progress, (n + 1) * share, (n + 2) * share)
            )
            local = replace(rest, values=torch.where(rest.mask, rest.values + inner, 0.0))
        return local
