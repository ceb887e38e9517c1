"""LPCNN and MoDL-QSM: descent on the field along B0, in one orientation or several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from IR2QSMLib.core.errors import GridMismatch
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.networks.registry import Unrolled, build, make_config
from IR2QSMLib.physics.dipole import DipoleOp, DipoleStack, simulate_field

GRID = Grid((20, 24, 16), (1.0, 1.0, 1.5), user_b0_direction=(0.0, 0.3, 0.9))
TILTED = replace(GRID, user_b0_direction=(0.7, 0.1, 0.7))


def network_of(name: str, **settings: object) -> Unrolled:
    network = build(make_config(name, width=0.125, **settings))
    network.initialise(torch.Generator().manual_seed(0))
    nn.init.normal_(network.proximal.head.weight, std=0.2, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr]
    return cast(Unrolled, network.eval())


def truth(grid: Grid = GRID) -> tuple[Tensor, Tensor]:
    """Sources [ppm] and the mask they fill: (1, 1, x, y, z)."""
    x, y, z = (torch.linspace(-1, 1, n).view([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(grid.shape))
    mask = (x.square() + y.square() + z.square() < 0.7).float()
    chi = mask * (0.1 * torch.sin(5 * x + 1) * torch.cos(4 * y) + 0.05 * torch.sin(7 * z))
    return (chi - mask * chi.sum() / mask.sum())[None, None], mask[None, None]


# The operator of a batch.


@pytest.mark.parametrize("margin", [0, 5])
def test_the_stack_is_self_adjoint(require_adjoint: Callable[..., None], margin: int) -> None:
    stack = DipoleStack([[GRID, TILTED]], margin)
    shape = (1, 2, *GRID.shape)
    require_adjoint(stack, stack.adjoint, shape, shape)


def test_each_sample_and_orientation_has_its_own_kernel() -> None:
    x = torch.randn(2, 1, *GRID.shape, generator=torch.Generator().manual_seed(0))
    fields = DipoleStack([[GRID, TILTED], [TILTED, GRID]])(x)
    expected = [[DipoleOp(grid)(x[i, 0]) for grid in pair] for i, pair in enumerate(((GRID, TILTED), (TILTED, GRID)))]
    torch.testing.assert_close(fields, torch.stack([torch.stack(row) for row in expected]))


def test_a_margin_keeps_the_periodic_images_away() -> None:
    chi, _ = truth()
    exact = simulate_field(chi, TILTED)
    near, far = ((DipoleStack([[TILTED]], margin)(chi) - exact).norm() / exact.norm() for margin in (0, 16))
    assert far < 0.02 < near


def test_grids_of_different_shapes_do_not_stack() -> None:
    other = Grid((8, 8, 8))
    with pytest.raises(GridMismatch, match=r"have the shapes \[\(8, 8, 8\), \(20, 24, 16\)\]; expected one"):
        DipoleStack([[GRID], [other]])
    with pytest.raises(
        GridMismatch, match=r"got a volume of \(8, 8, 8\) voxels; expected its grids' shape \(20, 24, 16\)"
    ):
        DipoleStack([[GRID]])(torch.zeros(1, 1, 8, 8, 8))


# The descent.


@torch.no_grad()
def test_without_a_prior_lpcnn_is_the_descent_of_the_paper() -> None:
    """With P the identity, K steps are those of the matrix iteration, worked out in k-space."""
    chi, mask = truth()
    ones, dipole = torch.ones_like(mask), DipoleStack([[GRID]])
    field = dipole(chi)
    for k in (1, 3):
        network = network_of("lpcnn", n_passes=k)
        network.proximal = nn.Identity()  # type: ignore[assignment]
        d = torch.fft.fftn(DipoleOp(GRID)(delta()), dim=(-3, -2, -1)).real
        share = 1.0 - (1.0 - 4.0 * d**2) ** k  # of each frequency of χ, α = 4
        expected = torch.fft.ifftn(share * torch.fft.fftn(chi, dim=(-3, -2, -1)), dim=(-3, -2, -1)).real
        torch.testing.assert_close(network(field, dipole, ones).chi, expected, atol=1e-5, rtol=1e-4)


def delta() -> Tensor:
    x = torch.zeros(GRID.shape)
    x[0, 0, 0] = 1.0
    return x


@torch.no_grad()
@pytest.mark.parametrize("name", ["lpcnn", "modl-qsm"])
def test_the_truth_is_a_fixed_point_of_the_masked_descent(name: str) -> None:
    """From the truth as the first inversion, the masked field asks for no step; zeros outside that count as data do."""
    chi, mask = truth()
    dipole = DipoleStack([[GRID]])
    image = torch.cat([dipole(chi) * mask, chi], dim=1)
    errors = []
    for masked in (True, False):
        network = network_of(name, n_inputs=2, masked=masked)
        network.proximal = nn.Identity()  # type: ignore[assignment]
        errors.append(float((network(image, dipole, mask).chi - chi).norm() / chi.norm()))
    assert errors[0] < 1e-5 < 0.02 < errors[1]


@torch.no_grad()
def test_the_second_channel_of_modl_qsm_is_what_chi_does_not_explain() -> None:
    """Descent on both channels explains a field, of which a part comes from no χ, better than descent on χ alone."""
    chi, mask = truth()
    dipole, ones = DipoleStack([[GRID]]), torch.ones_like(mask)
    field = dipole(chi) + 0.02
    network = network_of("modl-qsm", n_passes=20)
    network.proximal, network.step = nn.Identity(), nn.Parameter(torch.tensor([1.0]))  # type: ignore[assignment]
    estimate = network(field, dipole, ones)
    assert estimate.unexplained is not None
    torch.testing.assert_close(dipole(estimate.chi) + estimate.unexplained, field, atol=1e-4, rtol=0)
    assert float(estimate.unexplained.mean()) == pytest.approx(0.02, rel=0.02)  # D∗χ has no mean


@torch.no_grad()
@pytest.mark.parametrize("name", ["lpcnn", "modl-qsm"])
def test_reordered_axes_with_b0_give_the_reordered_map(name: str) -> None:
    """Exactly so for a learned part whose kernels are the same along x, y and z."""
    network = network_of(name)
    for m in network.modules():
        if isinstance(m, nn.Conv3d):
            w = m.weight
            m.weight = nn.Parameter((w + w.permute(0, 1, 3, 4, 2) + w.permute(0, 1, 4, 2, 3)) / 3.0)
    chi, mask = truth()
    field = DipoleStack([[GRID]])(chi) * mask
    reordered_grid = GRID.reoriented((1, 2, 0), (False, False, False))
    assert reordered_grid.b0_direction == pytest.approx(GRID.b0_direction[1:] + GRID.b0_direction[:1])

    def reordered(x: Tensor) -> Tensor:
        return x.permute(0, 1, 3, 4, 2).contiguous()

    expected = reordered(network(field, DipoleStack([[GRID]]), mask).chi)
    chi = network(reordered(field), DipoleStack([[reordered_grid]]), reordered(mask)).chi
    torch.testing.assert_close(chi, expected, atol=1e-6, rtol=1e-4)
    wrong = network(
        reordered(field), DipoleStack([[replace(reordered_grid, user_b0_direction=GRID.b0_direction)]]), reordered(mask)
    ).chi
    assert (wrong - chi).norm() > 0.05 * chi.norm()


# Several orientations.


@torch.no_grad()
def test_a_second_orientation_lowers_the_error() -> None:
    """The cone of one orientation is not the cone of the other."""
    chi, mask = truth()
    grids = [GRID, TILTED]
    pair = DipoleStack([grids])
    field = pair(chi)
    noise = 0.002 * torch.randn(field.shape, generator=torch.Generator().manual_seed(0))
    field = (field + noise) * mask
    network = network_of("lpcnn", n_passes=30)
    network.proximal = nn.Identity()  # type: ignore[assignment]

    def error(fields: Tensor, dipole: DipoleStack) -> float:
        return float((network(fields, dipole, mask).chi - chi).norm() / chi.norm())

    both = error(field, pair)
    single = [error(field[:, i : i + 1], DipoleStack([[grids[i]]])) for i in range(2)]
    assert both < 0.8 * min(single)
    # Twice the same orientation is that orientation.
    twice = error(field[:, :1].repeat(1, 2, 1, 1, 1), DipoleStack([[GRID, GRID]]))
    assert twice == pytest.approx(single[0], rel=1e-4)


@torch.no_grad()
def test_the_order_of_orientations_does_not_matter() -> None:
    chi, mask = truth()
    network, results = network_of("lpcnn"), []
    for grids in ([GRID, TILTED], [TILTED, GRID]):
        dipole = DipoleStack([grids])
        results.append(network(dipole(chi) * mask, dipole, mask).chi)
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_three_orientations_with_a_first_inversion() -> None:
    chi, mask = truth()
    network = network_of("lpcnn", n_inputs=2)
    dipole = DipoleStack([[GRID, TILTED, replace(GRID, user_b0_direction=(0.0, -0.7, 0.7))]])
    maps = [network(torch.cat([dipole(chi) * mask, s * chi], dim=1), dipole, mask).chi for s in (0.5, 1.0)]
    assert maps[0].shape == chi.shape and not torch.allclose(maps[0], maps[1], atol=1e-4)


@torch.no_grad()
def test_batches_of_several_grids_are_those_of_each() -> None:
    chi, mask = truth()
    for name, n_inputs in product(("lpcnn", "modl-qsm"), (1, 2)):
        network = network_of(name, n_inputs=n_inputs)
        both = DipoleStack([[GRID], [TILTED]], margin=4)
        x = torch.cat([both(chi.repeat(2, 1, 1, 1, 1)), chi.repeat(2, 1, 1, 1, 1)], dim=1)[:, :n_inputs]
        batch = network(x, both, mask.repeat(2, 1, 1, 1, 1)).chi
        results = [network(x[i : i + 1], DipoleStack([[g]], 4), mask).chi for i, g in enumerate((GRID, TILTED))]
        right = float((batch - torch.cat(results)).norm())
        swapped = float((batch - torch.cat(results[::-1])).norm())
        assert right < 1e-3 * float(batch.norm()) < 0.1 * swapped
