"""Harmonic polynomials solve Laplace's equation, are complete, and explain the fields of sources outside alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.harmonics import harmonic_polynomials, harmonic_share

GRID = Grid((14, 12, 9), (1.0, 1.2, 2.0))


def centred() -> tuple[Tensor, Tensor, Tensor]:
    axes = [(torch.arange(n) - (n - 1) / 2) * v for n, v in zip(GRID.shape, GRID.voxel_size, strict=True)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x, y, z


def ball() -> Tensor:
    x, y, z = centred()
    return x**2 + y**2 + z**2 < 36.0


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_polynomials_are_harmonic_independent_and_complete(order: int) -> None:
    points = torch.rand(80, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    columns = harmonic_polynomials(points, order)
    assert columns.shape == (80, (order + 1) ** 2)
    assert int(torch.linalg.matrix_rank(columns)) == (order + 1) ** 2
    hessian = torch.autograd.functional.hessian(
        lambda p: harmonic_polynomials(p[None], order).square().sum(), points[0]
    )
    laplacian_of_squares = float(torch.diagonal(hessian).sum())
    gradient = torch.autograd.functional.jacobian(lambda p: harmonic_polynomials(p[None], order)[0], points[0])
    # ∇²(u²) = 2|∇u|² + 2u∇²u, and the last term is zero.
    assert laplacian_of_squares == pytest.approx(2.0 * float(gradient.square().sum()), abs=1e-9)


def test_fields_of_outer_sources_are_explained_and_others_not() -> None:
    x, y, z = centred()
    outside = 1.0 / ((x - 14.0) ** 2 + (y + 3.0) ** 2 + (z - 2.0) ** 2).sqrt()
    assert harmonic_share(outside, ball(), GRID, 5) > 0.999
    assert 0.5 < harmonic_share(outside, ball(), GRID, 1) < harmonic_share(outside, ball(), GRID, 2)
    assert harmonic_share(x**2 + y**2 + z**2, ball(), GRID, 5) < 0.3
    noise = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(1))
    assert harmonic_share(noise, ball(), GRID, 2) < 0.1
    assert harmonic_share(3.0 - 2e-3 * outside, ball(), GRID, 5) == pytest.approx(
        harmonic_share(outside, ball(), GRID, 5), abs=1e-4
    )


def test_a_part_of_the_voxels_gives_nearly_the_same_share() -> None:
    x, _, z = centred()
    field = x * z + 0.3 * torch.randn(GRID.shape, generator=torch.Generator().manual_seed(2)) * x.std() * z.std()
    whole = harmonic_share(field, ball(), GRID, 2)
    assert harmonic_share(field, ball(), GRID, 2, max_samples=200) == pytest.approx(whole, abs=0.1)


def test_constant_fields_and_masks_of_few_voxels_have_no_share() -> None:
    assert harmonic_share(torch.full(GRID.shape, 0.7), ball(), GRID, 2) == 0.0
    few = torch.zeros(GRID.shape, dtype=torch.bool)
    few[3, 3, :8] = True
    assert harmonic_share(centred()[2], few, GRID, 2) == 0.0
