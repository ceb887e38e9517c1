"""The map of a whole brain on coarse voxels, from which the first map of every network begins."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import bundled, load
from IR2QSMLib.inversion.learned.tiles import infer_in_memory
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.networks.whole_brain import WholeBrainUnet
from IR2QSMLib.physics.fourier import band_limit, good_size, pad
from IR2QSMLib.physics.resample import aligned_grid, resample

NAME = "whole-brain"
"""The network, and its bundled weights."""
STAGE = "whole brain"
SPECTRUM, NETWORK = (0.1, 0.3), (0.3, 1.0)
"""Shares of the progress, after resampling."""


class WholeBrainMap(NamedTuple):
    """The map of a whole brain, and how it was made."""

    chi: Tensor
    """Susceptibility [ppm], as smooth as coarse voxels hold it: (x, y, z)."""
    sha256: str
    """Hash of the weights."""
    tile: int | None
    """Edge of the network's tiles [voxels]; None for the whole volume."""


def unavailable_reason() -> str | None:
    """Why there is no map of a whole brain: its weights are missing; None if they are there."""
    if bundled(NAME).is_file():
        return None
    return (
        f"No weights of the network '{NAME}', whose map the other networks begin from, come with this installation; "
        "reinstall the program."
    )


def whole_brain_map(field: LocalField, progress: Progress = silent) -> WholeBrainMap:
    """Make the map of the whole-brain network on the field's voxels.

    Parameters
    ----------
    field : LocalField
        The local field [ppm] without its constant.
    progress : callable
        Called with the fraction done and the stage.

    Returns
    -------
    WholeBrainMap
        The map [ppm], (x, y, z), and how it was made.

    Raises
    ------
    WeightsInvalid
        When the weights do not load or are another network's.
    OutOfMemory
        When no tile fits.
    """
    loaded, device = load(bundled(NAME)), field.values.device
    if loaded.network_name != NAME:
        raise WeightsInvalid(
            f"The weights '{loaded.name}' are for the network '{loaded.network_name}'; expected '{NAME}'.",
            option="weights",
        )
    coarse = coarse_field(field, progress)
    image = loaded.network_input(DataTerm.of(coarse, part_of(progress, *SPECTRUM)))
    precision = half_precision(str(device))
    maps = infer_in_memory(loaded.network.to(device), image, None, precision, part_of(progress, *NETWORK))
    progress(1.0, STAGE)
    chi = resample(torch.where(coarse.mask, maps.chi, 0.0), coarse.grid, field.grid)
    return WholeBrainMap(chi, loaded.sha256, maps.tile)


def coarse_field(field: LocalField, progress: Progress = silent) -> LocalField:
    """The field on cubes of `SETTINGS.whole_brain_voxel_size` whose z axis is B0, in a box around the mask.

    Parameters
    ----------
    field : LocalField
        The local field [ppm].
    progress : callable
        Called with 0 and the stage, so that the run can be cancelled.

    Returns
    -------
    LocalField
        Its mask holds the voxels that are half inside the field's. For a mask too thin for that, it holds those nearest
        to a voxel of the mask, and its values are the means of the field there.
    """
    voxel_size = SETTINGS.whole_brain_voxel_size
    grid = aligned_grid(field.grid, voxel_size)
    progress(0.0, STAGE)
    mask = resample(field.mask.float(), field.grid, grid) > 0.5
    progress(0.0, STAGE)
    is_finer = min(field.grid.voxel_size) < voxel_size
    if not mask.any() or (is_finer and _is_thin(field, voxel_size)):
        values, mask = _nearest_means(field, grid)
        start, shape = _box_around(mask)
        coarse_values = pad(values, shape, [-n for n in start])
    else:
        start, shape = _box_around(mask)
        values = band_limit(field.values, field.grid, voxel_size) if is_finer else field.values
        coarse_values = resample(values, field.grid, grid.cropped(start, shape))
    coarse_mask = pad(mask, shape, [-n for n in start])
    return LocalField(torch.where(coarse_mask, coarse_values, 0.0), coarse_mask, grid.cropped(start, shape))


def _is_thin(field: LocalField, voxel_size: float) -> bool:
    """Whether most of a mask vanishes in voxels of that size [mm]: a sheet does that is half as thick."""
    low_pass = band_limit(field.mask.float(), field.grid, voxel_size)
    return bool((low_pass[field.mask] > 0.5).float().mean() < 0.5)


def _box_around(mask: Tensor) -> tuple[list[int], list[int]]:
    """First voxel and shape of a box around a mask, a multiple of the network's, with as much room on every side."""
    multiple, inside = WholeBrainUnet.multiple, mask.nonzero()
    low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
    shape = [good_size(last - first + 1 + 2 * multiple, multiple) for first, last in zip(low, high, strict=True)]
    start = [first - (n - (last - first + 1)) // 2 for first, last, n in zip(low, high, shape, strict=True)]
    return start, shape


def _nearest_means(field: LocalField, grid: Grid) -> tuple[Tensor, Tensor]:
    """Means of the field over the mask's voxels nearest to each voxel of a grid, and where there is such a voxel."""
    source = field.grid
    index = field.mask.nonzero().cpu().double() * torch.tensor(source.voxel_size, dtype=torch.float64)
    positions = index @ torch.tensor(source.matrix.T) + torch.tensor(source.origin, dtype=torch.float64)  # (voxel, 3)
    relative = (positions - torch.tensor(grid.origin, dtype=torch.float64)) @ torch.tensor(grid.matrix)
    nearest = (relative / torch.tensor(grid.voxel_size, dtype=torch.float64)).round().long()
    nx, ny, nz = grid.shape
    flat = (nearest[:, 0] * ny + nearest[:, 1]) * nz + nearest[:, 2]
    count = torch.bincount(flat, minlength=nx * ny * nz)
    total = torch.bincount(flat, field.values[field.mask].cpu().double(), minlength=nx * ny * nz)
    means = (total / count.clamp_min(1)).view(grid.shape).float()
    return means.to(field.values.device), (count > 0).view(grid.shape).to(field.values.device)
