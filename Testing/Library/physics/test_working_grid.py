"""The working grid: a round trip without loss, and the same numbers however the array was stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.working_grid import DIGITS, WorkingGrid

AXES = list(permutations((0, 1, 2)))
FLIPS = list(product((False, True), repeat=3))


def reoriented(field: LocalField, axes: tuple[int, ...], flipped: tuple[bool, ...]) -> LocalField:
    """The same field in an array whose axes were permuted and flipped, its direction following."""
    values, mask = (
        x.permute(*axes).flip([a for a in range(3) if flipped[a]]).contiguous() for x in (field.values, field.mask)
    )
    return LocalField(values, mask, field.grid.reoriented(axes, flipped))


def make_field(grid: Grid, seed: int = 0, share: float = 0.6) -> LocalField:
    rng = np.random.default_rng(seed)
    mask = torch.from_numpy(rng.random(grid.shape) < share)
    mask[tuple(rng.integers(0, n) for n in grid.shape)] = True
    return LocalField(torch.from_numpy(rng.standard_normal(grid.shape)).float(), mask, grid)


def rotation(degrees: tuple[float, float, float]) -> tuple[float, ...]:
    """Direction cosines after rotations about the patient's x, y and z."""
    result = np.eye(3)
    for axis, angle in enumerate(degrees):
        a, b = [i for i in range(3) if i != axis]
        one, t = np.eye(3), math.radians(angle)
        one[a, a] = one[b, b] = math.cos(t)
        one[a, b], one[b, a] = -math.sin(t), math.sin(t)
        result = one @ result
    return tuple(result.ravel().tolist())


@st.composite
def fields(draw: st.DrawFn) -> LocalField:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    direction, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    shape, size = draw(st.tuples(*[st.integers(1, 12)] * 3)), draw(st.tuples(*[st.floats(0.5, 3.0)] * 3))
    b0 = draw(st.none() | st.just(tuple(rng.standard_normal(3).tolist())))
    grid = Grid(shape, size, tuple(direction.ravel().tolist()), tuple(rng.uniform(-90, 90, 3).tolist()), b0)
    return make_field(grid, int(rng.integers(2**31)), draw(st.sampled_from([0.02, 0.6])))


@settings(max_examples=60, deadline=None)
@given(fields(), st.integers(0, 9))
def test_a_field_survives_the_round_trip(field: LocalField, margin: int) -> None:
    working_grid = WorkingGrid.around(field, margin)
    on_working_grid = working_grid.to_working_grid(field)
    assert on_working_grid.values.shape == on_working_grid.mask.shape == on_working_grid.grid.shape
    assert on_working_grid.mask.sum() == field.mask.sum()
    assert torch.equal(working_grid.to_original_grid(on_working_grid.mask), field.mask)
    assert torch.equal(
        working_grid.to_original_grid(on_working_grid.values), torch.where(field.mask, field.values, 0.0)
    )


@settings(max_examples=60, deadline=None)
@given(fields(), st.integers(0, 9))
def test_the_working_grid_is_a_multiple_of_eight_with_the_margin_all_around(field: LocalField, margin: int) -> None:
    on_working_grid = WorkingGrid.around(field, margin).to_working_grid(field)
    inside = on_working_grid.mask.nonzero()
    assert all(n % 8 == 0 for n in on_working_grid.grid.shape)
    assert (inside.amin(0) >= margin).all()
    assert (torch.tensor(on_working_grid.grid.shape) - 1 - inside.amax(0) >= margin).all()


@settings(max_examples=60, deadline=None)
@given(fields())
def test_every_voxel_keeps_its_position_in_the_patient(field: LocalField) -> None:
    grid = field.grid
    working_grid = WorkingGrid.around(field, 2)
    for axis in range(3):  # the position of every voxel, carried along as if it were the field
        position = torch.tensor([grid.point(i)[axis] for i in np.ndindex(*grid.shape)]).view(grid.shape)
        on_working_grid = working_grid.to_working_grid(replace(field, values=position))
        for index in on_working_grid.mask.nonzero()[:20].tolist():
            assert on_working_grid.grid.point(index)[axis] == pytest.approx(
                float(on_working_grid.values[tuple(index)]), abs=1e-3
            )
    working_b0, original_b0 = (
        g.matrix @ g.b0_direction for g in (working_grid.grid, grid)
    )  # to the digits of a working grid
    np.testing.assert_allclose(working_b0, original_b0, atol=2.0 * 10.0**-DIGITS)


@settings(max_examples=60, deadline=None)
@given(fields())
def test_b0_is_nearest_to_the_z_axis_of_the_working_grid(field: LocalField) -> None:
    x, y, z = WorkingGrid.around(field).grid.b0_direction
    assert z >= max(abs(x), abs(y)) - 1e-6


