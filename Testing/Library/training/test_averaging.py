"""The averaged weights: an exponential moving average that is short at first."""

from __future__ import annotations

import pytest
import torch

from IR2QSMLib.training.averaging import average_weight, averaged_model


def test_the_average_begins_as_the_network_and_is_short_at_first() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    average = averaged_model(network, 0.999)
    weight = average.module.weight
    assert torch.equal(weight, network.weight) and weight is not network.weight
    expected = float(weight.detach())
    for step in range(1, 6):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update_parameters(network)
        decay = (1 + step) / (10 + step)
        expected = decay * expected + (1 - decay) * step
        assert float(weight.detach()) == pytest.approx(expected, rel=1e-6)


def test_the_average_approaches_its_decay() -> None:
    weights = [average_weight(0.9, n) for n in (1, 10, 80, 100, 10**6)]
    assert weights == sorted(weights) and weights[-1] == 0.9
    assert average_weight(0.1, 1) == 0.1
