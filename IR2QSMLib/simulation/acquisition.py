"""The local field that an acquisition of a simulated head would yield, for training and the simple cases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import blur, fft, frequencies, ifft, wavenumber
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource


@dataclass(frozen=True)
class Discrepancy:
    """The difference between a local field and the one that its susceptibility predicts.

    In measured brains even a multi-orientation map explains only a half to two thirds of the local field's power, and
    the rest has nearly the field's own spectrum, in every direction (docs/experiments/measured-brains.md).
    """

    power_snr: float = float("inf")
    """Mean f² over mean n² inside the mask."""
    structured: float = 0.0
    """Share of the discrepancy's power that is not white."""
    edge: float = 0.0
    """Relative increase of its amplitude from deep inside to the mask's edge."""
    near_sources: float = 0.0
    """Relative increase of its amplitude in sources of 0.2 ppm, such as veins."""
    spectral: float = 0.0
    """Weight, in the structured part, of noise with the field's own radial spectrum."""
    tensor: float = 0.0
    """Weight of off-diagonal susceptibility."""
    local: float = 0.0
    """Weight of frequency shifts in place, without a dipole field, of tissue."""
    smooth: float = 1.0
    """Weight of smooth errors and white matter's shift with its angle to B0."""
    slope: float = 0.0
    """Exponent of |k| by which the spectral part's amplitude differs from the field's spectrum."""
    apparent: float = 0.0
    """Weight of the field of tissues whose susceptibility differs with the head's orientation."""
    displaced: float = 0.0
    """Weight of the change by a smooth displacement, as motion and distortion leave it."""
    fibre_width: float = 0.0
    """Width of the regions in which white matter's fibres run alike [mm]; 0 for one direction everywhere."""


def draw_discrepancy(rng: RandomSource) -> Discrepancy:
    """Random settings: none in a tenth of draws, white in an eighth, else 3 to 65 % of the power, mostly structured."""
    if rng.chance(0.1):
        return Discrepancy()
    if rng.chance(0.14):
        return Discrepancy(rng.loguniform(2.0, 400.0))
    share = rng.loguniform(0.03, 0.3) if rng.chance(0.4) else rng.uniform(0.15, 0.65)
    spectral, tensor, local, smooth, apparent, displaced = (rng.uniform(0.0, 1.0) ** 2 for _ in range(6))
    return Discrepancy(
        power_snr=(1.0 - share) / share,
        structured=rng.uniform(0.4, 0.95),
        edge=rng.uniform(0.0, 4.0),
        near_sources=rng.uniform(0.0, 3.0),
        spectral=spectral,
        tensor=tensor,
        local=local,
        smooth=smooth,
        slope=rng.uniform(-0.6, 0.6),
        apparent=apparent,
        displaced=0.5 * displaced,
        fibre_width=rng.loguniform(3.0, 25.0) if rng.chance(0.7) else 0.0,
    )


def acquire(head: Head, discrepancy: Discrepancy, rng: RandomSource, field: Tensor | None = None) -> LocalField:
    """A head's local field with a discrepancy, zero outside the mask.

    Parameters
    ----------
    head
        Its χ [ppm] and mask.
    discrepancy
        What is added to D∗χ.
    rng
        Draws the discrepancy.
    field
        D∗χ [ppm], if it is at hand already: (x, y, z).
    """
    if field is None:
        field = simulate_field(head.chi, head.grid)
    inside = head.mask
    if discrepancy.power_snr != float("inf"):
        weight = _local_amplitude(head, discrepancy)
        noise = _with_power(weight * rng.normal(*head.grid.shape), inside, 1.0 - discrepancy.structured)
        if discrepancy.structured > 0.0:
            structured = weight * _structured(rng, head, discrepancy, field)
            noise = noise + _with_power(structured, inside, discrepancy.structured)
        power = float(field[inside].square().mean()) / discrepancy.power_snr
        field = field + noise * power**0.5
    return LocalField(torch.where(inside, field, 0.0), inside, head.grid)


def _structured(rng: RandomSource, head: Head, d: Discrepancy, field: Tensor) -> Tensor:
    """Weighted sum of the structured parts: (x, y, z)."""
    parts = (
        (d.spectral, lambda: _spectral_noise(rng, head, field, d.slope)),
        (d.tensor, lambda: _off_diagonal_field(rng, head, d.fibre_width)),
        (d.local, lambda: _tissue_shift(rng, head)),
        (d.smooth, lambda: _smooth_error(rng, head)),
        (d.apparent, lambda: simulate_field(_tissue_shift(rng, head), head.grid)),
        (d.displaced, lambda: _displacement(rng, head, field)),
    )
    return sum(
        (_with_power(draw(), head.mask, weight) for weight, draw in parts if weight > 0.0), torch.zeros_like(head.chi)
    )


def _spectral_noise(rng: RandomSource, head: Head, field: Tensor, slope: float) -> Tensor:
    """Noise whose power at every |k| is the field's, times |k|^(2·slope)."""
    grid = head.grid
    k = wavenumber(grid, field.device)
    step = 1.0 / min(n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True))
    shell = (k / step).round().long()
    power = fft(torch.where(head.mask, field, 0.0)).abs().square()
    n = int(shell.max()) + 1
    total = torch.zeros(n, device=field.device).index_add_(0, shell.flatten(), power.flatten())
    mean = total / torch.bincount(shell.flatten(), minlength=n).clamp_min(1)
    return ifft(fft(rng.normal(*grid.shape)) * mean[shell].sqrt() * k.clamp_min(step) ** slope, grid.shape)


