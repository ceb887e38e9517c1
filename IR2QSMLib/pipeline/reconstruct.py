"""The pipeline: a local field and a mask in, a susceptibility map and its provenance out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from IR2QSMLib.core.devices import Device, choose_device, is_out_of_memory
from IR2QSMLib.core.errors import OutOfMemory, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, Stopwatch, part_of, silent
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.registry import Method, describe
from IR2QSMLib.inversion.registry import method as method_named
from IR2QSMLib.io.images import has_orientation
from IR2QSMLib.physics.cone import BANDS, cone_index
from IR2QSMLib.physics.working_grid import MARGIN, WorkingGrid
from IR2QSMLib.pipeline import plausibility
from IR2QSMLib.pipeline.identify import require_plausible
from IR2QSMLib.pipeline.inputs import REFERENCES, Volume, finite, measured, name_of, read_extras, read_field, region_of
from IR2QSMLib.pipeline.preprocessed import SOFTWARE, PreprocessedField
from IR2QSMLib.pipeline.result import Result


def reconstruct(
    field: Volume | PreprocessedField,
    mask: Volume | None = None,
    *,
    grid: Grid | None = None,
    unit: str = "ppm",
    b0: float | None = None,
    echo_time: float | None = None,
    b0_direction: Sequence[float] | None = None,
    mask_labels: Sequence[int] | None = None,
    non_finite: str = "refuse",
    method: Method | str = "ir2qsm",
    device: str = "auto",
    reference: str | Volume = "mean",
    margin: int = MARGIN,
    magnitude: Volume | None = None,
    noise: Volume | None = None,
    csf: Volume | None = None,
    progress: Progress = silent,
) -> Result:
    """Reconstruct susceptibility [ppm] from a local field and a mask.

    `field` is the local field δB/B0 in `unit`: ppm, or hz with `b0` [T], or rad with `b0` and `echo_time` [s].
    `field`, `mask` and `reference` are image files, or arrays (x, y, z) with the `grid` they lie on; what
    `preprocess_phase` or `preprocess_total_field` returned brings its own mask, unit and direction of B0. The sidecar of a file
    that `ir2qsm fieldmap` wrote says that the field's harmonic part is an estimate.
    `b0_direction` is in voxel axes; the grid's own when None, which for files is the patient's z axis. `mask_labels`
    takes the union of labels of a mask that is not binary. `non_finite` is "refuse" or "mask" for NaN and Inf in the
    field. `method` is a name or a configured method such as `Learned(tile=96)`. `reference` is "mean" (of the mask),
    "none", or a volume whose non-zero voxels are set to zero mean. `margin` is kept around the mask's box [voxels].
    `magnitude`, the field's standard error `noise` in `unit`, and the ventricles `csf` are for methods that use them
    (`Medi`, which takes `echo_time` for the echo spacing).

    Raises a subclass of IR2QSMError that says what came, what was expected and what to do.
    """
    watch = Stopwatch()
    watch.stage("reading")
    progress(0.0, "reading")
    if non_finite not in ("refuse", "mask"):
        raise ParameterInvalid(f"Non-finite values are to be '{non_finite}'; expected refuse or mask.")
    chosen = method_named(method) if isinstance(method, str) else method
    if margin < 0:
        raise ParameterInvalid(f"The margin is {margin} voxels; expected 0 or more.")
    given = {"magnitude": magnitude, "noise": noise, "csf": csf}
    extras = {k: v for k, v in given.items() if v is not None}
    warnings: list[str] = []
    if isinstance(field, PreprocessedField):
        its_own = {"mask": mask, "grid": grid, "b0": b0, "echo_time": echo_time, "b0_direction": b0_direction}
        _require_unset(**its_own, mask_labels=mask_labels)
        local, warnings = field.local, list(field.warnings)
        inputs: dict[str, Any] = {"field": field.name, "mask": field.notes.get("mask_image")}
        local = replace(local, **read_extras(extras, local.grid, field.name))
    else:
        scale = ppm_per_unit(unit, b0, echo_time)
        local, inputs = read_field(field, mask, grid, mask_labels)
        if b0_direction is not None:
            local = replace(local, grid=local.grid.with_b0(b0_direction))
        local = measured(finite(local, non_finite, warnings), warnings)
        volumes = read_extras(extras, local.grid, name_of(field))
        local = replace(local, values=local.values * scale, echo_spacing=echo_time, b0=b0, **volumes)
        if local.noise is not None:
            local = replace(local, noise=local.noise * scale)
        inputs |= {"unit": unit, "b0_t": b0, "echo_time_s": echo_time}
        require_plausible(local, "local field", unit)
        warnings += plausibility.check_field(local)
    inputs |= {k: name_of(v) for k, v in extras.items()}
    region = region_of(reference, local, name_of(field))
    used = choose_device(device)
    watch.stage("inversion")
    susceptibility, used = _invert(chosen, local, margin, used, part_of(progress, 0.05, 0.95), warnings)
    if susceptibility.mask is not None:
        local = replace(local, mask=susceptibility.mask)
        region = None if region is None else region_of(reference, local, name_of(field))
    watch.stage("reference")
    progress(0.96, "reference")
    chi, zero = susceptibility.values, 0.0
    if region is not None:
        zero = float(chi[region].double().mean())
        chi = torch.where(local.mask, chi - zero, 0.0)
    # About the mean in the mask, so that the choice of the reference does not count.
    index = cone_index(chi - chi[local.mask].mean(), local.mask, local.grid)
    warnings += plausibility.check_streaks(index)
    watch.stage(None)
    provenance = {
        "Units": "ppm",
        "Quantity": "Magnetic susceptibility",
        "Software": SOFTWARE,
        "Method": {**describe(chosen), **susceptibility.notes},
        "Reference": {
            "region": reference if isinstance(reference, str) and reference in REFERENCES else name_of(reference),
            "subtracted_ppm": zero,
        },
        "Inputs": inputs,
        **({"Field": field.notes} if isinstance(field, PreprocessedField) else {}),
        "B0Direction": {
            "voxel_axes": list(local.grid.b0_direction),
            "source": _b0_source(field, local.grid, warnings),
        },
        "Grid": {"shape": list(local.grid.shape), "voxel_size_mm": list(local.grid.voxel_size), "margin": margin},
        "MaskVoxels": int(local.mask.sum()),
        "ConeIndex": {
            "cycles_per_mm": [list(band) for band in BANDS],
            "index": [None if value is None else round(value, 3) for value in index],
        },
        "Device": {"kind": used.kind, "name": used.name},
        "Versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "Seconds": {k: round(v, 3) for k, v in watch.seconds.items()},
        "Warnings": warnings,
    }
    progress(1.0, "done")
    return Result(chi, local.mask, susceptibility.uncertainty, local.grid, provenance, susceptibility.unexplained)


def _require_unset(**given: Any) -> None:
    """Refuse what a prepared field brings itself."""
    found = [name for name, value in given.items() if value is not None]
    if found:
        raise ParameterInvalid(
            f"{' and '.join(found)} came beside a prepared field, which has its own; say it to prepare_phase or "
            "prepare_total, or leave it out."
        )


def _b0_source(field: Volume | PreprocessedField, grid: Grid, warnings: list[str]) -> str:
    if grid.b0_given is not None:
        return "given"
    if isinstance(field, PreprocessedField):
        oriented = field.oriented
    else:
        oriented = not isinstance(field, Path | str) or has_orientation(field)
    if not oriented:
        warnings.append(
            f"{name_of(field)} states no orientation (no qform, sform or space directions): B0 was taken along its "
            "third axis; say it with --b0-direction."
        )
        return "assumed: the third voxel axis"
    if isinstance(field, Path | str):
        warnings += plausibility.check_orientation(Path(field), grid)
    return "image orientation"


def _invert(
    chosen: Method, local: LocalField, margin: int, device: Device, progress: Progress, warnings: list[str]
) -> tuple[Susceptibility, Device]:
    """Run the method in its frame, on the CPU when the device's memory does not even hold a tile."""
    frame = WorkingGrid.around(local, margin)
    while True:
        try:
            found = chosen(frame.prepare(local.to(device.kind)), progress)
            break
        except (OutOfMemory, RuntimeError, MemoryError) as error:  # the CPU's allocator raises RuntimeError
            if not isinstance(error, OutOfMemory) and not is_out_of_memory(error):
                raise
            if device.kind == "cpu":
                raise OutOfMemory(f"{error} Give a smaller --tile or close other programs.") from error
            warnings.append(f"The memory of '{device.name}' did not hold the volume; the CPU was used.")
            device = choose_device("cpu")
    tile = found.notes.get("tile")
    if tile is not None:
        warnings.append(f"The volume was inverted in blended tiles of {tile} voxels.")
    values = torch.where(local.mask, frame.restore(found.values.cpu()), 0.0)
    warnings += plausibility.check_map(values, local.mask)
    sigma = None if found.uncertainty is None else frame.restore(found.uncertainty.cpu()) * local.mask
    rest = None if found.unexplained is None else frame.restore(found.unexplained.cpu()) * local.mask
    mask = None if found.mask is None else frame.restore(found.mask.cpu())
    if mask is not None and not bool((mask == local.mask).all()):
        warnings.append(f"The map covers {int(mask.sum())} of the mask's {int(local.mask.sum())} voxels.")
    return replace(found, values=values, uncertainty=sigma, mask=mask, unexplained=rest), device
