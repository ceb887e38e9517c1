"""Patches of the heads in use, in memory and, where a folder is named, on disk for other runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.version import __version__
from IR2QSMLib.inversion.learned import whole_brain
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from IR2QSMLib.training.patches import Patches, as_heads, batches_of, cut_patches, join, patches_of
from IR2QSMLib.training.sampling import Sampling


class PatchCache:
    """The patches of the last set of heads in memory, and in a folder those of every head that was drawn.

    Runs that cut alike share the folder: what they find there is bit for bit what they would draw. A file's name holds
    a hash of all that its patches depend on: the sampling, the network's input, the version, the numbers of the data
    term (`SETTINGS`) and, where first maps begin from the whole-brain network, that network's weights. Patches are kept
    in half precision: 0.05 % of a value, far below any noise.

    Parameters
    ----------
    folder : Path, optional
        A folder, which may grow large; without one, only the last set is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._key: tuple[Any, ...] = ()
        self._heads: list[Patches] = []

    def heads(
        self, network_input: NetworkInput, sampling: Sampling, first_seed: int, device: torch.device
    ) -> list[Patches]:
        """The patches of each of the `sampling.n_heads` heads from `first_seed` on, float16."""
        key = (network_input, sampling, first_seed, device)
        if key != self._key:
            self._heads = []  # free the last set before the next is drawn
            seeds = range(first_seed, first_seed + sampling.n_heads)
            self._heads = [self._head(network_input, sampling, seed, device) for seed in seeds]
            self._key = key
        return self._heads

    def _head(self, network_input: NetworkInput, sampling: Sampling, seed: int, device: torch.device) -> Patches:
        if self.folder is None:
            return _draw(network_input, sampling, seed, device)
        path = self.folder / f"{_hash(network_input, sampling, device)}-{seed}.safetensors"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, _draw(network_input, sampling, seed, device))
        return _read(path, device)


def draw_round(
    network_input: NetworkInput,
    sampling: Sampling,
    number: int,
    device: torch.device,
    rank: int = 0,
    n_ranks: int = 1,
    *,
    isolated: bool = False,
    cache: PatchCache | None = None,
) -> Iterator[Patches]:
    """Batches of one round, which depend on its number and the rank alone.

    Parameters
    ----------
    network_input : NetworkInput
        Which maps the network reads.
    sampling : Sampling
        Which heads are drawn and how they are cut.
    number : int
        Of the round, from 0.
    device : torch.device
        Where the heads are drawn.
    rank, n_ranks : int
        Number of this device and how many there are; each has heads of its own.
    isolated : bool
        Whether each patch becomes a head of its own (`as_heads`).
    cache : PatchCache, optional
        Keeps the heads.
    """
    set_number, part = divmod(number, sampling.rounds_per_set)
    first_seed = FIRST_TRAINING_SEED * (1 + sampling.seed) + (set_number * n_ranks + rank) * sampling.n_heads
    heads = (cache or PatchCache()).heads(network_input, sampling, first_seed, device)
    patches = join([head.select(slice(part, None, sampling.rounds_per_set)) for head in heads])
    for batch in batches_of(patches, sampling.batch_size, first_seed + part):
        yield as_heads(batch) if isolated else batch


def _draw(network_input: NetworkInput, sampling: Sampling, seed: int, device: torch.device) -> Patches:
    return cut_patches(network_input, sampling, RandomSource(seed, device)).map_tensors(Tensor.half)


def _hash(network_input: NetworkInput, sampling: Sampling, device: torch.device) -> str:
    weights = None
    if sampling.whole_brain_map_share > 0.0:
        weights = whole_brain.load(whole_brain.bundled(whole_brain.NAME)).sha256
    parts = {
        "version": __version__,
        "network_input": asdict(network_input),
        "patch_size": sampling.patch_size,
        "patches_per_head": sampling.patches_per_head,
        "voxel_size": sampling.voxel_size,
        "whole_brain_map_share": sampling.whole_brain_map_share,
        "whole_brain_sha256": weights,
        "settings": asdict(SETTINGS),
        "device": device.type,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _write(path: Path, patches: Patches) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in patches.tensors.items()}
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    save_file(tensors, unfinished, metadata={"grid": json.dumps(asdict(patches.grids[0]))})
    os.replace(unfinished, path)


def _read(path: Path, device: torch.device) -> Patches:
    with safe_open(path, "pt", device=str(device)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        grid = json.loads(file.metadata()["grid"])
    grid = Grid(**{name: tuple(value) if isinstance(value, list) else value for name, value in grid.items()})
    return patches_of(tensors, (grid,) * len(tensors["mask"]))
