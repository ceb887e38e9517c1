"""xQSM: a U-net of octave convolutions, which keep half of their channels at half the resolution.

Gao et al., "xQSM: quantitative susceptibility mapping with octave convolutional and noise-regularized neural
networks", NMR in Biomedicine 2021, doi 10.1002/nbm.4461.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from IR2QSMLib.networks.blocks import Estimate, Pool, draw_weights, require_valid_size

Octave = tuple[Tensor, Tensor]
"""Features at the full and at half the resolution."""


@dataclass(frozen=True)
class XqsmConfig:
    """Size of an xQSM: the published one is the default; raises ParameterInvalid for values it cannot have."""

    width: float = 1.0
    """Factor on the channels (64, 128, 256), half of them (α = 0.5) at half the resolution."""
    n_inputs: int = 1
    """Channels of the input; the first one is added to the result: the field, as published, where it is a channel."""
    unit: float = 1.0
    """Susceptibility that the network counts as 1 [ppm]."""

    def __post_init__(self) -> None:
        require_valid_size(self, 32)

    @property
    def halves(self) -> tuple[int, int, int]:
        """Channels of each resolution at the three scales, the finest first."""
        c = round(32 * self.width)
        return c, 2 * c, 4 * c

    @property
    def peak_values_per_voxel(self) -> float:
        """Numbers that inference holds at its peak, for each voxel of its input, counted from the plan."""
        return 7.0 * self.halves[0]

    @property
    def eval_config(self) -> XqsmConfig:
        """The same: nothing is random in its training."""
        return self


class OctaveConv(nn.Module):
    """Convolutions within and between two resolutions; the sums through ReLU.

    High to low by average pooling before the convolution, low to high by a transposed one of 2³ after it; each path
    has its own batch normalisation. Where `c_in` or `c_out` has no low part, neither have input or output.
    """

    def __init__(self, c_in: tuple[int, int], c_out: tuple[int, int]) -> None:
        super().__init__()
        (h_in, l_in), (h_out, l_out) = c_in, c_out
        self.high = _with_batch_norm(nn.Conv3d(h_in, h_out, 3, padding=1))
        self.low = _with_batch_norm(nn.Conv3d(l_in, l_out, 3, padding=1)) if l_in and l_out else None
        self.down = _with_batch_norm(nn.Conv3d(h_in, l_out, 3, padding=1)) if l_out else None
        up = nn.ConvTranspose3d(h_out, h_out, 2, stride=2)
        self.up = nn.Sequential(nn.Conv3d(l_in, h_out, 3, padding=1), *_with_batch_norm(up)) if l_in else None

    def forward(self, high: Tensor, low: Tensor | None) -> tuple[Tensor, Tensor | None]:
        out_high, out_low = self.high(high), None
        if self.up is not None:
            out_high = out_high + self.up(low)
        if self.down is not None:
            out_low = self.down(nn.functional.avg_pool3d(high, 2))
            if self.low is not None:
                out_low = out_low + self.low(low)
            out_low = torch.relu(out_low)
        return torch.relu(out_high), out_low


class OctaveUp(nn.Module):
    """One level up at both resolutions, c channels each: the sums through batch normalisation and ReLU."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.high = nn.ConvTranspose3d(c, c, 2, stride=2)
        self.low_to_high = nn.ConvTranspose3d(c, c, 4, stride=4)
        self.low = nn.ConvTranspose3d(c, c, 2, stride=2)
        self.high_to_low = nn.Conv3d(c, c, 3, padding=1)  # what was high is the low resolution above
        self.norm_high, self.norm_low = nn.BatchNorm3d(c), nn.BatchNorm3d(c)

    def forward(self, high: Tensor, low: Tensor) -> Octave:
        out_high = self.high(high) + self.low_to_high(low)
        out_low = self.low(low) + self.high_to_low(high)
        return torch.relu(self.norm_high(out_high)), torch.relu(self.norm_low(out_low))


class OctavePair(nn.Module):
    """Two octave convolutions, each channel count that of one resolution."""

    def __init__(self, c_in: int, c: int, c_out: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([OctaveConv((c_in, c_in), (c, c)), OctaveConv((c, c), (c_out, c_out))])

    def forward(self, high: Tensor, low: Tensor) -> Octave:
        for conv in self.convs:
            high, low = conv(high, low)
        return high, low


class Xqsm(nn.Module):
    """xQSM: (n, n_inputs, x, y, z) [ppm] to susceptibility (n, 1, x, y, z) [ppm]; x, y and z are multiples of 8.

    As published, the field is added to the result, the low resolution is pooled on its own, and an octave convolution
    leads from both to the head. With a first map beside the field, the field is still what is added: a network that
    corrects a good first map learns to return it unchanged. 5,215,681 parameters at width 1.
    """

    multiple, unrolled = 8, False

    def __init__(self, config: XqsmConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.halves
        self.first = OctaveConv((config.n_inputs, 0), (fine, fine))
        self.second = OctaveConv((fine, fine), (fine, fine))
        self.encoders = nn.ModuleList([OctavePair(fine, fine, fine), OctavePair(fine, middle, middle)])
        self.pool = Pool()
        self.middle = OctavePair(middle, coarse, middle)
        self.ups = nn.ModuleList([OctaveUp(middle), OctaveUp(fine)])
        self.decoders = nn.ModuleList([OctavePair(2 * middle, middle, fine), OctavePair(2 * fine, fine, fine)])
        self.last = OctaveConv((fine, fine), (2 * fine, 0))
        self.head = nn.Conv3d(2 * fine, 1, 1)

    def forward(self, image: Tensor) -> Estimate:
        """Run the network on an image [ppm]: (n, n_inputs, x, y, z)."""
        image = image / self.config.unit
        high, low = self.second(*self.first(image, None))  # (n, 32, x, y, z), (n, 32, x/2, y/2, z/2)
        skips = []
        for encoder in self.encoders:
            high, low = encoder(high, low)
            skips.append((high, low))
            high, low = self.pool(high), self.pool(low)
        high, low = self.middle(high, low)  # (n, 64, x/4, …), (n, 64, x/8, …)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            pairs = zip(up(high, low), skips.pop(), strict=True)
            high, low = decoder(*(torch.cat(pair, dim=1) for pair in pairs))
        x, _ = self.last(high, low)  # (n, 64, x, y, z)
        with torch.autocast(x.device.type, enabled=False):  # χ itself: half precision would round it
            return Estimate((self.head(x.float()) + image[:, :1]) * self.config.unit, [], None)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights, and a head of zeros: training starts from the input."""
        draw_weights(self, generator)
        nn.init.zeros_(self.head.weight)


def _with_batch_norm(convolution: nn.Conv3d | nn.ConvTranspose3d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm3d(convolution.out_channels))
