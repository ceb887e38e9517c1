"""Phase without its jumps: exact along paths of reliable neighbours, or approximately through the Laplacian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import unwrap_phase
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.scaling import TWO_PI, wrap
from IR2QSMLib.physics.fourier import fft, frequencies, ifft


def nearest_branch(phase: Tensor, template: Tensor) -> Tensor:
    """Phase [rad] shifted by the multiple of 2π that brings it nearest to a template."""
    return phase + TWO_PI * ((template - phase) / TWO_PI).round()


@dataclass(frozen=True)
class PathUnwrapping:
    """Exact unwrapping: along reliable paths in space, and in time by what the earlier echoes predict.

    In space as Abdul-Rahman 2007 (doi 10.1364/AO.46.006623) and scikit-image have it, applied to the difference of
    the first two echoes and to the offset it leaves in the first, in which wraps are few. Later echoes take the
    branch nearest to the line through the earlier ones (as ROMEO, Dymerska 2021, doi 10.1002/mrm.28563). What comes
    back is the input plus multiples of 2π.
    """

    def __call__(self, phase: Phase, mask: Tensor, progress: Progress = silent) -> Tensor:
        """Unwrap every echo inside a mask (x, y, z): (echo, x, y, z) [rad], zero outside."""
        progress(0.0, "unwrapping")
        wrapped = wrap(torch.where(mask, phase.values, 0.0))
        if phase.n_echoes == 1:
            return unwrap_in_space(wrapped[0], mask)[None]
        times = phase.echo_times
        difference = unwrap_in_space(wrap(wrapped[1] - wrapped[0]), mask)
        progress(0.5, "unwrapping")
        # Without what grows with time only the coils' smooth phase is left.
        grown = difference * (times[0] / (times[1] - times[0]))
        first = grown + unwrap_in_space(wrap(wrapped[0] - grown), mask)
        unwrapped = [nearest_branch(wrapped[0], first), nearest_branch(wrapped[1], first + difference)]
        for n in range(2, phase.n_echoes):
            offset, slope = weighted_line(torch.stack(unwrapped), phase.magnitude[:n], times[:n])
            unwrapped.append(nearest_branch(wrapped[n], offset + slope * times[n]))
        # The line through all of them tells better which branch an early, noisy echo is on.
        result = torch.stack(unwrapped)
        offset, slope = weighted_line(result, phase.magnitude, times)
        for n in range(2, phase.n_echoes):
            result[n] = nearest_branch(result[n], offset + slope * times[n])
        return torch.where(mask, result, 0.0)


@dataclass(frozen=True)
class LaplacianUnwrapping:
    """Fast, approximate unwrapping: φ = ∇⁻²(cos ψ ∇² sin ψ − sin ψ ∇² cos ψ), ψ the wrapped phase, each echo alone.

    (Schofield and Zhu 2003, doi 10.1364/OL.28.001194.) ∇² is the 7-point stencil in mm, periodic on the grid. Part
    of the background field is lost, and the result is not the input plus multiples of 2π.
    """

    def __call__(self, phase: Phase, mask: Tensor, progress: Progress = silent) -> Tensor:
        """Unwrap every echo inside a mask (x, y, z): (echo, x, y, z) [rad], zero outside."""
        echoes = []
        for n, values in enumerate(phase.values):
            progress(n / phase.n_echoes, "unwrapping")
            echoes.append(torch.where(mask, unwrap_by_laplacian(torch.where(mask, values, 0.0), phase.grid), 0.0))
        return torch.stack(echoes)


def unwrap_in_space(phase: Tensor, mask: Tensor) -> Tensor:
    """Wrapped phase [rad] plus multiples of 2π inside the mask, zero outside: (x, y, z).

    The median of each connected piece of the mask lies within ±π, as nothing tells how many turns are between them.
    """
    inside = mask.nonzero()
    if len(inside) == 0:
        return torch.zeros_like(phase)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(inside.amin(0), inside.amax(0), strict=True))
    valid = np.pad(mask[box].cpu().numpy(), 1)
    # scikit-image draws the order of voxels on the array's border by chance, seed or not: a masked frame leaves none.
    values = np.pad(phase[box].cpu().numpy().astype(np.float64), 1)
    values = np.ma.getdata(unwrap_phase(np.ma.array(values, mask=~valid)))
    pieces, n = ndimage.label(valid)
    medians = np.asarray(ndimage.median(values, pieces, np.arange(n + 1)) if n > 1 else [0.0, np.median(values[valid])])
    values = values - TWO_PI * np.round(medians / TWO_PI)[pieces]
    template = torch.zeros_like(phase)
    template[box] = torch.from_numpy(values[1:-1, 1:-1, 1:-1]).to(phase.device, phase.dtype)
    return torch.where(mask, nearest_branch(phase, template), 0.0)


def unwrap_by_laplacian(phase: Tensor, grid: Grid) -> Tensor:
    """Laplacian unwrapping [rad] of a phase [rad] on the whole, periodic grid; its mean is zero: (x, y, z)."""
    squares = (
        (2.0 * (torch.cos(TWO_PI * k * v) - 1.0) / v**2).float().to(phase.device)
        for k, v in zip(frequencies(grid, phase.device), grid.voxel_size, strict=True)
    )
    x, y, z = squares
    laplacian = x + y + z
    sine, cosine = torch.sin(phase), torch.cos(phase)
    curvature = cosine * ifft(laplacian * fft(sine), grid.shape) - sine * ifft(laplacian * fft(cosine), grid.shape)
    inverse = torch.where(laplacian == 0.0, 0.0, 1.0 / torch.where(laplacian == 0.0, 1.0, laplacian))
    return ifft(inverse * fft(curvature), grid.shape)


def weighted_line(phase: Tensor, magnitude: Tensor, times: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Offset [rad] and slope [rad/s] of the line through unwrapped echoes (echo, x, y, z), weights magnitude²."""
    t = torch.tensor(times, dtype=phase.dtype, device=phase.device).view(-1, 1, 1, 1)
    weight = magnitude.square() / magnitude.square().amax().clamp_min(1e-30) + 1e-12
    total = weight.sum(0)
    middle, mean = (weight * t).sum(0) / total, (weight * phase).sum(0) / total
    slope = (weight * (t - middle) * (phase - mean)).sum(0) / (weight * (t - middle).square()).sum(0)
    return mean - slope * middle, slope
