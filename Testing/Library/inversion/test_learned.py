"""The learned inversion: what its network reads, data consistency, resampling, and the weights it is given."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.inversion import learned
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity
from IR2QSMLib.inversion.learned import Learned
from IR2QSMLib.inversion.reading import Reading
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.volumes import LocalField
from Testing.Library.inversion.learned_cases import GRID, noise_of, simulated, with_magnitude

MakeWeights = Callable[..., Path]


# What the network reads.


def without_constant(field: LocalField) -> torch.Tensor:
    offset = Fidelity(field).offset
    assert 0.0 < abs(offset) < 0.1 * float(field.values[field.mask].std())
    return torch.where(field.mask, field.values - offset, 0.0)


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
    channels = Reading("both")(Fidelity(field, absolute=True))
    assert channels.shape == (2, *GRID.shape)
    assert torch.equal(channels[0], field.values)
    assert torch.equal(Reading("both")(Fidelity(field))[0], without_constant(field))
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


def test_the_field_is_read_less_its_constant_whatever_the_first_inversion() -> None:
    field = noise_of(0.02)
    for change in ({"floor": 0.1}, {"per_noise": 1.0}):
        assert torch.equal(Reading("field", **change)(Fidelity(field)), Reading("field")(Fidelity(field)))  # type: ignore[arg-type]
        assert torch.equal(Reading("both", **change)(Fidelity(field))[0], without_constant(field))  # type: ignore[arg-type]


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
    method = Learned(make_weights(), consistency=0.1, resampled=resampled)
    field = with_magnitude(simulated()) if shown else simulated()
    method(replace(field, recovered=recovered), lambda *event: told.append(event))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0 and fractions[-1] <= 1.0
    stages = {stage for _, stage in told}
    expected = {"first inversion", "inversion", "data consistency", "total variation"}
    expected |= {"resampling"} if resampled else set()
    assert stages == expected | (set() if recovered else {"harmonic part"})         # of a recovered field it is known
    last = [fraction for fraction, stage in told if stage == "total variation"]
    assert last[0] == pytest.approx(1.0 - learned.LAST_SHARE) and last[-1] > 0.95 and len(last) > 10
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
