"""The dipole operator against the analytic field of a sphere, and its symmetries."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.errors import GridMismatch
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import DipoleOp, DipoleStack, dipole_kernel, sampled_dipole_kernel, simulate_field
from IR2QSMLib.physics.fourier import fft, ifft, pad

OBLIQUE = (0.3, -0.5, 0.8)
COORDINATE = st.floats(-1, 1)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Even, odd and single-voxel sizes, any voxel and B0."""
    b = draw(st.tuples(COORDINATE, COORDINATE, COORDINATE).filter(lambda v: math.hypot(*v) > 0.1))
    shape = draw(st.tuples(*[st.integers(1, 13)] * 3))
    return Grid(shape, draw(st.tuples(*[st.floats(0.5, 3.0)] * 3)), user_b0_direction=b)


def positions(grid: Grid) -> torch.Tensor:
    """Distance of every voxel from the grid's middle along the voxel axes [mm]: (3, x, y, z)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    return torch.stack(torch.meshgrid(*[a.double() for a in axes], indexing="ij"))


def sphere(grid: Grid, radius: float, n_samples: int = 5) -> torch.Tensor:
    """Share of every voxel that lies in a centred sphere, from sub-samples."""
    p = positions(grid)
    share = (p.norm(dim=0) < radius).double()
    near = (p.norm(dim=0) - radius).abs() < math.hypot(*grid.voxel_size)
    partial = torch.zeros(int(near.sum()), dtype=torch.float64)
    steps = (np.arange(n_samples) + 0.5) / n_samples - 0.5
    for x in steps:
        for y in steps:
            for z in steps:
                shift = torch.tensor([x, y, z]) * torch.tensor(grid.voxel_size, dtype=torch.float64)
                partial += ((p[:, near] + shift.view(3, 1)).norm(dim=0) < radius) / n_samples**3
    share[near] = partial
    return share.float()


@pytest.mark.parametrize(
    ("shape", "voxel", "b"),
    [
        ((64, 64, 64), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)),
        ((64, 64, 64), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0)),
        ((64, 64, 64), (1.0, 1.0, 1.0), OBLIQUE),
        ((64, 65, 32), (1.0, 0.9, 2.0), (0.0, 0.0, 1.0)),
        ((64, 65, 32), (1.0, 0.9, 2.0), OBLIQUE),
    ],
)
def test_a_sphere_has_its_analytic_field(
    shape: tuple[int, int, int], voxel: tuple[float, float, float], b: tuple[float, float, float]
) -> None:
    """χ/3 · (a/r)³ · (3cos²θ − 1) outside and, with the sphere of Lorentz, none inside."""
    grid, radius, chi = Grid(shape, voxel, user_b0_direction=b), 10.0, 0.3
    field = simulate_field(chi * sphere(grid, radius), grid).double()
    p = positions(grid)
    r = p.norm(dim=0)
    cosine = (p * (torch.tensor(b, dtype=torch.float64) / math.hypot(*b)).view(3, 1, 1, 1)).sum(0) / r.clamp_min(1e-9)
    analytic = chi / 3 * (radius / r.clamp_min(1e-9)) ** 3 * (3 * cosine**2 - 1)

    outside = (r > radius + 2 * max(voxel)) & (r < 30.0)
    error = (field - analytic)[outside].norm() / analytic[outside].norm()
    assert error < 0.035
    assert field[r < radius - 2 * max(voxel)].square().mean().sqrt() < 0.015 * chi


@settings(max_examples=50, deadline=None)
@given(grids())
def test_the_operator_is_self_adjoint_on_any_grid(require_adjoint: Callable[..., None], grid: Grid) -> None:
    operator = DipoleOp(grid)
    require_adjoint(operator.forward, operator.adjoint, (2, *grid.shape))


def test_the_simulation_is_self_adjoint(require_adjoint: Callable[..., None]) -> None:
    grid = Grid((7, 10, 12), (1.0, 0.7, 2.0), user_b0_direction=OBLIQUE)
    require_adjoint(lambda x: simulate_field(x, grid), lambda x: simulate_field(x, grid), grid.shape)


@settings(max_examples=50, deadline=None)
@given(grids())
def test_the_kernel_stays_in_its_range_and_has_no_mean(grid: Grid) -> None:
    kernel = dipole_kernel(grid)
    assert kernel.shape == (*grid.shape[:2], grid.shape[2] // 2 + 1)
    assert kernel.dtype == torch.float32
    assert kernel.min() > -2 / 3 - 1e-6
    assert kernel.max() < 1 / 3 + 1e-6
    assert kernel[0, 0, 0] == 0.0


def test_a_kernel_reaches_both_ends_of_its_range() -> None:
    kernel = dipole_kernel(Grid((8, 8, 8)))
    assert kernel.min() == pytest.approx(-2 / 3)
    assert kernel.max() == pytest.approx(1 / 3)


def test_a_mean_susceptibility_makes_no_field() -> None:
    chi = torch.randn(8, 9, 10)
    operator = DipoleOp(Grid((8, 9, 10), user_b0_direction=OBLIQUE))
    torch.testing.assert_close(operator(chi + 5.0), operator(chi), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize(
    ("shape", "flipped"),
    [
        ((10, 7, 8), (False, False, False)),
        ((10, 6, 8), (False, False, False)),
        # Where two axes are at their Nyquist frequency an oblique kernel cannot know their signs: odd sizes to flip.
        ((9, 7, 11), (True, False, True)),
        ((9, 8, 11), (False, True, False)),
    ],
)
def test_the_field_of_a_reoriented_array_is_the_reoriented_field(
    axes: tuple[int, int, int], shape: tuple[int, int, int], flipped: tuple[bool, bool, bool]
) -> None:
    """B0 follows the array, which checks the half spectrum along each axis against the others."""
    grid = Grid(shape, (1.0, 0.6, 2.0), user_b0_direction=OBLIQUE)
    chi = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    reoriented_grid = grid.reoriented(axes, flipped)

    def reorient(x: torch.Tensor) -> torch.Tensor:
        return x.permute(*axes).flip([a for a in range(3) if flipped[a]])

    torch.testing.assert_close(
        DipoleOp(reoriented_grid)(reorient(chi)), reorient(DipoleOp(grid)(chi)), atol=2e-6, rtol=0
    )


def test_the_simulated_field_of_a_reoriented_head_is_the_reoriented_field() -> None:
    grid = Grid((20, 18, 22), (1.0, 0.8, 1.3), user_b0_direction=OBLIQUE)
    chi = sphere(grid, 5.0).roll((2, -3, 1), (0, 1, 2))
    axes, flipped = (2, 0, 1), (True, False, True)
    reoriented = simulate_field(chi.permute(axes).flip(0, 2), grid.reoriented(axes, flipped))
    torch.testing.assert_close(reoriented, simulate_field(chi, grid).permute(axes).flip(0, 2), atol=1e-3, rtol=0)


def test_b0_and_its_opposite_make_the_same_field() -> None:
    grid, chi = Grid((8, 10, 9), (1.0, 2.0, 0.7)), torch.randn(8, 10, 9)
    forward, opposite = (DipoleOp(grid.with_b0([s * v for v in OBLIQUE]))(chi) for s in (1.0, -1.0))
    torch.testing.assert_close(forward, opposite, atol=1e-6, rtol=0)


def test_the_voxel_size_matters_only_by_its_ratios() -> None:
    chi = torch.randn(8, 10, 9)
    small, large = (DipoleOp(Grid((8, 10, 9), (s, 2 * s, 3 * s), user_b0_direction=OBLIQUE))(chi) for s in (0.5, 1.5))
    other = DipoleOp(Grid((8, 10, 9), user_b0_direction=OBLIQUE))(chi)
    torch.testing.assert_close(small, large, atol=1e-6, rtol=0)
    assert (small - other).norm() > 0.1 * other.norm()


def test_the_direction_cosines_give_b0() -> None:
    """An array whose first axis runs from feet to head: its B0 is x."""
    direction = (0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    from_image, explicit_b0 = Grid((8, 10, 9), direction=direction), Grid((8, 10, 9), user_b0_direction=(1.0, 0.0, 0.0))
    torch.testing.assert_close(dipole_kernel(from_image), dipole_kernel(explicit_b0))


@pytest.mark.parametrize("b", [(0.0, 0.0, 1.0), OBLIQUE])
def test_a_simulation_hardly_changes_on_a_larger_grid(b: tuple[float, float, float]) -> None:
    grid = Grid((24, 20, 16), user_b0_direction=b)
    chi = torch.zeros(grid.shape)
    chi[2:8, 3:9, 4:7] = 0.2
    chi[15:20, 10:18, 8:14] = -0.1
    larger = grid.cropped((-20, -20, -20), (64, 60, 56))
    reference = pad(simulate_field(pad(chi, larger.shape, (20, 20, 20)), larger), grid.shape, (-20, -20, -20))
    field = simulate_field(chi, grid)
    assert (field - reference).norm() < 0.02 * reference.norm()
    assert (DipoleOp(grid)(chi) - reference).norm() > 2 * (field - reference).norm()


def test_a_volume_of_another_shape_is_refused_by_the_operators_name() -> None:
    with pytest.raises(
        GridMismatch, match=r"^DipoleOp got a volume of \(8, 8, 9\) voxels; expected .* shape \(8, 8, 8\)\.$"
    ):
        DipoleOp(Grid((8, 8, 8)))(torch.zeros(2, 8, 8, 9))


@pytest.mark.parametrize("b", [(0.0, 0.0, 1.0), OBLIQUE])
def test_the_sampled_kernel_makes_the_field_of_a_point(b: tuple[float, float, float]) -> None:
    """V·(3cos²θ − 1)/(4πr³) on a grid of even and odd sizes, where −r and r both lie on the grid."""
    grid = Grid((20, 21, 18), (1.0, 0.8, 1.5), user_b0_direction=b)
    point = torch.zeros(grid.shape)
    point[9, 8, 7] = 1.0
    field = ifft(sampled_dipole_kernel(grid) * fft(point), grid.shape)
    offset = torch.tensor([(12 - 9) * 1.0, (4 - 8) * 0.8, (10 - 7) * 1.5], dtype=torch.float64)
    unit = torch.tensor(b, dtype=torch.float64) / math.hypot(*b)
    cosine = float(offset @ unit / offset.norm())
    expected = 1.0 * 0.8 * 1.5 * (3.0 * cosine**2 - 1.0) / (4.0 * math.pi * float(offset.norm()) ** 3)
    assert float(field[12, 4, 10]) == pytest.approx(expected, rel=1e-4)
    assert abs(float(field[9, 8, 7])) < 1e-7


@pytest.mark.parametrize("b", [(0.0, 0.0, 1.0), OBLIQUE])
def test_the_sampled_kernel_is_self_adjoint(
    b: tuple[float, float, float], require_adjoint: Callable[..., None]
) -> None:
    grid = Grid((10, 9, 8), (1.0, 0.8, 1.5), user_b0_direction=b)
    kernel = sampled_dipole_kernel(grid)

    def operator(x: torch.Tensor) -> torch.Tensor:
        return ifft(kernel * fft(x), grid.shape)

    require_adjoint(operator, operator, grid.shape)


def test_the_operators_of_a_batch_are_self_adjoint(require_adjoint: Callable[..., None]) -> None:
    samples = [[Grid((8, 9, 10), user_b0_direction=b) for b in ((0.0, 0.0, 1.0), OBLIQUE)] for _ in range(2)]
    operator = DipoleStack(samples, margin=3)
    require_adjoint(operator, operator.adjoint, (2, 2, 8, 9, 10))


# The cache.


def test_equal_grids_share_one_kernel_and_others_do_not() -> None:
    kernel = dipole_kernel(Grid((8, 9, 10), origin=(1.0, 2.0, 3.0)))
    assert dipole_kernel(Grid((8, 9, 10))) is kernel  # the origin does not matter
    for other in (
        Grid((8, 9, 11)),
        Grid((8, 9, 10), (1.0, 1.0, 1.1)),
        Grid((8, 9, 10), user_b0_direction=OBLIQUE),
        Grid((8, 9, 10), direction=(0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)),
    ):
        assert dipole_kernel(other) is not kernel


def test_no_more_than_two_kernels_stay_in_memory() -> None:
    kernels = [weakref.ref(dipole_kernel(Grid((8, 8, n)))) for n in (5, 6, 7, 8)]
    gc.collect()
    assert [kernel() is not None for kernel in kernels] == [False, False, True, True]


def test_a_kernel_made_in_inference_mode_serves_training() -> None:
    grid = Grid((6, 7, 13))
    with torch.inference_mode():
        kernel = dipole_kernel(grid)
    assert not kernel.is_inference()
    chi = torch.randn(grid.shape, requires_grad=True)
    DipoleOp(grid)(chi).square().sum().backward()
    assert chi.grad is not None
