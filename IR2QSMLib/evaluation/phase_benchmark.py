"""The way from phase to local field and to χ on a head with air, sinuses and skull: errors, time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from skimage.restoration import unwrap_phase
from torch import Tensor

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField, Phase
from IR2QSMLib.evaluation.metrics import xsim
from IR2QSMLib.evaluation.timing import Cost, measured
from IR2QSMLib.field.echoes import EchoFit
from IR2QSMLib.field.fieldmap import local_field
from IR2QSMLib.field.mask import MagnitudeMask
from IR2QSMLib.field.recovery import Recovered
from IR2QSMLib.field.unwrapping import PathUnwrapping
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.pipeline.preprocess import BACKGROUNDS, PreprocessingOptions
from IR2QSMLib.report.figure import table
from IR2QSMLib.simulation import anatomy
from IR2QSMLib.simulation.cases import Case
from IR2QSMLib.simulation.oversampling import block_mean, free_space_field
from IR2QSMLib.simulation.head import ellipsoid, sample_trilinear
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.scan import RELAXIVITY
from IR2QSMLib.simulation.surroundings import AIR, BONE, CAVITIES

Result = TypeVar("Result")
ECHO_TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)
B0 = 3.0
SHAPE, VOXEL = 160, 1.1
"""Voxels along each axis, and their size [mm]: the head fits."""
DEFAULT: Method = Learned()
N_PAIRS, N_UNWRAPPINGS, MOST_BYTES = 600, 5, 4e9
"""What the way from phase to local field may take: transforms there and back, calls of `unwrap_phase`, memory."""


@dataclass(frozen=True)
class HeadInAir:
    """A head with its surroundings, before noise."""

    signal: Tensor
    """Complex: (echo, x, y, z)."""
    chi: Tensor
    """[ppm]: (x, y, z)."""
    mask: Tensor
    """The brain but for its outermost 1.5 mm, bool: (x, y, z)."""
    grid: Grid

    def phase(self, noise: float, seed: int = 0) -> Phase:
        """Wrapped echoes; `noise` is that of real and imaginary part, grey matter at no delay being about 1."""
        generator = torch.Generator().manual_seed(seed)
        parts = noise * torch.randn(2, *self.signal.shape, generator=generator)
        signal = self.signal + torch.complex(parts[0], parts[1])
        return Phase(signal.angle(), signal.abs(), ECHO_TIMES, B0, self.grid, self.mask)

    def true_local(self, mask: Tensor) -> LocalField:
        """The field [ppm] of what is inside the mask that was given, seen in another."""
        inside = torch.where(self.mask, self.chi - self.chi[self.mask].mean(), 0.0)
        return LocalField(torch.where(mask, simulate_field(inside, self.grid), 0.0), mask, self.grid)


def head_in_air(n: int = SHAPE, voxel: float = VOXEL, seed: int = 900) -> HeadInAir:
    """A held-out brain in a head in air, sinuses 9.4 ppm and skull −2 ppm against tissue, five echoes, linear shim.

    Unlike the case 'as measured' nothing of air and bone reaches into the brain, so that its background is harmonic
    there.
    """
    grid = Case(seed, math.inf, (n, n, n), (voxel, voxel, voxel)).grid()
    rng = RandomSource(seed)
    fine = draw_held_out(rng, grid)
    chi, density = (block_mean(x, (2, 2, 2)) for x in (fine.chi, fine.density))
    decay = block_mean(fine.relaxation + RELAXIVITY * fine.chi.abs(), (2, 2, 2))
    room = 8 * round(48.0 / voxel / 8.0)
    large = grid.cropped([-room] * 3, [n + 2 * room] * 3)
    box = (slice(room, room + n),) * 3
    where = _continued(fine.mni, room)
    maps, zero = anatomy.maps()
    depth = sample_trilinear(maps[3:], where + zero.view(3, 1, 1, 1))[0]
    depth[box] = fine.depth
    around = _around(where, depth, voxel)
    around[box] = torch.where(fine.depth > 0.0, -AIR, around[box]) + chi
    total = free_space_field(around, large)[box]
    mask = fine.depth > 1.5
    for axis in range(3):
        mask.narrow(axis, 0, 1).zero_()
        mask.narrow(axis, n - 1, 1).zero_()
    total = _shimmed(total, mask)
    coil, offset = 0.2 * rng.smooth(grid, 45.0), 1.5 * rng.smooth(grid, 45.0)
    turn = 2.0 * math.pi * hz_per_ppm(B0)
    signal = [torch.polar(density * (coil - te * decay).exp(), offset + turn * te * total) for te in ECHO_TIMES]
    return HeadInAir(torch.stack(signal), chi, mask, grid)


def _continued(mni: Tensor, room: int) -> Tensor:
    """MNI positions continued by `room` voxels on every side as an affine map."""
    n = mni.shape[1]
    index = torch.arange(-room, n + room).float()
    where = torch.stack(torch.meshgrid(index, index, index, indexing="ij"))
    inner = where[:, room : room + n, room : room + n, room : room + n].flatten(1)[:, ::7]
    columns = torch.cat([inner, torch.ones(1, inner.shape[1])]).T
    affine = torch.linalg.lstsq(columns, mni.flatten(1).T[::7]).solution
    found = torch.einsum("ij,ixyz->jxyz", affine[:3], where) + affine[3].view(3, 1, 1, 1)
    found[:, room : room + n, room : room + n, room : room + n] = mni
    return found


def _around(p: Tensor, depth: Tensor, voxel: float) -> Tensor:
    """χ of head, cavities and skull against air [ppm], edges one voxel wide; empty at the grid's lower face."""

    def share(level: Tensor) -> Tensor:
        return (level / voxel + 0.5).clamp(0.0, 1.0)

    x, y, z = p
    height = torch.arange(x.shape[2]).view(1, 1, -1) * voxel - 8.0 * voxel
    neck = torch.minimum(58.0 - ((0.9 * x) ** 2 + (y + 28.0) ** 2).sqrt(), -40.0 - z)
    face = ellipsoid(p, torch.tensor([0.0, 42.0, -48.0]), torch.tensor([60.0, 52.0, 72.0]), voxel)
    head = torch.maximum(torch.maximum(share(depth + 14.0), share(neck)), face) * share(height)
    air, mirrored = torch.zeros_like(x), torch.stack([x.abs(), y, z])
    for centre, radii in CAVITIES:
        air = torch.maximum(air, ellipsoid(mirrored, torch.tensor(centre).float(), torch.tensor(radii).float(), voxel))
    air = air * share(-3.0 - depth)
    bone = share(-2.0 - depth) * share(depth + 8.5) * share(z + 55.0)
    return -AIR * (head - air * head) + BONE * bone * (1.0 - air)


