"""What the whole-brain network is trained on, what it minimises, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.evaluation.metrics import nrmse, xsim
from IR2QSMLib.field.background import VSharp
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.physics.cone import cone_agreement
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.settings import SETTINGS
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, draw_discrepancy
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.cases import FIRST_TRAINING_SEED
from IR2QSMLib.simulation.oversampling import block_mean
from IR2QSMLib.simulation.head import Head, masked_head
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training.data import cut_slab, remove_background

GRID = Grid(
    (80, 96, 80), (SETTINGS.whole_brain_voxel_size, SETTINGS.whole_brain_voxel_size, SETTINGS.whole_brain_voxel_size)
)
"""A head at the network's voxels, B0 along z."""
ROUND = 24
"""Fields of a round."""
VIEWS, KEPT, USES = 2, 48, 3
"""Fields that are made of each head, fields that are kept at hand, and how often each is used on average."""
BEFORE = 1.0
"""Weight of the network's own error beside that after the step on the field."""
CORNER = 0.04
"""Error [ppm] from which on it counts by its size and no longer by its square, or bleedings would outweigh all else."""
VALIDATION_SEEDS = (980, 981)
"""Held-out heads that choose between runs; the benchmark reports on others."""


@dataclass(frozen=True)
class Sample:
    """A local field and the truth behind it."""

    field: LocalField
    chi: Tensor
    """[ppm], of zero mean in the mask, zero outside: (x, y, z)."""

    def flipped(self, axes: list[int]) -> Sample:
        """The same head mirrored: B0 stays along z."""
        if not axes:
            return self
        return Sample(self.field.map_volumes(lambda x: x.flip(axes), self.field.grid), self.chi.flip(axes))


def draw_samples(rng: RandomSource, n: int = VIEWS) -> list[Sample]:
    """Fields of one new head, each with a discrepancy of its own, most after background removal, some cut to a slab."""
    while True:
        turned = 3.0 if rng.chance(0.2) else 1.0
        head = draw_shapes(rng, GRID) if rng.chance(0.25) else draw_brain(rng, GRID, tilt=turned)
        if float(head.mask.float().mean()) > 0.03:
            break
    predicted = simulate_field(head.chi, GRID)
    out: list[Sample] = []
    while len(out) < n:
        field = acquire(head, draw_discrepancy(rng), rng, predicted)
        if rng.chance(0.65):
            field = remove_background(field, rng)
        if rng.chance(0.3):
            field = cut_slab(field, rng)
        out.append(Sample(field, _demeaned(head.chi, field.mask)))
    return out


def _demeaned(chi: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, chi - chi[mask].mean(), 0.0)


class WholeBrainTask:
    """Rounds of fields, the loss, and the judges; the same round of the same rank is the same data."""

    largest_gradient = 1.0
    """Norm to which larger gradients are cut: without normalisation, one bad step can undo a hundred."""

    def __init__(self, reads: NetworkInput, seed: int) -> None:
        self.reads, self.seed = reads, seed
        self.pool: list[Sample] = []

    def round(self, number: int, device: torch.device, rank: int = 0, n_ranks: int = 1) -> Iterator[Sample]:
        """The fields of a round: new heads come in one by one, older fields are used again, mirrored."""
        n_new = ROUND // (VIEWS * USES)
        first = FIRST_TRAINING_SEED * (1 + self.seed) + (number * n_ranks + rank) * n_new
        order = RandomSource(first + FIRST_TRAINING_SEED // 2)
        for i in range(ROUND):
            if i % (VIEWS * USES) == 0:
                self.pool += draw_samples(RandomSource(first + i // (VIEWS * USES), device))
                self.pool = self.pool[-KEPT:]
            yield order.choice(self.pool).flipped([axis for axis in range(3) if order.chance(0.5)])

    def loss(self, network: nn.Module, sample: Sample) -> Tensor:
        """Error after the step on the field, plus `BEFORE` times the network's own, over that of the first map."""
        mask, n = sample.field.mask, sample.field.mask.sum()

        def error(chi: Tensor) -> Tensor:
            return nn.functional.smooth_l1_loss(chi / CORNER, sample.chi / CORNER, reduction="sum") / n

        with torch.no_grad():
            term = DataTerm.of(sample.field)
            image = self.reads(term)
            first = error(term.step(term.first_map))
        chi = network(image[None].contiguous(memory_format=torch.channels_last_3d)).chi[0, 0].float()
        chi = torch.where(mask, chi, 0.0)
        return (error(term.step(chi)) + BEFORE * error(chi)) / (first + 1e-4)

    def validation(self, device: torch.device) -> list[Sample]:
        """Held-out brains whose fields have 35, 20 and 0 % that no χ explains; the first are after V-SHARP."""
        out = []
        for seed in VALIDATION_SEEDS:
            rng = RandomSource(seed, device)
            head = _held_out(rng)
            predicted = simulate_field(head.chi, GRID)
            for share in (0.35, 0.2, 0.0):
                snr = (1.0 - share) / share if share else float("inf")
                field = acquire(head, Discrepancy(snr, 0.67, 1.0, 1.0, 1.0, 0.7, 0.7, 0.5), rng, predicted)
                if share > 0.3:
                    field = VSharp()(TotalField(field.values, field.mask, GRID), silent)
                out.append(Sample(field, _demeaned(head.chi, field.mask)))
        return out

    @torch.inference_mode()
    def validate(self, network: nn.Module, samples: list[Sample], device: torch.device) -> dict[str, Any]:
        """Coherence and gain in the cone, pooled, and XSIM and NRMSE [%] after the step, mean and each."""
        network.eval()
        rows, half = [], half_precision(str(device))
        for sample in samples:
            term, mask = DataTerm.of(sample.field), sample.field.mask
            with torch.autocast(device.type, half, enabled=half is not None):
                chi = network(self.reads(term)[None].contiguous(memory_format=torch.channels_last_3d)).chi[0, 0]
            chi = term.step(torch.where(mask, chi.float(), 0.0))
            found = cone_agreement(chi, sample.chi, mask, GRID)
            rows.append((found.coherence, found.gain, xsim(chi, sample.chi, mask), nrmse(chi, sample.chi, mask)))
        names = ("coherence", "gain", "xsim", "nrmse")
        means = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(names)}
        return {**means, "each": [[round(x, 3) for x in row] for row in rows]}


def _held_out(rng: RandomSource) -> Head:
    fine = draw_held_out(rng, GRID)
    x, y, z = (round(a / b) for a, b in zip(GRID.voxel_size, fine.grid.voxel_size, strict=True))
    work = (max(1, x // 2), max(1, y // 2), max(1, z // 2))
    mask = block_mean(fine.depth, work) > 1.0
    labels = torch.zeros(GRID.shape, dtype=torch.int16)
    return masked_head(block_mean(fine.chi, (x, y, z)), mask, block_mean(fine.white, work), labels, GRID)