def _off_diagonal_field(rng: RandomSource, head: Head, fibre_width: float) -> Tensor:
    """Field −F⁻¹[(k·b)(k·F v)/|k|²] of the tensor components v between B0's direction b and those perpendicular to it.

    Liu 2010, doi 10.1002/mrm.22482.
    """
    grid, device = head.grid, head.chi.device
    b = torch.tensor(grid.b0_direction, device=device).view(3, 1, 1, 1)
    shift = _tissue_shift(rng, head)
    if fibre_width > 0.0:
        fibres = _random_fibres(rng, grid, fibre_width)
        cosine = (fibres * b).sum(0)
        v = shift * cosine * (fibres - cosine * b)
    else:
        u = torch.linalg.cross(b.flatten(), torch.tensor(rng.direction(), device=device))
        v = shift * (u / u.norm().clamp_min(1e-6)).view(3, 1, 1, 1)
    k = [f.float().to(device) for f in frequencies(grid, device)]
    kb, kv = torch.zeros((), device=device), torch.zeros((), dtype=torch.complex64, device=device)
    for f, along, component in zip(k, b.flatten().tolist(), v, strict=True):
        kb, kv = kb + f * along, kv + f * fft(component)
    square = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).clamp_min(1e-12)
    return ifft(kv * (-kb / square), grid.shape)


def _random_fibres(rng: RandomSource, grid: Grid, width: float) -> Tensor:
    """Unit vectors that vary over a width [mm]: (3, x, y, z)."""
    return torch.nn.functional.normalize(torch.stack([rng.smooth_noise(grid, width) for _ in range(3)]), dim=0)


def _displacement(rng: RandomSource, head: Head, field: Tensor) -> Tensor:
    """Change of a field where it is displaced by a few tenths of a voxel, smoothly over centimetres: (x, y, z)."""
    width = rng.loguniform(8.0, 40.0)
    slopes = torch.gradient(torch.where(head.mask, field, 0.0), spacing=list(head.grid.voxel_size))
    shift = [rng.uniform(-1.0, 1.0) + rng.smooth_noise(head.grid, width) for _ in range(3)]
    return sum((s * g for s, g in zip(shift, slopes, strict=True)), torch.zeros_like(field))


def _tissue_shift(rng: RandomSource, head: Head) -> Tensor:
    """Susceptibility and white matter, each times a field that varies over centimetres [ppm]."""
    by_source, by_white = (
        rng.uniform(0.0, 1.0) + rng.smooth_noise(head.grid, rng.loguniform(6.0, 25.0)) for _ in range(2)
    )
    return head.chi * by_source + rng.uniform(0.0, 0.06) * head.white * by_white


def simulate_magnitude(head: Head, rng: RandomSource) -> Tensor:
    """Magnitude of a gradient echo at 20 ms and 3 T, (1 − 0.2·white matter)·exp(−TE·R2*) with noise of 0.02.

    R2* grows by 120/s for each ppm of |χ|, so that veins and nuclei are dark, as iron makes them.

    Parameters
    ----------
    head
        Its χ [ppm], white matter and mask.
    rng
        Draws the noise.

    Returns
    -------
    Tensor
        About 1 in grey matter, 0 outside the mask: (x, y, z).
    """
    signal = (1.0 - 0.2 * head.white) * torch.exp(-0.02 * 120.0 * head.chi.abs())
    return torch.where(head.mask, (signal + 0.02 * rng.normal(*head.grid.shape)).abs(), 0.0)


def _with_power(x: Tensor, mask: Tensor, power: float) -> Tensor:
    """x, scaled to a mean square in the mask."""
    return x * (power / x[mask].square().mean().clamp_min(1e-20)).sqrt()


def _local_amplitude(head: Head, d: Discrepancy) -> Tensor:
    """Relative amplitude of the discrepancy in every voxel, 1 where it has no reason to be larger: (x, y, z)."""
    weight = torch.ones_like(head.chi)
    if d.edge > 0.0:
        blurred_mask = blur(head.mask.float(), head.grid, 4.0)  # about a half at the edge, one deep inside
        weight = weight + d.edge * (2.0 - 2.0 * blurred_mask).clamp(0.0, 1.0)
    if d.near_sources > 0.0:
        source = (blur(head.chi.abs(), head.grid, 1.0) / 0.2).clamp(0.0, 2.0)
        weight = weight + d.near_sources * source
    return weight


def _smooth_error(rng: RandomSource, head: Head) -> Tensor:
    """Smooth error over millimetres to centimetres, and white matter's frequency shift with its angle to B0."""
    error = sum(
        (rng.uniform(0.2, 1.0) * rng.smooth_noise(head.grid, rng.loguniform(1.2, 16.0)) for _ in range(3)),
        torch.zeros_like(head.chi),
    )
    fibres = _random_fibres(rng, head.grid, rng.uniform(5.0, 12.0))
    b = torch.tensor(head.grid.b0_direction, device=head.chi.device).view(3, 1, 1, 1)
    sine2 = 1.0 - (fibres * b).sum(0).square()
    return error + rng.uniform(0.0, 4.0) * head.white * (sine2 - 2.0 / 3.0)
