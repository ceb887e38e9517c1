"""The nouns: what an inversion is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from IR2QSMLib.errors import FieldInvalid
from IR2QSMLib.grid import Grid


@dataclass(frozen=True)
class LocalField:
    """A local field, its mask and its grid; raises FieldInvalid when their shapes differ."""

    values: Tensor
    """Relative field shift δB/B0 [ppm], zero outside the mask: (x, y, z)."""
    mask: Tensor
    """Where the field was measured, bool: (x, y, z)."""
    grid: Grid

    def __post_init__(self) -> None:
        if not tuple(self.values.shape) == tuple(self.mask.shape) == self.grid.shape:
            raise FieldInvalid(
                f"The field has shape {tuple(self.values.shape)}, the mask {tuple(self.mask.shape)} and the grid "
                f"{self.grid.shape}; expected one shape."
            )

    def to(self, device: object) -> LocalField:
        """The same on another device."""
        return replace(self, values=self.values.to(device), mask=self.mask.to(device))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Susceptibility:
    """A susceptibility map on the grid of the field it came from."""

    values: Tensor
    """χ [ppm]: (x, y, z)."""
    uncertainty: Tensor | None = None
    """Standard error [ppm] of the network's estimate of χ, before data consistency, if it gives one: (x, y, z)."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the method decided for itself, for the provenance."""
