"""The echoes in an image file, with the JSON file (sidecar) beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.image_kind import (
    COMPLEX,
    coil_of,
    image_kind,
    is_time_series,
    names_filtered_phase,
    names_phase_difference,
    names_uncombined_coils,
)
from IR2QSMLib.io.images import grid_of, has_orientation, read_image, require_size
from IR2QSMLib.io.parrec import is_parrec, parrec_echoes
from IR2QSMLib.io.sidecars import image_stem, number, read_sidecar


def read_stack(path: Path) -> tuple[Tensor, Grid]:
    """Read the stored numbers of an image of one volume or more.

    Parameters
    ----------
    path
        An image with three axes; a fourth axis holds echoes or a time series, a fifth one single coils. In place of the
        fourth, echoes may be the components of a voxel.

    Returns
    -------
    values, grid
        float32 or complex64, NaN kept: (fifth axis, fourth axis, x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid
    """
    image, name = read_image(path), Path(path).name
    n_components, n_axes = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    is_complex = image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)
    if n_axes not in (3, 4, 5) or (n_components > 1 and n_axes > 3):
        raise GridInvalid(
            f"{name} has {n_axes} axes; expected three, a fourth for echoes or time, and a fifth for single coils."
        )
    grid = grid_of(image)
    require_size(grid, name)
    array = sitk.GetArrayFromImage(image)
    if n_components > 1:
        array = np.moveaxis(array, -1, 0)
    array = array.reshape((1,) * (5 - array.ndim) + array.shape).transpose(0, 1, 4, 3, 2)
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.complex64 if is_complex else np.float32)), grid


def read_echoes(path: Path) -> tuple[Tensor, Grid]:
    """Read the stored numbers of a real image of one volume or more.

    Returns
    -------
    values, grid
        float32, NaN kept: (volume, x, y, z).

    Raises
    ------
    FileUnreadable
    GridInvalid
        For complex numbers, too.
    """
    values, grid = read_stack(path)
    if values.is_complex():
        raise GridInvalid(f"{Path(path).name} holds complex numbers, as phase and magnitude; expected real ones.")
    return values.flatten(0, 1), grid


def file_echoes(
    paths: Sequence[Path], kind: str | None, *, believe_kind: bool = False, in_time: bool = False
) -> list[Echo]:
    """The echoes in these images.

    Parameters
    ----------
    paths
        Images of one echo or more; or PAR files, of which all images are taken.
    kind
        Kind of the images whose names and sidecars state none; None refuses these.
    believe_kind
        Whether `kind` overrules what names and sidecars state.
    in_time
        Whether the user says that a further axis is time.

    Raises
    ------
    FileUnreadable, GridInvalid, ParameterInvalid
    """
    echoes: list[Echo] = []
    for path in map(Path, paths):
        echoes += parrec_echoes(path) if is_parrec(path) else _echoes_of(path, kind, believe_kind, in_time)
    return echoes


def _echoes_of(path: Path, kind: str | None, believe_kind: bool, in_time: bool) -> list[Echo]:
    """The echoes of one image, as `file_echoes` says."""
    values, grid = read_stack(path)
    header = read_sidecar(path)
    times = header["EchoTime"] if isinstance(header.get("EchoTime"), list) else [header.get("EchoTime")]
    in_time = is_time_series(path) or _repeats_in_time(header) or in_time
    values = _with_echoes_second(values, len(times), in_time or names_uncombined_coils(path), is_time_series(path))
    if not believe_kind:
        kind = image_kind(path) or kind
    if values.is_complex():
        parts = {"real": values.real, "imaginary": values.imag}
    elif kind is None or kind == COMPLEX:
        raise FileUnreadable(f"{path.name} does not say whether it is phase or magnitude; name it, or give it alone.")
    else:
        parts = {kind: values}
    return [
        echo
        for part, stack in parts.items()
        for echo in _split(_first_echo(path, header, grid, part), stack, times, coil_of(path), in_time)
    ]


def _with_echoes_second(values: Tensor, n_times: int, may_repeat: bool, is_time: bool) -> Tensor:
    """A stack with its axes as (coil or time, echo, x, y, z), by the number of echo times in its header."""
    n_fifth, n_fourth = values.shape[:2]
    if n_fifth > 1:
        return values.transpose(0, 1) if n_fifth == n_times != n_fourth else values
    repeats = may_repeat and n_fourth > 1 and (is_time or n_times != n_fourth)
    return values.transpose(0, 1) if repeats else values


def _first_echo(path: Path, header: dict[str, Any], grid: Grid, kind: str) -> Echo:
    """What the echoes of an image have in common."""
    image_type = header.get("ImageType")
    image_types = tuple(map(str, image_type)) if isinstance(image_type, list) else ()
    both_times = [number(header.get(key)) for key in ("EchoTime1", "EchoTime2")]
    difference_of = (both_times[0], both_times[1]) if both_times[0] and both_times[1] and kind == "phase" else None
    stem = image_stem(path)
    return Echo(
        kind=kind,
        name=path.name,
        grid=grid,
        read_values=lambda: torch.zeros(grid.shape),
        b0=number(header.get("MagneticFieldStrength")),
        frequency=number(header.get("ImagingFrequency")),
        manufacturer=str(header.get("Manufacturer") or ""),
        image_type=image_types,
        has_orientation=has_orientation(path),
        is_difference=kind == "phase" and (difference_of is not None or names_phase_difference(stem)),
        difference_of=difference_of,
        is_filtered=kind == "phase"
        and names_filtered_phase(image_types, stem, str(header.get("SeriesDescription") or "")),
    )


def _split(first: Echo, stack: Tensor, times: list[Any], coil: str, in_time: bool) -> list[Echo]:
    """The echoes of a stack (coil or time, echo, x, y, z), each with its time, coil and volume."""
    n_repeats, n_echoes = stack.shape[:2]
    one_each = len(times) == n_echoes
    repeat_word = "volume" if in_time else "coil"
    return [
        replace(
            first,
            name=", ".join(
                [
                    first.name,
                    *([f"echo {n + 1}"] if n_echoes > 1 else []),
                    *([f"{repeat_word} {k + 1}"] if n_repeats > 1 else []),
                ]
            ),
            read_values=partial(stack.__getitem__, (k, n)),
            echo_time=number(times[n]) if one_each else None,
            coil=coil if in_time or n_repeats == 1 else str(k + 1),
            volume=k + 1 if in_time and n_repeats > 1 else 0,
            count_mismatch=None if one_each or times == [None] else (n_echoes, len(times)),
        )
        for k in range(n_repeats)
        for n in range(n_echoes)
    ]


def _repeats_in_time(header: dict[str, Any]) -> bool:
    """Whether a sidecar describes several time points."""
    repetitions = [number(header.get(key)) for key in ("NumberOfTemporalPositions", "NumberOfVolumes")]
    return any(n is not None and n > 1 for n in repetitions) or isinstance(header.get("VolumeTiming"), list)
