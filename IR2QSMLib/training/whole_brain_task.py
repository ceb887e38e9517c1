"""Training of the whole-brain network: the fields of a round, the loss, and the validation."""

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
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.cone import cone_agreement
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, draw_discrepancy
from IR2QSMLib.simulation.head import Head, masked_head
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.oversampling import block_mean
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from IR2QSMLib.training.heads import cut_slab, draw_head, remove_background
from IR2QSMLib.training.loss import at_least_min_error, huber

GRID = Grid(
    (80, 96, 80), (SETTINGS.whole_brain_voxel_size, SETTINGS.whole_brain_voxel_size, SETTINGS.whole_brain_voxel_size)
)
"""A head at the network's voxels, B0 along z."""
FIELDS_PER_ROUND = 24
FIELDS_PER_HEAD = 2
"""Fields made of each head."""
USES_PER_FIELD = 3
"""How often each field is used on average."""
POOL_SIZE = 48
"""Fields in memory, from which those of a round are chosen."""
OWN_ERROR_WEIGHT = 1.0
"""Weight of the error of the network's own map beside that of the map after the step on the field."""
CORNER = 0.04
"""Error [ppm] from which on it counts by its size and no longer by its square, or bleedings would outweigh all else."""
VALIDATION_SEEDS = (980, 981)
"""Held-out heads that choose between runs; the benchmark reports on others."""


@dataclass(frozen=True)
class TrainingField:
    """A local field and its truth."""

    field: LocalField
    chi: Tensor
    """[ppm], of zero mean in the mask, zero outside: (x, y, z)."""

    def flipped(self, axes: list[int]) -> TrainingField:
        """The same head mirrored; B0 stays along z."""
        if not axes:
            return self
        return TrainingField(self.field.map_volumes(lambda x: x.flip(axes), self.field.grid), self.chi.flip(axes))


def draw_fields(rng: RandomSource, n_fields: int = FIELDS_PER_HEAD) -> list[TrainingField]:
    """Fields of one new head, each with its discrepancy, most after background removal, some cut to a slab."""
    head = draw_head(rng, GRID)
    predicted = simulate_field(head.chi, GRID)
    fields: list[TrainingField] = []
    while len(fields) < n_fields:
        field, chi = acquire(head, draw_discrepancy(rng), rng, predicted), head.chi
        if rng.chance(0.65):
            field, chi = remove_background(field, chi, rng)
        if rng.chance(0.5):
            field = cut_slab(field, rng)
        fields.append(TrainingField(field, _demeaned(chi, field.mask)))
    return fields


def _demeaned(chi: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, chi - chi[mask].mean(), 0.0)