def _shimmed(total: Tensor, mask: Tensor) -> Tensor:
    """A field without its mean and its slopes over the mask."""
    lines = [torch.linspace(-1.0, 1.0, n) for n in total.shape]
    terms = torch.stack([torch.ones_like(total), *torch.meshgrid(*lines, indexing="ij")])
    weights = torch.linalg.lstsq(terms[:, mask][:, ::5].T, total[mask][::5, None]).solution[:, 0]
    return total - torch.einsum("t,txyz->xyz", weights, terms)


def field_error(found: LocalField, truth: LocalField) -> float:
    """‖found − true‖/‖true‖ [%] in the effective mask, means removed."""
    a, b = found.values[found.mask], truth.values[found.mask]
    a, b = a - a.mean(), b - b.mean()
    return 100.0 * float((a - b).norm() / b.norm())


def similarity(field: LocalField, head: HeadInAir, device: str, method: Method = DEFAULT) -> float:
    """XSIM of a method's map of a field with its magnitude against the true χ, zero means in the mask."""
    frame, mask = WorkingGrid.around(field), field.mask
    found = frame.to_original_grid(method(frame.to_working_grid(field.to(device)), silent).values.cpu())
    found, truth = (torch.where(mask, x - x[mask].mean(), 0.0) for x in (found, head.chi))
    return xsim(found, truth, mask)


