"""One Grid: shape, voxel size, direction and origin of a volume, and B0 in its voxel axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from IR2QSMLib.core.errors import GridInvalid, GridMismatch, ParameterInvalid

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
AXES = "xyz"


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie, in the patient's frame (LPS, millimetres), and where B0 points.

    Raises GridInvalid when an axis is empty, a voxel size is not positive, the origin is not finite, or the
    direction cosines are not orthonormal (a sheared image), and ParameterInvalid when the B0 direction is zero
    or not finite.
    """

    shape: tuple[int, int, int]
    """Voxels along x, y and z."""
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Distance between voxel centres [mm]."""
    direction: tuple[float, ...] = IDENTITY
    """Direction cosines, row-major; the columns are the voxel axes."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the first voxel [mm]."""
    b0_given: tuple[float, float, float] | None = None
    """B0 direction in voxel axes as the user gave it; None for the scanner's, the patient's z axis."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GridInvalid(f"The shape is {self.shape}; expected three axes with at least one voxel each.")
        if not all(math.isfinite(v) and v > 0 for v in self.voxel_size):
            raise GridInvalid(f"The voxel size is {self.voxel_size} mm; expected three positive numbers.")
        if not all(math.isfinite(v) for v in self.origin):
            raise GridInvalid(f"The origin is {self.origin} mm; expected three finite numbers.")
        d = self.matrix
        if not np.all(np.isfinite(d)) or np.abs(d.T @ d - np.eye(3)).max() > 1e-3:
            raise GridInvalid(
                "The image's axes are not at right angles (a sheared or degenerate sform); resample it to an "
                "orthogonal grid first."
            )
        if self.b0_given is not None:
            b = np.asarray(self.b0_given, dtype=float)
            if b.shape != (3,) or not np.all(np.isfinite(b)) or not np.linalg.norm(b) > 1e-6:
                raise ParameterInvalid(
                    f"The B0 direction is {self.b0_given}; expected three numbers, not all zero, in voxel axes."
                )

    @property
    def matrix(self) -> np.ndarray:
        """Direction cosines as a 3×3 array whose columns are the voxel axes."""
        return np.asarray(self.direction, dtype=float).reshape(3, 3)

    @property
    def b0_direction(self) -> tuple[float, float, float]:
        """Unit B0 direction in voxel axes: b = Dᵀ·(0, 0, 1) unless the user gave one."""
        b = self.matrix.T @ (0.0, 0.0, 1.0) if self.b0_given is None else np.asarray(self.b0_given, dtype=float)
        x, y, z = (b / np.linalg.norm(b)).tolist()
        return (x, y, z)

    def with_b0(self, direction: Sequence[float] | None) -> Grid:
        """The same grid with B0 along `direction` (voxel axes, any length); None restores the scanner's."""
        if direction is None:
            return replace(self, b0_given=None)
        if len(direction) != 3:
            raise ParameterInvalid(f"The B0 direction has {len(direction)} numbers; expected three, in voxel axes.")
        x, y, z = (float(v) for v in direction)
        return replace(self, b0_given=(x, y, z))

    def point(self, index: Sequence[float]) -> tuple[float, float, float]:
        """Position [mm] of a voxel index, fractions allowed."""
        p = np.asarray(self.origin) + self.matrix @ (np.asarray(index) * self.voxel_size)
        x, y, z = p.tolist()
        return (x, y, z)

    def corners(self) -> np.ndarray:
        """Centres [mm] of the eight corner voxels: (8, 3)."""
        return np.array([self.point(index) for index in product(*((0, n - 1) for n in self.shape))])

    def require_match(self, other: Grid, this: str, that: str) -> None:
        """Raise GridMismatch unless both have one shape and their corners agree to a tenth of a voxel."""
        for axis, n, m in zip(AXES, self.shape, other.shape, strict=True):
            if n != m:
                raise GridMismatch(
                    f"{this} and {that} differ along {axis}: {n} voxels against {m}. Resample one to the other's grid."
                )
        for axis, v, w in zip(AXES, self.voxel_size, other.voxel_size, strict=True):
            if abs(v - w) * max(self.shape) > 0.1 * min(self.voxel_size):
                raise GridMismatch(
                    f"{this} and {that} differ in voxel size along {axis}: {v:g} mm against {w:g} mm. "
                    "Resample one to the other's grid."
                )
        offset = np.abs(self.corners() - other.corners())
        if offset.max() > 0.1 * min(self.voxel_size):
            corner, axis_index = np.unravel_index(offset.argmax(), offset.shape)
            mine, its = self.corners()[corner, axis_index], other.corners()[corner, axis_index]
            raise GridMismatch(
                f"{this} and {that} lie apart along the patient's {AXES[axis_index]} axis: a corner at {mine:.2f} mm "
                f"against {its:.2f} mm. Resample one to the other's grid."
            )

    def turns_onto(self, other: Grid, this: str, that: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The order of axes, and which of them then to reverse, for an array on this grid to lie on `other`.

        Raises GridMismatch unless the two, so turned, agree as `require_match` has it.
        """
        cosines = self.matrix.T @ other.matrix
        axes = tuple(np.abs(cosines).argmax(0).tolist())
        if sorted(axes) != [0, 1, 2]:  # between two axes: no turn helps
            axes = (0, 1, 2)
        flipped = [bool(cosines[old, new] < 0) for new, old in enumerate(axes)]
        self.reoriented(axes, flipped).require_match(other, this, that)
        return axes, tuple(axis for axis in range(3) if flipped[axis])

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """The part that begins at voxel `start` (negative: the grid grows) and has `shape`."""
        x, y, z = (int(n) for n in shape)
        return replace(self, shape=(x, y, z), origin=self.point(start))

    def reoriented(self, axes: Sequence[int], flipped: Sequence[bool]) -> Grid:
        """The grid of an array whose axes were permuted to `axes`, then reversed where `flipped` (new order)."""
        columns = self.matrix[:, list(axes)]
        shape = [self.shape[a] for a in axes]
        size = [self.voxel_size[a] for a in axes]
        signs = np.where(flipped, -1.0, 1.0)
        first = [0.0, 0.0, 0.0]
        for new, old in enumerate(axes):
            first[old] = self.shape[old] - 1.0 if flipped[new] else 0.0
        b = None
        if self.b0_given is not None:
            b = tuple((np.asarray(self.b0_given)[list(axes)] * signs).tolist())
        return Grid(
            (shape[0], shape[1], shape[2]),
            (size[0], size[1], size[2]),
            tuple((columns * signs).ravel().tolist()),
            self.point(first),
            b,
        )
