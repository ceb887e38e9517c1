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

MAX_SPACING_DIFFERENCE = 0.02
"""Share of the first echo spacing by which the second may differ and still be equal."""
MAX_RESIDUAL = 0.3
"""Share of the signal that the fit over the echoes may miss in a voxel."""


@dataclass(frozen=True)
class EchoCombination:
    """The line fitted to the phase of the echoes."""

    field: TotalField
    """δB/B0 [ppm] with its standard error."""
    offset: Tensor
    """Phase [rad] that does not grow with TE, zero outside the mask: (x, y, z)."""
    residual: Tensor
    """‖s − fit‖/‖s‖ over the echoes, the fit's phase with the echoes' magnitudes: (x, y, z), 0 to 2."""
    signal_noise: float
    """Standard deviation of the noise in the signal's real and imaginary part, in the magnitude's unit."""

    @property
    def misfit(self) -> Tensor:
        """Voxels of the mask where the fit misses more than `MAX_RESIDUAL` of the signal, bool: (x, y, z)."""
        return self.field.mask & (self.residual > MAX_RESIDUAL)


@dataclass(frozen=True)
class EchoFit:
    """Weighted linear fit φ(TE) = φ₀ + 2π·γ·B0·δ·TE over the echoes, weights magnitude².

    With `offset_width` > 0 the intercept φ₀ is smoothed as a complex number weighted by magnitude², subtracted, and a
    line through the origin fitted: the coils' phase is smooth, and one parameter less leaves less noise in the field.
    A single echo is divided by its TE, offset included.

    Raises
    ------
    ParameterInvalid
        When the width is negative.

    References
    ----------
    Robinson et al. 2017, NMR Biomed, doi 10.1002/nbm.3601. Smooth offset: Eckstein et al. 2018 (MCPC-3D-S), Magn Reson
    Med, doi 10.1002/mrm.26963.
    """

    offset_width: float = 0.0
    """σ [mm] of the Gaussian that smooths the offset; 0 keeps each voxel's own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.offset_width < math.inf:
            raise ParameterInvalid(
                f"The width of the phase offset is {self.offset_width:g} mm; expected 0 (each voxel its own) or more."
            )

    def __call__(self, phase: Phase, unwrapped: Tensor, mask: Tensor) -> EchoCombination:
        """Fit the echoes.

        Parameters
        ----------
        phase : Phase
            Magnitude, echo times, B0 and grid.
        unwrapped : Tensor
            [rad]: (echo, x, y, z).
        mask : Tensor
            Bool: (x, y, z).

        Returns
        -------
        EchoCombination
            All maps are zero outside the mask.
        """
        magnitude, times = torch.where(mask, phase.magnitude, 0.0), phase.echo_times
        t = torch.tensor(times, dtype=unwrapped.dtype, device=unwrapped.device).view(-1, 1, 1, 1)
        weight = magnitude.square()
        if phase.n_echoes == 1:
            offset, slope = torch.zeros_like(unwrapped[0]), unwrapped[0] / times[0]
        else:
            offset, slope = weighted_line(unwrapped, magnitude, times)
            if self.offset_width > 0.0:
                smooth = smooth_phase(offset, weight.sum(0), phase.grid, self.offset_width)
                # The smooth offset is known modulo 2π only; each voxel keeps the branch of its own.
                offset = offset + wrap(smooth - offset)
                slope = (weight * t * (unwrapped - offset)).sum(0) / (weight * t.square()).sum(0).clamp_min(1e-30)
        error = unwrapped - offset - slope * t
        one_parameter = phase.n_echoes == 1 or self.offset_width > 0.0
        mean_time = 0.0 if one_parameter else (weight * t).sum(0) / weight.sum(0).clamp_min(1e-30)
        information = (weight * (t - mean_time).square()).sum(0)
        signal_noise = _signal_noise(phase, error, mask, phase.n_echoes - (1 if one_parameter else 2))
        ppm = ppm_per_unit("hz", phase.b0) / (2.0 * math.pi)
        noise = ppm * signal_noise / information.clamp_min(1e-30).sqrt()
        residual = (weight * (2.0 * torch.sin(0.5 * error)).square()).sum(0) / weight.sum(0).clamp_min(1e-30)

        def masked(x: Tensor) -> Tensor:
            return torch.where(mask, x, 0.0)

        field = TotalField(masked(ppm * slope), mask, phase.grid, masked(noise))
        return EchoCombination(field, masked(wrap(offset)), masked(residual.sqrt()), signal_noise)


def _signal_noise(phase: Phase, error: Tensor, mask: Tensor, n_degrees: int) -> float:
    """σ of the signal's noise from the fit's errors, or, without degrees of freedom, from the magnitude's texture."""
    if n_degrees > 0:
        squares = (phase.magnitude * error).square().sum(0)[mask]
        if squares.numel() == 0:
            return 0.0
        # They follow a χ² law, whose median (Wilson and Hilferty 1931) depends little on voxels that the fit misses.
        chi_square_median = n_degrees * (1.0 - 2.0 / (9.0 * n_degrees)) ** 3
        return math.sqrt(float(squares.median()) / chi_square_median)
    estimates = []
    for axis in range(1, 4):
        n = phase.magnitude.shape[axis] - 2
        if n < 1:
            continue
        triples = [mask.narrow(axis - 1, i, n) for i in range(3)]
        second_difference = phase.magnitude.diff(n=2, dim=axis)[:, triples[0] & triples[1] & triples[2]]
        if second_difference.numel():
            # A second difference has variance 6σ², a normal variable the median absolute value 0.6745σ.
            estimates.append(float(second_difference.abs().median()) / (0.6745 * math.sqrt(6.0)))
    return min(estimates, default=0.0)


