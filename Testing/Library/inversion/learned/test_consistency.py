"""The learned inversion around its network: the map it begins from, the step on the field, the magnitude's edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.learned import consistency as data_term
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.tiles import Maps
from IR2QSMLib.inversion.learned.whole_brain import whole_brain_map
from IR2QSMLib.physics.settings import SETTINGS
from Testing.Library.inversion.learned.cases import GRID, residual, simulated, truth, with_magnitude

MakeWeights = Callable[..., Path]


@pytest.fixture
def plain(make_weights: MakeWeights) -> Path:
    """A network that returns the first map."""
    return make_weights(NetworkInput("first"), scale=0.0)


# The first map.


def test_the_first_map_begins_from_the_whole_brain_s_and_is_reconciled_with_the_field(
    plain: Path, little_whole_brain: Path
) -> None:
    field, alone = simulated(noise=1e-3), Learned(plain, consistency=0.0)
    found = alone(field)
    term = DataTerm.of(field)
    coarse, sha256 = whole_brain_map(term.field)
    expected, _ = term.reconciled(torch.where(field.mask, coarse, 0.0))
    torch.testing.assert_close(found.values, expected, atol=1e-6, rtol=1e-4)
    assert found.notes["whole_brain_sha256"] == sha256 == load(little_whole_brain).sha256
    without = replace(alone, whole_brain=False)(field)
    torch.testing.assert_close(without.values, Tikhonov("auto")(field).values, atol=1e-6, rtol=1e-4)
    assert "whole_brain_sha256" not in without.notes
    assert not torch.equal(found.values, without.values)


def test_a_network_that_reads_the_field_alone_needs_no_whole_brain_map(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(learned, "whole_brain_map", never)
    found = Learned(make_weights(NetworkInput("field")))(simulated())
    assert "whole_brain_sha256" not in found.notes


# The step on the field.


def test_without_consistency_the_map_is_the_network_s_very_own(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = with_magnitude(simulated(noise=1e-3))
    generator = torch.Generator().manual_seed(0)
    said = Maps(*(torch.rand(GRID.shape, generator=generator) for _ in range(3)))
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: said)
    found = Learned(plain, consistency=0.0)(field)
    pairs = ((found.values, said.chi), (found.uncertainty, said.sigma), (found.unexplained, said.unexplained))
    for values, own in pairs:
        assert values is not None and own is not None
        assert torch.equal(values, torch.where(field.mask, own, 0.0))
    assert "steps" not in found.notes


def test_with_consistency_the_network_s_map_takes_the_step(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = simulated(noise=1e-3)
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: Maps(0.5 * truth(GRID)))
    for factor in (1.0, 8.0):
        found = Learned(plain, consistency=factor)(field)
        expected, n_steps = DataTerm.of(field).reconciled(0.5 * truth(GRID), factor)
        torch.testing.assert_close(found.values, expected, atol=1e-6, rtol=1e-4)
        assert found.notes["steps"] == n_steps >= 1


@pytest.mark.parametrize("consistency", [0.5, 2.0, 20.0])
def test_consistency_leaves_the_exact_truth_nearly_alone(
    plain: Path, monkeypatch: pytest.MonkeyPatch, consistency: float
) -> None:
    field = simulated()
    beyond = torch.where(field.mask, 0.0, 0.3)  # what a network says outside the mask must not matter
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: Maps(truth(GRID) + beyond))
    found = Learned(plain, consistency=consistency)(field).values
    assert (found - truth(GRID)).norm() < 0.02 * truth(GRID).norm()


def test_consistency_brings_the_map_nearer_to_the_measured_field_the_smaller_its_factor(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = simulated(noise=0.01)
    monkeypatch.setattr(data_term, "SETTINGS", replace(SETTINGS, most_steps=1))
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: Maps(0.5 * truth(GRID)))
    maps = [Learned(plain, consistency=c)(field) for c in (0.0, 50.0, 2.0, 0.5)]
    assert [m.notes.get("steps") for m in maps] == [None, 1, 1, 1]
    left = [residual(m.values, field) for m in maps]
    assert left[0] > 1.02 * left[1] > 1.04 * left[2] > 1.06 * left[3]
    none, _, usual, _ = (float((m.values - truth(GRID)).norm()) for m in maps)
    assert usual < 0.9 * none
    assert all(not m.values[~field.mask].any() for m in maps)


@pytest.mark.parametrize("consistency", [-0.1, math.nan, math.inf])
def test_a_consistency_out_of_range_is_refused(consistency: float) -> None:
    told = rf"The data consistency is {consistency:g}; expected a factor, or 0 for none"
    with pytest.raises(ParameterInvalid, match=told):
        Learned(consistency=consistency)


def test_a_field_may_lie_in_memory_in_any_order(plain: Path) -> None:
    field, chosen = with_magnitude(simulated(noise=1e-3)), Learned(plain)
    turned = field.mapped(lambda x: x.mT.contiguous().mT, field.grid)
    assert not turned.values.is_contiguous()
    assert torch.equal(chosen(field).values, chosen(turned).values)


def test_a_magnitude_changes_no_map_of_a_network(plain: Path) -> None:
    field = simulated(noise=1e-3)
    assert torch.equal(Learned(plain)(field).values, Learned(plain)(with_magnitude(field)).values)
