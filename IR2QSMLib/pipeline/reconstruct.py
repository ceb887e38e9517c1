"""`reconstruct`: a local field and a mask in, a susceptibility map and its provenance out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.devices import Device, choose_device, is_out_of_memory
from IR2QSMLib.core.errors import OutOfMemory, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, Stopwatch, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.inversion.registry import method as method_named
from IR2QSMLib.physics.cone import cone_index
from IR2QSMLib.physics.working_grid import MARGIN, WorkingGrid
from IR2QSMLib.pipeline import plausibility
from IR2QSMLib.pipeline.inputs import LoadedField, load_inputs, reference_region
from IR2QSMLib.pipeline.metadata import FieldMetadata, Volume
from IR2QSMLib.pipeline.preprocessed import PreprocessedField
from IR2QSMLib.pipeline.provenance import provenance
from IR2QSMLib.pipeline.result import Result


def reconstruct(
    field: Volume | PreprocessedField | LoadedField,
    mask: Volume | None = None,
    *,
    grid: Grid | None = None,
    method: Method | str = "ir2qsm",
    reference: str | Volume = "mean",
    device: str = "auto",
    margin: int = MARGIN,
    progress: Progress = silent,
    **metadata: Any,
) -> Result:
    """Reconstruct susceptibility [ppm] from a local field and a mask.

    Parameters
    ----------
    field
        The local field δB/B0: an image file, an array (x, y, z) that lies on `grid`, or what `preprocess_phase`,
        `preprocess_total_field` or `load_inputs` returned, which brings its own mask, unit and direction of B0.
    mask
        Image file, or array (x, y, z) on the same grid; zero outside the brain.
    grid
        Of arrays: shape, voxel size [mm], direction, origin and B0. Files have their own.
    method
        A name such as "tkd", or a configured method such as `Learned(tile=96)`.
    reference
        "mean" (of the mask), "none", or a volume whose non-zero voxels get zero mean.
    device
        "auto", "cpu", "cuda" or "mps".
    margin
        Voxels kept around the mask's box.
    progress
        Called with the fraction done and the stage; may raise Cancelled.
    **metadata
        The fields of `FieldMetadata`: `unit` ("ppm", "ppb", "hz", "rad", "rad/s", "t"; by default what the file's JSON
        says,
        else ppm), `b0` [T], `echo_time` [s], `b0_direction` in voxel axes, `mask_labels`, `non_finite`, and the volumes
        `magnitude`, `noise` (in `unit`) and `csf` for methods that use them.

    Returns
    -------
    Result
        χ [ppm], where it is valid, its standard error if the method gives one, and the provenance.

    Raises
    ------
    IR2QSMError
        One of its subclasses; the message says what came, what was expected and what to do.
    """
    watch = Stopwatch()
    watch.stage("reading")
    progress(0.0, "reading")
    chosen = method_named(method) if isinstance(method, str) else method
    if margin < 0:
        raise ParameterInvalid(f"The margin is {margin} voxels; expected 0 or more.")
    loaded = load_inputs(field, mask, grid, FieldMetadata(**metadata))
    region = reference_region(reference, loaded)
    wanted = choose_device(device)

    watch.stage("inversion")
    inverted = invert(chosen, loaded.local, margin, wanted, part_of(progress, 0.05, 0.95))
    if region is not None and inverted.narrowed:
        region = reference_region(reference, replace(loaded, local=replace(loaded.local, mask=inverted.mask)))

    watch.stage("reference")
    progress(0.96, "reference")
    chi, zero = apply_reference(inverted.susceptibility.values, inverted.mask, region)
    # About the mean in the mask, so that the choice of the reference does not count.
    index = cone_index(chi - chi[inverted.mask].mean(), inverted.mask, loaded.local.grid)
    warnings = [*loaded.warnings, *inverted.warnings, *plausibility.check_streaks(index)]

    watch.stage(None)
    record = provenance(
        loaded,
        chosen,
        inverted.susceptibility.notes,
        reference=(reference, zero),
        cone_index=index,
        mask=inverted.mask,
        margin=margin,
        device=inverted.device,
        seconds=watch.seconds,
        warnings=warnings,
    )
    progress(1.0, "done")
    maps = inverted.susceptibility
    return Result(chi, inverted.mask, maps.uncertainty, loaded.local.grid, record, maps.unexplained)


@dataclass(frozen=True)
class Inverted:
    """A method's map on the field's own grid, before the reference."""

    susceptibility: Susceptibility
    mask: Tensor
    """Where χ is valid, bool: (x, y, z)."""
    device: Device
    warnings: tuple[str, ...] = ()

    @property
    def narrowed(self) -> bool:
        """Whether the method gave its own mask."""
        return self.susceptibility.mask is not None


def invert(method: Method, local: LocalField, margin: int, device: Device, progress: Progress = silent) -> Inverted:
    """Run a method on its working grid, on the CPU when the device's memory does not even hold a tile.

    Parameters
    ----------
    method
        Called with the field on the working grid.
    local
        Local field [ppm] on any grid.
    margin
        Voxels kept around the mask's box.
    device
        Where to run.
    progress
        Called with the fraction done and the stage.

    Raises
    ------
    OutOfMemory
        When the CPU's memory does not hold the volume.
    FieldInvalid
        When the map holds NaN or infinity.
    """
    working_grid, warnings = WorkingGrid.around(local, margin), []
    while True:
        try:
            maps = method(working_grid.to_working_grid(local.to(device.kind)), progress)
            break
        except (OutOfMemory, RuntimeError, MemoryError) as error:  # the CPU's allocator raises RuntimeError
            if not isinstance(error, OutOfMemory) and not is_out_of_memory(error):
                raise
            if device.kind == "cpu":
                raise OutOfMemory(
                    "The memory does not hold the volume; give a smaller --tile, close other programs, or use a method "
                    "that needs less, such as tikhonov.",
                    option="tile",
                ) from error
            warnings.append(f"The memory of '{device.name}' did not hold the volume; the CPU was used.")
            device = choose_device("cpu")
    if maps.notes.get("tile") is not None:
        warnings.append(f"The volume was inverted in blended tiles of {maps.notes['tile']} voxels.")

    def restored(values: Tensor | None) -> Tensor | None:
        return None if values is None else working_grid.to_original_grid(values.cpu())

    values = torch.where(local.mask, working_grid.to_original_grid(maps.values.cpu()), 0.0)
    warnings += plausibility.check_map(values, local.mask)
    uncertainty, unexplained, mask = map(restored, (maps.uncertainty, maps.unexplained, maps.mask))
    if mask is not None and not bool((mask == local.mask).all()):
        warnings.append(f"The map covers {int(mask.sum())} of the mask's {int(local.mask.sum())} voxels.")
    maps = replace(
        maps,
        values=values,
        uncertainty=None if uncertainty is None else uncertainty * local.mask,
        unexplained=None if unexplained is None else unexplained * local.mask,
        mask=mask,
    )
    return Inverted(maps, local.mask if mask is None else mask, device, tuple(warnings))


def apply_reference(chi: Tensor, mask: Tensor, region: Tensor | None) -> tuple[Tensor, float]:
    """χ [ppm] of zero mean in `region`, zero outside the mask, and the mean that was subtracted; all (x, y, z)."""
    if region is None:
        return chi, 0.0
    zero = float(chi[region].double().mean())
    return torch.where(mask, chi - zero, 0.0), zero
