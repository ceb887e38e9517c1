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
from IR2QSMLib.field.harmonic import HarmonicCompletion
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, simulate_magnitude
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.held_out import draw_held_out
from IR2QSMLib.simulation.mismatch import field_with_mismatch
from IR2QSMLib.simulation.phantom import draw_phantom
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.scan import (
    REALISTIC_EFFECTS,
    Scan,
    ScanEffects,
    field_at_snr,
    head_in_mask,
    simulate_scan,
)

RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
"""Direction cosines of an array whose axes point right, anterior and superior."""
B0, ECHO_SPACING = 3.0, 0.005
"""Field strength [T] and echo spacing [s] that go with a case's field, for methods that weigh it in rad."""


@dataclass(frozen=True)
class Case:
    """A head, its grid and the noise of its field; raises ParameterInvalid for what only held-out heads have."""

    seed: int
    power_snr: float
    """Mean f² over mean n² in the mask; the noise is white."""
    shape: tuple[int, int, int] = (160, 192, 160)
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """[mm]"""
    tilt: float = 0.0
    """Angle between B0 and the z axis [degrees], about the x axis."""
    phantom: bool = False
    """Whether the head is the geometric phantom."""
    haemorrhage: float = 0.0
    """Volume of a haemorrhage of 0.6 ppm [cm³]; held-out heads only."""
    held_out: bool = False
    """Whether the head is of the construction that training never uses, scanned with several echoes."""
    bleeds: bool = False
    """Microbleeds and a calcified nodule; held-out heads only."""
    surroundings: bool = False
    """Air, bone and sinuses around the head, and all else that a measured local field has; held-out heads only."""
    harmonic_completed: bool = False
    """Whether the harmonic part of the local field is estimated after background removal; with `surroundings` only."""
    mismatch: float | None = None
    """Share of a realistic discrepancy in the field's power, in place of `power_snr`; held-out heads only."""

    def __post_init__(self) -> None:
        extras = {"haemorrhage": self.haemorrhage > 0.0, "bleeds": self.bleeds, "surroundings": self.surroundings}
        extras["mismatch"] = self.mismatch is not None
        chosen = [name for name, value in extras.items() if value]
        if chosen and not self.held_out:
            raise ParameterInvalid(f"{' and '.join(chosen)}: only held-out heads have that; give held_out=True.")

    def grid(self) -> Grid:
        """A grid centred on the scanner's origin, rotated about the patient's left-right axis by the tilt."""
        t = math.radians(self.tilt)
        rotation = torch.tensor([[1.0, 0.0, 0.0], [0.0, math.cos(t), -math.sin(t)], [0.0, math.sin(t), math.cos(t)]])
        direction = (rotation.double() @ torch.tensor(RAS, dtype=torch.float64).view(3, 3)).flatten().tolist()
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
"""In the table's order; cases of one held-out head follow each other, as its scan is kept while they are drawn."""


@dataclass(frozen=True)
class SimulatedCase:
    """The truth and the field of a case."""

    head: Head
    field: LocalField
    """[ppm], with a magnitude."""
    power_snr: float
    """The one achieved; with a mismatch, 1 / its share."""


def simulate(case: Case, device: torch.device | str = "cpu") -> tuple[Head, LocalField]:
    """The truth of a case and its local field [ppm] with a magnitude.

    Raises
    ------
    ParameterInvalid
        When the head has no voxel on the case's grid.
    """
    drawn = draw_case(case, device)
    return drawn.head, drawn.field


def draw_case(case: Case, device: torch.device | str = "cpu") -> SimulatedCase:
    """The truth of a case, its local field, and the power SNR that was achieved.

    Parameters
    ----------
    case
        Which head, grid and noise.
    device
        Of the field, and where heads are drawn but for held-out ones, which are drawn on the CPU.

    Raises
    ------
    ParameterInvalid
        When the head has no voxel on the case's grid.
    """
    if case.held_out:
        head, field, power_snr = _draw_held_out_case(case)
    else:
        head, field = _draw_simple_case(case, device)
        power_snr = case.power_snr
    return SimulatedCase(head, replace(field, b0=B0, echo_spacing=ECHO_SPACING).to(device), power_snr)


def _draw_held_out_case(case: Case) -> tuple[Head, LocalField, float]:
    scan = _noise_free_scan(replace(case, power_snr=math.inf, mismatch=None))
    if case.mismatch is None:
        head, field, power_snr = field_at_snr(scan, case.power_snr, RandomSource(case.seed))
    else:
        head = head_in_mask(scan, scan.mask)
        field = field_with_mismatch(head, scan.fibres, case.mismatch, RandomSource(case.seed))
        power_snr = 1.0 / case.mismatch if case.mismatch else math.inf
    return head, replace(field, magnitude=scan.signal.abs().square().sum(0).sqrt().float()), power_snr


@lru_cache(maxsize=1)
def _noise_free_scan(case: Case) -> Scan:
    """The noise-free scan, kept for the other noise levels of the same head."""
    rng, grid = RandomSource(case.seed), case.grid()
    fine = draw_held_out(rng, grid, bleeds=case.bleeds, haemorrhage=case.haemorrhage)
    scan = simulate_scan(fine, grid, rng, REALISTIC_EFFECTS if case.surroundings else ScanEffects())
    if case.harmonic_completed:
        scan = replace(scan, removal=HarmonicCompletion(scan.removal))
    _require_head(scan.mask, case)
    return scan


def _draw_simple_case(case: Case, device: torch.device | str) -> tuple[Head, LocalField]:
    rng, grid = RandomSource(case.seed, device), case.grid()
    draw: Callable[[RandomSource, Grid], Head] = draw_phantom if case.phantom else _draw_brain
    head = draw(rng, grid)
    _require_head(head.mask, case)
    field = acquire(head, Discrepancy(case.power_snr), rng)
    return head, replace(field, magnitude=simulate_magnitude(head, rng))


def _draw_brain(rng: RandomSource, grid: Grid) -> Head:
    return draw_brain(rng, grid, lesions=False)


def _require_head(mask: torch.Tensor, case: Case) -> None:
    if not bool(mask.any()):
        raise ParameterInvalid(f"No voxel of the head lies on a grid of {case.shape} voxels; give a larger one.")


def write_case(outputs: Outputs, folder: Path, head: Head, field: LocalField) -> None:
    """Write a case as QSM-CI's contract for inversions has it, and the truth.

    Parameters
    ----------
    outputs
        Gets localfield, mask, chi_truth, labels and, if there is one, magnitude as .nii.gz, and params.json.
    folder
        Is made if it is missing.
    head, field
        As `simulate` returns them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = field.grid
    outputs.volume(folder / "localfield.nii.gz", field.values, grid)
    outputs.volume(folder / "mask.nii.gz", field.mask, grid)
    outputs.volume(folder / "chi_truth.nii.gz", head.chi, grid)
    if field.magnitude is not None:
        outputs.volume(folder / "magnitude.nii.gz", field.magnitude, grid)
    outputs.volume(folder / "labels.nii.gz", head.labels.to(torch.uint8), grid)
    parameters = {"B0_dir": list(grid.b0_direction), "voxel_size": list(grid.voxel_size), "Units": "ppm"}
    outputs.json(folder / "params.json", parameters)
