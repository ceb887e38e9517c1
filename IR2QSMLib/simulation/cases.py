"""The held-out cases by name: what the demo shows and the benchmark scores. No seed of them is ever trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.recovery import Recovered
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, magnitude
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.head import Head, ellipsoid, masked_head, positions
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.mismatch import field_with_mismatch
from IR2QSMLib.simulation.phantom import draw_phantom
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.scan import REALISTIC_EFFECTS, ScanEffects, Scan, measure, scan, head_in_mask
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED as FIRST_TRAINING_SEED

RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
"""Direction cosines of an array whose axes point right, anterior and superior."""
B0, ECHO_SPACING = 3.0, 0.005
"""Field strength [T] and echo spacing [s] that go with a case's field, for methods that weigh it in rad."""


@dataclass(frozen=True)
class Case:
    """A head, the grid it is seen on and the noise of its field."""

    seed: int
    power_snr: float
    """Mean f² over mean n² in the mask; the noise is white."""
    shape: tuple[int, int, int] = (160, 192, 160)
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tilt: float = 0.0
    """Angle between B0 and the z axis [degrees], about the x axis."""
    phantom: bool = False
    haemorrhage: float = 0.0
    """Volume of a haemorrhage of 0.6 ppm [cm³]."""
    held_out: bool = False
    """Whether the head is of the construction that training never uses, scanned with several echoes."""
    bleeds: bool = False
    """Microbleeds and a calcified nodule; held-out heads only."""
    surroundings: bool = False
    """Air, bone and sinuses around the head, and all else that a measured local field holds; held-out heads only."""
    harmonic_estimated: bool = False
    """Whether what background removal takes of the local field is recovered; with `surroundings` only."""
    mismatch: float | None = None
    """Share of a discrepancy of measured shape in the field's power, in place of `power_snr`; held-out heads only."""

    def grid(self) -> Grid:
        """A grid centred on the scanner's origin, turned about the patient's left-right axis by the tilt."""
        t = math.radians(self.tilt)
        turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, math.cos(t), -math.sin(t)], [0.0, math.sin(t), math.cos(t)]])
        direction = (turn.double() @ torch.tensor(RAS, dtype=torch.float64).view(3, 3)).flatten().tolist()
        grid = Grid(self.shape, self.voxel_size, tuple(direction))
        x, y, z = (-c for c in grid.point([(n - 1) / 2 for n in self.shape]))
        return replace(grid, origin=(x, y, z))


_HEAD = Case(900, 40.0, shape=(144, 176, 144), held_out=True)
MISMATCHES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Shares of the discrepancy along the mismatch axis; measured brains have 0.32 to 0.47."""
CASES = {
    "brain, noise-free": Case(0, math.inf),
    "brain, SNR 40": Case(0, 40.0),
    "brain, SNR 10": Case(0, 10.0),
    "held-out brain, noise-free": replace(_HEAD, power_snr=math.inf),
    "held-out brain, SNR 40": _HEAD,
    "held-out brain, SNR 10": replace(_HEAD, power_snr=10.0),
    "held-out brain, SNR 5": replace(_HEAD, power_snr=5.0),
    "held-out brain, SNR 2": replace(_HEAD, power_snr=2.0),
    **{f"held-out brain, mismatch {100 * share:.0f} %": replace(_HEAD, mismatch=share) for share in MISMATCHES},
    "held-out brain, as measured": replace(_HEAD, surroundings=True),
    "held-out oblique 30°, SNR 40": replace(_HEAD, seed=901, tilt=30.0),
    "held-out 1×1×3 mm, SNR 40": replace(_HEAD, seed=901, shape=(144, 176, 48), voxel_size=(1.0, 1.0, 3.0)),
    "held-out haemorrhage, SNR 40": replace(_HEAD, seed=902, haemorrhage=2.0),
    "held-out bleeds and calcification, SNR 40": replace(_HEAD, seed=903, bleeds=True),
    "geometric phantom, SNR 40": Case(4, 40.0, shape=(128, 128, 128), phantom=True),
}
"""The table's order; cases of one held-out head follow each other, as it is kept while they are drawn."""


@dataclass(frozen=True)
class SimulatedCase:
    """A case as it was drawn."""

    head: Head
    field: LocalField
    power_snr: float
    """That was achieved."""


