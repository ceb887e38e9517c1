"""How far a map may be off: the network's standard error, made to keep its word by what can be seen beside it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.regional import distance_from

FEATURES = (
    "log_sigma", "lacking", "log_residual", "log_spread", "log_above", "log_below", "edge", "log_voxel", "recovered",
    "spared", "log_noise", "log_around",
)  # fmt: skip
"""What an error's size is told from, in the order of `features`."""
NEAR, AROUND = 1.5, 4.0
"""σ [mm] of the blurs that a voxel's surroundings are judged by: of spread and residual, and of the contrast."""
FAR = 10.0
"""σ [mm] of the blur that strong sources are looked for with: their streaks reach as far."""
FADING, DEPTH = 2.0, 8.0
"""Depth below the mask's edge in which its role falls to 1/e, and beyond which it is not looked for [mm]."""
SMALL = 1e-3
"""Added to a susceptibility [ppm] and to the noise's share before the logarithm: below, size tells nothing."""
BRIEF = 1e-9
"""The same for what is never zero but in made-up data."""


def features(chi: Tensor, sigma: Tensor, fidelity: Fidelity, *, spared: bool) -> Tensor:
    """What is known of every voxel of the mask before the truth is: (feature, voxel), float32.

    `chi`, the final map, and `sigma`, the network's standard error [ppm], are (x, y, z). In the order of `FEATURES`:
    log σ; how surely the field lacks its harmonic part; logarithms of the root mean square of the field that χ leaves
    unexplained nearby, of χ's spread nearby, and of how far χ lies above and below what is around it (veins and
    calcified spots are small); exp(−depth/`FADING`); the logarithm of the voxel's edge, that of a cube of its volume;
    whether the field's harmonic part is an estimate; whether edges of a magnitude were `spared`; the logarithms of the
    noise's share and of the root mean square of χ far around.
    """
    field, mask, log_noise = fidelity.field, fidelity.field.mask, math.log(fidelity.noise + SMALL)
    weight = {width: blur(mask.float(), field.grid, width).clamp_min(1e-3) for width in (NEAR, AROUND, FAR)}

    def mean(x: Tensor, width: float) -> Tensor:
        return blur(torch.where(mask, x, 0.0), field.grid, width) / weight[width]

    residual = mean(fidelity.residual(chi).square(), NEAR).clamp_min(0.0).sqrt()
    spread = (mean(chi.square(), NEAR) - mean(chi, NEAR).square()).clamp_min(0.0).sqrt()
    contrast = chi - mean(chi, AROUND)
    n = int(mask.sum())
    found = (
        (sigma[mask] + BRIEF).log(),
        torch.full((n,), fidelity.lacking, device=chi.device),
        (residual[mask] + 0.1 * SMALL).log(),
        *((x[mask] + SMALL).log() for x in (spread, contrast.clamp_min(0.0), (-contrast).clamp_min(0.0))),
        torch.exp(-_depth(fidelity)[mask] / FADING),
        *(
            torch.full((n,), float(value), device=chi.device)
            for value in (math.log(math.prod(field.grid.voxel_size)) / 3.0, field.recovered, spared, log_noise)
        ),
        (mean(chi.square(), FAR).clamp_min(0.0).sqrt()[mask] + SMALL).log(),
    )
    return torch.stack(found)


def _depth(fidelity: Fidelity) -> Tensor:
    """Distance from the outside of the mask [mm], `DEPTH` at the most: (x, y, z). The volume's faces are edges, too."""
    outside = pad(~fidelity.field.mask, [1] * 6, value=True)
    x, y, z = outside.shape
    distance = distance_from(outside, fidelity.field.grid.cropped((-1, -1, -1), (x, y, z)), DEPTH)
    return distance[1:-1, 1:-1, 1:-1].clamp_max(DEPTH)


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

    def __call__(self, chi: Tensor, sigma: Tensor, fidelity: Fidelity, *, spared: bool) -> Tensor:
        """The standard error [ppm] of the final map `chi` [ppm] from the network's, 0 outside the mask: (x, y, z)."""
        out = torch.zeros_like(chi)
        out[fidelity.field.mask] = self.log_sigma(features(chi, sigma, fidelity, spared=spared)).exp()
        return out


def scaled(found: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """z = (1, features brought to 0 … 1): (feature, voxel) to (feature + 1, voxel)."""
    low, high = (x.to(found).unsqueeze(1) for x in (low, high))
    z = ((found - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.cat([torch.ones_like(z[:1]), z])
