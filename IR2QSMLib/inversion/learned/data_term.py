"""Data consistency: how far a local field is trusted at each frequency, and closed-form steps towards it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.stopping_rule import is_discrepancy, power_in_cone
from IR2QSMLib.inversion.regularisation.spectrum import Spectrum, estimate_spectrum
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft


@dataclass(frozen=True)
class DataTerm:
    """A local field f without its constant, and λ, which says how far it is trusted at each frequency."""

    field: LocalField
    """f [ppm], its constant subtracted."""
    spectrum: Spectrum
    """Powers of the discrepancy and of χ in the field."""
    first_map: Tensor
    """m·F⁻¹[D/(D² + λ) F f] [ppm], m the mask: (x, y, z)."""
    kernel: Tensor
    """D: (x, y, z/2 + 1)."""
    regularisation: Tensor
    """λ at every frequency: (x, y, z/2 + 1)."""

    @classmethod
    def of(cls, field: LocalField, progress: Progress = silent) -> DataTerm:
        """Make the data term of a field, its spectrum estimated from it.

        Parameters
        ----------
        field : LocalField
            The local field [ppm], with any constant added to it.
        progress : callable
            Called with the fraction done and the stage.
        """
        device, field = field.values.device, replace(field, values=field.values.float())
        spectrum, first_map = estimate_spectrum(field, progress=progress)
        values = torch.where(field.mask, field.values - spectrum.offset, 0.0)
        kernel, regularisation = dipole_kernel(field.grid, device), spectrum.regularisation_at(field.grid, device)
        return cls(replace(field, values=values), spectrum, first_map, kernel, regularisation)

    def residual(self, chi: Tensor) -> Tensor:
        """r = m·(f − D∗χ) less its mean, as no χ has a constant field.

        Parameters
        ----------
        chi : Tensor
            A map [ppm]: (x, y, z).

        Returns
        -------
        Tensor
            [ppm]: (x, y, z).
        """
        mask = self.field.mask
        difference = self.field.values - ifft(self.kernel * fft(chi), self.field.grid.shape)
        return torch.where(mask, difference - difference[mask].mean(), 0.0)

    def wiener_filter(self, values: Tensor, factor: float = 1.0) -> Tensor:
        """m·F⁻¹[D/(D² + c·λ) F x], the map that Wiener's filter makes of a field.

        Parameters
        ----------
        values : Tensor
            x [ppm]: (x, y, z).
        factor : float
            c.

        Returns
        -------
        Tensor
            [ppm]: (x, y, z).
        """
        inverse = self.kernel / (self.kernel.square() + factor * self.regularisation)
        return torch.where(self.field.mask, ifft(inverse * fft(values), self.field.grid.shape), 0.0)

    def sharper_map(self) -> Tensor:
        """The first map of a smaller λ, the geometric mean of λ and its least value [ppm]: (x, y, z)."""
        regularisation = (self.regularisation * SETTINGS.min_regularisation).sqrt()
        return replace(self, regularisation=regularisation).wiener_filter(self.field.values)

    def step(self, chi: Tensor, factor: float = SETTINGS.regularisation_factor) -> Tensor:
        """One step on the field, χ + F⁻¹[D/(D² + c·λ) F r], r the residual of χ.

        It is the minimum of ‖D∗χ' − f‖² + ‖√(c·λ)∗(χ' − χ)‖² over χ' where the mask is everything.

        Parameters
        ----------
        chi : Tensor
            A map [ppm]: (x, y, z).
        factor : float
            c; a large one keeps the map, a small one fits the field.

        Returns
        -------
        Tensor
            [ppm]: (x, y, z).
        """
        return chi + self.wiener_filter(self.residual(chi), factor)

    def enforce_consistency(self, chi: Tensor, factor: float = SETTINGS.regularisation_factor) -> tuple[Tensor, int]:
        """Take steps on the field until what is left in the cone is discrepancy, which more steps would fit.

        The first step has the factor c, others have 1. `SETTINGS.max_steps` are the most.

        Parameters
        ----------
        chi : Tensor
            A map [ppm]: (x, y, z).
        factor : float
            c of the first step, see `step`.

        Returns
        -------
        tuple of Tensor and int
            The map [ppm], (x, y, z), and the number of steps.
        """
        residual, n_steps = self.residual(chi), 0
        power = power_in_cone(residual, self.kernel)
        while n_steps < SETTINGS.max_steps:
            chi = chi + self.wiener_filter(residual, factor if n_steps == 0 else 1.0)
            residual, n_steps = self.residual(chi), n_steps + 1
            previous_power, power = power, power_in_cone(residual, self.kernel)
            if is_discrepancy(power, previous_power):
                break
        return chi, n_steps
