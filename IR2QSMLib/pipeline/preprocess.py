"""The phase of a scanner, or a total field, to the local field that an inversion takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch

from IR2QSMLib.core.devices import choose_device, run_with_cpu_fallback
from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid, errors_naming
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import BackgroundRemoval, radii_on
from IR2QSMLib.field.checks import mask_edge_warnings, residual_background
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.field.fieldmap import Unwrapping, describe, phase_to_local_field
from IR2QSMLib.field.harmonic import HarmonicCompletion
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.field.pdf import ProjectionOntoDipoles
from IR2QSMLib.field.unwrapping import LaplacianUnwrapping, PathUnwrapping
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.io.acquisition import DIGEST_KEY, Acquisition
from IR2QSMLib.io.masks import read_mask
from IR2QSMLib.io.total_fields import read_total_field
from IR2QSMLib.pipeline import filtered_phase, plausibility
from IR2QSMLib.pipeline.inputs import drop_non_finite, volume_name, volume_on_grid
from IR2QSMLib.pipeline.inspection import require_plausible
from IR2QSMLib.pipeline.metadata import DEFAULT_METADATA, FieldMetadata
from IR2QSMLib.pipeline.preprocessed import PreprocessedField

Maps = TypeVar("Maps")

BACKGROUNDS: dict[str, BackgroundRemoval] = {
    "v-sharp": VSharp(follow_head=True),
    "pdf": ProjectionOntoDipoles(),
    "lbv": LaplacianBoundaryValue(),
}
UNWRAPPINGS: dict[str, Unwrapping] = {"path": PathUnwrapping(), "laplacian": LaplacianUnwrapping()}


@dataclass(frozen=True)
class PreprocessingOptions:
    """How phase or a total field becomes a local field, by the command line's names; raises ParameterInvalid."""

    conversion: PhaseConversion = PhaseConversion()
    """Stored numbers to radians, and the sign."""
    unwrapping: str = "path"
    """A key of `UNWRAPPINGS`."""
    background: str = "v-sharp"
    """A key of `BACKGROUNDS`."""
    completion_steps: int | None = None
    """Steps of `HarmonicCompletion`, which estimates what background removal takes of the local field; 0 for none. None
    is the default number, but 0 for a single echo, whose phase offset would be taken for sources inside."""
    accept_filtered: bool = False
    """Whether phase that was high-pass filtered is used nevertheless."""

    def __post_init__(self) -> None:
        names: dict[str, tuple[str, Mapping[str, Any]]] = {
            "unwrapping": (self.unwrapping, UNWRAPPINGS),
            "background": (self.background, BACKGROUNDS),
        }
        for option, (name, choices) in names.items():
            if name not in choices:
                raise ParameterInvalid(
                    f"There is no step '{name}'; expected one of {', '.join(choices)}.", option=option
                )
        if self.completion_steps is not None and self.completion_steps < 0:
            raise ParameterInvalid(
                f"There are {self.completion_steps} steps of harmonic completion; expected 0 or more.",
                option="completion_steps",
            )

    def removal(self, n_echoes: int | None = None) -> BackgroundRemoval:
        """The background removal, with harmonic completion around it; `n_echoes` of a total field is None."""
        removal = BACKGROUNDS[self.background]
        default_steps = 0 if n_echoes == 1 else HarmonicCompletion.n_steps
        n_steps = default_steps if self.completion_steps is None else self.completion_steps
        return HarmonicCompletion(removal, n_steps) if n_steps else removal


