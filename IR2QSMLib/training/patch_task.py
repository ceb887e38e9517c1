"""Training on patches: the batches of a round, the loss, and the validation."""

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
from IR2QSMLib.training.loss import GRADIENT_LIMITS, estimate_loss
from IR2QSMLib.training.patch_cache import PatchCache, draw_round
from IR2QSMLib.training.patches import Patches
from IR2QSMLib.training.sampling import Sampling
from IR2QSMLib.training.validation import ValidationCase, draw_validation_cases, validate

N_BATCH_NORM_HEADS = 4
"""Heads on which the statistics of batch normalisation are estimated."""
BATCH_NORM_SEED_OFFSET = 500
"""Added to the run's seed for them, so that they are none of the training's."""


class PatchTask:
    """Training of a network on patches.

    Parameters
    ----------
    network_input : NetworkInput
        Which maps the network reads.
    sampling : Sampling
        Which heads are drawn and how they are cut.
    loss : str
        One of `LOSSES`.
    unrolled : bool
        Whether the network is called with the dipole operator and the mask; each patch then is a head of its own.
    cache_folder : Path, optional
        Where the patches are kept for other runs.
    """

    def __init__(
        self,
        network_input: NetworkInput,
        sampling: Sampling,
        loss: str,
        *,
        unrolled: bool,
        cache_folder: Path | None = None,
    ) -> None:
        self.network_input, self.sampling, self.loss_name, self.unrolled = network_input, sampling, loss, unrolled
        self.gradient_limit = GRADIENT_LIMITS[loss]
        self.batch_size = sampling.batch_size
        self.cache, self.batch_norm_cache = PatchCache(cache_folder), PatchCache(cache_folder)

    def round(self, number: int, device: torch.device, rank: int = 0, n_ranks: int = 1) -> Iterator[Patches]:
        """The batches of a round, which depend on its number and the rank alone."""
        return draw_round(
            self.network_input,
            self.sampling,
            number,
            device,
            rank,
            n_ranks,
            isolated=self.unrolled,
            cache=self.cache,
        )

    def draw_ahead(self, number: int, device: torch.device, rank: int = 0, n_ranks: int = 1) -> None:
        """Draw what the first checkpoint needs; round `number` is the next."""
        if rank == 0:
            next(self.batch_norm_inputs(device))

    def loss(self, network: nn.Module, patches: Patches) -> Tensor:
        """The loss of the network on a batch, see `estimate_loss`."""
        estimate = network(*self.arguments(patches))
        return estimate_loss(
            estimate,
            patches.chi,
            patches.mask,
            self.loss_name,
            first_map=patches.first_map,
            unexplained=patches.unexplained,
        )

    def arguments(self, patches: Patches) -> tuple[Any, ...]:
        """The arguments of the network for a batch."""
        inputs = patches.inputs(self.network_input).contiguous(memory_format=torch.channels_last_3d)
        if not self.unrolled:
            return (inputs,)
        return inputs, DipoleStack([[grid] for grid in patches.grids], MARGIN, inputs.device), patches.mask

    def batch_norm_inputs(self, device: torch.device) -> Iterator[tuple[Any, ...]]:
        """The network's arguments, batch by batch, for the statistics of batch normalisation."""
        seed = self.sampling.seed + BATCH_NORM_SEED_OFFSET
        sampling = replace(self.sampling, n_heads=N_BATCH_NORM_HEADS, rounds_per_set=1, seed=seed)
        batches = draw_round(
            self.network_input, sampling, 0, device, isolated=self.unrolled, cache=self.batch_norm_cache
        )
        return (self.arguments(batch) for batch in batches)

    def validation_cases(self, device: torch.device) -> list[ValidationCase]:
        """The held-out heads that the network is scored on."""
        return draw_validation_cases(self.network_input, device)

    def validate(self, network: Network, cases: list[ValidationCase], device: torch.device) -> dict[str, Any]:
        """Mean XSIM and demeaned NRMSE [%], without data consistency."""
        return validate(network, cases, device)
