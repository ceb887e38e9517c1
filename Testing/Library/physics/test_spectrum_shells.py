"""A spectrum between its shells, and what it sums up to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import wavenumber
from IR2QSMLib.physics.spectrum import Spectrum, interpolate


def a_spectrum(n: int = 5) -> Spectrum:
    k = torch.logspace(-2, -0.5, n, dtype=torch.float64)
    ones = torch.ones(n, dtype=torch.float64)
    lambdas = torch.tensor([0.01, 0.02, 0.005, 0.2, 0.1], dtype=torch.float64)[:n]
    return Spectrum(k, lambdas * ones, ones, 2.0 * ones, 100.0 * ones, 0.0)


def test_interpolation_is_exact_at_the_shells_constant_beyond_and_linear_in_logarithms() -> None:
    known, values = a_spectrum().wavenumber, a_spectrum().regularisation
    torch.testing.assert_close(interpolate(known, values, known), values)
    beyond = torch.tensor([0.0, 1e-9, 0.5 * float(known[0]), 2.0 * float(known[-1]), 1e6], dtype=torch.float64)
    expected = torch.stack([values[0], values[0], values[0], values[-1], values[-1]])
    torch.testing.assert_close(interpolate(known, values, beyond), expected)
    between = (known[:-1] * known[1:]).sqrt()
    torch.testing.assert_close(interpolate(known, values, between), (values[:-1] * values[1:]).sqrt())
    third = known[:-1] ** (2 / 3) * known[1:] ** (1 / 3)
    torch.testing.assert_close(interpolate(known, values, third), values[:-1] ** (2 / 3) * values[1:] ** (1 / 3))


def test_interpolation_keeps_shape_and_precision_and_takes_a_single_shell() -> None:
    spectrum, grid = a_spectrum(1), Grid((6, 5, 4))
    assert torch.equal(spectrum.regularisation_at(grid), torch.full((6, 5, 3), 0.01))
    found = a_spectrum().regularisation_at(grid)
    assert found.shape == (6, 5, 3) and found.dtype == torch.float32
    k = wavenumber(grid)
    ends = torch.stack([found[k == k.max()].mean(), found[0, 0, 0]])
    torch.testing.assert_close(ends, torch.tensor([0.1, 0.01]))


def test_shares_and_means_weigh_frequencies_by_their_power() -> None:
    spectrum = a_spectrum()
    assert spectrum.discrepancy_share == pytest.approx(float(spectrum.discrepancy.sum()) / 10.0)
    assert spectrum.mean_regularisation == pytest.approx(float(spectrum.regularisation.mean()))
    loud = replace(spectrum, susceptibility=torch.tensor([0.0, 0.0, 0.0, 0.0, 4.0], dtype=torch.float64))
    assert loud.mean_regularisation == pytest.approx(0.1 / 4.0)
    none = replace(spectrum, field=0.0 * spectrum.field, susceptibility=0.0 * spectrum.field)
    assert none.discrepancy_share == 0.0 and none.mean_regularisation == 1.0
    assert torch.equal(none.regularisation, torch.ones(5, dtype=torch.float64))


def test_wavenumbers_are_those_of_the_grid_in_cycles_per_millimetre() -> None:
    k = wavenumber(Grid((8, 10, 6), (1.0, 2.0, 0.5)))
    assert float(k[1, 0, 0]) == pytest.approx(1 / 8) and float(k[0, -1, 0]) == pytest.approx(1 / 20)
    assert float(k[0, 0, 3]) == pytest.approx(1.0) and float(k[4, 5, 3]) == pytest.approx(math.hypot(0.5, 0.25, 1.0))
