"""Runs comparisons on a case's folder and reads their tables back."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.progress import silent
from IR2QSMLib.evaluation.compare import compare
from IR2QSMLib.evaluation.comparison_options import ComparisonOptions
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.pipeline.metadata import FieldMetadata

Table = dict[str, dict[str, str]]


def comparison_table(
    case_folder: Path, folder: Path, methods: Any = ("tkd", "tikhonov"), maps: Any = None, **options: Any
) -> Table:
    """Compare, and read the table back, by map."""
    names = {f.name for f in fields(ComparisonOptions)}
    chosen = {k: options.pop(k) for k in list(options) if k in names}
    progress = options.pop("progress", silent)
    field, mask = (
        options.pop(k, case_folder / f"{name}.nii.gz") for k, name in (("field", "localfield"), ("mask", "mask"))
    )
    folder.mkdir(exist_ok=True)
    with Outputs() as outputs:
        comparison = ComparisonOptions(methods, maps or {}, device="cpu", **chosen)
        compare(outputs, folder, field, mask, FieldMetadata(**options), comparison, progress)
    return read_table(folder)


def read_table(folder: Path) -> Table:
    """Rows of a comparison's table, by map."""
    with (folder / "comparison.tsv").open(encoding="utf-8") as file:
        return {row["map"]: row for row in csv.DictReader(file, delimiter="\t")}


def write_changed(
    write_volume: Any, path: Path, case_folder: Path, change: Callable[[Tensor], Tensor], name: str = "chi_truth"
) -> Path:
    """Write a changed copy of one of the case\'s volumes."""
    values, grid = read_volume(case_folder / f"{name}.nii.gz")
    return Path(write_volume(path, change(values), grid))
