"""Echoes into one total field: bipolar correction, phase offset, weighted fit, its noise and its residual."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import ppm_per_unit
from IR2QSMLib.core.volumes import Phase, TotalField
from IR2QSMLib.field.scaling import wrap
from IR2QSMLib.field.unwrapping import weighted_line
from IR2QSMLib.physics.fourier import blur, good_size, pad

UNEVEN = 0.02
"""How far echo spacings may differ, as a share, and still pass as even."""


@dataclass(frozen=True)
class Combined:
    """What the echoes agree on."""

    field: TotalField
    """δB/B0 [ppm] with its noise map."""
    offset: Tensor
    """Phase [rad] that does not grow with TE, zero outside the mask: (x, y, z)."""
    residual: Tensor
    """‖s − fit‖/‖s‖ over the echoes, the fit's phase with the measured magnitudes: (x, y, z), 0 to 2."""
    signal_noise: float
    """Standard deviation of the noise in the signal's real and imaginary part, in the magnitude's unit."""


@dataclass(frozen=True)
class EchoFit:
    """Weighted linear fit φ(TE) = φ₀ + 2π·γ·B0·δ·TE over the echoes, weights magnitude² (Robinson 2017).

    (doi 10.1002/nbm.3601.) With `offset_width` > 0 the intercept is smoothed by a Gaussian of that σ [mm], as a
    complex number weighted by magnitude², subtracted, and the line through the origin fitted anew: coils' phase is
    smooth, and so the noise of one parameter less ends up in the field (as MCPC-3D-S, Eckstein 2018, doi
    10.1002/mrm.26963). Zero keeps each voxel's own intercept. A single echo is divided by its TE, offset and all.
    Raises ParameterInvalid when the width is negative.
    """

    offset_width: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset_width < math.inf:
            raise ParameterInvalid(
                f"The width of the phase offset is {self.offset_width:g} mm; expected 0 (each voxel its own) or more."
            )

    def __call__(self, phase: Phase, unwrapped: Tensor, mask: Tensor) -> Combined:
        """Fit unwrapped phase (echo, x, y, z) [rad] inside a mask (x, y, z)."""
        magnitude, times = torch.where(mask, phase.magnitude, 0.0), phase.echo_times
        t = torch.tensor(times, dtype=unwrapped.dtype, device=unwrapped.device).view(-1, 1, 1, 1)
        weight = magnitude.square()
        if phase.n_echoes == 1:
            offset, slope = torch.zeros_like(unwrapped[0]), unwrapped[0] / times[0]
        else:
            offset, slope = weighted_line(unwrapped, magnitude, times)
            if self.offset_width > 0.0:
                smooth = smoothed_phase(offset, weight.sum(0), phase.grid, self.offset_width)
                # The smoothed offset is known modulo 2π only; each voxel keeps its own branch.
                offset = offset + wrap(smooth - offset)
                slope = (weight * t * (unwrapped - offset)).sum(0) / (weight * t.square()).sum(0).clamp_min(1e-30)
        error = unwrapped - offset - slope * t
        one_parameter = phase.n_echoes == 1 or self.offset_width > 0.0
        centre = 0.0 if one_parameter else (weight * t).sum(0) / weight.sum(0).clamp_min(1e-30)
        information = (weight * (t - centre).square()).sum(0)
        sigma = _signal_noise(phase, error, mask, phase.n_echoes - (1 if one_parameter else 2))
        ppm = ppm_per_unit("hz", phase.b0) / (2.0 * math.pi)
        noise = ppm * sigma / information.clamp_min(1e-30).sqrt()
        residual = (weight * (2.0 * torch.sin(0.5 * error)).square()).sum(0) / weight.sum(0).clamp_min(1e-30)

        def inside(x: Tensor) -> Tensor:
            return torch.where(mask, x, 0.0)

        field = TotalField(inside(ppm * slope), mask, phase.grid, inside(noise))
        return Combined(field, inside(wrap(offset)), inside(residual.sqrt()), sigma)


