"""The U-net that IR2U-net is compared with: two levels, no residual of the input.

Ronneberger et al., "U-Net", MICCAI 2015, doi 10.1007/978-3-319-24574-4_28; as a baseline for susceptibility in
Gao et al., NMR in Biomedicine 2021, doi 10.1002/nbm.4461, and Li et al., Medical Physics 2025, doi 10.1002/mp.17747.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from IR2QSMLib.networks.blocks import ConvBlock, Estimate, Pool, UpBlock, draw_weights, require_valid_size


@dataclass(frozen=True)
class UnetConfig:
    """Size of a U-net: the published one is the default; raises ParameterInvalid for values it cannot have."""

    width: float = 1.0
    """Factor on the channels (64, 128, 256)."""
    n_inputs: int = 1
    """Channels of the input."""
    unit: float = 1.0
    """Susceptibility that the network counts as 1 [ppm]."""

    def __post_init__(self) -> None:
        require_valid_size(self, 64)

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels at the three scales, the finest first."""
        c = round(64 * self.width)
        return c, 2 * c, 4 * c

    @property
    def peak_values_per_voxel(self) -> float:
        """Numbers that inference holds at its peak, for each voxel of its input, counted from the plan."""
        return 5.0 * self.channels[0]

    @property
    def eval_config(self) -> UnetConfig:
        """The same: nothing is random in its training."""
        return self


class Unet(nn.Module):
    """U-net: (n, n_inputs, x, y, z) [ppm] to susceptibility (n, 1, x, y, z) [ppm]; x, y and z are multiples of 4.

    The papers give the plan and leave the decoder open; as in the published baseline, each transposed convolution keeps
    its channels, and the finest level stays at the width of its skip. 4,150,785 parameters at width 1.
    """

    multiple, unrolled = 4, False

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.channels
        self.encoders = nn.ModuleList(
            [_two_convolutions(config.n_inputs, fine, fine), _two_convolutions(fine, middle, middle)]
        )
        self.pool = Pool()
        self.middle = _two_convolutions(middle, coarse, middle)
        self.ups = nn.ModuleList([UpBlock(middle, middle), UpBlock(fine, fine)])
        self.decoders = nn.ModuleList(
            [_two_convolutions(2 * middle, middle, fine), _two_convolutions(2 * fine, fine, fine)]
        )
        self.head = nn.Conv3d(fine, 1, 1)

    def forward(self, image: Tensor) -> Estimate:
        """Run the network on an image [ppm]: (n, n_inputs, x, y, z)."""
        x, skips = image / self.config.unit, []
        for encoder in self.encoders:
            x = encoder(x)  # (n, 64, x, y, z), (n, 128, x/2, y/2, z/2)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)  # (n, 128, x/4, y/4, z/4)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(torch.cat([up(x), skips.pop()], dim=1))  # (n, 64, x/2, y/2, z/2), (n, 64, x, y, z)
        with torch.autocast(x.device.type, enabled=False):  # χ itself: half precision would round it
            return Estimate(self.head(x.float()) * self.config.unit, [], None)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights, and a head of N(0, 0.01), so that training starts near no susceptibility."""
        draw_weights(self, generator)
        nn.init.normal_(self.head.weight, std=0.01, generator=generator)


def _two_convolutions(c_in: int, c: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(ConvBlock(c_in, c), ConvBlock(c, c_out))
