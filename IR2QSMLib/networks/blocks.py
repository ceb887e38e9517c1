"""Blocks that more than one network is built of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from IR2QSMLib.core.errors import ParameterInvalid


class Estimate(NamedTuple):
    """The output of a network; every tensor is (n, 1, x, y, z)."""

    chi: Tensor
    """Susceptibility [ppm]."""
    iterates: list[Tensor]
    """The estimate of each pass [ppm], for a network whose passes are trained one by one."""
    log_sigma: Tensor | None
    """Logarithm of the standard error [ppm], for a network with an uncertainty head."""
    unexplained: Tensor | None = None
    """Part of the field that no χ explains [ppm], for a network that estimates it."""


TensorFunction = Callable[[Tensor], Tensor]
ApplyToVolume = Callable[[TensorFunction, Tensor], Tensor]
"""Applies the learned part of an unrolled network to a volume, at once (`apply_at_once`) or in tiles."""


def apply_at_once(learned_part: TensorFunction, x: Tensor) -> Tensor:
    """Apply the learned part of an unrolled network to the volume at once."""
    return learned_part(x)


class DipoleOperator(Protocol):
    """The dipole operator of each sample and orientation: (n, 1 or o, x, y, z) [ppm] to (n, o, x, y, z) [ppm]."""

    def __call__(self, chi: Tensor) -> Tensor: ...
    def adjoint(self, field: Tensor) -> Tensor: ...


def require_valid_size(config: Any, n_finest: int) -> None:
    """Refuse a size, a unit or a probability that a network cannot have.

    Parameters
    ----------
    config : Config
        The network's configuration.
    n_finest : int
        Channels that the width is a factor on.

    Raises
    ------
    ParameterInvalid
        Naming the setting, its value and what was expected.
    """
    is_finite = isinstance(config.width, int | float) and isfinite(config.width)
    if not is_finite or round(n_finest * config.width) < 1:
        raise ParameterInvalid(
            f"The width is {config.width!r}; expected a number above 1/{2 * n_finest}, so a channel is left."
        )
    if not isinstance(n := getattr(config, "n_passes", 1), int) or n < 1:
        raise ParameterInvalid(f"The passes are {n!r}; expected a whole number from 1.")
    if config.n_inputs not in (1, 2, 3):
        raise ParameterInvalid(f"The input channels are {config.n_inputs!r}; expected 1, 2 or 3.")
    for name in ("unit", "unexplained_unit"):
        value = getattr(config, name, 1.0)
        if not isinstance(value, int | float) or not 0.0 < value < float("inf"):
            raise ParameterInvalid(f"The network's {_label(name)} is {value!r}; expected a positive number of ppm.")
    for name in ("mean", "unexplained_mean"):
        value = getattr(config, name, 0.0)
        if not isinstance(value, int | float) or not isfinite(value):
            raise ParameterInvalid(f"The network's {_label(name)} is {value!r}; expected a finite number of ppm.")
    for name in ("dropout", "feature_noise"):
        value = getattr(config, name, 0.0)
        if not isinstance(value, int | float) or not 0.0 <= value < 1.0:
            raise ParameterInvalid(f"The {_label(name)} is {value!r}; expected a probability from 0 to below 1.")


def _label(name: str) -> str:
    return name.replace("_", " ")


class ConvBlock(nn.Sequential):
    """Convolution 3³ with bias, batch normalisation, ReLU: (n, c_in, x, y, z) to (n, c_out, x, y, z)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(nn.Conv3d(c_in, c_out, 3, padding=1), nn.BatchNorm3d(c_out), nn.ReLU(inplace=True))


class UpBlock(nn.Sequential):
    """Transposed convolution 2³ of stride 2, batch normalisation, ReLU: each axis doubles."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(nn.ConvTranspose3d(c_in, c_out, 2, stride=2), nn.BatchNorm3d(c_out), nn.ReLU(inplace=True))


class Pool(nn.MaxPool3d):
    """The maximum over 2³ voxels: each axis halves. It keeps half precision, which autocast would double."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class ResidualBlock(nn.Module):
    """Convolution, batch normalisation, ReLU, dropout, convolution, batch normalisation; plus the input; ReLU."""

    def __init__(self, c: int, dropout: nn.Module) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv3d(c, c, 3, padding=1, bias=False),
            nn.BatchNorm3d(c),
            nn.ReLU(inplace=True),
            dropout,
            nn.Conv3d(c, c, 3, padding=1, bias=False),
            nn.BatchNorm3d(c),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.change(x) + x)


