"""What a training run minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.networks.blocks import Estimate

LOSSES = ("squared", "absolute", "relative")
CORNER = 0.01
"""Error [ppm] from which on the relative loss goes by its size and no longer by its square."""


def loss_of(
    estimate: Estimate, truth: Tensor, mask: Tensor, loss: str, unexplained: Tensor | None = None, *, first: Tensor
) -> Tensor:
    """The published loss, per voxel of the mask in units of 0.01 ppm, and the likelihood of the error.

    Σ e² of the result plus Σ_t 0.5^(T−1−t) Σ e_t² of the iterates (Li 2025), or absolute errors; or relative to those
    of the `first` map, squares of small errors and sizes of large ones of the result alone. A network with an
    uncertainty head adds 0.1 × (½ e²/σ² + log σ) with the error held fixed; one that tells what χ leaves of the field
    adds that error, against `unexplained`, like that of χ.
    """
    n = mask.sum().clamp_min(1.0)
    if loss == "relative":
        aim = (truth * mask) / CORNER
        size_of = torch.nn.functional.smooth_l1_loss(estimate.chi.float() * mask / CORNER, aim, reduction="sum")
        of_first = torch.nn.functional.smooth_l1_loss(first * mask / CORNER, aim, reduction="sum")
        return size_of / (of_first + 1e-4 * n)

    def size(x: Tensor, aim: Tensor = truth) -> Tensor:
        e = 100.0 * (x.float() - aim) * mask
        return (e.square() if loss == "squared" else e.abs()).sum() / n

    total = size(estimate.chi)
    for back, iterate in enumerate(reversed(estimate.iterates)):
        total = total + 0.5**back * size(iterate)
    if estimate.unexplained is not None and unexplained is not None:
        total = total + size(estimate.unexplained, unexplained)
    if estimate.log_sigma is not None:
        log_sigma = estimate.log_sigma.float().clamp(-9.0, 1.0)
        error = (estimate.chi.detach().float() - truth).abs()
        likelihood = 0.5 * (error * torch.exp(-log_sigma)).square() + log_sigma
        total = total + 0.1 * (likelihood * mask).sum() / n
    return total