def _signal_noise(phase: Phase, error: Tensor, mask: Tensor, n_free: int) -> float:
    """σ of the signal's noise from the fit's errors, or, where the fit has none, from the magnitude's texture."""
    if n_free > 0:
        square = (phase.magnitude * error).square().sum(0)[mask]
        if square.numel() == 0:
            return 0.0
        # The squares follow a χ² law of n_free degrees; its median is little moved by the voxels that the model misses.
        median = n_free * (1.0 - 2.0 / (9.0 * n_free)) ** 3
        return math.sqrt(float(square.median()) / median)
    spread = []
    for axis in range(1, 4):
        n = phase.magnitude.shape[axis] - 2
        if n < 1:
            continue
        parts = [mask.narrow(axis - 1, i, n) for i in range(3)]
        second = phase.magnitude.diff(n=2, dim=axis)[:, parts[0] & parts[1] & parts[2]]
        if second.numel():
            spread.append(float(second.abs().median()) / (0.6745 * math.sqrt(6.0)))
    return min(spread, default=0.0)


def smoothed_phase(phase: Tensor, weight: Tensor, grid: Grid, width: float) -> Tensor:
    """Phase [rad] of the weighted mean of exp(iφ) over a Gaussian of σ = `width` [mm]: (x, y, z) to the same.

    What it misses is smoothed again and added (twicing, Tukey 1977): at the edge of the weights a mean is one-sided.
    """
    margin = [math.ceil(3.0 * width / v) for v in grid.voxel_size]
    shape = [good_size(n + m, 2) for n, m in zip(grid.shape, margin, strict=True)]
    larger = grid.cropped((0, 0, 0), shape)

    def mean(angle: Tensor) -> Tensor:
        real, imaginary = (
            pad(blur(pad(weight * part, shape), larger, width), grid.shape) for part in (angle.cos(), angle.sin())
        )
        return torch.atan2(imaginary, real)

    first = mean(phase)
    return first + mean(phase - first)


def correct_bipolar(phase: Phase, mask: Tensor) -> tuple[Phase, tuple[float, float, float, float]]:
    """Remove the phase, linear in space, by which even and odd echoes of a bipolar readout differ (Li 2015).

    s₀·s₂·s₁*² has the phase 4p where ±p alternates from echo to echo and the rest is linear in TE. p = a + b·x is
    found in the first three echoes, from the neighbours' mean phase difference and then the mean; a is known modulo
    π/2 and the least is taken. Returns the phase and a [rad] at the grid's centre with b [rad/mm] along the voxel
    axes. Raises ParameterInvalid unless there are three echoes or more, evenly spaced.
    """
    times = phase.echo_times
    spacing = [b - a for a, b in pairwise(times)]
    if len(spacing) < 2 or abs(spacing[1] - spacing[0]) > UNEVEN * spacing[0]:
        raise ParameterInvalid(
            f"The echo times are {', '.join(f'{te:g}' for te in times)} s; the correction of a bipolar readout needs "
            "three echoes or more, the first three evenly spaced.",
            option="bipolar",
        )
    weight = torch.where(mask, phase.magnitude[:3].amin(0), 0.0)
    four = torch.polar(weight.square(), phase.values[0] + phase.values[2] - 2.0 * phase.values[1])
    slopes = []
    for axis, v in enumerate(phase.grid.voxel_size):
        n = four.shape[axis] - 1
        step = (four.narrow(axis, 1, n) * four.narrow(axis, 0, n).conj()).sum()
        slopes.append(float(step.angle()) / v)
    ramp = _ramp(phase.grid, slopes, four.device)
    constant = float((four * torch.polar(torch.ones_like(ramp), -ramp)).sum().angle())
    p = 0.25 * (ramp + constant)
    sign = torch.tensor([(-1.0) ** n for n in range(phase.n_echoes)], device=p.device).view(-1, 1, 1, 1)
    b = [s / 4.0 for s in slopes]
    return replace(phase, values=wrap(phase.values - sign * p), bipolar=False), (constant / 4.0, b[0], b[1], b[2])


def _ramp(grid: Grid, slopes: list[float], device: torch.device) -> Tensor:
    """Σ slope·x [rad], slopes in rad/mm, x from the grid's centre: (x, y, z)."""
    ramp = torch.zeros(grid.shape, device=device)
    for axis, (n, v, slope) in enumerate(zip(grid.shape, grid.voxel_size, slopes, strict=True)):
        x = (torch.arange(n, device=device) - (n - 1) / 2) * v * slope
        ramp = ramp + x.view([-1 if a == axis else 1 for a in range(3)])
    return ramp
