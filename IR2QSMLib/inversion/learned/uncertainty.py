"""Calibrated standard error of a map, predicted from the map and from what it leaves of the field."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.fourier import blur

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
"""Names of the features of a voxel from which its standard error is predicted, in the order of `voxel_features`."""


def voxel_features(chi: Tensor, data_term: DataTerm) -> Tensor:
    """Describe every voxel of the mask by what the size of its error depends on, in the order of `FEATURES`.

    They are logarithms of: the root mean square of the discrepancy over √λ, which is its size in a map; that of the
    residual field nearby; the standard deviation of χ nearby; how far χ lies above, and below, its mean around (veins
    and calcifications are small); the root mean square of χ around. Then the share of the neighbourhood outside the
    mask, and the logarithm of the edge of a cube of the voxel's volume. Nearby and around are Gaussian weights of
    `SETTINGS.near_sigma` and `SETTINGS.far_sigma`, and `SETTINGS.log_epsilon` is added before a logarithm.

    Parameters
    ----------
    chi : Tensor
        The final map [ppm]: (x, y, z).
    data_term : DataTerm
        That of its field.

    Returns
    -------
    Tensor
        float32: (feature, voxel).
    """
    field, offset = data_term.field, SETTINGS.log_epsilon
    mask, n_voxels = field.mask, int(field.mask.sum())
    near, far = SETTINGS.near_sigma, SETTINGS.far_sigma
    weight = {sigma: blur(mask.float(), field.grid, sigma).clamp_min(offset) for sigma in (near, far)}

    def mean(values: Tensor, sigma: float) -> Tensor:
        return blur(torch.where(mask, values, 0.0), field.grid, sigma) / weight[sigma]

    def root(square: Tensor) -> Tensor:
        return square.clamp_min(0.0).sqrt()

    def constant(value: float) -> Tensor:
        return torch.full((n_voxels,), value, device=chi.device)

    def logarithm(size: Tensor) -> Tensor:
        return (size[mask] + offset).log()

    spectrum = data_term.spectrum
    field_power = float(field.values.square().sum()) / n_voxels
    discrepancy = math.sqrt(field_power * spectrum.discrepancy_share / spectrum.mean_regularisation)
    contrast = chi - mean(chi, far)
    return torch.stack(
        [
            constant(math.log(discrepancy + offset)),
            logarithm(root(mean(data_term.residual(chi).square(), near))),
            logarithm(root(mean(chi.square(), near) - mean(chi, near).square())),
            logarithm(contrast.clamp_min(0.0)),
            logarithm((-contrast).clamp_min(0.0)),
            logarithm(root(mean(chi.square(), far))),
            1.0 - weight[near][mask],
            constant(math.log(field.grid.voxel_volume) / len(field.grid.voxel_size)),
        ]
    )


@dataclass(frozen=True)
class Calibration:
    """log σ = zᵀ B z, z = (1, features), each feature scaled to 0 … 1 over its range in the calibration.

    Raises
    ------
    ParameterInvalid
        When the features are not `FEATURES`, sizes differ, or a number is not finite.
    """

    features: tuple[str, ...]
    """Names of the features."""
    low: tuple[float, ...]
    """The features' lowest values; a feature beyond its range counts as the nearer end."""
    high: tuple[float, ...]
    """Their highest values."""
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
        """The calibration that `to_dict` described; raises KeyError naming an entry that is missing."""
        names, low, high = (tuple(values[k]) for k in ("features", "low", "high"))
        return cls(names, low, high, tuple(tuple(row) for row in values["matrix"]))

    def to_dict(self) -> dict[str, Any]:
        """The calibration for a weights file's header."""
        return asdict(self)

    def log_sigma(self, features: Tensor) -> Tensor:
        """Predict the logarithm of the standard error.

        Parameters
        ----------
        features : Tensor
            From `voxel_features`: (feature, voxel).

        Returns
        -------
        Tensor
            log σ, σ in ppm: (voxel).
        """
        z = normalise_features(features, torch.tensor(self.low), torch.tensor(self.high))
        matrix = torch.tensor(self.matrix, dtype=z.dtype, device=z.device)
        return (z * (matrix.T @ z)).sum(0)

    def __call__(self, chi: Tensor, data_term: DataTerm) -> Tensor:
        """Predict the standard error of a map.

        Parameters
        ----------
        chi : Tensor
            The final map [ppm]: (x, y, z).
        data_term : DataTerm
            That of its field.

        Returns
        -------
        Tensor
            σ [ppm], 0 outside the mask: (x, y, z).
        """
        sigma = torch.zeros_like(chi)
        sigma[data_term.field.mask] = self.log_sigma(voxel_features(chi, data_term)).exp()
        return sigma


def normalise_features(features: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale features to 0 … 1 and put a row of ones before them.

    Parameters
    ----------
    features : Tensor
        (feature, voxel).
    low, high : Tensor
        Ends of their ranges, beyond which a feature counts as the nearer end: (feature).

    Returns
    -------
    Tensor
        z = (1, features): (feature + 1, voxel).
    """
    low, high = (x.to(features).unsqueeze(1) for x in (low, high))
    z = ((features - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.cat([torch.ones_like(z[:1]), z])
