"""Everything that decides what a run learns; recipe.json in the run's folder holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.network_input import NetworkInput, require_matching_input
from IR2QSMLib.networks.ir2unet import IR2UnetConfig
from IR2QSMLib.networks.registry import NETWORKS, Config, make_config, network_name_of
from IR2QSMLib.training.loss import LOSSES
from IR2QSMLib.training.patch_task import PatchTask
from IR2QSMLib.training.sampling import Sampling
from IR2QSMLib.training.whole_brain_task import WholeBrainTask

FILE = "recipe.json"
OLD_NAMES = {
    "kind": "network",
    "network": "config",
    "reading": "network_input",
    "feed": "sampling",
    "averaging": "averaging_decay",
}
"""Keys of version 0.1.0."""


@dataclass(frozen=True)
class Recipe:
    """Network, data, loss and learning rate of a run.

    Raises
    ------
    ParameterInvalid
        For values that cannot be, and when the network cannot take its input.
    """

    config: Config = IR2UnetConfig(n_inputs=NetworkInput().n_channels)
    """The network's size."""
    network_input: NetworkInput = NetworkInput()
    sampling: Sampling = Sampling()
    loss: str = "squared"
    """One of `LOSSES`, see `estimate_loss`."""
    learning_rate: float = 1e-3
    """The highest; it falls to nearly zero over the run's time."""
    averaging_decay: float = 0.999
    """Decay of the averaged weights, a step."""
    trains_on_whole_heads: bool = False
    """Whether the network learns from whole heads on coarse voxels, and not from patches."""

    def __post_init__(self) -> None:
        if not 0.0 < self.learning_rate < 1.0:
            raise ParameterInvalid(
                f"The learning rate is {self.learning_rate:g}; expected a number between 0 and 1.",
                option="learning_rate",
            )
        if self.loss not in LOSSES:
            raise ParameterInvalid(f"The loss is '{self.loss}'; expected one of {', '.join(LOSSES)}.", option="loss")
        require_matching_input(self.network_input, self.config)

    @property
    def network(self) -> str:
        """The network's name."""
        return network_name_of(self.config)

    def to_dict(self) -> dict[str, Any]:
        """The recipe for JSON."""
        return {"network": self.network, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` made, or version 0.1.0."""
        rest = dict(values)
        if "config" not in rest:
            rest = {OLD_NAMES.get(key, key): value for key, value in rest.items()}
        if "whole_brains" in rest:
            rest["trains_on_whole_heads"] = rest.pop("whole_brains")
        config = make_config(rest.pop("network", "ir2unet"), **rest.pop("config"))
        network_input = NetworkInput.from_dict(rest.pop("network_input"))
        return cls(config, network_input, Sampling.from_dict(rest.pop("sampling")), **rest)

    @classmethod
    def read(cls, folder: Path) -> Recipe | None:
        """The recipe of a run in its folder; None where there is none."""
        path = folder / FILE
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def task(self, patch_cache: Path | None = None) -> PatchTask | WholeBrainTask:
        """What the network is trained on; `patch_cache` is a folder that keeps patches for other runs."""
        if self.trains_on_whole_heads:
            return WholeBrainTask(self.network_input, self.sampling.seed)
        unrolled = NETWORKS[self.network].unrolled
        return PatchTask(self.network_input, self.sampling, self.loss, unrolled=unrolled, cache_folder=patch_cache)
