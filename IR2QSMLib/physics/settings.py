"""Every number of the learned method and of the scan's spectrum, with where it comes from; there are no others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Fitted on the seeds `FIT`, never on a measured brain: docs/experiments/2026-11-30-spectrum.md."""

    cone: float = 0.05
    """|D| below which the field is taken for discrepancy alone: there χ has at most 1/400 of its power in the field."""
    outside: float = 0.2
    """|D| above which the field tells the power of χ."""
    cone_to_mean: float = 0.6
    """Mean power of the discrepancy over all angles, over that in the cone."""
    least: float = 0.003
    """λ at the least: what the mask's edge leaves of a field that has no discrepancy."""
    first: float = 0.05
    """λ of the map that the first round of the estimate subtracts."""
    shells: int = 15
    """Shells of |k|, evenly spaced in its logarithm."""
    fewest: int = 24
    """Coefficients of the cone that a shell has at the least; its power is then known to a fifth."""
    rounds: int = 3
    """Rounds of the estimate."""
    step: float = 4.0
    """Factor on λ in the step on the field that follows a network: a network knows more than a power spectrum."""
    most_steps: int = 4
    """Steps at the most."""
    unexplained: float = 0.7
    """Share of the residual's power in the cone that a step leaves where it is discrepancy, and no step follows."""
    coarse: float = 2.0
    """Voxels of the whole-brain network [mm]: the errors that count have wavelengths of 5 mm and more."""
    near: float = 1.5
    """σ [mm] of the blur that a voxel's surroundings are judged by, for its uncertainty: a network's reach."""
    far: float = 8.0
    """The same for what veins and nuclei stand out from, and for strong sources whose streaks reach as far."""
    small: float = 1e-3
    """Added to sizes [ppm] before a logarithm: below, size tells nothing."""


SETTINGS = Settings()
