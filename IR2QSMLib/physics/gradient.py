"""The gradient of a volume by forward differences, in its two kinds: periodic, or with a zero last difference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid

EDGES = ("periodic", "zero")
"""What the last voxel's difference is: to the first voxel (TV, iLSQR), or 0 (MEDI)."""


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

    def difference(self, x: Tensor, axis: int, out: Tensor) -> Tensor:
        """x[i+1] − x[i] along an axis, written to `out`; both contiguous."""
        n, stride = x.shape[axis] - 1, x.stride(axis)
        # As one line of numbers, which is faster than rows and planes; the last voxels' are then made good.
        torch.sub(x.view(-1)[stride:], x.view(-1)[:-stride], out=out.view(-1)[:-stride])
        if self.edge == "periodic":
            torch.sub(x.narrow(axis, 0, 1), x.narrow(axis, n, 1), out=out.narrow(axis, n, 1))
        else:
            out.narrow(axis, n, 1).zero_()
        return out

    def add_adjoint(self, g: Tensor, axis: int, scale: float, out: Tensor) -> Tensor:
        """The adjoint of `difference` times `scale`, added to `out`; both contiguous, and the last of `g` is zeroed."""
        n, stride = g.shape[axis] - 1, g.stride(axis)
        last = g.narrow(axis, n, 1)
        if self.edge == "periodic":
            out.narrow(axis, 0, 1).add_(last, alpha=scale)
            out.narrow(axis, n, 1).sub_(last, alpha=scale)
        last.zero_()
        out.view(-1)[stride:].add_(g.view(-1)[:-stride], alpha=scale)
        out.sub_(g, alpha=scale)
        return out
