"""The images of single receive coils into one: without the phase offset of each coil."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import Phase
from IR2QSMLib.field.echoes import smooth_phase
from IR2QSMLib.field.mask import MagnitudeMask
from IR2QSMLib.field.unwrapping import unwrap_in_space

OFFSET_WIDTH = 5.0
"""σ [mm] of the Gaussian that smooths the phase offset of a coil, which is as smooth as its sensitivity: about the 10,
10 and 5 voxels of the authors' own program, MriResearchTools.jl, at the voxels of 0.5 to 1 mm for which it was made."""


def combine_coils(
    signals: Sequence[Callable[[], Tensor]],
    echo_times: tuple[float, ...],
    b0: float,
    grid: Grid,
    offset_width: float = OFFSET_WIDTH,
) -> tuple[Tensor, Tensor]:
    """Combine coils by MCPC-3D-S.

    The Hermitian product of the first two echoes, summed over the coils, has no coil's offset. Its phase, unwrapped and
    scaled to the first echo time, is what the field makes of the first echo; the rest of each coil's first echo is the
    offset of that coil, which is smoothed as a complex number and taken from all its echoes. The coils are added with
    the magnitude of their first echoes as weight.

    Parameters
    ----------
    signals
        Read the complex signal of one coil each, (echo, x, y, z), finite, with two echoes or more; each is read twice.
    echo_times
        TE [s], rising: (echo).
    b0
        Field strength [T].
    grid
        Of the volumes.
    offset_width
        σ [mm] of the Gaussian that smooths the offsets.

    Returns
    -------
    phase, magnitude
        [rad], and in the unit of the signals divided by the root of the sum of squares of the weights: (echo, x, y, z).

    References
    ----------
    Eckstein et al. 2018, Magn Reson Med, doi 10.1002/mrm.26963.
    """
    product = torch.zeros(grid.shape, dtype=torch.complex64)
    for read in signals:
        signal = read()
        product += signal[0].conj() * signal[1]
    difference = Phase(
        torch.stack([torch.zeros(grid.shape), product.angle()]),
        product.abs().sqrt().expand(2, *grid.shape),
        echo_times[:2],
        b0,
        grid,
    )
    mask = MagnitudeMask(opening=0.0)(difference)
    first_echo = unwrap_in_space(product.angle(), mask) * (echo_times[0] / (echo_times[1] - echo_times[0]))
    combined = torch.zeros(len(echo_times), *grid.shape, dtype=torch.complex64)
    power = torch.zeros(grid.shape)
    for read in signals:
        signal = read()
        weight = signal[0].abs()
        offset = smooth_phase(signal[0].angle() - first_echo, torch.where(mask, weight, 0.0), grid, offset_width)
        combined += signal * torch.polar(weight, -offset)
        power += weight.square()
    combined = combined / power.sqrt().clamp_min(1e-30)
    return combined.angle(), combined.abs()
