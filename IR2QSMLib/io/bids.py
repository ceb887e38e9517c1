"""Folders of NIfTI files with or without BIDS names, and the sidecars of fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.image_echoes import file_echoes
from IR2QSMLib.io.image_kind import image_kind
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.scan_groups import choose_scan, find_scans, names_of_file, require_phase
from IR2QSMLib.io.sidecars import number, read_sidecar

HARMONIC_COMPLETED_KEY = "HarmonicPartRecovered"
"""In a local field's sidecar: whether the part that background removal takes too much was added as an estimate."""
B0_DIRECTION_KEY = "B0_dir"
"""In a field's sidecar: the user's B0 direction in voxel axes."""


def read_field(path: Path) -> tuple[Tensor, Grid]:
    """Read a total or local field and its grid, with the B0 direction of its sidecar, if there is one.

    Returns
    -------
    values, grid
        float32 in the file's unit: (x, y, z).

    Raises
    ------
    FileUnreadable, GridInvalid
    """
    values, grid = read_volume(path)
    direction = read_sidecar(path).get(B0_DIRECTION_KEY)
    if isinstance(direction, list):
        numbers = [x for x in map(number, direction) if x is not None]
        grid = grid.with_b0(numbers) if len(numbers) == 3 else grid
    return values, grid


def bids_echoes(
    folder: Path,
    series: Sequence[int | str] | None = None,
    *,
    real: Sequence[str] = (),
    imaginary: Sequence[str] = (),
    in_time: bool = False,
) -> tuple[list[Echo], list[str]]:
    """The echoes of one scan with phase among a folder's NIfTI files.

    Names or sidecars state the kinds of image; `io.scan_groups` says which of them are one scan.

    Parameters
    ----------
    folder
        Searched with its subfolders.
    series
        The scan to use, by its name or series number, where there are several.
    real, imaginary
        Names of files or series that are real and imaginary parts, where nothing else says so.
    in_time
        Whether the user says that a further axis is time.

    Returns
    -------
    echoes, notes
        The echoes, none without a NIfTI file, and sentences on what was left out.

    Raises
    ------
    FieldInvalid, FileUnreadable
        When no NIfTI file is a phase, or no phase has a magnitude.
    ParameterInvalid
        When there are several scans with phase and `series` chooses none of them.
    """
    kinds = {p: image_kind(p) for p in image_files(folder)}
    if not kinds:
        return [], []
    if real or imaginary:
        return _named_parts(list(kinds), real, imaginary, in_time), []
    scans = find_scans(folder, kinds)
    require_phase(folder, kinds, scans)
    scan = choose_scan(folder, scans, series)
    used = [p for p in scan.paths if scan.kinds[p] is not None]
    left_out = [p.name for p in kinds if p not in used]
    notes = [f"Left out of '{folder.name}': {', '.join(left_out)}."] if left_out else []
    guessed = [p.name for p in used if kinds[p] != scan.kinds[p]]
    if guessed:
        notes.append(f"Taken for magnitude by name, series and echo time, as no type says so: {', '.join(guessed)}.")
    return [e for p in used for e in file_echoes([p], scan.kinds[p], believe_kind=True, in_time=in_time)], notes


def image_files(folder: Path) -> list[Path]:
    """The NIfTI files in a folder and its subfolders, in the order of their names."""
    files = [p for p in folder.rglob("*") if p.name.lower().endswith((".nii", ".nii.gz"))]
    files = [p for p in files if not p.name.startswith("._")]  # written by macOS beside files of other disks
    return sorted(files, key=_natural_order)


def _named_parts(files: list[Path], real: Sequence[str], imaginary: Sequence[str], in_time: bool) -> list[Echo]:
    """The echoes of the files that the user calls real and imaginary parts; raises ParameterInvalid."""
    echoes: list[Echo] = []
    for kind, words in (("real", real), ("imaginary", imaginary)):
        matches = [p for p in files if set(words) & names_of_file(p)]
        if not matches:
            came = (
                f"--{kind} names {' '.join(words)}, which no file here is called" if words else f"--{kind} is missing"
            )
            raise ParameterInvalid(
                f"{came}; name the {kind} parts by file or series, such as --{kind} {files[0].name}.", option=kind
            )
        echoes += file_echoes(matches, kind, believe_kind=True, in_time=in_time)
    return echoes


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """A sorting key by which echo-2 comes before echo-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(path))]
