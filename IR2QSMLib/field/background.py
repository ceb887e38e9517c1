"""What every background removal is, and the periodic box around the mask in which it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.physics.fourier import good_size, pad

BackgroundRemoval = Callable[[TotalField, Progress], LocalField]
"""A total field [ppm] to the local field [ppm], with the mask in which it is known."""
STAGE = "background removal"
"""What progress calls this stage."""


@runtime_checkable
class UsesSpheres(Protocol):
    """A background removal by spherical means, whose radii follow voxels and mask."""

    def radii_on(self, mask: Tensor, grid: Grid) -> list[float]:
        """Radii [mm] on a mask, bool (x, y, z), from the largest down; empty for none."""


def radii_on(removal: BackgroundRemoval, mask: Tensor, grid: Grid) -> list[float]:
    """Radii [mm] of the spheres that a background removal uses on a mask, empty where it uses none.

    Parameters
    ----------
    removal : callable
        A `BackgroundRemoval`.
    mask : Tensor
        Bool: (x, y, z).
    grid : Grid
        Its voxel sizes.
    """
    return removal.radii_on(mask, grid) if isinstance(removal, UsesSpheres) else []


@dataclass(frozen=True)
class FieldBox:
    """A total field in a periodic box around its mask, of a size that is fast to transform."""

    values: Tensor
    """Field [ppm], zero outside the mask: (x, y, z)."""
    mask: Tensor
    """Bool: (x, y, z)."""
    grid: Grid
    """The box."""
    original_grid: Grid
    """The grid of the field that came in."""
    start: tuple[int, int, int]
    """The voxel of the original grid at which the box begins."""

    @classmethod
    def around_mask(cls, field: TotalField, margin: Sequence[int]) -> FieldBox:
        """The box around a field's mask.

        Parameters
        ----------
        field : TotalField
            In ppm.
        margin : sequence of int
            Voxels by which the box is larger than the mask along x, y and z. They lie on one side only: the box is
            periodic, so they part the mask from itself on both.

        Raises
        ------
        MaskInvalid
            When the mask is empty.
        """
        inside = field.mask.nonzero()
        if len(inside) == 0:
            raise MaskInvalid("The mask is empty; give one that marks the brain.", option="mask")
        low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
        shape = [good_size(b - a + 1 + m, 2) for a, b, m in zip(low, high, margin, strict=True)]
        values, mask = (
            pad(x, shape, [-a for a in low]).contiguous()
            for x in (torch.where(field.mask, field.values, 0.0), field.mask)
        )
        return cls(values, mask, field.grid.cropped(low, shape), field.grid, (low[0], low[1], low[2]))

    def crop(self, volume: Tensor) -> Tensor:
        """A volume (x, y, z) of the original grid in the box, zero beyond that grid."""
        return pad(volume, self.grid.shape, [-n for n in self.start])

    def restore(self, volume: Tensor) -> Tensor:
        """A volume (x, y, z) of the box on the original grid, zero outside the box."""
        return pad(volume, self.original_grid.shape, self.start).contiguous()

    def local_field(self, values: Tensor, mask: Tensor) -> LocalField:
        """The local field on the original grid from its values [ppm] in the box and the mask where they are known."""
        return LocalField(self.restore(torch.where(mask, values, 0.0)), self.restore(mask), self.original_grid)
