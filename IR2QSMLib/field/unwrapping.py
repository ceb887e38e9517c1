"""Phase without its wraps: exactly along paths of reliable neighbours, or approximately by the Laplacian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.scaling import TWO_PI, wrap
from IR2QSMLib.physics.fourier import fft, frequencies, ifft

STAGE = "unwrapping"
"""What progress calls this stage."""
UNWRAPPING_BYTES = 192
"""Bytes a voxel that scikit-image takes to unwrap a phase: 64 for the voxel, 96 for its edges, and two images."""


def nearest_branch(phase: Tensor, template: Tensor) -> Tensor:
    """Phase [rad] plus the multiple of 2π that brings it nearest to a template [rad]."""
    return phase + TWO_PI * ((template - phase) / TWO_PI).round()


@dataclass(frozen=True)
class PathUnwrapping:
    """Exact unwrapping: along reliable paths in space, and in time by the line through the earlier echoes.

    In space the difference of the first two echoes is unwrapped, and then what is left of the first echo, in both of
    which wraps are few. Later echoes take the branch nearest to the line through the earlier ones. The result is the
    input plus multiples of 2π.

    References
    ----------
    Abdul-Rahman et al. 2007, Appl Opt, doi 10.1364/AO.46.006623, as in scikit-image. In time like ROMEO: Dymerska et
    al. 2021, Magn Reson Med, doi 10.1002/mrm.28563.
    """

    def __call__(self, phase: Phase, mask: Tensor, progress: Progress = silent) -> Tensor:
        """Unwrap every echo.

        Parameters
        ----------
        phase : Phase
            Finite in the mask.
        mask : Tensor
            Bool: (x, y, z).
        progress : callable
            Called with the fraction done and the stage.

        Returns
        -------
        Tensor
            [rad], zero outside the mask: (echo, x, y, z).
        """
        progress(0.0, STAGE)
        wrapped = wrap(torch.where(mask, phase.values, 0.0))
        if phase.n_echoes == 1:
            return unwrap_in_space(wrapped[0], mask)[None]
        times = phase.echo_times
        difference = unwrap_in_space(wrap(wrapped[1] - wrapped[0]), mask)
        progress(0.5, STAGE)
        # Without the part that grows with time only the coils' smooth phase is left.
        growing = difference * (times[0] / (times[1] - times[0]))
        first = growing + unwrap_in_space(wrap(wrapped[0] - growing), mask)
        unwrapped = [nearest_branch(wrapped[0], first), nearest_branch(wrapped[1], first + difference)]
        for n in range(2, phase.n_echoes):
            offset, slope = weighted_line(torch.stack(unwrapped), phase.magnitude[:n], times[:n])
            unwrapped.append(nearest_branch(wrapped[n], offset + slope * times[n]))
        # The line through all echoes corrects the branch of early, noisy ones.
        result = torch.stack(unwrapped)
        offset, slope = weighted_line(result, phase.magnitude, times)
        for n in range(2, phase.n_echoes):
            result[n] = nearest_branch(result[n], offset + slope * times[n])
        return torch.where(mask, result, 0.0)


@dataclass(frozen=True)
class LaplacianUnwrapping:
    """Fast, approximate unwrapping of each echo by its Laplacian, φ = ∇⁻²(cos ψ ∇² sin ψ − sin ψ ∇² cos ψ).

    ψ is the wrapped phase. Part of the background field is lost, and the result is not the input plus multiples of 2π.

    References
    ----------
    Schofield and Zhu 2003, Opt Lett, doi 10.1364/OL.28.001194.
    """

    def __call__(self, phase: Phase, mask: Tensor, progress: Progress = silent) -> Tensor:
        """Unwrap every echo.

        Parameters
        ----------
        phase : Phase
            Finite in the mask.
        mask : Tensor
            Bool: (x, y, z).
        progress : callable
            Called with the fraction done and the stage.

        Returns
        -------
        Tensor
            [rad], zero outside the mask: (echo, x, y, z).
        """
        echoes = []
        for n, values in enumerate(phase.values):
            progress(n / phase.n_echoes, STAGE)
            echoes.append(torch.where(mask, unwrap_by_laplacian(torch.where(mask, values, 0.0), phase.grid), 0.0))
        return torch.stack(echoes)


def unwrap_in_space(phase: Tensor, mask: Tensor) -> Tensor:
    """Wrapped phase plus multiples of 2π, continuous inside the mask.

    The median of each connected piece of the mask lies within ±π, as nothing connects their phases.

    Parameters
    ----------
    phase : Tensor
        Wrapped [rad]: (x, y, z).
    mask : Tensor
        Bool: (x, y, z).

    Returns
    -------
    Tensor
        [rad], zero outside the mask: (x, y, z).
    """
    from skimage.restoration import unwrap_phase  # a local field does without scikit-image

    inside = mask.nonzero()
    if len(inside) == 0:
        return torch.zeros_like(phase)
    box = tuple(slice(int(low), int(high) + 1) for low, high in zip(inside.amin(0), inside.amax(0), strict=True))
    valid = np.pad(mask[box].cpu().numpy(), 1)
    # scikit-image orders voxels on the array's border at random, seed or not: a masked border leaves none.
    values = np.pad(phase[box].cpu().numpy().astype(np.float64), 1)
    np.empty(UNWRAPPING_BYTES * values.size, np.uint8)  # raises MemoryError where scikit-image would end the process
    values = np.ma.getdata(unwrap_phase(np.ma.array(values, mask=~valid)))
    labels, n_pieces = ndimage.label(valid)
    medians = [0.0, np.median(values[valid])]
    if n_pieces > 1:
        medians = ndimage.median(values, labels, np.arange(n_pieces + 1))
    values = values - TWO_PI * np.round(np.asarray(medians) / TWO_PI)[labels]
    template = torch.zeros_like(phase)
    template[box] = torch.from_numpy(values[1:-1, 1:-1, 1:-1]).to(phase.device, phase.dtype)
    return torch.where(mask, nearest_branch(phase, template), 0.0)


def unwrap_by_laplacian(phase: Tensor, grid: Grid) -> Tensor:
    """Laplacian unwrapping on a periodic grid; ∇² is the 7-point stencil in mm.

    Parameters
    ----------
    phase : Tensor
        Wrapped [rad]: (x, y, z).
    grid : Grid
        Its voxel sizes.

    Returns
    -------
    Tensor
        [rad], of zero mean: (x, y, z).
    """
    x, y, z = (
        (2.0 * (torch.cos(TWO_PI * k * v) - 1.0) / v**2).float().to(phase.device)
        for k, v in zip(frequencies(grid, phase.device), grid.voxel_size, strict=True)
    )
    laplacian = x + y + z
    sine, cosine = torch.sin(phase), torch.cos(phase)
    curvature = cosine * ifft(laplacian * fft(sine), grid.shape) - sine * ifft(laplacian * fft(cosine), grid.shape)
    inverse = torch.where(laplacian == 0.0, 0.0, 1.0 / torch.where(laplacian == 0.0, 1.0, laplacian))
    return ifft(inverse * fft(curvature), grid.shape)


def weighted_line(phase: Tensor, magnitude: Tensor, times: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """The line through unwrapped echoes by least squares, weights magnitude².

    Parameters
    ----------
    phase : Tensor
        Unwrapped [rad]: (echo, x, y, z).
    magnitude : Tensor
        Any unit: (echo, x, y, z).
    times : tuple of float
        TE [s]: (echo).

    Returns
    -------
    offset : Tensor
        [rad]: (x, y, z).
    slope : Tensor
        [rad/s]: (x, y, z).
    """
    t = torch.tensor(times, dtype=phase.dtype, device=phase.device).view(-1, 1, 1, 1)
    weight = magnitude.square() / magnitude.square().amax().clamp_min(1e-30) + 1e-12
    total = weight.sum(0)
    mean_time, mean_phase = (weight * t).sum(0) / total, (weight * phase).sum(0) / total
    slope = (weight * (t - mean_time) * (phase - mean_phase)).sum(0) / (weight * (t - mean_time).square()).sum(0)
    return mean_phase - slope * mean_time, slope
