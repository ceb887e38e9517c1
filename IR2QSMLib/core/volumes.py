"""The volumes of the reconstruction, in its order: phase, total field, local field, susceptibility."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import hz_per_ppm, require_echo_time


@dataclass(frozen=True)
class Phase:
    """Phase and magnitude of one echo or more; the phase grows with the field: φ = 2π·γ·B0·TE·(δB/B0) + φ₀.

    Raises
    ------
    FieldInvalid
        When the shapes differ or there are not as many echo times as echoes.
    ParameterInvalid
        When the echo times do not rise or, like B0, are out of range.
    """

    values: Tensor
    """Phase [rad], wrapped or not: (echo, x, y, z)."""
    magnitude: Tensor
    """Magnitude, any unit: (echo, x, y, z)."""
    echo_times: tuple[float, ...]
    """TE [s], rising: (echo)."""
    b0: float
    """Field strength [T]."""
    grid: Grid
    mask: Tensor | None = None
    """The user's mask, bool, or None where there is none: (x, y, z)."""
    bipolar: bool = False
    """Whether even echoes were read out against the odd ones."""

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or self.values.shape != self.magnitude.shape:
            raise FieldInvalid(
                f"The phase has shape {tuple(self.values.shape)} and the magnitude {tuple(self.magnitude.shape)}; "
                "expected one shape, (echo, x, y, z)."
            )
        if len(self.echo_times) != len(self.values):
            raise FieldInvalid(
                f"There are {len(self.values)} echoes and {len(self.echo_times)} echo times; give one for each echo."
            )
        mask_shape = self.grid.shape if self.mask is None else tuple(self.mask.shape)
        if not tuple(self.values.shape[1:]) == mask_shape == self.grid.shape:
            raise FieldInvalid(
                f"The phase has shape {tuple(self.values.shape[1:])}, the mask {mask_shape} and the grid "
                f"{self.grid.shape}; expected one shape."
            )
        hz_per_ppm(self.b0)
        for te in self.echo_times:
            require_echo_time(te)
        if any(first >= second for first, second in pairwise(self.echo_times)):
            raise ParameterInvalid(
                f"The echo times are {', '.join(f'{te:g}' for te in self.echo_times)} s; expected rising ones. "
                "Sort the echoes by their time.",
                option="te",
            )

    @property
    def n_echoes(self) -> int:
        """Number of echoes."""
        return len(self.values)

    def to(self, device: object) -> Phase:
        """The same on another device."""
        mask = None if self.mask is None else self.mask.to(device)  # type: ignore[call-overload]
        values, magnitude = self.values.to(device), self.magnitude.to(device)  # type: ignore[call-overload]
        return replace(self, values=values, magnitude=magnitude, mask=mask)

    def rss_magnitude(self) -> Tensor:
        """Root of the sum of the echoes' squared magnitudes, NaN counted as 0: (x, y, z)."""
        return self.magnitude.nan_to_num().square().sum(0).sqrt()


@dataclass(frozen=True)
class TotalField:
    """The field of all sources in and around the head; raises FieldInvalid when the shapes differ."""

    values: Tensor
    """Relative field shift δB/B0 [ppm], zero outside the mask: (x, y, z)."""
    mask: Tensor
    """Where the field is known, bool: (x, y, z)."""
    grid: Grid
    noise: Tensor | None = None
    """Standard error of the values [ppm], where it is known, zero outside the mask: (x, y, z)."""

    def __post_init__(self) -> None:
        shapes = {tuple(x.shape) for x in (self.values, self.mask, self.noise) if x is not None}
        if shapes != {self.grid.shape}:
            raise FieldInvalid(
                f"The total field, its mask and its noise have the shapes {', '.join(map(str, sorted(shapes)))} and "
                f"the grid {self.grid.shape}; expected one shape."
            )

    def to(self, device: object) -> TotalField:
        """The same on another device."""
        noise = None if self.noise is None else self.noise.to(device)  # type: ignore[call-overload]
        values, mask = self.values.to(device), self.mask.to(device)  # type: ignore[call-overload]
        return replace(self, values=values, mask=mask, noise=noise)


@dataclass(frozen=True)
class LocalField:
    """A local field, its mask and its grid; raises FieldInvalid when their shapes differ."""

    values: Tensor
    """Relative field shift δB/B0 [ppm], zero outside the mask: (x, y, z)."""
    mask: Tensor
    """Where the field is known, bool: (x, y, z)."""
    grid: Grid
    magnitude: Tensor | None = None
    """Magnitude image, any unit: (x, y, z)."""
    noise: Tensor | None = None
    """Standard error of the values [ppm], where it is known: (x, y, z)."""
    csf: Tensor | None = None
    """Cerebrospinal fluid of the ventricles, bool: (x, y, z)."""
    echo_spacing: float | None = None
    """Time between echoes [s], or the echo time where there is one echo."""
    b0: float | None = None
    """Field strength [T]."""
    harmonic_completed: bool = False
    """Whether `field.harmonic.HarmonicCompletion` added its estimate of what background removal takes."""

    def __post_init__(self) -> None:
        if not tuple(self.values.shape) == tuple(self.mask.shape) == self.grid.shape:
            raise FieldInvalid(
                f"The field has shape {tuple(self.values.shape)}, the mask {tuple(self.mask.shape)} and the grid "
                f"{self.grid.shape}; expected one shape."
            )
        for name, x in self.optional_volumes().items():
            if tuple(x.shape) != self.grid.shape:
                raise FieldInvalid(f"The {name} has shape {tuple(x.shape)} and the grid {self.grid.shape}; resample.")

    def optional_volumes(self) -> dict[str, Tensor]:
        """Magnitude, noise and CSF, by name, as far as they are known."""
        volumes = {"magnitude": self.magnitude, "noise": self.noise, "csf": self.csf}
        return {name: x for name, x in volumes.items() if x is not None}

    def map_volumes(self, change: Callable[[Tensor], Tensor], grid: Grid) -> LocalField:
        """The same field with every volume replaced by `change(volume)`, which lies on `grid`."""
        optional: dict[str, Any] = {name: change(x) for name, x in self.optional_volumes().items()}
        return replace(self, values=change(self.values), mask=change(self.mask), grid=grid, **optional)

    def to(self, device: object) -> LocalField:
        """The same on another device."""
        return self.map_volumes(lambda x: x.to(device), self.grid)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Susceptibility:
    """A susceptibility map on the grid of its field."""

    values: Tensor
    """χ [ppm]: (x, y, z)."""
    uncertainty: Tensor | None = None
    """Standard error of χ [ppm], if the method has one; the notes say whether it is calibrated: (x, y, z)."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Values that the method chose itself, for the provenance."""
    mask: Tensor | None = None
    """Where χ is valid, bool, for a method whose map does not fill the field's mask: (x, y, z)."""
    unexplained: Tensor | None = None
    """Part of the field that the method does not explain by χ [ppm], if it estimates one: (x, y, z)."""
