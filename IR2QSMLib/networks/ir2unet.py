"""IR2U-net: a U-net run T times with reverse concatenations and a recurrent middle.

Li et al., "IR2QSM: Quantitative susceptibility mapping via deep neural networks with iterative reverse
concatenations and recurrent modules", Medical Physics 2025, doi 10.1002/mp.17747.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from IR2QSMLib.networks.blocks import (
    ConvBlock,
    Estimate,
    FeatureNoise,
    Pool,
    UpBlock,
    draw_weights,
    remove_batch_norm,
    require_valid_size,
)

N_LEVELS = 3
MULTIPLE = 2**N_LEVELS
"""Every axis of the input is a multiple of this."""


@dataclass(frozen=True)
class IR2UnetConfig:
    """Size of an IR2U-net: the published one is the default; raises ParameterInvalid for values it cannot have."""

    width: float = 1.0
    """Factor on the channels (16, 32, 64, 128)."""
    n_passes: int = 4
    n_inputs: int = 1
    """Channels of the input; the last one is the image that is corrected."""
    uncertainty: bool = False
    """Whether a second head gives log(σ) [ppm]."""
    feature_noise: float = 0.7
    """Probability of feature noise at each of its four sites, in training only."""
    dropout: float = 0.05
    unit: float = 1.0
    """Susceptibility that the network counts as 1 [ppm]: corrections are a few hundredths of a ppm, and in ppm each
    step of training would change them by as much."""
    residual: bool = True
    """Whether every pass and the result add the image that is corrected, as published. Without, every pass returns the
    map itself, which it learns in a fraction of the steps that a correction of a good first inversion takes."""
    normalised: bool = True
    """Whether convolutions are followed by batch normalisation, as published. Without, training computes what
    inference does, and the result does not depend on the heads whose statistics were kept."""

    later_settings: ClassVar[dict[str, Any]] = {"normalised": True}
    """Settings that weights files of earlier versions lack, and the values that these mean."""

    def __post_init__(self) -> None:
        require_valid_size(self, 16)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels at the four scales, the finest first."""
        return tuple(round(16 * self.width) * 2**level for level in range(N_LEVELS + 1))

    @property
    def peak_values_per_voxel(self) -> float:
        """Numbers that inference holds at its peak, for each voxel of its input: 5·c as measured, and a margin."""
        return 6.0 * self.channels[0]

    @property
    def eval_config(self) -> IR2UnetConfig:
        """The same without what is random in training."""
        return replace(self, feature_noise=0.0, dropout=0.0)


class RecurrentUnit(nn.Module):
    """The middle: a gate u and a candidate o update the state that passes share, h + u·(o − h)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.gate = ConvBlock(c, c)
        self.candidate = ConvBlock(c, c)

    def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
        u = torch.sigmoid(self.gate(x))
        o = self.candidate(x)
        h = x if state is None else state
        return h + u * (o - h)


class Encoder(nn.Module):
    """Layers of one level down, run by `UnetPass`; reverse concatenation from the second pass on."""

    def __init__(self, c: int, dropout: float, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = ConvBlock(2 * c, c) if reverse else None
        self.dropout = nn.Dropout(dropout)
        self.skip = ConvBlock(c, c)
        self.down = ConvBlock(c, 2 * c)
        self.pool = Pool()


class Decoder(nn.Module):
    """One level up: the result is also the input of the next pass's encoder of this level."""

    def __init__(self, c: int, dropout: float) -> None:
        super().__init__()
        self.up = UpBlock(2 * c, c)
        self.wide = ConvBlock(2 * c, 2 * c)
        self.dropout = nn.Dropout(dropout)
        self.narrow = ConvBlock(2 * c, c)

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Take the encoder's features of this level off `skips`; as an argument, they would stay in memory."""
        x = torch.cat([self.up(x), skips.pop()], dim=1)
        x = self.wide(x)
        return self.narrow(self.dropout(x))


