"""A multi-echo scan of a finely drawn head, and the local field that the library's own pipeline makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField, Phase, TotalField
from IR2QSMLib.field.background import Removal, VSharp
from IR2QSMLib.field.fieldmap import local_field
from IR2QSMLib.physics.fourier import fft, frequencies, ifft
from IR2QSMLib.simulation.oversampling import block_mean, free_space_field, upsample_spline
from IR2QSMLib.simulation.head import Head, masked_head
from IR2QSMLib.simulation.held_out import FineHead
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.surroundings import background

B0 = 3.0
ECHO_TIMES = (0.004, 0.010, 0.016, 0.022)
RELAXIVITY = 137.0
"""R2' at 3 T of paramagnetic sources [1/s per ppm]: Shin 2021, doi 10.1016/j.neuroimage.2021.118371."""
ANISOTROPY = 0.014
"""Difference of χ along and across white matter's fibres [ppm]: Li 2012, doi 10.1016/j.neuroimage.2011.09.072."""


@dataclass(frozen=True)
class ScanEffects:
    """What a scan holds besides isotropic susceptibility inside the brain."""

    microstructure: float = 0.003
    """Frequency shift across fibres against along them [ppm]: Wharton 2015, doi 10.1002/mrm.25189."""
    surroundings: bool = False
    """Whether the head lies in air, so that its background has to be removed; else only the mask holds sources."""
    motion: float = 0.0
    """Spread of the field's drift with breathing and motion during the scan [ppm], smooth over centimetres."""
    depth: float = 1.0
    """Of the mask's edge below the brain's surface [mm]; extraction tools leave the outermost vessels out."""
    raggedness: float = 0.7
    """How far it wanders [mm]."""
    lumps: float = 1.0
    """Pieces of the mask's edge that are wrong by up to 4 mm: tissue left in, or brain cut off."""


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
    """The mask as a user would give it, bool: (x, y, z)."""
    white: Tensor
    labels: Tensor
    lesions: Tensor
    veins: Tensor
    fibres: Tensor
    """Unit direction of white matter's fibres in voxel axes: (3, x, y, z)."""
    grid: Grid
    removal: Removal
    """What takes the background away."""


