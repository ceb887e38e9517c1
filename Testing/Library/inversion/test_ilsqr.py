"""iLSQR: its weights, its four steps, and fewer streaks than TKD."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import correlation
from IR2QSMLib.evaluation.regional_metrics import lesion_streaks
from IR2QSMLib.inversion import ilsqr
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr, fast_estimate, gradient_weights, laplacian_weight
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.physics.dipole import DipoleOp, dipole_kernel
from IR2QSMLib.physics.fourier import Filter
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.physics.solvers import Solution
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.simulation.cases import Case, simulate

OBLIQUE = (0.2, 0.5, 0.8)
GRIDS = [Grid((16, 12, 14)), Grid((11, 13, 9), (1.0, 0.7, 2.0), user_b0_direction=OBLIQUE)]
SOURCE = Grid((48, 48, 48), (1.0, 1.0, 1.2), user_b0_direction=OBLIQUE)


def ball(grid: Grid, radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Inside a sphere about the grid's centre [mm], bool."""
    shape = zip(grid.shape, grid.voxel_size, centre, strict=True)
    axes = [(torch.arange(n) - (n - 1) / 2) * v - c for n, v, c in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x**2 + y**2 + z**2) < radius**2


def strong_source(grid: Grid = SOURCE) -> tuple[LocalField, Tensor]:
    """A bleeding of 1 ppm in a head of small structures, with noise: the field and the true map."""
    generator = torch.Generator().manual_seed(0)
    mask = ball(grid, 19.0)
    chi = torch.where(ball(grid, 4.0, (3.0, -2.0, 1.0)), 1.0, 0.05 * ball(grid, 6.0, (-7.0, 6.0, -4.0)).float())
    field = DipoleOp(grid)(chi) + 0.002 * torch.randn(grid.shape, generator=generator)
    return LocalField(torch.where(mask, field, 0.0), mask, grid), chi


@pytest.mark.parametrize("grid", GRIDS)
def test_the_matrix_of_the_streaks_is_symmetric(
    require_adjoint: Callable[..., None], monkeypatch: pytest.MonkeyPatch, grid: Grid
) -> None:
    """C∇ᵀW²∇C, as the solver gets it, for random weights."""
    matrices: list[Callable[[Tensor], Tensor]] = []

    def solve(apply: Callable[[Tensor], Tensor], rhs: Tensor, **limits: object) -> Solution:
        matrices.append(apply)
        return Solution(rhs, 1, 1.0)

    monkeypatch.setattr(ilsqr, "conjugate_gradient", solve)
    cone_filter = Filter((dipole_kernel(grid).abs() < 0.1).float(), grid.shape)
    weights = list(torch.rand((3, *grid.shape), generator=torch.Generator().manual_seed(0)))
    Ilsqr()._streaks(torch.zeros(grid.shape), weights, Gradient(grid, "periodic"), cone_filter, silent)

    def matrix(x: Tensor) -> Tensor:
        return matrices[0](cone_filter(x))

    require_adjoint(matrix, matrix, grid.shape)


def test_a_spike_of_the_field_has_no_weight_and_a_harmonic_field_full_weight() -> None:
    grid, mask = SOURCE, ball(SOURCE, 18.0)
    x, y, z = torch.meshgrid(
        *((torch.arange(n) - n / 2) * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)), indexing="ij"
    )
    values = 1e-3 * (x**2 - 0.5 * y**2 - 0.5 * z**2)
    values[24, 24, 24] += 1.0
    weight = laplacian_weight(LocalField(torch.where(mask, values, 0.0), mask, grid))
    assert weight[24, 24, 24] == 0.0 and not weight[~mask].any()
    inner = ball(grid, 16.0)
    inner[22:27, 22:27, 22:27] = False
    # Rounding decides which 40 % of a perfectly harmonic field are rougher than the rest, never by much.
    assert float((weight[inner] > 0.99).float().mean()) > 0.99


