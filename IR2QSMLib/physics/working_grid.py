"""The frame in which fields are inverted: axes in a standard order, a box around the mask, a margin, a good size."""

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
"""That count of voxel sizes [mm] and of directions; single precision holds seven."""


@dataclass(frozen=True)
class WorkingGrid:
    """How one field is turned, cropped and padded, and how a map is brought back.

    The z axis of the frame is the voxel axis nearest to B0 and x the one nearest to the patient's left, so that
    an array that was permuted or flipped (its direction following) is inverted as the very same numbers. Its voxel
    sizes and directions have `DIGITS` digits, so that a header in single precision hardly ever makes another map.
    """

    outer: Grid
    """The grid that came in."""
    axes: tuple[int, int, int]
    """The axis of the outer grid that each axis of the frame is."""
    flipped: tuple[bool, bool, bool]
    start: tuple[int, int, int]
    """The frame's first voxel in the turned grid; negative where the frame reaches beyond."""
    grid: Grid
    """The frame's own grid."""

    @classmethod
    def around(cls, field: LocalField, margin: int = MARGIN) -> WorkingGrid:
        """The frame of a field whose mask is not empty."""
        axes, flipped = _standard_axes(field.grid)
        turned = _rounded(field.grid.reoriented(axes, flipped))
        inside = _turn(field.mask, axes, flipped).nonzero()
        low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
        shape = [good_size(h - lo + 1 + 2 * margin, MULTIPLE) for lo, h in zip(low, high, strict=True)]
        start = [lo - (n - (h - lo + 1)) // 2 for lo, h, n in zip(low, high, shape, strict=True)]
        return cls(field.grid, axes, flipped, (start[0], start[1], start[2]), turned.cropped(start, shape))

    def prepare(self, field: LocalField) -> LocalField:
        """The field in the frame."""
        masked = replace(field, values=torch.where(field.mask, field.values, 0.0))
        return masked.mapped(self.bring, self.grid)

    def bring(self, x: Tensor) -> Tensor:
        """A volume of the outer grid in the frame, zero where the frame reaches beyond."""
        turned = _turn(x, self.axes, self.flipped)
        return pad(turned, self.grid.shape, [-s for s in self.start]).contiguous()

    def restore(self, x: Tensor) -> Tensor:
        """A volume of the frame on the outer grid, zero beyond the frame."""
        turned = pad(x, [self.outer.shape[a] for a in self.axes], self.start)
        turned = turned.flip([a for a in range(3) if self.flipped[a]])
        return turned.permute(*np.argsort(self.axes).tolist()).contiguous()


def _rounded(grid: Grid) -> Grid:
    x, y, z = (float(f"{v:.{DIGITS}g}") for v in grid.voxel_size)
    grid = replace(grid, voxel_size=(x, y, z), direction=tuple(round(v, DIGITS) for v in grid.direction))
    return grid if grid.b0_given is None else grid.with_b0([round(v, DIGITS) for v in grid.b0_direction])


def _standard_axes(grid: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    b = np.asarray(grid.b0_direction)
    # Ties are broken by the axes' own directions, whatever their sign: the array's order must not matter.
    lines = [(-np.round(np.outer(c, c), 6)).ravel().tolist() for c in grid.matrix.T]
    z = min(range(3), key=lambda a: (-round(abs(float(b[a])), 6), lines[a]))
    x, y = sorted((a for a in range(3) if a != z), key=lambda a: lines[a])
    return (x, y, z), (_points_back(grid.matrix[[0, 1, 2], x]), _points_back(grid.matrix[[1, 0, 2], y]), bool(b[z] < 0))


def _points_back(components: np.ndarray) -> bool:
    """Whether the first component that is not rounding noise is negative."""
    return bool(components[np.abs(components) > 1e-6][0] < 0)


def _turn(x: Tensor, axes: tuple[int, int, int], flipped: tuple[bool, bool, bool]) -> Tensor:
    return x.permute(*axes).flip([a for a in range(3) if flipped[a]])
