"""`reconstruct`: a local field and a mask in, a susceptibility map and its provenance out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, Stopwatch, part_of, silent
from IR2QSMLib.inversion.registry import Method, make_method
from IR2QSMLib.physics.cone import cone_index
from IR2QSMLib.physics.working_grid import MARGIN
from IR2QSMLib.pipeline import plausibility
from IR2QSMLib.pipeline.inputs import LoadedField, load_inputs, reference_region
from IR2QSMLib.pipeline.invert import invert
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
        The fields of `FieldMetadata`: `unit` ("ppm", "ppb", "hz", "rad", "rad/s", "t"; by default what the file's
        JSON says, else ppm), `b0` [T], `echo_time` [s], `b0_direction` in voxel axes, `mask_labels`, `non_finite`, and
        the volumes `magnitude`, `noise` (in `unit`) and `csf` for methods that use them.

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
    chosen = make_method(method) if isinstance(method, str) else method
    if margin < 0:
        raise ParameterInvalid(f"The margin is {margin} voxels; expected 0 or more.", option="margin")
    loaded = load_inputs(field, mask, grid, FieldMetadata(**metadata))
    region = reference_region(reference, loaded)
    chosen_device = choose_device(device)

    watch.stage("inversion")
    inversion = invert(chosen, loaded.local, margin, chosen_device, part_of(progress, 0.05, 0.95))
    maps, valid = inversion.maps, inversion.mask
    if region is not None and maps.mask is not None:
        region = reference_region(reference, replace(loaded, local=replace(loaded.local, mask=valid)))

    watch.stage("reference")
    progress(0.96, "reference")
    chi, subtracted = apply_reference(maps.values, valid, region)
    # About the mean in the mask, so that the choice of the reference does not count.
    index = cone_index(chi - chi[valid].mean(), valid, loaded.local.grid)

    watch.stage(None)
    record = provenance(
        loaded,
        inversion,
        reference=reference,
        subtracted=subtracted,
        cone_index=index,
        seconds=watch.seconds,
        warnings=[*loaded.warnings, *inversion.warnings, *plausibility.check_streaks(index)],
    )
    progress(1.0, "done")
    return Result(chi, valid, maps.uncertainty, loaded.local.grid, record, maps.unexplained)


def apply_reference(chi: Tensor, mask: Tensor, region: Tensor | None) -> tuple[Tensor, float]:
    """Subtract the mean in a region, as the field does not know the zero of χ.

    Parameters
    ----------
    chi
        χ [ppm]: (x, y, z).
    mask
        Where χ is valid, bool: (x, y, z).
    region
        Where χ is to have zero mean, bool (x, y, z); None changes nothing.

    Returns
    -------
    chi
        χ [ppm], zero outside the mask: (x, y, z).
    subtracted
        The mean [ppm].
    """
    if region is None:
        return chi, 0.0
    mean = float(chi[region].double().mean())
    return torch.where(mask, chi - mean, 0.0), mean
