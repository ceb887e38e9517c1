"""What a person should know of a field before trusting it: numbers, and one sentence each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from IR2QSMLib.core.volumes import LocalField, Phase
from IR2QSMLib.field.echoes import MAX_RESIDUAL, EchoCombination
from IR2QSMLib.field.mask import pairs_inside
from IR2QSMLib.physics.harmonics import harmonic_share

MIN_SNR = 10.0
"""Median magnitude of the first echo over the signal's noise below which a warning is due."""
MAX_WRAPS = 1e-3
"""Share of the pairs of neighbours with a wrap between them above which a warning is due."""
MAX_BACKGROUND = 0.25
"""Share of the local field's power that nine smooth harmonic functions explain, above which a warning is due."""
MAX_MISFIT_SHARE = 0.02
"""Share of the mask whose fit misses the signal above which a warning is due."""


@dataclass(frozen=True)
class FieldChecks:
    """Numbers by which a local field that was made from phase is judged."""

    n_echoes: int
    snr: float
    """Median magnitude of the first echo over the noise's standard deviation."""
    edge_warnings: list[str]
    """What `mask_edge_warnings` says of the mask."""
    wraps_left: float
    """Share of the pairs of neighbours with a wrap between them in the unwrapped first echo."""
    misfit_share: float
    """Share of the mask whose fit over the echoes misses the signal."""
    residual_background: float
    """Share of the local field's power that is smooth and harmonic."""

    @classmethod
    def of_maps(cls, phase: Phase, unwrapped: Tensor, combined: EchoCombination, local: LocalField) -> FieldChecks:
        """The checks of a local field and of the steps before it.

        Parameters
        ----------
        phase : Phase
            Finite in the mask.
        unwrapped : Tensor
            [rad]: (echo, x, y, z).
        combined : EchoCombination
            The fit over the echoes.
        local : LocalField
            In ppm.
        """
        mask, noise = combined.field.mask, combined.signal_noise
        return cls(
            phase.n_echoes,
            float(phase.magnitude[0][mask].median()) / noise if noise > 0.0 else math.inf,
            mask_edge_warnings(mask),
            wraps_left(unwrapped[0], mask),
            int(combined.misfit.sum()) / max(1, int(mask.sum())),
            residual_background(local),
        )

    def warnings(self) -> list[str]:
        """Sentences about few echoes, noise, the mask at the edge, wraps, a poor fit and residual background."""
        warnings = []
        if self.n_echoes == 1:
            warnings.append(
                "There is one echo: the phase offset stays in the field, and the noise is estimated from the "
                "magnitude's texture."
            )
        elif self.n_echoes == 2:
            warnings.append(
                "There are two echoes: the phase offset is fitted without a check, and the noise is estimated from the "
                "magnitude's texture."
            )
        if self.snr < MIN_SNR:
            warnings.append(
                f"The signal-to-noise ratio of the first echo is {self.snr:.1f}; below {MIN_SNR:g} the map is noisy."
            )
        warnings += self.edge_warnings
        if self.wraps_left > MAX_WRAPS:
            warnings.append(
                f"{100 * self.wraps_left:.2g} % of the neighbours in the first echo still differ by more than π "
                "(wraps)."
            )
        if self.misfit_share > MAX_MISFIT_SHARE:
            warnings.append(
                f"In {100 * self.misfit_share:.2g} % of the mask the fit over the echoes misses {MAX_RESIDUAL:g} of "
                "the signal."
            )
        if self.residual_background > MAX_BACKGROUND:
            warnings.append(
                f"{100 * self.residual_background:.2g} % of the local field's power is smooth background that was not "
                "removed."
            )
        return warnings


def wraps_left(phase: Tensor, mask: Tensor) -> float:
    """Share of the pairs of neighbours inside a mask between which the phase jumps by more than π.

    Parameters
    ----------
    phase : Tensor
        Unwrapped [rad]: (x, y, z).
    mask : Tensor
        Bool: (x, y, z).
    """
    n_wraps = n_pairs = 0
    for axis in range(3):
        pairs = pairs_inside(mask, axis)
        n_wraps += int((phase.diff(dim=axis)[pairs].abs() > math.pi).sum())
        n_pairs += int(pairs.sum())
    return n_wraps / max(1, n_pairs)


def touched_sides(mask: Tensor) -> list[str]:
    """The sides of the image that a mask (x, y, z) reaches, such as 'x low'."""
    sides = []
    for axis, name in enumerate("xyz"):
        for side, index in (("low", 0), ("high", mask.shape[axis] - 1)):
            if mask.shape[axis] > 1 and bool(mask.select(axis, index).any()):
                sides.append(f"{name} {side}")
    return sides


def mask_edge_warnings(mask: Tensor) -> list[str]:
    """A sentence for the user if a mask (x, y, z) reaches the edge of the image."""
    sides = touched_sides(mask)
    if not sides:
        return []
    return [f"The mask touches the edge of the image ({', '.join(sides)}); the field there is uncertain."]


def residual_background(local: LocalField) -> float:
    """Share of a local field's power that harmonic polynomials of first and second order explain, 0 to 1.

    Outside sources leave such fields; inside sources hardly do.

    Parameters
    ----------
    local : LocalField
        In ppm.
    """
    return harmonic_share(local.values, local.mask, local.grid, 2)
