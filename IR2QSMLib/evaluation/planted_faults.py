"""Scans of simulated heads, sound ones and ones with a planted fault, from phase to the map and its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField, Phase
from IR2QSMLib.field.fieldmap import FieldMaps, phase_to_local_field
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.physics.fourier import frequencies
from IR2QSMLib.physics.working_grid import MARGIN
from IR2QSMLib.pipeline.invert import invert
from IR2QSMLib.pipeline.preprocess import PreprocessingOptions
from IR2QSMLib.pipeline.quality import QualityNumbers, quality_numbers
from IR2QSMLib.simulation.head import masked_head, positions
from IR2QSMLib.simulation.head_in_air import B0, ECHO_TIMES, HeadInAir, draw_head_in_air
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.mismatch import field_with_mismatch
from IR2QSMLib.simulation.random_source import RandomSource

SHAPE, VOXEL = 72, 2.5
"""Voxels along each axis, and their size [mm]."""
NOISE = 0.01
"""σ of the signal of most scans, of which grey matter has 1 at TE = 0."""
SHARE = 0.3
"""Share of the discrepancy in the local field of most scans; measured brains have 0.32 to 0.47."""
SOUND = ("sound", "sound, little discrepancy", "sound, as measured")
"""Scans without a fault: with the usual discrepancy and noise, with little, and with much of both."""
METHOD: Method = Tikhonov()
"""Makes most maps."""
TITANIUM, CLIP = 182.0, 3.0
"""χ [ppm] and radius [mm] of an implant: Schenck 1996, doi 10.1118/1.597854."""
WRONG_SCALE = 7.0 / 3.0
"""Factor of χ when a scan at 7 T is taken for one at 3 T."""


@dataclass(frozen=True)
class JudgedScan:
    """A scan and the numbers of its map."""

    seed: int
    fault: str
    """What was planted, or the name of a sound scan."""
    numbers: QualityNumbers


def judged_scans(seed: int, shape: int = SHAPE, voxel: float = VOXEL) -> Iterator[JudgedScan]:
    """Numbers of the maps of one head: all sound scans, then one for every fault.

    Parameters
    ----------
    seed
        Of the head.
    shape, voxel
        Voxels along each axis, and their size [mm].
    """
    head = draw_head_in_air(shape, voxel, seed)
    discrepancy = _discrepancy(head, seed)
    usual = discrepancy(SHARE)
    phase = _phase(head, usual, NOISE, seed)
    maps = _field_maps(phase)
    local = replace(maps.local, magnitude=phase.rss_magnitude())
    total = LocalField(maps.total.values, maps.total.mask, phase.grid, local.magnitude)
    larger = replace(local, values=WRONG_SCALE * local.values)

    def judged(name: str, numbers: QualityNumbers) -> JudgedScan:
        return JudgedScan(seed, name, numbers)

    yield judged(SOUND[0], _numbers(local, maps.notes))
    yield judged(SOUND[1], _numbers_of_phase(_phase(head, discrepancy(0.05), 0.5 * NOISE, seed)))
    yield judged(SOUND[2], _numbers_of_phase(_phase(head, discrepancy(0.45), 2.0 * NOISE, seed)))
    yield judged("noise × 8", _numbers_of_phase(_phase(head, usual, 8.0 * NOISE, seed)))
    yield judged("discrepancy of 70 %", _numbers_of_phase(_phase(head, discrepancy(0.7), NOISE, seed)))
    yield judged("echo time wrong by 20 %", _numbers_of_phase(replace(phase, echo_times=_wrong_echo_times())))
    yield judged("phase interpolated", _numbers_of_phase(replace(phase, values=_interpolated(phase.values))))
    yield judged("motion", _numbers_of_phase(_moved(_phase(head, usual, 0.0, seed), seed)))
    yield judged("mask too large", _numbers_of_phase(replace(phase, mask=_dilated(head.mask, 4))))
    yield judged("mask with holes", _numbers_of_phase(replace(phase, mask=_with_holes(head.mask, head.grid, seed))))
    yield judged("metal", _numbers_of_phase(_with_implant(head, phase, seed)))
    yield judged("sign turned", _numbers(replace(local, values=-local.values), maps.notes))
    yield judged("7 T taken for 3 T", _numbers(larger, maps.notes))
    yield judged("total field taken for local", _numbers(total, {}))
    yield judged("hardly regularised", _numbers(local, maps.notes, TruncatedDivision(0.02)))


def _discrepancy(head: HeadInAir, seed: int) -> Any:
    """A function from the discrepancy's share to the discrepancy [ppm] in the head's mask, zero elsewhere."""
    fine = draw_held_out(RandomSource(seed), head.grid)  # the same brain, for its fibres
    labels = torch.zeros(head.grid.shape, dtype=torch.int16)
    inside = masked_head(head.chi, head.mask, fine.white, labels, head.grid)
    explained = field_with_mismatch(inside, fine.fibres, 0.0, RandomSource(seed)).values

    def discrepancy(share: float) -> Tensor:
        return field_with_mismatch(inside, fine.fibres, share, RandomSource(seed)).values - explained

    return discrepancy


def _phase(head: HeadInAir, discrepancy: Tensor, noise: float, seed: int) -> Phase:
    """Wrapped echoes of a head whose field has a discrepancy [ppm] besides."""
    return replace(head, signal=head.signal * _turned(discrepancy)).phase(noise, seed)


def _turned(field: Tensor) -> Tensor:
    """exp(iφ) of a field [ppm], (x, y, z), at every echo: (echo, x, y, z)."""
    te = torch.tensor(ECHO_TIMES).view(-1, 1, 1, 1)
    angle = 2.0 * math.pi * hz_per_ppm(B0) * te * field
    return torch.polar(torch.ones_like(angle), angle)


def _field_maps(phase: Phase) -> FieldMaps:
    """The local field of a phase, and the maps before it, with the default steps."""
    return phase_to_local_field(phase, background=PreprocessingOptions().removal())


def _numbers_of_phase(phase: Phase) -> QualityNumbers:
    maps = _field_maps(phase)
    return _numbers(replace(maps.local, magnitude=phase.rss_magnitude()), maps.notes)


def _numbers(local: LocalField, steps: dict[str, Any], method: Method = METHOD) -> QualityNumbers:
    """Numbers of a method's map of a field that was made by steps with these notes."""
    inverted = invert(method, local, MARGIN, choose_device("cpu"))
    chi = inverted.maps.values
    chi = torch.where(inverted.mask, chi - chi[inverted.mask].mean(), 0.0)
    return quality_numbers({"Field": steps}, chi, inverted.mask, local.grid, local)


