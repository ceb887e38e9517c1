"""What a person should know of a field or a total field before its map, and of a map before trusting it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.checks import MAX_BACKGROUND, residual_background, touched_sides
from IR2QSMLib.field.sign import sign_flipped
from IR2QSMLib.io.images import is_in_template_space

FINEST, COARSEST = 0.4, 4.0
"""Edges [mm] of a voxel, as a cube, between which scans of human heads are."""
LARGEST_CHI = 1.0
"""|χ| [ppm] that only blood, metal and faults of the field exceed."""
LARGEST_SHARE_BEYOND = 1e-3
"""Share of the mask that may exceed it."""
MOST_MASK_LOST = 0.2
"""Share of the mask that background removal may take without a warning."""
KEEPS_MORE = {
    "v-sharp": "; --background lbv loses a layer of one voxel only",
    "lbv": "; --background pdf keeps the mask as it is",
}
"""What to try where a background removal leaves little of the mask."""
MOST_IN_CONE = 1.45
"""Cone index from which a map has streaks: multi-orientation references of three measured brains have 0.69 to 1.25,
maps with visible streaks 1.5 and more (docs/experiments/2026-11-30-mismatch-axis.md)."""


def check_sign(local: LocalField, source: str, advice: str = "see --flip-sign") -> list[str]:
    """Whether the sign of a local field [ppm] seems flipped, and with it that of its `source`: "phase" or "field"."""
    if not sign_flipped(local):
        return []
    return [f"Veins and deep grey matter seem to be diamagnetic: the sign of the {source} may be turned; {advice}."]


def check_field(local: LocalField) -> list[str]:
    """Whether the sign of a local field [ppm] is flipped, it is a total field, or no head has such voxels.

    The background is checked only in whole brains: a part of one may have a smooth field.
    """
    warnings = check_sign(local, "field", "turn it if veins are dark in the map")
    background = 0.0 if touched_sides(local.mask) else residual_background(local)
    if background > MAX_BACKGROUND:
        warnings.append(
            f"{100 * background:.2g} % of the local field's power is smooth background: if it is a total field, say so "
            "with --input total-field."
        )
    x, y, z = local.grid.voxel_size
    if not FINEST <= local.grid.voxel_volume ** (1 / 3) <= COARSEST:
        warnings.append(
            f"The voxels are {x:.2g} × {y:.2g} × {z:.2g} mm: all methods but tkd, and the networks most of all, have "
            "lengths that suit human heads; if the size is right, compare with tkd."
        )
    return warnings


def check_orientation(image: Path, grid: Grid) -> list[str]:
    """Whether B0's direction is that of a template and not the scanner's."""
    if grid.user_b0_direction is not None or not is_in_template_space(image):
        return []
    return [
        f"{image.name} lies in a template's space (code 3 or 4), not the scanner's: B0 may have been along "
        "another axis; say it with --b0-direction."
    ]


def check_map(chi: Tensor, mask: Tensor) -> list[str]:
    """Whether a map [ppm] reaches beyond any tissue; raises FieldInvalid for NaN and infinity. Both (x, y, z)."""
    inside = chi[mask].abs()
    if not bool(inside.isfinite().all()):
        raise FieldInvalid(
            "The map came out with NaN or infinity: the field holds numbers that are beyond any measurement; look for "
            "spikes in it and take them out of the mask."
        )
    share = float((inside > LARGEST_CHI).float().mean())
    if share <= LARGEST_SHARE_BEYOND and float(inside.max()) <= 5.0 * LARGEST_CHI:
        return []
    return [
        f"The map reaches {float(inside.max()):.3g} ppm, beyond {LARGEST_CHI:g} ppm in {100 * share:.2g} % of the "
        "mask: look for spikes in the field and gaps in the mask, and for implants."
    ]


def check_streaks(index: Sequence[float | None]) -> list[str]:
    """Whether a map's cone index, band by band from coarse to fine, says that it has streaks."""
    highest = max((value for value in index if value is not None), default=0.0)
    if highest <= MOST_IN_CONE:
        return []
    return [
        f"The map may show streaks and blotches along the cone of the dipole kernel (cone index {highest:.2g}; about 1 "
        "without): compare with tikhonov and --regularisation auto."
    ]


def check_mask_loss(before: Tensor, after: Tensor, background: str) -> list[str]:
    """Whether the removal named `background` left less than four fifths of the mask; both bool (x, y, z)."""
    n_before, n_after = int(before.sum()), int(after.sum())
    if n_after >= (1.0 - MOST_MASK_LOST) * n_before:
        return []
    return [
        f"Of the mask's {n_before} voxels {n_after} have a local field ({100 * n_after / max(1, n_before):.0f} %): "
        f"look at the mask, which may reach beyond the brain{KEEPS_MORE.get(background, '')}."
    ]
