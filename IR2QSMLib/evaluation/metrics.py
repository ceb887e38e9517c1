"""Metrics: how far a susceptibility map is from the truth, and how linear its regional means are.

Both maps are set to zero outside the mask before anything is filtered, or what lies outside (skull, air, a method's
own leftovers) would leak into the score. All is float64; a number that does not exist (a ratio to 0) is NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid, ParameterInvalid

WINDOWS = ("gaussian", "uniform")
FITS = ("none", "demeaned", "detrended")
XSIM_CONSTANTS = (1e-4, 1e-6)
SIGMA = 1.5  # voxels: the window of XSIM and SSIM, and the Laplacian of HFEN


class _Pair(NamedTuple):
    """Both maps, zero outside the mask and cropped to its box; a filter of them needs nothing beyond it."""

    chi: Tensor
    truth: Tensor
    voxels: Tensor  # the mask as flat indices into the box: much faster than a bool mask
    shape: tuple[int, ...]
    box: tuple[slice, ...]

    def inside(self, values: Tensor) -> Tensor:
        return values.flatten().index_select(0, self.voxels)

    def values(self) -> tuple[Tensor, Tensor]:
        return self.inside(self.chi), self.inside(self.truth)

    def smoothers(self, taps: Tensor, edge: str) -> list[Tensor]:
        """One matrix an axis, of the volume's own edges, cut down to the box."""
        axes = zip(self.shape, self.box, strict=True)
        return [_smoother(n, taps, edge)[cut, cut].to(self.chi.device) for n, cut in axes]


def xsim(chi: Tensor, truth: Tensor, mask: Tensor, window: str = "uniform") -> float:
    """Structural similarity of susceptibility maps, in ppm and without rescaling; 1 is perfect.

    Mean over the mask of (2·μx·μy + c1)(2·cov xy + c2) / ((μx² + μy² + c1)(var x + var y + c2)), c1 = 1e-4 and
    c2 = 1e-6. The window is "uniform" (5³, truncated at the volume's edge: QSM-CI's) or "gaussian" (1.5 voxels wide,
    truncated to 7³, edges replicated: the author's). `chi`, `truth` [ppm] and bool `mask`: (x, y, z).
    Raises ParameterInvalid, MaskInvalid and FieldInvalid as `score`, and ParameterInvalid for another window.
    Milovic 2024, doi 10.1002/mrm.30271.
    """
    if window not in WINDOWS:
        raise ParameterInvalid(f"The XSIM window is '{window}'; expected one of {', '.join(WINDOWS)}.")
    return _similarity(_pair(chi, truth, mask), window, XSIM_CONSTANTS)[0]


