"""How much of a local field is noise, judged from the field alone."""

from __future__ import annotations

import math

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


def noise_share(field: LocalField) -> float:
    """Share of a prepared field's power that is white noise, 0 to 1; 1/(1 + power SNR).

    No susceptibility has a field near the cone D = 0, so what a local field holds there is noise. The median of
    |F(w·f)|² over the cone's fine frequencies, over ln 2 (the powers are exponential), is the noise's mean power; w is
    the mask with a smooth edge. Noise is underestimated in a field that was interpolated by zero filling, which
    leaves the fine frequencies empty.
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
    return min(1.0, float(fft(tapered)[cone].abs().square().median()) / math.log(2.0) / total)
