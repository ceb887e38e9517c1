"""Maps, masks and labels for the tests of the metrics."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SHAPE = (21, 18, 25)


def noisy_map(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A noisy map with a slope and an offset, and the truth, smooth and as large as in a head [ppm]."""
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2) * 0.3 + 0.02
    chi = 0.8 * truth + 0.01 + 0.02 * rng.standard_normal(shape)
    return torch.from_numpy(chi), torch.from_numpy(truth)


def mask_of(kind: str, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """A mask: a ball, everything, two far corners, a plane, a voxel, or none."""
    mask = torch.zeros(shape, dtype=torch.bool)
    if kind == "ball":
        axes = torch.meshgrid(*(torch.linspace(-1.0, 1.0, n) for n in shape), indexing="ij")
        mask = sum(a**2 for a in axes) < 0.64  # type: ignore[assignment]
    elif kind == "everything":
        mask[:] = True
    elif kind == "corners":
        mask[:4, :5, :3] = True
        mask[-3:, -2:, -6:] = True
    elif kind == "plane":
        mask[3:9, 7, 2:20] = True
    elif kind == "voxel":
        mask[5, 0, 24] = True
    return mask


def region_labels() -> Tensor:
    """Six regions, labelled 1 to 6."""
    labels = torch.zeros(SHAPE, dtype=torch.int32)
    for n in range(1, 7):
        labels[3 * n - 2 : 3 * n, 3:12, n : n + 9] = n
    return labels
