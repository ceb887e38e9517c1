"""How much of a local field is noise, judged from the field alone."""

from __future__ import annotations

import math
from statistics import median

import torch

from IR2QSMLib.grid import Grid
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import blur, fft, frequencies
from IR2QSMLib.volumes import LocalField

CONE = 0.05
"""|D| below which a susceptibility leaves nearly nothing in the field."""
TAPER = 2.0
"""σ of the mask's smooth edge [voxels]; a sharp edge would spread the signal over the cone."""
FINE = 0.25
"""Least frequency that counts [cycles a voxel]: anatomy and residual background lie below."""
N_BANDS, FEWEST = 8, 100
"""Bands of frequency along each axis in which power is looked for, and the least number of frequencies to judge by."""
NOTHING, FILLED = 1e-3, 0.02
"""Shares of the power in the fullest bands: below the first there was zero filling, from the second on a band was
measured. Noise-free fields leak anatomy into the lowest bands; where they pass for zero filled, it is of no account."""


def noise_share(field: LocalField) -> float:
    """Share of a prepared field's power that is white noise, 0 to 1; 1/(1 + power SNR).

    No susceptibility has a field near the cone D = 0, so what a local field holds there is noise. The median of
    |F(w·f)|² over the cone's fine frequencies, over ln 2 (the powers are exponential), is the noise's mean power; w is
    the mask with a smooth edge. Where a scanner's interpolation by zero filling left bands of frequencies empty, the
    median is the middle one of the others', and the share that of noise as strong everywhere.
    """
    k = frequencies(field.grid, field.values.device)
    x, y, z = (f * v for f, v in zip(k, field.grid.voxel_size, strict=True))
    square = x**2 + y**2 + z**2
    blurred = blur(field.mask.float(), Grid(field.grid.shape), TAPER)
    tapered = field.values * (2.0 * blurred - 1.0).clamp_min(0.0).square()
    cone = (dipole_kernel(field.grid, field.values.device).abs() < CONE) & (square > FINE**2).to(field.values.device)
    total = float(tapered.square().sum())
    if total == 0.0 or not bool(cone.any()):
        return 0.0
    power = fft(tapered)[cone].abs().square()
    band = torch.zeros_like(power, dtype=torch.long)
    for line in (x, y, z):
        part = (2 * N_BANDS * line.abs()).long().clamp_(max=N_BANDS - 1)
        band = N_BANDS * band + part.to(power.device).expand(cone.shape)[cone]
    medians = [float(power[band == n].median()) for n, count in enumerate(band.bincount().tolist()) if count >= FEWEST]
    found = float(power.median())
    if medians and min(medians) < NOTHING * max(medians):
        found = median(m for m in medians if m >= FILLED * max(medians))
    return min(1.0, found / math.log(2.0) / total)
