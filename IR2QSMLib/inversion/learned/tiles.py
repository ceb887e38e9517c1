"""A network over a whole volume, at once or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from IR2QSMLib.core.devices import is_out_of_memory, memory_free
from IR2QSMLib.core.errors import OutOfMemory
from IR2QSMLib.core.progress import Progress
from IR2QSMLib.networks.blocks import Dipoles, Estimate
from IR2QSMLib.networks.registry import Config, Network, Unrolled

TILES = (256, 192, 160, 128, 96, 64)
"""Edges of tiles [voxels], the only ones used, so that a result can be repeated."""
OVERLAP = 24
"""Voxels over which neighbouring tiles are blended at the least."""


class Maps(NamedTuple):
    """What a network says of a volume, and how it was run; every tensor is (x, y, z)."""

    chi: Tensor
    """Susceptibility [ppm]."""
    sigma: Tensor | None = None
    """Its standard error [ppm], of a network that gives one."""
    unexplained: Tensor | None = None
    """Part of the field that no χ explains [ppm], of a network that tells it."""
    tile: int | None = None
    """Edge of the tiles [voxels]; None for the whole volume."""


def bytes_per_voxel(config: Config, dtype: torch.dtype | None) -> float:
    """Memory that inference takes at its peak."""
    return config.n_peak * (4 if dtype is None else 2) + 40.0


def infer_in_memory(
    network: Network,
    image: Tensor,
    tile: int | None,
    before: Maps | None,
    dtype: torch.dtype | None,
    progress: Progress,
    dipole: Dipoles | None = None,
    mask: Tensor | None = None,
) -> Maps:
    """`infer` in tiles of the given edge; for None, over the whole volume or in the largest tiles that memory holds.

    After a run `before` over such a volume, none larger than its own are tried, and those at once: memory that it freed
    may not be told as free. Raises OutOfMemory when no tile fits.
    """
    for edge in _edges(network, image, tile, before, dtype):
        try:
            return infer(network, image, edge, dtype, progress, dipole, mask)._replace(tile=edge)
        except RuntimeError as error:  # torch.OutOfMemoryError on a GPU, RuntimeError from the CPU's allocator
            if not is_out_of_memory(error):
                raise
    raise OutOfMemory(
        f"No tile size fits into the memory of '{image.device}' for a volume of "
        f"{'×'.join(map(str, image.shape[1:]))} voxels; close other programs, or use --device cpu.",
        option="device",
    )


def _edges(
    network: Network, image: Tensor, tile: int | None, before: Maps | None, dtype: torch.dtype | None
) -> Iterator[int | None]:
    """Edges of tiles to try, None for the whole volume, from the first that memory should hold."""
    longest = max(image.shape[1:])
    if tile is not None:
        yield tile if tile < longest else None
        return
    edges = [None, *(t for t in TILES if t < longest)]
    if before is not None:
        yield from edges[edges.index(before.tile) :]
        return
    free = 0.8 * memory_free(str(image.device))
    per_voxel = bytes_per_voxel(network.config, dtype)
    for edge in edges:
        n_voxels = image[0].numel() if edge is None else edge**3
        if n_voxels * per_voxel <= free or edge == edges[-1]:
            yield edge


@torch.inference_mode()
def infer(
    network: Network,
    image: Tensor,
    tile: int | None,
    dtype: torch.dtype | None,
    progress: Progress,
    dipole: Dipoles | None = None,
    mask: Tensor | None = None,
) -> Maps:
    """Run a network on an image [ppm], (c, x, y, z), whole or in blended tiles of that edge.

    An unrolled network needs the `dipole` operator and the `mask` (x, y, z) of the whole volume: its learned part runs
    in tiles and its physics does not, so that no tile takes the field of what lies beside it for its own.
    """
    shape = tuple(image.shape[1:])
    edges = [n if tile is None else min(tile, n) for n in shape]
    corners = list(product(*(_starts(n, e) for n, e in zip(shape, edges, strict=True))))
    window = _window(edges, shape, image.device)

    def blended(part: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """(1, c, x, y, z) to (1, k, x, y, z), float32."""
        out, weight = torch.zeros(()), torch.zeros(shape, device=x.device)
        for corner in corners:
            i, j, k = (slice(c, c + e) for c, e in zip(corner, edges, strict=True))
            with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
                found = part(x[:, :, i, j, k].contiguous(memory_format=torch.channels_last_3d))
            if out.ndim == 0:
                out = torch.zeros(1, found.shape[1], *shape, device=x.device)
            out[:, :, i, j, k] += window * found.float()
            weight[i, j, k] += window
        return out.div_(weight)

    n_runs = len(corners) * (network.config.n_passes if isinstance(network, Unrolled) else 1)
    with _reported(network, n_runs, progress):
        if isinstance(network, Unrolled):
            if dipole is None or mask is None:
                raise TypeError("An unrolled network needs the dipole operator and the mask.")
            estimate = network(image[None], dipole, mask[None, None].float(), blended)
            return Maps(estimate.chi[0, 0], None, None if estimate.unexplained is None else estimate.unexplained[0, 0])
        maps = blended(lambda x: _maps(network(x)), image[None])[0]
        return Maps(*maps)


def _maps(estimate: Estimate) -> Tensor:
    """χ and, where there is one, its standard error as channels."""
    parts = [estimate.chi.float()]
    if estimate.log_sigma is not None:
        parts.append(estimate.log_sigma.float().exp())
    return torch.cat(parts, dim=1)


def _starts(n: int, edge: int) -> list[int]:
    """First voxels of tiles that overlap by at least OVERLAP, multiples of 8 as the network's pooling needs."""
    if n <= edge:
        return [0]
    n_tiles = -(-(n - OVERLAP) // (edge - OVERLAP))
    return [8 * round(i * (n - edge) / (n_tiles - 1) / 8) for i in range(n_tiles)]


def _window(edges: list[int], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Weights of a tile that fall to nearly nothing within OVERLAP of its faces; all one for a whole volume."""
    out = torch.ones((), device=device)
    for axis, (edge, n) in enumerate(zip(edges, shape, strict=True)):
        ramp = torch.ones(edge, device=device)
        if edge < n:
            distance = torch.arange(edge, device=device).minimum(torch.arange(edge - 1, -1, -1, device=device))
            ramp = (torch.sin(0.5 * torch.pi * ((distance + 0.5) / OVERLAP).clamp(max=1.0)) ** 2).clamp_min(1e-4)
        out = out * ramp.view([-1 if a == axis else 1 for a in range(3)])
    return out.expand(edges)


@contextmanager
def _reported(network: nn.Module, n_runs: int, progress: Progress) -> Iterator[None]:
    """Tell `progress` after every convolution of `n_runs` of the network, so that a run can be cancelled within one."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    done = count(1)

    def tell(*_: object) -> None:
        progress(min(next(done) / (n_runs * len(convolutions)), 1.0), "inversion")

    hooks = [convolution.register_forward_hook(tell) for convolution in convolutions]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