@settings(max_examples=30, deadline=None)
@given(fields())
def test_the_way_back_is_the_adjoint(require_adjoint: Callable[..., None], field: LocalField) -> None:
    working_grid = WorkingGrid.around(field, 1)
    require_adjoint(
        working_grid.volume_to_working_grid, working_grid.to_original_grid, field.grid.shape, working_grid.grid.shape
    )


@settings(max_examples=60, deadline=None)
@given(fields(), st.sampled_from(AXES), st.sampled_from(FLIPS))
def test_a_reoriented_array_becomes_the_very_same_numbers(
    field: LocalField, axes: tuple[int, ...], flipped: tuple[bool, ...]
) -> None:
    other = reoriented(field, axes, flipped)
    assert_same_on_working_grid(field, other)


def assert_same_on_working_grid(field: LocalField, other: LocalField) -> None:
    one, two = (WorkingGrid.around(f, 3).to_working_grid(f) for f in (field, other))
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.mask, two.mask)
    assert one.grid.voxel_size == two.grid.voxel_size
    np.testing.assert_allclose(two.grid.b0_direction, one.grid.b0_direction, atol=1e-6)
    np.testing.assert_allclose(two.grid.corners(), one.grid.corners(), atol=1e-5)


@pytest.mark.parametrize(
    ("degrees", "b0"),
    [
        ((0, 0, 0), None),
        ((0, 0, 45), None),  # x and y equally far to the left
        ((45, 0, 0), None),  # y and z equally near to B0
        ((30, 0, 0), None),
        ((0, 0, 0), (1.0, 0.0, 0.0)),  # neither of the other axes points left
        ((0, 0, 90), (0.0, 1.0, 0.0)),
        ((0, 0, 0), (0.0, 1.0, 1.0)),
        ((0, 0, 0), (1.0, 1.0, 1.0)),
        ((20, 10, 5), (-0.3, 0.9, 0.1)),
    ],
)
def test_ties_between_axes_do_not_depend_on_the_arrays_order(
    degrees: tuple[float, float, float], b0: tuple[float, float, float] | None
) -> None:
    field = make_field(Grid((5, 6, 7), (1.0, 1.5, 2.0), rotation(degrees), (3.0, 4.0, 5.0), b0))
    for axes, flipped in product(AXES, FLIPS):
        assert_same_on_working_grid(field, reoriented(field, axes, flipped))


def test_rounded_direction_cosines_do_not_change_the_working_grid() -> None:
    """NIfTI stores quaternions in single precision: what should be 0 is ±1e-8."""
    field = make_field(Grid((5, 6, 7), (1.0, 1.5, 2.0)))
    for seed in range(20):
        noise = np.random.default_rng(seed).uniform(-1e-7, 1e-7, 9)
        other = replace(field.grid, direction=tuple((np.eye(3).ravel() + noise).tolist()))
        assert_same_on_working_grid(field, replace(field, grid=other))


@pytest.mark.parametrize("b0", [None, (0.1, -0.2, 0.97)])
def test_a_header_in_single_precision_makes_the_same_working_grid(b0: tuple[float, float, float] | None) -> None:
    grid = Grid((24, 20, 16), (0.9375, 1.1, 1.3), rotation((21.0, -7.0, 3.0))).with_b0(b0)
    size, direction = (np.float32(x).tolist() for x in (grid.voxel_size, grid.direction))
    single = replace(grid, voxel_size=tuple(size), direction=tuple(direction))
    if b0 is not None:
        single = single.with_b0(np.float32(b0).tolist())
    assert single != grid
    working_grid, other = (WorkingGrid.around(make_field(g)).grid for g in (grid, single))
    assert (working_grid.voxel_size, working_grid.b0_direction) == (other.voxel_size, other.b0_direction)
    assert working_grid.b0_direction == pytest.approx(grid.reoriented((0, 1, 2), (False,) * 3).b0_direction, abs=1e-6)


def test_b0_along_x_becomes_the_z_axis() -> None:
    field = make_field(Grid((5, 6, 7), (1.0, 1.5, 2.0), user_b0_direction=(1.0, 0.0, 0.0)))
    working_grid = WorkingGrid.around(field)
    assert working_grid.axes[2] == 0
    assert working_grid.grid.b0_direction == (0.0, 0.0, 1.0)
    assert working_grid.grid.voxel_size[2] == 1.0


def test_values_outside_the_mask_become_zero() -> None:
    field = make_field(Grid((8, 8, 8)))
    nothing = replace(field, values=torch.where(field.mask, field.values, torch.nan))
    assert torch.equal(
        WorkingGrid.around(field).to_working_grid(nothing).values,
        WorkingGrid.around(field).to_working_grid(field).values,
    )
    assert WorkingGrid.around(field).to_working_grid(nothing).values.is_contiguous()
