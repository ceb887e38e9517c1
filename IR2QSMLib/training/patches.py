"""What a network on patches is trained on, what it minimises, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.networks.registry import Network
from IR2QSMLib.physics.dipole import DipoleStack
from IR2QSMLib.physics.working_grid import MARGIN
from IR2QSMLib.training.data import PatchCache, Patches, Sampling, draw_round
from IR2QSMLib.training.loss import loss_of
from IR2QSMLib.training.validation import ValidationCase, validate, validation_images

SETTLING = 4
"""Heads on which the statistics of batch normalisation are settled."""


class PatchTask:
    """Rounds of patches, the loss, and the judges; the same round of the same rank is the same data."""

    largest_gradient = 20.0
    """Norm to which larger gradients are cut."""

    def __init__(self, reads: NetworkInput, feed: Sampling, loss: str, *, unrolled: bool, stock: Path | None) -> None:
        self.reads, self.feed, self.loss_name, self.unrolled = reads, feed, loss, unrolled
        self.stock, self.settling_stock = PatchCache(stock), PatchCache(stock)

    def round(self, number: int, device: torch.device, rank: int = 0, n_ranks: int = 1) -> Iterator[Patches]:
        """The batches of a round."""
        return draw_round(self.reads, self.feed, number, device, rank, n_ranks, alone=self.unrolled, stock=self.stock)

    def loss(self, network: nn.Module, patches: Patches) -> Tensor:
        """The error of the network's map; see `loss_of`."""
        n, batch = self.reads.n_channels, patches.values
        truth, mask, left = batch[:, n : n + 1], batch[:, n + 1 : n + 2], batch[:, n + 2 :]
        return loss_of(network(*self.arguments(patches)), truth, mask, self.loss_name, left, first=batch[:, n - 1 : n])

    def arguments(self, patches: Patches) -> tuple[Any, ...]:
        """What the network is called with."""
        n, device = self.reads.n_channels, patches.values.device
        image = patches.values[:, :n].contiguous(memory_format=torch.channels_last_3d)
        if not self.unrolled:
            return (image,)
        dipole = DipoleStack([[grid] for grid in patches.grids], MARGIN, device)
        return image, dipole, patches.values[:, n + 1 : n + 2]

    def settling(self, device: torch.device) -> Iterator[tuple[Any, ...]]:
        """The network's arguments, batch by batch, on which batch normalisation is settled."""
        feed = replace(self.feed, volumes=SETTLING, turns=1, seed=self.feed.seed + 500)
        patches = draw_round(self.reads, feed, 0, device, alone=self.unrolled, stock=self.settling_stock)
        return (self.arguments(batch) for batch in patches)

    def validation(self, device: torch.device) -> list[ValidationCase]:
        """The heads that judge a run, drawn once."""
        return validation_images(self.reads, device)

    def validate(self, network: Network, cases: list[ValidationCase], device: torch.device) -> dict[str, Any]:
        """Mean XSIM and demeaned NRMSE [%], without data consistency."""
        return validate(network, cases, device)
