"""Small heads of random shapes in place of whole ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.acquisition import Discrepancy
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import heads, run, validation


@pytest.fixture
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training heads of 32³ voxels, of random shapes alone."""
    monkeypatch.setattr(heads, "SHAPES", ((32, 32, 32),))
    for name in ("draw_brain", "draw_folded_brain"):
        monkeypatch.setattr(heads, name, lambda rng, grid, **_: draw_shapes(rng, grid))


@pytest.fixture
def unchanged_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A training run leaves the process as it was."""
    monkeypatch.setattr(run, "keep_freed_memory", lambda: None)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def small_runs(small_heads: None, unchanged_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small training heads and one small validation head."""

    def validation_heads(device: torch.device) -> list[Any]:
        rng = RandomSource(900, device)
        return [(draw_shapes(rng, Grid((24, 32, 24), (1.5, 1.5, 1.5))), Discrepancy(40.0), rng)]

    monkeypatch.setattr(validation, "validation_heads", validation_heads)
