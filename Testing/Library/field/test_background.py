"""Background removal: harmonic fields, spheres outside and inside, the MEDI toolbox's PDF, Laplace's equation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import BackgroundRemoval
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.field.pdf import ProjectionOntoDipoles
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.physics.dipole import simulate_field

OBLIQUE = (0.2, -0.4, 0.9)
GRIDS = [
    Grid((44, 44, 44)),
    Grid((48, 48, 28), (0.9, 0.9, 1.6), user_b0_direction=OBLIQUE),
    Grid((44, 42, 16), (1.0, 1.0, 3.0)),
]
REMOVALS = [VSharp(), ProjectionOntoDipoles(), LaplacianBoundaryValue()]
RADIUS = 20.0


def total_field(values: Tensor, mask: Tensor, grid: Grid, noise: float = 1e-3) -> TotalField:
    return TotalField(torch.where(mask, values, 0.0), mask, grid, noise * mask)


def rms(values: Tensor, mask: Tensor) -> float:
    inside = values[mask]
    return float((inside - inside.mean()).square().mean().sqrt())


@pytest.mark.parametrize("grid", GRIDS, ids=["isotropic", "oblique", "thick"])
@pytest.mark.parametrize(("removal", "max_error"), [(VSharp(), 0.01), (LaplacianBoundaryValue(), 0.015)])
def test_harmonic_fields_vanish(
    removal: BackgroundRemoval,
    max_error: float,
    grid: Grid,
    positions: Callable[..., Tensor],
    ball: Callable[..., Tensor],
) -> None:
    """First to third order, along and across the thick slices."""
    x, y, z = positions(grid)
    mask = ball(grid, RADIUS)
    for field in (x + 0.5 * z + 3.0, x**2 - z**2, x * y, y * z, x**2 - y**2, z**3 - 1.5 * z * (x**2 + y**2)):
        local = removal(total_field(field, mask, grid), lambda fraction, stage: None)
        assert rms(local.values, local.mask) < max_error * rms(field, mask)


@pytest.mark.parametrize("grid", GRIDS, ids=["isotropic", "oblique", "thick"])
@pytest.mark.parametrize(("removal", "max_error"), list(zip(REMOVALS, (0.03, 0.06, 0.04), strict=True)))
def test_a_sphere_outside_is_removed_to_a_few_percent(
    removal: BackgroundRemoval,
    max_error: float,
    grid: Grid,
    ball: Callable[..., Tensor],
    dipole_field: Callable[..., Tensor],
) -> None:
    mask = ball(grid, RADIUS)
    field = dipole_field(grid, (26.0, 6.0, 4.0), 300.0) + dipole_field(grid, (-3.0, 8.0, 28.0), 500.0)
    local = removal(total_field(field, mask, grid, 1e-3 * rms(field, mask)), lambda fraction, stage: None)
    assert rms(local.values, local.mask) < max_error * rms(field, local.mask)


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("b", [(0.0, 0.0, 1.0), OBLIQUE])
def test_the_field_of_an_inner_sphere_is_kept(
    removal: BackgroundRemoval,
    b: tuple[float, float, float],
    ball: Callable[..., Tensor],
    dipole_field: Callable[..., Tensor],
) -> None:
    grid = Grid((48, 48, 48), user_b0_direction=b)
    mask = ball(grid, 21.0)
    inner = simulate_field(torch.where(ball(grid, 3.5), 1.0, 0.0), grid)
    outer = dipole_field(grid, (28.0, 4.0, 5.0), 2500.0)
    assert rms(outer, mask) > 0.3 * rms(inner, mask)
    local = removal(total_field(inner + outer, mask, grid, 1e-4), lambda fraction, stage: None)
    centre = local.mask & ball(grid, 10.0)
    assert rms(local.values - inner, centre) < 0.06 * rms(inner, centre)
    assert rms(local.values - inner, local.mask) < 0.3 * rms(inner, local.mask)


def test_pdf_equals_the_toolboxes(toolbox: Any) -> None:
    """From the noise-free total field; for B0 along an axis and oblique."""
    unit = 1.0 / (2.0 * math.pi * float(toolbox.results["center_frequency_hz"]) * 1e-6 * 0.005)
    mask = toolbox.mask
    noise = torch.where(mask, unit * toolbox.result("noise_std_rad"), 0.0)
    field = TotalField(torch.where(mask, toolbox.result("total_field_true_ppm"), 0.0), mask, toolbox.grid, noise)
    local = ProjectionOntoDipoles()(field)
    reference = unit * toolbox.result("pdf_local_field_rad")
    assert float((local.values - reference)[mask].norm() / reference[mask].norm()) < 0.01
    assert torch.equal(local.mask, mask)


def test_pdf_weighs_by_noise(ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor]) -> None:
    """Disturbed voxels of large noise do not disturb the others."""
    grid = Grid((30, 30, 30))
    mask = ball(grid, 13.0)
    field = dipole_field(grid, (20.0, 0.0, 0.0), 500.0)
    disturbed, noise = field.clone(), 1e-3 * mask
    disturbed[20:24, 13:17, 13:17] += 5.0
    noise_of_disturbed = noise.clone()
    noise_of_disturbed[20:24, 13:17, 13:17] = 1e3
    clean = mask & ~(noise_of_disturbed > 1.0)
    unweighted, weighted = (
        ProjectionOntoDipoles()(TotalField(torch.where(mask, disturbed, 0.0), mask, grid, n)).values
        for n in (noise, noise_of_disturbed)
    )
    assert rms(weighted, clean) < 0.2 * rms(unweighted, clean)


def test_pdf_without_noise_is_refused() -> None:
    mask = torch.ones(8, 8, 8, dtype=torch.bool)
    with pytest.raises(FieldInvalid, match="noise map"):
        ProjectionOntoDipoles()(TotalField(torch.zeros(8, 8, 8), mask, Grid((8, 8, 8))))


def test_the_background_of_lbv_is_harmonic(ball: Callable[..., Tensor]) -> None:
    """∇²(f − u) = 0 at every voxel of the new mask, and u is zero around it: the definition of the method."""
    grid = Grid((22, 20, 14), (1.0, 1.1, 1.7))
    mask = ball(grid, 8.0)
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    local = LaplacianBoundaryValue(tolerance=1e-6)(total_field(field, mask, grid))
    background = torch.where(mask, field, 0.0) - local.values
    laplacian = sum(
        (
            (background.roll(1, a) + background.roll(-1, a) - 2.0 * background) / v**2
            for a, v in enumerate(grid.voxel_size)
        ),
        torch.zeros(grid.shape),
    )
    assert float(laplacian[local.mask].abs().max()) < 1e-4
    assert not local.values[~local.mask].any()
    neighbours = torch.nn.functional.conv3d(
        local.mask.float()[None, None], torch.ones(1, 1, 3, 1, 1), padding=(1, 0, 0)
    )
    assert bool(mask[neighbours[0, 0] > 0].all()) and int(local.mask.sum()) < int(mask.sum())


@pytest.mark.parametrize("grid", GRIDS, ids=["isotropic", "oblique", "thick"])
@pytest.mark.parametrize("smallest", [1.0, 4.0])
def test_vsharp_shrinks_the_mask_by_its_smallest_radius(
    grid: Grid, smallest: float, ball: Callable[..., Tensor]
) -> None:
    radius = max(smallest, *grid.voxel_size)
    local = VSharp(smallest=smallest)(total_field(torch.zeros(grid.shape), ball(grid, RADIUS), grid))
    tolerance = 0.6 * max(grid.voxel_size)
    assert bool((local.mask <= ball(grid, RADIUS - radius + tolerance)).all())
    assert bool((ball(grid, RADIUS - radius - 1.5 * tolerance) <= local.mask).all())


def test_the_radii_fall_to_the_size_of_a_voxel() -> None:
    assert VSharp().radii(Grid((9, 9, 9))) == [float(r) for r in range(12, 0, -1)]
    assert VSharp().radii(Grid((9, 9, 9), (1.0, 1.0, 1.6)))[-2:] == [2.0, 1.6]
    assert VSharp(largest=6.0, step=2.5).radii(Grid((9, 9, 9))) == [6.0, 3.5, 1.0]


def test_spheres_do_not_reach_through_the_image_to_its_other_side() -> None:
    """The mask touches both sides along x; a periodic sphere would fit there and mix them."""
    grid = Grid((24, 24, 24))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    x = torch.arange(24.0).view(-1, 1, 1).expand(grid.shape)
    local = VSharp(largest=6.0)(total_field(x, mask, grid))
    assert not local.mask[0].any() and not local.mask[-1].any() and bool(local.mask[2:-2, 2:-2, 2:-2].all())
    assert rms(local.values, local.mask) < 0.01 * rms(x, mask)


@pytest.mark.parametrize("removal", REMOVALS)
def test_shifting_field_and_mask_shifts_the_local_field(
    removal: BackgroundRemoval, ball: Callable[..., Tensor]
) -> None:
    grid, shift = Grid((30, 30, 30)), (2, -2, 2)
    mask = ball(grid, 12.0)
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(1))
    centred = removal(total_field(field, mask, grid), lambda fraction, stage: None)
    shifted = total_field(field.roll(shift, (0, 1, 2)), mask.roll(shift, (0, 1, 2)), grid)
    shifted_back = removal(shifted, lambda fraction, stage: None)
    assert torch.equal(shifted_back.mask, centred.mask.roll(shift, (0, 1, 2)))
    torch.testing.assert_close(shifted_back.values, centred.values.roll(shift, (0, 1, 2)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (VSharp(), VSharp(largest=6.0)),
        (VSharp(), VSharp(smallest=3.0)),
        (VSharp(), VSharp(step=5.0)),
        (VSharp(largest=4.0), VSharp(largest=4.0, threshold=0.4)),
        (ProjectionOntoDipoles(), ProjectionOntoDipoles(tolerance=2.0)),
        (ProjectionOntoDipoles(tolerance=1e-3), ProjectionOntoDipoles(tolerance=1e-3, n_iterations=2)),
        (ProjectionOntoDipoles(), ProjectionOntoDipoles(padding=4)),
        (LaplacianBoundaryValue(), LaplacianBoundaryValue(tolerance=0.3)),
        (LaplacianBoundaryValue(), LaplacianBoundaryValue(n_iterations=3)),
        (LaplacianBoundaryValue(), LaplacianBoundaryValue(peel=2)),
    ],
)
def test_every_parameter_matters(
    first: BackgroundRemoval, second: BackgroundRemoval, ball: Callable[..., Tensor]
) -> None:
    grid = Grid((32, 32, 32))
    mask = ball(grid, 13.0)
    field = simulate_field(torch.randn(grid.shape, generator=torch.Generator().manual_seed(2)), grid)
    a, b = (removal(total_field(field, mask, grid, 0.01), lambda fraction, stage: None) for removal in (first, second))
    both = a.mask & b.mask
    assert float((a.values - b.values)[both].norm()) > 1e-3 * float(a.values[both].norm())


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_mask_without_an_inside_is_refused(removal: BackgroundRemoval) -> None:
    grid = Grid((12, 12, 12))
    empty = torch.zeros(grid.shape, dtype=torch.bool)
    with pytest.raises(MaskInvalid, match="mask is empty"):
        removal(total_field(torch.zeros(grid.shape), empty, grid), lambda fraction, stage: None)
    if not isinstance(removal, ProjectionOntoDipoles):
        thin = empty.clone()
        thin[5] = True
        with pytest.raises(MaskInvalid, match="larger"):
            removal(total_field(torch.zeros(grid.shape), thin, grid), lambda fraction, stage: None)


@pytest.mark.parametrize("removal", REMOVALS)
def test_background_removal_can_be_cancelled(removal: BackgroundRemoval) -> None:
    def cancel(fraction: float, stage: str) -> None:
        assert stage == "background removal"
        raise Cancelled

    grid = Grid((12, 12, 12))
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(3))
    with pytest.raises(Cancelled):
        removal(total_field(field, torch.ones(grid.shape, dtype=torch.bool), grid), cancel)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (VSharp, {"largest": 0.5}),
        (VSharp, {"smallest": 0.0}),
        (VSharp, {"step": 0.0}),
        (VSharp, {"threshold": 1.0}),
        (ProjectionOntoDipoles, {"tolerance": 0.0}),
        (ProjectionOntoDipoles, {"n_iterations": 0}),
        (ProjectionOntoDipoles, {"padding": -1}),
        (LaplacianBoundaryValue, {"tolerance": math.nan}),
        (LaplacianBoundaryValue, {"peel": -1}),
    ],
)
def test_parameters_out_of_range_are_refused(make: Callable[..., Any], parameters: dict[str, float]) -> None:
    with pytest.raises(ParameterInvalid, match="expected"):
        make(**parameters)


def test_a_constant_field_has_no_local_field(ball: Callable[..., Tensor]) -> None:
    grid = Grid((30, 28, 26), (1.0, 1.0, 1.2))
    for removal in REMOVALS:
        local = removal(total_field(torch.ones(grid.shape), ball(grid, 12.0), grid), lambda fraction, stage: None)
        assert isinstance(local, LocalField) and local.grid == grid
        assert not local.values[~local.mask].any() and float(local.values.abs().max()) < 0.03
