"""The echoes of one scan, as their headers describe them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid

KINDS = ("phase", "magnitude", "real", "imaginary")
"""What an image of one echo can show."""
DIGEST_KEY = "middle_slice_sha256"
"""Where a map's sidecar keeps the digest of its first image, by which its scan is known again."""


@dataclass(frozen=True)
class Echo:
    """One image of one echo: its header, and how to read its voxels."""

    kind: str
    """One of `KINDS`."""
    name: str
    """Name for messages: the file, or the DICOM series and echo."""
    grid: Grid
    read_values: Callable[[], Tensor]
    """Reads the stored numbers, NaN kept: (x, y, z)."""
    echo_time: float | None = None
    """[s]"""
    b0: float | None = None
    """Field strength [T]."""
    frequency: float | None = None
    """Imaging frequency [MHz]."""
    manufacturer: str = ""
    image_type: tuple[str, ...] = ()
    has_orientation: bool = True
    """Whether the file says how it lies in the patient."""
    count_mismatch: tuple[int, int] | None = None
    """Volumes of the file and echo times of its header, where these numbers differ."""
    is_difference: bool = False
    """Whether header or name say that it is the difference of two echoes."""
    difference_of: tuple[float, float] | None = None
    """The two echo times [s] of a difference, where its header has them."""
    is_filtered: bool = False
    """Whether header or name say that the phase was high-pass filtered."""
    coil: str = ""
    """Receive coil, where coils are apart."""
    volume: int = 0
    """Number of its volume in a time series, from 1; 0 without one."""
    digest: Callable[[], str] | None = None
    """Returns the SHA-256 of its middle slice, of DICOM."""

    def on_grid_of(self, other: Echo) -> Echo:
        """The same echo with its axes permuted and reversed to lie on another's grid; raises GridMismatch."""
        axes, reversed_axes = self.grid.reorientation_onto(other.grid, self.name, other.name)
        if axes == (0, 1, 2) and not reversed_axes:
            return self
        return replace(self, grid=other.grid, read_values=lambda: self.read_values().permute(axes).flip(reversed_axes))

    def table_row(self, te: float | None, b0: float | None) -> dict[str, Any]:
        """Its row in the table of an acquisition, with the `te` [s] and `b0` [T] that are used."""
        return {
            "image": self.name,
            "kind": self.kind,
            "echo_time_ms": None if te is None else round(1e3 * te, 4),
            "b0_t": b0,
            "manufacturer": self.manufacturer or None,
            "image_type": "\\".join(self.image_type) or None,
            "shape": list(self.grid.shape),
            "voxel_size_mm": [round(v, 4) for v in self.grid.voxel_size],
            "slices": slice_orientation(self.grid),
        }


@dataclass(frozen=True)
class Acquisition:
    """The echoes of one scan on one grid, made by `io.assembly.assemble_acquisition`."""

    echoes: tuple[Echo, ...]
    """Kind by kind, each in the order of the echo times."""
    echo_times: tuple[float, ...]
    """TE [s], rising: (echo)."""
    b0: float
    """Field strength [T]."""
    grid: Grid
    sources: dict[str, str]
    """Where `echo_times` and `b0` come from: "given" by the user, "header", "imaging frequency", or the
    difference of two echo times."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""
    coils: tuple[Acquisition, ...] = ()
    """The scan of each receive coil, this one first, where coils are apart; else empty."""
    volumes: tuple[Acquisition, ...] = ()
    """Each volume of the time series of which the complex mean is meant, this one first; else empty."""

    @property
    def manufacturer(self) -> str:
        """The scanner's manufacturer; empty if no header names it."""
        return next((e.manufacturer for e in self.echoes if e.manufacturer), "")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of image that it has, in the order of `KINDS`."""
        return tuple(kind for kind in KINDS if any(e.kind == kind for e in self.echoes))

    def values_of(self, kind: str) -> Tensor:
        """The stored numbers of all images of one kind, float32: (echo, x, y, z)."""
        return torch.stack([e.read_values().to(torch.float32) for e in self.echoes if e.kind == kind])

    def table(self) -> list[dict[str, Any]]:
        """The table of the acquisition, one row an image."""
        return [
            echo.table_row(te, self.b0)
            for kind in self.kinds
            for echo, te in zip((e for e in self.echoes if e.kind == kind), self.echo_times, strict=True)
        ]


def slice_orientation(grid: Grid) -> str:
    """How the slices lie: 'axial', 'coronal' or 'sagittal', and the degrees between them and that plane."""
    normal = grid.matrix[:, 2]
    axis = int(abs(normal).argmax())
    tilt = math.degrees(math.acos(min(1.0, abs(float(normal[axis])))))
    return ("sagittal", "coronal", "axial")[axis] + (f", {tilt:.1f}° off" if tilt > 0.05 else "")
