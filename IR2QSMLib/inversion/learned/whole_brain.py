"""The map of a whole brain on coarse voxels, from which the first map of every network begins."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.load import bundled, load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.tiles import infer_in_memory
from IR2QSMLib.networks.whole_brain import WholeBrainUnet
from IR2QSMLib.physics.fourier import band_limit, good_size
from IR2QSMLib.physics.resample import aligned_grid, resample
from IR2QSMLib.physics.settings import SETTINGS

WEIGHTS = "whole-brain"
"""The bundled weights."""
READS = NetworkInput("three")


def coarse_field(field: LocalField, progress: Progress = silent) -> LocalField:
    """The field on coarse cubes whose z axis is B0, in a box around the mask: all that the network knows."""
    multiple, voxel = WholeBrainUnet.multiple, SETTINGS.whole_brain_voxel_size
    grid = aligned_grid(field.grid, voxel)
    inside = _mask_on(grid, field).nonzero()
    low, high = inside.amin(0).tolist(), inside.amax(0).tolist()
    shape = [good_size(h - n + 1 + 2 * multiple, multiple) for n, h in zip(low, high, strict=True)]
    start = [n - (m - (h - n + 1)) // 2 for n, h, m in zip(low, high, shape, strict=True)]
    box = grid.cropped(start, shape)
    progress(0.0, "whole brain")
    mask = _mask_on(box, field)
    progress(0.0, "whole brain")
    finer = min(field.grid.voxel_size) < voxel
    values = resample(band_limit(field.values, field.grid, voxel) if finer else field.values, field.grid, box)
    return LocalField(torch.where(mask, values, 0.0), mask, box)


def _mask_on(grid: Grid, field: LocalField) -> Tensor:
    """Voxels of a grid that are half inside the mask; of a mask too small for that, those that hold most of it."""
    held = resample(field.mask.float(), field.grid, grid)
    return held > 0.5 * min(1.0, float(held.max()))


@torch.inference_mode()
def whole_brain_map(field: LocalField, progress: Progress = silent) -> tuple[Tensor, str]:
    """χ [ppm] on the field's voxels, (x, y, z), as smooth as coarse voxels hold it, and the weights' sha256.

    Raises WeightsInvalid when the weights do not load, OutOfMemory when no tile fits.
    """
    loaded, device = load(bundled(WEIGHTS)), field.values.device
    coarse = coarse_field(field, progress)
    image = READS(DataTerm.of(coarse, part_of(progress, 0.1, 0.2)))
    network, half = loaded.network.to(device), half_precision(str(device))
    maps = infer_in_memory(network, image, None, None, half, part_of(progress, 0.3, 0.9))
    progress(1.0, "whole brain")
    return resample(torch.where(coarse.mask, maps.chi, 0.0), coarse.grid, field.grid), loaded.sha256