class UnetPass(nn.Module):
    """One pass: a U-net whose result is added to the image that is corrected."""

    def __init__(self, config: IR2UnetConfig, *, first: bool) -> None:
        super().__init__()
        c = config.channels
        p = config.dropout
        self.pre = nn.Sequential(ConvBlock(config.n_inputs if first else 1, c[0]), nn.Dropout(p), ConvBlock(c[0], c[0]))
        self.encoders = nn.ModuleList(Encoder(c[level], p, reverse=not first) for level in range(N_LEVELS))
        self.dropout = nn.Dropout(p)
        self.middle = RecurrentUnit(c[N_LEVELS])
        self.decoders = nn.ModuleList(Decoder(c[level], p) for level in range(N_LEVELS))
        self.post = ConvBlock(c[0], c[0])
        self.head = nn.Conv3d(c[0], 1, 1)
        self.noise = FeatureNoise(config.feature_noise)

    def forward(
        self, image: Tensor, residual: Tensor, decoded: list[Tensor], state: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the pass.

        Parameters
        ----------
        image : Tensor
            The network's input, or the map of the pass before: (n, n_inputs or 1, x, y, z).
        residual : Tensor
            What is added to the result: (n, 1, x, y, z).
        decoded : list of Tensor
            The decoders' features of the pass before, the finest last; in their place come those of this pass.
        state : Tensor or None
            The state of the recurrent middle after the pass before: (n, 128, x/8, y/8, z/8).

        Returns
        -------
        tuple of Tensor
            The map (n, 1, x, y, z), the last features (n, 16, x, y, z) and the state.
        """
        x = self.noise(self.pre(image))  # (n, 16, x, y, z)
        skips: list[Tensor] = []
        for encoder in cast("list[Encoder]", self.encoders):  # halves each axis, doubles the channels
            if encoder.reverse is not None:
                x = torch.cat([x, decoded.pop()], dim=1)  # every line frees the tensor that it replaces
                x = encoder.reverse(x)
            x = encoder.skip(encoder.dropout(x))
            skips.append(x)
            x = encoder.pool(encoder.down(x))
        x = self.dropout(self.noise(x))  # (n, 128, x/8, y/8, z/8)
        state = cast(Tensor, self.middle(x, state))
        x = self.noise(state)
        for level in reversed(range(N_LEVELS)):
            x = self.decoders[level](x, skips)
            decoded.append(x)
        features = self.post(self.noise(x))  # (n, 16, x, y, z)
        return self.head(features) + residual, features, state


class IR2Unet(nn.Module):
    """IR2U-net: (n, n_inputs, x, y, z) [ppm] to susceptibility (n, 1, x, y, z) [ppm].

    x, y and z are multiples of 8. The last input channel is the image that is corrected: the field, or a first map.
    """

    multiple, unrolled = MULTIPLE, False

    def __init__(self, config: IR2UnetConfig) -> None:
        super().__init__()
        self.config = config
        self.passes = nn.ModuleList(UnetPass(config, first=t == 0) for t in range(config.n_passes))
        self.head = nn.Conv3d(config.n_passes, 1, 1)
        c = config.channels[0]
        self.sigma_head = nn.Sequential(ConvBlock(c, c), nn.Conv3d(c, 1, 1)) if config.uncertainty else None
        if not config.normalised:
            remove_batch_norm(self)

    def forward(self, image: Tensor) -> Estimate:
        """Run every pass on an image [ppm]: (n, n_inputs, x, y, z)."""
        unit = self.config.unit
        image = image / unit
        residual = image[:, -1:] if self.config.residual else torch.zeros_like(image[:, -1:])
        decoded: list[Tensor] = []
        state, features = None, None
        iterates: list[Tensor] = []
        for unet in self.passes:
            features = None  # large: those of the pass before are not used
            x, features, state = unet(iterates[-1] if iterates else image, residual, decoded, state)
            iterates.append(x)
        # The iterates are alike and the head weighs their small differences: half precision would lose them.
        with torch.autocast(image.device.type, enabled=False):
            chi = self.head(torch.cat(iterates, dim=1).float()) + residual
        log_sigma = self.sigma_head(features) + math.log(unit) if self.sigma_head is not None else None
        return Estimate(chi * unit, [x * unit for x in iterates], log_sigma)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights; with a residual, a new network returns its input.

        Under batch normalisation the size of weights only decides how much a step changes their direction. With the
        published N(0, 0.01), one step of Adam changes a weight by a tenth of itself, and a run of hours learned
        nothing. The result is the input plus a weighted sum of the iterates, which contain it too: the weights begin
        as the last iterate less the first, in which it cancels. From zero they would take a thousand steps to grow.
        """
        draw_weights(self, generator)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            if self.config.residual:
                for unet in self.passes:
                    nn.init.zeros_(cast(UnetPass, unet).head.weight)
                if len(self.passes) > 1:
                    self.head.weight[0, 0], self.head.weight[0, -1] = -1.0, 1.0
            else:
                self.head.weight[0, -1] = 1.0  # the result is the last iterate
        if self.sigma_head is not None:
            last = cast(nn.Conv3d, self.sigma_head[1])
            nn.init.zeros_(last.weight)
            nn.init.constant_(cast(Tensor, last.bias), -4.0 - math.log(self.config.unit))

    def rescale(self, factor: float) -> None:
        """Convert weights of a network whose unit is `factor` times smaller, so that this one computes the same."""
        heads = [cast(UnetPass, unet).head for unet in self.passes]
        with torch.no_grad():
            for unet in self.passes:
                first = cast(nn.Sequential, cast(UnetPass, unet).pre[0])[0]
                cast(nn.Conv3d, first).weight.mul_(factor)
            for head in heads:
                head.weight.div_(factor)
                cast(Tensor, head.bias).div_(factor)
            cast(Tensor, self.head.bias).div_(factor)
            if self.sigma_head is not None:
                cast(Tensor, cast(nn.Conv3d, self.sigma_head[1]).bias).sub_(math.log(factor))