def test_gradients_have_weights_by_their_rank() -> None:
    grid, mask = SOURCE, ball(SOURCE, 18.0)
    chi = torch.randn(grid.shape, generator=torch.Generator().manual_seed(3))
    for axis, weight in enumerate(gradient_weights(chi, mask, Gradient(grid, "periodic"))):
        slope = (chi.roll(-1, axis) - chi).abs()[mask]
        inside = weight[mask]
        assert not weight[~mask].any()
        assert float((inside == 1.0).float().mean()) == pytest.approx(0.5, abs=0.01)
        assert float((inside == 0.0).float().mean()) == pytest.approx(0.3, abs=0.01)
        order = slope.argsort()
        assert bool((inside[order].diff() <= 0.0).all())


def test_the_fast_estimate_is_on_the_scale_of_tkd_and_resembles_the_truth() -> None:
    field, truth = strong_source()
    fast = fast_estimate(field, dipole_kernel(field.grid))
    tkd = TruncatedDivision(0.125)(field).values
    inside = field.mask
    error = fast - tkd  # a regression leaves no correlation with the regressor
    assert abs(float((error * (fast - fast.mean()))[inside].mean())) < 0.05 * float(fast[inside].var())
    assert correlation(fast, truth, inside) > 0.8 and not fast[~inside].any()


def test_streaks_around_a_strong_source_are_fewer_than_tkds() -> None:
    """Streaks: what the error away from the source has near the cone."""
    field, truth = strong_source()
    away = field.mask & ~ball(field.grid, 6.5, (3.0, -2.0, 1.0))
    cone = Filter((dipole_kernel(field.grid).abs() < 0.1).float(), field.grid.shape)

    def streaks(method: Method) -> float:
        return float(cone(torch.where(field.mask, method(field, silent).values - truth, 0.0))[away].std())

    by_ilsqr = streaks(Ilsqr())
    assert by_ilsqr < 0.85 * streaks(TruncatedDivision())
    assert by_ilsqr < min(streaks(TruncatedDivision(t)) for t in (0.05, 0.1, 0.2, 0.3))
    assert by_ilsqr < 0.6 * streaks(Ilsqr(cone=1e-6))  # the first step alone


def test_a_second_round_leaves_fewer_streaks_of_a_haemorrhage_in_a_brain() -> None:
    """Where the fast estimate shows shadows of the bleeding as edges, unlike in an empty ball."""
    head, field = simulate(Case(950, 40.0, (72, 88, 72), (2.2, 2.2, 2.2), haemorrhage=6.0, held_out=True))
    working_grid = WorkingGrid.around(field)
    assert head.lesions is not None
    lesion, working_field = head.lesions > 0, working_grid.to_working_grid(field)

    def streaks(method: Method) -> float:
        chi = torch.where(head.mask, working_grid.to_original_grid(method(working_field, silent).values), 0.0)
        return lesion_streaks(chi, head.chi, lesion, head.mask, head.grid)

    two_rounds = streaks(Ilsqr())
    assert two_rounds < 0.95 * streaks(Ilsqr(rounds=1))
    assert two_rounds < 0.9 * streaks(TruncatedDivision())


def test_the_notes_hold_iterations_residuals_and_transforms_of_every_solver() -> None:
    field, _ = strong_source()
    notes, longer = Ilsqr(max_iterations=8)(field).notes, Ilsqr(max_iterations=9)(field).notes
    assert notes["iterations"] == [8, 8, 8] and len(notes["relative_residual"]) == 3
    assert all(0.0 < residual < 1.0 for residual in notes["relative_residual"])
    # An iteration takes two pairs in the first step and one in each round.
    assert longer["fft_pairs"] - notes["fft_pairs"] == 2 + 1 + 1


def test_the_first_step_meets_its_equation_to_the_tolerance(require_stationary: Callable[..., None]) -> None:
    """D∗(w·(D∗χ − f)) = 0, before 50 iterations."""
    field, _ = strong_source()
    operator, weight = DipoleOp(field.grid), laplacian_weight(field)
    solution = Ilsqr()._least_squares(field, Filter(operator.kernel, field.grid.shape), silent)
    assert solution.n_iterations < 50
    require_stationary(lambda chi: operator.adjoint(weight * (operator(chi) - field.values)), solution.x, 0.0101)


