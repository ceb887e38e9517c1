"""What an image seems to be, judged from its range and grid, for the panel and for people who are not sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, GridInvalid, IR2QSMError, errors_naming
from IR2QSMLib.core.units import field_unit
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.scaling import detect_scaling, recognise_wrapped_phase
from IR2QSMLib.io.image_echoes import read_echoes
from IR2QSMLib.io.image_kind import COMPLEX, FIELD, image_kind, names_total_field
from IR2QSMLib.io.masks import read_labels
from IR2QSMLib.io.parrec import is_parrec, parrec_echoes
from IR2QSMLib.io.sidecars import read_sidecar
from IR2QSMLib.io.total_fields import holds_total_field, read_total_field

PLAUSIBLE_PPM = (0.003, 0.5)
"""Where the 99th percentile of |local field| of a head can lie."""
UNIT_ADVICE = "Say its unit with --units (ppm, ppb, hz, rad, rad/s, t), check B0 and TE"
ADVICE = {
    "phase": "Say which numbers stand for −π and π with --phase-range, check TE (--te, in s) and B0 (--b0).",
    "total field": f"{UNIT_ADVICE}.",
    "local field": f"{UNIT_ADVICE}; of a total field say --input total-field.",
}
"""What to look at when the local field that comes of an input is not one of a head."""


def inspect_image(image: Path, mask: Path | None = None, series: Sequence[int | str] | None = None) -> dict[str, Any]:
    """Kind, unit, range, grid and problems of an image, and the labels of a mask that goes with it.

    Parameters
    ----------
    image
        Image file; or a complex image, a PAR file or the folder of a scan, of which the echoes with their times, B0,
        how the phase is read, and what is missing are listed.
    mask
        Image file.
    series
        Numbers or names of the scan meant.

    Returns
    -------
    dict
        For JSON. What is wrong with the mask, or with the two together, stands under "problems".

    Raises
    ------
    FileUnreadable, GridInvalid
        When the image itself cannot be read.
    """
    if image.is_dir() or is_parrec(image) or image_kind(image) == COMPLEX:
        return _inspect_scan(image, series)
    with errors_naming("image"):
        echoes, grid = read_echoes(image)
    n_echoes = len(echoes)
    problems: list[str] = []
    finite = torch.isfinite(echoes)
    n_bad = int((~finite).sum())
    if n_bad:
        problems.append(f"{n_bad} values are NaN or infinite.")
    inside = finite & (echoes != 0)
    label_counts: dict[str, int] = {}
    if mask is not None:
        try:
            labels = read_labels(mask, grid, image.name)
            numbers, counts = labels[labels != 0].unique(return_counts=True)
            label_counts = {str(n): c for n, c in zip(numbers.tolist(), counts.tolist(), strict=True)}
            if label_counts:
                inside = finite & (labels != 0)
            else:
                problems.append(f"The mask '{mask.name}' is empty.")
        except IR2QSMError as error:
            problems.append(str(error))
    values, header = echoes[inside], read_sidecar(image)
    # A mask says where a field counts; the wraps by which a phase is known may lie outside.
    kind, unit = guess_kind(echoes)
    if kind not in ("empty", "wrapped phase"):
        kind, unit = guess_kind(values)
    stated_kind = image_kind(image)
    if stated_kind == FIELD:
        kind = "total field" if names_total_field(image) or kind != "local field" else kind
    elif stated_kind == "phase" or (n_echoes > 1 and kind not in ("empty", "wrapped phase", "magnitude")):
        kind, unit = "wrapped phase", None if kind != "wrapped phase" else unit
    if kind.endswith("field"):
        unit = field_unit(str(header.get("Units") or "")) or unit
    acquisition: dict[str, Any] = {"n_echoes": n_echoes} if n_echoes > 1 else {}
    if header:
        acquisition |= {"echo_time_s": header.get("EchoTime"), "b0_t": header.get("MagneticFieldStrength")}
    if kind == "wrapped phase":
        acquisition |= _scaling(echoes, problems)
    return {
        "image": image.name,
        "kind": kind,
        "unit": unit,
        "range": [float(values.min()), float(values.max())] if values.numel() else [0.0, 0.0],
        "shape": list(grid.shape),
        "voxel_size_mm": list(grid.voxel_size),
        "b0_direction": list(grid.b0_direction),
        "mask_labels": label_counts,
        "problems": problems,
        **acquisition,
    }


def _scaling(stored: Tensor, problems: list[str]) -> dict[str, Any]:
    """How stored numbers would become radians, as a sentence and in parts; None where that is not known."""
    try:
        scaling = detect_scaling(stored)
        return {"scaling": str(scaling), "phase_scaling": asdict(scaling)}
    except IR2QSMError as error:
        problems.append(str(error))
        return {"scaling": None, "phase_scaling": None}


def _inspect_scan(folder: Path, series: Sequence[int | str] | None) -> dict[str, Any]:
    from IR2QSMLib.io.repetitions import assemble_scan
    from IR2QSMLib.io.scans import echoes_in

    images: list[dict[str, Any]] = []
    try:
        if detect_input(folder) == "total-field":
            return _inspect_total_field(folder, series)
        echoes, notes = echoes_in([folder], series)
        images = [e.table_row(e.echo_time, e.b0) for e in echoes]
        scan = assemble_scan(echoes, notes=notes)
    except IR2QSMError as error:
        return {"image": folder.name, "kind": "unknown", "unit": None, "images": images, "problems": [str(error)]}
    problems = list(scan.notes)
    return {
        "image": folder.name,
        "kind": "scan",
        "unit": None,
        "echo_times_s": list(scan.echo_times),
        "b0_t": scan.b0,
        "manufacturer": scan.manufacturer or None,
        "shape": list(scan.grid.shape),
        "voxel_size_mm": list(scan.grid.voxel_size),
        "b0_direction": list(scan.grid.b0_direction),
        **(_scaling(scan.values_of("phase"), problems) if "phase" in scan.kinds else {"scaling": None}),
        "images": scan.table(),
        "problems": problems,
    }


def _inspect_total_field(source: Path, series: Sequence[int | str] | None) -> dict[str, Any]:
    """Of a folder or a PAR file that holds a field which the scanner computed, and no phase."""
    field = read_total_field(source, series)
    return {
        "image": source.name,
        "kind": "total field",
        "unit": field_unit(str(field.header.get("Units") or "")),
        "range": [float(field.values.nan_to_num().min()), float(field.values.nan_to_num().max())],
        "shape": list(field.grid.shape),
        "voxel_size_mm": list(field.grid.voxel_size),
        "b0_direction": list(field.grid.b0_direction),
        "b0_t": field.header.get("MagneticFieldStrength"),
        "problems": [],
    }


def guess_kind(values: Tensor) -> tuple[str, str | None]:
    """What values seem to be and in which unit: a guess from their range, to be confirmed by a person.

    Local fields spread to about 0.05 ppm, which is 2 to 15 Hz and a fraction of a radian; total fields ten times as
    far; wrapped phase fills its range and jumps. Zero and what is not finite is background.

    Parameters
    ----------
    values
        In any unit: (..., x, y, z).

    Returns
    -------
    kind
        "wrapped phase", "local field", "total field", "magnitude" or "empty".
    unit
        "ppm", "hz" or "rad" of a field, "rad" or "scanner units" of a phase, else None.
    """
    phase = recognise_wrapped_phase(values)
    if phase is not None:
        return "wrapped phase", "rad" if phase.slope == 1.0 else "scanner units"
    foreground = values[torch.isfinite(values) & (values != 0)]
    if foreground.numel() == 0:
        return "empty", None
    if float(foreground.min()) >= 0.0:
        return "magnitude", None
    top = _percentile_99(foreground)
    if top <= 0.3:
        return "local field", "ppm"
    if top <= 1.0:
        return "local field", "rad"
    if top <= 40.0:
        return ("total field", "ppm") if top <= 3.0 else ("local field", "hz")
    return "total field", "hz"


def require_plausible(local: LocalField, source: str, unit: str | None) -> None:
    """Raise FieldInvalid unless a local field [ppm] is as strong as a head's; `source` is a key of `ADVICE`."""
    top = _percentile_99(local.values[local.mask])
    low, high = PLAUSIBLE_PPM
    if not low <= top <= high:
        origin = "Made of the phase" if source == "phase" else f"Read in {unit}"
        raise FieldInvalid(
            f"{origin}, the field's 99th percentile is {top:.3g} ppm; a local field's lies between {low:g} and "
            f"{high:g} ppm. {ADVICE[source]}",
            option="phase_range" if source == "phase" else "units",
        )


def _percentile_99(values: Tensor) -> float:
    """The 99th percentile of absolute values."""
    return float(values.abs().float().kthvalue(max(1, int(0.99 * values.numel())))[0])


def detect_input(source: Path) -> str:
    """Whether a folder or an image is "phase", a "total-field" by name or ImageType, or else a "local-field".

    A total field is never guessed from its numbers: in another unit a local field looks the same, and a B0 map fills
    its range with noise as phase does. Raises FileUnreadable.
    """
    if source.is_file() and image_kind(source) == FIELD:
        return "total-field" if names_total_field(source) else "local-field"
    if source.is_dir():
        return "total-field" if holds_total_field(source) else "phase"
    if source.is_file() and is_parrec(source):
        kinds = {e.kind for e in parrec_echoes(source)}
        return "total-field" if FIELD in kinds and not kinds & {"phase", "real"} else "phase"
    if source.is_file() and image_kind(source) in ("phase", "real", COMPLEX):
        return "phase"
    try:
        with errors_naming("field"):
            values, _ = read_echoes(source)
    except GridInvalid:  # what a field must be, reading it as one says better
        return "local-field"
    return "phase" if len(values) > 1 or recognise_wrapped_phase(values) is not None else "local-field"
