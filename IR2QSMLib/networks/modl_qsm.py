"""MoDL-QSM: unrolled descent on χ₃₃ and on the part of the field that χ₃₃ does not explain.

Feng et al., "MoDL-QSM: model-based deep learning for quantitative susceptibility mapping", NeuroImage 2021,
doi 10.1016/j.neuroimage.2021.118376.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from IR2QSMLib.networks.blocks import (
    ApplyToVolume,
    DipoleOperator,
    Estimate,
    ResidualNetwork,
    apply_at_once,
    require_valid_size,
)


@dataclass(frozen=True)
class ModlQsmConfig:
    """Size of a MoDL-QSM: the published one is the default; raises ParameterInvalid for values it cannot have."""

    width: float = 1.0
    """Factor on the 32 channels."""
    n_passes: int = 3
    """Steps, K."""
    n_inputs: int = 1
    """1 for the field, and descent from zero; 2 for the field and a first map, from which the descent begins."""
    dropout: float = 0.5
    """Probability that a feature is left out in the residual blocks, in training only."""
    mean: float = 0.0
    unit: float = 0.03
    """Mean and standard deviation of χ [ppm], by which the network's input and output are scaled."""
    unexplained_mean: float = 0.0
    unexplained_unit: float = 0.01
    """Those of the part of the field that χ does not explain [ppm]."""
    masked: bool = True
    """Whether the field counts inside the mask only; the published network takes the zeros outside for data."""

    def __post_init__(self) -> None:
        require_valid_size(self, 32)

    @property
    def peak_values_per_voxel(self) -> float:
        """Numbers that inference holds at its peak, for each voxel of its input, counted from the plan."""
        return 4.0 * round(32 * self.width)

    @property
    def eval_config(self) -> ModlQsmConfig:
        """The same without what is random in training."""
        return replace(self, dropout=0.0)


class ModlQsm(nn.Module):
    """MoDL-QSM: a field (n, 1, x, y, z) [ppm] to χ₃₃ and to the field of χ₁₃ and χ₂₃, (n, 1, x, y, z) [ppm], any size.

    x = (χ₃₃, the field that it does not explain), A x = D x₀ + x₁, Aᴴ r = (D r, r): x ← P(x + t Aᴴ m (f − A x)), K
    times from x = 0, m the mask, P the learned network on (x − mean)/unit, t learned from 4. The second channel is
    `Estimate.unexplained`: in the paper the field of the tensor's off-diagonal terms; in weights trained here, where
    no tensors are simulated, all of the local field that the true χ does not explain. 447,235 parameters at width 1.
    """

    multiple, unrolled = 1, True

    def __init__(self, config: ModlQsmConfig) -> None:
        super().__init__()
        self.config = config
        self.proximal = ResidualNetwork(2, round(32 * config.width), 2, nn.Dropout(config.dropout), bias=True)
        self.step = nn.Parameter(torch.tensor([4.0]))

    def forward(
        self, image: Tensor, dipole: DipoleOperator, mask: Tensor, apply: ApplyToVolume = apply_at_once
    ) -> Estimate:
        """Run K steps.

        Parameters
        ----------
        image : Tensor
            The field [ppm], with a first map after it where `n_inputs` is 2: (n, n_inputs, x, y, z).
        dipole : DipoleOperator
            Of each sample.
        mask : Tensor
            1 where the field is known, else 0: (n, 1, x, y, z).
        apply : callable
            Applies the learned part to a volume.
        """
        c, image = self.config, image.float()  # half under mixed precision
        mean = image.new_tensor([c.mean, c.unexplained_mean]).view(1, 2, 1, 1, 1)
        unit = image.new_tensor([c.unit, c.unexplained_unit]).view(1, 2, 1, 1, 1)
        field = image[:, :1]
        x = torch.cat([image[:, 1:] if c.n_inputs == 2 else torch.zeros_like(field), torch.zeros_like(field)], dim=1)
        weight = mask if c.masked else torch.ones_like(mask)
        for _ in range(c.n_passes):
            with torch.autocast(image.device.type, enabled=False):
                residual = weight * (field - dipole(x[:, :1]) - x[:, 1:])
                x = x + self.step * torch.cat([dipole.adjoint(residual), residual], dim=1)
            x = apply(self.proximal, (x - mean) / unit * mask) * mask * unit + mean
        chi, unexplained = (x * mask).split(1, dim=1)
        return Estimate(chi, [], None, unexplained)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights, normal where the paper's are uniform."""
        self.proximal.initialise(generator)
