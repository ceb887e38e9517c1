"""From phase to local field and to χ on a head with air, sinuses and skull: errors, time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from skimage.restoration import unwrap_phase
from torch import Tensor

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import xsim
from IR2QSMLib.evaluation.timing import Cost, measure_cost
from IR2QSMLib.field.echoes import EchoFit
from IR2QSMLib.field.fieldmap import phase_to_local_field
from IR2QSMLib.field.harmonic import HarmonicCompletion
from IR2QSMLib.field.mask import MagnitudeMask
from IR2QSMLib.field.unwrapping import PathUnwrapping
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.pipeline.preprocess import BACKGROUNDS, PreprocessingOptions
from IR2QSMLib.report.table import markdown_table
from IR2QSMLib.simulation.head_in_air import ECHO_TIMES, HeadInAir, draw_head_in_air

Result = TypeVar("Result")
SHAPE, VOXEL = 160, 1.1
"""Voxels along each axis, and their size [mm], such that the head fits."""
DEFAULT_METHOD: Method = Learned()
MAX_PAIRS, MAX_UNWRAPPINGS, MAX_BYTES = 600, 5, 4e9
"""Budget from phase to local field: time of transforms there and back, of calls of `unwrap_phase`, and memory."""


def field_error(field: LocalField, truth: LocalField) -> float:
    """Relative error 100·‖f − f₀‖/‖f₀‖ of a field in its mask, both without their means.

    Parameters
    ----------
    field
        f [ppm].
    truth
        f₀ [ppm].

    Returns
    -------
    float
        [%]
    """
    a, b = field.values[field.mask], truth.values[field.mask]
    a, b = a - a.mean(), b - b.mean()
    return 100.0 * float((a - b).norm() / b.norm())


def map_xsim(field: LocalField, chi: Tensor, device: str, method: Method = DEFAULT_METHOD) -> float:
    """XSIM of a method's map of a field, both maps with zero mean in the field's mask.

    Parameters
    ----------
    field
        [ppm], with a magnitude for methods that need one.
    chi
        True χ [ppm]: (x, y, z).
    device
        On which the method runs.
    method
        IR²QSM by default.
    """
    working_grid, mask = WorkingGrid.around(field), field.mask
    result = method(working_grid.to_working_grid(field.to(device)), silent)
    estimated = working_grid.to_original_grid(result.values.cpu())
    estimated, truth = (torch.where(mask, x - x[mask].mean(), 0.0) for x in (estimated, chi))
    return xsim(estimated, truth, mask)


def phase_benchmark(
    *,
    shape: int = SHAPE,
    device: str = "auto",
    noise: tuple[float, ...] = (0.01,),
    method: Method = DEFAULT_METHOD,
    progress: Progress = silent,
    emit: Callable[[str], None] = print,
) -> None:
    """Emit a table of the error of each background removal, and one of the cost of each step.

    Parameters
    ----------
    shape
        Voxels along each axis.
    device
        "auto", "cpu", "cuda" or "mps".
    noise
        σ of real and imaginary part, a table for each; the signal of grey matter at TE = 0 is about 1.
    method
        Inverts the fields.
    progress
        Called with the fraction done and the stage.
    emit
        Called with every piece of text.
    """
    used = choose_device(device).kind
    progress(0.0, "drawing")
    head = draw_head_in_air(shape, VOXEL * SHAPE / shape)
    for sigma in noise:
        emit(f"\n### From {len(ECHO_TIMES)} wrapped echoes of {shape}³ voxels, noise {sigma:g}\n")
        emit(_removal_table(head, sigma, used, method, progress))
    progress(0.9, "timing")
    emit(f"\n### Time and memory of the steps, {shape}³ voxels × {len(ECHO_TIMES)} echoes on {used}\n")
    emit(cost_table(head, used))


def _removal_table(head: HeadInAir, sigma: float, device: str, method: Method, progress: Progress) -> str:
    """Errors of each background removal, of its field and of the map."""
    phase, rows = head.phase(sigma), []
    magnitude = phase.rss_magnitude()
    for name in BACKGROUNDS:
        xsim_of_truth = 0.0
        for n_steps in (0, HarmonicCompletion.n_steps):
            progress(0.1, f"{name}, {n_steps} steps")
            maps = phase_to_local_field(
                phase.to(device), background=PreprocessingOptions(background=name, completion_steps=n_steps).removal()
            )
            local = replace(maps.local.to("cpu"), magnitude=magnitude)
            truth = replace(head.true_local_field(local.mask), magnitude=magnitude)
            if n_steps == 0:  # with it the mask, and so the truth, are the same
                xsim_of_truth = map_xsim(truth, head.chi, device, method)
            xsim_of_local = map_xsim(local, head.chi, device, method)
            rows.append(
                [
                    name + (f", {n_steps} steps of harmonic completion" if n_steps else ""),
                    f"{100 * int(local.mask.sum()) / int(head.mask.sum()):.1f}",
                    f"{field_error(local, truth):.1f}",
                    f"{xsim_of_local:.3f}",
                    f"{xsim_of_truth:.3f}",
                    f"{xsim_of_local / xsim_of_truth:.2f}",
                ]
            )
    return markdown_table(
        rows, ["removal", "of the mask %", "field error %", "XSIM of χ", "of χ from the true field", "ratio"]
    )


def cost_table(head: HeadInAir, device: str) -> str:
    """Time and peak memory of each step from phase to local field, beside those of transforms and `unwrap_phase`.

    Parameters
    ----------
    head
        Whose phase is processed.
    device
        "cpu", "cuda" or "mps".
    """
    phase = head.phase(0.01).to(device)
    costs: list[tuple[str, Cost]] = []

    def timed(name: str, work: Callable[[], Result]) -> Result:
        with measure_cost(device) as cost:
            result = work()
        costs.append((name, cost))
        return result

    volume = phase.values[0]
    ifft(fft(volume), head.grid.shape)
    timed("ten FFT pairs of the grid", lambda: [ifft(fft(volume), head.grid.shape) for _ in range(10)])
    inside = np.ma.array(volume.cpu().numpy().astype(np.float64), mask=~head.mask.numpy())
    timed("one call of unwrap_phase", lambda: unwrap_phase(inside, rng=0))
    timed("mask from the magnitude", lambda: MagnitudeMask()(replace(phase, mask=None)))
    mask = head.mask.to(device)
    unwrapped = timed("unwrapping", lambda: PathUnwrapping()(phase, mask))
    combined = timed("echo combination", lambda: EchoFit()(phase, unwrapped, mask))
    for name in BACKGROUNDS:
        for n_steps in (0, HarmonicCompletion.n_steps):
            removal = PreprocessingOptions(background=name, completion_steps=n_steps).removal()
            label = name + (f", {n_steps} steps of harmonic completion" if n_steps else "")
            timed(label, lambda r=removal: r(combined.field))  # type: ignore[misc]
    timed(
        "phase to local field, default",
        lambda: phase_to_local_field(phase, background=PreprocessingOptions().removal()),
    )
    pair_seconds, unwrap_seconds = costs[0][1].seconds / 10.0, costs[1][1].seconds
    allowed_seconds = MAX_PAIRS * pair_seconds + MAX_UNWRAPPINGS * unwrap_seconds
    total = costs[-1][1]
    rows = [
        [name, f"{c.seconds:.2f}", f"{c.seconds / pair_seconds:.0f}", f"{c.peak_bytes / 1e6:.0f}"] for name, c in costs
    ]
    verdict = "within" if total.seconds <= allowed_seconds and total.peak_bytes <= MAX_BYTES else "beyond"
    return (
        markdown_table(rows, ["step", "s", "FFT pairs", "peak MB"])
        + f"\n\nPhase to local field: {total.seconds:.1f} s, {verdict} the {allowed_seconds:.1f} s of {MAX_PAIRS} FFT "
        f"pairs and {MAX_UNWRAPPINGS} such calls, and {MAX_BYTES / 1e9:g} GB."
    )
