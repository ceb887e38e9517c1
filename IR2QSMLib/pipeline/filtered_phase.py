"""High-pass filtered phase, as scanners make it for susceptibility weighting, which has lost the field of a head."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.io.acquisition import Acquisition
from IR2QSMLib.physics.harmonics import harmonic_share

ORDER = 5
"""Order of the harmonic polynomials that stand for the background."""
SMOOTHING = 0.018
"""Standard deviation of the Gaussian that takes out noise, as a share of the cube root of the mask's volume: 2 mm in a
head."""
OUTLIERS = 4.0
"""Robust standard deviations from the median at which the field is cut off: beside air it is no polynomial."""
MIN_SHARE, MIN_USUAL_SHARE = 0.3, 0.42
"""Share of the total field's variance that the polynomials explain, below which the phase was filtered, and below which
a warning is due: phase without its background has 0.25 and less, mildly filtered 0.26 to 0.45, unfiltered brains 0.42
and more (docs/experiments/2026-12-01-filtered-phase.md)."""
HEAD_VOLUMES = (3e5, 6e6)
"""Smallest and largest mask [mm³] of a human head, from a newborn's brain to a head with its skin."""
ADVICE = (
    "χ from it would be wrong; export the unfiltered phase. To use it nevertheless, for its small vessels only, say "
    "--accept-filtered."
)


def background_share(total: TotalField, inside: Tensor) -> float:
    """Share of a total field's variance that is the smooth field of sources outside, which all unfiltered heads have.

    The field is smoothed within its mask, and cut off at `OUTLIERS`; harmonic polynomials of order `ORDER` are fitted
    to it where `inside` (x, y, z) is set, which leaves out the mask's edge, where the phase is unreliable.
    """
    mask = total.mask.cpu().numpy()
    values = np.where(mask, total.values.cpu().numpy().astype(float), 0.0)
    values[mask] -= np.median(values[mask])
    length = float(mask.sum() * total.grid.voxel_volume) ** (1 / 3)
    sigma = [SMOOTHING * length / size for size in total.grid.voxel_size]
    weight = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant")
    smooth = ndimage.gaussian_filter(values, sigma, mode="constant") / np.maximum(weight, 1e-6)
    centred = smooth - np.median(smooth[inside.cpu().numpy()])
    limit = OUTLIERS * 1.4826 * float(np.median(np.abs(centred[inside.cpu().numpy()])))
    return harmonic_share(torch.from_numpy(centred.clip(-limit, limit)), inside.cpu(), total.grid, ORDER)


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
    """The share of `background_share`; raises FieldInvalid where it is too low for a head's unfiltered total field.

    Crops, phantoms and animals may have little background, and are not judged.
    """
    share = background_share(total, inside)
    if share < MIN_SHARE and _may_be_head(total):
        raise FieldInvalid(
            f"The phase seems to be high-pass filtered, as for susceptibility weighting (SWI): {100 * share:.0f} % of "
            f"its field is smooth background, where a head has {100 * MIN_SHARE:.0f} % and more. {ADVICE}",
            option="accept_filtered",
        )
    return share


def warn_of_little_background(total: TotalField, share: float) -> list[str]:
    """A sentence where a head's share of `background_share` is lower than that of most unfiltered ones."""
    if not (MIN_SHARE <= share < MIN_USUAL_SHARE and _may_be_head(total)):
        return []
    return [
        f"{100 * share:.0f} % of the phase's field is smooth background, where most heads have "
        f"{100 * MIN_USUAL_SHARE:.0f} % and more: if the phase was filtered or detrended, χ is wrong; take the "
        "unfiltered phase."
    ]


def _may_be_head(total: TotalField) -> bool:
    low, high = HEAD_VOLUMES
    return low <= int(total.mask.sum()) * total.grid.voxel_volume <= high
