"""What a network is given: the field, maps that Wiener's filter makes of it, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.networks.registry import NETWORKS, Config, kind_of

CHANNELS = {"field": 1, "first": 1, "both": 2, "three": 3}
"""What a network may read and its channels: the field, the first map χ₁, the two, or a sharper map between them."""
OLD_NAMES = {"tikhonov": "first"}
"""Names in the headers of older weights."""


@dataclass(frozen=True)
class NetworkInput:
    """What a network reads; raises ParameterInvalid when that is unknown."""

    reads: str = "both"

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

    def __call__(self, term: DataTerm, first_map: Tensor | None = None) -> Tensor:
        """The input for a field: (n_channels, x, y, z) [ppm], zero outside the mask.

        `first_map` χ₁ [ppm], (x, y, z), is the data term's own where none is given. The sharper map is that of the
        geometric mean of λ and its least value.
        """
        sharper_map = term.sharper_map() if self.has_sharper_map else None
        first_map = term.first_map if first_map is None else first_map
        return torch.stack(self.channels(term.field.values, sharper_map, first_map))

    @property
    def has_sharper_map(self) -> bool:
        """Whether the sharper map is one of the channels."""
        return self.reads == "three"

    def channels(self, field: Tensor, sharper_map: Tensor | None, first_map: Tensor) -> list[Tensor]:
        """Those of the three that the network gets, in the order of its channels; all of one shape [ppm]."""
        chosen = [] if self.reads == "first" else [field]
        if self.has_sharper_map and sharper_map is not None:
            chosen.append(sharper_map)
        return chosen if self.reads == "field" else [*chosen, first_map]


def require_fit(reads: NetworkInput, config: Config) -> None:
    """Raise ParameterInvalid when a network cannot take what is read for it."""
    if config.n_inputs != reads.n_channels:
        raise ParameterInvalid(
            f"The network has {config.n_inputs} input channels and reads {reads.n_channels} ('{reads.reads}')."
        )
    name = kind_of(config)
    if NETWORKS[name].unrolled and reads.reads == "first":
        raise ParameterInvalid(f"The network '{name}' descends on the field; let it read 'field' or 'both'.")
