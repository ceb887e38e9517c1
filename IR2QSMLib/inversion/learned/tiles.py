"""A network over a whole volume, at once or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from IR2QSMLib.core.devices import memory_free, release_freed_memory
from IR2QSMLib.core.errors import OutOfMemory, is_out_of_memory
from IR2QSMLib.core.progress import Progress
from IR2QSMLib.networks.blocks import DipoleOperator, Estimate, TensorFunction
from IR2QSMLib.networks.registry import Config, Network, Unrolled

TILES = (256, 192, 160, 128, 96, 64)
"""Edges of tiles [voxels], the only ones used, so that a result can be repeated."""
OVERLAP = 24
"""Voxels over which neighbouring tiles are blended at the least."""
MEMORY_SHARE = 0.8
"""Share of the free memory that inference may take."""


class NetworkMaps(NamedTuple):
    """The maps that a network makes of a volume, and how it was run; every tensor is (x, y, z)."""

    chi: Tensor
    """Susceptibility [ppm]."""
    sigma: Tensor | None = None
    """Its standard error [ppm], of a network with an uncertainty head."""
    unexplained: Tensor | None = None
    """Part of the field that no χ explains [ppm], of a network that estimates it."""
    tile: int | None = None
    """Edge of the tiles [voxels]; None for the whole volume."""


def bytes_per_voxel(config: Config, dtype: torch.dtype | None) -> float:
    """Memory that inference takes at its peak [bytes], in that precision; None is float32."""
    return config.peak_values_per_voxel * (4 if dtype is None else 2) + 40.0


def infer_in_memory(
    network: Network,
    image: Tensor,
    tile: int | None,
    dtype: torch.dtype | None,
    progress: Progress,
    dipole: DipoleOperator | None = None,
    mask: Tensor | None = None,
) -> NetworkMaps:
    """`infer` with the largest tiles that memory holds, where none are asked for.

    Parameters
    ----------
    network, image, dtype, progress, dipole, mask
        See `infer`.
    tile : int or None
        Edge of the tiles [voxels]; None for the whole volume or else the largest in `TILES` that memory holds.

    Returns
    -------
    NetworkMaps
        The maps, and the tile that was used.

    Raises
    ------
    OutOfMemory
        When no tile fits.
    """
    for edge in _tiles_to_try(network, image, tile, dtype):
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


def _tiles_to_try(network: Network, image: Tensor, tile: int | None, dtype: torch.dtype | None) -> Iterator[int | None]:
    """Edges of tiles, None for the whole volume, from the largest that memory should hold to the smallest."""
    longest = max(image.shape[1:])
    if tile is not None:
        yield tile if tile < longest else None
        return
    edges = [None, *(t for t in TILES if t < longest)]
    free = MEMORY_SHARE * memory_free(str(image.device))
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
    dipole: DipoleOperator | None = None,
    mask: Tensor | None = None,
) -> NetworkMaps:
    """Run a network on a whole volume, at once or in blended tiles.

    Of an unrolled network the learned part runs in tiles and the physics does not: in a tile it would explain the field
    of sources beside it by sources inside.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    image : Tensor
        Its input [ppm]: (channel, x, y, z).
    tile : int or None
        Edge of the tiles [voxels]; None for the whole volume.
    dtype : torch.dtype or None
        Precision of the convolutions; None for float32.
    progress : callable
        Called after every convolution with the fraction done and the stage.
    dipole : DipoleOperator, optional
        The dipole operator of the volume, for an unrolled network.
    mask : Tensor, optional
        Its mask, for an unrolled network: (x, y, z).

    Returns
    -------
    NetworkMaps
        The maps [ppm].

    Raises
    ------
    TypeError
        For an unrolled network without dipole operator or mask.
    """
    shape = tuple(image.shape[1:])
    edges = [n if tile is None else min(tile, n) for n in shape]
    corners = list(product(*(_tile_starts(n, edge) for n, edge in zip(shape, edges, strict=True))))
    window = _blending_window(edges, shape, image.device)

    def in_tiles(part: TensorFunction, x: Tensor) -> Tensor:
        """(1, c, x, y, z) to (1, k, x, y, z), float32."""
        total, weight = torch.zeros(()), torch.zeros(shape, device=x.device)
        for corner in corners:
            i, j, k = (slice(start, start + edge) for start, edge in zip(corner, edges, strict=True))
            with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
                output = part(x[:, :, i, j, k].contiguous(memory_format=torch.channels_last_3d))
            if total.ndim == 0:
                total = torch.zeros(1, output.shape[1], *shape, device=x.device)
            total[:, :, i, j, k] += window * output.float()
            weight[i, j, k] += window
        return total.div_(weight)

    n_runs = len(corners) * (network.config.n_passes if isinstance(network, Unrolled) else 1)
    with _progress_by_convolution(network, n_runs, progress):
        if isinstance(network, Unrolled):
            if dipole is None or mask is None:
                raise TypeError("An unrolled network needs the dipole operator and the mask.")
            estimate = network(image[None], dipole, mask[None, None].float(), in_tiles)
            unexplained = None if estimate.unexplained is None else estimate.unexplained[0, 0]
            return NetworkMaps(estimate.chi[0, 0], unexplained=unexplained)
        return NetworkMaps(*in_tiles(lambda x: _as_channels(network(x)), image[None])[0])


def _as_channels(estimate: Estimate) -> Tensor:
    """χ and, where there is one, its standard error: (n, 1 or 2, x, y, z)."""
    maps = [estimate.chi.float()]
    if estimate.log_sigma is not None:
        maps.append(estimate.log_sigma.float().exp())
    return torch.cat(maps, dim=1)


def _tile_starts(n: int, edge: int) -> list[int]:
    """First voxels of tiles that overlap by at least OVERLAP, multiples of 8 as the network's pooling needs."""
    if n <= edge:
        return [0]
    n_tiles = -(-(n - OVERLAP) // (edge - OVERLAP))
    return [8 * round(i * (n - edge) / (n_tiles - 1) / 8) for i in range(n_tiles)]


def _blending_window(edges: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """Weights of a tile that fall to nearly nothing within OVERLAP of its faces; all one for a whole volume."""
    window = torch.ones((), device=device)
    for axis, (edge, n) in enumerate(zip(edges, shape, strict=True)):
        ramp = torch.ones(edge, device=device)
        if edge < n:
            distance = torch.arange(edge, device=device).minimum(torch.arange(edge - 1, -1, -1, device=device))
            ramp = (torch.sin(0.5 * torch.pi * ((distance + 0.5) / OVERLAP).clamp(max=1.0)) ** 2).clamp_min(1e-4)
        window = window * ramp.view([-1 if a == axis else 1 for a in range(3)])
    return window.expand(list(edges))


@contextmanager
def _progress_by_convolution(network: nn.Module, n_runs: int, progress: Progress) -> Iterator[None]:
    """Call `progress` after every convolution of `n_runs` of the network, so that a run can be cancelled within one.

    Where the resolution changes, freed memory is returned to the system: feature maps of other sizes do not fit the
    gaps in what glibc keeps, which would come to as much memory as the network needs.
    """
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    n_done, shape = count(1), torch.Size()

    def report(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal shape
        if output.shape[2:] != shape:
            shape = output.shape[2:]
            release_freed_memory()
        progress(min(next(n_done) / (n_runs * len(convolutions)), 1.0), "inversion")

    hooks = [convolution.register_forward_hook(report) for convolution in convolutions]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
