"""What a scanner yields, from NIfTI with BIDS sidecars or from DICOM: echoes that are checked against each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO

KINDS = ("phase", "magnitude", "real", "imaginary")
TE_RANGE = (0.0005, 0.1)
"""Shortest and longest echo time [s] that is believed."""
SAME_TE = 1e-5
"""How far the echo times [s] of one echo's images may differ."""
B0_APART = 0.05
"""Share by which the field strength and the imaging frequency may differ before it is said."""


@dataclass(frozen=True)
class Echo:
    """One image of one echo: what its header says; its voxels are read when asked for."""

    kind: str
    """One of `KINDS`."""
    name: str
    """The file, or the DICOM series and echo, as an error names it."""
    grid: Grid
    read: Callable[[], Tensor]
    """The stored numbers, NaN kept: (x, y, z)."""
    echo_time: float | None = None
    """[s]"""
    b0: float | None = None
    """Field strength [T]."""
    frequency: float | None = None
    """Imaging frequency [MHz]."""
    manufacturer: str = ""
    image_type: tuple[str, ...] = ()
    oriented: bool = True
    """Whether the file says how it lies in the patient."""
    unlike: tuple[int, int] | None = None
    """Volumes of the file and echo times of its header, where these are not as many."""

    def on(self, other: Echo) -> Echo:
        """The same on the grid of `other`, its axes put in the same order and sense; raises GridMismatch."""
        axes, reversed_axes = self.grid.reorientation_onto(other.grid, self.name, other.name)
        if axes == (0, 1, 2) and not reversed_axes:
            return self
        return replace(self, grid=other.grid, read=lambda: self.read().permute(axes).flip(reversed_axes))

    def row(self, te: float | None, b0: float | None) -> dict[str, Any]:
        """What is known of it, as a table has it; `te` [s] and `b0` [T] as they are used."""
        return {
            "image": self.name,
            "kind": self.kind,
            "echo_time_ms": None if te is None else round(1e3 * te, 4),
            "b0_t": b0,
            "manufacturer": self.manufacturer or None,
            "image_type": "\\".join(self.image_type) or None,
            "shape": list(self.grid.shape),
            "voxel_size_mm": [round(v, 4) for v in self.grid.voxel_size],
            "slices": orientation(self.grid),
        }