def smooth_phase(phase: Tensor, weight: Tensor, grid: Grid, sigma: float) -> Tensor:
    """Phase of the weighted Gaussian mean of exp(iφ).

    The mean of what it misses is added (twicing): at the edge of the weights a mean is one-sided.

    Parameters
    ----------
    phase : Tensor
        [rad]: (x, y, z).
    weight : Tensor
        Any unit: (x, y, z).
    grid : Grid
        Its voxel sizes.
    sigma : float
        Of the Gaussian [mm].

    Returns
    -------
    Tensor
        [rad]: (x, y, z).

    References
    ----------
    Tukey 1977, Exploratory Data Analysis.
    """
    margin = [math.ceil(3.0 * sigma / v) for v in grid.voxel_size]
    shape = [good_size(n + m, 2) for n, m in zip(grid.shape, margin, strict=True)]
    padded_grid = grid.cropped((0, 0, 0), shape)

    def mean(angle: Tensor) -> Tensor:
        real, imaginary = (
            pad(blur(pad(weight * part, shape), padded_grid, sigma), grid.shape) for part in (angle.cos(), angle.sin())
        )
        return torch.atan2(imaginary, real)

    once = mean(phase)
    return once + mean(phase - once)


def correct_bipolar(phase: Phase, mask: Tensor) -> tuple[Phase, tuple[float, float, float, float]]:
    """Remove the phase ±(a + b·x), linear in space, by which even and odd echoes of a bipolar readout differ.

    s₀·s₂·s₁*² of the first three echoes has the phase 4(a + b·x), as all that is linear in TE cancels. b comes from
    the mean phase difference of neighbours, a from the mean; a is known modulo π/2, and the smallest is taken.

    Parameters
    ----------
    phase : Phase
        Finite, with three echoes or more.
    mask : Tensor
        Bool: (x, y, z).

    Returns
    -------
    phase : Phase
        Corrected and wrapped.
    coefficients : tuple of float
        a [rad] at the grid's centre, b [rad/mm] along x, y and z.

    Raises
    ------
    ParameterInvalid
        Unless there are three echoes or more, the first three evenly spaced.

    References
    ----------
    Li et al. 2015, Magn Reson Mater Phys, doi 10.1007/s10334-014-0470-3.
    """
    times = phase.echo_times
    spacings = [later - earlier for earlier, later in pairwise(times)]
    if len(spacings) < 2 or abs(spacings[1] - spacings[0]) > MAX_SPACING_DIFFERENCE * spacings[0]:
        raise ParameterInvalid(
            f"The echo times are {', '.join(f'{te:g}' for te in times)} s; the correction of a bipolar readout needs "
            "three echoes or more, the first three evenly spaced.",
            option="bipolar",
        )
    weight = torch.where(mask, phase.magnitude[:3].amin(0), 0.0)
    product = torch.polar(weight.square(), phase.values[0] + phase.values[2] - 2.0 * phase.values[1])
    slopes = []
    for axis, v in enumerate(phase.grid.voxel_size):
        n = product.shape[axis] - 1
        step = (product.narrow(axis, 1, n) * product.narrow(axis, 0, n).conj()).sum()
        slopes.append(float(step.angle()) / v)
    ramp = _linear_phase(phase.grid, slopes, product.device)
    constant = float((product * torch.polar(torch.ones_like(ramp), -ramp)).sum().angle())
    alternating = 0.25 * (ramp + constant)
    sign = torch.tensor([(-1.0) ** n for n in range(phase.n_echoes)], device=product.device).view(-1, 1, 1, 1)
    corrected = replace(phase, values=wrap(phase.values - sign * alternating), bipolar=False)
    return corrected, (constant / 4.0, slopes[0] / 4.0, slopes[1] / 4.0, slopes[2] / 4.0)


def _linear_phase(grid: Grid, slopes: list[float], device: torch.device) -> Tensor:
    """Σ slope·x [rad], slopes in rad/mm, x from the grid's centre: (x, y, z)."""
    ramp = torch.zeros(grid.shape, device=device)
    for axis, (n, v, slope) in enumerate(zip(grid.shape, grid.voxel_size, slopes, strict=True)):
        x = (torch.arange(n, device=device) - (n - 1) / 2) * v * slope
        ramp = ramp + x.view([-1 if a == axis else 1 for a in range(3)])
    return ramp
