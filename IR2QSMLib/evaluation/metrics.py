"""Metrics of a susceptibility map against the truth, voxel by voxel.

Both maps are set to zero outside the mask before anything is filtered, or what lies outside (skull, air) would change
the score. All is float64; a number that does not exist (a ratio to 0) is NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.evaluation.masked_maps import MaskedMaps, filter_along, gaussian_taps, masked_maps

WINDOWS = ("gaussian", "uniform")
FITS = ("none", "demeaned", "detrended")
XSIM_CONSTANTS = (1e-4, 1e-6)


def xsim(chi: Tensor, truth: Tensor, mask: Tensor, window: str = "uniform") -> float:
    """Structural similarity of susceptibility maps, in ppm and without rescaling; 1 is perfect.

    Mean over the mask of (2·μx·μy + c1)(2·cov xy + c2) / ((μx² + μy² + c1)(var x + var y + c2)), c1 = 1e-4 and
    c2 = 1e-6.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).
    window
        "uniform" (5³, truncated at the volume's edge, as in QSM-CI) or "gaussian" (1.5 voxels wide, truncated to 7³,
        edges replicated, as its author has it).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `score`; ParameterInvalid also for another window.

    References
    ----------
    Milovic 2024, doi 10.1002/mrm.30271.
    """
    if window not in WINDOWS:
        raise ParameterInvalid(f"The XSIM window is '{window}'; expected one of {', '.join(WINDOWS)}.")
    return _similarity(masked_maps(chi, truth, mask), window, XSIM_CONSTANTS)[0]


def ssim(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Structural similarity with the constants of images.

    `xsim` in its Gaussian window, but c1 = (0.01·L)² and c2 = (0.03·L)², L the range of the truth in the mask; NaN when
    it is 0.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `score`.

    References
    ----------
    Wang 2004, doi 10.1109/TIP.2003.819861.
    """
    maps = masked_maps(chi, truth, mask)
    return _similarity(maps, "gaussian", _ssim_constants(maps.values()[1]))[0]


