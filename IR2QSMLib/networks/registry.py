"""The networks by the names that weights files and the command line give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.networks.lpcnn import Lpcnn, LpcnnConfig
from IR2QSMLib.networks.modl_qsm import ModlQsm, ModlQsmConfig
from IR2QSMLib.networks.unet import Unet, UnetConfig
from IR2QSMLib.networks.whole_brain import WholeBrainConfig, WholeBrainUnet
from IR2QSMLib.networks.xqsm import Xqsm, XqsmConfig

Config = IR2UnetConfig | UnetConfig | XqsmConfig | LpcnnConfig | ModlQsmConfig | WholeBrainConfig
Unrolled = Lpcnn | ModlQsm
Network = IR2Unet | Unet | Xqsm | Unrolled | WholeBrainUnet
"""A network has its `config`; `multiple`, what every axis of its input is a multiple of; and `unrolled`: whether it is
called with the dipole operator and the mask beside the image, and so knows the grid and B0."""


@dataclass(frozen=True)
class Kind:
    """A network's class and that of its size."""

    network: Any
    config: Callable[..., Config]

    @property
    def unrolled(self) -> bool:
        """Whether the network is called with the dipole operator and the mask."""
        return bool(self.network.unrolled)


NETWORKS = {
    "ir2unet": Kind(IR2Unet, IR2UnetConfig),
    "unet": Kind(Unet, UnetConfig),
    "xqsm": Kind(Xqsm, XqsmConfig),
    "lpcnn": Kind(Lpcnn, LpcnnConfig),
    "modl-qsm": Kind(ModlQsm, ModlQsmConfig),
    "whole-brain": Kind(WholeBrainUnet, WholeBrainConfig),
}


def kind_of(config: Config) -> str:
    """The name of the network that a configuration is for."""
    return next(name for name, kind in NETWORKS.items() if kind.config is type(config))


def build(config: Config) -> Network:
    """The network of a configuration, its weights as torch draws them."""
    network: Network = NETWORKS[kind_of(config)].network(config)
    return network


def sized(name: str, **settings: Any) -> Config:
    """The configuration of the network `name` with the settings that are given, else as published.

    Raises ParameterInvalid for a network or a setting that there is not.
    """
    if name not in NETWORKS:
        raise ParameterInvalid(f"The network is '{name}'; expected one of {', '.join(NETWORKS)}.")
    made: Any = NETWORKS[name].config
    known = {f.name for f in fields(made)}
    unknown = [k for k in settings if k not in known]
    if unknown:
        said = unknown[0].removeprefix("n_").replace("_", " ")
        raise ParameterInvalid(f"The network '{name}' has no setting '{said}'; leave it out.")
    return NETWORKS[name].config(**settings)
