"""The pipeline: a local field and a mask in, a susceptibility map and its provenance out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.errors import FieldInvalid, GridMismatch, MaskInvalid, OutOfMemory, OutputUnwritable, ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inspection import require_plausible
from IR2QSMLib.inversion.frame import MARGIN, Frame
from IR2QSMLib.inversion.methods import Method, describe, method
from IR2QSMLib.io.images import has_orientation, read_labels, read_mask, read_volume, require_size
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.sidecars import read_local_field, stated_kind
from IR2QSMLib.prepared import SOFTWARE, Prepared
from IR2QSMLib.runtime import Device, Progress, Stopwatch, choose_device, is_out_of_memory, part_of, silent
from IR2QSMLib.units import ppm_per_unit
from IR2QSMLib.volumes import LocalField, Susceptibility

Volume = Path | str | Tensor | np.ndarray
"""An image file, or an array (x, y, z) that comes with a Grid."""
REFERENCES = ("mean", "none")


@dataclass(frozen=True)
class Result:
    """A susceptibility map, where it is valid, how sure it is, and how it came about."""

    chi: Tensor
    """χ [ppm] against the reference, zero outside the mask, float32: (x, y, z)."""
    mask: Tensor
    """Where χ is valid, bool: (x, y, z)."""
    uncertainty: Tensor | None
    """Standard error of χ [ppm], if the method gives one; the provenance says whether it was calibrated: (x, y, z)."""
    grid: Grid
    """The grid of the field that came in."""
    provenance: dict[str, Any]
    """Units, method, parameters, weights' hash, reference, versions, seconds, warnings: what the sidecar holds."""
    unexplained: Tensor | None = None
    """Part of the local field that the method gives to no χ [ppm], if it tells: (x, y, z)."""

    def save(
        self,
        chi: Path | str,
        *,
        uncertainty: Path | str | None = None,
        mask: Path | str | None = None,
        unexplained: Path | str | None = None,
    ) -> Path:
        """Write χ with a JSON sidecar beside it, and the other maps where a path is given; return the sidecar's path.

        All files appear together or none does. Raises OutputUnwritable, or ParameterInvalid when a map is asked for
        that the method did not give.
        """
        with Outputs() as outputs:
            return self.add_to(outputs, chi, uncertainty=uncertainty, mask=mask, unexplained=unexplained)

    def add_to(
        self,
        outputs: Outputs,
        chi: Path | str,
        *,
        uncertainty: Path | str | None = None,
        mask: Path | str | None = None,
        unexplained: Path | str | None = None,
    ) -> Path:
        """Add the files of `save` to those of a run that is under way."""
        outputs.volume(chi, self.chi, self.grid)
        if uncertainty is not None:
            if self.uncertainty is None:
                raise ParameterInvalid(
                    f"The method '{self.provenance['Method']['name']}' gave no uncertainty (its weights were not "
                    "trained for one); leave --uncertainty out."
                )
            outputs.volume(uncertainty, self.uncertainty, self.grid)
        if unexplained is not None:
            if self.unexplained is None:
                raise ParameterInvalid(
                    f"The method '{self.provenance['Method']['name']}' does not tell what χ leaves of the field; leave "
                    "--unexplained out, or use modl-qsm."
                )
            outputs.volume(unexplained, self.unexplained, self.grid)
        if mask is not None:
            outputs.volume(mask, self.mask, self.grid)
        sidecar = sidecar_of(chi)
        outputs.json(sidecar, self.provenance)
        return sidecar


def sidecar_of(image: Path | str) -> Path:
    """The JSON file beside an image: chi.nii.gz has chi.json."""
    path = Path(image)
    stem = path.name.removesuffix(".gz")
    return path.with_name(Path(stem).stem + ".json")


