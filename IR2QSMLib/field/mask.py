"""A mask from the magnitude, for those who have none; the user's own always goes before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import Phase

NOISE = 0.1
"""Share of the mask beside jumps of the phase from which on it is noise."""
SCRAP = 0.01
"""Share of the largest piece of a mask below which one that was cut off is dropped."""


@dataclass(frozen=True)
class MagnitudeMask:
    """The brain from the magnitude: bright, of coherent phase, one piece, without holes.

    Voxels above a share of Otsu's threshold (1979, doi 10.1109/TSMC.1979.4310076) and of a phase quality are eroded
    by `opening` [mm], which parts brain from scalp; the largest piece is grown back, and its holes are filled. This
    is no brain extraction: a mask that a person or a trained tool drew is better. Raises ParameterInvalid when a
    number is out of range.
    """

    share: float = 0.6
    """Of Otsu's threshold."""
    quality: float = 0.5
    """Least phase quality, 0 to 1."""
    opening: float = 3.0
    """Radius [mm]; 0 parts nothing."""

    def __post_init__(self) -> None:
        if not (0.0 < self.share <= 2.0 and 0.0 <= self.quality < 1.0 and 0.0 <= self.opening < math.inf):
            raise ParameterInvalid(
                f"The mask was given share {self.share:g}, quality {self.quality:g} and opening {self.opening:g} mm; "
                "expected a share up to 2, a quality from 0 to 1 and no negative opening."
            )

    def __call__(self, phase: Phase) -> Tensor:
        """The mask of a phase and its magnitude, bool: (x, y, z); raises MaskInvalid when nothing is left."""
        bright = phase.magnitude[0].float()
        seen = bright[torch.isfinite(bright) & (bright > 0)].cpu().numpy()
        if seen.size == 0 or seen.min() == seen.max():
            raise MaskInvalid("The magnitude is constant or nowhere positive; give a mask.", option="mask")
        # Few, very bright vessels would pull the threshold up.
        seen = seen[seen <= np.quantile(seen, 0.99)]
        level = self.share * float(threshold_otsu(seen)) if seen.min() < seen.max() else 0.0
        good = (bright > level) & (phase_quality(phase) > self.quality)
        mask = torch.from_numpy(largest_piece(good.cpu().numpy(), phase.grid, self.opening)).to(good.device)
        if not bool(mask.any()):
            raise MaskInvalid(
                f"Nothing is left of the magnitude above {level:g} with an opening of {self.opening:g} mm; "
                "give a mask.",
                option="mask",
            )
        return mask


def phase_quality(phase: Phase) -> Tensor:
    """Coherence of the phase of each voxel and its 26 neighbours, 0 to 1: (x, y, z).

    |Σ z| / Σ |z| with z = s₀*·s₁, or s₀ of a single echo, the mean slope of the neighbourhood left in.
    """
    magnitude = torch.nan_to_num(phase.magnitude)
    angle = phase.values[0] if phase.n_echoes == 1 else phase.values[1] - phase.values[0]
    weight = magnitude[0] if phase.n_echoes == 1 else magnitude[0] * magnitude[1]
    weight = torch.where(torch.isfinite(angle), weight, 0.0)
    angle = torch.nan_to_num(angle)
    parts = torch.stack([weight * torch.cos(angle), weight * torch.sin(angle), weight])[:, None]
    # Pooling one axis after the other: a mean over 3³ voxels would be nine times the work.
    for kernel, margin in (((3, 1, 1), (1, 0, 0)), ((1, 3, 1), (0, 1, 0)), ((1, 1, 3), (0, 0, 1))):
        parts = torch.nn.functional.avg_pool3d(parts, kernel, stride=1, padding=margin)
    real, imaginary, total = parts[:, 0]
    return (torch.hypot(real, imaginary) / total.clamp_min(1e-30)).clamp_max(1.0)


def without_poor_surface(mask: Tensor, poor: Tensor) -> Tensor:
    """A mask without the poor voxels that reach its surface; those that are enclosed stay: (x, y, z), bool.

    Pieces of less than a hundredth of the largest go as well where this cuts any off.
    """
    kept = mask.cpu().numpy() & ndimage.binary_fill_holes((mask & ~poor).cpu().numpy())
    pieces, n = ndimage.label(kept)
    sizes = np.bincount(pieces.ravel(), minlength=n + 1)
    own = ndimage.label(mask.cpu().numpy())[1]
    if n > own:
        kept &= sizes[pieces] >= SCRAP * sizes[1:].max()
    return torch.from_numpy(kept).to(mask.device)


def beside_jumps(phase: Tensor, mask: Tensor) -> Tensor:
    """Voxels of a mask next to where its unwrapped phase [rad] jumps by more than π: (x, y, z), bool.

    On one side of a jump voxels are a turn off: 30 of them beside a sinus, 1.3 ppm wrong, spoil the field of a whole
    brain. None where more than a tenth would be: that phase is noise, and there is no right side.
    """
    found = torch.zeros_like(mask)
    for axis in range(3):
        n = mask.shape[axis] - 1
        pair = mask.narrow(axis, 0, n) & mask.narrow(axis, 1, n) & (phase.diff(dim=axis).abs() > math.pi)
        for start in (0, 1):
            found.narrow(axis, start, n).logical_or_(pair)
    found = mask & (torch.nn.functional.max_pool3d(found[None].float(), 3, 1, 1)[0] > 0.0)
    return found if int(found.sum()) < NOISE * int(mask.sum()) else torch.zeros_like(found)


def largest_piece(mask: np.ndarray, grid: Grid, opening: float = 0.0) -> np.ndarray:
    """The largest 6-connected piece of a mask (x, y, z), parted by an opening [mm], its holes filled."""
    core = mask
    if opening > 0.0:
        # Beyond the grid there may be more of the head, so its edge does not erode.
        inside = np.pad(mask, 1, mode="edge")
        core = ndimage.distance_transform_edt(inside, grid.voxel_size)[1:-1, 1:-1, 1:-1] > opening
    labels, n = ndimage.label(core)
    if n == 0:
        return np.zeros_like(mask)
    piece = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    if opening > 0.0:
        piece = mask & (ndimage.distance_transform_edt(~piece, grid.voxel_size) <= opening + max(grid.voxel_size))
    return np.asarray(ndimage.binary_fill_holes(piece))
