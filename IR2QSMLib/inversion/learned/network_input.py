"""The input of a network: the field, maps that Wiener's filter makes of it, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.networks.registry import NETWORKS, Config, network_name_of

CHANNELS = ("field", "sharper_map", "first_map")
"""What a channel can be, in the network's order: the field, a first map of a smaller λ, and the first map χ₁."""
OLD_NAMES = {
    "field": ("field",),
    "first": ("first_map",),
    "tikhonov": ("first_map",),
    "both": ("field", "first_map"),
    "three": CHANNELS,
}
"""Channels by the names that headers and recipes of version 0.1.0 give them."""


@dataclass(frozen=True)
class NetworkInput:
    """Which of the field, a sharper map and the first map are the channels of a network's input.

    Raises
    ------
    ParameterInvalid
        Unless the channels are some of `CHANNELS`, in that order.
    """

    channels: tuple[str, ...] = ("field", "first_map")
    """Some of `CHANNELS`, in that order."""

    def __post_init__(self) -> None:
        if not self.channels or self.channels != tuple(name for name in CHANNELS if name in self.channels):
            raise ParameterInvalid(
                f"The channels of the network's input are '{', '.join(self.channels)}'; expected one or more of "
                f"{', '.join(CHANNELS)}, in this order.",
                option="input_channels",
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkInput:
        """The input that a weights file or a recipe names; raises KeyError when it names none."""
        if "channels" not in values and "reads" in values:
            name = str(values["reads"])
            return cls(OLD_NAMES.get(name, (name,)))
        return cls(tuple(map(str, values["channels"])))

    @property
    def n_channels(self) -> int:
        """Channels of the network's input."""
        return len(self.channels)

    @property
    def has_sharper_map(self) -> bool:
        """Whether the sharper map is one of the channels."""
        return "sharper_map" in self.channels

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
        return torch.stack(self.select(data_term.field.values, sharper_map, first_map))

    def select(self, field: Tensor, sharper_map: Tensor | None, first_map: Tensor) -> list[Tensor]:
        """The channels among volumes of one shape [ppm]; the sharper map may be None where it is no channel."""
        volumes = {"field": field, "first_map": first_map}
        if sharper_map is not None:
            volumes["sharper_map"] = sharper_map
        return [volumes[name] for name in self.channels]


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
    listed = ", ".join(network_input.channels)
    if config.n_inputs != network_input.n_channels:
        raise ParameterInvalid(
            f"The network has {config.n_inputs} input channels and its input is {network_input.n_channels} ({listed}); "
            "expected as many.",
            option="input_channels",
        )
    name = network_name_of(config)
    if NETWORKS[name].unrolled and "field" not in network_input.channels:
        raise ParameterInvalid(
            f"The unrolled network '{name}' fits its map to the field, and the channels of its input are {listed}; "
            "expected 'field' among them.",
            option="input_channels",
        )
