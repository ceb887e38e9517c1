"""The nouns: what an inversion is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable
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
    magnitude: Tensor | None = None
    """Magnitude image, any unit, where there is one: (x, y, z)."""
    noise: Tensor | None = None
    """Standard error of the values [ppm], where it is known: (x, y, z)."""
    csf: Tensor | None = None
    """Cerebrospinal fluid of the ventricles, bool, where it was marked: (x, y, z)."""
    echo_spacing: float | None = None
    """Time between echoes [s], or the echo time where there is one echo."""
    b0: float | None = None
    """Field strength [T]."""

    def __post_init__(self) -> None:
        if not tuple(self.values.shape) == tuple(self.mask.shape) == self.grid.shape:
            raise FieldInvalid(
                f"The field has shape {tuple(self.values.shape)}, the mask {tuple(self.mask.shape)} and the grid "
                f"{self.grid.shape}; expected one shape."
            )
        for name, x in self.extras().items():
            if tuple(x.shape) != self.grid.shape:
                raise FieldInvalid(f"The {name} has shape {tuple(x.shape)} and the grid {self.grid.shape}; resample.")

    def extras(self) -> dict[str, Tensor]:
        """The volumes beside values and mask that are there, by name."""
        found = {"magnitude": self.magnitude, "noise": self.noise, "csf": self.csf}
        return {name: x for name, x in found.items() if x is not None}

    def mapped(self, change: Callable[[Tensor], Tensor], grid: Grid) -> LocalField:
        """The same with every volume changed, on the grid that they then lie on."""
        extras = {name: change(x) for name, x in self.extras().items()}
        return replace(self, values=change(self.values), mask=change(self.mask), grid=grid, **extras)  # type: ignore[arg-type]

    def to(self, device: object) -> LocalField:
        """The same on another device."""
        return self.mapped(lambda x: x.to(device), self.grid)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Susceptibility:
    """A susceptibility map on the grid of the field it came from."""

    values: Tensor
    """χ [ppm]: (x, y, z)."""
    uncertainty: Tensor | None = None
    """Standard error [ppm] of the network's estimate of χ, before data consistency, if it gives one: (x, y, z)."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the method decided for itself, for the provenance."""
    mask: Tensor | None = None
    """Where χ is valid, bool, for a method that gives less than the field's mask: (x, y, z)."""
