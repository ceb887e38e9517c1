"""A field of the wrong sign is recognised in brains, and nothing is said where the sign cannot be judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.sign import FLIPPED_BALANCE, may_be_brain, sign_balance, sign_flipped
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.cases import Case, simulate

SHAPE, VOXEL = (64, 80, 68), 2.8
CELLS = [(i, j, k) for i in range(4) for j in range(4) for k in range(4)]


@pytest.fixture(scope="module")
def brain() -> LocalField:
    return replace(simulate(Case(5, 20.0, SHAPE, (VOXEL,) * 3))[1], magnitude=None)


def negated(local: LocalField) -> LocalField:
    return replace(local, values=-local.values)


def part(local: LocalField, mask: Tensor) -> LocalField:
    return replace(local, values=torch.where(mask, local.values, 0.0), mask=mask)


def noise(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def test_the_sign_of_a_brain_is_recognised(brain: LocalField) -> None:
    assert not sign_flipped(brain) and sign_flipped(negated(brain))
    assert sign_balance(negated(brain)) == pytest.approx(-sign_balance(brain), abs=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_and_eroded_masks_are_never_called_flipped(
    brain: LocalField, axis: int, ball: Callable[..., Tensor]
) -> None:
    index = torch.arange(SHAPE[axis]).view([-1 if a == axis else 1 for a in range(3)])
    middle = int(brain.mask.nonzero()[:, axis].median())
    for inside in (index < middle, index >= middle, (index - middle).abs() < 12):
        assert not sign_flipped(part(brain, brain.mask & inside))
    assert not sign_flipped(part(brain, brain.mask & ball(brain.grid, 60.0 + 5.0 * axis)))


def test_calcifications_do_not_turn_the_sign(brain: LocalField, ball: Callable[..., Tensor]) -> None:
    mass = -0.8 * ball(brain.grid, 9.0).roll((8, 6, 2), (0, 1, 2))
    calcified = replace(brain, values=torch.where(brain.mask, brain.values + simulate_field(mass, brain.grid), 0.0))
    assert sign_balance(calcified) < sign_balance(brain)
    assert not sign_flipped(calcified)


@pytest.mark.parametrize(
    ("voxel", "share_of_air", "flipped"),
    [
        (1.9, 0.0, True),  # a newborn's brain
        (2.8, 0.02, True),  # an adult's with dark veins
        (2.8, 0.15, False),  # a head with its sinuses
        (3.8, 0.0, False),  # a head
        (1.2, 0.0, False),  # a part of a brain, or an animal's
    ],
)
def test_the_sign_is_judged_only_in_masks_that_may_be_a_brain(
    brain: LocalField, voxel: float, share_of_air: float, flipped: bool
) -> None:
    magnitude = 100.0 + noise(0)
    magnitude[torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < share_of_air] = 2.0
    grid = Grid(SHAPE, (voxel,) * 3)
    assert sign_flipped(LocalField(-brain.values, brain.mask, grid, magnitude)) == flipped


def test_noise_and_fields_of_air_within_the_mask_have_no_sign(brain: LocalField, ball: Callable[..., Tensor]) -> None:
    assert sign_balance(part(replace(brain, values=0.02 * noise(2)), brain.mask)) == 0.0
    cavity = ball(brain.grid, 9.0)
    air = sum((cavity.roll(tuple(12 * k - 18 for k in cell), (0, 1, 2)) for cell in CELLS), torch.zeros(()))
    with_air = replace(brain, values=torch.where(brain.mask, brain.values - simulate_field(2.0 * air, brain.grid), 0.0))
    assert sign_balance(with_air) == 0.0
    assert sign_balance(part(brain, torch.zeros_like(brain.mask))) == 0.0


@pytest.mark.parametrize("name", ["brain1", "brain2"])
def test_the_sign_of_measured_brains_is_recognised(name: str, reference_data: Path) -> None:
    """Field and mask are all that is needed."""
    (values, grid), (mask, _) = (
        read_volume(reference_data / "measured" / name / f"{file}.nii.gz") for file in ("localfield", "mask")
    )
    local = LocalField(torch.where(mask > 0, values, 0.0), mask > 0, grid)
    assert may_be_brain(local)
    assert sign_balance(local) > -FLIPPED_BALANCE  # negated, its balance is the opposite
