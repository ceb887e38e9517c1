"""Patches of simulated heads: the maps that a network reads, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.whole_brain import whole_brain_map
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import pad
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.simulation.acquisition import acquire, draw_discrepancy
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.training.heads import cut_slab, draw_head, draw_training_grid, remove_background
from IR2QSMLib.training.sampling import Sampling


@dataclass(frozen=True)
class Patches:
    """Patches of simulated heads; every tensor is (patch, 1, p, p, p), zero outside the mask."""

    field: Tensor
    """Local field without its constant [ppm]."""
    first_map: Tensor
    """The map that the network corrects [ppm]."""
    sharper_map: Tensor | None
    """A first map of less regularisation [ppm], where the network reads it."""
    chi: Tensor
    """The truth, of zero mean in the head [ppm]."""
    mask: Tensor
    """1 inside, 0 outside."""
    unexplained: Tensor
    """The field less that of the truth [ppm]."""
    grids: tuple[Grid, ...]
    """The grid of each patch."""

    def __len__(self) -> int:
        return len(self.grids)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grids"}
        return {name: value for name, value in values.items() if value is not None}

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> Patches:
        """The same patches with every tensor changed alike."""
        changed = {name: change(value) for name, value in self.tensors.items()}
        return patches_of(changed, self.grids)

    def select(self, index: slice | list[int]) -> Patches:
        """Some of the patches."""
        chosen = range(len(self))[index] if isinstance(index, slice) else index
        where = torch.tensor(list(chosen), device=self.mask.device)
        return patches_of({k: v[where] for k, v in self.tensors.items()}, tuple(self.grids[i] for i in chosen))

    def inputs(self, network_input: NetworkInput) -> Tensor:
        """What the network reads [ppm]: (patch, n_channels, p, p, p)."""
        return torch.cat(network_input.select(self.field, self.sharper_map, self.first_map), dim=1)


def patches_of(tensors: dict[str, Tensor], grids: tuple[Grid, ...]) -> Patches:
    """Patches from their tensors by name."""
    return Patches(**{"sharper_map": None, **tensors}, grids=grids)  # type: ignore[arg-type]


def join(parts: list[Patches]) -> Patches:
    """The patches of several heads in one."""
    tensors = {name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors}
    return patches_of(tensors, tuple(grid for part in parts for grid in part.grids))


def cut_patches(network_input: NetworkInput, sampling: Sampling, rng: RandomSource) -> Patches:
    """Patches of one new head, at random places of its mask, mirrored at random.

    Parameters
    ----------
    network_input : NetworkInput
        Which maps the network reads.
    sampling : Sampling
        Size and number of the patches, and the voxels of the head.
    rng : RandomSource
        Draws everything, and its device is that of the patches.

    Returns
    -------
    Patches
        `sampling.patches_per_head` patches, float32.
    """
    grid = draw_training_grid(rng)
    if sampling.voxel_size is not None:
        grid = Grid(grid.shape, (sampling.voxel_size, sampling.voxel_size, sampling.voxel_size))
    head = draw_head(rng, grid)
    field, chi = acquire(head, draw_discrepancy(rng), rng), head.chi
    if rng.chance(0.65):
        field, chi = remove_background(field, chi, rng)
    if rng.chance(0.5):
        field = cut_slab(field, rng)
    chi = torch.where(field.mask, chi - chi[field.mask].mean(), 0.0)
    working_grid = WorkingGrid.around(field, margin=rng.integer(8, 24))
    field, chi = working_grid.to_working_grid(field), working_grid.volume_to_working_grid(chi)
    data_term = DataTerm.of(field)
    first_map = data_term.first_map
    if rng.chance(sampling.whole_brain_map_share):
        first_map = data_term.enforce_consistency(torch.where(field.mask, whole_brain_map(field).chi, 0.0))[0]
    volumes = {
        "field": data_term.field.values,
        "first_map": first_map,
        "chi": chi,
        "mask": field.mask.float(),
        "unexplained": torch.where(field.mask, data_term.field.values - simulate_field(chi, working_grid.grid), 0.0),
    }
    if network_input.has_sharper_map:
        volumes["sharper_map"] = data_term.sharper_map()
    size = sampling.patch_size
    flipped = [rng.chance(0.5) for _ in range(3)]
    axes = [axis for axis in range(3) if flipped[axis]]
    shape = [max(n, size) for n in field.grid.shape]
    volumes = {name: pad(volume, shape).flip(axes) for name, volume in volumes.items()}
    inside, half = volumes["mask"].nonzero(), size // 2
    boxes = []
    for index in (rng.rand(sampling.patches_per_head) * len(inside)).long().tolist():
        centre = inside[index].tolist()
        starts = [
            min(max(c - half + rng.integer(-half // 2, half // 2), 0), n - size)
            for c, n in zip(centre, shape, strict=True)
        ]
        boxes.append(tuple(slice(start, start + size) for start in starts))
    tensors = {name: torch.stack([volume[box] for box in boxes])[:, None] for name, volume in volumes.items()}
    patch_grid = working_grid.grid.cropped((0, 0, 0), [size] * 3).reoriented((0, 1, 2), flipped)
    return patches_of(tensors, (patch_grid,) * len(boxes))


def as_heads(patches: Patches) -> Patches:
    """Patches as heads of their own: with the field of their own sources alone.

    In a patch cut from a brain, a large part of the field is of sources beside it. LPCNN and MoDL-QSM were trained with
    the patch's own dipole operator all the same, so that their descent had to explain what nothing in the patch can.
    As a head of its own, a patch poses the problem of a volume: f = m·(D∗χ + n), χ of zero mean in the mask, and n,
    the same discrepancy, too, as inference takes the constant out of a field (`DataTerm`).
    """
    n_inside = patches.mask.sum((2, 3, 4), keepdim=True).clamp_min(1.0)

    def demeaned(x: Tensor) -> Tensor:
        return (x - (x * patches.mask).sum((2, 3, 4), keepdim=True) / n_inside) * patches.mask

    chi, unexplained = demeaned(patches.chi), demeaned(patches.unexplained)
    own = torch.stack([simulate_field(x, grid) for x, grid in zip(chi, patches.grids, strict=True)])
    tensors = {
        "field": (own + unexplained) * patches.mask,
        "first_map": demeaned(patches.first_map),
        "chi": chi,
        "mask": patches.mask,
        "unexplained": unexplained,
    }
    if patches.sharper_map is not None:
        tensors["sharper_map"] = demeaned(patches.sharper_map)
    return patches_of(tensors, patches.grids)


def batches_of(patches: Patches, batch_size: int, seed: int) -> Iterator[Patches]:
    """The patches in a random order, batch by batch, float32."""
    order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))
    for chosen in order.split(batch_size):
        yield patches.select(chosen.tolist()).map_tensors(Tensor.float)
