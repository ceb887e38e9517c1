"""Fields of anisotropic susceptibility against analytic ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.anisotropy import WHITE_MATTER_ANISOTROPY, off_diagonal_field, white_matter_field
from IR2QSMLib.simulation.head import positions
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((48, 48, 48), (2.0, 2.0, 2.0))


def fibres_along(x: float, y: float, z: float) -> Tensor:
    return torch.tensor([x, y, z]).view(3, 1, 1, 1).expand(3, *GRID.shape)


def test_the_off_diagonal_field_is_that_of_a_plane_wave() -> None:
    x, y, z = torch.meshgrid(*(2.0 * torch.arange(48.0),) * 3, indexing="ij")
    k = torch.tensor([2.0, 1.0, 3.0]) / 96.0
    wave = torch.cos(2.0 * math.pi * (k[0] * x + k[1] * y + k[2] * z))
    n = torch.tensor([0.48, 0.6, 0.64])
    expected = -(k[2] * n[2] * (k[0] * n[0] + k[1] * n[1])) / (k @ k) * wave
    assert torch.allclose(off_diagonal_field(wave, fibres_along(*n.tolist()), GRID), expected, atol=1e-5)


@pytest.mark.parametrize("fibre", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)])
def test_fibres_along_or_across_b0_have_no_off_diagonal_field(fibre: tuple[float, float, float]) -> None:
    wave = RandomSource(5).smooth_noise(GRID, 4.0)
    assert float(off_diagonal_field(wave, fibres_along(*fibre), GRID).abs().max()) < 1e-6


def test_a_sphere_of_parallel_fibres_has_no_field_inside() -> None:
    # A uniform tensor in a sphere: b·χb/3 is cancelled by the mean of (k·b)(k·χb)/k² over directions.
    grid = Grid((64, 64, 64))
    r = positions(grid, torch.device("cpu")).square().sum(0).sqrt()
    white = (r < 10.0).float()
    fibres = torch.tensor([0.6, 0.0, 0.8]).view(3, 1, 1, 1).expand(3, 64, 64, 64)
    field = white_matter_field(white, fibres, grid, 0.0)
    inside, around = field[r < 7.0], field[(r > 12.0) & (r < 16.0)]
    assert float(inside.abs().mean()) < 0.03 * WHITE_MATTER_ANISOTROPY
    assert float(around.abs().max()) > 0.1 * WHITE_MATTER_ANISOTROPY
    shifted = white_matter_field(white, fibres, grid, 0.01)[r < 7.0].mean() - inside.mean()
    assert float(shifted) == pytest.approx(-0.01 * (1.0 - 0.64 - 2.0 / 3.0), rel=1e-3)
