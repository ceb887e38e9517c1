"""The losses: their values on known errors, and what a single example can do to the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.evaluation.metrics import xsim
from IR2QSMLib.networks.blocks import Estimate
from IR2QSMLib.networks.registry import build, make_config
from IR2QSMLib.training.loss import CORNER, GRADIENT_LIMITS, MIN_FIRST_ERROR, dissimilarity, estimate_loss


def estimate(chi: float, *iterates: float, log_sigma: float | None = None) -> Estimate:
    def volume(value: float) -> Tensor:
        return torch.full((1, 1, 2, 1, 1), value)

    return Estimate(volume(chi), [volume(v) for v in iterates], None if log_sigma is None else volume(log_sigma))


ZERO, ONES = torch.zeros(1, 1, 2, 1, 1), torch.ones(1, 1, 2, 1, 1)


def test_the_loss_halves_from_each_pass_to_the_one_before() -> None:
    # 0.03 of the result; iterates 0.02, 0.05 and 0.01 of the last: 9 + 1 + 25/2 + 4/4 in units of (0.01 ppm)².
    loss = estimate_loss(estimate(0.03, 0.02, 0.05, 0.01), ZERO, ONES, "squared", first_map=ZERO)
    assert float(loss) == pytest.approx(9 + 1 + 12.5 + 1)
    loss = estimate_loss(estimate(0.03, 0.02, -0.05, 0.01), ZERO, ONES, "absolute", first_map=ZERO)
    assert float(loss) == pytest.approx(3 + 1 + 2.5 + 0.5)


def test_the_loss_is_a_mean_over_the_mask() -> None:
    mask = torch.tensor([1.0, 0.0]).view_as(ONES)
    chi = torch.tensor([0.02, 5.0]).view_as(ONES)
    assert float(estimate_loss(Estimate(chi, [], None), ZERO, mask, "squared", first_map=ZERO)) == pytest.approx(4.0)
    assert float(estimate_loss(Estimate(chi, [], None), ZERO, 0 * mask, "squared", first_map=ZERO)) == 0.0


@pytest.mark.parametrize("sigma", [0.003, 0.02, 0.2])
def test_the_likelihood_is_least_at_the_errors_true_size(sigma: float) -> None:
    shape = (1, 1, 20, 20, 20)
    error = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    error *= sigma / error.square().mean().sqrt()
    truth, mask = torch.zeros(shape), torch.ones(shape)

    def likelihood(factor: float) -> float:
        log_sigma = torch.full(shape, math.log(sigma * factor))
        return float(estimate_loss(Estimate(error, [], log_sigma), truth, mask, "squared", first_map=truth))

    assert likelihood(1.0) < min(likelihood(0.9), likelihood(1.1)) < min(likelihood(0.5), likelihood(2.0))


def test_the_likelihood_does_not_pull_at_the_map() -> None:
    def gradient_of(log_sigma: Tensor | None) -> Tensor:
        chi = torch.full_like(ONES, 0.03, requires_grad=True)
        estimate_loss(Estimate(chi, [], log_sigma), ZERO, ONES, "squared", first_map=ZERO).backward()
        assert chi.grad is not None
        return chi.grad

    assert torch.equal(gradient_of(None), gradient_of(torch.full_like(ONES, -4.0)))


def test_an_estimate_of_the_unexplained_field_is_scored_like_chi() -> None:
    estimated = Estimate(ZERO + 0.03, [], None, ZERO + 0.01)
    losses = [
        float(estimate_loss(estimated, ZERO, ONES, "squared", first_map=ZERO, unexplained=ZERO + left))
        for left in (0.01, 0.05)
    ]
    assert losses == pytest.approx([9.0, 9.0 + 16.0])
    without = Estimate(ZERO + 0.03, [], None)
    loss = estimate_loss(without, ZERO, ONES, "squared", first_map=ZERO, unexplained=ZERO + 1.0)
    assert float(loss) == pytest.approx(9.0)


# The relative loss.


def relative(error: float, first_error: float, *iterates: float) -> float:
    """The loss for errors in units of the corner between squares and sizes."""
    result = estimate(CORNER * error, *(CORNER * i for i in iterates))
    return float(estimate_loss(result, ZERO, ONES, "relative", first_map=ZERO + CORNER * first_error))


def test_the_relative_loss_is_the_map_s_error_over_that_of_the_first() -> None:
    """One for the first map itself; squares of small errors, sizes of large ones, and of the final map alone."""
    assert relative(0.5, 0.5) == pytest.approx(1.0, abs=1e-3) == relative(20.0, 20.0)
    assert relative(0.25, 0.5) == pytest.approx(0.25, abs=1e-3) == relative(0.25, 0.5, 3.0, 3.0)
    assert relative(40.0, 20.0) == pytest.approx(2.0, rel=0.02)
    inside, chi = torch.tensor([1.0, 0.0]).view_as(ONES), torch.tensor([0.5 * CORNER, 5.0]).view_as(ONES)
    loss = estimate_loss(Estimate(chi, [], None), ZERO, inside, "relative", first_map=ZERO + 0.5 * CORNER)
    assert float(loss) == pytest.approx(1.0, abs=1e-3)


def test_a_first_map_without_error_weighs_as_one_with_the_least_error() -> None:
    least = MIN_FIRST_ERROR / CORNER
    assert relative(0.5, 0.0) == relative(0.5, 0.5 * least) == relative(0.5, least)
    assert relative(0.5, 2.0 * least) < relative(0.5, least)
    assert relative(0.0, 0.0) == 0.0


def test_a_patch_whose_first_map_is_exact_or_absurd_moves_the_weights_no_more_than_an_ordinary_one() -> None:
    """Over the step that it causes and those in which the optimizer remembers it."""
    generator = torch.Generator().manual_seed(0)
    chi = 0.03 * torch.randn(1, 1, 16, 16, 16, generator=generator)
    noise = 0.015 * torch.randn(1, 1, 16, 16, 16, generator=generator)
    mask = torch.ones_like(chi)

    def movement(first_map: Tensor) -> float:
        network = build(make_config("whole-brain", width=0.125, n_blocks=1, n_inputs=1))
        network.initialise(torch.Generator().manual_seed(0))
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)

        def step(first: Tensor) -> None:
            optimizer.zero_grad()
            estimate_loss(network(first), chi, mask, "relative", first_map=first).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMITS["relative"])
            optimizer.step()

        for _ in range(20):
            step(chi + noise)
        before = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
        step(first_map)
        for _ in range(10):  # further steps that ask for nothing
            optimizer.zero_grad()
            for parameter in network.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        after = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
        return float((after - before).norm())

    ordinary = movement(chi + noise)
    assert movement(chi) <= 1.2 * ordinary
    assert movement(1e3 * noise) <= 1.2 * ordinary  # nor one that the network cannot cope with


# The structural loss.


def test_the_structural_loss_counts_xsim_as_the_metric_does() -> None:
    generator = torch.Generator().manual_seed(0)
    chi = 0.05 * torch.randn(1, 1, 24, 24, 24, generator=generator)
    other = 0.5 * chi + 0.02 * torch.randn(1, 1, 24, 24, 24, generator=generator)
    deep = torch.zeros_like(chi, dtype=torch.bool)
    deep[..., 4:-4, 4:-4, 4:-4] = True  # the metric reads the windows of the mask's edge, too
    expected = xsim(torch.where(deep, other, 0.0)[0, 0], torch.where(deep, chi, 0.0)[0, 0], deep[0, 0])
    assert 1.0 - float(dissimilarity(other, chi, deep.float())) == pytest.approx(expected, abs=1e-4)
    assert float(dissimilarity(chi, chi, deep.float())) == pytest.approx(0.0, abs=1e-5)


def test_the_structural_loss_prefers_the_truth_s_contrast_where_the_error_alone_prefers_a_fainter_map() -> None:
    """Of two maps with half of their variance wrong, the fainter has the smaller error."""
    generator = torch.Generator().manual_seed(1)
    chi, noise = (0.05 * torch.randn(1, 1, 24, 24, 24, generator=generator) for _ in range(2))
    full, mask = (chi + noise) / 2.0**0.5, torch.ones_like(chi)

    def loss(scale: float, name: str) -> float:
        return float(estimate_loss(Estimate(scale * full, [], None), chi, mask, name, first_map=full))

    assert loss(0.7, "relative") < loss(1.0, "relative")
    assert dissimilarity(0.7 * full, chi, mask) > dissimilarity(full, chi, mask)
    assert loss(1.0, "structural") == pytest.approx(2.0, abs=1e-3)  # the first map's, by both