@dataclass(frozen=True)
class Acquisition:
    """The echoes of one scan, each kind in the order of the echo times, and what of it is known."""

    echoes: tuple[Echo, ...]
    echo_times: tuple[float, ...]
    """TE [s], rising."""
    b0: float
    """Field strength [T]."""
    grid: Grid
    sources: dict[str, str]
    """Where echo times and B0 come from: a header, or the user."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what a person should know."""

    @property
    def manufacturer(self) -> str:
        """As the headers have it; empty where they say nothing."""
        return next((e.manufacturer for e in self.echoes if e.manufacturer), "")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of image that there are."""
        return tuple(k for k in KINDS if any(e.kind == k for e in self.echoes))

    def part(self, kind: str) -> Tensor:
        """The stored numbers of one kind, float32: (echo, x, y, z)."""
        return torch.stack([e.read().to(torch.float32) for e in self.echoes if e.kind == kind])

    def rows(self) -> list[dict[str, Any]]:
        """The table of the acquisition, one row an image."""
        return [
            e.row(te, self.b0)
            for kind in self.kinds
            for e, te in zip((e for e in self.echoes if e.kind == kind), self.echo_times, strict=True)
        ]


def orientation(grid: Grid) -> str:
    """How the slices lie: 'axial', 'coronal' or 'sagittal', and by how many degrees they are off it."""
    normal = grid.matrix[:, 2]
    axis = int(abs(normal).argmax())
    tilt = math.degrees(math.acos(min(1.0, abs(float(normal[axis])))))
    return ("sagittal", "coronal", "axial")[axis] + (f", {tilt:.1f}° off" if tilt > 0.05 else "")


def assemble_acquisition(
    echoes: Sequence[Echo],
    *,
    echo_times: Sequence[float] | None = None,
    b0: float | None = None,
    notes: Sequence[str] = (),
) -> Acquisition:
    """Check echoes against each other and put them in order; `echo_times` [s] and `b0` [T] of a user win.

    Magnitudes belong to phases by the echo times of the headers, where all images of both have one, else by order.
    Raises FieldInvalid when an image is missing or there are other numbers of phase and magnitude, GridMismatch when
    two lie on different grids, and ParameterInvalid when echo times or B0 are missing, out of range or contradictory,
    or the user's are the headers' in another order.
    """
    aside = [e.name for e in echoes if e.kind not in ("phase", "magnitude")]
    if aside and any(e.kind == "phase" for e in echoes):  # real and imaginary parts say the same again
        echoes = [e for e in echoes if e.kind in ("phase", "magnitude")]
        notes = [*notes, f"Left out, as there is a phase: {', '.join(aside)}."]
    kinds = Counter(e.kind for e in echoes)
    _require_kinds(kinds)
    ordered = {kind: [e for e in echoes if e.kind == kind] for kind in kinds}
    first = ordered["phase" if "phase" in kinds else "real"]
    times, source, said = _times(first, echo_times)
    notes = [*notes, *said]
    order = sorted(range(len(times)), key=times.__getitem__)
    for kind, found in ordered.items():
        paired, said = _paired(found, first, times, echo_times is not None)
        ordered[kind] = [paired[i] for i in order]
        notes += said
    times = sorted(times)
    for one, two in pairwise(times):
        if two - one <= SAME_TE:
            raise ParameterInvalid(f"Two echoes have the echo time {1e3 * one:g} ms; give each once, with its own.")
    images = [e for kind in KINDS for e in ordered.get(kind, [])]
    images = [images[0], *(e.on(images[0]) for e in images[1:])]
    strength, where, said = _strength(images, b0)
    return Acquisition(
        tuple(images), tuple(times), strength, images[0].grid, {"echo_times": source, "b0": where}, [*notes, *said]
    )


def _require_kinds(kinds: Counter[str]) -> None:
    pairs = {"phase": "magnitude", "real": "imaginary", "imaginary": "real"}
    if not kinds.keys() & pairs.keys():
        there = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "no image"
        raise FieldInvalid(f"There is no phase ({there}); give phase and magnitude, or real and imaginary parts.")
    for one, two in pairs.items():
        if one not in kinds:
            continue
        if two not in kinds:
            raise FieldInvalid(
                f"{kinds[one]} {one} image{'s came' if kinds[one] > 1 else ' came'} without any {two}; "
                + ("give the magnitude with --magnitude." if two == "magnitude" else f"give the {two} parts, too.")
            )
        if kinds[one] != kinds[two]:
            raise FieldInvalid(
                f"There are {kinds[one]} {one} images and {kinds[two]} of {two}; expected one of each for every echo."
            )


def _times(found: Sequence[Echo], given: Sequence[float] | None) -> tuple[list[float], str, list[str]]:
    """Echo times [s] of these echoes, as they come, who says so, and where the headers say otherwise."""
    if given is not None:
        if len(given) != len(found):
            raise ParameterInvalid(
                f"There are {len(found)} echoes and {len(given)} echo times; give one for each echo with --te."
            )
        times, source = [float(te) for te in given], "given"
    else:
        missing = [e.name for e in found if e.echo_time is None]
        unlike = next((e for e in found if e.unlike is not None), None)
        if unlike is not None and unlike.unlike is not None:
            n, m = unlike.unlike
            raise ParameterInvalid(
                f"{unlike.name.partition(',')[0]} has {n} volumes and its header lists {m} echo times; give one for "
                "each echo with --te."
            )
        if missing:
            raise ParameterInvalid(
                f"No echo time is known of {missing[0]}"
                + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
                + "; give the echo times in seconds with --te, one for each echo."
            )
        times, source = [e.echo_time or 0.0 for e in found], "header"
    for te in times:
        if TE_RANGE[0] <= te <= TE_RANGE[1]:
            continue
        listed = ", ".join(f"{t:g}" for t in times)
        if TE_RANGE[0] <= 1e-3 * te <= TE_RANGE[1]:
            advice = f"they look like milliseconds: give {', '.join(f'{1e-3 * t:g}' for t in times)} with --te."
        elif TE_RANGE[0] <= 1e3 * te <= TE_RANGE[1]:
            advice = f"the header seems to hold seconds: give {', '.join(f'{1e3 * t:g}' for t in times)} with --te."
        else:
            advice = "expected 0.0005 to 0.1 s; give them with --te."
        raise ParameterInvalid(f"The echo times are {listed} s; {advice}")
    return times, source, [] if given is None else _contradicted(found, times)


def _contradicted(found: Sequence[Echo], times: Sequence[float]) -> list[str]:
    """What to say where a user's echo times [s] are not the headers'; raises ParameterInvalid for another order."""
    odd = next(((e, te) for e, te in zip(found, times, strict=True) if not _same(e.echo_time, te)), None)
    if odd is None:
        return []
    known = [e.echo_time for e in found]
    stated, listed = (", ".join("–" if t is None else f"{1e3 * t:g}" for t in these) for these in (known, times))
    if None not in known and all(map(_same, sorted(t or 0.0 for t in known), sorted(times))):
        raise ParameterInvalid(
            f"{odd[0].name} has the echo time {1e3 * (odd[0].echo_time or 0.0):g} ms in its header and was given "
            f"{1e3 * odd[1]:g} ms: the times given are the headers' in another order. Give --te "
            f"{' '.join(f'{t:g}' for t in known)}, as the images come, or leave it out."
        )
    return [f"The headers have the echo times {stated} ms; {listed} ms, which were given, were used."]


def _same(stated: float | None, te: float) -> bool:
    """Whether a header's echo time [s], if it has one, is `te`."""
    return stated is None or abs(stated - te) <= SAME_TE


