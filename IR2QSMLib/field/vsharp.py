"""Background removal by spherical means."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import STAGE, FieldBox
from IR2QSMLib.physics.sphere import SphericalMeanFilter

HUMAN_HALF_WIDTH = 30.0
"""Half of a mask's middle width [mm] below which the radii shrink with the head. Human heads, infants' and slabs
included, have more; mice have 4 to 5, rats 7 to 10."""


@dataclass(frozen=True)
class VSharp:
    """V-SHARP, f_local = (1 − S)⁻¹ m (f − S∗f), with the largest sphere S about each voxel that fits into the mask m.

    The field of outside sources is harmonic and equals its mean over a sphere, so that f − S∗f holds inner sources
    only; they are restored by the largest sphere's 1 − S. The mask loses the voxels about which no sphere fits.

    Raises
    ------
    ParameterInvalid
        Unless largest ≥ smallest > 0, step > 0 and 0 < threshold < 1.

    References
    ----------
    Wu et al. 2012, Magn Reson Med, doi 10.1002/mrm.23000.
    """

    largest: float = 12.0
    """Radius [mm]."""
    smallest: float = 1.0
    """Radius [mm]; never less than the longest side of a voxel."""
    step: float = 1.0
    """Between radii [mm]."""
    threshold: float = 0.05
    """|1 − S| below which a frequency is left out of the deconvolution."""
    follow_head: bool = False
    """Whether the radii shrink with heads smaller than human ones: a mouse's brain is hardly as wide as 12 mm."""

    def __post_init__(self) -> None:
        if not (math.inf > self.largest >= self.smallest > 0.0 and self.step > 0.0 and 0.0 < self.threshold < 1.0):
            raise ParameterInvalid(
                f"V-SHARP has radii from {self.largest:g} to {self.smallest:g} mm in steps of {self.step:g} mm and "
                f"threshold {self.threshold:g}; expected falling positive radii and a threshold between 0 and 1."
            )

    def scaled_to(self, mask: Tensor, grid: Grid) -> VSharp:
        """The same with all radii in proportion to the width of a mask that is smaller than a human head's.

        Itself unless `follow_head` is set.

        Parameters
        ----------
        mask : Tensor
            Bool: (x, y, z).
        grid : Grid
            Its voxel sizes.
        """
        if not self.follow_head:
            return self
        widths = [v * int(mask.transpose(axis, 0).flatten(1).any(1).sum()) for axis, v in enumerate(grid.voxel_size)]
        scale = 0.5 * sorted(widths)[1] / HUMAN_HALF_WIDTH
        if not 0.0 < scale < 1.0:
            return self
        return replace(self, **{name: scale * getattr(self, name) for name in ("largest", "smallest", "step")})

    def radii(self, grid: Grid) -> list[float]:
        """Radii [mm] on a grid, from the largest down."""
        smallest = min(max(self.smallest, *grid.voxel_size), self.largest)
        n_steps = int((self.largest - smallest) / self.step + 1e-6)
        radii = [self.largest - i * self.step for i in range(n_steps + 1)]
        return radii if radii[-1] - smallest < 1e-6 else [*radii, smallest]

    def radii_on(self, mask: Tensor, grid: Grid) -> list[float]:
        """Radii [mm] on a mask, bool (x, y, z), from the largest down."""
        return self.scaled_to(mask, grid).radii(grid)

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """Remove the background of a total field [ppm].

        Parameters
        ----------
        field : TotalField
            In ppm.
        progress : callable
            Called with the fraction done and the stage.

        Returns
        -------
        LocalField
            [ppm], in the mask less its outer voxels.

        Raises
        ------
        MaskInvalid
            When the mask is empty or no sphere fits into it.
        """
        radii = self.radii_on(field.mask, field.grid)
        box = FieldBox.around_mask(field, [int(radii[0] / v) + 2 for v in field.grid.voxel_size])
        spheres = SphericalMeanFilter(
            box.mask, box.grid, radii, self.threshold, lambda fraction, _: progress(fraction, STAGE)
        )
        if not bool(spheres.inside.any()):
            raise MaskInvalid(
                f"No sphere of {radii[-1]:g} mm fits inside the mask; give a larger mask or a smaller radius.",
                option="mask",
            )
        # A constant is background, too; without it single precision loses less.
        return box.local_field(spheres(box.values - box.values[box.mask].mean()), spheres.inside)
