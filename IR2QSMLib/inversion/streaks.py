"""Streaks taken out of a map by total variation, where the field hardly says what belongs there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion.tv import OnGrid, alternations
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, twice
from IR2QSMLib.physics.gradient import Gradient

COUPLING = 0.5
"""ρ of the method of multipliers."""
N_STEPS = 12
"""Alternations."""


@dataclass(frozen=True)
class StreakRemoval:
    """Total variation of a map where the field hardly determines it: min ½‖√w F(χ − χ₀)‖² + τ‖∇χ‖₁.

    w = min(1, |D|/cone)² lets go of the map near the cone where D vanishes, along which errors are streaks (Li 2015,
    doi 10.1016/j.neuroimage.2014.12.043, whose estimate of streaks is of such a cone alone), and holds on to it
    elsewhere; without w, total variation (Bilgic 2014, doi 10.1002/mrm.25029) would fill the cone no better than it
    smooths the texture that the field determines. What it does smooth there, a step on the field brings back. ∇ is the
    difference between neighbours [ppm], whatever the voxel size. Raises ParameterInvalid unless strength > 0 and
    0 < cone < 2/3.
    """

    strength: float = 5e-4
    """τ [ppm]."""
    cone: float = 0.1
    """|D| from which on the map counts in full."""

    def __post_init__(self) -> None:
        if not (0.0 < self.strength < math.inf and 0.0 < self.cone < 2.0 / 3.0):
            raise ParameterInvalid(
                f"The removal of streaks was given strength {self.strength:g} and cone {self.cone:g}; expected a "
                "positive strength [ppm] and a cone between 0 and 2/3."
            )

    def __call__(self, chi: Tensor, mask: Tensor, grid: Grid, edges: Sequence[Tensor] | None = None) -> Tensor:
        """The map [ppm] without streaks, zero outside the mask: (x, y, z) to the same.

        `edges`, (x, y, z) along each axis, are 0 where a difference is an edge and costs nothing, 1 where it is none.
        """
        weight = (dipole_kernel(grid, chi.device).abs() / self.cone).clamp_(max=1.0).square_()
        data = fft(torch.where(mask, chi, 0.0))
        torch.view_as_real(data).mul_(twice(weight))
        steps = replace(grid, voxel_size=(1.0, 1.0, 1.0))
        fit = OnGrid(weight, data, steps, COUPLING)
        maps = alternations(fit, Gradient(steps, "periodic"), self.strength / COUPLING, edges)
        return torch.where(mask, next(islice(maps, N_STEPS - 1, None)), 0.0)
