"""What a person should know of a field before trusting it: one sentence each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from IR2QSMLib.core.volumes import LocalField, Phase, TotalField

LEAST_SNR = 10.0
"""Median magnitude of the first echo over the signal's noise."""
MOST_WRAPS = 1e-3
"""Share of neighbours."""
MOST_BACKGROUND = 0.25
"""Share of the local field's power that nine smooth harmonic functions explain."""
MISFIT = 0.3
"""Share of the signal that the fit over the echoes may miss before a voxel is marked."""
MOST_MARKED = 0.02
"""Share of the mask."""


def warnings_of(
    phase: Phase, mask: Tensor, signal_noise: float, unwrapped: Tensor, residual: Tensor, local: LocalField
) -> list[str]:
    """Sentences about few echoes, low SNR, the mask at the edge, wraps left, a poor fit and residual background."""
    found = []
    if phase.n_echoes < 3:
        found.append(
            f"There {'is one echo' if phase.n_echoes == 1 else 'are two echoes'}: the phase offset "
            f"{'stays in the field' if phase.n_echoes == 1 else 'is found without a check'}, and the noise is judged "
            "from the magnitude's texture."
        )
    snr = float(phase.magnitude[0][mask].median()) / signal_noise if signal_noise > 0.0 else math.inf
    if snr < LEAST_SNR:
        found.append(f"The signal-to-noise ratio of the first echo is {snr:.1f}; below {LEAST_SNR:g} the map is noisy.")
    sides = touched_sides(mask)
    if sides:
        found.append(f"The mask touches the edge of the image ({', '.join(sides)}); the field there is uncertain.")
    share = wraps_left(unwrapped[0], mask)
    if share > MOST_WRAPS:
        found.append(f"{100 * share:.2g} % of the neighbours in the first echo still differ by more than π (wraps).")
    misfit = float((residual[mask] > MISFIT).float().mean())
    if misfit > MOST_MARKED:
        found.append(f"In {100 * misfit:.2g} % of the mask the fit over the echoes misses {MISFIT:g} of the signal.")
    background = residual_background(local)
    if background > MOST_BACKGROUND:
        found.append(f"{100 * background:.2g} % of the local field's power is smooth background that was not removed.")
    return found


def wraps_left(phase: Tensor, mask: Tensor) -> float:
    """Share of the neighbours inside the mask between which an unwrapped phase (x, y, z) jumps by more than π."""
    n_jumps = n_pairs = 0
    for axis in range(3):
        n = phase.shape[axis] - 1
        pair = mask.narrow(axis, 0, n) & mask.narrow(axis, 1, n)
        n_jumps += int((phase.diff(dim=axis)[pair].abs() > math.pi).sum())
        n_pairs += int(pair.sum())
    return n_jumps / max(1, n_pairs)


def touched_sides(mask: Tensor) -> list[str]:
    """The sides of the image that a mask (x, y, z) reaches, such as 'x low'."""
    sides = []
    for axis, name in enumerate("xyz"):
        for side, index in (("low", 0), ("high", mask.shape[axis] - 1)):
            if mask.shape[axis] > 1 and bool(mask.select(axis, index).any()):
                sides.append(f"{name} {side}")
    return sides


def residual_background(local: LocalField) -> float:
    """Share of a local field's power that harmonic polynomials of first and second order explain, 0 to 1.

    Outside sources leave such fields; inside sources hardly do.
    """
    index = local.mask.nonzero().cpu()  # in double precision, which not every device knows
    if len(index) < 9:
        return 0.0
    position = index.double() * torch.tensor(local.grid.voxel_size, dtype=torch.float64)
    x, y, z = ((position - position.mean(0)) / position.std().clamp_min(1e-12)).T
    basis = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, z * x, x**2 - y**2, 2 * z**2 - x**2 - y**2], 1)
    values = local.values[local.mask].cpu().double()
    values = values - values.mean()
    total = float(values.square().sum())
    if total == 0.0:
        return 0.0
    gram = basis.T @ basis + 1e-9 * len(x) * torch.eye(9, dtype=torch.float64)
    explained = basis @ torch.linalg.solve(gram, basis.T @ values)
    return min(1.0, float(explained.square().sum()) / total)


def noise_floor(field: TotalField) -> float:
    """Median standard error [ppm] of a total field inside its mask."""
    return 0.0 if field.noise is None else float(field.noise[field.mask].median())
