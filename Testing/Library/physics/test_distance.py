"""Distances from a region, against every pair of voxels."""

from __future__ import annotations

import math

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.distance import depth_inside, distance_from


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.7, 1.5, 3.0)])
def test_distances_are_those_to_the_nearest_voxel_up_to_the_limit(size: tuple[float, float, float]) -> None:
    grid = Grid((12, 11, 9), size)
    region = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)) > 0.995
    points = torch.ones(grid.shape, dtype=torch.bool).nonzero() * torch.tensor(size)
    nearest = torch.cdist(points, points[region.flatten()]).amin(1).view(grid.shape)
    distance = distance_from(region, grid, 4.0)
    assert distance.dtype == torch.float32
    within = nearest <= 3.999
    torch.testing.assert_close(distance[within], nearest[within], atol=2e-3, rtol=0)
    assert bool(distance[nearest > 4.001].isinf().all()) and 0 < int(within.sum()) < within.numel()


def test_a_voxel_exactly_at_the_limit_counts() -> None:
    region = torch.zeros(7, 1, 1, dtype=torch.bool)
    region[0] = True
    distance = distance_from(region, Grid((7, 1, 1), (0.7, 1.0, 1.0)), 2.1).flatten()
    assert distance.tolist() == pytest.approx([0.0, 0.7, 1.4, 2.1, math.inf, math.inf, math.inf])


def test_from_an_empty_region_every_voxel_is_infinitely_far() -> None:
    assert bool(distance_from(torch.zeros(3, 4, 5, dtype=torch.bool), Grid((3, 4, 5)), 9.0).isinf().all())


def test_a_region_of_another_shape_or_type_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match=r"shape \(3, 3, 3\); expected bool of the grid's \(40, 36, 32\)"):
        distance_from(torch.zeros(3, 3, 3, dtype=torch.bool), Grid((40, 36, 32)), 1.0)
    with pytest.raises(ParameterInvalid, match=r"region is torch.float32"):
        distance_from(torch.zeros(3, 3, 3), Grid((3, 3, 3)), 1.0)


def test_depth_counts_the_grid_s_faces_as_edges() -> None:
    grid = Grid((5, 4, 3), (1.0, 1.5, 2.0))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    depth = depth_inside(mask, grid)
    assert depth[:, 1, 1].tolist() == [1.0, 2.0, 3.0, 2.0, 1.0] and depth[2, :, 1].tolist() == [1.5, 3.0, 3.0, 1.5]
    mask[2, 1, 1] = False
    depth = depth_inside(mask, grid)
    assert float(depth[2, 1, 1]) == 0.0 and float(depth[2, 2, 1]) == 1.5 and float(depth[1, 1, 1]) == 1.0
