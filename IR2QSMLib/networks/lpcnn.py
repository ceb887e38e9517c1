"""LPCNN: unrolled proximal gradient descent whose proximal operator is one learned network.

Lai et al., "Learned proximal networks for quantitative susceptibility mapping", MICCAI 2020,
doi 10.1007/978-3-030-59713-9_13, arXiv 2008.05024.
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
class LpcnnConfig:
    """Size of an LPCNN: the published one is the default; raises ParameterInvalid for values it cannot have."""

    width: float = 1.0
    """Factor on the 32 channels."""
    n_passes: int = 3
    """Proximal steps, K."""
    n_inputs: int = 1
    """1 for the field, and descent from zero; 2 for the field and a first map, from which the descent begins."""
    dropout: float = 0.5
    """Probability that a feature map is left out in the residual blocks, in training only."""
    mean: float = 0.0
    unit: float = 0.03
    """Mean and standard deviation of χ [ppm], by which the proximal network's input and output are scaled."""
    masked: bool = True
    """Whether the field counts inside the mask only; the published network takes the zeros outside for data."""

    def __post_init__(self) -> None:
        require_valid_size(self, 32)

    @property
    def peak_values_per_voxel(self) -> float:
        """Numbers that inference holds at its peak, for each voxel of its input, counted from the plan."""
        return 4.0 * round(32 * self.width)

    @property
    def eval_config(self) -> LpcnnConfig:
        """The same without what is random in training."""
        return replace(self, dropout=0.0)


class Lpcnn(nn.Module):
    """LPCNN: fields (n, o, x, y, z) [ppm] of o orientations to susceptibility (n, 1, x, y, z) [ppm], any size.

    x ← P(x + α Dᵀ m (f − D x)), K times from x = 0, m the mask, P the learned network on (x − mean)/unit, α learned
    from 4. Of several orientations of one brain, the steps are averaged, where the paper sums them: α then means the
    same for any number, and the descent remains stable. 446,337 parameters at width 1, none of them a bias.
    """

    multiple, unrolled = 1, True

    def __init__(self, config: LpcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.proximal = ResidualNetwork(1, round(32 * config.width), 1, nn.Dropout3d(config.dropout), bias=False)
        self.step = nn.Parameter(torch.tensor([4.0]))

    def forward(
        self, image: Tensor, dipole: DipoleOperator, mask: Tensor, apply: ApplyToVolume = apply_at_once
    ) -> Estimate:
        """Run K steps.

        Parameters
        ----------
        image : Tensor
            Fields [ppm], with a first map after them where `n_inputs` is 2: (n, o or o + 1, x, y, z).
        dipole : DipoleOperator
            Of each sample and orientation.
        mask : Tensor
            1 where the field is known, else 0: (n, 1, x, y, z).
        apply : callable
            Applies the learned part to a volume.
        """
        c, image = self.config, image.float()  # half under mixed precision
        fields, x = (image, torch.zeros_like(image[:, :1])) if c.n_inputs == 1 else (image[:, :-1], image[:, -1:])
        weight = mask if c.masked else torch.ones_like(mask)
        for _ in range(c.n_passes):
            with torch.autocast(image.device.type, enabled=False):
                gradient = dipole.adjoint(weight * (fields - dipole(x)))
                x = x + self.step * gradient.mean(1, keepdim=True)
            x = (apply(self.proximal, (x - c.mean) / c.unit * mask) * c.unit + c.mean) * mask
        return Estimate(x, [], None)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw He's initial weights for the proximal network; the paper leaves them to its framework."""
        self.proximal.initialise(generator)
