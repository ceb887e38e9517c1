"""One Grid: shape, voxel size, direction and origin of a volume, and B0 in its voxel axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from IR2QSMLib.core.errors import GridInvalid, GridMismatch, ParameterInvalid
from IR2QSMLib.core.tolerances import COSINE_TOLERANCE

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
AXES = "xyz"


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie in the patient (LPS coordinates [mm]), and where B0 points.

    Voxel i lies at x = origin + D·(i ∘ voxel_size), with the direction cosines D.

    Raises
    ------
    GridInvalid
        When an axis is empty, a voxel size is not positive, the origin is not finite, or the direction cosines are not
        orthonormal (a sheared image).
    ParameterInvalid
        When the B0 direction is zero or not finite.
    """

    shape: tuple[int, int, int]
    """Voxels along x, y and z."""
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Distance between voxel centres [mm]."""
    direction: tuple[float, ...] = IDENTITY
    """Direction cosines, row-major; the columns are the voxel axes."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the first voxel [mm]."""
    user_b0_direction: tuple[float, float, float] | None = None
    """B0 direction in voxel axes from the user; None for the scanner's, the patient's z axis."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GridInvalid(f"The shape is {self.shape}; expected three axes with at least one voxel each.")
        if not all(math.isfinite(v) and v > 0 for v in self.voxel_size):
            raise GridInvalid(f"The voxel size is {self.voxel_size} mm; expected three positive numbers.")
        if not all(math.isfinite(v) for v in self.origin):
            raise GridInvalid(f"The origin is {self.origin} mm; expected three finite numbers.")
        d = self.matrix
        if not np.all(np.isfinite(d)) or np.abs(d.T @ d - np.eye(3)).max() > COSINE_TOLERANCE:
            raise GridInvalid(
                "The image's axes are not at right angles (a sheared or degenerate sform); resample it to an "
                "orthogonal grid first."
            )
        if self.user_b0_direction is not None:
            b = np.asarray(self.user_b0_direction, dtype=float)
            if b.shape != (3,) or not np.all(np.isfinite(b)) or not 1e-6 < np.abs(b).max() < 1e6:
                raise ParameterInvalid(
                    f"The B0 direction is {self.user_b0_direction}; expected three numbers, not all zero, up to a "
                    "million, in voxel axes.",
                    option="b0_direction",
                )

    @property
    def matrix(self) -> np.ndarray:
        """Direction cosines as a 3×3 array whose columns are the voxel axes."""
        return np.asarray(self.direction, dtype=float).reshape(3, 3)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [mm³]."""
        return math.prod(self.voxel_size)

    @property
    def b0_direction(self) -> tuple[float, float, float]:
        """Unit B0 direction in voxel axes: the user's, or else b = Dᵀ·(0, 0, 1)."""
        b = self.matrix.T @ (0.0, 0.0, 1.0)
        if self.user_b0_direction is not None:
            b = np.asarray(self.user_b0_direction, dtype=float)
        x, y, z = (b / np.linalg.norm(b)).tolist()
        return (x, y, z)

    def with_b0(self, direction: Sequence[float] | None) -> Grid:
        """The same grid with B0 along another direction.

        Parameters
        ----------
        direction
            Three numbers in voxel axes, of any length; None restores the scanner's.

        Raises
        ------
        ParameterInvalid
            When it has not three numbers, or is zero or not finite.
        """
        if direction is None:
            return replace(self, user_b0_direction=None)
        if len(direction) != 3:
            raise ParameterInvalid(
                f"The B0 direction has {len(direction)} numbers; expected three, in voxel axes.", option="b0_direction"
            )
        x, y, z = (float(v) for v in direction)
        return replace(self, user_b0_direction=(x, y, z))

    def point(self, index: Sequence[float]) -> tuple[float, float, float]:
        """Position [mm] of a voxel index, fractions allowed."""
        p = np.asarray(self.origin) + self.matrix @ (np.asarray(index) * self.voxel_size)
        x, y, z = p.tolist()
        return (x, y, z)

    def corners(self) -> np.ndarray:
        """Centres [mm] of the eight corner voxels: (8, 3)."""
        return np.array([self.point(index) for index in product(*((0, n - 1) for n in self.shape))])

    def require_match(self, other: Grid, this: str, that: str) -> None:
        """Raise GridMismatch unless both have one shape and their corners agree to a tenth of a voxel.

        Parameters
        ----------
        other
            The grid to compare with.
        this, that
            Names of the two images for the message.
        """
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
            this_mm, that_mm = self.corners()[corner, axis_index], other.corners()[corner, axis_index]
            raise GridMismatch(
                f"{this} and {that} lie apart along the patient's {AXES[axis_index]} axis: a corner at "
                f"{this_mm:.2f} mm against {that_mm:.2f} mm. Resample one to the other's grid."
            )

    def reorientation_onto(self, other: Grid, this: str, that: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """How to permute and reverse the axes of an array on this grid so that it lies on another.

        Parameters
        ----------
        other
            The grid to lie on.
        this, that
            Names of the two images for the message.

        Returns
        -------
        axes, reversed_axes
            The order to permute the axes to, then those to reverse (new order).

        Raises
        ------
        GridMismatch
            When no such reorientation makes the two agree.
        """
        cosines = self.matrix.T @ other.matrix
        axes = tuple(np.abs(cosines).argmax(0).tolist())
        if sorted(axes) != [0, 1, 2]:  # between two axes: no permutation helps, and the check below says so
            axes = (0, 1, 2)
        flipped = [bool(cosines[old, new] < 0) for new, old in enumerate(axes)]
        self.reoriented(axes, flipped).require_match(other, this, that)
        return axes, tuple(axis for axis in range(3) if flipped[axis])

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """The part that begins at voxel `start` (negative: the grid grows) and has `shape`."""
        x, y, z = (int(n) for n in shape)
        return replace(self, shape=(x, y, z), origin=self.point(start))

    def reoriented(self, axes: Sequence[int], flipped: Sequence[bool]) -> Grid:
        """The grid of an array whose axes were permuted, then reversed.

        Parameters
        ----------
        axes
            The order that the axes were permuted to.
        flipped
            Whether each was then reversed (new order).
        """
        a, b, c = axes
        signs = np.where(flipped, -1.0, 1.0)
        first_voxel = [0.0, 0.0, 0.0]
        for new, old in enumerate(axes):
            first_voxel[old] = self.shape[old] - 1.0 if flipped[new] else 0.0
        user_b0_direction = None
        if self.user_b0_direction is not None:
            user_b0_direction = tuple((np.asarray(self.user_b0_direction)[list(axes)] * signs).tolist())
        return Grid(
            (self.shape[a], self.shape[b], self.shape[c]),
            (self.voxel_size[a], self.voxel_size[b], self.voxel_size[c]),
            tuple((self.matrix[:, list(axes)] * signs).ravel().tolist()),
            self.point(first_voxel),
            user_b0_direction,
        )
