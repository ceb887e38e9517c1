"""The networks by the names that weights files and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
"""Size and settings of a network. `peak_values_per_voxel` are the numbers that its inference holds at once for each
voxel; `eval_config` is the same configuration without what is random in training."""
Unrolled = Lpcnn | ModlQsm
Network = IR2Unet | Unet | Xqsm | Unrolled | WholeBrainUnet
"""A network has its `config`; `multiple`, which every axis of its input is a multiple of; and `unrolled`: whether it is
called with the dipole operator and the mask beside the image, and so knows the grid and B0."""


@dataclass(frozen=True)
class NetworkInfo:
    """A network's class and that of its configuration."""

    network: Any
    config: Callable[..., Config]

    @property
    def unrolled(self) -> bool:
        """Whether the network is called with the dipole operator and the mask."""
        return bool(self.network.unrolled)


NETWORKS = {
    "ir2unet": NetworkInfo(IR2Unet, IR2UnetConfig),
    "unet": NetworkInfo(Unet, UnetConfig),
    "xqsm": NetworkInfo(Xqsm, XqsmConfig),
    "lpcnn": NetworkInfo(Lpcnn, LpcnnConfig),
    "modl-qsm": NetworkInfo(ModlQsm, ModlQsmConfig),
    "whole-brain": NetworkInfo(WholeBrainUnet, WholeBrainConfig),
}


def network_name_of(config: Config) -> str:
    """The name in `NETWORKS` of the network that a configuration is for."""
    return next(name for name, info in NETWORKS.items() if info.config is type(config))


def build(config: Config) -> Network:
    """Build the network of a configuration, its weights as torch draws them."""
    network: Network = NETWORKS[network_name_of(config)].network(config)
    return network


def make_config(name: str, **settings: Any) -> Config:
    """Make the configuration of a network from some settings; the others are the published ones.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    **settings
        Fields of its configuration. Those that earlier versions had are ignored.

    Returns
    -------
    Config
        The configuration.

    Raises
    ------
    ParameterInvalid
        For an unknown network or setting, and for a value that the network cannot have.
    """
    if name not in NETWORKS:
        raise ParameterInvalid(f"The network is '{name}'; expected one of {', '.join(NETWORKS)}.", option="network")
    config_class: Any = NETWORKS[name].config
    settings = _without_dropped(config_class, settings)
    unknown = sorted(settings.keys() - {f.name for f in fields(config_class)})
    if unknown:
        label = unknown[0].removeprefix("n_").replace("_", " ")
        raise ParameterInvalid(f"The network '{name}' has no setting '{label}'; leave it out.")
    return NETWORKS[name].config(**settings)


def config_from_header(name: str, values: Mapping[str, Any]) -> Config:
    """Read the configuration of a network from the header of its weights, which states every setting.

    A default in place of a missing setting would be another network. Headers of earlier versions may lack the settings
    in the class's `later_settings`, and have those in its `dropped_settings`.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    values : mapping
        Settings by name.

    Returns
    -------
    Config
        The configuration.

    Raises
    ------
    KeyError
        Naming a setting that is missing.
    TypeError
        For an unknown setting, or values that are no mapping.
    ParameterInvalid
        For a value that the network cannot have.
    """
    config_class: Any = NETWORKS[name].config
    values = {**getattr(config_class, "later_settings", {}), **values}
    missing = sorted({f.name for f in fields(config_class)} - values.keys())
    if missing:
        raise KeyError(missing[0])
    return NETWORKS[name].config(**_without_dropped(config_class, values))


def _without_dropped(config_class: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that earlier versions had and that change nothing."""
    dropped = getattr(config_class, "dropped_settings", ())
    return {key: value for key, value in settings.items() if key not in dropped}
