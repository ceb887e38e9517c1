"""`invert`: a method run on a local field, with a fall-back to the CPU; its maps lie on the field's own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.devices import Device, run_with_cpu_fallback
from IR2QSMLib.core.errors import OutOfMemory
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.pipeline import plausibility


@dataclass(frozen=True)
class Inversion:
    """A method's maps on the field's own grid, before the reference, and how they were made."""

    method: Method
    maps: Susceptibility
    """χ, and what else the method gives [ppm]; with a mask if the method gave its own."""
    mask: Tensor
    """Where χ is valid, bool: (x, y, z)."""
    margin: int
    """Voxels kept around the mask's box."""
    device: Device
    """Where the method ran."""
    warnings: tuple[str, ...] = ()
    """One sentence each."""


def invert(method: Method, local: LocalField, margin: int, device: Device, progress: Progress = silent) -> Inversion:
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

    Returns
    -------
    Inversion
        On the grid of `local`, zero outside its mask.

    Raises
    ------
    OutOfMemory
        When the CPU's memory does not hold the volume.
    FieldInvalid
        When the map holds NaN or infinity.
    """
    working_grid, warnings = WorkingGrid.around(local, margin), []
    try:
        maps, used = run_with_cpu_fallback(
            device, lambda kind: method(working_grid.to_working_grid(local.to(kind)), progress)
        )
    except OutOfMemory as error:
        raise OutOfMemory(
            "The memory does not hold the volume; give a smaller --tile, close other programs, or use a method that "
            "needs less, such as tikhonov.",
            option="tile",
        ) from error
    if used is not device:
        warnings.append(f"The memory of '{device.name}' did not hold the volume; the CPU was used.")
    if maps.notes.get("tile") is not None:
        warnings.append(f"The volume was inverted in blended tiles of {maps.notes['tile']} voxels.")

    def to_original_grid(values: Tensor | None) -> Tensor | None:
        return None if values is None else working_grid.to_original_grid(values.cpu())

    values = torch.where(local.mask, working_grid.to_original_grid(maps.values.cpu()), 0.0)
    warnings += plausibility.check_map(values, local.mask)
    uncertainty, unexplained, mask = map(to_original_grid, (maps.uncertainty, maps.unexplained, maps.mask))
    if mask is not None and not bool((mask == local.mask).all()):
        warnings.append(f"The map covers {int(mask.sum())} of the mask's {int(local.mask.sum())} voxels.")
    maps = replace(
        maps,
        values=values,
        uncertainty=None if uncertainty is None else uncertainty * local.mask,
        unexplained=None if unexplained is None else unexplained * local.mask,
        mask=mask,
    )
    return Inversion(method, maps, local.mask if mask is None else mask, margin, used, tuple(warnings))
