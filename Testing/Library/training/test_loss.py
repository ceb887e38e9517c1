"""What a run minimises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.networks.blocks import Estimate
from IR2QSMLib.training.loss import CORNER, loss_of


def estimate(chi: float, *iterates: float, log_sigma: float | None = None) -> Estimate:
    def volume(value: float) -> Tensor:
        return torch.full((1, 1, 2, 1, 1), value)

    return Estimate(volume(chi), [volume(v) for v in iterates], None if log_sigma is None else volume(log_sigma))


ZERO, ONES = torch.zeros(1, 1, 2, 1, 1), torch.ones(1, 1, 2, 1, 1)


def test_the_loss_halves_from_each_pass_to_the_one_before() -> None:
    # 0.03 of the result; iterates 0.02, 0.05 and 0.01 of the last: 9 + 1 + 25/2 + 4/4 in units of (0.01 ppm)².
    found = loss_of(estimate(0.03, 0.02, 0.05, 0.01), ZERO, ONES, "squared", first=ZERO)
    assert float(found) == pytest.approx(9 + 1 + 12.5 + 1)
    found = loss_of(estimate(0.03, 0.02, -0.05, 0.01), ZERO, ONES, "absolute", first=ZERO)
    assert float(found) == pytest.approx(3 + 1 + 2.5 + 0.5)


def test_the_loss_is_a_mean_over_the_mask_alone() -> None:
    mask = torch.tensor([1.0, 0.0]).view_as(ONES)
    chi = torch.tensor([0.02, 5.0]).view_as(ONES)
    assert float(loss_of(Estimate(chi, [], None), ZERO, mask, "squared", first=ZERO)) == pytest.approx(4.0)
    assert float(loss_of(Estimate(chi, [], None), ZERO, 0 * mask, "squared", first=ZERO)) == 0.0


@pytest.mark.parametrize("sigma", [0.003, 0.02, 0.2])
def test_the_likelihood_is_least_at_the_errors_true_size(sigma: float) -> None:
    shape = (1, 1, 20, 20, 20)
    error = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    error *= sigma / error.square().mean().sqrt()
    truth, mask = torch.zeros(shape), torch.ones(shape)

    def likelihood(factor: float) -> float:
        log_sigma = torch.full(shape, math.log(sigma * factor))
        return float(loss_of(Estimate(error, [], log_sigma), truth, mask, "squared", first=truth))

    assert likelihood(1.0) < min(likelihood(0.9), likelihood(1.1)) < min(likelihood(0.5), likelihood(2.0))


def test_the_likelihood_leaves_the_map_alone() -> None:
    def gradient(log_sigma: Tensor | None) -> Tensor:
        chi = torch.full_like(ONES, 0.03, requires_grad=True)
        loss_of(Estimate(chi, [], log_sigma), ZERO, ONES, "squared", first=ZERO).backward()
        assert chi.grad is not None
        return chi.grad

    assert torch.equal(gradient(None), gradient(torch.full_like(ONES, -4.0)))


def test_the_relative_loss_is_the_first_map_s_error_over_its_own() -> None:
    """About one for a map that is the first; squares of small errors, sizes of large ones, and the result's alone."""

    def relative(error: float, of_first: float, *iterates: float) -> float:
        """Errors in units of the corner between squares and sizes."""
        found = estimate(CORNER * error, *(CORNER * i for i in iterates))
        return float(loss_of(found, ZERO, ONES, "relative", first=ZERO + CORNER * of_first))

    assert relative(0.5, 0.5) == pytest.approx(1.0, abs=1e-3) == relative(20.0, 20.0)
    assert relative(0.25, 0.5) == pytest.approx(0.25, abs=1e-3) == relative(0.25, 0.5, 3.0, 3.0)
    assert relative(40.0, 20.0) == pytest.approx(2.0, rel=0.02)
    assert relative(0.0, 0.0) == 0.0 and math.isfinite(relative(0.5, 0.0))
    half, outside = torch.tensor([1.0, 0.0]).view_as(ONES), torch.tensor([0.5 * CORNER, 5.0]).view_as(ONES)
    found = loss_of(Estimate(outside, [], None), ZERO, half, "relative", first=ZERO + 0.5 * CORNER)
    assert float(found) == pytest.approx(1.0, abs=1e-3)
