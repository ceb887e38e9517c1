"""Maps, masks and labels on which the metrics are tried."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SHAPE = (21, 18, 25)


def a_case(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A noisy, tilted reconstruction and its truth: ppm, smooth, of a head's size of numbers."""
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2) * 0.3 + 0.02
    chi = 0.8 * truth + 0.01 + 0.02 * rng.standard_normal(shape)
    return torch.from_numpy(chi), torch.from_numpy(truth)


def a_mask(kind: str, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Masks inside the volume, up to its edge, of two far parts, one plane, and one voxel."""
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


def some_labels() -> Tensor:
    labels = torch.zeros(SHAPE, dtype=torch.int32)
    for n in range(1, 7):
        labels[3 * n - 2 : 3 * n, 3:12, n : n + 9] = n
    return labels
