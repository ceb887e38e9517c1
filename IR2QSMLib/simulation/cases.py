"""The held-out cases by name: what the demo shows and the benchmark scores. No seed of them is ever trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, magnitude
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.dice import Dice
from IR2QSMLib.simulation.head import Head, ball, finish, positions
from IR2QSMLib.simulation.phantom import draw_phantom
from IR2QSMLib.volumes import LocalField

FIRST_TRAINING_SEED = 1_000_000
"""Seeds below it are for validation, the demo and the benchmark."""
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

    def grid(self) -> Grid:
        """A grid centred on the scanner's origin, turned about the patient's left-right axis by the tilt."""
        t = math.radians(self.tilt)
        turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, math.cos(t), -math.sin(t)], [0.0, math.sin(t), math.cos(t)]])
        direction = (turn.double() @ torch.tensor(RAS, dtype=torch.float64).view(3, 3)).flatten().tolist()
        grid = Grid(self.shape, self.voxel_size, tuple(direction))
        x, y, z = (-c for c in grid.point([(n - 1) / 2 for n in self.shape]))
        return replace(grid, origin=(x, y, z))


CASES = {
    "brain, noise-free": Case(0, math.inf),
    "brain, SNR 40": Case(0, 40.0),
    "brain, SNR 10": Case(0, 10.0),
    "second brain, SNR 40": Case(1, 40.0),
    "oblique 30°, SNR 40": Case(2, 40.0, tilt=30.0),
    "1×1×3 mm, SNR 40": Case(2, 40.0, shape=(160, 192, 64), voxel_size=(1.0, 1.0, 3.0)),
    "haemorrhage, SNR 40": Case(3, 40.0, haemorrhage=2.0),
    "geometric phantom, SNR 40": Case(4, 40.0, shape=(128, 128, 128), phantom=True),
}


def simulate(case: Case, device: torch.device | str = "cpu") -> tuple[Head, LocalField]:
    """The case's truth and its local field [ppm] with a magnitude.

    Raises ParameterInvalid when the head has no voxel on the case's grid.
    """
    dice, grid = Dice(case.seed, device), case.grid()
    draw: Callable[[Dice, Grid], Head] = draw_phantom if case.phantom else _brain
    head = draw(dice, grid)
    if not bool(head.mask.any()):
        raise ParameterInvalid(f"No voxel of the head lies on a grid of {case.shape} voxels; give a larger one.")
    if case.haemorrhage > 0.0:
        head = _with_haemorrhage(head, dice, case.haemorrhage)
    field = acquire(head, Discrepancy(case.power_snr), dice)
    return head, replace(field, magnitude=magnitude(head, dice), b0=B0, echo_spacing=ECHO_SPACING)


def _brain(dice: Dice, grid: Grid) -> Head:
    return draw_brain(dice, grid, lesions=False)


def _with_haemorrhage(head: Head, dice: Dice, volume: float) -> Head:
    """A bleeding of `volume` [cm³] and 0.6 ppm in the left hemisphere, with a rough boundary."""
    radius = (3000.0 * volume / (4.0 * math.pi)) ** (1.0 / 3.0)
    p = positions(head.grid, head.chi.device)
    centre = torch.tensor([-28.0, -10.0, 10.0], device=p.device)
    radii = radius * torch.tensor([0.85, 1.25, 0.94], device=p.device)
    share = ball(p, centre, radii, 1.0, 0.15 * radius * dice.smooth(head.grid, 3.0))
    chi = torch.lerp(head.chi, torch.full_like(head.chi, 0.6), share)
    return finish(chi, head.mask, head.white, head.labels, head.grid)


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
