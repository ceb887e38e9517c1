"""Training on whole brains, on a small grid: the fields of a round, the loss, validation and a run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput
from IR2QSMLib.networks.blocks import Estimate
from IR2QSMLib.networks.whole_brain import WholeBrainConfig, WholeBrainUnet
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import whole_brain_task
from IR2QSMLib.training.recipe import Recipe
from IR2QSMLib.training.sampling import Sampling
from IR2QSMLib.training.whole_brain_task import OWN_ERROR_WEIGHT, TrainingField, WholeBrainTask, draw_fields
from Testing.Library.training.small_runs import PacedRun, checkpoint_of, log_of, require_same

CPU = torch.device("cpu")
NETWORK_INPUT = NetworkInput(CHANNELS)
SMALL = Grid((40, 48, 40), (4.0, 4.0, 4.0))
CONFIG = WholeBrainConfig(0.125, n_blocks=1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, unchanged_process: None) -> None:
    """Coarser voxels, random shapes in place of brains, and few fields a round."""
    monkeypatch.setattr(whole_brain_task, "GRID", SMALL)
    monkeypatch.setattr(whole_brain_task, "FIELDS_PER_ROUND", 6)
    monkeypatch.setattr(whole_brain_task, "VALIDATION_SEEDS", (980,))
    monkeypatch.setattr(whole_brain_task, "draw_head", draw_shapes)
    monkeypatch.setattr(whole_brain_task, "_draw_held_out_head", lambda rng: draw_shapes(rng, SMALL))


def new_network(seed: int = 0) -> WholeBrainUnet:
    network = WholeBrainUnet(CONFIG)
    network.initialise(torch.Generator().manual_seed(seed))
    return network


def a_round(number: int = 0, rank: int = 0, n_ranks: int = 1, seed: int = 0) -> list[TrainingField]:
    return list(WholeBrainTask(NETWORK_INPUT, seed).round(number, CPU, rank, n_ranks))


def same(a: list[TrainingField], b: list[TrainingField]) -> bool:
    return all(
        torch.equal(x.field.values, y.field.values) and torch.equal(x.chi, y.chi) for x, y in zip(a, b, strict=True)
    )


# The fields of a round.


def test_the_same_round_of_the_same_rank_is_the_same_data() -> None:
    first = a_round()
    assert len(first) == 6 and same(first, a_round())
    for other in (a_round(1), a_round(0, 1, 2), a_round(seed=1)):
        assert not same(first, other)


def test_a_resumed_run_has_the_rounds_of_the_unbroken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_brain_task, "POOL_SIZE", 5)  # of the last two heads and half of one before
    unbroken = WholeBrainTask(NETWORK_INPUT, 0)
    rounds = [list(unbroken.round(number, CPU, 1, 2)) for number in range(5)]
    for number in (1, 2, 4):
        assert same(rounds[number], a_round(number, 1, 2))
    ahead = WholeBrainTask(NETWORK_INPUT, 0)
    ahead.draw_ahead(4, CPU, 1, 2)
    assert same(rounds[4], list(ahead.round(4, CPU, 1, 2)))


def test_a_round_that_was_broken_off_is_repeated_alike() -> None:
    task = WholeBrainTask(NETWORK_INPUT, 0)
    next(task.round(0, CPU))
    assert same(list(task.round(0, CPU)), a_round(0))


def test_a_field_and_its_truth_lie_in_one_mask_and_belong_together() -> None:
    for sample in a_round():
        mask = sample.field.mask
        assert sample.field.grid == SMALL and SMALL.b0_direction == pytest.approx((0.0, 0.0, 1.0))
        assert not sample.field.values[~mask].any() and not sample.chi[~mask].any()
        assert abs(float(sample.chi[mask].mean())) < 1e-6
        explained = simulate_field(sample.chi, SMALL)
        pair = torch.stack([explained[mask], sample.field.values[mask]])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.2  # also after flips, slabs and background removal


def test_a_mirrored_head_has_the_mirrored_field() -> None:
    sample = draw_fields(RandomSource(FIRST_TRAINING_SEED), 1)[0]
    assert sample.flipped([]) is sample
    there = sample.flipped([0, 2])
    assert torch.equal(there.chi, sample.chi.flip([0, 2]))
    assert torch.equal(there.field.mask, sample.field.mask.flip([0, 2]))
    torch.testing.assert_close(
        simulate_field(there.chi, SMALL), simulate_field(sample.chi, SMALL).flip([0, 2]), atol=1e-6, rtol=1e-3
    )


def test_no_seed_is_a_held_out_one_and_none_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    one = draw_fields(RandomSource(FIRST_TRAINING_SEED), 1) * 2

    def seeded(seed: int, device: torch.device = CPU) -> RandomSource:
        drawn.append(seed)
        return RandomSource(seed, device)

    monkeypatch.setattr(whole_brain_task, "draw_fields", lambda rng: one)
    monkeypatch.setattr(whole_brain_task, "RandomSource", seeded)
    for rank in range(2):
        task = WholeBrainTask(NETWORK_INPUT, 0)
        for number in range(3):
            list(task.round(number, CPU, rank, 2))
    assert min(drawn) >= FIRST_TRAINING_SEED and len(drawn) == len(set(drawn)) == 2 * 3 * 2


def test_the_pool_has_its_size_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_brain_task, "POOL_SIZE", 3)
    task = WholeBrainTask(NETWORK_INPUT, 0)
    for number in range(3):
        list(task.round(number, CPU))
    assert len(task.pool) == 3


# The loss.


def test_a_new_network_s_loss_is_that_of_the_first_map() -> None:
    """Which its step leaves at one; `OWN_ERROR_WEIGHT` of the error without the step comes on top."""
    task = WholeBrainTask(NETWORK_INPUT, 0)
    for sample in a_round():
        loss = float(task.loss(new_network(), sample).detach())
        assert 1.0 + 0.5 * OWN_ERROR_WEIGHT < loss < 1.0 + 3.0 * OWN_ERROR_WEIGHT


def test_the_truth_costs_next_to_nothing_and_the_size_of_a_field_does_not_count() -> None:
    class Constant(torch.nn.Module):
        def __init__(self, chi: torch.Tensor) -> None:
            super().__init__()
            self.chi = chi

        def forward(self, inputs: torch.Tensor) -> Estimate:
            return Estimate(self.chi[None, None], [], None)

    task, sample = WholeBrainTask(NETWORK_INPUT, 0), a_round()[0]
    assert float(task.loss(Constant(sample.chi), sample)) < 0.5
    assert float(task.loss(Constant(sample.chi), sample)) < float(task.loss(Constant(0.5 * sample.chi), sample))
    beyond = torch.where(sample.field.mask, sample.chi, 1.0)
    assert float(task.loss(Constant(beyond), sample)) == float(task.loss(Constant(sample.chi), sample))


def test_a_few_steps_reduce_the_loss() -> None:
    task, network, sample = WholeBrainTask(NETWORK_INPUT, 0), new_network(), a_round()[0]
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = task.loss(network, sample)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.98 * losses[0]


# Validation and a run.


def test_validation_has_fields_with_and_without_a_discrepancy_and_scores_them() -> None:
    task = WholeBrainTask(NETWORK_INPUT, 0)
    cases = task.validation_cases(CPU)
    shares = [DataTerm.of(s.field).spectrum.discrepancy_share for s in cases]
    assert len(cases) == 3 and shares[2] < shares[1]
    assert int(cases[0].field.mask.sum()) < int(cases[1].field.mask.sum())  # background removal has eroded it
    scores = task.validate(new_network(), cases, CPU)
    assert all(math.isfinite(scores[name]) for name in ("coherence", "gain", "xsim", "nrmse"))
    assert 0.0 < scores["xsim"] <= 1.0 and scores["nrmse"] > 0.0 and abs(scores["coherence"]) <= 1.0
    assert len(scores["each"]) == 3
    json.dumps(scores, allow_nan=False)
    assert scores == task.validate(new_network(), cases, CPU)


def test_a_first_map_without_error_does_not_outweigh_others() -> None:
    task, example = WholeBrainTask(NETWORK_INPUT, 0), a_round()[0]
    ordinary = float(task.loss(new_network(), example).detach())
    exact = replace(example, field=replace(example.field, values=torch.zeros_like(example.chi)), chi=0.0 * example.chi)
    network = new_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e-3)
    loss = float(task.loss(network, exact).detach())
    assert 0.0 <= loss < 100.0 * ordinary and math.isfinite(loss)


def test_a_run_on_whole_brains_leaves_weights_that_load_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    recipe = Recipe(CONFIG, NETWORK_INPUT, Sampling(), trains_on_whole_heads=True)
    unbroken = PacedRun(tmp_path / "unbroken", recipe, 0.75)
    scores = unbroken()
    assert unbroken.round == 4 and unbroken.step == 24 and math.isfinite(scores["coherence"])
    loaded = load(tmp_path / "unbroken" / "weights.safetensors")
    assert (loaded.network_name, loaded.network.config, loaded.network_input) == ("whole-brain", CONFIG, NETWORK_INPUT)
    line = log_of(tmp_path / "unbroken")[-1]
    assert line["samples_per_second"] == pytest.approx(24 / 40.0, abs=0.01)  # one field a step
    PacedRun(tmp_path / "parts", recipe, 0.75, sitting=0.42)()
    resumed = PacedRun(tmp_path / "parts", Recipe(), 0.75)
    resumed()
    assert resumed.recipe == recipe and resumed.round == 4
    require_same(checkpoint_of(tmp_path / "unbroken").network, checkpoint_of(tmp_path / "parts").network)
