"""The learned inversion after its network: data consistency, runs again, and the last step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.inversion import learned
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity
from IR2QSMLib.inversion.learned import Learned, consistency_of
from IR2QSMLib.inversion.loading import Loaded, bundled
from IR2QSMLib.inversion.reading import Reading
from IR2QSMLib.inversion.tiles import Maps
from IR2QSMLib.inversion.tv import between_edges
from IR2QSMLib.runtime import Progress
from IR2QSMLib.volumes import LocalField
from Testing.Library.inversion.learned_cases import GRID, residual, simulated, truth, with_magnitude

MakeWeights = Callable[..., Path]


@pytest.mark.parametrize("consistency", [0.02, 0.2])
def test_consistency_leaves_the_exact_truth_nearly_alone(monkeypatch: pytest.MonkeyPatch, consistency: float) -> None:
    field = simulated()
    beyond = torch.where(field.mask, 0.0, 0.3)      # what a network says outside the mask must not matter
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: Maps(truth(GRID) + beyond))
    found = Learned(bundled(), consistency=consistency)(field).values
    # Total variation bears upon smooth sources where the field is weak; a map of sharp ones it would leave.
    assert (found - truth(GRID)).norm() < 0.15 * truth(GRID).norm()


def test_a_field_may_lie_in_memory_in_any_order(make_weights: MakeWeights) -> None:
    field, chosen = with_magnitude(simulated(noise=1e-3)), Learned(make_weights(Reading("tikhonov"), scale=0.0))
    turned = field.mapped(lambda x: x.mT.contiguous().mT, field.grid)
    assert not turned.values.is_contiguous()
    assert torch.equal(chosen(field).values, chosen(turned).values)


def test_edges_of_a_magnitude_are_spared_and_that_is_told(make_weights: MakeWeights) -> None:
    field = simulated(noise=1e-3)
    weights = make_weights(Reading("tikhonov"), scale=0.0)
    shown = with_magnitude(field)
    without, spared, unused = Learned(weights)(field), Learned(weights)(shown), Learned(weights, edges=False)(shown)
    assert torch.equal(without.values, unused.values)
    assert [x.notes["magnitude_edges"] for x in (without, spared, unused)] == [False, True, False]
    assert not torch.equal(without.values, spared.values)
    bare = Learned(weights, consistency=0.0)(shown)
    assert bare.notes["magnitude_edges"] is False


def test_total_variation_between_edges_is_believed_in_part_and_reads_the_field_that_the_map_completes(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, chosen = with_magnitude(simulated(noise=1e-3)), Learned(make_weights(Reading("tikhonov"), scale=0.0))
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
        left, of_given = (residual(before, x) for x in (read, Fidelity(given).field))
        assert left < 0.7 * of_given if given.recovered else left == of_given


def test_between_edges_more_is_smoothed_the_less_is_known() -> None:
    """A missing harmonic part makes the removal firmer, and noise where a magnitude shows the edges it would blur."""
    clean, noisy, lacking = (Fidelity(simulated()) for _ in range(3))
    clean.noise, noisy.noise, lacking.noise = 0.0, 0.05, 0.0
    clean.lacking, noisy.lacking, lacking.lacking = 0.0, 0.0, 1.0
    recovered = copy(lacking)
    recovered.field = replace(lacking.field, recovered=True)
    firm: dict[bool, list[float]] = {}
    for seen in (True, False):
        found = [consistency_of(f, 0.01, magnitude=seen) for f in (clean, noisy, lacking, recovered)]
        (a, first), (b, second), (c, third), (d, _) = found
        assert a.strength < c.strength and a.cone == b.cone < c.cone and d.strength == 0.5 * c.strength
        assert first == second and third.per_noise < first.per_noise and third.n_steps > first.n_steps
        firm[seen] = [x.strength for x, _ in found]
    assert firm[True][1] > firm[True][0] and firm[False][1] == firm[False][0]
    assert all(a > b for a, b in zip(firm[True], firm[False], strict=True))


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
    chosen, read, begun = Learned(make_weights(Reading("tikhonov"), scale=0.0)), [], []
    usual = Learned._run

    def kept(self: Learned, loaded: Loaded, fidelities: Sequence[Fidelity], chi: torch.Tensor, *rest: Any) -> Any:
        read.append(fidelities[0].field.values)
        begun.append(bool(chi.any()))
        return usual(self, loaded, fidelities, chi, *rest)

    monkeypatch.setattr(Learned, "_run", kept)
    field = simulated()
    assert chosen(field).notes["passes"] == len(read) == 1
    read.clear()
    begun.clear()
    told: list[float] = []
    estimated = replace(field, recovered=True)
    assert chosen(estimated, lambda fraction, stage: told.append(fraction)).notes["passes"] == len(read) == 5
    assert begun == [False, True, True, True, True]
    assert torch.equal(read[0], field.values) and told == sorted(told)
    steps = [float((b - a).norm()) for a, b in pairwise(read)]
    assert steps[0] > steps[1] > 0.0
    assert replace(chosen, consistency=0.0)(estimated).notes["passes"] == 1


def test_a_later_run_reads_a_first_inversion_that_goes_on_from_the_map_so_far() -> None:
    field, reading = simulated(), Reading(floor=0.3, per_noise=0.0, n_steps=1)
    fidelity, chi = Fidelity(field), 0.5 * truth(GRID)
    values, first = reading(fidelity, chi)
    assert torch.equal(values, fidelity.field.values)
    assert torch.equal(first, reading.first_inversion.refine(chi, fidelity))
    assert (first - truth(GRID)).norm() < 0.9 * (reading(fidelity)[1] - truth(GRID)).norm()


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
    assert found < 0.9 * alone and nearer == [True] * 5


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
