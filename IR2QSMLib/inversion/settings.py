"""Every number of the learned method and of the field's spectrum, with where it comes from; there are no others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Fitted on the seeds `FIT`, never on a measured brain: docs/experiments/2026-11-30-spectrum.md."""

    cone_threshold: float = 0.05
    """|D| below which the field is taken for discrepancy alone: there χ has at most 1/400 of its power in the field."""
    outside_threshold: float = 0.2
    """|D| above which the power of χ is estimated from the field."""
    cone_power_factor: float = 0.6
    """Factor on the residual's power in the cone, which makes it that of the discrepancy. Chosen for the maps and not
    for the power: the true mean over all angles is about that in the cone, so that N and the share come out at 0.6 of
    the truth, of white noise as well."""
    min_regularisation: float = 0.003
    """Smallest λ: what the mask's edge leaves of a field that has no discrepancy."""
    initial_regularisation: float = 0.05
    """λ of the map that the first round of the estimate subtracts."""
    n_shells: int = 15
    """Shells of |k|, evenly spaced in its logarithm."""
    min_cone_coefficients: int = 24
    """Fewest coefficients of the cone in a shell; its power is then known to a fifth."""
    n_rounds: int = 3
    """Rounds of the estimate."""
    regularisation_factor: float = 4.0
    """Factor on λ(k) in the step on the field that follows a network: a network knows more than a power spectrum."""
    max_steps: int = 4
    """Most steps on the field."""
    remaining_cone_power: float = 0.7
    """Residual power in the cone after a step over that before it; above this it is discrepancy and no step follows."""
    whole_brain_voxel_size: float = 2.0
    """Voxels of the whole-brain network [mm]: the errors that count have wavelengths of 5 mm and more."""
    near_sigma: float = 1.5
    """σ [mm] of the blur that describes a voxel's surroundings, for its uncertainty: a network's reach."""
    far_sigma: float = 8.0
    """The same for what veins and nuclei stand out from, and for strong sources whose streaks reach as far."""
    log_epsilon: float = 1e-3
    """Added to sizes [ppm] before a logarithm; smaller sizes do not matter."""


SETTINGS = Settings()
