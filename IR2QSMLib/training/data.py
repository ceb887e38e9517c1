"""What a training run is fed: heads drawn by seed, their fields, and patches of them, on the device that trains."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import LaplacianBoundaryValue, Removal, VSharp
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.whole_brain import whole_brain_map
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import pad
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.simulation.acquisition import acquire, draw_discrepancy
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.cases import FIRST_TRAINING_SEED
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes

SHAPES = ((96, 96, 96), (96, 112, 96), (112, 128, 112), (144, 176, 144))
"""Sizes of training volumes [voxels]."""


@dataclass(frozen=True)
class Sampling:
    """How patches are cut and batched; raises ParameterInvalid for values that no round can have."""

    patch: int = 48
    """Edge of a patch [voxels]."""
    batch: int = 8
    volumes: int = 4
    """Heads drawn for a round."""
    patches: int = 20
    """Patches cut from each head."""
    turns: int = 1
    """Rounds that a set of heads lasts, each of other patches: many heads a round, or its steps are all alike."""
    seed: int = 0
    whole_brain: float = 0.0
    """Share of the heads whose first map begins from that of the bundled whole-brain network."""
    voxel: float | None = None
    """Edge of cubic voxels [mm] with B0 along z, for a network that is run on such a grid; None draws grids."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ParameterInvalid(f"The seed is {self.seed}; expected 0 or more: below lie the held-out heads.")
        # A patch of 16 is 2 voxels wide at the coarsest scale, where oneDNN's bfloat16 gradients read foreign memory.
        if self.patch % 8 or not 24 <= self.patch <= 96:
            raise ParameterInvalid(f"The patch is {self.patch} voxels; expected a multiple of 8 from 24 to 96.")
        whole = min(self.batch, self.volumes, self.patches, self.turns) >= 1 and self.patches % self.turns == 0
        if not whole or (self.volumes * self.patches // self.turns) % self.batch:
            raise ParameterInvalid(
                f"A round of {self.volumes} heads × {self.patches} patches in {self.turns} turns is no multiple of the "
                f"batch of {self.batch}."
            )


class Patches(NamedTuple):
    """Patches of simulated heads."""

    values: Tensor
    """The input, the truth [ppm] and the mask: (patches, n_channels + 2, p, p, p); as they are cut, and where each
    patch is a head of its own, at the end what the truth leaves of the field [ppm]."""
    grids: list[Grid]
    """The grid of each."""


def draw_training_grid(rng: RandomSource) -> Grid:
    """Voxels of 0.6 to 1.6 mm, 0.4 of the time up to 3 mm long on one axis, and B0 up to 40° from z."""
    size = rng.choice((1.0, rng.uniform(0.6, 1.6)))
    voxel = [size] * 3
    if rng.chance(0.4):
        voxel[rng.choice((0, 1, 2, 2))] = min(size * rng.uniform(1.0, 3.0), 3.0)
    tilt, phi = math.radians(rng.uniform(0.0, 40.0) if rng.chance(0.6) else 0.0), rng.uniform(0.0, 2.0 * math.pi)
    b = (math.sin(tilt) * math.cos(phi), math.sin(tilt) * math.sin(phi), math.cos(tilt))
    return Grid(rng.choice(SHAPES), (voxel[0], voxel[1], voxel[2]), b0_given=b)


def draw_head(rng: RandomSource, grid: Grid) -> Head:
    """A brain, or for a third of the draws random shapes."""
    while True:
        head = draw_shapes(rng, grid) if rng.chance(0.35) else draw_brain(rng, grid)
        if float(head.mask.float().mean()) > 0.02:
            return head


def remove_background(field: LocalField, rng: RandomSource) -> LocalField:
    """The field as V-SHARP or LBV leave it, which take away the local field's harmonic part with the background."""
    removal: Removal = VSharp(largest=rng.uniform(6.0, 16.0)) if rng.chance(0.6) else LaplacianBoundaryValue()
    found = removal(TotalField(field.values, field.mask, field.grid), silent)
    return found if float(found.mask.float().mean()) > 0.02 else field


def cut_slab(field: LocalField, rng: RandomSource) -> LocalField:
    """The part of a field between two planes, 35 to 90 % of its extent: the sources beyond them are in it."""
    axis = rng.choice((0, 0, 1, 2, 2))
    others = tuple(a for a in range(3) if a != axis)
    where = field.mask.any(dim=others[1]).any(dim=others[0]).nonzero().flatten()
    low, n = int(where.min()), int(where.max()) + 1 - int(where.min())
    width = max(int(rng.uniform(0.35, 0.9) * n), 8)
    start = low + int(rng.uniform(0.0, 1.0) * max(n - width, 0))
    inside = torch.arange(field.grid.shape[axis], device=field.mask.device)
    shape = [-1 if a == axis else 1 for a in range(3)]
    mask = field.mask & ((inside >= start) & (inside < start + width)).view(shape)
    return replace(field, mask=mask, values=torch.where(mask, field.values, 0.0))


def _image(reads: NetworkInput, field: LocalField, feed: Sampling, rng: RandomSource) -> Tensor:
    """What a network reads; for a share of the heads, the first map begins from that of the whole-brain network."""
    term = DataTerm.of(field)
    if not rng.chance(feed.whole_brain):
        return reads(term)
    return reads(term, term.reconciled(torch.where(field.mask, whole_brain_map(field)[0], 0.0))[0])


def cut_patches(reads: NetworkInput, feed: Sampling, rng: RandomSource) -> Patches:
    """Patches of one new head."""
    grid = draw_training_grid(rng)
    if feed.voxel is not None:
        grid = Grid(grid.shape, (feed.voxel, feed.voxel, feed.voxel))
    head = draw_head(rng, grid)
    field = acquire(head, draw_discrepancy(rng), rng)
    if rng.chance(0.65):
        field = remove_background(field, rng)
    if rng.chance(0.2):
        field = cut_slab(field, rng)
    frame = WorkingGrid.around(field, margin=rng.integer(8, 24))
    prepared = frame.prepare(field)
    chi = torch.where(field.mask, head.chi - head.chi[field.mask].mean(), 0.0)
    chi = frame.bring(chi)
    left = torch.where(prepared.mask, prepared.values - simulate_field(chi, frame.grid), 0.0)
    volume = torch.cat([_image(reads, prepared, feed, rng), chi[None], prepared.mask[None].float(), left[None]])
    volume = pad(volume, [max(n, feed.patch) for n in volume.shape[1:]])
    flipped = [rng.chance(0.5) for _ in range(3)]
    volume = volume.flip([a + 1 for a in range(3) if flipped[a]])
    grid = frame.grid.cropped((0, 0, 0), [feed.patch] * 3).reoriented((0, 1, 2), flipped)
    found = volume[reads.n_channels + 1].nonzero()
    half, out = feed.patch // 2, []
    for index in (rng.rand(feed.patches) * len(found)).long().tolist():
        low = [
            min(max(int(c) - half + rng.integer(-half // 2, half // 2), 0), n - feed.patch)
            for c, n in zip(found[index].tolist(), volume.shape[1:], strict=True)
        ]
        i, j, k = (slice(start, start + feed.patch) for start in low)
        out.append(volume[:, i, j, k])
    return Patches(torch.stack(out), [grid] * len(out))


class PatchCache:
    """The heads that rounds are cut from: the last set is at hand, and where a folder is given, all of them for good.

    Other runs that read and cut alike find them there and need not draw them again; the patches are the very same.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.key: tuple[Any, ...] = ()
        self.heads: list[Patches] = []

    def __call__(self, reads: NetworkInput, feed: Sampling, first: int, device: torch.device) -> list[Patches]:
        """The patches of the `feed.volumes` heads from the seed `first` on."""
        key = (reads, feed, first, device)
        if key != self.key:
            self.heads = []  # let the last set go before the next is drawn
            self.heads = [self._head(reads, feed, first + i, device) for i in range(feed.volumes)]
            self.key = key
        return self.heads

    def _head(self, reads: NetworkInput, feed: Sampling, seed: int, device: torch.device) -> Patches:
        if self.folder is None:
            return _halved(cut_patches(reads, feed, RandomSource(seed, device)))
        cut = json.dumps([asdict(reads), feed.patch, feed.patches, feed.whole_brain, feed.voxel, device.type])
        path = self.folder / f"{hashlib.sha256(cut.encode()).hexdigest()[:12]}-{seed}.safetensors"
        if not path.exists():
            found = _halved(cut_patches(reads, feed, RandomSource(seed, device)))
            grid = {"grid": json.dumps(asdict(found.grids[0]))}
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}.part")
            save_file({"values": found.values.cpu().contiguous()}, beside, metadata=grid)
            os.replace(beside, path)
        with safe_open(path, "pt", device=str(device)) as file:
            values = file.get_tensor("values")
            grid = json.loads(file.metadata()["grid"], object_pairs_hook=_as_it_was)
            return Patches(values, [Grid(**grid)] * len(values))


def _halved(patches: Patches) -> Patches:
    return Patches(patches.values.half(), patches.grids)  # 0.05 % of a value: far below any noise


def _as_it_was(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in pairs}


def stand_alone(values: Tensor, reads: NetworkInput, grids: Sequence[Grid]) -> Tensor:
    """Patches, the last channel what χ leaves of the field, as heads of their own: their field is of their own sources.

    In a patch cut from a brain, a large part of the field is of sources beside it. LPCNN and MoDL-QSM were trained with
    the patch's own dipole operator all the same, so that their descent had to explain what nothing in the patch can. As
    a head of its own, its χ of zero mean, a patch poses the very problem that a whole volume does, with the same noise.
    """
    n, out = reads.n_channels, values.clone()
    mask = values[:, n + 1 : n + 2]
    n_inside = mask.sum((2, 3, 4), keepdim=True).clamp_min(1.0)
    for channel in range(1, n + 1):  # a first inversion, where there is one, and the truth
        x = values[:, channel : channel + 1]
        out[:, channel : channel + 1] = (x - (x * mask).sum((2, 3, 4), keepdim=True) / n_inside) * mask
    for patch, grid in zip(out, grids, strict=True):
        patch[0] = simulate_field(patch[n], grid)
    out[:, :1] = (out[:, :1] + values[:, n + 2 :]) * mask
    return out


def draw_round(
    reads: NetworkInput,
    feed: Sampling,
    number: int,
    device: torch.device,
    rank: int = 0,
    n_ranks: int = 1,
    *,
    alone: bool = False,
    stock: PatchCache | None = None,
) -> Iterator[Patches]:
    """Batches of one round; the same round of the same rank is the same data.

    With `alone`, each patch is a head of its own (see `stand_alone`).
    """
    turn = number % feed.turns
    first = FIRST_TRAINING_SEED * (1 + feed.seed) + (number // feed.turns * n_ranks + rank) * feed.volumes
    heads = (stock or PatchCache())(reads, feed, first, device)
    values = torch.cat([head.values[turn :: feed.turns] for head in heads])
    grids = [grid for head in heads for grid in head.grids[turn :: feed.turns]]
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(first + turn))
    for chosen in order.split(feed.batch):
        batch, its = values[chosen.to(device)].float(), [grids[i] for i in chosen.tolist()]
        yield Patches(stand_alone(batch, reads, its) if alone else batch[:, :-1], its)
