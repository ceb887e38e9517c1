"""The held-out heads that a run is scored on."""

from __future__ import annotations

import math

import pytest
import torch

from IR2QSMLib.simulation.acquisition import acquire
from IR2QSMLib.simulation.cases import CASES
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from IR2QSMLib.training import validation
from IR2QSMLib.training.validation import validation_heads

CPU = torch.device("cpu")


def test_validation_holds_brains_shapes_and_several_noise_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "draw_brain", lambda rng, grid, *, lesions: ("brain", grid, lesions))
    monkeypatch.setattr(validation, "draw_shapes", lambda rng, grid: ("shapes", grid, None))
    monkeypatch.setattr(validation, "draw_phantom", lambda rng, grid: ("phantom", grid, None))
    cases = validation_heads(CPU)
    names = [head[0] for head, _, _ in cases]  # type: ignore[index]
    assert names == ["brain", "shapes", "brain", "brain", "phantom", "brain"]
    assert [d.power_snr for _, d, _ in cases] == [40.0, 40.0, 10.0, math.inf, 40.0, 6.0]


def test_the_validation_seeds_are_held_out_and_not_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def noted(seed: int, device: torch.device) -> RandomSource:
        seeds.append(seed)
        return RandomSource(seed, device)

    monkeypatch.setattr(validation, "RandomSource", noted)
    for name in ("draw_brain", "draw_shapes", "draw_phantom"):
        monkeypatch.setattr(validation, name, lambda *_, **__: None)
    validation_heads(CPU)
    assert len(seeds) == 6 and max(seeds) < FIRST_TRAINING_SEED
    # A held-out head is another construction, in which the same seed draws another head.
    assert set(seeds).isdisjoint(case.seed for case in CASES.values() if not case.held_out)


def test_the_last_validation_case_is_oblique_with_thick_slices_and_structured_noise() -> None:
    head, discrepancy, rng = validation_heads(CPU)[-1]
    assert head.grid.voxel_size[2] == 2.5 * head.grid.voxel_size[0]
    assert math.degrees(math.acos(head.grid.b0_direction[2])) == pytest.approx(25.0)
    assert discrepancy.structured == 0.4 and discrepancy.edge == 2.0 and discrepancy.near_sources == 1.0
    assert float(head.mask.float().mean()) > 0.1
    assert bool(acquire(head, discrepancy, rng).values[head.mask].isfinite().all())