def _wrong_echo_times() -> tuple[float, ...]:
    """The third echo is said to be a fifth later than it was."""
    first, second, third, *others = ECHO_TIMES
    return (first, second, 1.2 * third, *others)


def _interpolated(wrapped: Tensor) -> Tensor:
    """Wrapped phase, linearly interpolated to half a voxel along x and y: (echo, x, y, z)."""
    for axis in (1, 2):
        wrapped = 0.5 * (wrapped + wrapped.roll(1, axis))
    return wrapped


def _moved(phase: Phase, seed: int) -> Phase:
    """Echoes during which the head moved by up to 4 mm five times between lines of k-space, with the usual noise."""
    rng = RandomSource(seed)
    kx, ky, _ = frequencies(phase.grid)
    n = phase.grid.shape[1]
    kz = torch.fft.fftfreq(phase.grid.shape[2], phase.grid.voxel_size[2], dtype=torch.float64).view(1, 1, -1)
    signal = torch.fft.fftn(torch.polar(phase.magnitude, phase.values), dim=(1, 2, 3))
    order = ky.flatten().argsort()  # lines as they are measured
    starts = sorted({0, *(rng.integer(1, n - 1) for _ in range(5))})
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        lines = order[start:end]
        x, y, z = (rng.uniform(-4.0, 4.0) for _ in range(3))
        angle = -2.0 * math.pi * (kx * x + ky[:, lines] * y + kz * z).float()
        signal[:, :, lines] *= torch.polar(torch.ones_like(angle), angle)
    moved = torch.fft.ifftn(signal, dim=(1, 2, 3))
    moved = moved + NOISE * torch.complex(rng.normal(*moved.shape), rng.normal(*moved.shape))
    return replace(phase, values=moved.angle(), magnitude=moved.abs())


def _dilated(mask: Tensor, n: int) -> Tensor:
    """A mask (x, y, z) grown by n voxels, but not to the image's edge."""
    grown = max_pool3d(mask[None, None].float(), 2 * n + 1, 1, n)[0, 0] > 0.5
    inner = torch.zeros_like(mask)
    inner[1:-1, 1:-1, 1:-1] = True
    return grown & inner


def _with_holes(mask: Tensor, grid: Grid, seed: int) -> Tensor:
    """A mask (x, y, z) with holes of a few millimetres in a twentieth of it, as a threshold on the magnitude leaves."""
    noise = RandomSource(seed).smooth_noise(grid, 2.5)
    return mask & (noise < 1.6)


def _with_implant(head: HeadInAir, phase: Phase, seed: int) -> Phase:
    """Echoes of a head with a sphere of titanium in the brain, which has no signal of its own."""
    rng, p = RandomSource(seed), positions(head.grid, torch.device("cpu"))
    inside = head.mask.nonzero()
    x, y, z = inside[rng.integer(0, len(inside) - 1)].tolist()
    offset = p - p[:, x, y, z].view(3, 1, 1, 1)
    r = offset.square().sum(0).sqrt().clamp_min(CLIP)
    field = TITANIUM / 3.0 * (CLIP / r) ** 3 * (3.0 * (offset[2] / r).square() - 1.0)
    visible = (r > CLIP).float()
    signal = torch.polar(phase.magnitude * visible, phase.values) * _turned(field * visible)
    signal = signal + NOISE * torch.complex(rng.normal(*signal.shape), rng.normal(*signal.shape))
    return replace(phase, values=signal.angle(), magnitude=signal.abs())
