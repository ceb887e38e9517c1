"""Philips' PAR/REC images, read by nibabel."""

from __future__ import annotations

import math
import warnings
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from nibabel.parrec import PARRECArrayProxy, PARRECError, PARRECHeader
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.image_kind import FIELD
from IR2QSMLib.io.images import require_size

KIND_BY_TYPE = {0: "magnitude", 1: "real", 2: "imaginary", 3: "phase"}
"""Kinds of image by the number in the column image_type_mr."""
FIELD_MAP_SEQUENCE = 4
"""Number in the column 'scanning sequence' of phases that are a computed field, in Hz."""
SUFFIXES = (".par", ".rec")


def is_parrec(path: Path) -> bool:
    """Whether a path names one of the two files of a PAR/REC image."""
    return path.suffix.lower() in SUFFIXES


def parrec_echoes(path: Path) -> list[Echo]:
    """All images in a PAR file and the REC file beside it.

    Phases are in thousandths of a radian, fields in Hz (displayed values); magnitude, real and imaginary parts are
    floating-point values, which are comparable between images. PAR files state no field strength.

    Parameters
    ----------
    path
        The PAR or the REC file.

    Returns
    -------
    list of Echo
        Fields that the scanner computed have the kind `FIELD`.

    Raises
    ------
    FileUnreadable
        When one of the two files is missing, or they are damaged.
    GridInvalid
        When there are fewer than eight slices.
    """
    par, rec = (_sibling(path, suffix) for suffix in SUFFIXES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions of PAR that nibabel reads without a promise
            header = PARRECHeader.from_fileobj(StringIO(par.read_text(encoding="latin-1")), strict_sort=True)
            lines = header.image_defs[header.get_sorted_slice_indices()]
            displayed, floating = (header.get_data_scaling(method) for method in ("dv", "fp"))
            affine = header.get_affine()
            n_bytes = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
            pixels = PARRECArrayProxy(str(rec), header)
    except (PARRECError, KeyError, IndexError, OSError, ValueError) as error:
        raise FileUnreadable(
            f"{par.name} and {rec.name} cannot be read ({' '.join(str(error).split())}); export them again."
        ) from error
    if rec.stat().st_size < n_bytes:
        raise FileUnreadable(
            f"{rec.name} is truncated: {par.name} promises {n_bytes:,} bytes; copy or export both again."
        )
    n_slices = header.get_data_shape()[2]
    grid = _grid_of(affine, header.get_data_shape()[:3], lines[:n_slices]["image offcentre"], par.name)
    require_size(grid, par.name)
    first_lines = lines[::n_slices]
    has_dynamics = len(set(first_lines["dynamic scan number"].tolist())) > 1
    echoes = []
    for n, line in enumerate(first_lines):
        kind = KIND_BY_TYPE.get(int(line["image_type_mr"]))
        if kind == "phase" and int(line["scanning sequence"]) == FIELD_MAP_SEQUENCE:
            kind = FIELD
        if kind is None:
            continue
        te, dynamic = 1e-3 * float(line["echo_time"]), int(line["dynamic scan number"]) if has_dynamics else 0
        slopes, intercepts = displayed if kind in ("phase", FIELD) else floating
        echoes.append(
            Echo(
                kind=kind,
                name=f"{par.name}, {kind}, TE {1e3 * te:g} ms{f', volume {dynamic}' if dynamic else ''}",
                grid=grid,
                read_values=partial(_values, pixels, n, slopes, intercepts),
                echo_time=te or None,
                manufacturer="Philips",
                volume=dynamic,
            )
        )
    return echoes


def _sibling(path: Path, suffix: str) -> Path:
    """The file of a PAR/REC image with this suffix, in capitals or not; raises FileUnreadable."""
    if path.suffix.lower() == suffix and path.is_file():
        return path
    for end in (suffix, suffix.upper()):
        if path.with_suffix(end).is_file():
            return path.with_suffix(end)
    raise FileUnreadable(f"{path.with_suffix(suffix.upper()).name} is missing beside {path.name}; put it there.")


def _grid_of(affine: np.ndarray, shape: tuple[int, int, int], centres: np.ndarray, name: str) -> Grid:
    """The grid by nibabel's affine (RAS), with the slices in the order of their centres (ap, fh, rl) [mm].

    Raises FileUnreadable where the affine and the centres contradict each other.
    """
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    in_plane = [0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1)]
    by_affine = np.array([lps @ [*in_plane, z, 1.0] for z in range(shape[2])])
    by_lines = centres[:, [2, 0, 1]]
    if shape[2] > 1 and (by_lines[-1] - by_lines[0]) @ lps[:, 2] < 0.0:
        lps[:, 3] += (shape[2] - 1) * lps[:, 2]
        lps[:, 2] *= -1.0
        by_affine = by_affine[::-1]
    if np.abs(by_affine - by_lines).max() > 0.1 * np.linalg.norm(lps[:, 2]):
        raise FileUnreadable(
            f"{name} says twice where its slices lie, by angulation and by the centre of each slice, and the two "
            "differ; export the scan as DICOM."
        )
    voxel_size = np.linalg.norm(lps[:, :3], axis=0)
    x, y, z = voxel_size
    nx, ny, nz = shape
    ox, oy, oz = lps[:, 3]
    direction = tuple((lps[:, :3] / voxel_size).ravel().tolist())
    return Grid((nx, ny, nz), (float(x), float(y), float(z)), direction, (float(ox), float(oy), float(oz)))


def _values(pixels: PARRECArrayProxy, n: int, slopes: np.ndarray, intercepts: np.ndarray) -> Tensor:
    """The values of one volume, float32: (x, y, z)."""
    stored = np.asarray(pixels.get_unscaled())
    stored = stored.reshape(*stored.shape[:3], -1)[..., n]
    slope, intercept = (v.reshape(1, 1, stored.shape[2], -1)[..., n] for v in (slopes, intercepts))
    return torch.from_numpy(np.ascontiguousarray(stored * slope + intercept, dtype=np.float32))
