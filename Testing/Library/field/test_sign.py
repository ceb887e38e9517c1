"""The sign is judged only where the mask can be that of a whole brain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field import sign

GRID = Grid((40, 40, 40), (5.0, 5.0, 5.0))


@pytest.mark.parametrize(
    ("radius", "share_of_air", "flipped"),
    [
        (45.0, 0.0, True),  # a newborn's brain
        (65.0, 0.0, True),  # an adult's
        (65.0, 0.02, True),  # with dark veins
        (65.0, 0.15, False),  # a head with its sinuses
        (90.0, 0.0, False),  # a head
        (30.0, 0.0, False),  # a part of a brain, or an animal's
    ],
)
def test_the_sign_is_judged_in_brains_only(
    monkeypatch: pytest.MonkeyPatch, ball: Callable[..., Tensor], radius: float, share_of_air: float, flipped: bool
) -> None:
    monkeypatch.setattr(sign, "sign_balance", lambda local: -0.3)
    mask = ball(GRID, radius)
    magnitude = 100.0 + torch.rand(GRID.shape, generator=torch.Generator().manual_seed(0))
    magnitude[torch.rand(GRID.shape, generator=torch.Generator().manual_seed(1)) < share_of_air] = 2.0
    assert sign.sign_flipped(LocalField(torch.zeros(GRID.shape), mask, GRID, magnitude)) == flipped
