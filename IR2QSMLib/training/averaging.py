"""The exponential moving average of the weights, and the network that is saved from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.networks.blocks import reestimate_batch_norm
from IR2QSMLib.networks.registry import Network, build


def average_weight(decay: float, n_averaged: int) -> float:
    """Decay of the average at a step, min(decay, (1 + n)/(10 + n)): a short average at first.

    The warm-up is that of TensorFlow's ExponentialMovingAverage.

    Parameters
    ----------
    decay : float
        The decay that is approached, 0 to 1.
    n_averaged : int
        Number of the step, from 1.
    """
    return min(decay, (1.0 + n_averaged) / (10.0 + n_averaged))


def averaged_model(network: torch.nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a network's parameters, which begins as they are.

    Parameters
    ----------
    network : Module
        The network; its buffers are copied at each update.
    decay : float
        See `average_weight`.
    """

    def average(averaged: Tensor, parameter: Tensor, n_averaged: Tensor | int) -> Tensor:
        return torch.lerp(averaged, parameter, 1.0 - average_weight(decay, int(n_averaged)))

    model = AveragedModel(network, avg_fn=average)
    model.update_parameters(network)  # the first update copies
    return model


def evaluation_network(average: AveragedModel, batch_norm_inputs: Iterable[tuple[Any, ...]]) -> Network:
    """The network with averaged weights as inference uses it, on the same device.

    Parameters
    ----------
    average : AveragedModel
        From `averaged_model`.
    batch_norm_inputs : iterable of tuple
        Arguments of the network, batch by batch, on which the statistics of batch normalisation are estimated.
    """
    device = next(average.parameters()).device
    network = build(average.module.config.eval_config).to(device)  # type: ignore[union-attr,arg-type]
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.load_state_dict(average.module.state_dict())
    batches = list(batch_norm_inputs)
    with torch.autocast(device.type, torch.bfloat16, enabled=half_precision(str(device)) is not None):
        reestimate_batch_norm(network, batches)
    return network
