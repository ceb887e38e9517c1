"""What background removal takes too much: the part of the local field that is harmonic inside the mask."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import Removal, VSharp, boxed
from IR2QSMLib.physics.dipole import dipole_kernel, simulate_field
from IR2QSMLib.physics.fourier import Filter, pad
from IR2QSMLib.physics.solvers import conjugate_gradient

MARGIN = 12
"""Voxels by which the periodic grid is larger than the mask's box; four times as many change the map's XSIM by 1e-3."""
SHARE = 0.8
"""Of the time, that of the fit."""


@dataclass(frozen=True)
class Recovered:
    """A background removal B that is spared what sources inside explain: f = B(t − D∗χ) + D∗χ.

    Every removal takes harmonic fields away, and inside a mask nearly half of a brain's local field is harmonic, too.
    χ, the sources inside, are fitted to the total field t together with those outside (total field inversion, Liu
    2017, doi 10.1002/mrm.26331): minimise ‖m(t − D∗P y)‖ by `n_steps` conjugate gradients from zero, m the mask,
    P = 1 inside and `outside` outside, where air and bone are stronger by that much than tissue. There is no other
    penalty: few steps leave small what the field hardly shows, and P says whose a field is that both could have. Raises
    ParameterInvalid unless n_steps ≥ 0 and outside > 0.
    """

    removal: Removal = VSharp()
    n_steps: int = 150
    """Conjugate gradients; 0 is the removal alone."""
    outside: float = 30.0
    """How much stronger sources outside are than those inside; Liu's value."""

    def __post_init__(self) -> None:
        if not (self.n_steps >= 0 and 0.0 < self.outside < math.inf):
            raise ParameterInvalid(
                f"The recovery was given {self.n_steps} steps and sources outside {self.outside:g} times as strong as "
                "inside; expected 0 steps or more and a positive factor."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """The local field [ppm] and the mask in which it is known, that of the removal."""
        if self.n_steps == 0:
            return self.removal(field, progress)
        inner = torch.where(field.mask, self._field_inside(field, part_of(progress, 0.0, SHARE)), 0.0)
        rest = self.removal(replace(field, values=field.values - inner), part_of(progress, SHARE, 1.0))
        return replace(rest, values=torch.where(rest.mask, rest.values + inner, 0.0), recovered=True)

    def _field_inside(self, field: TotalField, progress: Progress) -> Tensor:
        """The field [ppm] of the sources inside that were found, in empty space."""
        # A constant is the scanner's frequency, and what sources outside explain worst.
        centre = field.values[field.mask].median() if bool(field.mask.any()) else 0.0
        values, mask, start = boxed(replace(field, values=field.values - centre), [MARGIN] * 3)
        grid = field.grid.cropped(start, mask.shape)
        dipoles = Filter(dipole_kernel(grid, values.device), grid.shape)
        strength = torch.where(mask, 1.0, self.outside)

        def normal(y: Tensor) -> Tensor:
            return dipoles(dipoles(y * strength).mul_(mask)).mul_(strength)

        found = conjugate_gradient(
            normal,
            dipoles(values).mul_(strength),
            tolerance=0.0,
            max_iterations=self.n_steps,
            progress=lambda fraction, _: progress(fraction, "recovery"),
        )
        # A constant has no field of its own inside, but its edge has.
        chi = torch.where(mask, found.x - found.x[mask].mean(), 0.0)
        return pad(simulate_field(chi, grid), field.grid.shape, start)
