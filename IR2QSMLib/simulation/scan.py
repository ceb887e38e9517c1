"""A multi-echo scan of a held-out head, and the local field that the library's own pipeline makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField, Phase, TotalField
from IR2QSMLib.field.background import BackgroundRemoval
from IR2QSMLib.field.fieldmap import phase_to_local_field
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.simulation.anisotropy import white_matter_field
from IR2QSMLib.simulation.head import Head, masked_head
from IR2QSMLib.simulation.held_out import FineHead
from IR2QSMLib.simulation.oversampling import block_mean, free_space_field, upsample_spline
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.surroundings import background_field

B0 = 3.0
"""[T]"""
ECHO_TIMES = (0.004, 0.010, 0.016, 0.022)
"""[s]"""
RELAXIVITY = 137.0
"""R2' at 3 T of paramagnetic sources [1/s per ppm]: Shin 2021, doi 10.1016/j.neuroimage.2021.118371."""


@dataclass(frozen=True)
class ScanEffects:
    """What a scan contains besides isotropic susceptibility inside the brain, and how exact its mask is."""

    microstructure: float = 0.003
    """Frequency shift of fibres along B0 over that of fibres across it [ppm]: Wharton 2015, doi 10.1002/mrm.25189."""
    surroundings: bool = False
    """Whether the head lies in air, so that its background has to be removed; else only the mask has sources."""
    motion: float = 0.0
    """Spread of the field's drift with breathing and motion during the scan [ppm], smooth over centimetres."""
    mask_depth: float = 1.0
    """Depth of the mask's edge below the brain's surface [mm]; extraction tools leave the outermost vessels out."""
    mask_irregularity: float = 0.7
    """Spread of that depth along the edge [mm]."""
    mask_errors: float = 1.0
    """Amount of pieces of the edge that are wrong by up to 4 mm: tissue left in, or brain cut off."""


REALISTIC_EFFECTS = ScanEffects(microstructure=0.008, surroundings=True, motion=0.001)
"""Everything at once: the truth then explains about two thirds of the local field, as in measured heads."""


@dataclass(frozen=True)
class NoBackground:
    """The removal for a head without surroundings: the total field is the local one."""

    def __call__(self, field: TotalField, progress: Progress = silent) -> LocalField:
        """The field [ppm] as it is."""
        return LocalField(field.values, field.mask, field.grid)


@dataclass(frozen=True)
class Scan:
    """The noise-free signal of a head on the scanner's grid, and the truth there."""

    signal: Tensor
    """Complex: (echo, x, y, z)."""
    chi: Tensor
    """χ [ppm], mean of its fine voxels: (x, y, z)."""
    mask: Tensor
    """As a user would have it, bool: (x, y, z)."""
    white: Tensor
    """Share of white matter: (x, y, z)."""
    labels: Tensor
    """Nuclei by number, int16: (x, y, z)."""
    lesions: Tensor
    """Lesions by number, int16: (x, y, z)."""
    veins: Tensor
    """Share of veins: (x, y, z)."""
    fibres: Tensor
    """Unit direction of white matter's fibres in voxel axes: (3, x, y, z)."""
    grid: Grid
    removal: BackgroundRemoval
    """The background removal that the head needs."""


def simulate_scan(head: FineHead, grid: Grid, rng: RandomSource, effects: ScanEffects) -> Scan:
    """Scan a head; signals of fine voxels are summed as complex numbers, so that strong sources dephase.

    Parameters
    ----------
    head
        Drawn for `grid`.
    grid
        The scanner's, whose voxels are multiples of the head's.
    rng
        Draws the mask's errors, drift, coil sensitivity and phase offset.
    effects
        What the scan contains.
    """
    x, y, z = (round(v / f) for v, f in zip(grid.voxel_size, head.grid.voxel_size, strict=True))
    fine_block = (x, y, z)
    base_block = (max(1, x // 2), max(1, y // 2), max(1, z // 2))
    mask = _brain_mask(rng, block_mean(head.depth, base_block), grid, effects)
    other_field = white_matter_field(head.white, head.fibres, head.base_grid, effects.microstructure)
    other_field = other_field + effects.motion * rng.smooth_noise(head.base_grid, 12.0)
    chi = head.chi
    if effects.surroundings:
        other_field += background_field(head.mni, head.depth, head.base_grid)
    else:
        inside = _repeated(mask, fine_block)
        chi = torch.where(inside, chi - chi[inside].mean(), 0.0)
    field = free_space_field(chi, head.grid).add_(upsample_spline(other_field))
    decay = head.relaxation + RELAXIVITY * head.chi.abs()
    coil, offset = 0.2 * rng.smooth_noise(head.base_grid, 45.0), 1.5 * rng.smooth_noise(head.base_grid, 45.0)
    echoes = _multi_echo_signal(head.density, decay, field, fine_block, ECHO_TIMES, B0)
    sensitivity = block_mean(torch.polar(coil.exp(), offset), base_block)
    fibres = torch.nn.functional.normalize(torch.stack([block_mean(c, base_block) for c in head.fibres]), dim=0)
    return Scan(
        signal=echoes * sensitivity,
        chi=block_mean(head.chi, fine_block),
        mask=mask,
        white=block_mean(head.white, base_block),
        labels=_majority_label(head.labels, fine_block),
        lesions=_majority_label(head.lesions, fine_block),
        veins=block_mean(head.veins, fine_block),
        fibres=fibres,
        grid=grid,
        removal=VSharp() if effects.surroundings else NoBackground(),
    )


def _multi_echo_signal(
    density: Tensor, decay: Tensor, field: Tensor, block: tuple[int, int, int], echo_times: Sequence[float], b0: float
) -> Tensor:
    """Mean over blocks of voxels of S(TE) = density·exp(−TE·R2* + i·2π·TE·γ·B0·field).

    Parameters
    ----------
    density
        Signal at TE = 0: (x, y, z).
    decay
        R2* [1/s]: (x, y, z).
    field
        [ppm]: (x, y, z).
    block
        Fine voxels in a voxel of the result, along each axis.
    echo_times
        TE, ascending [s].
    b0
        Field strength [T].

    Returns
    -------
    Tensor
        Complex: (echo, x, y, z) / block.
    """
    rad_per_second = 2.0 * math.pi * hz_per_ppm(b0)
    x, y, z = (n // b for n, b in zip(density.shape, block, strict=True))
    echoes = torch.zeros(len(echo_times), x, y, z, dtype=torch.complex64)
    for start in range(0, x, 8):  # in slabs: a fine echo is a gigabyte of complex numbers
        slab = slice(start * block[0], (start + 8) * block[0])
        rate = torch.complex(-decay[slab], rad_per_second * field[slab])
        previous, signal = 0.0, density[slab].to(torch.complex64)
        factors: dict[float, Tensor] = {}
        for i, te in enumerate(echo_times):
            gap = round(te - previous, 6)
            if gap not in factors:  # echoes are mostly evenly spaced
                factors = {gap: torch.exp(rate * gap)}
            signal, previous = signal * factors[gap], te
            echoes[i, start : start + 8] = block_mean(signal, block)
    return echoes


def _repeated(mask: Tensor, block: tuple[int, int, int]) -> Tensor:
    """A mask on a grid of `block` times as many voxels."""
    for axis, n in enumerate(block):
        mask = mask.repeat_interleave(n, axis)
    return mask


def _majority_label(labels: Tensor, block: tuple[int, int, int]) -> Tensor:
    """The label that fills half of a block or more, else 0."""
    out = torch.zeros_like(block_mean(labels.float(), block), dtype=torch.int16)
    for number in labels.unique().tolist():
        if number:
            out[block_mean((labels == number).float(), block) >= 0.5] = number
    return out


def _brain_mask(rng: RandomSource, depth: Tensor, grid: Grid, effects: ScanEffects) -> Tensor:
    """A brain mask as extraction tools make it: its edge a little off, here and there a piece too much or too few."""
    deviation = effects.mask_irregularity * rng.smooth_noise(grid, 4.0)
    noise = rng.smooth_noise(grid, 9.0)
    deviation = deviation + effects.mask_errors * 3.0 * (torch.relu(noise - 1.7) - torch.relu(-1.7 - noise))
    return depth > effects.mask_depth + deviation.clamp(-4.0, 4.0)


def field_at_snr(scan: Scan, power_snr: float, rng: RandomSource) -> tuple[Head, LocalField, float]:
    """Add complex noise to a scan and process it to a local field of a power SNR, mean f² over mean n² in the mask.

    n is the change of the field by the noise, which is scaled until the SNR is met within 5 %, or three times.

    Parameters
    ----------
    scan
        Without noise.
    power_snr
        Positive; infinity for no noise.
    rng
        Draws the noise.

    Returns
    -------
    Head
        The truth in the field's mask.
    LocalField
        [ppm].
    float
        The power SNR that was achieved.

    Raises
    ------
    ParameterInvalid
        When the SNR is not positive.
    """
    if not power_snr > 0.0:
        raise ParameterInvalid(f"The power SNR is {power_snr:g}; expected a positive number, or infinity for no noise.")
    clean = _local_field(scan, scan.signal)
    if math.isinf(power_snr):
        return head_in_mask(scan, clean.mask), clean, math.inf
    noise = torch.complex(rng.normal(*scan.signal.shape), rng.normal(*scan.signal.shape))
    sigma = _expected_sigma(scan, clean, power_snr)
    # The field's noise is nearly linear in the signal's, so two corrections are plenty.
    for _ in range(3):
        noisy = _local_field(scan, scan.signal + sigma * noise)
        both = clean.mask & noisy.mask  # voxels that noise makes unreliable leave the mask
        power = float(clean.values[both].square().mean())
        achieved = power / float((noisy.values - clean.values)[both].square().mean())
        if abs(achieved / power_snr - 1.0) < 0.05:
            break
        sigma *= math.sqrt(achieved / power_snr)
    return head_in_mask(scan, noisy.mask), noisy, achieved


def head_in_mask(scan: Scan, mask: Tensor) -> Head:
    """The true head of a scan inside a mask, bool (x, y, z), with zero mean there."""
    head = masked_head(scan.chi, mask, scan.white, scan.labels, scan.grid)
    return replace(head, veins=scan.veins * mask, lesions=scan.lesions * mask)


def _local_field(scan: Scan, signal: Tensor) -> LocalField:
    phase = Phase(signal.angle(), signal.abs(), ECHO_TIMES, B0, scan.grid, scan.mask)
    return phase_to_local_field(phase, background=scan.removal).local


def _expected_sigma(scan: Scan, clean: LocalField, power_snr: float) -> float:
    """σ of the signal's noise for a power SNR, from the variance 1/Σw(t − t̄)² of a weighted fit of the field."""
    t = torch.tensor(ECHO_TIMES).view(-1, 1, 1, 1)
    weight = scan.signal.abs().square()
    mean = (weight * t).sum(0) / weight.sum(0)
    spread = (weight * (t - mean).square()).sum(0)[clean.mask]
    variance = (1.0 / spread / (2.0 * math.pi * hz_per_ppm(B0)) ** 2).mean()
    return math.sqrt(float(clean.values[clean.mask].square().mean() / variance) / power_snr)
