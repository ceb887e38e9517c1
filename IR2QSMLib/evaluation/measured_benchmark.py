"""Methods at their defaults on measured local fields that come with a multi-orientation reference map."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.evaluation.benchmark import heading
from IR2QSMLib.evaluation.benchmark_methods import BenchmarkMethod, benchmark_methods, select_families
from IR2QSMLib.evaluation.metrics import nrmse, xsim
from IR2QSMLib.evaluation.regional_metrics import strong_slope
from IR2QSMLib.evaluation.scores import cone_index_text
from IR2QSMLib.inversion.learned.load import bundled, load
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.io.images import read_volume, read_volume_on
from IR2QSMLib.io.masks import read_mask
from IR2QSMLib.io.sidecars import number
from IR2QSMLib.physics.cone import cone_agreement, cone_index
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.report.table import markdown_table

FIELD, MASK, PARAMETERS, REFERENCE = "localfield.nii.gz", "mask.nii.gz", "params.json", "chimap_truth.nii.gz"
SCORE_MASK, MAGNITUDE = "mask_score.nii.gz", "magnitude.nii.gz"
COLUMNS = ("method", "XSIM", "NRMSE %", "slope", "coherence", "gain", "gain/coh²", "cone index", "s")


@dataclass(frozen=True)
class MeasuredCase:
    """A measured local field and its reference map, laid out as in QSM-CI's contract for inversions."""

    folder: Path
    grid: Grid
    mask: Tensor
    """Where the field is known, bool: (x, y, z)."""
    score_mask: Tensor
    """Where maps are scored, bool: (x, y, z)."""
    reference: Tensor
    """χ [ppm]: (x, y, z)."""
    b0_direction: tuple[float, float, float]
    """In voxel axes."""
    medi_inputs: dict[str, Any]
    """Arguments of `reconstruct` that MEDI needs; empty where the folder has no magnitude, B0 or echo times."""

    @classmethod
    def read(cls, folder: Path) -> MeasuredCase:
        """Read the files of a folder, all on the field's grid.

        Raises
        ------
        FileUnreadable
            When a file is missing, damaged, or params.json holds no direction of B0.
        GridInvalid, GridMismatch
            When a file's grid is not that of the field.
        MaskInvalid, FieldInvalid
            When a mask is empty, or the reference is not finite in it.
        """
        for name in (FIELD, MASK, PARAMETERS, REFERENCE):
            if not (folder / name).is_file():
                raise FileUnreadable(
                    f"The folder '{folder.name}' holds no {name}; expected {FIELD}, {MASK}, {PARAMETERS} and "
                    f"{REFERENCE}, as QSM-CI's contract has them."
                )
        parameters = _parameters(folder / PARAMETERS)
        _, grid = read_volume(folder / FIELD)
        grid = grid.with_b0(parameters["B0_dir"])
        mask = read_mask(folder / MASK, grid, FIELD)
        score_mask = mask
        if (folder / SCORE_MASK).is_file():
            score_mask = read_mask(folder / SCORE_MASK, grid, FIELD) & mask
            if not bool(score_mask.any()):
                raise MaskInvalid(f"{SCORE_MASK} of '{folder.name}' lies nowhere in {MASK}; expected a part of it.")
        reference = read_volume_on(folder / REFERENCE, grid, FIELD)
        if not bool(reference[mask].isfinite().all()):
            raise FieldInvalid(f"{REFERENCE} of '{folder.name}' is not finite in {MASK}; leave such voxels out of it.")
        medi_inputs: dict[str, Any] = {}
        b0, spacing = number(parameters.get("B0")), _echo_spacing(parameters.get("TE"))
        if (folder / MAGNITUDE).is_file() and b0 is not None and b0 > 0.0 and spacing is not None:
            medi_inputs = {"magnitude": folder / MAGNITUDE, "b0": b0, "echo_time": spacing}
        x, y, z = grid.b0_direction
        return cls(folder, grid, mask, score_mask, torch.where(mask, reference, 0.0), (x, y, z), medi_inputs)

    def scores(self, method: BenchmarkMethod, device: str) -> list[str]:
        """Row of the table: scores of a method's map, which is inverted as by `ir2qsm reconstruct`."""
        start = time.perf_counter()
        result = reconstruct(
            self.folder / FIELD,
            self.folder / MASK,
            b0_direction=self.b0_direction,
            method=method.candidates[0],
            device=device,
            **self.medi_inputs,
        )
        seconds = time.perf_counter() - start
        chi, agreement = result.chi, cone_agreement(result.chi, self.reference, self.mask, self.grid)
        return [
            method.name,
            f"{xsim(chi, self.reference, self.score_mask):.3f}",
            f"{nrmse(chi, self.reference, self.score_mask):.1f}",
            f"{strong_slope(chi, self.reference, self.score_mask):.2f}",
            f"{agreement.coherence:.2f}",
            f"{agreement.gain:.2f}",
            f"{agreement.gain / (agreement.coherence**2 or math.nan):.2f}",
            cone_index_text(cone_index(chi, self.mask, self.grid)),
            f"{seconds:.1f}",
        ]


