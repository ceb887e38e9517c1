"""The part of the local field that is harmonic inside the mask, which every background removal takes away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import BackgroundRemoval, FieldBox, radii_on
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.physics.dipole import dipole_kernel, simulate_field
from IR2QSMLib.physics.fourier import Filter
from IR2QSMLib.physics.solvers import conjugate_gradient

MARGIN = 12
"""Voxels by which the periodic grid is larger than the mask's box; four times as many change the map's XSIM by 1e-3."""
FIT_SHARE = 0.8
"""Share of the progress that the fit of the sources takes."""


@dataclass(frozen=True)
class HarmonicCompletion:
    """A background removal B, and an estimate of what it takes of the local field, f_local = B(f − D∗χ) + D∗χ.

    Removals take away all harmonic fields, and inside a mask nearly half of a brain's local field is harmonic. χ, the
    inner sources, are fitted to the total field f together with those outside: minimise ‖m(f − D∗P y)‖ by `n_steps`
    conjugate gradients from zero, m the mask, P = 1 inside and `outside` outside, χ = y inside. The small number of
    steps is the only penalty.

    Raises
    ------
    ParameterInvalid
        Unless n_steps ≥ 0 and outside > 0.

    References
    ----------
    Liu et al. 2017 (total field inversion), Magn Reson Med, doi 10.1002/mrm.26331. The number of steps was chosen on
    simulated heads (docs/phase.md).
    """

    removal: BackgroundRemoval = VSharp()
    """B."""
    n_steps: int = 150
    """Conjugate gradients; 0 is the removal alone."""
    outside: float = 30.0
    """How many times stronger sources outside, air and bone, are than tissue; Liu's value."""

    def __post_init__(self) -> None:
        if not (self.n_steps >= 0 and 0.0 < self.outside < math.inf):
            raise ParameterInvalid(
                f"The estimate of the harmonic part has {self.n_steps} steps and sources outside {self.outside:g} "
                "times as strong as inside; expected 0 steps or more and a positive factor."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """Remove the background of a total field [ppm] and add the harmonic part of the local field.

        Parameters
        ----------
        field : TotalField
            In ppm, with whatever the removal needs.
        progress : callable
            Called with the fraction done and the stage.

        Returns
        -------
        LocalField
            [ppm], in the removal's mask.

        Raises
        ------
        FieldInvalid, MaskInvalid
            As the removal, and when the mask is empty.
        """
        if self.n_steps == 0:
            return self.removal(field, progress)
        inner = torch.where(field.mask, self._inner_field(field, part_of(progress, 0.0, FIT_SHARE)), 0.0)
        local = self.removal(replace(field, values=field.values - inner), part_of(progress, FIT_SHARE, 1.0))
        return replace(local, values=torch.where(local.mask, local.values + inner, 0.0), harmonic_completed=True)

    def radii_on(self, mask: Tensor, grid: Grid) -> list[float]:
        """Radii [mm] of the removal's spheres on a mask, bool (x, y, z); empty where it uses none."""
        return radii_on(self.removal, mask, grid)

    def _inner_field(self, field: TotalField, progress: Progress) -> Tensor:
        """The field D∗χ [ppm] of the sources inside: (x, y, z)."""
        # A constant is the scanner's frequency, and what sources outside explain worst.
        offset = field.values[field.mask].median() if bool(field.mask.any()) else 0.0
        box = FieldBox.around_mask(replace(field, values=field.values - offset), [MARGIN] * 3)
        dipole_filter = Filter(dipole_kernel(box.grid, box.values.device), box.grid.shape)
        scale = torch.where(box.mask, 1.0, self.outside)

        def normal(y: Tensor) -> Tensor:
            return dipole_filter(dipole_filter(y * scale).mul_(box.mask)).mul_(scale)

        sources = conjugate_gradient(
            normal,
            dipole_filter(box.values).mul_(scale),
            tolerance=0.0,
            max_iterations=self.n_steps,
            progress=lambda fraction, _: progress(fraction, "harmonic part"),
        ).x
        # A constant χ has no field inside, but the mask's edge would have one.
        chi = torch.where(box.mask, sources - sources[box.mask].mean(), 0.0)
        return box.restore(simulate_field(chi, box.grid))
