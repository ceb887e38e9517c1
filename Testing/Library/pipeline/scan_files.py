"""A simulated scan on disk, for the tests from phase to map, and how maps are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.pipeline.result import Result

Run = Callable[..., Any]
Reconstruct = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[3]
TIMES = (0.004, 0.010, 0.016)
SHAPE, VOXEL = (36, 42, 36), (4.4, 4.4, 4.4)


@dataclass(frozen=True)
class ScanFiles:
    """A simulated head's scan in several forms, its truth, and its own local field."""

    chi: Tensor
    local: LocalField
    total: Tensor
    bids: Path
    dicom: Path
    mask: Path
    phases: list[Path]
    magnitudes: list[Path]
    total_field: Path
    noise: Path


def agreement(a: Tensor, b: Tensor) -> float:
    """Correlation where both are valid."""
    inside = (a != 0) & (b != 0)
    return float(torch.corrcoef(torch.stack([a[inside], b[inside]]))[0, 1])


def differ(a: Tensor, b: Tensor) -> bool:
    return float((a - b).abs().max()) > 1e-4