def phase_benchmark(
    *,
    shape: int = SHAPE,
    device: str = "auto",
    noise: tuple[float, ...] = (0.01,),
    method: Method = DEFAULT,
    progress: Progress = silent,
    emit: Callable[[str], None] = print,
) -> None:
    """Emit how near each background removal comes to the true local field and its map, and what each step costs."""
    used = choose_device(device).kind
    progress(0.0, "drawing")
    head = head_in_air(shape, VOXEL * SHAPE / shape)
    for sigma in noise:
        emit(f"\n### From {len(ECHO_TIMES)} wrapped echoes of {shape}³ voxels, noise {sigma:g}\n")
        emit(_removal_table(head, sigma, used, method, progress))
    progress(0.9, "timing")
    emit(f"\n### Time and memory of the steps, {shape}³ voxels × {len(ECHO_TIMES)} echoes on {used}\n")
    emit(cost_table(head, used))


def _removal_table(head: HeadInAir, sigma: float, device: str, method: Method, progress: Progress) -> str:
    phase, rows = head.phase(sigma), []
    magnitude = phase.rss_magnitude()
    for name in BACKGROUNDS:
        limit = 0.0
        for recover in (0, Recovered.n_steps):
            progress(0.1, f"{name}, {recover} steps")
            maps = local_field(
                phase.to(device), background=PreprocessingOptions(background=name, recover=recover).removal()
            )
            local = replace(maps.local.to("cpu"), magnitude=magnitude)
            truth = replace(head.true_local(local.mask), magnitude=magnitude)
            # Recovery leaves the mask as it is.
            limit = similarity(truth, head, device, method) if recover == 0 else limit
            ours = similarity(local, head, device, method)
            rows.append(
                [
                    name + (f", {recover} steps of recovery" if recover else ""),
                    f"{100 * int(local.mask.sum()) / int(head.mask.sum()):.1f}",
                    f"{field_error(local, truth):.1f}",
                    f"{ours:.3f}",
                    f"{limit:.3f}",
                    f"{ours / limit:.2f}",
                ]
            )
    return table(rows, ["removal", "of the mask %", "field error %", "XSIM of χ", "of χ from the true field", "ratio"])


def cost_table(head: HeadInAir, device: str) -> str:
    """Seconds and peak memory of each step, of a transform there and back, and of a call of `unwrap_phase`."""
    phase = head.phase(0.01).to(device)
    costs: list[tuple[str, Cost]] = []

    def timed(name: str, work: Callable[[], Result]) -> Result:
        with measured(device) as cost:
            found = work()
        costs.append((name, cost))
        return found

    volume = phase.values[0]
    ifft(fft(volume), head.grid.shape)
    timed("ten FFT pairs of the grid", lambda: [ifft(fft(volume), head.grid.shape) for _ in range(10)])
    inside = np.ma.array(volume.cpu().numpy().astype(np.float64), mask=~head.mask.numpy())
    timed("one call of unwrap_phase", lambda: unwrap_phase(inside, rng=0))
    timed("mask from the magnitude", lambda: MagnitudeMask()(replace(phase, mask=None)))
    mask = head.mask.to(device)
    unwrapped = timed("unwrapping", lambda: PathUnwrapping()(phase, mask))
    combined = timed("echo combination", lambda: EchoFit()(phase, unwrapped, mask))
    for name in BACKGROUNDS:
        for recover in (0, Recovered.n_steps):
            removal = PreprocessingOptions(background=name, recover=recover).removal()
            timed(name + (f", {recover} steps of recovery" if recover else ""), lambda r=removal: r(combined.field))  # type: ignore[misc]
    timed("phase to local field, default", lambda: local_field(phase, background=PreprocessingOptions().removal()))
    pair, call = costs[0][1].seconds / 10.0, costs[1][1].seconds
    allowed = N_PAIRS * pair + N_UNWRAPPINGS * call
    whole = costs[-1][1]
    rows = [[name, f"{c.seconds:.2f}", f"{c.seconds / pair:.0f}", f"{c.peak / 1e6:.0f}"] for name, c in costs]
    met = "within" if whole.seconds <= allowed and whole.peak <= MOST_BYTES else "beyond"
    return (
        table(rows, ["step", "s", "FFT pairs", "peak MB"])
        + f"\n\nPhase to local field: {whole.seconds:.1f} s, {met} the {allowed:.1f} s of {N_PAIRS} FFT pairs and "
        f"{N_UNWRAPPINGS} such calls, and {MOST_BYTES / 1e9:g} GB."
    )