class ResidualNetwork(nn.Module):
    """The learned part of an unrolled network: (n, c_in, x, y, z) to (n, c_out, x, y, z), any size.

    Convolution to `c` channels, eight residual blocks, three convolutions 1³; of the convolutions at most the last has
    a bias. It sees 17 voxels to every side.
    """

    def __init__(self, c_in: int, c: int, c_out: int, dropout: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(c_in, c, 3, padding=1, bias=False), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(*(ResidualBlock(c, dropout) for _ in range(8)))
        self.mix = nn.Sequential(
            nn.Conv3d(c, c, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv3d(c, c, 1, bias=False),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv3d(c, c_out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.blocks(self.first(x)))
        with torch.autocast(x.device.type, enabled=False):  # χ itself: half precision would round it
            return cast(Tensor, self.head(x.float()))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights, and a head of N(0, 0.01), so that training starts near no susceptibility."""
        draw_weights(self, generator)
        nn.init.normal_(self.head.weight, std=0.01, generator=generator)


class FeatureNoise(nn.Module):
    """White noise added to a feature map in training, never at inference (Li et al. 2025).

    With `probability`, each sample of the batch gets noise of a power SNR drawn from `snr`.
    """

    def __init__(self, probability: float, snr: tuple[float, ...] = (20.0, 10.0, 5.0, 2.0)) -> None:
        super().__init__()
        self.probability = probability
        self.snr = snr

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return x
        n = x.shape[0]
        snr = torch.tensor(self.snr, device=x.device)[torch.randint(len(self.snr), (n,), device=x.device)]
        chosen = (torch.rand(n, device=x.device) < self.probability).to(snr.dtype)
        power = x.detach().float().square().mean(dim=(1, 2, 3, 4))
        scale = chosen * (power / snr).sqrt()
        return x + torch.randn_like(x) * scale.to(x.dtype).view(n, 1, 1, 1, 1)


def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw He's initial weights for every convolution (He 2015, doi 10.1109/ICCV.2015.123) and set its bias to zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            # torch calls fan-out of a transposed convolution what is its fan-in.
            mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(module, nn.Conv3d) else "fan_out"
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation into the convolution before it: the same function in fewer passes.

    Works in place on a module in evaluation mode and returns it.
    """
    for chain in [m for m in module.modules() if isinstance(m, nn.Sequential)]:
        for i in range(1, len(chain)):
            if isinstance(norm := chain[i], nn.BatchNorm3d):
                convolution = cast(nn.Conv3d, chain[i - 1])
                transposed = isinstance(convolution, nn.ConvTranspose3d)
                chain[i - 1] = nn.utils.fusion.fuse_conv_bn_eval(convolution, norm, transpose=transposed)
                chain[i] = nn.Identity()
    return module


def remove_batch_norm(module: nn.Module) -> None:
    """Remove each batch normalisation; the parameters then have the names of a network with folded ones."""
    for chain in [m for m in module.modules() if isinstance(m, nn.Sequential)]:
        for i, layer in enumerate(chain):
            if isinstance(layer, nn.BatchNorm3d):
                chain[i] = nn.Identity()


def reestimate_batch_norm(network: nn.Module, inputs: Iterable[tuple[Any, ...]]) -> None:
    """Estimate the statistics of every batch normalisation anew, without noise or dropout; as for averaged weights.

    Parameters
    ----------
    network : Module
        Left in evaluation mode.
    inputs : iterable of tuple
        Arguments of the network, batch by batch; every batch counts alike.
    """
    network.eval()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    with torch.no_grad():
        for arguments in inputs:
            network(*arguments)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
        m.eval()
