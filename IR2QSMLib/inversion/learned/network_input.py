"""The input of a network: the field, maps that Wiener's filter makes of it, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.networks.registry import NETWORKS, Config, network_name_of

CHANNELS = {"field": 1, "first": 1, "both": 2, "three": 3}
"""Inputs and their channels: the field; the first map χ₁; field and χ₁; field, a sharper map and χ₁."""
OLD_NAMES = {"tikhonov": "first"}
"""Names in the headers of older weights."""


@dataclass(frozen=True)
class NetworkInput:
    """Which of the field, a sharper map and the first map are the channels of a network's input.

    Raises
    ------
    ParameterInvalid
        For a name that is not in `CHANNELS`.
    """

    reads: str = "both"
    """A key of `CHANNELS`."""

    def __post_init__(self) -> None:
        if self.reads not in CHANNELS:
            raise ParameterInvalid(f"The network reads '{self.reads}'; expected one of {', '.join(CHANNELS)}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkInput:
        """The input that a weights file or a recipe names; raises KeyError when it names none."""
        reads = str(values["reads"])
        return cls(OLD_NAMES.get(reads, reads))

    @property
    def n_channels(self) -> int:
        """Channels of the network's input."""
        return CHANNELS[self.reads]

    @property
    def has_sharper_map(self) -> bool:
        """Whether the sharper map is one of the channels."""
        return self.reads == "three"

    def __call__(self, data_term: DataTerm, first_map: Tensor | None = None) -> Tensor:
        """Make the input of a field.

        Parameters
        ----------
        data_term : DataTerm
            That of the field; it makes the sharper map.
        first_map : Tensor, optional
            χ₁ [ppm], by default the data term's: (x, y, z).

        Returns
        -------
        Tensor
            [ppm], zero outside the mask: (n_channels, x, y, z).
        """
        sharper_map = data_term.sharper_map() if self.has_sharper_map else None
        first_map = data_term.first_map if first_map is None else first_map
        return torch.stack(self.channels(data_term.field.values, sharper_map, first_map))

    def channels(self, field: Tensor, sharper_map: Tensor | None, first_map: Tensor) -> list[Tensor]:
        """Choose the channels among three volumes of one shape [ppm], in the network's order."""
        chosen = [] if self.reads == "first" else [field]
        if self.has_sharper_map and sharper_map is not None:
            chosen.append(sharper_map)
        return chosen if self.reads == "field" else [*chosen, first_map]


def require_matching_input(network_input: NetworkInput, config: Config) -> None:
    """Refuse an input that a network cannot take.

    Parameters
    ----------
    network_input : NetworkInput
        The input.
    config : Config
        The network's configuration.

    Raises
    ------
    ParameterInvalid
        When the channels differ in number, or an unrolled network does not get the field.
    """
    reads = network_input.reads
    if config.n_inputs != network_input.n_channels:
        raise ParameterInvalid(
            f"The network has {config.n_inputs} input channels and reads {network_input.n_channels} ('{reads}')."
        )
    name = network_name_of(config)
    if NETWORKS[name].unrolled and reads == "first":
        raise ParameterInvalid(f"The network '{name}' descends on the field; let it read 'field' or 'both'.")
