"""From a weights file to a network, strictly, and once for every file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.inversion.learned.network_input import NetworkInput, require_matching_input
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration
from IR2QSMLib.io.weights import models_folder, read_weights, strict_state_dict
from IR2QSMLib.networks.blocks import fold_batch_norm
from IR2QSMLib.networks.registry import NETWORKS, Network, build, config_from_header


@dataclass(frozen=True)
class LoadedNetwork:
    """A network that is ready for inference, and what the header of its weights says."""

    network: Network
    """In evaluation mode, its batch normalisation folded."""
    network_name: str
    """Key of `NETWORKS`."""
    network_input: NetworkInput
    name: str
    """Name of the weights file."""
    sha256: str
    """Hash of the weights file."""
    calibration: Calibration | None = None
    """Calibration of the uncertainty; None where the weights were not calibrated for this version's features."""


def bundled(name: str = "ir2qsm") -> Path:
    """Path of the bundled weights of a method; raises WeightsInvalid when there is no folder of weights."""
    return models_folder() / f"{name}.safetensors"


def load(path: Path) -> LoadedNetwork:
    """Load a network from its weights file; it stays in memory until the file changes.

    Parameters
    ----------
    path : Path
        A safetensors file with the library's header.

    Returns
    -------
    LoadedNetwork
        Shared by all callers.

    Raises
    ------
    WeightsInvalid
        When the file is missing, altered, or does not fit the network it names.
    """
    try:
        status = path.stat()
    except OSError:
        return _load(path, 0, 0)
    return _load(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=6)
@torch.inference_mode(False)  # parameters made in inference mode could not be used outside it later
def _load(path: Path, modified_ns: int, n_bytes: int) -> LoadedNetwork:
    """Load a file; modification time and size are there for the cache."""
    weights = read_weights(path)
    try:
        network_name = str(weights.header["network"])
        if network_name not in NETWORKS:
            raise WeightsInvalid(
                f"'{weights.name}' is for a network '{network_name}', which this version does not know.",
                option="weights",
            )
        network_input = NetworkInput.from_dict(weights.header["reading"])
        config = config_from_header(network_name, weights.header["config"])
        require_matching_input(network_input, config)
        calibration = None
        stored = weights.header.get("calibration")
        if stored is not None and tuple(stored["features"]) == FEATURES:  # else that of another version
            calibration = Calibration.from_dict(stored)
        with torch.device("meta"):  # sizes that the file does not have may be beyond any memory
            strict_state_dict(weights, build(config).state_dict())
    except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsInvalid(
            f"The header of '{weights.name}' lacks or misnames a setting ({error}); import or train it again.",
            option="weights",
        ) from error
    except ParameterInvalid as error:
        raise WeightsInvalid(
            f"The header of '{weights.name}' cannot be: {error} Import or train it again.", option="weights"
        ) from error
    network = build(config)
    network.load_state_dict(strict_state_dict(weights, network.state_dict()))
    network = optimise_for_inference(network.eval().requires_grad_(False))
    return LoadedNetwork(network, network_name, network_input, weights.name, weights.sha256, calibration)


def optimise_for_inference(network: Network) -> Network:
    """Make a network in evaluation mode faster without changing what it computes, in place."""
    fold_batch_norm(network)
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
