"""The learned inversion: its network's input, resampling, repeatability, notes, progress and missing weights."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput
from IR2QSMLib.io.weights import read_weights
from Testing.Library.inversion.learned.cases import simulated, with_magnitude

MakeWeights = Callable[..., Path]


# The network's input.


def test_an_untrained_network_returns_the_first_map(make_weights: MakeWeights) -> None:
    field = simulated()
    for names in (("first_map",), ("field", "first_map"), CHANNELS):
        weights = make_weights(NetworkInput(names), scale=0.0)
        result = Learned(weights, network_only=True, use_whole_brain_map=False, resampled=False)(field)
        torch.testing.assert_close(result.values, Tikhonov("auto")(field).values, atol=1e-6, rtol=0)
        assert result.uncertainty is None
        assert result.notes["resampled"] is False and result.notes["input_channels"] == list(names)


def test_a_network_of_the_field_runs_along_b0_unless_resampling_is_off(make_weights: MakeWeights) -> None:
    field = simulated()
    weights = make_weights(NetworkInput(("field",)), scale=0.0)
    method = Learned(weights, network_only=True)
    aligned, direct = method(field), replace(method, resampled=False)(field)
    assert aligned.notes["resampled"] is True
    assert direct.notes["resampled"] is False
    expected = DataTerm.of(field).field.values
    torch.testing.assert_close(direct.values, expected, atol=1e-6, rtol=0)
    # There and back through a grid along B0: the field again, apart from the interpolation and the mask's edge.
    assert not torch.equal(aligned.values, direct.values)
    inside = torch.nn.functional.max_pool3d((~field.mask)[None].float(), 5, 1, 2)[0] == 0
    assert (aligned.values - expected)[inside].norm() < 0.1 * expected[inside].norm()


# Repeatability and precision.


@pytest.mark.parametrize("resampled", [False, True])
def test_the_same_input_gives_the_same_bits(make_weights: MakeWeights, tmp_path: Path, resampled: bool) -> None:
    weights, field = make_weights(scale=0.1, uncertainty=True), simulated()
    copied = shutil.copy(weights, tmp_path / weights.name)  # loaded a second time
    first, second = (Learned(path, resampled=resampled)(field) for path in (weights, copied))
    assert torch.equal(first.values, second.values)
    assert first.uncertainty is not None and second.uncertainty is not None
    assert torch.equal(first.uncertainty, second.uncertainty)
    assert first.notes == second.notes
    json.dumps(first.notes, allow_nan=False)


def test_half_precision_is_used_where_the_device_is_faster_with_it(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, field = make_weights(scale=0.1), simulated()
    method = Learned(weights, network_only=True, use_whole_brain_map=False)
    full = method(field)
    monkeypatch.setattr(learned, "half_precision", lambda kind: torch.bfloat16)
    half = method(field)
    assert (full.notes["precision"], half.notes["precision"]) == ("float32", "bfloat16")
    assert not torch.equal(full.values, half.values)
    assert (full.values - half.values).norm() < 0.02 * full.values.norm()


def test_the_uncertainty_is_a_positive_spread_inside_the_mask(make_weights: MakeWeights) -> None:
    field = simulated()
    sigma = Learned(make_weights(scale=0.0, uncertainty=True))(field).uncertainty
    assert sigma is not None
    torch.testing.assert_close(sigma[field.mask], torch.full_like(sigma[field.mask], math.exp(-4.0)))
    assert not sigma[~field.mask].any()


# Notes and progress.


def test_the_notes_name_the_weights_that_were_used(make_weights: MakeWeights) -> None:
    one, two = make_weights(seed=1), make_weights(seed=2)
    result, other = (Learned(path)(simulated()) for path in (one, two))
    assert result.notes["weights"] == one.name
    assert result.notes["weights_sha256"] == read_weights(one).sha256
    assert not torch.equal(result.values, other.values)


@pytest.mark.parametrize("resampled", [False, True])
@pytest.mark.parametrize("magnitude", [False, True])
def test_progress_rises_through_named_stages(make_weights: MakeWeights, resampled: bool, magnitude: bool) -> None:
    events: list[tuple[float, str]] = []
    method = Learned(make_weights(), resampled=resampled)
    method(with_magnitude(simulated()) if magnitude else simulated(), lambda *event: events.append(event))
    fractions, stages = zip(*events, strict=True)
    assert list(fractions) == sorted(fractions)
    assert fractions[0] == 0.0 and fractions[-1] <= 1.0
    assert list(dict.fromkeys(stages)) == ["spectrum of the field", "whole brain", "inversion", "data consistency"]
    assert len(events) > 20


def test_the_notes_have_the_spectrum_of_the_field(make_weights: MakeWeights) -> None:
    weights = make_weights()
    clean, noisy = (Learned(weights)(simulated(noise=level)).notes for level in (0.0, 0.02))
    shares = [notes["spectrum"]["discrepancy_share"] for notes in (clean, noisy)]
    assert 0.0 <= shares[0] < 0.5 * shares[1] < 0.5
    assert len(noisy["spectrum"]["wavenumber_per_mm"]) == len(noisy["spectrum"]["regularisation"]) > 0


def test_a_run_can_be_cancelled_inside_a_pass(make_weights: MakeWeights) -> None:
    class StopError(Exception):
        pass

    def stop(fraction: float, stage: str) -> None:
        if stage == "inversion":
            raise StopError

    weights, field = make_weights(), simulated()
    with pytest.raises(StopError):
        Learned(weights)(field, stop)
    fractions: list[float] = []
    Learned(weights)(field, lambda fraction, stage: fractions.append(fraction))
    assert fractions == sorted(fractions)  # the interrupted run left no hook behind
