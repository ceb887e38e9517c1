"""What a network is given: the field, a first inversion of it, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity, GradientTikhonov
from IR2QSMLib.networks.kinds import KINDS, Config, kind_of
from IR2QSMLib.runtime import Progress, silent

READS = ("field", "tikhonov", "both")
"""What a network may be given: the field, a first inversion χ₀, or the two as channels."""


@dataclass(frozen=True)
class Reading:
    """What a network reads; raises ParameterInvalid when that is unknown."""

    reads: str = "both"
    floor: float = 0.01
    per_noise: float = 4.0
    n_steps: int = 12
    """Parameters of the first inversion χ₀, a `GradientTikhonov`."""

    def __post_init__(self) -> None:
        if self.reads not in READS:
            raise ParameterInvalid(f"The network is said to read '{self.reads}'; expected one of {', '.join(READS)}.")

    @property
    def n_channels(self) -> int:
        """Channels of the network's input."""
        return 2 if self.reads == "both" else 1

    @property
    def first_inversion(self) -> GradientTikhonov:
        """What makes χ₀."""
        return GradientTikhonov(self.floor, self.per_noise, self.n_steps)

    def __call__(self, fidelity: Fidelity, chi: Tensor | None = None, progress: Progress = silent) -> Tensor:
        """The input for a prepared field [ppm]: (n_channels, x, y, z) [ppm], zero outside the mask.

        χ₀ starts from the map so far, `chi` [ppm], or where there is none, from zero.
        """
        field, channels = fidelity.field, []
        if self.reads != "tikhonov":
            channels.append(torch.where(field.mask, field.values, 0.0))
        if self.reads != "field":
            start = torch.zeros_like(field.values) if chi is None else chi
            channels.append(self.first_inversion.refine(start, fidelity, progress))
        return torch.stack(channels)


def require_fit(reading: Reading, config: Config) -> None:
    """Raise ParameterInvalid when a network cannot take what is read for it."""
    if config.n_inputs != reading.n_channels:
        raise ParameterInvalid(
            f"The network has {config.n_inputs} input channels and reads {reading.n_channels} ('{reading.reads}')."
        )
    name = kind_of(config)
    if KINDS[name].unrolled and reading.reads == "tikhonov":
        raise ParameterInvalid(f"The network '{name}' descends on the field; let it read 'field' or 'both'.")
