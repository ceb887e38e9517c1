"""Random shapes and the sources that all heads share: ellipsoids, tubes, lesions."""

from __future__ import annotations

import math

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.head import add_lesions, branching_tubes, ellipsoid, masked_head, positions, union_of_spheres
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes

GRID = Grid((32, 40, 32), (1.5, 1.5, 1.5))
CPU = torch.device("cpu")


def test_the_same_seed_gives_the_same_head_bit_for_bit() -> None:
    first, repeated = draw_shapes(RandomSource(11), GRID), draw_shapes(RandomSource(11), GRID)
    for name in ("chi", "mask", "white", "labels"):
        assert torch.equal(getattr(first, name), getattr(repeated, name)), name


def test_another_seed_gives_another_head() -> None:
    first, other = draw_shapes(RandomSource(11), GRID), draw_shapes(RandomSource(12), GRID)
    both = first.mask & other.mask
    assert not torch.equal(first.mask, other.mask)
    assert float((first.chi - other.chi)[both].std()) > 0.5 * float(first.chi[both].std())


@pytest.mark.parametrize("seed", range(6))
def test_chi_has_no_mean_inside_the_mask_is_zero_outside_and_stays_in_range(seed: int) -> None:
    head = draw_shapes(RandomSource(seed), GRID)
    assert head.grid == GRID and head.mask.dtype == torch.bool
    assert 0.02 < float(head.mask.float().mean()) < 1.0
    assert abs(float(head.chi[head.mask].double().mean())) < 1e-6
    assert not bool(head.chi[~head.mask].any()) and not bool(head.white[~head.mask].any())
    assert bool(torch.isfinite(head.chi).all())
    assert 0.01 < float(head.chi[head.mask].std()) < 0.4
    assert float(head.chi.abs().max()) < 3.0


def test_positions_are_millimetres_from_the_centre() -> None:
    grid = Grid((3, 4, 5), (1.0, 2.0, 3.0))
    p = positions(grid, CPU)
    assert p[:, 0, 0, 0].tolist() == [-1.0, -3.0, -6.0]
    assert p[:, -1, -1, -1].tolist() == [1.0, 3.0, 6.0]
    assert p[:, 1, 1, 2].tolist() == [0.0, -1.0, 0.0]


def test_an_ellipsoid_has_its_volume_and_a_half_at_its_surface() -> None:
    grid = Grid((40, 40, 40), (0.5, 1.0, 1.0))
    share = ellipsoid(positions(grid, CPU), torch.zeros(3), torch.tensor([6.0, 9.0, 12.0]), 0.5)
    assert float(share.sum()) * 0.5 == pytest.approx(4 / 3 * math.pi * 6 * 9 * 12, rel=0.02)
    edge = ellipsoid(
        torch.tensor([6.0, 0.0, 0.0]).view(3, 1, 1, 1), torch.zeros(3), torch.tensor([6.0, 9.0, 12.0]), 0.5
    )
    assert float(edge) == pytest.approx(0.5, abs=1e-4)


def test_roughness_moves_the_surface_in_millimetres() -> None:
    grid = Grid((40, 40, 40))
    share = ellipsoid(positions(grid, CPU), torch.zeros(3), torch.full((3,), 8.0), 0.5, 2.0)
    assert float(share.sum()) == pytest.approx(4 / 3 * math.pi * 10.0**3, rel=0.02)


def test_spheres_are_covered_in_millimetres() -> None:
    grid = Grid((24, 24, 12), (1.0, 1.0, 2.0))
    points = torch.tensor([[8.0, 8.0, 8.0, 3.0], [8.0, 8.0, 8.0, 3.0], [18.0, 18.0, 16.0, 0.6]])
    share = union_of_spheres(points, grid)
    assert float(share[8, 8, 4]) > 0.95 and float(share[18, 18, 8]) > 0.7
    assert float(share[8, 8, 6]) < 0.3 < 0.5 < float(share[8, 8, 5])  # 4 mm and 2 mm from a centre of 3 mm
    assert float(share[2, 2, 1]) < 1e-3
    assert float(share.max()) <= 1.0  # a union, not a sum


def test_spheres_beyond_a_face_are_cut() -> None:
    share = union_of_spheres(torch.tensor([[0.0, 0.0, 0.0, 2.0], [-9.0, 3.0, 3.0, 1.0]]), Grid((8, 8, 8)))
    assert float(share[0, 0, 0]) > 0.9
    assert not bool(share[5:].any()) and not bool(share[:, 6:].any())


def test_tubes_are_thin_and_more_of_them_fill_more() -> None:
    mask = torch.ones(GRID.shape, dtype=torch.bool)
    few, many = (branching_tubes(RandomSource(1), mask, GRID, n, (0.4, 0.8)) for n in (2, 30))
    assert float(few.min()) >= 0.0 and float(many.max()) <= 1.0
    assert 0 < int((few > 0.5).sum()) < 0.2 * int((many > 0.5).sum())
    inside = torch.nn.functional.avg_pool3d((many > 0.5).float()[None], 5, 1, 2)[0]
    assert float(inside[many > 0.5].mean()) < 0.5  # surrounded by what they run through


def test_some_heads_have_lesions_which_are_strong_and_local() -> None:
    p, mask = positions(GRID, CPU), torch.ones(GRID.shape, dtype=torch.bool)
    drawn = [add_lesions(RandomSource(seed), torch.zeros(GRID.shape), p, mask, GRID) for seed in range(40)]
    strongest = [float(chi.abs().max()) for chi in drawn]
    some = [chi for chi in drawn if float(chi.abs().max()) > 0.1]
    assert 8 <= len(some) <= 36
    assert min(strongest) < 0.01 and 0.5 < max(strongest) < 2.5
    assert any(float(chi.min()) < -0.1 for chi in some) and any(float(chi.max()) > 0.1 for chi in some)
    assert all(float((chi.abs() > 0.05).float().mean()) < 0.3 for chi in some)


def test_an_empty_mask_gives_an_empty_head() -> None:
    ones = torch.ones(GRID.shape)
    head = masked_head(ones, torch.zeros(GRID.shape, dtype=torch.bool), ones, ones.to(torch.int16), GRID)
    assert not bool(head.chi.any()) and not bool(head.labels.any())