def preprocess_phase(
    acquisition: Acquisition,
    mask: Path | None = None,
    *,
    mask_labels: Sequence[int] | None = None,
    mask_threshold: float | None = None,
    steps: PreprocessingOptions = PreprocessingOptions(),
    b0_direction: Sequence[float] | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> PreprocessedField:
    """Phase to local field [ppm]: conversion, unwrapping, fit over the echoes, background removal.

    Parameters
    ----------
    acquisition
        Echoes of phase and magnitude, their times and B0.
    mask
        Image file; without one a mask is made from the magnitude.
    mask_labels
        Labels of a mask that is not binary which belong to it.
    mask_threshold
        The lowest value that belongs to a mask of probabilities.
    steps
        Sign, unwrapping and background removal.
    b0_direction
        In voxel axes; None is the patient's z axis.
    device
        "auto", "cpu", "cuda" or "mps".
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    PreprocessedField
        The local field [ppm] with everything that was computed before it.

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, ParameterInvalid
        What came, what was expected and what to do.
    """
    progress(0.0, "reading")
    if b0_direction is not None:
        acquisition = replace(acquisition, grid=acquisition.grid.with_b0(b0_direction))
    name = acquisition.echoes[0].name
    with errors_naming("mask"):
        mask_values = None if mask is None else read_mask(mask, acquisition.grid, name, mask_labels, mask_threshold)
    if not steps.accept_filtered:
        filtered_phase.refuse_marked_as_filtered(acquisition)
    phase, conversion_notes, warnings = steps.conversion(acquisition, mask_values)
    removal = steps.removal(phase.n_echoes)
    maps, memory_warnings = _on_device_or_cpu(
        device,
        lambda kind: phase_to_local_field(
            phase.to(kind), unwrapping=UNWRAPPINGS[steps.unwrapping], background=removal, progress=progress
        ),
    )
    warnings = [*warnings, *memory_warnings]
    times = acquisition.echo_times
    spacing = times[0] if len(times) == 1 else sum(b - a for a, b in pairwise(times)) / (len(times) - 1)
    local = maps.local.to("cpu")
    require_plausible(local, "phase", None)
    judge = filtered_phase.background_share if steps.accept_filtered else filtered_phase.refuse_filtered
    share = judge(maps.total, maps.local.mask)
    rss_magnitude = phase.rss_magnitude()
    noise = None if maps.total.noise is None else maps.total.noise.cpu()
    local = replace(local, magnitude=rss_magnitude, noise=noise, echo_spacing=spacing, b0=acquisition.b0)
    intermediates = {
        "totalfield": maps.total.values,
        "residual": maps.residual,
        "quality": maps.quality,
        "inputmask": maps.total.mask,
        "magnitude": rss_magnitude,
    }
    if noise is not None:
        intermediates["noise"] = noise
    warnings += [*maps.warnings, *filtered_phase.warn_of_little_background(maps.total, share)]
    if mask is None:  # it may hold fat and skin, of which the sign cannot be judged
        warnings.append("The mask was made from the magnitude; a brain mask of your own is better.")
    else:
        warnings += plausibility.check_sign(local, "phase")
    warnings += [*plausibility.check_mask_loss(maps.total.mask, local.mask, steps.background)]
    notes = {
        "input": "phase",
        "images": acquisition.table(),
        "echo_times_s": list(times),
        "b0_t": acquisition.b0,
        "sources": acquisition.sources,
        "mask_image": None if mask is None else mask.name,
        "background_share": share,
        "filtered_phase_accepted": steps.accept_filtered,
        **_digest_of(acquisition),
        **conversion_notes,
        **maps.notes,
    }
    intermediates = {key: volume.cpu() for key, volume in intermediates.items()}
    return PreprocessedField(
        local, intermediates, name, notes, warnings, all(e.has_orientation for e in acquisition.echoes)
    )


def preprocess_total_field(
    total: Path,
    mask: Path,
    *,
    series: Sequence[int | str] | None = None,
    metadata: FieldMetadata = DEFAULT_METADATA,
    steps: PreprocessingOptions = PreprocessingOptions(),
    device: str = "auto",
    progress: Progress = silent,
) -> PreprocessedField:
    """A total field to the local field [ppm] by background removal.

    Voxels of NaN or infinity leave the mask. PDF needs the field's standard error, `metadata.noise`.

    Parameters
    ----------
    total, mask
        Image files on one grid; the field also as PAR/REC or as a folder of DICOM.
    series
        The field meant, where a folder has several.
    metadata
        Unit, B0 and its direction, echo time; noise; magnitude, which goes on to the methods that use it.
    steps
        Sign and background removal.
    device
        "auto", "cpu", "cuda" or "mps".
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    PreprocessedField
        The local field [ppm] with everything that was computed before it.

    Raises
    ------
    MaskInvalid
        When no voxel is left.
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, ParameterInvalid
        What came, what was expected and what to do.
    """
    progress(0.0, "reading")
    with errors_naming("field"):
        image = read_total_field(total, series)
    values, grid, name = image.values, image.grid, image.name
    metadata, sources, warnings = metadata.with_sidecar(name, image.header)
    unit = metadata.unit or "ppm"
    scale = ppm_per_unit(unit, metadata.b0, metadata.echo_time) * (-1.0 if steps.conversion.flip_sign else 1.0)
    with errors_naming("mask"):
        inside = read_mask(mask, grid, name, metadata.mask_labels, metadata.mask_threshold)
    if metadata.b0_direction is not None:
        grid = grid.with_b0(metadata.b0_direction)
    finite, non_finite_warnings = drop_non_finite(LocalField(values, inside, grid), "mask", name)
    values, inside = finite.values * scale, finite.mask
    sigma = None
    if metadata.noise is not None:
        with errors_naming("noise"):
            sigma = volume_on_grid(metadata.noise, grid, name)
        sigma = torch.where(inside, sigma.abs() * abs(scale), 0.0)
        if not bool(torch.isfinite(sigma).all()):
            raise FieldInvalid(
                f"The noise {volume_name(metadata.noise)} holds NaN or infinity in the mask; expected finite numbers.",
                option="noise",
            )
    with errors_naming("magnitude"):
        magnitude = None if metadata.magnitude is None else volume_on_grid(metadata.magnitude, grid, name)

    centred = TotalField(torch.where(inside, values - values[inside].median(), 0.0), inside, grid, sigma)
    removal = steps.removal()
    on_device, memory_warnings = _on_device_or_cpu(device, lambda kind: removal(centred.to(kind), progress))
    local = on_device.to("cpu")
    warnings = [*warnings, *memory_warnings]
    require_plausible(local, "total field", unit)
    local = replace(local, noise=sigma, magnitude=magnitude, echo_spacing=metadata.echo_time, b0=metadata.b0)

    warnings += [*non_finite_warnings, *(plausibility.check_orientation(total, grid) if total.is_file() else [])]
    warnings += mask_edge_warnings(inside)
    warnings += [
        *plausibility.check_sign(local, "field"),
        *plausibility.check_mask_loss(inside, local.mask, steps.background),
    ]
    notes = {
        "input": "total field",
        "image": name,
        "mask_image": mask.name,
        "unit": unit,
        "b0_t": metadata.b0,
        "echo_time_s": metadata.echo_time,
        "stated_by": sources,
        "turned_by_user": steps.conversion.flip_sign,
        "background": describe(removal),
        "radii_mm": radii_on(removal, inside, grid),
        "residual_background": residual_background(local),
        "n_voxels": {"mask": int(inside.sum()), "effective_mask": int(local.mask.sum())},
    }
    intermediates = {"totalfield": values, "inputmask": inside}
    intermediates |= {k: x for k, x in (("noise", sigma), ("magnitude", magnitude)) if x is not None}
    return PreprocessedField(local, intermediates, name, notes, warnings, image.has_orientation)


def _digest_of(acquisition: Acquisition) -> dict[str, str]:
    """The digest by which `export` knows the scan of DICOM that a map comes from; empty for other images."""
    digest = acquisition.echoes[0].digest
    return {} if digest is None else {DIGEST_KEY: digest()}


def _on_device_or_cpu(device: str, work: Callable[[str], Maps]) -> tuple[Maps, list[str]]:
    """What the work on a device returns, and a warning where its memory ran out and the CPU did it."""
    chosen = choose_device(device)
    maps, used = run_with_cpu_fallback(chosen, work)
    if used is chosen:
        return maps, []
    return maps, [f"The memory of '{chosen.name}' did not hold the volume; the CPU removed the background."]
