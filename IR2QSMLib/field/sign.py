"""Whether a field has the right sign, judged from what is strong in every brain: veins and iron, both paramagnetic."""

from __future__ import annotations

import torch

from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import blur, fft, ifft

TAIL = 0.003
"""Share of voxels at either end of the range that are compared."""
BALANCE = -0.1
"""(paramagnetic − diamagnetic)/(both) of the ends below which the sign is doubted."""
DEPTH = 4.0
"""Distance [mm] from the mask's edge, where artefacts are, that voxels keep."""


def sign_balance(local: LocalField) -> float:
    """(p − d)/(p + d) of the mean χ at the two ends of its range inside, +1 all paramagnetic, −1 all diamagnetic.

    χ by a quick Tikhonov inversion, without its smooth part: veins, and nuclei against what is around them.
    """
    grid = local.grid
    kernel = dipole_kernel(grid, local.values.device)
    values = torch.where(local.mask, local.values, 0.0)
    chi = torch.where(local.mask, ifft(kernel / (kernel.square() + 0.02) * fft(values), grid.shape), 0.0)
    fine = blur(chi, grid, 1.0) - blur(chi, grid, 8.0)
    inner = local.mask & (blur(local.mask.float(), grid, DEPTH) > 0.84)
    seen = fine[inner]
    n = int(TAIL * seen.numel())
    if n < 10:
        return 0.0
    seen = (seen - seen.median()).sort().values
    para, dia = float(seen[-n:].mean()), -float(seen[:n].mean())
    return (para - dia) / (para + dia) if para + dia > 0.0 else 0.0


def sign_flipped(local: LocalField) -> bool:
    """Whether what is strongest in the brain seems diamagnetic, as it does when the phase has the wrong sign."""
    return sign_balance(local) < BALANCE
