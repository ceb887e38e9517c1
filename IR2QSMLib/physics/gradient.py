"""The gradient of a volume by forward differences, in its two kinds: periodic, or with a zero last difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid

EDGES = ("periodic", "zero")
"""What the last voxel's difference is: to the first voxel (TV, iLSQR), or 0 (MEDI)."""
PART = 2**18
"""Voxels of a part."""


@dataclass(frozen=True)
class Gradient:
    """Forward differences over the voxel size: (x, y, z) [ppm] to (3, x, y, z) [ppm/mm]; raises ParameterInvalid.

    Solvers that visit one axis at a time use `difference` and `add_adjoint`, which leave the voxel size to them.
    """

    grid: Grid
    edge: str
    """One of `EDGES`."""

    def __post_init__(self) -> None:
        if self.edge not in EDGES:
            raise ParameterInvalid(f"The gradient's edge is '{self.edge}'; expected one of {', '.join(EDGES)}.")

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

    def parts(self, x: Tensor) -> list[slice]:
        """Slabs of a volume along its first axis, in which the steps of a solver stay in the processor's cache.

        They are to be taken in their order. On other devices all is one part.
        """
        n = x.shape[0]
        step = max(1, PART // math.prod(x.shape[1:])) if x.device.type == "cpu" else n
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def difference(self, x: Tensor, axis: int, out: Tensor, part: slice | None = None) -> Tensor:
        """x[i+1] − x[i] along an axis in a part of the volume `x`, all without one, written to `out`; contiguous."""
        start, stop, end = *_bounds(x, part), x.shape[axis] - 1
        if axis == 0:
            n = min(stop, end) - start
            torch.sub(x[start + 1 : start + 1 + n], x[start : start + n], out=out[:n])
            first, last, to = x[:1], x[end:], out[n:]  # empty but in the last part
        else:
            # As one line of numbers, which is faster than rows and planes; the last voxels' are then made good.
            here, stride = x[start:stop], x.stride(axis)
            torch.sub(here.view(-1)[stride:], here.view(-1)[:-stride], out=out.view(-1)[:-stride])
            lines = here.view(-1, end + 1, stride)
            first, last, to = lines[:, 0], lines[:, end], out.view(-1, end + 1, stride)[:, end]
        if len(to) and self.edge == "periodic":
            torch.sub(first, last, out=to)
        elif len(to):
            to.zero_()
        return out

    def add_adjoint(self, g: Tensor, axis: int, scale: float, out: Tensor, part: slice | None = None) -> Tensor:
        """The adjoint of `difference` times `scale`, of a part `g`, added to the volume `out`; `g` may be changed."""
        start, stop, end = *_bounds(out, part), out.shape[axis] - 1
        here, periodic = out[start:stop], self.edge == "periodic"
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
            here.view(-1)[stride:].add_(g.view(-1)[:-stride], alpha=scale)
            if periodic:  # what ran over into the next line belongs to its own
                first = here.view(-1, end + 1, stride)[:, 0]
                first.add_(last, alpha=scale)
                first[1:].sub_(last[:-1], alpha=scale)
        here.sub_(g, alpha=scale)
        return out


def _bounds(x: Tensor, part: slice | None) -> tuple[int, int]:
    return (part.start, part.stop) if part else (0, x.shape[0])
