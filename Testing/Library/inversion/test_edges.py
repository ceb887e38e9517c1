"""Edges of a map itself; those of a magnitude are tested with MEDI, which asks for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from IR2QSMLib.errors import MaskInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion import learned
from IR2QSMLib.inversion.edges import EDGE_SHARE, own_edges
from IR2QSMLib.inversion.learned import Learned
from IR2QSMLib.inversion.loading import bundled
from Testing.Library.inversion.learned_cases import GRID, simulated, truth

CUBE = Grid((40, 40, 40))


def box() -> Tensor:
    chi = torch.zeros(CUBE.shape)
    chi[12:28, 12:28, 12:28] = 0.1
    return chi


def everywhere(grid: Grid) -> Tensor:
    return torch.ones(grid.shape, dtype=torch.bool)


def test_edges_lie_where_the_map_steps() -> None:
    noise = 0.002 * torch.randn(CUBE.shape, generator=torch.Generator().manual_seed(0))
    x, y, z = own_edges(box() + noise, everywhere(CUBE), CUBE)
    for edges, face in ((x, (11, 20, 20)), (y, (20, 27, 20)), (z, (20, 20, 11))):
        assert edges[face] == 0.0 and 0.5 < edges[4:8, 4:8, 4:8].mean() < 1.0
    assert x[11, 14:26, 14:26].sum() == 0.0 and x[27, 14:26, 14:26].sum() == 0.0


def test_edges_are_as_many_as_are_asked_for() -> None:
    mask = everywhere(CUBE)
    mask[:8] = False
    rough = torch.randn(CUBE.shape, generator=torch.Generator().manual_seed(1))
    found = torch.stack(own_edges(rough, mask, CUBE))
    inside = found[:, 8:]                               # the mask's own faces count, too
    assert abs(int((found <= 0.5).sum()) - EDGE_SHARE * int(mask.sum())) <= 1.0
    assert bool((found[:, :7] == 1.0).all()) and inside.amin() == 0.0 and inside.amax() == 1.0


def test_a_little_more_of_a_step_is_only_a_little_more_of_an_edge() -> None:
    rough = torch.randn(CUBE.shape, generator=torch.Generator().manual_seed(4))
    close = rough * (1.0 + 1e-3 * torch.randn(CUBE.shape, generator=torch.Generator().manual_seed(5)))
    found, again = (torch.stack(own_edges(x, everywhere(CUBE), CUBE)) for x in (rough, close))
    assert 0.0 < (found - again).abs().max() < 0.01


def test_what_lies_outside_the_mask_makes_no_edge() -> None:
    mask, other = box() > 0.0, box()
    other[mask.logical_not()] = 5.0
    assert torch.equal(*(torch.stack(own_edges(x, mask, CUBE)) for x in (box(), other)))


def test_edges_are_seen_through_a_blur_of_a_millimetre() -> None:
    """Salt and pepper as high as a step is no edge beside it, on fine voxels."""
    fine = Grid(CUBE.shape, (0.5, 0.5, 0.5))
    noise = 0.05 * torch.randn(CUBE.shape, generator=torch.Generator().manual_seed(2))
    x, _, _ = own_edges(box() + noise, everywhere(fine), fine)
    assert x[10:13, 14:26, 14:26].mean() < 0.2 < x[18:21, 14:26, 14:26].mean()


def test_a_map_of_zeros_has_no_edges() -> None:
    assert all(bool((e == 1.0).all()) for e in own_edges(torch.zeros(CUBE.shape), everywhere(CUBE), CUBE))


@pytest.mark.parametrize("thick", [1, 2])
def test_a_thin_mask_is_nearly_all_edge(thick: int) -> None:
    mask = torch.zeros(CUBE.shape, dtype=torch.bool)
    mask[:, :, :thick] = True
    _, _, z = own_edges(torch.randn(CUBE.shape, generator=torch.Generator().manual_seed(3)), mask, CUBE)
    assert z[:, :, -1].sum() == z[:, :, thick - 1].sum() == 0.0


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(MaskInvalid, match="empty"):
        own_edges(box(), box() < 0.0, CUBE)


def test_the_map_s_own_edges_are_spared_where_there_is_no_magnitude(monkeypatch: pytest.MonkeyPatch) -> None:
    field = simulated(noise=2e-3)
    spared = Learned(bundled())(field).values
    monkeypatch.setattr(learned, "own_edges", lambda chi, mask, grid: [torch.ones(grid.shape)] * 3)
    blurred = Learned(bundled())(field).values
    near, far = ((x - truth(GRID))[field.mask].norm() for x in (spared, blurred))
    assert near < 0.97 * far
