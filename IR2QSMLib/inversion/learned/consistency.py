"""The measured field as the learned methods use it: how far it is trusted at each frequency, and steps on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import dipole_kernel
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.settings import SETTINGS
from IR2QSMLib.physics.spectrum import Spectrum, estimate_spectrum


@dataclass(frozen=True)
class DataTerm:
    """A local field without its constant, and how far it can be trusted at each frequency."""

    field: LocalField
    """[ppm], its constant taken out."""
    spectrum: Spectrum
    first_map: Tensor
    """m·F⁻¹[D/(D² + λ) F f] [ppm], what Wiener's filter makes of the field: (x, y, z)."""
    kernel: Tensor
    """D: (x, y, z/2 + 1)."""
    regularisation: Tensor
    """λ at every frequency: (x, y, z/2 + 1)."""

    @classmethod
    def of(cls, field: LocalField, progress: Progress = silent) -> DataTerm:
        """The data term of a field [ppm], its spectrum estimated from it."""
        device, field = field.values.device, replace(field, values=field.values.float())
        spectrum, first_map = estimate_spectrum(field, progress=progress)
        values = torch.where(field.mask, field.values - spectrum.offset, 0.0)
        kernel, regularisation = dipole_kernel(field.grid, device), spectrum.regularisation_at(field.grid, device)
        return cls(replace(field, values=values), spectrum, first_map, kernel, regularisation)

    def residual(self, chi: Tensor) -> Tensor:
        """m·(f − D∗χ) less its mean, as no χ has a constant field [ppm]: (x, y, z) to the same."""
        mask = self.field.mask
        left = self.field.values - ifft(self.kernel * fft(chi), self.field.grid.shape)
        return torch.where(mask, left - left[mask].mean(), 0.0)

    def wiener(self, field: Tensor, factor: float = 1.0) -> Tensor:
        """m·F⁻¹[D/(D² + factor·λ) F f] [ppm]: (x, y, z) to the same."""
        inverse = self.kernel / (self.kernel.square() + factor * self.regularisation)
        return torch.where(self.field.mask, ifft(inverse * fft(field), self.field.grid.shape), 0.0)

    def step(self, chi: Tensor, factor: float = SETTINGS.step_factor) -> Tensor:
        """χ + F⁻¹[D/(D² + factor·λ) F r], r the residual of χ [ppm]: (x, y, z) to the same."""
        return chi + self.wiener(self.residual(chi), factor)

    def sharper_map(self) -> Tensor:
        """The first map of a λ between its own and the least one, √(λ·least) [ppm]: (x, y, z)."""
        regularisation = (self.regularisation * SETTINGS.min_regularisation).sqrt()
        return replace(self, regularisation=regularisation).wiener(self.field.values)

    def reconciled(self, chi: Tensor, factor: float = SETTINGS.step_factor) -> tuple[Tensor, int]:
        """A map [ppm] reconciled with the field, χ + F⁻¹[D/(D² + factor·λ) F r], r the residual, and the steps taken.

        The step is the minimum of ‖D∗χ' − f‖² + ‖√(factor·λ)∗(χ' − χ)‖² where the mask is everything. What no χ
        explains stays in the cone, what the mask's edge spread over it goes: as long as a step takes away a good part
        of the residual there, it is no discrepancy, and another step, with λ itself, follows; four in all at the most.
        Steps that go on explaining a discrepancy ruin a map.
        """
        left = self.residual(chi)
        in_cone, n_steps = self._power_in_cone(left), 0
        while n_steps < SETTINGS.max_steps:
            chi = chi + self.wiener(left, factor if n_steps == 0 else 1.0)
            left, n_steps = self.residual(chi), n_steps + 1
            before, in_cone = in_cone, self._power_in_cone(left)
            if in_cone > SETTINGS.remaining_cone_power * before:
                break
        return chi, n_steps

    def _power_in_cone(self, values: Tensor) -> float:
        return float(fft(values)[self.kernel.abs() < SETTINGS.cone_threshold].abs().square().sum())
