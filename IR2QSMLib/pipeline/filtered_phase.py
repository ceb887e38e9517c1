"""High-pass filtered phase, as scanners make it for susceptibility weighting, which has lost the field of a head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.io.acquisition import Acquisition

SMOOTHING = 0.11
"""Standard deviation of the Gaussian that separates coarse from fine field, as a share of the cube root of the mask's
volume: about 11 mm in a head (docs/experiments/2026-12-01-filtered-phase.md)."""
MIN_COARSE_TO_FINE = 1.9
"""Standard deviation of the coarse field over that of the fine field below which the phase was filtered: unfiltered
heads have 2.6 and more, filtered ones mostly 1.4 and less (the same page)."""
HEAD_VOLUMES = (3e5, 6e6)
"""Smallest and largest mask [mm³] of a human head, from a newborn's brain to a head with its skin."""
ADVICE = (
    "χ from it would be wrong; export the unfiltered phase. To use it nevertheless, for its small vessels only, say "
    "--accept-filtered."
)


def coarse_to_fine(total: TotalField, inside: Tensor) -> float:
    """How much stronger a total field is at low spatial frequencies than at high ones.

    The ratio of the standard deviations, where `inside` (x, y, z) is set, of the field smoothed within its mask and of
    the rest. `inside` leaves out the mask's edge, where the phase is unreliable.
    """
    mask = total.mask.cpu().numpy()
    values = np.where(mask, total.values.cpu().numpy().astype(float), 0.0)
    values[mask] -= np.median(values[mask])
    width = SMOOTHING * float(mask.sum() * total.grid.voxel_volume) ** (1 / 3)
    sigma = [width / size for size in total.grid.voxel_size]
    weight = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant")
    smooth = ndimage.gaussian_filter(values, sigma, mode="constant") / np.maximum(weight, 1e-6)
    where = inside.cpu().numpy()
    fine = float((values - smooth)[where].std())
    return float(smooth[where].std()) / fine if fine > 0.0 else float("inf")


def refuse_marked_as_filtered(acquisition: Acquisition) -> None:
    """Raise FieldInvalid where header or name of a phase say that it was high-pass filtered."""
    marked = next((e for e in acquisition.echoes if e.is_filtered), None)
    if marked is not None:
        raise FieldInvalid(
            f"{marked.name} says that its phase was high-pass filtered, as for susceptibility weighting (SWI), which "
            f"takes away the field of large structures: {ADVICE}",
            option="accept_filtered",
        )


def refuse_filtered(total: TotalField, inside: Tensor) -> float:
    """The ratio of `coarse_to_fine`; raises FieldInvalid where it is too low for a head's unfiltered total field.

    Crops, phantoms and animals may have little background, and are not judged.
    """
    ratio = coarse_to_fine(total, inside)
    low, high = HEAD_VOLUMES
    may_be_head = low <= int(total.mask.sum()) * total.grid.voxel_volume <= high
    if ratio < MIN_COARSE_TO_FINE and may_be_head:
        raise FieldInvalid(
            f"The phase seems to be high-pass filtered, as for susceptibility weighting (SWI): its smooth part is "
            f"{ratio:.2g} times as strong as the rest, where a head's field has {MIN_COARSE_TO_FINE:g} and more. "
            f"{ADVICE}",
            option="accept_filtered",
        )
    return ratio
