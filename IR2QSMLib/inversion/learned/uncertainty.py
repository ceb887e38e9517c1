"""How far a map may be off, told from the map and from what it leaves of the field."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.physics.settings import SETTINGS

FEATURES = (
    "log_discrepancy",
    "log_residual",
    "log_spread",
    "log_above",
    "log_below",
    "log_around",
    "edge",
    "log_voxel",
)
"""What an error's size is told from, in the order of `features`."""


def features(chi: Tensor, term: DataTerm) -> Tensor:
    """What is known of every voxel of the mask before the truth is: (feature, voxel), float32.

    `chi` is the final map [ppm]: (x, y, z). In the order of `FEATURES`, logarithms of: the root mean square of the
    discrepancy over √λ, its size in a map; the root mean square nearby of the field that χ leaves unexplained; χ's
    spread nearby; how far χ lies above and below what is around it (veins and calcified spots are small); the root mean
    square of χ around; then the share nearby that lies outside the mask, and the logarithm of the voxel's edge, that of
    a cube of its volume.
    """
    field, small = term.field, SETTINGS.log_offset
    mask, n = field.mask, int(field.mask.sum())
    weight = {
        width: blur(mask.float(), field.grid, width).clamp_min(small)
        for width in (SETTINGS.near_sigma, SETTINGS.far_sigma)
    }

    def mean(x: Tensor, width: float) -> Tensor:
        return blur(torch.where(mask, x, 0.0), field.grid, width) / weight[width]

    def root(square: Tensor) -> Tensor:
        return square.clamp_min(0.0).sqrt()

    near, far = SETTINGS.near_sigma, SETTINGS.far_sigma
    contrast = chi - mean(chi, far)
    power = float(field.values.square().sum()) / n * term.spectrum.discrepancy_share / term.spectrum.mean_regularisation
    volumes = (
        root(mean(term.residual(chi).square(), near)),
        root(mean(chi.square(), near) - mean(chi, near).square()),
        contrast.clamp_min(0.0),
        (-contrast).clamp_min(0.0),
        root(mean(chi.square(), far)),
    )

    def constant(value: float) -> Tensor:
        return torch.full((n,), value, device=chi.device)

    return torch.stack(
        [
            constant(math.log(math.sqrt(power) + small)),
            *((x[mask] + small).log() for x in volumes),
            1.0 - weight[near][mask],
            constant(math.log(math.prod(field.grid.voxel_size)) / len(field.grid.voxel_size)),
        ]
    )


@dataclass(frozen=True)
class Calibration:
    """log σ = zᵀ B z, z = (1, features), each feature brought to 0 … 1 over the range that it was calibrated on.

    Raises ParameterInvalid when the sizes are not those of `FEATURES` or a number is not finite.
    """

    features: tuple[str, ...]
    low: tuple[float, ...]
    """The features' least values; a feature that lies beyond its range counts as its nearest end."""
    high: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    """B, upper triangular."""

    def __post_init__(self) -> None:
        n = len(self.low)
        if tuple(self.features) != FEATURES:
            raise ParameterInvalid(
                f"The uncertainty is calibrated by {', '.join(map(str, self.features)) or 'nothing'}; expected "
                f"{', '.join(FEATURES)}: calibrate the weights again with this version."
            )
        if not n == len(self.high) == len(FEATURES) or [len(row) for row in self.matrix] != [n + 1] * (n + 1):
            raise ParameterInvalid(
                f"A calibration of {len(FEATURES)} features has {n} and {len(self.high)} ends of ranges and "
                f"{len(self.matrix)} rows; expected as many, and one more."
            )
        if not all(map(math.isfinite, (*self.low, *self.high, *(b for row in self.matrix for b in row)))):
            raise ParameterInvalid("The calibration holds numbers that are not finite; calibrate the weights again.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """The calibration that `to_dict` described; raises KeyError for what it lacks."""
        names, low, high = (tuple(values[k]) for k in ("features", "low", "high"))
        return cls(names, low, high, tuple(tuple(row) for row in values["matrix"]))

    def to_dict(self) -> dict[str, Any]:
        """The calibration for a weights file's header."""
        return asdict(self)

    def log_sigma(self, found: Tensor) -> Tensor:
        """The logarithm of the standard error [ppm] from `features`: (feature, voxel) to (voxel)."""
        z = scaled(found, torch.tensor(self.low), torch.tensor(self.high))
        matrix = torch.tensor(self.matrix, dtype=z.dtype, device=z.device)
        return (z * (matrix.T @ z)).sum(0)

    def __call__(self, chi: Tensor, term: DataTerm) -> Tensor:
        """The standard error [ppm] of the final map `chi` [ppm], 0 outside the mask: (x, y, z)."""
        out = torch.zeros_like(chi)
        out[term.field.mask] = self.log_sigma(features(chi, term)).exp()
        return out


def scaled(found: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """z = (1, features brought to 0 … 1): (feature, voxel) to (feature + 1, voxel)."""
    low, high = (x.to(found).unsqueeze(1) for x in (low, high))
    z = ((found - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.cat([torch.ones_like(z[:1]), z])