def ssim(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Structural similarity with images' constants: `xsim` in its Gaussian window with c1 = (0.01·L)², c2 = (0.03·L)².

    L is the range of the truth in the mask; NaN when it is 0. `chi`, `truth` [ppm] and bool `mask`: (x, y, z).
    Raises ParameterInvalid, MaskInvalid and FieldInvalid as `score`. Wang 2004, doi 10.1109/TIP.2003.819861.
    """
    pair = _pair(chi, truth, mask)
    return _similarity(pair, "gaussian", _ssim_constants(pair.values()[1]))[0]


def psnr(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Peak signal-to-noise ratio [dB], 20·log10(L / RMSE) in the mask; a perfect map has infinity.

    L is the range of the truth in the mask; NaN when it is 0. `chi`, `truth` [ppm] and bool `mask`: (x, y, z).
    Raises ParameterInvalid, MaskInvalid and FieldInvalid as `score`. Horé 2010, doi 10.1109/ICPR.2010.579.
    """
    return _psnr(*_pair(chi, truth, mask).values())


def nrmse(chi: Tensor, truth: Tensor, mask: Tensor, fit: str = "demeaned") -> float:
    """Normalised root mean squared error [%] in the mask; 0 is perfect.

    NRMSE = 100·‖x - y‖ / ‖y‖ of the maps as they are ("none"), or of the maps less their means ("demeaned"), or of
    x / a instead of x, where x = a·y is fitted to the demeaned maps ("detrended"; NaN where a is 0, a constant map).
    `chi`, `truth` [ppm] and bool `mask`: (x, y, z).
    Raises ParameterInvalid, MaskInvalid and FieldInvalid as `score`, and ParameterInvalid for another fit.
    Bilgic 2021 (QSM challenge 2.0), doi 10.1002/mrm.28754.
    """
    if fit not in FITS:
        raise ParameterInvalid(f"The fit of the NRMSE is '{fit}'; expected one of {', '.join(FITS)}.")
    return _nrmse(*_pair(chi, truth, mask).values(), fit)


def hfen(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """High-frequency error norm [%]; 0 is perfect.

    HFEN = 100·‖LoG(x - y)‖ / ‖LoG(y)‖ in the mask, LoG the Laplacian of a Gaussian 1.5 voxels wide, truncated at
    five times that, edges reflected. `chi`, `truth` [ppm] and bool `mask`: (x, y, z).
    Raises ParameterInvalid, MaskInvalid and FieldInvalid as `score`. Langkammer 2018, doi 10.1002/mrm.26830.
    """
    return _hfen(_pair(chi, truth, mask))


def correlation(chi: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Pearson correlation in the mask, ⟨x - x̄, y - ȳ⟩ / (‖x - x̄‖·‖y - ȳ‖); NaN when a map is constant there.

    `chi`, `truth` [ppm] and bool `mask`: (x, y, z).
    Raises ParameterInvalid, MaskInvalid and FieldInvalid as `score`. Langkammer 2018, doi 10.1002/mrm.26830.
    """
    return _correlation(*_pair(chi, truth, mask).values())


def roi_means(values: Tensor, labels: Tensor) -> dict[int, float]:
    """Mean of a map [its unit] in every region, by label; label 0 is background.

    `values`: (x, y, z); `labels`, integers: (x, y, z). Raises ParameterInvalid when the shapes differ or the labels
    are not integers, MaskInvalid when no label is set, FieldInvalid when a value in a region is not finite.
    """
    if values.shape != labels.shape:
        raise ParameterInvalid(
            f"The map is {tuple(values.shape)}, the labels {tuple(labels.shape)}; expected one shape."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ParameterInvalid(f"The labels are {labels.dtype}; expected integers, 0 for background.")
    region = labels != 0
    if not region.any():
        raise MaskInvalid("The labels are 0 everywhere; expected at least one region.")
    device = _device(values)
    label, value = labels[region].to(device), values.detach().to(device)[region.to(device)].double()
    _require_finite(value, "map")
    # One masked mean a label, as a scattered sum is not bit-identical from run to run on a GPU.
    return {n: value[label == n].mean().item() for n in torch.unique(label).tolist()}


def roi_slope(chi: Tensor, truth: Tensor, labels: Tensor) -> float:
    """Slope of the regional means of a map against the truth's, a number: 1 is linear; NaN when the truth's agree.

    The least-squares a of x = a·y + b, each region counted once. `chi`, `truth` [ppm], integer `labels`: (x, y, z).

    Raises as `roi_means`, and ParameterInvalid with fewer than two regions. Bilgic 2021, doi 10.1002/mrm.28754.
    """
    found, expected = roi_means(chi, labels), roi_means(truth, labels)
    if len(expected) < 2:
        raise ParameterInvalid(f"The labels hold one region, {next(iter(expected))}; a slope needs at least two.")
    x, y = (_demeaned(torch.tensor(list(means.values()), dtype=torch.float64)) for means in (found, expected))
    return _ratio((x @ y).item(), (y @ y).item())


def score(chi: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Every metric of a map that needs no regions, by name.

    xsim (uniform window), xsim_gaussian, ssim and correlation are numbers; nrmse, nrmse_demeaned, nrmse_detrended
    and hfen are in %, psnr in dB. `chi`, `truth` [ppm] and bool `mask`: (x, y, z); what lies outside it is not read.

    Raises ParameterInvalid when the shapes differ or are not (x, y, z), MaskInvalid when the mask is empty or not
    bool, and FieldInvalid when a value in the mask is not finite.
    """
    pair = _pair(chi, truth, mask)
    x, y = pair.values()
    gaussian = _similarity(pair, "gaussian", XSIM_CONSTANTS, _ssim_constants(y))
    return {
        "xsim": _similarity(pair, "uniform", XSIM_CONSTANTS)[0],
        "xsim_gaussian": gaussian[0],
        "nrmse": _nrmse(x, y, "none"),
        "nrmse_demeaned": _nrmse(x, y, "demeaned"),
        "nrmse_detrended": _nrmse(x, y, "detrended"),
        "hfen": _hfen(pair),
        "correlation": _correlation(x, y),
        "ssim": gaussian[1],
        "psnr": _psnr(x, y),
    }


def _pair(chi: Tensor, truth: Tensor, mask: Tensor) -> _Pair:
    if not chi.shape == truth.shape == mask.shape or chi.ndim != 3:
        shapes = ", ".join(str(tuple(values.shape)) for values in (chi, truth, mask))
        raise ParameterInvalid(f"The map, the truth and the mask have shapes {shapes}; expected one shape (x, y, z).")
    if mask.dtype != torch.bool:
        raise MaskInvalid(f"The mask is {mask.dtype}; expected bool, for example mask > 0.")
    if not mask.any():
        raise MaskInvalid("The mask is empty; expected at least one voxel to score.")
    occupied = [mask.movedim(axis, 0).flatten(1).any(1).nonzero() for axis in range(3)]
    cut = tuple(slice(int(index[0]), int(index[-1]) + 1) for index in occupied)
    device = _device(chi)
    inside = mask[cut].to(device)
    maps = []
    for values, name in ((chi, "map"), (truth, "truth")):
        maps.append(values[cut].detach().to(device).double().where(inside, 0.0))
        _require_finite(maps[-1], name)
    return _Pair(maps[0], maps[1], inside.flatten().nonzero().squeeze(1), tuple(chi.shape), cut)


def _device(values: Tensor) -> torch.device:
    """The map's own device; the CPU for Apple's, which has no float64."""
    return torch.device("cpu") if values.device.type == "mps" else values.device


def _require_finite(values: Tensor, name: str) -> None:
    if n_bad := values.numel() - int(values.isfinite().sum()):
        raise FieldInvalid(
            f"The {name} is not finite in {n_bad} voxels; expected numbers. Leave those out of the mask."
        )


def _smoother(n: int, taps: Tensor, edge: str) -> Tensor:
    """The matrix (n, n) that filters a line of n voxels; any crop of it keeps the volume's edges."""
    reach = len(taps) // 2
    source = torch.arange(n)[:, None] + torch.arange(-reach, reach + 1)
    weight = taps.expand(n, -1)
    if edge == "truncated":
        weight = weight * ((source >= 0) & (source < n))
        weight = weight / weight.sum(1, keepdim=True)
    if edge == "reflected":
        source = source % (2 * n)
        source = torch.minimum(source, 2 * n - 1 - source)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, source.clamp(0, n - 1), weight)


def _gaussian(reach: int) -> tuple[Tensor, Tensor]:
    """Taps of a Gaussian, whose sum is 1, and of its second derivative."""
    t = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(-0.5 * (t / SIGMA) ** 2)
    taps /= taps.sum()
    return taps, taps * (t**2 / SIGMA**4 - 1.0 / SIGMA**2)


def _along(axis: int, matrix: Tensor, values: Tensor) -> Tensor:
    if axis == 0:
        return (matrix @ values.flatten(1)).view_as(values)
    return matrix @ values if axis == 1 else values @ matrix.T


def _similarity(pair: _Pair, window: str, *constants: tuple[float, float]) -> list[float]:
    """Mean structural similarity for each pair of constants; the moments are the costly part and are shared."""
    taps, edge = (_gaussian(3)[0], "replicated") if window == "gaussian" else (torch.ones(5).double(), "truncated")
    smoothers = pair.smoothers(taps, edge)

    def mean(values: Tensor) -> Tensor:
        for axis, matrix in enumerate(smoothers):
            values = _along(axis, matrix, values)
        return pair.inside(values)

    x, y = mean(pair.chi), mean(pair.truth)
    product, squares = x * y, x * x + y * y
    covariance = mean(pair.chi * pair.truth) - product
    variances = mean(pair.chi**2 + pair.truth**2) - squares
    return [
        ((2.0 * product + c1) * (2.0 * covariance + c2) / ((squares + c1) * (variances + c2))).mean().item()
        for c1, c2 in constants
    ]


def _ssim_constants(truth: Tensor) -> tuple[float, float]:
    extent = _range(truth) or math.nan
    return (0.01 * extent) ** 2, (0.03 * extent) ** 2


def _hfen(pair: _Pair) -> float:
    taps, second = _gaussian(8)
    smooth, curve = pair.smoothers(taps, "reflected"), pair.smoothers(second, "reflected")

    def laplacian_norm(values: Tensor) -> float:
        flat, curved = _along(2, smooth[2], values), _along(2, curve[2], values)
        curved = _along(1, smooth[1], curved).add_(_along(1, curve[1], flat))
        flat = _along(1, smooth[1], flat)
        return float(pair.inside(_along(0, smooth[0], curved).add_(_along(0, curve[0], flat))).norm().item())

    return 100.0 * _ratio(laplacian_norm(pair.chi - pair.truth), laplacian_norm(pair.truth))


def _nrmse(x: Tensor, y: Tensor, fit: str) -> float:
    if fit != "none":
        x, y = _demeaned(x), _demeaned(y)
    if fit == "detrended":
        x = x / (_ratio((x @ y).item(), (y @ y).item()) or math.nan)
    return 100.0 * _ratio((x - y).norm().item(), y.norm().item())


def _correlation(x: Tensor, y: Tensor) -> float:
    x, y = _demeaned(x), _demeaned(y)
    return _ratio((x @ y).item(), (x.norm() * y.norm()).item())


def _psnr(x: Tensor, y: Tensor) -> float:
    extent, rmse = _range(y) or math.nan, (x - y).square().mean().sqrt().item()
    return 20.0 * math.log10(extent / rmse) if rmse else extent * math.inf


def _demeaned(values: Tensor) -> Tensor:
    # The first value goes first, so that a constant map becomes zero exactly and not its rounding error.
    values = values - values[0]
    return values.sub_(values.mean())


def _range(values: Tensor) -> float:
    return (values.max() - values.min()).item()


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan
