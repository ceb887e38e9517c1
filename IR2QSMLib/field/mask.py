"""A mask from the magnitude, for those who have none, and the voxels at a mask's surface that are not to be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import Phase

NOISE_SHARE = 0.1
"""The phase is taken for noise where more than this share of the mask lies beside wraps."""
MIN_PIECE = 0.01
"""Share of a mask's largest piece below which a piece that was cut off is dropped."""


@dataclass(frozen=True)
class MagnitudeMask:
    """The brain from the magnitude: bright, of coherent phase, one piece, without holes.

    Voxels above a share of Otsu's threshold and above a phase quality are eroded by `opening`, which separates brain
    from scalp; the largest piece is dilated back, and its holes are filled. This is no brain extraction: a mask that a
    person or a trained tool drew is better.

    Raises
    ------
    ParameterInvalid
        When a number is out of range.

    References
    ----------
    Otsu 1979, IEEE Trans Syst Man Cybern, doi 10.1109/TSMC.1979.4310076.
    """

    share: float = 0.6
    """Factor on Otsu's threshold."""
    quality: float = 0.5
    """Least phase quality, 0 to 1."""
    opening: float = 3.0
    """Radius of the erosion [mm]; 0 separates nothing."""

    def __post_init__(self) -> None:
        if not (0.0 < self.share <= 2.0 and 0.0 <= self.quality < 1.0 and 0.0 <= self.opening < math.inf):
            raise ParameterInvalid(
                f"The mask has share {self.share:g}, quality {self.quality:g} and opening {self.opening:g} mm; "
                "expected a share up to 2, a quality from 0 to 1 and no negative opening."
            )

    def __call__(self, phase: Phase) -> Tensor:
        """The mask of an image, bool: (x, y, z).

        Parameters
        ----------
        phase : Phase
            Phase and magnitude of one echo or more.

        Raises
        ------
        MaskInvalid
            When the magnitude is constant or no voxel is left.
        """
        from skimage.filters import threshold_otsu  # a local field does without scikit-image

        magnitude = phase.magnitude[0].float()
        positive = magnitude[torch.isfinite(magnitude) & (magnitude > 0)].cpu().numpy()
        if positive.size == 0 or positive.min() == positive.max():
            raise MaskInvalid("The magnitude is constant or nowhere positive; give a mask.", option="mask")
        # A few very bright vessels would raise the threshold.
        without_vessels = positive[positive <= np.quantile(positive, 0.99)]
        is_constant = without_vessels.min() == without_vessels.max()
        threshold = 0.0 if is_constant else self.share * float(threshold_otsu(without_vessels))
        candidates = (magnitude > threshold) & (phase_quality(phase) > self.quality)
        mask = largest_component(candidates.cpu().numpy(), phase.grid, self.opening)
        if not mask.any():
            raise MaskInvalid(
                f"Nothing is left of the magnitude above {threshold:g} with an opening of {self.opening:g} mm; "
                "give a mask.",
                option="mask",
            )
        return torch.from_numpy(mask).to(magnitude.device)


def phase_quality(phase: Phase) -> Tensor:
    """Coherence of the phase in each voxel's neighbourhood of 3³ voxels, |Σ z| / Σ |z|.

    z = s₀*·s₁ of the first two echoes' signals, or s₀ of a single echo.

    Parameters
    ----------
    phase : Phase
        NaN counts as no signal.

    Returns
    -------
    Tensor
        0 (noise) to 1: (x, y, z).
    """
    magnitude = torch.nan_to_num(phase.magnitude)
    angle = phase.values[0] if phase.n_echoes == 1 else phase.values[1] - phase.values[0]
    weight = magnitude[0] if phase.n_echoes == 1 else magnitude[0] * magnitude[1]
    weight = torch.where(torch.isfinite(angle), weight, 0.0)
    angle = torch.nan_to_num(angle)
    sums = torch.stack([weight * torch.cos(angle), weight * torch.sin(angle), weight])[:, None]
    # Axis by axis: a mean over 3³ voxels at once would be three times the work.
    for kernel, padding in (((3, 1, 1), (1, 0, 0)), ((1, 3, 1), (0, 1, 0)), ((1, 1, 3), (0, 0, 1))):
        sums = torch.nn.functional.avg_pool3d(sums, kernel, stride=1, padding=padding)
    real, imaginary, total = sums[:, 0]
    return (torch.hypot(real, imaginary) / total.clamp_min(1e-30)).clamp_max(1.0)


