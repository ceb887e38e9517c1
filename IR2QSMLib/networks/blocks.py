"""Blocks that more than one network is built of."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution 3³ with bias, batch normalisation, ReLU: (n, c_in, x, y, z) to (n, c_out, x, y, z)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(nn.Conv3d(c_in, c_out, 3, padding=1), nn.BatchNorm3d(c_out), nn.ReLU(inplace=True))


class UpBlock(nn.Sequential):
    """Transposed convolution 2³ of stride 2, batch normalisation, ReLU: each axis doubles."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(
            nn.ConvTranspose3d(c_in, c_out, 2, stride=2), nn.BatchNorm3d(c_out), nn.ReLU(inplace=True)
        )


class Pool(nn.MaxPool3d):
    """The maximum over 2³ voxels: each axis halves. In the precision it is given, which autocast would double."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


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


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation into the convolution before it: the same function in fewer passes.

    Works in place on a module in evaluation mode and returns it.
    """
    for block in module.modules():
        if isinstance(block, ConvBlock | UpBlock) and isinstance(block[1], nn.BatchNorm3d):
            convolution = cast(nn.Conv3d, block[0])
            turned = isinstance(convolution, nn.ConvTranspose3d)
            block[0] = nn.utils.fusion.fuse_conv_bn_eval(convolution, block[1], transpose=turned)
            block[1] = nn.Identity()
    return module


def settle_batch_norm(network: nn.Module, inputs: list[Tensor]) -> None:
    """Re-estimate the statistics of every batch normalisation for the averaged weights, without noise or dropout."""
    network.eval()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    kept = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    with torch.no_grad():
        for x in inputs:
            network(x)
    for m, momentum in zip(norms, kept, strict=True):
        m.momentum = momentum
        m.eval()