def simulate(case: Case, device: torch.device | str = "cpu") -> tuple[Head, LocalField]:
    """The case's truth and its local field [ppm] with a magnitude.

    Raises ParameterInvalid when the head has no voxel on the case's grid.
    """
    drawn = draw_case(case, device)
    return drawn.head, drawn.field


def draw_case(case: Case, device: torch.device | str = "cpu") -> SimulatedCase:
    """The case with the power SNR that it has in the end (with a mismatch, 1 / its share).

    Held-out heads are drawn on the CPU.

    Raises ParameterInvalid when the head has no voxel on the case's grid.
    """
    if case.held_out:
        scanned = _scanned(replace(case, power_snr=math.inf, mismatch=None))
        if case.mismatch is None:
            head, field, achieved = measure(scanned, case.power_snr, RandomSource(case.seed))
        else:
            head = head_in_mask(scanned, scanned.mask)
            field = field_with_mismatch(head, scanned.fibres, case.mismatch, RandomSource(case.seed))
            achieved = 1.0 / case.mismatch if case.mismatch else math.inf
        strength = scanned.signal.abs().square().sum(0).sqrt().float()
        field = replace(field, magnitude=strength, b0=B0, echo_spacing=ECHO_SPACING)
        return SimulatedCase(head, field.to(device), achieved)
    rng, grid = RandomSource(case.seed, device), case.grid()
    draw: Callable[[RandomSource, Grid], Head] = draw_phantom if case.phantom else _brain
    head = draw(rng, grid)
    _require_head(head.mask, case)
    if case.haemorrhage > 0.0:
        head = _with_haemorrhage(head, rng, case.haemorrhage)
    field = acquire(head, Discrepancy(case.power_snr), rng)
    field = replace(field, magnitude=magnitude(head, rng), b0=B0, echo_spacing=ECHO_SPACING)
    return SimulatedCase(head, field, case.power_snr)


def _require_head(mask: torch.Tensor, case: Case) -> None:
    if not bool(mask.any()):
        raise ParameterInvalid(f"No voxel of the head lies on a grid of {case.shape} voxels; give a larger one.")


@lru_cache(maxsize=1)
def _scanned(case: Case) -> Scan:
    """The noise-free scan, kept for the other noise levels of the same head."""
    rng, grid = RandomSource(case.seed), case.grid()
    fine = draw_held_out(rng, grid, bleeds=case.bleeds, haemorrhage=case.haemorrhage)
    scanned = scan(fine, grid, rng, REALISTIC_EFFECTS if case.surroundings else ScanEffects())
    if case.harmonic_estimated:
        scanned = replace(scanned, removal=Recovered(scanned.removal))
    _require_head(scanned.mask, case)
    return scanned


def _brain(rng: RandomSource, grid: Grid) -> Head:
    return draw_brain(rng, grid, lesions=False)


def _with_haemorrhage(head: Head, rng: RandomSource, volume: float) -> Head:
    """A bleeding of `volume` [cm³] and 0.6 ppm in the left hemisphere, with a rough boundary."""
    radius = (3000.0 * volume / (4.0 * math.pi)) ** (1.0 / 3.0)
    p = positions(head.grid, head.chi.device)
    centre = torch.tensor([-28.0, -10.0, 10.0], device=p.device)
    radii = radius * torch.tensor([0.85, 1.25, 0.94], device=p.device)
    share = ellipsoid(p, centre, radii, 1.0, 0.15 * radius * rng.smooth(head.grid, 3.0))
    chi = torch.lerp(head.chi, torch.full_like(head.chi, 0.6), share)
    lesions = (share > 0.5).to(torch.int16) * head.mask
    return replace(masked_head(chi, head.mask, head.white, head.labels, head.grid), lesions=lesions)


def write_case(outputs: Outputs, folder: Path, head: Head, field: LocalField) -> None:
    """Write a case as QSM-CI's contract for inversions has it, and the truth; a missing folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs.volume(folder / "localfield.nii.gz", field.values, field.grid)
    outputs.volume(folder / "mask.nii.gz", field.mask, field.grid)
    outputs.volume(folder / "chi_truth.nii.gz", head.chi, field.grid)
    if field.magnitude is not None:
        outputs.volume(folder / "magnitude.nii.gz", field.magnitude, field.grid)
    outputs.volume(folder / "labels.nii.gz", head.labels.to(torch.uint8), field.grid)
    grid = field.grid
    outputs.json(
        folder / "params.json", {"B0_dir": list(grid.b0_direction), "voxel_size": list(grid.voxel_size), "Units": "ppm"}
    )
