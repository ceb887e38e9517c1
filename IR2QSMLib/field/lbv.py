"""Background removal by solving Laplace's equation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.core.errors import MaskInvalid, ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import STAGE, FieldBox
from IR2QSMLib.physics.solvers import conjugate_gradient


@dataclass(frozen=True)
class LaplacianBoundaryValue:
    """LBV: the background is harmonic inside and equals the total field f at the mask's edge.

    The local field u solves ∇²u = ∇²f inside and is zero in the outermost voxels, which the mask loses. ∇² is the
    7-point stencil in mm, solved by conjugate gradients.

    Raises
    ------
    ParameterInvalid
        Unless tolerance > 0, n_iterations ≥ 1 and peel ≥ 0.

    References
    ----------
    Zhou et al. 2014, NMR Biomed, doi 10.1002/nbm.3064.
    """

    tolerance: float = 1e-3
    """Relative residual at which the solver ends."""
    n_iterations: int = 1000
    """At most."""
    peel: int = 0
    """Layers of voxels, whose phase is often poor, that are taken off the mask before."""

    def __post_init__(self) -> None:
        if not (0.0 < self.tolerance < math.inf and self.n_iterations >= 1 and self.peel >= 0):
            raise ParameterInvalid(
                f"LBV has tolerance {self.tolerance:g}, {self.n_iterations} iterations and {self.peel} layers to peel; "
                "expected a positive tolerance, at least one iteration and no negative number of layers."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """Remove the background of a total field [ppm].

        Parameters
        ----------
        field : TotalField
            In ppm.
        progress : callable
            Called with the fraction done and the stage.

        Returns
        -------
        LocalField
            [ppm], in the mask without its outermost voxels.

        Raises
        ------
        MaskInvalid
            When the mask is empty or has no inside.
        """
        box = FieldBox.around_mask(field, [1] * 3)
        mask = box.mask
        for _ in range(self.peel):
            mask = _without_edge(mask)
        inside = _without_edge(mask)
        if not bool(inside.any()):
            raise MaskInvalid(
                "The mask has no inside but only an edge; give a larger one or peel fewer layers.", option="mask"
            )
        values = torch.where(mask, box.values - box.values[mask].mean(), 0.0)

        def minus_laplacian(x: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for axis, v in enumerate(field.grid.voxel_size):
                total += (2.0 * x - x.roll(1, axis) - x.roll(-1, axis)) / v**2
            return torch.where(inside, total, 0.0)

        local = conjugate_gradient(
            minus_laplacian,
            minus_laplacian(values),
            tolerance=self.tolerance,
            max_iterations=self.n_iterations,
            progress=lambda fraction, _: progress(fraction, STAGE),
        )
        return box.local_field(local.x, inside)


def _without_edge(mask: Tensor) -> Tensor:
    """The voxels of a mask (x, y, z) whose six neighbours are in it, too."""
    return torch.from_numpy(ndimage.binary_erosion(mask.cpu().numpy())).to(mask.device)