def psnr(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Peak signal-to-noise ratio 20·log10(L / RMSE) in the mask [dB]; a perfect map has infinity.

    L is the range of the truth in the mask; NaN when it is 0.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `score`.

    References
    ----------
    Horé 2010, doi 10.1109/ICPR.2010.579.
    """
    return _psnr(*masked_maps(chi, truth, mask).values())


def nrmse(chi: Tensor, truth: Tensor, mask: Tensor, fit: str = "demeaned") -> float:
    """Normalised root mean squared error 100·‖x − y‖ / ‖y‖ in the mask [%]; 0 is perfect.

    Parameters
    ----------
    chi, truth
        x and y [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).
    fit
        "none": the maps as they are; "demeaned": without their means; "detrended": x / a instead of x, where x = a·y
        is fitted to the demeaned maps (NaN where a is 0, a constant map).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `score`; ParameterInvalid also for another fit.

    References
    ----------
    Bilgic 2021 (QSM challenge 2.0), doi 10.1002/mrm.28754.
    """
    if fit not in FITS:
        raise ParameterInvalid(f"The fit of the NRMSE is '{fit}'; expected one of {', '.join(FITS)}.")
    return _nrmse(*masked_maps(chi, truth, mask).values(), fit)


def hfen(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """High-frequency error norm 100·‖LoG(x − y)‖ / ‖LoG(y)‖ in the mask [%]; 0 is perfect.

    LoG is the Laplacian of a Gaussian 1.5 voxels wide, truncated at five times that, edges reflected.

    Parameters
    ----------
    chi, truth
        x and y [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `score`.

    References
    ----------
    Langkammer 2018, doi 10.1002/mrm.26830.
    """
    return _hfen(masked_maps(chi, truth, mask))


def correlation(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Pearson correlation ⟨x − x̄, y − ȳ⟩ / (‖x − x̄‖·‖y − ȳ‖) in the mask; NaN when a map is constant there.

    Parameters
    ----------
    chi, truth
        x and y [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).

    Raises
    ------
    ParameterInvalid, MaskInvalid, FieldInvalid
        As `score`.

    References
    ----------
    Langkammer 2018, doi 10.1002/mrm.26830.
    """
    return _correlation(*masked_maps(chi, truth, mask).values())


def score(chi: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Every metric of a map that needs no regions, by name.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    mask
        Bool; values outside it do not matter: (x, y, z).

    Returns
    -------
    dict
        xsim (uniform window), xsim_gaussian, ssim and correlation are numbers; nrmse, nrmse_demeaned, nrmse_detrended
        and hfen are in %, psnr in dB.

    Raises
    ------
    ParameterInvalid
        When the shapes differ or are not (x, y, z).
    MaskInvalid
        When the mask is empty or not bool.
    FieldInvalid
        When a value in the mask is not finite.
    """
    maps = masked_maps(chi, truth, mask)
    x, y = maps.values()
    gaussian = _similarity(maps, "gaussian", XSIM_CONSTANTS, _ssim_constants(y))
    return {
        "xsim": _similarity(maps, "uniform", XSIM_CONSTANTS)[0],
        "xsim_gaussian": gaussian[0],
        "nrmse": _nrmse(x, y, "none"),
        "nrmse_demeaned": _nrmse(x, y, "demeaned"),
        "nrmse_detrended": _nrmse(x, y, "detrended"),
        "hfen": _hfen(maps),
        "correlation": _correlation(x, y),
        "ssim": gaussian[1],
        "psnr": _psnr(x, y),
    }


def _similarity(maps: MaskedMaps, window: str, *constants: tuple[float, float]) -> list[float]:
    """Mean structural similarity for each pair of constants; the moments are the costly part and are shared."""
    taps, edge = (gaussian_taps(3)[0], "replicated") if window == "gaussian" else (torch.ones(5).double(), "truncated")
    matrices = maps.filter_matrices(taps, edge)

    def mean(values: Tensor) -> Tensor:
        for axis, matrix in enumerate(matrices):
            values = filter_along(axis, matrix, values)
        return maps.inside(values)

    x, y = mean(maps.chi), mean(maps.truth)
    product, squares = x * y, x * x + y * y
    covariance = mean(maps.chi * maps.truth) - product
    variances = mean(maps.chi**2 + maps.truth**2) - squares
    return [
        ((2.0 * product + c1) * (2.0 * covariance + c2) / ((squares + c1) * (variances + c2))).mean().item()
        for c1, c2 in constants
    ]


def _ssim_constants(truth: Tensor) -> tuple[float, float]:
    extent = _range(truth) or math.nan
    return (0.01 * extent) ** 2, (0.03 * extent) ** 2


def _hfen(maps: MaskedMaps) -> float:
    taps, second_derivative = gaussian_taps(8)
    smooth = maps.filter_matrices(taps, "reflected")
    curve = maps.filter_matrices(second_derivative, "reflected")

    def laplacian_norm(values: Tensor) -> float:
        smoothed, curved = filter_along(2, smooth[2], values), filter_along(2, curve[2], values)
        curved = filter_along(1, smooth[1], curved).add_(filter_along(1, curve[1], smoothed))
        smoothed = filter_along(1, smooth[1], smoothed)
        laplacian = filter_along(0, smooth[0], curved).add_(filter_along(0, curve[0], smoothed))
        return float(maps.inside(laplacian).norm().item())

    return 100.0 * ratio(laplacian_norm(maps.chi - maps.truth), laplacian_norm(maps.truth))


def _nrmse(x: Tensor, y: Tensor, fit: str) -> float:
    if fit != "none":
        x, y = demeaned(x), demeaned(y)
    if fit == "detrended":
        x = x / (ratio((x @ y).item(), (y @ y).item()) or math.nan)
    return 100.0 * ratio((x - y).norm().item(), y.norm().item())


def _correlation(x: Tensor, y: Tensor) -> float:
    x, y = demeaned(x), demeaned(y)
    return ratio((x @ y).item(), (x.norm() * y.norm()).item())


def _psnr(x: Tensor, y: Tensor) -> float:
    extent, rmse = _range(y) or math.nan, (x - y).square().mean().sqrt().item()
    return 20.0 * math.log10(extent / rmse) if rmse else extent * math.inf


def demeaned(values: Tensor) -> Tensor:
    """Values (n) without their mean."""
    # The first value goes first, so that a constant map becomes zero exactly and not its rounding error.
    values = values - values[0]
    return values.sub_(values.mean())


def ratio(numerator: float, denominator: float) -> float:
    """Their ratio, NaN for a denominator of 0."""
    return numerator / denominator if denominator else math.nan


def _range(values: Tensor) -> float:
    return (values.max() - values.min()).item()
