"""The learned inversion around its network: the first map and the step on the field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.learned import data_term as data_term_module
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import MAX_FACTOR, MIN_FACTOR, Learned
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.tiles import NetworkMaps
from IR2QSMLib.inversion.learned.whole_brain import whole_brain_map
from IR2QSMLib.inversion.registry import make_method
from IR2QSMLib.inversion.settings import SETTINGS
from Testing.Library.inversion.learned.cases import GRID, residual_norm, simulated, truth, with_magnitude

MakeWeights = Callable[..., Path]


@pytest.fixture
def plain(make_weights: MakeWeights) -> Path:
    """A network that returns the first map."""
    return make_weights(NetworkInput(("first_map",)), scale=0.0)


# The first map.


def test_the_first_map_is_the_whole_brain_map_after_a_step_on_the_field(plain: Path, tiny_whole_brain: Path) -> None:
    field, method = simulated(noise=1e-3), Learned(plain, network_only=True)
    result = method(field)
    data_term = DataTerm.of(field)
    coarse = whole_brain_map(data_term.field)
    expected, _ = data_term.enforce_consistency(torch.where(field.mask, coarse.chi, 0.0))
    torch.testing.assert_close(result.values, expected, atol=1e-6, rtol=1e-4)
    assert result.notes["whole_brain_sha256"] == coarse.sha256 == load(tiny_whole_brain).sha256
    without = replace(method, use_whole_brain_map=False)(field)
    torch.testing.assert_close(without.values, Tikhonov("auto")(field).values, atol=1e-6, rtol=1e-4)
    assert "whole_brain_sha256" not in without.notes
    assert not torch.equal(result.values, without.values)


def test_a_network_of_the_field_only_needs_no_whole_brain_map(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(learned, "whole_brain_map", never)
    result = Learned(make_weights(NetworkInput(("field",))))(simulated())
    assert "whole_brain_sha256" not in result.notes


# The step on the field.


def test_without_consistency_the_map_is_the_network_s(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = with_magnitude(simulated(noise=1e-3))
    generator = torch.Generator().manual_seed(0)
    network_maps = NetworkMaps(*(torch.rand(GRID.shape, generator=generator) for _ in range(3)))
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: network_maps)
    result = Learned(plain, network_only=True)(field)
    pairs = (
        (result.values, network_maps.chi),
        (result.uncertainty, network_maps.sigma),
        (result.unexplained, network_maps.unexplained),
    )
    for values, expected in pairs:
        assert values is not None and expected is not None
        assert torch.equal(values, torch.where(field.mask, expected, 0.0))
    assert "steps" not in result.notes


def test_with_consistency_the_network_s_map_takes_the_step(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = simulated(noise=1e-3)
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: NetworkMaps(0.5 * truth(GRID)))
    for factor in (1.0, 8.0):
        result = Learned(plain, regularisation_factor=factor)(field)
        expected, n_steps = DataTerm.of(field).enforce_consistency(0.5 * truth(GRID), factor)
        torch.testing.assert_close(result.values, expected, atol=1e-6, rtol=1e-4)
        assert result.notes["steps"] == n_steps >= 1


@pytest.mark.parametrize("factor", [0.5, 2.0, 20.0])
def test_consistency_hardly_changes_the_exact_truth(
    plain: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    field = simulated()
    beyond = torch.where(field.mask, 0.0, 0.3)  # what a network returns outside the mask must not matter
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: NetworkMaps(truth(GRID) + beyond))
    result = Learned(plain, regularisation_factor=factor)(field).values
    assert (result - truth(GRID)).norm() < 0.02 * truth(GRID).norm()


def test_a_smaller_factor_brings_the_map_nearer_to_the_field(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = simulated(noise=0.01)
    monkeypatch.setattr(data_term_module, "SETTINGS", replace(SETTINGS, max_steps=1))
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: NetworkMaps(0.5 * truth(GRID)))
    maps = [Learned(plain, network_only=True)(field)]
    maps += [Learned(plain, regularisation_factor=factor)(field) for factor in (50.0, 2.0, 0.5)]
    assert [m.notes.get("steps") for m in maps] == [None, 1, 1, 1]
    norms = [residual_norm(m.values, field) for m in maps]
    assert norms[0] > 1.02 * norms[1] > 1.04 * norms[2] > 1.06 * norms[3]
    none, _, usual, _ = (float((m.values - truth(GRID)).norm()) for m in maps)
    assert usual < 0.9 * none
    assert all(not m.values[~field.mask].any() for m in maps)


@pytest.mark.parametrize("factor", [-0.1, math.nan, math.inf, 1e-45, 0.99e-6, 1.01e6])
def test_a_factor_out_of_range_is_refused(factor: float) -> None:
    message = (
        rf"on the regularisation is {re.escape(f'{factor:g}')}; expected one from 1e-06 to 1e\+06\. .* --network-only"
    )
    with pytest.raises(ParameterInvalid, match=message) as caught:
        Learned(regularisation_factor=factor)
    assert caught.value.option == "regularisation_factor"


def test_the_factor_of_version_0_1_0_had_another_name_and_0_left_the_step_out() -> None:
    assert make_method("ir2qsm", consistency=2.0) == Learned(regularisation_factor=2.0)
    assert make_method("ir2qsm", consistency=0.0) == Learned(network_only=True)


@pytest.mark.parametrize("factor", [MIN_FACTOR, MAX_FACTOR])
def test_the_ends_of_the_range_of_the_factor_give_finite_maps(
    plain: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    monkeypatch.setattr(learned, "infer_in_memory", lambda *_: NetworkMaps(0.5 * truth(GRID)))
    monkeypatch.setattr(data_term_module, "SETTINGS", replace(SETTINGS, max_steps=1))
    chi = Learned(plain, regularisation_factor=factor)(simulated(noise=0.01)).values
    assert bool(chi.isfinite().all())
    unchanged = torch.allclose(chi, 0.5 * truth(GRID) * simulated().mask, atol=1e-4)
    assert unchanged == (factor == MAX_FACTOR)


def test_the_order_of_a_field_in_memory_does_not_matter(plain: Path) -> None:
    field, method = with_magnitude(simulated(noise=1e-3)), Learned(plain)
    transposed = field.map_volumes(lambda x: x.mT.contiguous().mT, field.grid)
    assert not transposed.values.is_contiguous()
    assert torch.equal(method(field).values, method(transposed).values)


def test_a_magnitude_changes_no_map_of_a_network(plain: Path) -> None:
    field = simulated(noise=1e-3)
    assert torch.equal(Learned(plain)(field).values, Learned(plain)(with_magnitude(field)).values)
