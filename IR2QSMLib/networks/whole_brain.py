"""A U-net for a whole brain on coarse voxels, whose receptive field reaches from one side of the head to the other.

Errors in the cone where the dipole kernel vanishes have wavelengths of 5 to 50 mm, which a patch on fine voxels hardly
holds (docs/experiments/2026-11-30-whole-brain.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from IR2QSMLib.networks.blocks import Estimate, draw_weights, require_valid_size

SCALE = 0.05
"""[ppm] The input is divided by it and the output multiplied. As the network is homogeneous, it decides nothing but how
numbers are rounded: with it, existing weights give the same bits as before."""


@dataclass(frozen=True)
class WholeBrainConfig:
    """Size of a whole-brain U-net; raises ParameterInvalid for values it cannot have."""

    width: float = 1.0
    """Factor on the channels (64, 128, 128) at a half, a quarter and an eighth of the resolution."""
    n_blocks: int = 2
    """Residual blocks at each scale of the encoder and of the decoder."""
    n_inputs: int = 3
    """Channels of the input; the last one is the map that is corrected."""

    dropped_settings: ClassVar[tuple[str, ...]] = ("unit",)
    """Settings of earlier versions. The network is homogeneous, so that a unit makes no difference."""

    def __post_init__(self) -> None:
        require_valid_size(self, 64)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels at the three scales, the finest first."""
        return tuple(round(c * self.width) for c in (64, 128, 128))

    @property
    def peak_values_per_voxel(self) -> float:
        """Numbers that inference holds at its peak, for each voxel of its input, counted from the plan."""
        return 5.0 * self.channels[0] / 8.0

    @property
    def eval_config(self) -> WholeBrainConfig:
        """The same: nothing is random in its training."""
        return self


class Block(nn.Module):
    """x + 0.2·conv(leaky_relu(conv(x))), without normalisation or bias; the factor keeps the first steps small."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(c, c, 3, padding=1, bias=False)
        self.second = nn.Conv3d(c, c, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.second(leaky_relu(self.first(x)))


class WholeBrainUnet(nn.Module):
    """Whole-brain U-net: (n, n_inputs, x, y, z) [ppm] to susceptibility (n, 1, x, y, z) [ppm]; multiples of 8.

    Nothing is normalised and no convolution has a bias, so that twice the field gives twice the map, whatever the
    noise. A new network returns the last input channel, which it corrects.

    References
    ----------
    Mohan 2020, "Robust and interpretable blind image denoising via bias-free convolutional neural networks", ICLR.
    """

    multiple, unrolled = 8, False

    def __init__(self, config: WholeBrainConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        scales = list(pairwise(c))
        self.stem = nn.Conv3d(config.n_inputs, c[0], 4, stride=2, padding=1, bias=False)
        self.encoders = nn.ModuleList(_blocks(n, config.n_blocks) for n in c)
        self.downs = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2, bias=False) for a, b in scales)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2, bias=False) for a, b in scales)
        self.decoders = nn.ModuleList(_blocks(n, config.n_blocks) for n in c[:-1])
        self.head = nn.ConvTranspose3d(c[0], 1, 4, stride=2, padding=1, bias=False)

    def forward(self, image: Tensor) -> Estimate:
        """Run the network on an image [ppm]: (n, n_inputs, x, y, z)."""
        x, skips = self.encoders[0](self.stem(image / SCALE)), []  # (n, 64, x/2, y/2, z/2)
        for down, encoder in zip(self.downs, list(self.encoders)[1:], strict=True):
            skips.append(x)
            x = encoder(down(leaky_relu(x)))
        for up, decoder in zip(list(self.ups)[::-1], list(self.decoders)[::-1], strict=True):
            x = decoder(skips.pop() + up(leaky_relu(x)))
        with torch.autocast(x.device.type, enabled=False):  # χ itself: half precision would round it
            return Estimate(self.head(x.float()) * SCALE + image[:, -1:], [], None)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights; blocks begin as the identity, and the head adds nothing."""
        draw_weights(self, generator)
        nn.init.zeros_(self.head.weight)
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.zeros_(module.second.weight)


def leaky_relu(x: Tensor) -> Tensor:
    """As `relu`, with a slope of 0.1 below zero, so that every channel keeps a gradient."""
    return functional.leaky_relu(x, 0.1)


def _blocks(c: int, n: int) -> nn.Sequential:
    return nn.Sequential(*(Block(c) for _ in range(n)))
