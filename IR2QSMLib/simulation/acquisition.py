"""From a simulated head to the local field that an acquisition of it would yield."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation.dice import Dice
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.volumes import LocalField


@dataclass(frozen=True)
class Discrepancy:
    """How far a local field is from the one its susceptibility predicts.

    In measured brains even a multi-orientation map explains only about two thirds of the local field's
    variance, and part of the rest is structured: residual background, white-matter microstructure, motion.
    """

    power_snr: float = float("inf")
    """Mean f² over mean n² inside the mask."""
    structured: float = 0.0
    """Share of the discrepancy's power that is smooth over millimetres to centimetres."""
    edge: float = 0.0
    """How much stronger it is at the mask's edge than deep inside."""
    near_sources: float = 0.0
    """How much stronger it is in strong sources such as veins."""


def draw_discrepancy(dice: Dice) -> Discrepancy:
    """From noise-free down to a power SNR of 1.5, white alone or up to two thirds structured."""
    if dice.chance(0.2):
        return Discrepancy()
    if dice.chance(0.45):
        return Discrepancy(dice.loguniform(2.0, 400.0))
    return Discrepancy(
        dice.loguniform(1.5, 150.0), dice.uniform(0.1, 0.67), dice.uniform(0.0, 4.0), dice.uniform(0.0, 3.0)
    )


def acquire(head: Head, discrepancy: Discrepancy, dice: Dice) -> LocalField:
    """The head's local field [ppm] with the given discrepancy, zero outside the mask."""
    field = simulate_field(head.chi, head.grid)
    inside = head.mask
    if discrepancy.power_snr != float("inf"):
        weight = _weight(head, discrepancy)
        noise = _scaled(weight * dice.normal(*head.grid.shape), inside, 1.0 - discrepancy.structured)
        if discrepancy.structured > 0.0:
            noise = noise + _scaled(weight * _structure(dice, head), inside, discrepancy.structured)
        power = float(field[inside].square().mean()) / discrepancy.power_snr
        field = field + noise * power**0.5
    return LocalField(torch.where(inside, field, 0.0), inside, head.grid)


def magnitude(head: Head, dice: Dice) -> Tensor:
    """Magnitude of a gradient echo at 20 ms and 3 T: (x, y, z), about 1 in grey matter, noise 0.02, 0 outside the mask.

    White matter has 0.8 of grey matter's signal, and R2* grows by 120/s for each ppm of |χ|, so that veins
    and nuclei are dark, as iron makes them.
    """
    signal = (1.0 - 0.2 * head.white) * torch.exp(-0.02 * 120.0 * head.chi.abs())
    return torch.where(head.mask, (signal + 0.02 * dice.normal(*head.grid.shape)).abs(), 0.0)


def _scaled(x: Tensor, mask: Tensor, power: float) -> Tensor:
    return x * (power / x[mask].square().mean().clamp_min(1e-20)).sqrt()


def _weight(head: Head, d: Discrepancy) -> Tensor:
    weight = torch.ones_like(head.chi)
    if d.edge > 0.0:
        depth = blur(head.mask.float(), head.grid, 4.0)          # about a half at the edge, one deep inside
        weight = weight + d.edge * (2.0 - 2.0 * depth).clamp(0.0, 1.0)
    if d.near_sources > 0.0:
        strength = (blur(head.chi.abs(), head.grid, 1.0) / 0.2).clamp(0.0, 2.0)
        weight = weight + d.near_sources * strength
    return weight


def _structure(dice: Dice, head: Head) -> Tensor:
    """Smooth error over millimetres to centimetres, and white matter's frequency shift with its angle to B0."""
    error = sum(
        (dice.uniform(0.2, 1.0) * dice.smooth(head.grid, dice.loguniform(1.2, 16.0)) for _ in range(3)),
        torch.zeros_like(head.chi),
    )
    fibre = torch.nn.functional.normalize(
        torch.stack([dice.smooth(head.grid, dice.uniform(5.0, 12.0)) for _ in range(3)]), dim=0
    )
    b = torch.tensor(head.grid.b0_direction, device=head.chi.device).view(3, 1, 1, 1)
    sine2 = 1.0 - (fibre * b).sum(0).square()
    return error + dice.uniform(0.0, 4.0) * head.white * (sine2 - 2.0 / 3.0)
