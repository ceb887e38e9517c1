"""The estimate of noise from the field alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion.frame import Frame
from IR2QSMLib.physics.fourier import fft, frequencies, ifft
from IR2QSMLib.physics.noise import noise_share
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire
from IR2QSMLib.simulation.dice import Dice
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.phantom import draw_phantom
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.volumes import LocalField


def prepared(head: Head, discrepancy: Discrepancy) -> LocalField:
    field = acquire(head, discrepancy, Dice(5))
    return Frame.around(field).prepare(field)


@pytest.mark.parametrize("power_snr", [2.0, 10.0, 40.0])
@pytest.mark.parametrize("b0", [(0.0, 0.0, 1.0), (0.3, 0.4, 0.87)])
def test_the_share_of_white_noise_is_found(power_snr: float, b0: tuple[float, float, float]) -> None:
    head = draw_shapes(Dice(3), Grid((72, 80, 64), (1.0, 1.0, 1.3), b0_given=b0))
    assert noise_share(prepared(head, Discrepancy(power_snr))) == pytest.approx(1.0 / (1.0 + power_snr), rel=0.15)


@pytest.mark.parametrize("power_snr", [2.0, 10.0, 40.0])
def test_the_noise_of_a_field_that_was_interpolated_by_zero_filling_is_found(power_snr: float) -> None:
    head = draw_phantom(Dice(0), Grid((96, 96, 96)))
    field = acquire(head, Discrepancy(power_snr), Dice(5))
    x, y, _ = frequencies(field.grid)
    filled = ifft(fft(field.values) * ((x.abs() < 0.25) & (y.abs() < 0.25)), field.grid.shape)
    field = replace(field, values=torch.where(field.mask, filled, 0.0))
    found = noise_share(Frame.around(field).prepare(field))
    assert found == pytest.approx(1.0 / (1.0 + power_snr), rel=0.5)


def test_a_noise_free_field_has_next_to_none() -> None:
    head = draw_phantom(Dice(0), Grid((80, 80, 80)))
    assert noise_share(prepared(head, Discrepancy(math.inf))) < 0.004


def test_an_empty_field_has_none() -> None:
    head = draw_phantom(Dice(0), Grid((32, 32, 32)))
    field = acquire(head, Discrepancy(), Dice(0))
    nothing = LocalField(field.values * 0.0, field.mask, field.grid)
    assert noise_share(nothing) == 0.0
