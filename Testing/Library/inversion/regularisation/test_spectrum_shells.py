"""A spectrum between its shells, and its sums."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.regularisation.spectrum import Spectrum, interpolate
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.fourier import wavenumber


def example_spectrum(n: int = 5) -> Spectrum:
    k = torch.logspace(-2, -0.5, n, dtype=torch.float64)
    ones = torch.ones(n, dtype=torch.float64)
    lambdas = torch.tensor([0.01, 0.02, 0.005, 0.2, 0.1], dtype=torch.float64)[:n]
    return Spectrum(k, lambdas * ones, ones, 2.0 * ones, 100.0 * ones, 0.0)


def test_interpolation_is_exact_at_the_shells_constant_beyond_and_linear_in_logarithms() -> None:
    known, values = example_spectrum().wavenumber, example_spectrum().regularisation
    torch.testing.assert_close(interpolate(known, values, known), values)
    beyond = torch.tensor([0.0, 1e-9, 0.5 * float(known[0]), 2.0 * float(known[-1]), 1e6], dtype=torch.float64)
    expected = torch.stack([values[0], values[0], values[0], values[-1], values[-1]])
    torch.testing.assert_close(interpolate(known, values, beyond), expected)
    between = (known[:-1] * known[1:]).sqrt()
    torch.testing.assert_close(interpolate(known, values, between), (values[:-1] * values[1:]).sqrt())
    third = known[:-1] ** (2 / 3) * known[1:] ** (1 / 3)
    torch.testing.assert_close(interpolate(known, values, third), values[:-1] ** (2 / 3) * values[1:] ** (1 / 3))


def test_interpolation_keeps_shape_and_precision_and_takes_a_single_shell() -> None:
    spectrum, grid = example_spectrum(1), Grid((6, 5, 4))
    assert torch.equal(spectrum.regularisation_at(grid), torch.full((6, 5, 3), 0.01))
    regularisation = example_spectrum().regularisation_at(grid)
    assert regularisation.shape == (6, 5, 3) and regularisation.dtype == torch.float32
    k = wavenumber(grid)
    ends = torch.stack([regularisation[k == k.max()].mean(), regularisation[0, 0, 0]])
    torch.testing.assert_close(ends, torch.tensor([0.1, 0.01]))


def test_shares_and_means_weigh_frequencies_by_their_power() -> None:
    spectrum = example_spectrum()
    assert spectrum.discrepancy_share == pytest.approx(float(spectrum.discrepancy.sum()) / 10.0)
    assert spectrum.mean_regularisation == pytest.approx(float(spectrum.regularisation.mean()))
    one_shell = replace(spectrum, susceptibility=torch.tensor([0.0, 0.0, 0.0, 0.0, 4.0], dtype=torch.float64))
    assert one_shell.mean_regularisation == pytest.approx(0.1 / 4.0)


def test_a_field_without_susceptibility_is_regularised_as_much_as_possible_and_an_empty_one_as_little() -> None:
    spectrum, zeros = example_spectrum(), torch.zeros(5, dtype=torch.float64)
    no_susceptibility = replace(spectrum, field=zeros, susceptibility=zeros)
    assert no_susceptibility.discrepancy_share == 0.0 and no_susceptibility.mean_regularisation == 1.0
    assert torch.equal(no_susceptibility.regularisation, torch.ones(5, dtype=torch.float64))
    empty = replace(no_susceptibility, discrepancy=zeros)
    assert empty.mean_regularisation == pytest.approx(SETTINGS.min_regularisation)