def remove_poor_surface(mask: Tensor, poor: Tensor) -> Tensor:
    """A mask without the poor voxels that reach its surface; those enclosed by good ones stay.

    Small pieces that this cuts off are removed, too.

    Parameters
    ----------
    mask, poor : Tensor
        Bool: (x, y, z).

    Returns
    -------
    Tensor
        Bool: (x, y, z).
    """
    kept = mask.cpu().numpy() & ndimage.binary_fill_holes((mask & ~poor).cpu().numpy())
    labels, n_pieces = ndimage.label(kept)
    n_pieces_before = ndimage.label(mask.cpu().numpy())[1]
    if n_pieces > n_pieces_before:
        sizes = np.bincount(labels.ravel(), minlength=n_pieces + 1)
        kept &= sizes[labels] >= MIN_PIECE * sizes[1:].max()
    return torch.from_numpy(kept).to(mask.device)


def pairs_inside(mask: Tensor, axis: int) -> Tensor:
    """Which pairs of neighbours along an axis lie in a mask (x, y, z), bool, one less along that axis."""
    n = mask.shape[axis] - 1
    return mask.narrow(axis, 0, n) & mask.narrow(axis, 1, n)


def beside_wraps(phase: Tensor, mask: Tensor) -> Tensor:
    """Voxels beside the wraps that unwrapping left, none where the phase is noise.

    On one side of such a wrap voxels are wrong by 2π. 30 of them beside a sinus, 1.3 ppm wrong, spoil the field of a
    whole brain.

    Parameters
    ----------
    phase : Tensor
        Unwrapped [rad]: (x, y, z).
    mask : Tensor
        Bool: (x, y, z).

    Returns
    -------
    Tensor
        Bool, inside the mask: (x, y, z).
    """
    touching = torch.zeros_like(mask)
    for axis in range(3):
        is_wrap = pairs_inside(mask, axis) & (phase.diff(dim=axis).abs() > math.pi)
        for side in (0, 1):
            touching.narrow(axis, side, is_wrap.shape[axis]).logical_or_(is_wrap)
    dilated = ndimage.binary_dilation(touching.cpu().numpy(), np.ones((3, 3, 3)))
    beside = mask & torch.from_numpy(dilated).to(mask.device)
    return beside if int(beside.sum()) < NOISE_SHARE * int(mask.sum()) else torch.zeros_like(mask)


def largest_component(mask: np.ndarray, grid: Grid, opening: float = 0.0) -> np.ndarray:
    """The largest 6-connected piece of a mask, its holes filled.

    Parameters
    ----------
    mask : ndarray
        Bool: (x, y, z).
    grid : Grid
        Its voxel sizes.
    opening : float
        Radius [mm] by which the mask is eroded before its pieces are separated, and dilated after.

    Returns
    -------
    ndarray
        Bool, empty where the erosion leaves nothing: (x, y, z).
    """
    core = mask
    if opening > 0.0:
        # The head may go on beyond the grid, so the grid's edge does not erode.
        padded = np.pad(mask, 1, mode="edge")
        core = ndimage.distance_transform_edt(padded, grid.voxel_size)[1:-1, 1:-1, 1:-1] > opening
    labels, n_pieces = ndimage.label(core)
    if n_pieces == 0:
        return np.zeros_like(mask)
    piece = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    if opening > 0.0:
        piece = mask & (ndimage.distance_transform_edt(~piece, grid.voxel_size) <= opening + max(grid.voxel_size))
    return np.asarray(ndimage.binary_fill_holes(piece))