def scan(head: FineHead, grid: Grid, rng: RandomSource, disturbance: ScanEffects) -> Scan:
    """Scan a head that was drawn for `grid`: signals are summed as complex numbers, so that strong sources dephase."""
    x, y, z = (round(v / f) for v, f in zip(grid.voxel_size, head.grid.voxel_size, strict=True))
    block = (x, y, z)
    to_grid = (max(1, x // 2), max(1, y // 2), max(1, z // 2))  # from the working grid
    mask = _mask(rng, block_mean(head.depth, to_grid), grid, disturbance)
    extra = _white_matter(head, disturbance) + disturbance.motion * rng.smooth(head.work, 12.0)
    chi = head.chi
    if disturbance.surroundings:
        extra += background(head.mni, head.depth, head.work)
    else:
        inside = _repeated(mask, block)
        chi = torch.where(inside, chi - chi[inside].mean(), 0.0)
    field = free_space_field(chi, head.grid).add_(upsample_spline(extra))
    decay = head.relaxation + RELAXIVITY * head.chi.abs()
    coil, offset = 0.2 * rng.smooth(head.work, 45.0), 1.5 * rng.smooth(head.work, 45.0)
    turn = 2.0 * math.pi * hz_per_ppm(B0)
    echoes = torch.zeros(len(ECHO_TIMES), *grid.shape, dtype=torch.complex64)
    for start in range(0, head.grid.shape[0], 8 * x):  # in slabs: a whole fine echo is a gigabyte of complex
        part = slice(start, start + 8 * x)
        rate = torch.complex(-decay[part], turn * field[part])
        previous, signal = 0.0, head.density[part].to(torch.complex64)
        steps: dict[float, Tensor] = {}
        for i, te in enumerate(ECHO_TIMES):
            gap = round(te - previous, 6)
            if gap not in steps:
                steps = {gap: torch.exp(rate * gap)}
            signal, previous = signal * steps[gap], te
            echoes[i, start // x : start // x + 8] = block_mean(signal, block)
    smooth = block_mean(torch.polar(coil.exp(), offset), to_grid)
    fibres = torch.nn.functional.normalize(torch.stack([block_mean(c, to_grid) for c in head.fibres]), dim=0)
    return Scan(
        echoes * smooth,
        block_mean(head.chi, block),
        mask,
        block_mean(head.white, to_grid),
        _majority(head.labels, block),
        _majority(head.lesions, block),
        block_mean(head.veins, block),
        fibres,
        grid,
        VSharp() if disturbance.surroundings else NoBackground(),
    )


def _repeated(mask: Tensor, block: tuple[int, int, int]) -> Tensor:
    for axis, n in enumerate(block):
        mask = mask.repeat_interleave(n, axis)
    return mask


def _majority(labels: Tensor, block: tuple[int, int, int]) -> Tensor:
    """The label that fills half of a block or more, else 0."""
    out = torch.zeros_like(block_mean(labels.float(), block), dtype=torch.int16)
    for number in labels.unique().tolist():
        if number:
            out[block_mean((labels == number).float(), block) >= 0.5] = number
    return out


def _white_matter(head: FineHead, disturbance: ScanEffects) -> Tensor:
    """Field [ppm] on the working grid of anisotropic susceptibility, and of myelin's microstructure.

    δ = (b·v)/3 − (k·b)(k·v)/|k|², v = χ·b, for χ = Δχ·(n nᵀ − 1/3) (Liu 2010, doi 10.1002/mrm.22482), and a shift in
    place with sin² of the fibres' angle to B0.
    """
    b = torch.tensor(head.work.b0_direction, dtype=torch.float32).view(3, 1, 1, 1)
    along = (head.fibres * b).sum(0)
    v = ANISOTROPY * head.white * (head.fibres * along - b / 3.0)
    k = [f.float() for f in frequencies(head.work)]
    k2 = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).clamp_min(1e-12)
    divergence = sum((f * fft(c) for f, c in zip(k, v, strict=True)), torch.zeros((), dtype=torch.complex64))
    kb = sum((f * float(c) for f, c in zip(k, b.flatten(), strict=True)), torch.zeros(()))
    field = (v * b).sum(0) / 3.0 - ifft(divergence * kb / k2, head.work.shape)
    return field - disturbance.microstructure * head.white * (1.0 - along.square() - 2.0 / 3.0)


def _mask(rng: RandomSource, depth: Tensor, grid: Grid, disturbance: ScanEffects) -> Tensor:
    """A brain mask as extraction tools give it: its edge a little off, here and there a piece too much or too few."""
    off = disturbance.raggedness * rng.smooth(grid, 4.0)
    lump = rng.smooth(grid, 9.0)
    off = off + disturbance.lumps * 3.0 * (torch.relu(lump - 1.7) - torch.relu(-1.7 - lump))
    return depth > disturbance.depth + off.clamp(-4.0, 4.0)


def measure(scanned: Scan, power_snr: float, rng: RandomSource) -> tuple[Head, LocalField, float]:
    """Truth, local field [ppm] through the field pipeline, and the power SNR that was achieved.

    Mean f² over mean n² in the mask, n the change that noise makes to f; the complex noise is scaled until it is met.
    Raises ParameterInvalid when the SNR is not positive.
    """
    if not power_snr > 0.0:
        raise ParameterInvalid(f"The power SNR is {power_snr:g}; expected a positive number, or infinity for no noise.")
    clean = _local(scanned, scanned.signal)
    if math.isinf(power_snr):
        return head_in_mask(scanned, clean.mask), clean, math.inf
    noise = torch.complex(rng.normal(*scanned.signal.shape), rng.normal(*scanned.signal.shape))
    sigma = _first_guess(scanned, clean, power_snr)
    # The field's noise is nearly linear in the signal's, so two corrections are plenty.
    for _ in range(3):
        noisy = _local(scanned, scanned.signal + sigma * noise)
        both = clean.mask & noisy.mask  # voxels that noise makes unreliable leave the mask
        power = float(clean.values[both].square().mean())
        achieved = power / float((noisy.values - clean.values)[both].square().mean())
        if abs(achieved / power_snr - 1.0) < 0.05:
            break
        sigma *= math.sqrt(achieved / power_snr)
    return head_in_mask(scanned, noisy.mask), noisy, achieved


def head_in_mask(scanned: Scan, mask: Tensor) -> Head:
    """What a perfect map of the scan would be inside a mask, bool (x, y, z), with zero mean there."""
    head = masked_head(scanned.chi, mask, scanned.white, scanned.labels, scanned.grid)
    return replace(head, veins=scanned.veins * mask, lesions=scanned.lesions * mask)


def _local(scanned: Scan, signal: Tensor) -> LocalField:
    phase = Phase(signal.angle(), signal.abs(), ECHO_TIMES, B0, scanned.grid, scanned.mask)
    return local_field(phase, background=scanned.removal).local


def _first_guess(scanned: Scan, clean: LocalField, power_snr: float) -> float:
    """σ of the signal from the variance of a weighted fit, 1/Σw(t − t̄)²."""
    t = torch.tensor(ECHO_TIMES).view(-1, 1, 1, 1)
    weight = scanned.signal.abs().square()
    mean = (weight * t).sum(0) / weight.sum(0)
    spread = (weight * (t - mean).square()).sum(0)[clean.mask]
    variance = (1.0 / spread / (2.0 * math.pi * hz_per_ppm(B0)) ** 2).mean()
    return math.sqrt(float(clean.values[clean.mask].square().mean() / variance) / power_snr)
