"""Heads that no run trains on, and how a network scores on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.evaluation.metrics import nrmse, xsim
from IR2QSMLib.inversion.learned.consistency import DataTerm
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


def validation_cases(device: torch.device) -> list[tuple[Head, Discrepancy, RandomSource]]:
    """Held-out brains and shapes, from seeds that are never trained on, and what no training head is.

    The last two: a geometric phantom, and an oblique brain in thick slices whose discrepancy is mostly noise near
    the edge and in veins.
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
    grid = Grid((144, 168, 56), (1.0, 1.0, 2.5), b0_given=(0.0, math.sin(tilt), math.cos(tilt)))
    cases.append((draw_brain(rng, grid, lesions=False), Discrepancy(6.0, 0.4, 2.0, 1.0), rng))
    return cases


class ValidationCase(NamedTuple):
    """A head that is not trained on, as a network reads it."""

    head: Head
    frame: WorkingGrid
    mask: Tensor
    """That of the frame, bool: (x, y, z)."""
    image: Tensor
    """(n_channels, x, y, z)."""


@torch.inference_mode()
def validation_images(reads: NetworkInput, device: torch.device) -> list[ValidationCase]:
    """The validation cases, drawn, scanned and read."""
    heads = []
    for head, discrepancy, rng in validation_cases(device):
        field = acquire(head, discrepancy, rng)
        frame = WorkingGrid.around(field)
        prepared = frame.prepare(field)
        heads.append(ValidationCase(head, frame, prepared.mask, reads(DataTerm.of(prepared))))
    return heads


@torch.inference_mode()
def validate(network: Network, heads: Sequence[ValidationCase], device: torch.device) -> dict[str, Any]:
    """Mean XSIM and demeaned NRMSE [%] over the validation cases, without data consistency."""
    network.eval()
    scores = []
    for head, frame, mask, image in heads:
        physics = (DipoleStack([[frame.grid]], device=device), mask) if network.unrolled else ()
        found = infer(network, image, None, half_precision(str(device)), silent, *physics).chi
        chi = torch.where(head.mask, frame.restore(found), 0.0)
        scores.append((xsim(chi, head.chi, head.mask), nrmse(chi, head.chi, head.mask)))
    return {
        "xsim": sum(s[0] for s in scores) / len(scores),
        "nrmse": sum(s[1] for s in scores) / len(scores),
        "xsims": [round(float(s[0]), 4) for s in scores],
    }
