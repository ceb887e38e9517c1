"""Weights files become networks: strictly, and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.inversion.learned.network_input import NetworkInput, require_fit
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration
from IR2QSMLib.io.weights import fit, models_folder, read_weights
from IR2QSMLib.networks.blocks import fold_batch_norm
from IR2QSMLib.networks.registry import NETWORKS, Network, build

Made = TypeVar("Made")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode with its batch normalisation folded, and what its file said of it."""

    network: Network
    kind: str
    """The network's name in `NETWORKS`."""
    network_input: NetworkInput
    name: str
    sha256: str
    calibration: Calibration | None = None
    """What makes the network's standard error keep its word, where the weights were calibrated with this version."""


def bundled(name: str = "ir2qsm") -> Path:
    """The bundled weights of a method."""
    return models_folder() / f"{name}.safetensors"


def load(path: Path) -> LoadedNetwork:
    """Read a weights file and build its network, or take it from memory while the file is the same.

    Raises WeightsInvalid when the file is missing, altered, or does not fit the network it names.
    """
    try:
        state = path.stat()
    except OSError:
        return _load(path, 0, 0)
    return _load(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=6)
def _load(path: Path, changed: int, size: int) -> LoadedNetwork:
    weights = read_weights(path)
    try:
        name = str(weights.header["network"])
        if name not in NETWORKS:
            raise WeightsInvalid(f"'{weights.name}' is for a network '{name}', which this version does not know.")
        network_input = NetworkInput.from_dict(weights.header["reading"])
        config = _exactly(NETWORKS[name].config, weights.header["config"])
        require_fit(network_input, config)
        found = weights.header.get("calibration")
        older = found is not None and tuple(found["features"]) != FEATURES  # by another version's: of no use here
        calibration = None if found is None or older else Calibration.from_dict(found)
    except (AttributeError, KeyError, TypeError) as error:
        raise WeightsInvalid(
            f"The header of '{weights.name}' lacks or misnames a setting ({error}); import or train it again."
        ) from error
    except ParameterInvalid as error:
        raise WeightsInvalid(f"The header of '{weights.name}' cannot be: {error} Import or train it again.") from error
    network = build(config)
    network.load_state_dict(fit(weights, network.state_dict()))
    network = prepared(network.eval().requires_grad_(False))
    return LoadedNetwork(network, name, network_input, weights.name, weights.sha256, calibration)


def _exactly(made: Callable[..., Made], values: dict[str, Any]) -> Made:
    """A dataclass from all of its fields: a default in place of a missing one would be another network."""
    values = {**getattr(made, "added", {}), **values}
    missing = sorted({f.name for f in fields(cast(Any, made))} - values.keys())
    if missing:
        raise KeyError(missing[0])
    return made(**values)


def prepared(network: Network) -> Network:
    """A network in evaluation mode made faster without changing what it computes; in place."""
    fold_batch_norm(network)
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