def test_the_streaks_minimise_the_gradient_away_from_the_edges(require_stationary: Callable[..., None]) -> None:
    """C∇ᵀW²∇(χ_s − χ) = 0, for a cone and weights of their own, written with full volumes."""
    grid = GRIDS[1]
    chi = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    weights = torch.rand((3, *grid.shape), generator=torch.Generator().manual_seed(1)) + 0.1
    in_cone = (dipole_kernel(grid).abs() < 0.1).float()
    in_cone[0, 0, 0] = 0.0
    cone_filter, gradient = Filter(in_cone, grid.shape), Gradient(grid, "periodic")
    method = Ilsqr(tolerance=1e-4, max_iterations=500)
    streaks = method._streaks(chi, list(weights), gradient, cone_filter, silent).x
    torch.testing.assert_close(cone_filter(streaks), streaks, atol=1e-4, rtol=0)

    def slope(x: Tensor) -> Tensor:
        return cone_filter(gradient.adjoint(weights.square() * gradient.forward(x - chi)))

    require_stationary(slope, streaks, 1e-3)


@pytest.mark.parametrize("other", [Ilsqr(cone=0.2), Ilsqr(tolerance=0.3), Ilsqr(max_iterations=4), Ilsqr(rounds=1)])
def test_every_option_changes_the_map(other: Ilsqr) -> None:
    field, _ = strong_source(Grid((32, 32, 32)))
    default = Ilsqr()(field).values
    assert float((other(field).values - default).norm()) > 0.01 * float(default.norm())


@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_arrays_axes_does_not_matter(axes: tuple[int, int, int]) -> None:
    grid = Grid((32, 30, 27), (1.0, 1.0, 1.2), user_b0_direction=OBLIQUE)
    field, _ = strong_source(grid)
    reoriented = Grid(
        tuple(grid.shape[a] for a in axes),
        tuple(grid.voxel_size[a] for a in axes),  # type: ignore[arg-type]
        user_b0_direction=tuple(OBLIQUE[a] for a in axes),  # type: ignore[arg-type]
    )
    chi = Ilsqr()(field).values
    other = Ilsqr()(field.map_volumes(lambda x: x.permute(*axes), reoriented)).values
    assert float((other - chi.permute(*axes)).norm()) < 1e-3 * float(chi.norm())


def test_progress_rises_and_either_solver_can_be_cancelled() -> None:
    field, _ = strong_source(Grid((24, 24, 24)))
    fractions: list[float] = []
    Ilsqr(max_iterations=5)(field, lambda fraction, stage: fractions.append(fraction))
    assert fractions == sorted(fractions) and fractions[-1] > 0.8
    for limit in (0.2, 0.7):

        def progress(fraction: float, stage: str, limit: float = limit) -> None:
            if fraction >= limit:
                raise Cancelled()

        with pytest.raises(Cancelled):
            Ilsqr(max_iterations=5)(field, progress)


def test_an_empty_field_gives_an_empty_map() -> None:
    grid = Grid((16, 16, 16))
    susceptibility = Ilsqr()(LocalField(torch.zeros(grid.shape), ball(grid, 6.0), grid))
    assert not susceptibility.values.any() and susceptibility.notes["iterations"] == [0, 0, 0]


@pytest.mark.parametrize("cone", [0.0, -1.0, 2 / 3, math.nan])
def test_a_cone_out_of_range_is_refused(cone: float) -> None:
    with pytest.raises(ParameterInvalid, match=r"The cone of iLSQR is .* between 0 and 2/3\."):
        Ilsqr(cone=cone)


@pytest.mark.parametrize(("tolerance", "n", "rounds"), [(-0.1, 5, 1), (0.1, 0, 1), (0.1, 5, 0)])
def test_impossible_limits_are_refused(tolerance: float, n: int, rounds: int) -> None:
    with pytest.raises(ParameterInvalid, match=r"iLSQR has tolerance .* at least one iteration and at least"):
        Ilsqr(tolerance=tolerance, max_iterations=n, rounds=rounds)
