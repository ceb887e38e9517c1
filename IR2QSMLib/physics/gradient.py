"""The gradient of a volume by forward differences, periodic or with a last difference of zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid

BOUNDARIES = ("periodic", "zero")
"""The last voxel's difference: to the first voxel (TV, iLSQR), or 0 (MEDI)."""
BLOCK_SIZE = 2**18
"""Voxels of a block, a megabyte: it stays in a processor's cache."""


@dataclass(frozen=True)
class Gradient:
    """Forward differences over the voxel size: (x, y, z) [ppm] to (3, x, y, z) [ppm/mm].

    `forward` and `adjoint` are the operator. Solvers that take one axis and one block at a time use `difference` and
    `add_adjoint`, which do not divide by the voxel size.

    Raises
    ------
    ParameterInvalid
        When the boundary is not one of `BOUNDARIES`.
    """

    grid: Grid
    boundary: str
    """One of `BOUNDARIES`."""

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise ParameterInvalid(
                f"The gradient's boundary is '{self.boundary}'; expected one of {', '.join(BOUNDARIES)}."
            )

    def forward(self, x: Tensor) -> Tensor:
        """(x, y, z) to (3, x, y, z)."""
        out = x.new_empty((3, *x.shape))
        for axis, voxel in enumerate(self.grid.voxel_size):
            self.difference(x, axis, out[axis]).div_(voxel)
        return out

    def adjoint(self, g: Tensor) -> Tensor:
        """(3, x, y, z) to (x, y, z): minus the divergence."""
        out = g.new_zeros(g.shape[1:])
        for axis, voxel in enumerate(self.grid.voxel_size):
            self.add_adjoint(g[axis].clone(), axis, 1.0 / voxel, out)
        return out

    def blocks(self, x: Tensor) -> list[slice]:
        """Slabs of a volume along its first axis, small enough for the processor's cache, to be taken in this order.

        On other devices than the CPU one block is the volume.
        """
        n = x.shape[0]
        step = max(1, BLOCK_SIZE // math.prod(x.shape[1:])) if x.device.type == "cpu" else n
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def difference(self, x: Tensor, axis: int, out: Tensor, block: slice | None = None) -> Tensor:
        """x[i+1] − x[i] along an axis of a contiguous volume, or of one block of it, written to `out`."""
        start, stop, end = *_bounds(x, block), x.shape[axis] - 1
        if axis == 0:
            n = min(stop, end) - start
            torch.sub(x[start + 1 : start + 1 + n], x[start : start + n], out=out[:n])
            first, last, target = x[:1], x[end:], out[n:]  # empty but in the last block
        else:
            # As one line of numbers, which is faster than rows and planes; the last voxels are then corrected.
            rows, stride = x[start:stop], x.stride(axis)
            torch.sub(rows.view(-1)[stride:], rows.view(-1)[:-stride], out=out.view(-1)[:-stride])
            lines = rows.view(-1, end + 1, stride)
            first, last, target = lines[:, 0], lines[:, end], out.view(-1, end + 1, stride)[:, end]
        if len(target) and self.boundary == "periodic":
            torch.sub(first, last, out=target)
        elif len(target):
            target.zero_()
        return out

    def add_adjoint(self, g: Tensor, axis: int, scale: float, out: Tensor, block: slice | None = None) -> Tensor:
        """Add the adjoint of `difference`, times `scale`, of one block `g` to the volume `out`; `g` may be changed."""
        start, stop, end = *_bounds(out, block), out.shape[axis] - 1
        rows, periodic = out[start:stop], self.boundary == "periodic"
        if axis == 0:
            n = min(stop, end) - start
            out[start + 1 : start + 1 + n].add_(g[:n], alpha=scale)
            if stop > end and periodic:
                out[:1].add_(g[n:], alpha=scale)
            elif stop > end:
                g[n:].zero_()
        else:
            stride = g.stride(axis)
            last = g.view(-1, end + 1, stride)[:, end]
            if not periodic:
                last.zero_()
            rows.view(-1)[stride:].add_(g.view(-1)[:-stride], alpha=scale)
            if periodic:  # what ran over into the next line belongs to the first voxel of this one
                first = rows.view(-1, end + 1, stride)[:, 0]
                first.add_(last, alpha=scale)
                first[1:].sub_(last[:-1], alpha=scale)
        rows.sub_(g, alpha=scale)
        return out


def _bounds(x: Tensor, block: slice | None) -> tuple[int, int]:
    return (block.start, block.stop) if block else (0, x.shape[0])