def benchmark_measured(
    folders: Sequence[Path],
    *,
    methods: Sequence[str] | None = None,
    weights: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
    emit: Callable[[str], None] = print,
) -> None:
    """Score every method at its default, and TV and Tikhonov at automatic regularisation; emit one table a folder.

    XSIM (uniform window), NRMSE (demeaned) and the slope of strong sources are taken in mask_score where there is one,
    else in the mask; coherence, gain and cone index in the mask. All folders are read before anything is inverted.

    Parameters
    ----------
    folders
        Each with localfield.nii.gz [ppm], mask.nii.gz, params.json and chimap_truth.nii.gz [ppm], and where there are
        any mask_score.nii.gz and magnitude.nii.gz.
    methods
        Names as in the table, before the comma; None is all.
    weights
        Of IR²QSM, in place of the bundled ones.
    device
        "auto", "cpu", "cuda" or "mps".
    progress
        Called with the fraction done, the folder and the method.
    emit
        Called with every piece of text.

    Raises
    ------
    ParameterInvalid
        For an unknown method.
    FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, FieldInvalid
        As `MeasuredCase.read`.
    """
    cases = [MeasuredCase.read(folder) for folder in folders]
    chosen = select_families([m for m in benchmark_methods(weights) if _is_default(m)], methods)
    used = choose_device(device)
    emit(heading(used, load(weights or bundled())))
    for i, case in enumerate(cases):
        left_out = [m for m in chosen if isinstance(m.candidates[0], Medi) and not case.medi_inputs]
        index = cone_index_text(cone_index(case.reference, case.mask, case.grid))
        rows = [["reference", *["–"] * 6, index, "–"]]
        for j, method in enumerate(m for m in chosen if m not in left_out):
            progress((i + j / len(chosen)) / len(cases), f"{case.folder.name}: {method.name}")
            rows.append(case.scores(method, used.kind))
        emit(f"\n### {case.folder.name}\n\n{markdown_table(rows, list(COLUMNS))}")
        if left_out:
            names = ", ".join(m.name for m in left_out)
            emit(f"\nLeft out, as there is no {MAGNITUDE} with B0 and TE in {PARAMETERS}: {names}.")


def _is_default(method: BenchmarkMethod) -> bool:
    variant = method.name.partition(", ")[2]
    automatic = variant == "automatic" and method.family in ("tikhonov", "tv")
    return len(method.candidates) == 1 and (not variant or automatic)


def _parameters(path: Path) -> dict[str, Any]:
    try:
        parameters = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise FileUnreadable(f"{path.name} of '{path.parent.name}' is not JSON that can be read; mend it.") from error
    direction = parameters.get("B0_dir") if isinstance(parameters, dict) else None
    numbers = [number(x) for x in direction] if isinstance(direction, list) else []
    if len(numbers) != 3 or not all(x is not None and math.isfinite(x) for x in numbers):
        raise FileUnreadable(
            f"{path.name} of '{path.parent.name}' has no B0_dir; expected the direction of B0 as three numbers."
        )
    return dict(parameters)


def _echo_spacing(times: Any) -> float | None:
    """The spacing [s] of the first two of a JSON's echo times, or the one there is; None where it is not positive."""
    first_two = [number(te) for te in times[:2]] if isinstance(times, list) else []
    known = [te for te in first_two if te is not None]
    if not known or len(known) < len(first_two):
        return None
    spacing = known[-1] - known[0] if len(known) > 1 else known[0]
    return spacing if 0.0 < spacing < math.inf else None
