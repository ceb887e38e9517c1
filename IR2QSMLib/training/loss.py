"""What a training run minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from IR2QSMLib.evaluation.metrics import XSIM_CONSTANTS
from IR2QSMLib.networks.blocks import Estimate

LOSSES = ("squared", "absolute", "relative", "structural")
CORNER = 0.01
"""Error [ppm] from which on the relative loss grows with its size and no longer with its square."""
MIN_FIRST_ERROR = 0.005
"""Least error of the first map [ppm] in the denominator of a relative loss, just below that of the best of 240
training patches, 0.006 ppm (docs/experiments/2026-12-01-gradient-limit.md)."""
GRADIENT_LIMITS = {"squared": 20.0, "absolute": 20.0, "relative": 1.0, "structural": 1.0}
"""Norm to which larger gradients are cut. Squared and absolute errors are in units of 0.01 ppm; the relative loss and
the norms of its gradients are about 1, and with a limit of 20 a run on it diverged
(docs/experiments/2026-12-01-gradient-limit.md)."""


def huber(chi: Tensor, truth: Tensor, mask: Tensor, corner: float) -> Tensor:
    """Mean over the mask of ½(e/c)² for errors e below the corner c, and of |e|/c − ½ for larger ones.

    Parameters
    ----------
    chi, truth : Tensor
        Two maps [ppm] of one shape.
    mask : Tensor
        1 inside, 0 outside: the same shape.
    corner : float
        c [ppm].
    """
    total = torch.nn.functional.smooth_l1_loss(chi * mask / corner, truth * mask / corner, reduction="sum")
    return total / mask.sum().clamp_min(1.0)


def at_least_min_error(first_error: Tensor, corner: float) -> Tensor:
    """A first map's `huber` error as the denominator of a relative loss: at least that of `MIN_FIRST_ERROR` everywhere.

    A first map without error would give its patch an endless weight, though it needs no correction.
    """
    return first_error.clamp_min(0.5 * (MIN_FIRST_ERROR / corner) ** 2)


def dissimilarity(chi: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """1 − XSIM in windows of 5³ voxels that lie in the patch, a mean over those whose centre is in the mask: ().

    Parameters
    ----------
    chi, truth : Tensor
        Two maps [ppm]: (n, 1, x, y, z).
    mask : Tensor
        1 inside, 0 outside: the same shape.

    References
    ----------
    Milovic 2024, doi 10.1002/mrm.30271.
    """
    x, y = chi.float() * mask, truth * mask

    def mean(values: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(values, 5, 1)

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x.square(), mean(y * y) - mean_y.square()
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = XSIM_CONSTANTS
    ratio = (2.0 * mean_x * mean_y + c1) * (2.0 * covariance + c2)
    ratio = ratio / ((mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2))
    centres = mask[..., 2:-2, 2:-2, 2:-2]
    return 1.0 - (ratio * centres).sum() / centres.sum().clamp_min(1.0)


def estimate_loss(
    estimate: Estimate,
    chi: Tensor,
    mask: Tensor,
    loss: str,
    *,
    first_map: Tensor,
    unexplained: Tensor | None = None,
) -> Tensor:
    """The loss of a network's estimate, a mean over the mask.

    'squared' is Σ e² + Σ_t 0.5^(T−1−t) Σ e_t², e the error of the map and e_t those of the iterates, in units of
    0.01 ppm (Li 2025); 'absolute' the same with |e|; 'relative' is the map's `huber` error over that of the first map,
    see `at_least_min_error`. To the first two, a network with an uncertainty head adds 0.1·(½ e²/σ² + log σ), e held
    fixed, and one that estimates the unexplained part of the field adds the error of that, like χ's.

    Parameters
    ----------
    estimate : Estimate
        The network's output.
    chi : Tensor
        The truth [ppm]: (n, 1, x, y, z).
    mask : Tensor
        1 inside, 0 outside: the same shape.
    loss : str
        One of `LOSSES`.
    first_map : Tensor
        The map that the network corrects [ppm]: the same shape.
    unexplained : Tensor, optional
        The field less that of the truth [ppm]: the same shape.

    Returns
    -------
    Tensor
        The loss: ().

    References
    ----------
    Li et al. (2025), IR2QSM, doi 10.1002/mp.17747.
    """
    if loss in ("relative", "structural"):
        first_error = huber(first_map, chi, mask, CORNER)
        error = huber(estimate.chi.float(), chi, mask, CORNER) / at_least_min_error(first_error, CORNER)
        if loss == "relative":
            return error
        return error + dissimilarity(estimate.chi, chi, mask) / dissimilarity(first_map, chi, mask).clamp_min(0.05)
    n = mask.sum().clamp_min(1.0)

    def size(x: Tensor, truth: Tensor) -> Tensor:
        error = 100.0 * (x.float() - truth) * mask
        return (error.square() if loss == "squared" else error.abs()).sum() / n

    total = size(estimate.chi, chi)
    for back, iterate in enumerate(reversed(estimate.iterates)):
        total = total + 0.5**back * size(iterate, chi)
    if estimate.unexplained is not None and unexplained is not None:
        total = total + size(estimate.unexplained, unexplained)
    if estimate.log_sigma is not None:
        log_sigma = estimate.log_sigma.float().clamp(-9.0, 1.0)
        error = (estimate.chi.detach().float() - chi).abs()
        likelihood = 0.5 * (error * torch.exp(-log_sigma)).square() + log_sigma
        total = total + 0.1 * (likelihood * mask).sum() / n
    return total
