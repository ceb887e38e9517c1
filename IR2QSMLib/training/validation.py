"""Heads that no run trains on, and how a network scores on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.evaluation.metrics import nrmse, xsim
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.tiles import infer
from IR2QSMLib.networks.registry import Network
from IR2QSMLib.physics.dipole import DipoleStack
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.phantom import draw_phantom
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes


def validation_heads(device: torch.device) -> list[tuple[Head, Discrepancy, RandomSource]]:
    """Held-out brains and shapes, their discrepancies, and the random sources that draw the noise.

    The last two are a geometric phantom, and an oblique brain in thick slices whose discrepancy is mostly noise near
    the edge and in veins; training has no such heads.
    """
    cases = []
    for seed, snr in enumerate((40.0, 40.0, 10.0, float("inf"))):
        rng = RandomSource(900 + seed, device)
        grid = Grid((96, 112, 96), (1.5, 1.5, 1.5))
        head = draw_shapes(rng, grid) if seed == 1 else draw_brain(rng, grid, lesions=False)
        cases.append((head, Discrepancy(snr), rng))
    rng = RandomSource(904, device)
    cases.append((draw_phantom(rng, grid), Discrepancy(40.0), rng))
    rng, tilt = RandomSource(905, device), math.radians(25.0)
    grid = Grid((144, 168, 56), (1.0, 1.0, 2.5), user_b0_direction=(0.0, math.sin(tilt), math.cos(tilt)))
    cases.append((draw_brain(rng, grid, lesions=False), Discrepancy(6.0, 0.4, 2.0, 1.0), rng))
    return cases


@dataclass(frozen=True)
class ValidationCase:
    """A held-out head and what a network reads of its field."""

    head: Head
    working_grid: WorkingGrid
    mask: Tensor
    """The field's mask on the working grid, bool: (x, y, z)."""
    inputs: Tensor
    """What the network reads [ppm], on the working grid: (n_channels, x, y, z)."""


@torch.inference_mode()
def draw_validation_cases(network_input: NetworkInput, device: torch.device) -> list[ValidationCase]:
    """The held-out heads, their fields and what a network reads of these."""
    cases = []
    for head, discrepancy, rng in validation_heads(device):
        field = acquire(head, discrepancy, rng)
        working_grid = WorkingGrid.around(field)
        field = working_grid.to_working_grid(field)
        cases.append(ValidationCase(head, working_grid, field.mask, network_input(DataTerm.of(field))))
    return cases


@torch.inference_mode()
def validate(network: Network, cases: Sequence[ValidationCase], device: torch.device) -> dict[str, Any]:
    """Mean XSIM and demeaned NRMSE [%] over the validation cases, without data consistency.

    Parameters
    ----------
    network : Network
        On `device`; is brought into evaluation mode.
    cases : sequence of ValidationCase
        From `draw_validation_cases`.
    device : torch.device
        Where the network and the cases are.

    Returns
    -------
    dict
        `xsim`, `nrmse`, and `xsims`, those of each case.
    """
    network.eval()
    xsims, nrmses = [], []
    for case in cases:
        physics = (DipoleStack([[case.working_grid.grid]], device=device), case.mask) if network.unrolled else ()
        maps = infer(network, case.inputs, None, half_precision(str(device)), silent, *physics)
        chi = torch.where(case.head.mask, case.working_grid.to_original_grid(maps.chi), 0.0)
        xsims.append(xsim(chi, case.head.chi, case.head.mask))
        nrmses.append(nrmse(chi, case.head.chi, case.head.mask))
    return {
        "xsim": sum(xsims) / len(xsims),
        "nrmse": sum(nrmses) / len(nrmses),
        "xsims": [round(float(x), 4) for x in xsims],
    }