def _paired(found: list[Echo], first: list[Echo], times: Sequence[float], given: bool) -> tuple[list[Echo], list[str]]:
    """The images of another kind as those of the first come, which have `times` [s], and what is odd about it."""
    if found is first or any(e.echo_time is None for e in found):
        return found, []
    known = [te if e.echo_time is None else e.echo_time for e, te in zip(first, times, strict=True)]
    paired = list(found)
    order = sorted(range(len(known)), key=known.__getitem__)
    for i, e in zip(order, sorted(found, key=lambda e: e.echo_time or 0.0), strict=True):
        paired[i] = e
        if _same(e.echo_time, known[i]):
            continue
        odd = (
            f"{e.name} ({e.kind}) has the echo time {1e3 * (e.echo_time or 0.0):g} ms where the {first[0].kind} has "
            f"{1e3 * known[i]:g} ms; "
        )
        if not given:
            raise ParameterInvalid(f"{odd}give images of the same echoes.")
        return found, [f"{odd}as echo times were given, the images were taken in the order in which they came."]
    return paired, []


def _strength(images: Sequence[Echo], given: float | None) -> tuple[float, str, list[str]]:
    """Field strength [T], who says so, and what is odd about it."""
    stated = sorted({round(e.b0, 4) for e in images if e.b0})
    by_frequency = sorted({round(e.frequency / GYROMAGNETIC_RATIO, 3) for e in images if e.frequency})
    notes: list[str] = []
    if given is not None:
        b0, source = given, "given"
    elif stated:
        if len(stated) > 1:
            raise ParameterInvalid(
                f"The headers give {', '.join(f'{v:g}' for v in stated)} T; give images of one scan, or B0 with --b0."
            )
        b0, source = stated[0], "header"
        if 0.01 <= 1e-4 * b0 <= 25.0 < b0:
            b0 = 1e-4 * b0
            notes.append(f"The field strength {stated[0]:g} of the header was read as gauss: {b0:g} T.")
    elif by_frequency:
        b0, source = by_frequency[0], "imaging frequency"
    else:
        raise ParameterInvalid(f"No field strength is known of {images[0].name}; give B0 in tesla with --b0.")
    if not 0.01 <= b0 <= 25.0:
        raise ParameterInvalid(f"B0 is {b0:g} T; expected 0.01 to 25 T. Give the field strength in tesla with --b0.")
    if by_frequency and abs(by_frequency[0] / b0 - 1.0) > B0_APART:
        notes.append(
            f"B0 is {b0:g} T and the imaging frequency belongs to {by_frequency[0]:g} T; if that is right, give it "
            "with --b0."
        )
    return b0, source, notes