class WholeBrainTask:
    """Training of a network on whole heads at 2 mm.

    The fields of a round are chosen from a pool that new heads enter and old ones leave. When a run is resumed, the
    heads of the last rounds are drawn once more, so that its rounds are those of an unbroken run.

    Parameters
    ----------
    network_input : NetworkInput
        Which maps the network reads.
    seed : int
        Of the run.
    """

    gradient_limit = 1.0
    """Norm to which larger gradients are cut: without normalisation, one bad step can undo a hundred."""
    batch_size = 1
    """Fields a step."""

    def __init__(self, network_input: NetworkInput, seed: int) -> None:
        self.network_input, self.seed = network_input, seed
        self.pool: list[TrainingField] = []
        self._next_round = 0

    def round(self, number: int, device: torch.device, rank: int = 0, n_ranks: int = 1) -> Iterator[TrainingField]:
        """The fields of a round, mirrored at random; they depend on its number and the rank alone."""
        self.draw_ahead(number, device, rank, n_ranks)
        self._next_round = -1  # the pool is no round's until this one has ended
        seeds = self._head_seeds(number, rank, n_ranks)
        chooser = RandomSource(seeds.start + FIRST_TRAINING_SEED // 2)
        for i in range(FIELDS_PER_ROUND):
            head, use = divmod(i, FIELDS_PER_HEAD * USES_PER_FIELD)
            if use == 0:
                self._add_head(seeds[head], device)
            yield chooser.choice(self.pool).flipped([axis for axis in range(3) if chooser.chance(0.5)])
        self._next_round = number + 1

    def draw_ahead(self, number: int, device: torch.device, rank: int = 0, n_ranks: int = 1) -> None:
        """Draw the heads of the rounds before `number` that are still in the pool then, unless they are in it."""
        if number == self._next_round:
            return
        heads_in_pool = -(-POOL_SIZE // FIELDS_PER_HEAD)
        earlier = [seed for n in range(number) for seed in self._head_seeds(n, rank, n_ranks)]
        self.pool = []
        for seed in earlier[-heads_in_pool:]:
            self._add_head(seed, device)
        self._next_round = number

    def _head_seeds(self, number: int, rank: int, n_ranks: int) -> range:
        """Seeds of the heads that enter the pool in a round."""
        n_heads = FIELDS_PER_ROUND // (FIELDS_PER_HEAD * USES_PER_FIELD)
        first = FIRST_TRAINING_SEED * (1 + self.seed) + (number * n_ranks + rank) * n_heads
        return range(first, first + n_heads)

    def _add_head(self, seed: int, device: torch.device) -> None:
        self.pool = [*self.pool, *draw_fields(RandomSource(seed, device))][-POOL_SIZE:]

    def loss(self, network: nn.Module, example: TrainingField) -> Tensor:
        """Error of the map after the step on the field plus the network's own, relative to the first map's: ().

        (h(s(χ)) + w·h(χ)) / h(s(χ₁)), h the `huber` error, s the data term's step and w `OWN_ERROR_WEIGHT`; the
        denominator is bounded below, see `at_least_min_error`.
        """
        mask = example.field.mask

        def error(chi: Tensor) -> Tensor:
            return huber(chi, example.chi, mask, CORNER)

        with torch.no_grad():
            data_term = DataTerm.of(example.field)
            inputs = self.network_input(data_term)
            first_error = error(data_term.step(data_term.first_map))
        chi = network(inputs[None].contiguous(memory_format=torch.channels_last_3d)).chi[0, 0].float()
        chi = torch.where(mask, chi, 0.0)
        total = error(data_term.step(chi)) + OWN_ERROR_WEIGHT * error(chi)
        return total / at_least_min_error(first_error, CORNER)

    def validation_cases(self, device: torch.device) -> list[TrainingField]:
        """Held-out brains whose fields have 35, 20 and 0 % that no χ explains; the first are after V-SHARP."""
        cases = []
        for seed in VALIDATION_SEEDS:
            rng = RandomSource(seed, device)
            head = _draw_held_out_head(rng)
            predicted = simulate_field(head.chi, GRID)
            for share in (0.35, 0.2, 0.0):
                snr = (1.0 - share) / share if share else float("inf")
                field = acquire(head, Discrepancy(snr, 0.67, 1.0, 1.0, 1.0, 0.7, 0.7, 0.5), rng, predicted)
                chi = head.chi
                if share > 0.3:
                    removal, mask = VSharp(), field.mask
                    field = removal(TotalField(field.values, mask, GRID), silent)
                    chi = removal(TotalField(chi, mask, GRID), silent).values
                cases.append(TrainingField(field, _demeaned(chi, field.mask)))
        return cases

    @torch.inference_mode()
    def validate(self, network: nn.Module, cases: list[TrainingField], device: torch.device) -> dict[str, Any]:
        """Coherence and gain in the cone, pooled, and XSIM and NRMSE [%] after the step, mean and each."""
        network.eval()
        rows, half = [], half_precision(str(device))
        for case in cases:
            data_term, mask = DataTerm.of(case.field), case.field.mask
            inputs = self.network_input(data_term)[None].contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast(device.type, half, enabled=half is not None):
                chi = network(inputs).chi[0, 0]
            chi = data_term.step(torch.where(mask, chi.float(), 0.0))
            in_cone = cone_agreement(chi, case.chi, mask, GRID)
            rows.append((in_cone.coherence, in_cone.gain, xsim(chi, case.chi, mask), nrmse(chi, case.chi, mask)))
        names = ("coherence", "gain", "xsim", "nrmse")
        means = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(names)}
        return {**means, "each": [[round(x, 3) for x in row] for row in rows]}


def _draw_held_out_head(rng: RandomSource) -> Head:
    fine = draw_held_out(rng, GRID)
    x, y, z = (round(a / b) for a, b in zip(GRID.voxel_size, fine.grid.voxel_size, strict=True))
    tissue_block = (max(1, x // 2), max(1, y // 2), max(1, z // 2))
    mask = block_mean(fine.depth, tissue_block) > 1.0
    labels = torch.zeros(GRID.shape, dtype=torch.int16)
    return masked_head(block_mean(fine.chi, (x, y, z)), mask, block_mean(fine.white, tissue_block), labels, GRID)
