"""The weights that a run begins from: random ones, or those of a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.io.weights import read_weights, strict_state_dict
from IR2QSMLib.networks.blocks import fold_batch_norm
from IR2QSMLib.networks.ir2unet import IR2Unet
from IR2QSMLib.networks.registry import Config, Network, build, network_name_of
from IR2QSMLib.networks.whole_brain import WholeBrainUnet


def initial_network(config: Config, seed: int, path: Path | None = None) -> Network:
    """A network as a run begins: with random weights of a seed, or with those of a file.

    Raises
    ------
    WeightsInvalid
        When the file does not fit, see `load_initial_weights`.
    """
    network = build(config)
    network.initialise(torch.Generator().manual_seed(seed))
    if path is not None:
        load_initial_weights(path, network)
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def load_initial_weights(path: Path, network: Network) -> None:
    """Give a network the weights of a file.

    IR2U-net takes weights of another unit, and without batch normalisation those of a network with it, folded.

    Parameters
    ----------
    path : Path
        A weights file (safetensors).
    network : Network
        Of the size of those weights.

    Raises
    ------
    WeightsInvalid
        When the weights are another network's, of another size or, except for IR2U-net, of another unit.
    """
    weights, name = read_weights(path), network_name_of(network.config)
    if weights.header.get("network") != name:
        raise WeightsInvalid(
            f"'{weights.name}' holds a '{weights.header.get('network')}'; expected a '{name}'.",
            option="initial_weights",
        )
    has_batch_norm = weights.header["config"].get("normalised", True)
    if isinstance(network, IR2Unet) and has_batch_norm and not network.config.normalised:
        normalised = build(replace(network.config, normalised=True))
        normalised.load_state_dict(strict_state_dict(weights, normalised.state_dict()))
        network.load_state_dict(fold_batch_norm(normalised.eval()).state_dict())
    else:
        network.load_state_dict(strict_state_dict(weights, network.state_dict()))
    if isinstance(network, WholeBrainUnet):  # homogeneous: the unit makes no difference
        return
    unit = float(weights.header["config"].get("unit", 1.0))
    if isinstance(network, IR2Unet):
        network.rescale(network.config.unit / unit)
    elif network.config.unit != unit:
        raise WeightsInvalid(
            f"'{weights.name}' counts in units of {unit:g} ppm; expected {network.config.unit:g} ppm.",
            option="initial_weights",
        )
