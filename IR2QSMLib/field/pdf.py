"""Background removal by dipoles outside the mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import STAGE, FieldBox
from IR2QSMLib.physics.dipole import dipole_kernel, sampled_dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.solvers import conjugate_gradient


@dataclass(frozen=True)
class ProjectionOntoDipoles:
    """PDF: minimise ‖W(f − D∗χ)‖ over χ outside the mask, W = mask/noise; the local field is f − D∗χ.

    Conjugate gradients on the normal equations end when their residual outside the mask is tolerance·‖D∗W‖. D is the
    k-space kernel where B0 lies along a voxel axis, elsewhere the kernel sampled in image space. The mask stays as it
    is.

    Raises
    ------
    ParameterInvalid
        Unless tolerance > 0, n_iterations ≥ 1 and padding ≥ 0.

    References
    ----------
    Liu et al. 2011, NMR Biomed, doi 10.1002/nbm.1670. The defaults are those of the MEDI toolbox.
    """

    tolerance: float = 0.1
    """Norm of the residual, over that at the start, at which the iteration ends."""
    n_iterations: int = 30
    """Most iterations."""
    padding: int = 40
    """Voxels by which the periodic grid is larger than the mask's box, along each axis."""

    def __post_init__(self) -> None:
        if not (0.0 < self.tolerance < math.inf and self.n_iterations >= 1 and self.padding >= 0):
            raise ParameterInvalid(
                f"PDF has tolerance {self.tolerance:g}, {self.n_iterations} iterations and padding {self.padding}; "
                "expected a positive tolerance, at least one iteration and no negative padding."
            )

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """Remove the background of a total field [ppm].

        Parameters
        ----------
        field : TotalField
            In ppm, with its noise.
        progress : callable
            Called with the fraction done and the stage.

        Returns
        -------
        LocalField
            [ppm], in the field's mask.

        Raises
        ------
        FieldInvalid
            Without a noise map.
        MaskInvalid
            When the mask is empty.
        """
        if field.noise is None:
            raise FieldInvalid(
                "PDF weighs every voxel by its noise; give the total field with its noise map.", option="noise"
            )
        box = FieldBox.around_mask(field, [self.padding] * 3)
        mask, noise = box.mask, box.crop(torch.where(field.mask, field.noise, 0.0))
        weight = torch.where(mask & (noise > 0.0), 1.0 / torch.where(noise > 0.0, noise, 1.0), 0.0)
        along_axis = sum(abs(b) for b in box.grid.b0_direction) < 1.01  # the 1-norm of a unit vector is 1 on the axes
        kernel = (dipole_kernel if along_axis else sampled_dipole_kernel)(box.grid, box.values.device)

        def dipole_field(chi: Tensor) -> Tensor:
            return ifft(kernel * fft(chi), box.grid.shape)

        def normal(chi: Tensor) -> Tensor:
            return torch.where(mask, 0.0, dipole_field(weight.square() * dipole_field(chi)))

        rhs = torch.where(mask, 0.0, dipole_field(weight.square() * box.values))
        noise_level = torch.where(mask, 0.0, dipole_field(weight)).norm() / rhs.norm().clamp_min(1e-30)
        outside = conjugate_gradient(
            normal,
            rhs,
            tolerance=self.tolerance * float(noise_level),
            max_iterations=self.n_iterations,
            progress=lambda fraction, _: progress(fraction, STAGE),
        )
        return box.local_field(box.values - dipole_field(outside.x), mask)
