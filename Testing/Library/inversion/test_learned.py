"""The learned inversion: what its network reads, data consistency, resampling, and the weights it is given."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion import learned
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity
from IR2QSMLib.inversion.learned import Learned, consistency_of
from IR2QSMLib.inversion.loading import Loaded, bundled
from IR2QSMLib.inversion.reading import Reading
from IR2QSMLib.inversion.tiles import Maps
from IR2QSMLib.inversion.tv import between_edges
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.runtime import Progress
from IR2QSMLib.volumes import LocalField

MakeWeights = Callable[..., Path]
GRID = Grid((24, 32, 16), (1.0, 1.0, 1.5), b0_given=(0.0, 0.3, 0.9))


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor: half precision would hide small differences. Its own test turns it on."""
    monkeypatch.setattr(learned, "half_precision", lambda kind: None)


def truth(grid: Grid) -> torch.Tensor:
    """Smooth sources of both signs in the middle of the grid [ppm]."""
    axes = [torch.linspace(-1, 1, n).view([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(grid.shape)]
    x, y, z = axes
    inside = (x.square() + y.square() + z.square() < 0.7).float()
    chi = inside * (0.1 * torch.sin(5 * x + 1) * torch.cos(4 * y) + 0.05 * torch.sin(7 * z))
    return chi - inside * chi.sum() / inside.sum()


def simulated(grid: Grid = GRID, noise: float = 0.0) -> LocalField:
    chi = truth(grid)
    values = DipoleOp(grid)(chi) + noise * torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(torch.where(chi != 0, values, 0.0), chi != 0, grid)


def noise_of(level: float) -> LocalField:
    return simulated(noise=level)


def residual(chi: torch.Tensor, field: LocalField) -> float:
    """Norm of the field that a map leaves unexplained inside the mask."""
    return float((DipoleOp(field.grid)(chi) - field.values)[field.mask].norm())


# What the network reads.


@pytest.mark.parametrize("floor", [0.03, 0.3])
def test_an_untrained_network_returns_the_first_inversion_it_reads(make_weights: MakeWeights, floor: float) -> None:
    field = simulated()
    weights = make_weights(Reading("tikhonov", floor, per_noise=0.0, n_steps=1), scale=0.0)
    found = Learned(weights, consistency=0.0)(field)
    torch.testing.assert_close(found.values, Tikhonov(floor)(field).values, atol=1e-6, rtol=0)
    assert found.uncertainty is None
    assert found.notes["resampled"] is False


def test_a_network_that_reads_both_corrects_the_first_inversion(make_weights: MakeWeights) -> None:
    field = simulated()
    channels = Reading("both")(Fidelity(field))
    assert channels.shape == (2, *GRID.shape)
    assert torch.equal(channels[0], field.values)
    found = Learned(make_weights(Reading("both"), scale=0.0), consistency=0.0)(field).values
    torch.testing.assert_close(found, channels[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("reads", ["tikhonov", "both"])
def test_every_parameter_of_the_first_inversion_changes_what_is_read(reads: str) -> None:
    field = noise_of(0.02)

    def size(**change: float) -> float:
        return float(Reading(reads, **change)(Fidelity(field))[-1].norm())  # type: ignore[arg-type]

    assert size(floor=0.1) < 0.9 * size()
    assert size(per_noise=10.0) < 0.9 * size(per_noise=0.0)
    assert size(n_steps=1) < 0.9 * size()


def test_the_field_is_read_as_it_is_whatever_the_first_inversion() -> None:
    field = noise_of(0.02)
    for change in ({"floor": 0.1}, {"per_noise": 1.0}):
        assert torch.equal(Reading("field", **change)(Fidelity(field)), Reading("field")(Fidelity(field)))  # type: ignore[arg-type]
        assert torch.equal(Reading("both", **change)(Fidelity(field))[0], field.values)  # type: ignore[arg-type]


def test_what_lies_outside_the_mask_is_not_read() -> None:
    field = simulated()
    other = replace(field, values=torch.where(field.mask, field.values, 7.0))
    assert torch.equal(Reading("field")(Fidelity(other)), Reading("field")(Fidelity(field)))


def test_an_unknown_reading_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="said to read 'phase'; expected one of field, tikhonov, both"):
        Reading("phase")


def test_a_network_that_reads_the_field_sees_it_along_b0_unless_told_not_to(make_weights: MakeWeights) -> None:
    field = simulated()
    weights = make_weights(Reading("field"), scale=0.0)
    bare = Learned(weights, consistency=0.0)
    aligned, direct = bare(field), replace(bare, resampled=False)(field)
    assert aligned.notes["resampled"] is True
    assert direct.notes["resampled"] is False
    torch.testing.assert_close(direct.values, field.values, atol=1e-6, rtol=0)
    # There and back through a grid along B0: the field again, apart from the interpolation and the mask's edge.
    assert not torch.equal(aligned.values, direct.values)
    inside = torch.nn.functional.max_pool3d((~field.mask)[None].float(), 5, 1, 2)[0] == 0
    assert (aligned.values - field.values)[inside].norm() < 0.1 * field.values[inside].norm()


# Repeatability and precision.


@pytest.mark.parametrize("resampled", [False, True])
def test_the_same_input_gives_the_same_bits(make_weights: MakeWeights, tmp_path: Path, resampled: bool) -> None:
    weights, field = make_weights(scale=0.1, uncertainty=True), simulated()
    copied = shutil.copy(weights, tmp_path / weights.name)          # loaded a second time
    first, second = (Learned(path, resampled=resampled)(field) for path in (weights, copied))
    assert torch.equal(first.values, second.values)
    assert first.uncertainty is not None and second.uncertainty is not None
    assert torch.equal(first.uncertainty, second.uncertainty)
    assert first.notes == second.notes


def test_half_precision_is_used_where_the_device_is_faster_with_it(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, field = make_weights(scale=0.1), simulated()
    full = Learned(weights, consistency=0.0)(field)
    monkeypatch.setattr(learned, "half_precision", lambda kind: torch.bfloat16)
    half = Learned(weights, consistency=0.0)(field)
    assert (full.notes["precision"], half.notes["precision"]) == ("float32", "bfloat16")
    assert not torch.equal(full.values, half.values)
    assert (full.values - half.values).norm() < 0.02 * full.values.norm()


def test_the_uncertainty_is_a_positive_spread_inside_the_mask(make_weights: MakeWeights) -> None:
    field = simulated()
    sigma = Learned(make_weights(scale=0.0, uncertainty=True))(field).uncertainty
    assert sigma is not None
    torch.testing.assert_close(sigma[field.mask], torch.full_like(sigma[field.mask], math.exp(-4.0)))
    assert not sigma[~field.mask].any()


# Data consistency.


@pytest.mark.parametrize("consistency", [0.02, 0.2])
def test_consistency_leaves_the_exact_truth_nearly_alone(monkeypatch: pytest.MonkeyPatch, consistency: float) -> None:
    field = simulated()
    beyond = torch.where(field.mask, 0.0, 0.3)      # what a network says outside the mask must not matter
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: Maps(truth(GRID) + beyond))
    found = Learned(bundled(), consistency=consistency)(field).values
    # Total variation bears upon smooth sources where the field is weak; a map of sharp ones it would leave.
    assert (found - truth(GRID)).norm() < 0.15 * truth(GRID).norm()


def test_a_field_may_lie_in_memory_in_any_order(make_weights: MakeWeights) -> None:
    field, chosen = simulated(noise=1e-3), Learned(make_weights(Reading("tikhonov"), scale=0.0))
    field = replace(field, magnitude=torch.where(field.mask, 1.0 + 5.0 * truth(GRID), 0.0))
    turned = field.mapped(lambda x: x.mT.contiguous().mT, field.grid)
    assert not turned.values.is_contiguous()
    assert torch.equal(chosen(field).values, chosen(turned).values)


def test_edges_of_a_magnitude_are_spared_and_that_is_told(make_weights: MakeWeights) -> None:
    field, seen = simulated(noise=1e-3), truth(GRID)
    weights = make_weights(Reading("tikhonov"), scale=0.0)
    shown = replace(field, magnitude=torch.where(field.mask, 1.0 + 5.0 * seen, 0.0))
    without, spared, unused = Learned(weights)(field), Learned(weights)(shown), Learned(weights, edges=False)(shown)
    assert torch.equal(without.values, unused.values)
    assert [x.notes["magnitude_edges"] for x in (without, spared, unused)] == [False, True, False]
    assert not torch.equal(without.values, spared.values)
    bare = Learned(weights, consistency=0.0)(shown)
    assert bare.notes["magnitude_edges"] is False


def test_total_variation_between_edges_is_believed_in_part_and_reads_the_field_that_the_map_completes(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, chosen = simulated(noise=1e-3), Learned(make_weights(Reading("tikhonov"), scale=0.0))
    shown = replace(field, magnitude=torch.where(field.mask, 1.0 + 5.0 * truth(GRID), 0.0))
    calls: list[tuple[LocalField, torch.Tensor, torch.Tensor]] = []

    def kept(field: LocalField, chi: torch.Tensor, edges: Sequence[torch.Tensor], progress: Progress) -> torch.Tensor:
        assert all(bool((e == 0.0).any()) and bool((e == 1.0).any()) for e in edges)
        calls.append((field, chi, between_edges(field, chi, edges, progress)))
        return calls[-1][-1]

    monkeypatch.setattr(learned, "between_edges", kept)
    for given in (shown, replace(shown, recovered=True)):
        found = chosen(given).values
        read, before, after = calls.pop()
        share = ((found - before) * (after - before)).sum() / (after - before).square().sum()
        assert 0.5 < share < 0.7
        torch.testing.assert_close(found, before + share * (after - before))
        assert not calls                                        # once, after the last run of the network
        left, of_given = (residual(before, x) for x in (read, given))
        assert left < 0.7 * of_given if given.recovered else left == of_given


def test_between_edges_more_is_smoothed_the_less_is_known() -> None:
    """Noise and a missing harmonic part make the removal firmer; without a magnitude it stays as it is."""
    clean, noisy, lacking = (Fidelity(simulated()) for _ in range(3))
    clean.noise, noisy.noise, lacking.noise = 0.0, 0.05, 0.0
    clean.lacking, noisy.lacking, lacking.lacking = 0.0, 0.0, 1.0
    (a, first), (b, second), (c, third) = (consistency_of(f, 0.01, edges=True) for f in (clean, noisy, lacking))
    assert a.strength < b.strength < c.strength and a.cone == b.cone < c.cone
    assert first == second and third.per_noise < first.per_noise
    assert len({consistency_of(f, 0.01, edges=False) for f in (clean, noisy, lacking)}) == 1
    recovered, firm = copy(lacking), c.strength
    recovered.field = replace(lacking.field, recovered=True)
    assert consistency_of(recovered, 0.01, edges=True)[0].strength < firm
    assert third.n_steps > first.n_steps


def test_an_estimated_harmonic_part_is_not_fitted(make_weights: MakeWeights) -> None:
    field, chosen = simulated(), Learned(make_weights(Reading("tikhonov"), scale=0.0))
    estimated = replace(field, recovered=True)
    assert not torch.equal(chosen(field).values, chosen(estimated).values)
    alone = replace(chosen, consistency=0.0)
    assert torch.equal(alone(field).values, alone(estimated).values)


def test_the_network_runs_again_where_the_harmonic_part_is_lacking(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time on a field that the map so far has completed; a whole field is read once."""
    chosen, read = Learned(make_weights(Reading("tikhonov"), scale=0.0)), []
    usual = Learned._run

    def kept(self: Learned, loaded: Loaded, fidelities: Sequence[Fidelity], *rest: Any) -> Any:
        read.append(fidelities[0].field.values)
        return usual(self, loaded, fidelities, *rest)

    monkeypatch.setattr(Learned, "_run", kept)
    field = simulated()
    assert chosen(field).notes["passes"] == len(read) == 1
    read.clear()
    told: list[float] = []
    estimated = replace(field, recovered=True)
    assert chosen(estimated, lambda fraction, stage: told.append(fraction)).notes["passes"] == len(read) == 3
    assert torch.equal(read[0], field.values) and told == sorted(told)
    steps = [float((b - a).norm()) for a, b in pairwise(read)]
    assert steps[0] > steps[1] > 0.0
    assert replace(chosen, consistency=0.0)(estimated).notes["passes"] == 1


def test_after_every_run_of_the_network_the_measured_field_counts(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = make_weights(Reading("tikhonov", 0.3, per_noise=0.0, n_steps=1), scale=0.0)
    usual, nearer = Learned._reconciled, []

    def kept(self: Learned, chi: torch.Tensor, fidelities: Sequence[Fidelity], *rest: Any) -> torch.Tensor:
        found = usual(self, chi, fidelities, *rest)
        nearer.append(bool(fidelities[0].residual(found).norm() < fidelities[0].residual(chi).norm()))
        return found

    monkeypatch.setattr(Learned, "_reconciled", kept)
    field = replace(simulated(noise=1e-3), recovered=True)
    measured = Fidelity(field).of_what_was_measured()
    alone, found = (measured.residual(Learned(weights, consistency=c)(field).values).norm() for c in (0.0, 0.01))
    assert found < 0.9 * alone and nearer == [True] * 3


def test_a_later_run_of_the_network_does_not_have_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last run alone adds comes through, but not whole."""
    field, added = replace(simulated(), recovered=True), torch.where(truth(GRID) > 0.0, 0.05, 0.0)
    monkeypatch.setattr(learned, "N_ROUNDS_A_PASS", 0)

    def found(last: torch.Tensor) -> torch.Tensor:
        says = iter([torch.zeros(GRID.shape), torch.zeros(GRID.shape), last])
        monkeypatch.setattr(learned, "infer_in_memory", lambda *_: Maps(next(says)))
        return Learned(bundled())(field).values

    share = (found(added) - found(torch.zeros(GRID.shape))).norm() / added.norm()
    assert 0.6 < share < 0.9


def test_consistency_brings_the_map_nearer_to_the_measured_field(make_weights: MakeWeights) -> None:
    field = simulated(noise=1e-3)
    weights = make_weights(Reading("tikhonov", 0.3, per_noise=0.0, n_steps=1), scale=0.0)
    plain, weak, strong = (Learned(weights, consistency=c)(field).values for c in (0.0, 0.3, 0.02))
    assert residual(strong, field) < residual(weak, field) < 0.9 * residual(plain, field)
    assert (strong - truth(GRID)).norm() < (plain - truth(GRID)).norm()
    assert not strong[~field.mask].any()


@pytest.mark.parametrize("consistency", [-0.1, math.nan, math.inf])
def test_a_consistency_out_of_range_is_refused(consistency: float) -> None:
    with pytest.raises(ParameterInvalid, match=rf"data consistency is {consistency:g}; expected a λ, or 0 for none"):
        Learned(consistency=consistency)


# Weights and progress.


def test_the_notes_name_the_weights_that_were_used(make_weights: MakeWeights) -> None:
    one, two = make_weights(seed=1), make_weights(seed=2)
    found, other = (Learned(path)(simulated()) for path in (one, two))
    assert found.notes["weights"] == one.name
    assert found.notes["weights_sha256"] == read_weights(one).sha256
    assert not torch.equal(found.values, other.values)


@pytest.mark.parametrize("resampled", [False, True])
@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("recovered", [False, True])
def test_progress_rises_through_named_stages(
    make_weights: MakeWeights, resampled: bool, shown: bool, recovered: bool
) -> None:
    told: list[tuple[float, str]] = []
    method, field = Learned(make_weights(), consistency=0.1, resampled=resampled), simulated()
    magnitude = torch.where(field.mask, 1.0 + 5.0 * truth(GRID), 0.0) if shown else None
    method(replace(field, magnitude=magnitude, recovered=recovered), lambda *event: told.append(event))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0 and fractions[-1] <= 1.0
    stages = {stage for _, stage in told}
    expected = {"first inversion", "inversion", "data consistency"} | ({"resampling"} if resampled else set())
    assert stages == expected | ({"total variation"} if shown else set())
    last = [fraction for fraction, stage in told if stage == "total variation"]
    assert not shown or (last[0] == pytest.approx(1.0 - learned.LAST_SHARE) and last[-1] > 0.95 and len(last) > 10)
    assert len(told) > 20


def test_a_run_can_be_cancelled_inside_a_pass(make_weights: MakeWeights) -> None:
    class StopError(Exception):
        pass

    def stop(fraction: float, stage: str) -> None:
        if fraction > 0.4:
            raise StopError

    weights, field = make_weights(), simulated()
    with pytest.raises(StopError):
        Learned(weights)(field, stop)
    told: list[float] = []
    Learned(weights)(field, lambda fraction, stage: told.append(fraction))
    assert told == sorted(told)         # the interrupted run left no hook behind
