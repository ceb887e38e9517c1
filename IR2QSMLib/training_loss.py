"""What a training run minimises."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from IR2QSMLib.metrics import XSIM_CONSTANTS
from IR2QSMLib.networks.blocks import Estimate

LOSSES = ("squared", "absolute", "relative", "structural")


def loss_of(
    estimate: Estimate, given: Tensor, truth: Tensor, mask: Tensor, loss: str, unexplained: Tensor | None = None
) -> Tensor:
    """The published loss, per voxel of the mask in units of 0.01 ppm, and the likelihood of the error.

    Σ e² of the result plus Σ_t 0.5^(T−1−t) Σ e_t² of the iterates (Li 2025), or absolute errors, or these relative to
    the error of the image that was `given` to be corrected, patch by patch, so that a noisy patch does not outweigh a
    clean one; "structural" adds 1 − XSIM of the result to that. A network with an uncertainty head adds
    0.1 × (½ e²/σ² + log σ) with the error held fixed; one that tells what χ leaves of the field adds that error,
    against `unexplained`, like that of χ.
    """
    n = mask.sum().clamp_min(1.0)
    weight = torch.ones((), device=truth.device)
    if loss in ("relative", "structural"):
        before = (100.0 * (given - truth) * mask).abs().sum((1, 2, 3, 4), keepdim=True)
        weight = 1.0 / (before / mask.sum((1, 2, 3, 4), keepdim=True).clamp_min(1.0)).clamp_min(0.2)

    def size(x: Tensor, aim: Tensor = truth) -> Tensor:
        e = 100.0 * (x.float() - aim) * mask
        return (weight * (e.square() if loss == "squared" else e.abs())).sum() / n

    total = size(estimate.chi)
    for back, iterate in enumerate(reversed(estimate.iterates)):
        total = total + 0.5**back * size(iterate)
    if estimate.unexplained is not None and unexplained is not None:
        total = total + size(estimate.unexplained, unexplained)
    if loss == "structural":
        total = total + 1.0 - similarity(estimate.chi.float(), truth, mask)
    if estimate.log_sigma is not None:
        log_sigma = estimate.log_sigma.float().clamp(-9.0, 1.0)
        error = (estimate.chi.detach().float() - truth).abs()
        likelihood = 0.5 * (error * torch.exp(-log_sigma)).square() + log_sigma
        total = total + 0.1 * (likelihood * mask).sum() / n
    return total


def similarity(chi: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """XSIM in its uniform window, as `metrics.xsim` but with gradients: (n, 1, x, y, z) [ppm] to a number.

    Only windows that lie in the patch count, each as much as the others, centred in the mask.
    """
    x, y = chi * mask, truth * mask
    mx, my, xx, yy, xy = (nn.functional.avg_pool3d(v, 5, 1) for v in (x, y, x * x, y * y, x * y))
    c1, c2 = XSIM_CONSTANTS
    # E[x²] − E[x]² may round to just below nothing.
    vx, vy = (xx - mx * mx).clamp_min(0.0), (yy - my * my).clamp_min(0.0)
    value = (2.0 * mx * my + c1) * (2.0 * (xy - mx * my) + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    centres = mask[..., 2:-2, 2:-2, 2:-2]
    return (value * centres).sum() / centres.sum().clamp_min(1.0)
