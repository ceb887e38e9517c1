"""The estimate of the local field's harmonic part, which background removal takes away."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.background import BackgroundRemoval
from IR2QSMLib.field.harmonic import HarmonicCompletion
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.field.pdf import ProjectionOntoDipoles
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.physics.dipole import simulate_field

OBLIQUE = (0.2, -0.4, 0.9)
GRIDS = {
    "isotropic": Grid((44, 44, 44)),
    "oblique": Grid((48, 48, 28), (0.9, 0.9, 1.6), user_b0_direction=OBLIQUE),
    "thick": Grid((44, 42, 16), (1.0, 1.0, 3.0)),
}
RADIUS = 18.0
REMOVALS = [VSharp(), ProjectionOntoDipoles(), LaplacianBoundaryValue()]


def sources(grid: Grid, mask: Tensor, positions: Callable[..., Tensor]) -> Tensor:
    """Ten balls of both signs [ppm] in the mask, most of them near its surface, as veins and sulci are; mean zero."""
    generator = torch.Generator().manual_seed(2)
    chi = torch.zeros(grid.shape)
    for n in range(10):
        centre = torch.randn(3, generator=generator)
        centre *= RADIUS * (0.75 if n < 7 else 0.3) / centre.norm()
        chi[(positions(grid) - centre.view(3, 1, 1, 1)).norm(dim=0) < 4.0] += 0.1 * (-1.0) ** n
    return torch.where(mask, chi - chi[mask].mean(), 0.0)


def total_field(values: Tensor, mask: Tensor, grid: Grid) -> TotalField:
    return TotalField(torch.where(mask, values, 0.0), mask, grid, 1e-3 * mask)


def error(local: LocalField, truth: Tensor) -> float:
    a, b = local.values[local.mask], truth[local.mask]
    a, b = a - a.mean(), b - b.mean()
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("removal", [VSharp(), ProjectionOntoDipoles()], ids=["v-sharp", "pdf"])
@pytest.mark.parametrize("background_scale", [0.0, 1.0], ids=["no background", "background"])
def test_the_estimate_lowers_the_error_of_the_local_field(
    background_scale: float,
    removal: BackgroundRemoval,
    grid: Grid,
    positions: Callable[..., Tensor],
    ball: Callable[..., Tensor],
    dipole_field: Callable[..., Tensor],
) -> None:
    mask = ball(grid, RADIUS)
    local = simulate_field(sources(grid, mask, positions), grid)
    outside = dipole_field(grid, (26.0, 6.0, 4.0), 300.0) + dipole_field(grid, (-3.0, 8.0, 28.0), 500.0)
    field = total_field(local + background_scale * outside, mask, grid)
    removed, completed = removal(field, lambda fraction, stage: None), HarmonicCompletion(removal)(field)
    assert torch.equal(removed.mask, completed.mask)
    assert error(completed, local) < 0.8 * error(removed, local)


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_field_of_outside_sources_is_removed(
    removal: BackgroundRemoval, ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor]
) -> None:
    grid = GRIDS["isotropic"]
    mask = ball(grid, RADIUS)
    outside = dipole_field(grid, (26.0, 6.0, 4.0), 300.0) + dipole_field(grid, (-3.0, 8.0, 28.0), 500.0)
    local = HarmonicCompletion(removal)(total_field(outside, mask, grid))
    after, before = local.values[local.mask], outside[local.mask]
    assert float(after.std()) < 0.05 * float(before.std())


def test_every_parameter_matters(
    positions: Callable[..., Tensor], ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor]
) -> None:
    grid = GRIDS["isotropic"]
    mask = ball(grid, RADIUS)
    local = simulate_field(sources(grid, mask, positions), grid)
    field = total_field(local + dipole_field(grid, (26.0, 6.0, 4.0), 300.0), mask, grid)
    default = error(HarmonicCompletion()(field), local)
    assert torch.equal(HarmonicCompletion(n_steps=0)(field).values, VSharp()(field).values)
    assert [HarmonicCompletion(n_steps=n)(field).harmonic_completed for n in (0, 10)] == [False, True]
    assert error(HarmonicCompletion(n_steps=10)(field), local) > default
    # Sources outside as weak as those inside leave the background to the latter.
    assert error(HarmonicCompletion(outside=1.0)(field), local) > default


def test_an_empty_mask_is_refused() -> None:
    grid = Grid((12, 12, 12))
    with pytest.raises(MaskInvalid, match="mask is empty"):
        HarmonicCompletion()(total_field(torch.zeros(grid.shape), torch.zeros(grid.shape, dtype=torch.bool), grid))


def test_the_estimate_can_be_cancelled(ball: Callable[..., Tensor]) -> None:
    events: list[tuple[float, str]] = []

    def cancel(fraction: float, stage: str) -> None:
        events.append((fraction, stage))
        if len(events) == 3:
            raise Cancelled

    grid = Grid((24, 24, 24))
    field = torch.randn(grid.shape, generator=torch.Generator().manual_seed(3))
    with pytest.raises(Cancelled):
        HarmonicCompletion()(total_field(field, ball(grid, 9.0), grid), cancel)
    assert [stage for _, stage in events] == ["harmonic part"] * 3 and events[0][0] < events[2][0] < 1.0


@pytest.mark.parametrize("parameters", [{"n_steps": -1}, {"outside": 0.0}, {"outside": math.inf}])
def test_parameters_out_of_range_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(ParameterInvalid, match="expected"):
        HarmonicCompletion(**parameters)  # type: ignore[arg-type]
