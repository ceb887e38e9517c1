"""The grid: positions and B0 are properties of the patient, not of the order in which voxels are stored."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.errors import GridInvalid, GridMismatch, ParameterInvalid
from IR2QSMLib.core.grid import Grid

TILT = math.radians(30)
# The voxel axes rotated by 30° about the patient's x axis: y and z lie in the sagittal plane.
TILTED = (1.0, 0.0, 0.0, 0.0, math.cos(TILT), -math.sin(TILT), 0.0, math.sin(TILT), math.cos(TILT))
EIGHTH = math.sqrt(0.5)
COORDINATE = st.floats(-300, 300)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any right- or left-handed, oblique grid, with or without a B0 direction from the user."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    direction, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    b0 = draw(st.none() | st.just(tuple(rng.standard_normal(3).tolist())))
    return Grid(
        draw(st.tuples(*[st.integers(1, 12)] * 3)),
        draw(st.tuples(*[st.floats(0.3, 4.0)] * 3)),
        tuple(direction.ravel().tolist()),
        draw(st.tuples(COORDINATE, COORDINATE, COORDINATE)),
        b0,
    )


@settings(deadline=None)
@given(
    grids(),
    st.sampled_from(list(permutations(range(3)))),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_reorienting_keeps_voxels_and_b0_in_place(
    grid: Grid, axes: tuple[int, int, int], flipped: tuple[bool, bool, bool]
) -> None:
    position = np.array([grid.point(index) for index in np.ndindex(*grid.shape)]).reshape(*grid.shape, 3)
    moved = np.flip(position.transpose(*axes, 3), [axis for axis in range(3) if flipped[axis]])

    new = grid.reoriented(axes, flipped)

    assert new.shape == moved.shape[:3]
    for index in [(0, 0, 0), tuple(n - 1 for n in new.shape), tuple(n // 2 for n in new.shape)]:
        np.testing.assert_allclose(new.point(index), moved[index], atol=1e-9)
    np.testing.assert_allclose(new.matrix @ new.b0_direction, grid.matrix @ grid.b0_direction, atol=1e-9)


def test_flip_makes_grid_left_handed_and_moves_origin_to_far_end() -> None:
    grid = Grid((10, 20, 30), (1.0, 2.0, 3.0), origin=(5.0, 6.0, 7.0))
    flipped = grid.reoriented((0, 1, 2), (False, False, True))
    assert flipped.origin == (5.0, 6.0, 7.0 + 29 * 3.0)
    assert np.linalg.det(flipped.matrix) == pytest.approx(-1)
    assert flipped.b0_direction == (0.0, 0.0, -1.0)


@settings(deadline=None)
@given(grids())
def test_default_b0_is_the_patients_z_axis(grid: Grid) -> None:
    scanner = grid.with_b0(None)
    np.testing.assert_allclose(scanner.matrix @ scanner.b0_direction, (0, 0, 1), atol=1e-9)


def test_b0_of_a_tilted_grid_is_tilted_in_voxel_axes() -> None:
    # Dᵀ(0, 0, 1) is D's last row: sin 30° along the voxels' y, cos 30° along their z.
    np.testing.assert_allclose(Grid((8, 8, 8), direction=TILTED).b0_direction, (0.0, 0.5, 0.8660254), atol=1e-7)


def test_user_b0_is_normalised_and_can_be_reset() -> None:
    grid = Grid((8, 8, 8), direction=TILTED)
    assert grid.with_b0((0, 3, 4)).b0_direction == pytest.approx((0.0, 0.6, 0.8))
    assert grid.with_b0((0, 3, 4)).with_b0(None) == grid


@pytest.mark.parametrize("b0", [(0, 0, 0), (0, float("nan"), 1), (1e-9, 0, 0)])
def test_zero_or_non_finite_b0_is_refused(b0: tuple[float, float, float]) -> None:
    with pytest.raises(ParameterInvalid, match=r"The B0 direction is .*; expected three numbers, not all zero"):
        Grid((8, 8, 8)).with_b0(b0)


def test_b0_of_two_numbers_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="has 2 numbers; expected three"):
        Grid((8, 8, 8)).with_b0((0, 1))


def test_point_is_the_affine_of_the_index() -> None:
    grid = Grid((8, 8, 8), (2.0, 1.0, 1.0), TILTED, (10.0, 20.0, 30.0))
    # 3 voxels of 2 mm along x; 4 mm along the tilted y, whose cosines are (0, cos 30°, sin 30°)
    np.testing.assert_allclose(grid.point((3, 4, 0)), (16.0, 20 + 4 * 0.8660254, 30 + 4 * 0.5), atol=1e-6)


def test_corners_are_centres_of_outermost_voxels() -> None:
    corners = Grid((3, 4, 5), (1.0, 2.0, 3.0), origin=(-1.0, 0.0, 1.0)).corners()
    assert corners.shape == (8, 3)
    assert corners.min(axis=0).tolist() == [-1.0, 0.0, 1.0]
    assert corners.max(axis=0).tolist() == [1.0, 6.0, 13.0]


@settings(deadline=None)
@given(grids(), st.tuples(*[st.integers(-5, 5)] * 3))
def test_cropping_keeps_voxels_in_place(grid: Grid, start: tuple[int, int, int]) -> None:
    part = grid.cropped(start, (4, 5, 6))
    assert part.shape == (4, 5, 6)
    np.testing.assert_allclose(part.point((1, 2, 3)), grid.point(np.add(start, (1, 2, 3))), atol=1e-9)
    assert part.b0_direction == grid.b0_direction


@settings(deadline=None)
@given(grids(), st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_reorientation_onto_undoes_permuted_and_flipped_axes(
    grid: Grid, axes: list[int], flipped: tuple[bool, ...]
) -> None:
    reoriented = replace(grid, shape=(4, 5, 6)).reoriented(axes, flipped)
    values = np.arange(120).reshape(4, 5, 6)
    back, reversed_axes = reoriented.reorientation_onto(replace(grid, shape=(4, 5, 6)), "mask.nii", "field.nii")
    stored = np.flip(values.transpose(axes), [i for i in range(3) if flipped[i]])
    assert np.array_equal(np.flip(stored.transpose(back), reversed_axes), values)


def test_reorientation_onto_a_grid_elsewhere_is_refused() -> None:
    here = Grid((8, 9, 10))
    flipped = here.reoriented((0, 1, 2), (False, True, False))
    with pytest.raises(GridMismatch, match=r"lie apart along the patient's y axis: a corner at 0\.50 mm against 0\.00"):
        replace(flipped, origin=(0.0, 8.5, 0.0)).reorientation_onto(here, "mask.nii", "field.nii")
    for direction in (TILTED, (1, 0, 0, 0, EIGHTH, -EIGHTH, 0, EIGHTH, EIGHTH)):
        with pytest.raises(GridMismatch, match=r"lie apart along the patient's [xyz] axis"):
            replace(here, direction=direction).reorientation_onto(here, "mask.nii", "field.nii")


@pytest.mark.parametrize("shape", [(8, 8), (8, 0, 8)])
def test_shape_without_three_nonempty_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GridInvalid, match="expected three axes with at least one voxel each"):
        Grid(shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0.0, -1.0, float("inf")])
def test_voxel_size_that_is_not_positive_is_refused(size: float) -> None:
    with pytest.raises(GridInvalid, match=r"The voxel size is .* mm; expected three positive numbers"):
        Grid((8, 8, 8), (1.0, size, 1.0))


def test_non_finite_origin_is_refused() -> None:
    with pytest.raises(GridInvalid, match=r"The origin is .* mm; expected three finite numbers"):
        Grid((8, 8, 8), origin=(0.0, float("nan"), 0.0))


@pytest.mark.parametrize("element", [0.1, float("nan")])
def test_sheared_axes_are_refused(element: float) -> None:
    with pytest.raises(GridInvalid, match=r"not at right angles .*; resample it to an orthogonal grid first"):
        Grid((8, 8, 8), direction=(1, element, 0, 0, 1, 0, 0, 0, 1))


def test_cosines_rounded_to_four_digits_are_accepted() -> None:
    assert Grid((8, 8, 8), direction=tuple(round(v, 4) for v in TILTED)).b0_direction == pytest.approx(
        (0.0, 0.5, 0.8660), abs=1e-4
    )


def test_different_shape_is_named_by_axis_and_count() -> None:
    with pytest.raises(GridMismatch, match=r"mask\.nii and field\.nii differ along y: 9 voxels against 8\. Resample"):
        Grid((8, 9, 8)).require_match(Grid((8, 8, 8)), "mask.nii", "field.nii")


def test_different_voxel_size_is_named_by_axis() -> None:
    with pytest.raises(GridMismatch, match=r"differ in voxel size along z: 2 mm against 1 mm\. Resample"):
        Grid((8, 8, 8), (1.0, 1.0, 2.0)).require_match(Grid((8, 8, 8)), "mask.nii", "field.nii")


def test_shifted_grid_is_named_by_the_patients_axis() -> None:
    here = Grid((8, 8, 8))
    with pytest.raises(GridMismatch, match=r"lie apart along the patient's y axis: a corner at 0\.50 mm against 0\.00"):
        replace(here, origin=(0.0, 0.5, 0.0)).require_match(here, "mask.nii", "field.nii")


def test_tilted_grid_does_not_match() -> None:
    with pytest.raises(GridMismatch, match=r"lie apart along the patient's [yz] axis"):
        Grid((8, 8, 8), direction=TILTED).require_match(Grid((8, 8, 8)), "mask.nii", "field.nii")


def test_shift_of_a_hundredth_voxel_and_another_b0_still_match() -> None:
    here = Grid((8, 8, 8))
    replace(here, origin=(0.01, 0.0, -0.01)).with_b0((1, 0, 0)).require_match(here, "mask.nii", "field.nii")