def require_apart(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Raise OutputUnwritable when a result would replace an input or its sidecar, or become part of a folder's scan."""
    inputs = [*inputs, *(sidecar_of(read) for read in inputs if not read.is_dir())]
    for written in outputs:
        for read in inputs:
            if read.is_dir() and read.resolve() in written.resolve().parents and stated_kind(written) is not None:
                raise OutputUnwritable(
                    f"The result {written.name} would be taken for an image of the scan in '{read.resolve().name}', or "
                    "replace one; choose another folder for it."
                )
            if written.exists() and read.exists() and written.samefile(read):
                raise OutputUnwritable(f"The result {written.name} would overwrite an input; give it another name.")
        if written.suffix == ".json" and written.is_file() and '"ir2qsm"' not in written.read_text(errors="replace"):
            raise OutputUnwritable(
                f"The sidecar {written.name} would overwrite a file of another program; rename the result, or choose "
                "another folder."
            )


def reconstruct(
    field: Volume | Prepared,
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
    `prepare_phase` or `prepare_total` returned brings its own mask, unit and direction of B0. The sidecar of a file
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
    chosen = _method(method)
    if margin < 0:
        raise ParameterInvalid(f"The margin is {margin} voxels; expected 0 or more.")
    given = {"magnitude": magnitude, "noise": noise, "csf": csf}
    extras = {k: v for k, v in given.items() if v is not None}
    warnings: list[str] = []
    if isinstance(field, Prepared):
        local, warnings = field.local, list(field.warnings)
        inputs: dict[str, Any] = {"field": field.name, "mask": field.notes.get("mask_image")}
        local = replace(local, **_extras(extras, local.grid, field.name))
    else:
        scale = ppm_per_unit(unit, b0, echo_time)
        local, inputs = _read(field, mask, grid, mask_labels)
        if b0_direction is not None:
            local = replace(local, grid=local.grid.with_b0(b0_direction))
        local = _finite(local, non_finite, warnings)
        volumes = _extras(extras, local.grid, _name(field))
        local = replace(local, values=local.values * scale, echo_spacing=echo_time, b0=b0, **volumes)
        if local.noise is not None:
            local = replace(local, noise=local.noise * scale)
        inputs |= {"unit": unit, "b0_t": b0, "echo_time_s": echo_time}
        require_plausible(local, "local field", unit)
    inputs |= {k: _name(v) for k, v in extras.items()}
    region = _region(reference, local, _name(field))
    used = choose_device(device)
    watch.stage("inversion")
    susceptibility, used = _invert(chosen, local, margin, used, part_of(progress, 0.05, 0.95), warnings)
    if susceptibility.mask is not None:
        local = replace(local, mask=susceptibility.mask)
        region = None if region is None else _region(reference, local, _name(field))
    watch.stage("reference")
    progress(0.96, "reference")
    chi, zero = susceptibility.values, 0.0
    if region is not None:
        zero = float(chi[region].double().mean())
        chi = torch.where(local.mask, chi - zero, 0.0)
    watch.stage(None)
    provenance = {
        "Units": "ppm",
        "Quantity": "Magnetic susceptibility",
        "Software": SOFTWARE,
        "Method": {**describe(chosen), **susceptibility.notes},
        "Reference": {
            "region": reference if isinstance(reference, str) and reference in REFERENCES else _name(reference),
            "subtracted_ppm": zero,
        },
        "Inputs": inputs,
        **({"Field": field.notes} if isinstance(field, Prepared) else {}),
        "B0Direction": {
            "voxel_axes": list(local.grid.b0_direction),
            "source": _b0_source(field, local.grid, warnings),
        },
        "Grid": {"shape": list(local.grid.shape), "voxel_size_mm": list(local.grid.voxel_size), "margin": margin},
        "MaskVoxels": int(local.mask.sum()),
        "Device": {"kind": used.kind, "name": used.name},
        "Versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "Seconds": {k: round(v, 3) for k, v in watch.seconds.items()},
        "Warnings": warnings,
    }
    progress(1.0, "done")
    return Result(
        chi, local.mask, susceptibility.uncertainty, local.grid, provenance, susceptibility.unexplained
    )


def _b0_source(field: Volume | Prepared, grid: Grid, warnings: list[str]) -> str:
    if grid.b0_given is not None:
        return "given"
    if isinstance(field, Prepared):
        oriented = field.oriented
    else:
        oriented = not isinstance(field, Path | str) or has_orientation(field)
    if not oriented:
        warnings.append(
            f"{_name(field)} states no orientation (qform and sform codes are 0): B0 was taken along its third axis; "
            "say it with --b0-direction."
        )
        return "assumed: the third voxel axis"
    return "image orientation"


def _method(chosen: Method | str) -> Method:
    return method(chosen) if isinstance(chosen, str) else chosen


def _name(volume: Volume | Prepared) -> str:
    if isinstance(volume, Prepared):
        return volume.name
    return Path(volume).name if isinstance(volume, Path | str) else "array"


def _tensor(array: Tensor | np.ndarray) -> Tensor:
    """An array as a tensor on the CPU; numpy's may be a reversed view or big-endian, which torch does not take."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    return torch.as_tensor(array).detach().cpu()


def _read(
    field: Volume, mask: Volume | None, grid: Grid | None, labels: Sequence[int] | None
) -> tuple[LocalField, dict[str, Any]]:
    if mask is None:
        raise MaskInvalid(f"The field {_name(field)} came without a mask; give the mask in which it was measured.")
    recovered = False
    if isinstance(field, Path | str):
        values, grid, recovered = read_local_field(Path(field))
    elif grid is None:
        raise ParameterInvalid("The field is an array without a grid; give grid=Grid(shape, voxel_size, ...).")
    else:
        values = _tensor(field).to(torch.float32)
        if tuple(values.shape) != grid.shape:
            raise GridMismatch(f"The field has shape {tuple(values.shape)} and its grid {grid.shape}; expected one.")
    require_size(grid, _name(field))
    if isinstance(mask, Path | str):
        inside = read_mask(mask, grid, _name(field), labels)
    else:
        inside = _mask_of(_tensor(mask), grid, labels)
    return LocalField(values, inside, grid, recovered=recovered), {"field": _name(field), "mask": _name(mask)}


def _extras(given: dict[str, Volume], grid: Grid, against: str) -> dict[str, Any]:
    """The volumes beside field and mask, on the same grid: the ventricles as bool."""
    found = {}
    for name, volume in given.items():
        if isinstance(volume, Path | str):
            values, its = read_volume(volume)
            its.require_match(grid, _name(volume), against)
        else:
            values = _tensor(volume).to(torch.float32)
        found[name] = values != 0 if name == "csf" else values
    return found


def _mask_of(mask: Tensor, grid: Grid, labels: Sequence[int] | None) -> Tensor:
    if tuple(mask.shape) != grid.shape:
        raise GridMismatch(f"The mask has shape {tuple(mask.shape)} and the field {grid.shape}; resample one of them.")
    mask = mask if mask.is_floating_point() else mask.long()
    found = torch.unique(mask[mask != 0]).tolist()
    listed = ", ".join(f"{v:g}" for v in found[:10])
    if labels is not None:
        absent = [label for label in labels if label not in found]
        if absent:
            raise MaskInvalid(f"The mask has no label {absent[0]}, it holds {listed or 'none'}; choose among them.")
        mask = torch.isin(mask, torch.as_tensor(list(labels), dtype=mask.dtype))
    elif len(found) > 1:
        raise MaskInvalid(
            f"The mask is not binary, it holds the labels {listed}; say which belong to it with mask_labels."
        )
    if not bool((mask != 0).any()):
        raise MaskInvalid("The mask is empty; give one whose voxels inside the brain are not zero.")
    return mask != 0


def _finite(local: LocalField, choice: str, warnings: list[str]) -> LocalField:
    """Without NaN and Inf: those outside the mask are zero anyway, those inside are refused or leave the mask."""
    bad = ~torch.isfinite(local.values)
    n_bad = int((bad & local.mask).sum())
    if n_bad and choice == "refuse":
        raise FieldInvalid(
            f"The field holds {n_bad} NaN or infinite values inside the mask; mend it, or leave them out of the "
            "mask with --non-finite mask."
        )
    if n_bad:
        warnings.append(f"{n_bad} voxels with NaN or infinite values were left out of the mask.")
    inside = local.mask & ~bad
    if not bool(inside.any()):
        raise MaskInvalid("No finite value of the field lies inside the mask; expected a finite field.")
    return replace(local, values=torch.where(inside, local.values, 0.0), mask=inside)


def _region(reference: str | Volume, local: LocalField, name: str) -> Tensor | None:
    if isinstance(reference, str) and reference in REFERENCES:
        return local.mask if reference == "mean" else None
    if isinstance(reference, Path | str):
        region = read_labels(reference, local.grid, name) != 0
    else:
        region = _tensor(reference) != 0
        if tuple(region.shape) != local.grid.shape:
            raise GridMismatch(
                f"The reference region has shape {tuple(region.shape)} and the field {local.grid.shape}; resample it."
            )
    if not bool((region & local.mask).any()):
        raise MaskInvalid("The reference region lies nowhere inside the mask; choose another one, or mean, or none.")
    return region & local.mask


def _invert(
    chosen: Method, local: LocalField, margin: int, device: Device, progress: Progress, warnings: list[str]
) -> tuple[Susceptibility, Device]:
    """Run the method in its frame, on the CPU when the device's memory does not even hold a tile."""
    frame = Frame.around(local, margin)
    while True:
        try:
            found = chosen(frame.prepare(local.to(device.kind)), progress)
            break
        except (OutOfMemory, RuntimeError, MemoryError) as error:   # the CPU's allocator raises RuntimeError
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
    sigma = None if found.uncertainty is None else frame.restore(found.uncertainty.cpu()) * local.mask
    rest = None if found.unexplained is None else frame.restore(found.unexplained.cpu()) * local.mask
    mask = None if found.mask is None else frame.restore(found.mask.cpu())
    if mask is not None and not bool((mask == local.mask).all()):
        warnings.append(f"The map covers {int(mask.sum())} of the mask's {int(local.mask.sum())} voxels.")
    return replace(found, values=values, uncertainty=sigma, mask=mask, unexplained=rest), device
