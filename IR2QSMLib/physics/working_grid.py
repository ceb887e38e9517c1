"""The grid on which fields are inverted: axes in a standard order, a box around the mask, a margin, a good size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.fourier import good_size, pad

MARGIN = 16
"""Voxels kept around the mask's box; twice as many change TKD's map by 1.4 % of its range (RMS), and score alike."""

MULTIPLE = 8
"""Shapes are multiples of it, so that three poolings of a network divide them."""

DIGITS = 6
"""Digits of voxel sizes [mm] and of directions; single precision holds seven."""


@dataclass(frozen=True)
class WorkingGrid:
    """How a field is reoriented, cropped and padded for its inversion, and how a map is brought back.

    The z axis of the working grid is the voxel axis nearest to B0 and x the one nearest to the patient's left, so that
    an array that was permuted or flipped (its direction following) is inverted as the very same numbers. Its voxel
    sizes and directions are rounded to `DIGITS` digits, so that a header in single precision hardly ever makes another
    map.
    """

    original_grid: Grid
    """The grid of the field that came in."""
    axes: tuple[int, int, int]
    """For each axis of the working grid, the original grid's axis that it is."""
    flipped: tuple[bool, bool, bool]
    """Whether that axis is reversed."""
    start: tuple[int, int, int]
    """First voxel in the reoriented original grid; negative where the working grid reaches beyond it."""
    grid: Grid
    """The working grid itself."""

    @classmethod
    def around(cls, field: LocalField, margin: int = MARGIN) -> WorkingGrid:
        """The working grid of a field.

        Parameters
        ----------
        field : LocalField
            A field whose mask is not empty.
        margin : int
            Voxels around the mask's box.
        """
        axes, flipped = _standard_axes(field.grid)
        reoriented = _rounded(field.grid.reoriented(axes, flipped))
        inside = _reorient(field.mask, axes, flipped).nonzero()
        low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
        shape = [good_size(h - lo + 1 + 2 * margin, MULTIPLE) for lo, h in zip(low, high, strict=True)]
        start = [lo - (n - (h - lo + 1)) // 2 for lo, h, n in zip(low, high, shape, strict=True)]
        return cls(field.grid, axes, flipped, (start[0], start[1], start[2]), reoriented.cropped(start, shape))

    def to_working_grid(self, field: LocalField) -> LocalField:
        """The field on the working grid, zero outside its mask."""
        masked = replace(field, values=torch.where(field.mask, field.values, 0.0))
        return masked.map_volumes(self.volume_to_working_grid, self.grid)

    def volume_to_working_grid(self, x: Tensor) -> Tensor:
        """A volume of the original grid on the working grid, zero where the latter reaches beyond: (x, y, z)."""
        reoriented = _reorient(x, self.axes, self.flipped)
        return pad(reoriented, self.grid.shape, [-s for s in self.start]).contiguous()

    def to_original_grid(self, x: Tensor) -> Tensor:
        """A volume of the working grid on the original grid, zero beyond the working grid: (x, y, z)."""
        reoriented = pad(x, [self.original_grid.shape[a] for a in self.axes], self.start)
        permuted = reoriented.flip([a for a in range(3) if self.flipped[a]])
        return permuted.permute(*np.argsort(self.axes).tolist()).contiguous()


def _rounded(grid: Grid) -> Grid:
    x, y, z = (float(f"{v:.{DIGITS}g}") for v in grid.voxel_size)
    grid = replace(grid, voxel_size=(x, y, z), direction=tuple(round(v, DIGITS) for v in grid.direction))
    return grid if grid.user_b0_direction is None else grid.with_b0([round(v, DIGITS) for v in grid.b0_direction])


def _standard_axes(grid: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    b = np.asarray(grid.b0_direction)
    # Ties are broken by the axes' own directions, whatever their sign: the array's order must not matter.
    lines = [(-np.round(np.outer(c, c), 6)).ravel().tolist() for c in grid.matrix.T]
    z = min(range(3), key=lambda a: (-round(abs(float(b[a])), 6), lines[a]))
    x, y = sorted((a for a in range(3) if a != z), key=lambda a: lines[a])
    negative_x, negative_y = _is_negative(grid.matrix[[0, 1, 2], x]), _is_negative(grid.matrix[[1, 0, 2], y])
    return (x, y, z), (negative_x, negative_y, bool(b[z] < 0))


def _is_negative(components: np.ndarray) -> bool:
    """Whether the first component that is not rounding noise is negative."""
    return bool(components[np.abs(components) > 1e-6][0] < 0)


def _reorient(x: Tensor, axes: tuple[int, int, int], flipped: tuple[bool, bool, bool]) -> Tensor:
    return x.permute(*axes).flip([a for a in range(3) if flipped[a]])
