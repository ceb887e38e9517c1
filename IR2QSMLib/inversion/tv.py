"""Total variation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.options import AUTO, number_or_auto, option
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.admm import MU_OVER_LAMBDA, ChiUpdate, ClosedFormUpdate, MaskedUpdate, tv_iterations
from IR2QSMLib.inversion.regularisation.automatic import (
    Regularisation,
    centred_field,
    require_regularisation,
    tv_regularisation,
)
from IR2QSMLib.physics.gradient import BLOCK_SIZE, Gradient

OUTSIDES = ("zero", "free", AUTO)


@dataclass(frozen=True)
class TotalVariation:
    """Least squares with an anisotropic total variation, min ½‖D∗χ − f‖² + λ‖∇χ‖₁, ∇ periodic, in ppm/mm.

    By the alternating direction method of multipliers (`inversion.admm`). Its closed form takes the field outside the
    mask for zero, which it is not; left free there, ½‖m (D∗χ − f)‖² takes the place of the first term, at twice the
    cost. With "auto", the field's constant is taken out, too.

    Raises
    ------
    ParameterInvalid
        For a parameter out of range.

    References
    ----------
    Bilgic et al. 2014, Magn Reson Med, doi 10.1002/mrm.25029.
    Milovic et al. 2018, Magn Reson Med, doi 10.1002/mrm.27073.
    """

    regularisation: Regularisation = option(
        2e-4,
        "of the penalty [ppm·mm]",
        parse=number_or_auto,
        metavar="λ|auto",
        limits=(0.0, None),
        old_names=("strength",),
    )
    """λ [ppm·mm], or "auto" to follow what of the field no susceptibility explains."""
    outside: str = option(
        AUTO, "field outside the mask; auto: free with automatic regularisation, else zero", parse=str, choices=OUTSIDES
    )
    """The field outside the mask: "zero" or "free"; "auto" is free with automatic λ."""
    tolerance: float = 1e-3
    """‖Δχ‖/‖χ‖ at which the iterations end."""
    max_iterations: int = 250

    def __post_init__(self) -> None:
        require_regularisation("TV", self.regularisation)
        if self.outside not in OUTSIDES:
            raise ParameterInvalid(
                f"TV's field outside the mask is '{self.outside}'; expected one of {', '.join(OUTSIDES)}.",
                option="outside",
            )
        if not (self.tolerance >= 0.0 and self.max_iterations >= 1):
            raise ParameterInvalid(
                f"TV has tolerance {self.tolerance:g} and {self.max_iterations} iterations; expected a tolerance of "
                "0 or more and at least one iteration."
            )

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a local field [ppm]."""
        progress(0.0, "inversion")
        chi, notes = self._solve(field.map_volumes(Tensor.contiguous, field.grid), progress)
        return Susceptibility(torch.where(field.mask, chi, 0.0), notes=notes)

    def _solve(self, field: LocalField, progress: Progress) -> tuple[Tensor, dict[str, Any]]:
        """χ of the whole grid [ppm], and the notes."""
        free = self.outside == "free" or (self.outside == AUTO and self.regularisation == AUTO)
        notes: dict[str, Any] = {}
        if self.regularisation == AUTO:
            field, spectrum = centred_field(field)
            regularisation = tv_regularisation(field, spectrum, free)
            notes["field_offset_ppm"] = round(spectrum.offset, 6)
        else:
            regularisation = float(self.regularisation)
        mu = MU_OVER_LAMBDA * regularisation
        update: ChiUpdate = ClosedFormUpdate(field, mu)
        n_start_pairs = 0.0
        if free:
            n_start_pairs = update.n_fft_pairs
            update = MaskedUpdate(field, mu, update.chi)
        chi, change, n = update.chi, math.inf, 1
        iterations = tv_iterations(update, Gradient(field.grid, "periodic"))
        while n < self.max_iterations and change > self.tolerance:
            progress(n / self.max_iterations, "inversion")
            previous, chi = chi, next(iterations)
            change, n = _relative_change(previous, chi) if n > 1 else math.inf, n + 1
        return chi, {
            "regularisation": regularisation,
            **notes,
            "outside": "free" if free else "zero",
            "iterations": n,
            "relative_change": change if math.isfinite(change) else None,  # of one iteration there is none
            "fft_pairs": n_start_pairs + update.n_fft_pairs,
        }


def _relative_change(previous: Tensor, current: Tensor) -> float:
    """‖current − previous‖/‖current‖, by pieces that stay in the processor's cache."""
    change, norm = 0.0, 0.0
    for old, new in zip(previous.view(-1).split(BLOCK_SIZE), current.view(-1).split(BLOCK_SIZE), strict=True):
        step = new - old
        change, norm = change + float(step.dot(step)), norm + float(new.dot(new))
    return (change / norm) ** 0.5 if norm > 0.0 else math.nan
