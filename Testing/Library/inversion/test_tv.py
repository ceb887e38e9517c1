"""Total variation: what it is better at, and every option; its optimality is in test_admm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import nrmse
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics.dipole import DipoleOp

OBLIQUE = (0.2, 0.5, 0.8)
GRIDS = [Grid((16, 12, 14)), Grid((11, 13, 9), (1.0, 0.7, 2.0), user_b0_direction=OBLIQUE)]


def field_of(chi: Tensor, grid: Grid, noise: float = 0.0) -> LocalField:
    white = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    return LocalField(DipoleOp(grid)(chi) + noise * white, torch.ones(grid.shape, dtype=torch.bool), grid)


def blocks(grid: Grid) -> Tensor:
    """Cuboids of constant χ [ppm], and zero mean."""
    chi = torch.zeros(grid.shape)
    x, y, z = (n // 4 for n in grid.shape)
    chi[x : 2 * x, y : 3 * y, z : 2 * z] = 0.2
    chi[2 * x : 3 * x, y : 2 * y, 2 * z : 3 * z] = -0.1
    return chi - chi.mean()


def variation(x: Tensor, grid: Grid) -> float:
    """Anisotropic total variation [ppm/mm], periodic."""
    return sum(float((x.roll(-1, a) - x).abs().double().sum()) / v for a, v in enumerate(grid.voxel_size))


def mask_without_corner(grid: Grid) -> Tensor:
    """A mask that leaves out one corner."""
    mask = torch.ones(grid.shape, dtype=torch.bool)
    mask[-4:, -4:, -3:] = False
    return mask


def test_values_outside_the_mask_do_not_matter_where_the_field_is_free_there() -> None:
    grid = GRIDS[0]
    field = field_of(blocks(grid), grid, 0.002)
    field = LocalField(field.values, mask_without_corner(grid), grid)
    wrong = LocalField(torch.where(field.mask, field.values, 0.5), field.mask, grid)

    def change(outside: str) -> float:
        a, b = (TotalVariation(1e-3, outside, 1e-6, 2000)(f).values for f in (field, wrong))
        return float((a - b).norm() / a.norm())

    assert change("free") < 0.01 < 0.3 < change("zero")


def test_a_free_outside_is_nearer_to_the_truth_where_a_source_crosses_the_masks_edge() -> None:
    """The closed form takes the field of such a source beyond the mask for zero."""
    grid = Grid((32, 32, 32))
    truth = blocks(grid)
    full = field_of(truth, grid, 0.0005)
    mask = torch.zeros_like(full.mask)
    mask[6:26, 6:26, 6:26] = True
    field = LocalField(torch.where(mask, full.values, 0.0), mask, grid)
    zero, free = (nrmse(TotalVariation(5e-5, outside)(field).values, truth, mask) for outside in ("zero", "free"))
    assert free < 0.5 * zero


def test_automatic_regularisation_leaves_the_field_outside_free() -> None:
    field = field_of(blocks(GRIDS[0]), GRIDS[0], 0.003)
    parameters = (("auto", "auto"), (1e-3, "auto"), ("auto", "zero"), (1e-3, "free"))
    assert [TotalVariation(*p)(field).notes["outside"] for p in parameters] == ["free", "zero", "zero", "free"]
    with pytest.raises(ParameterInvalid, match=r"is .open.; expected one of zero, free, auto"):
        TotalVariation(outside="open")


def test_a_piecewise_constant_phantom_is_recovered_better_than_by_any_tikhonov() -> None:
    grid = Grid((32, 32, 32), user_b0_direction=OBLIQUE)
    truth, everywhere = blocks(grid), torch.ones(grid.shape, dtype=torch.bool)
    field = field_of(truth, grid, 0.002)
    by_tv = nrmse(TotalVariation()(field).values, truth, everywhere)
    by_tikhonov = min(nrmse(Tikhonov(s)(field).values, truth, everywhere) for s in (1e-3, 3e-3, 0.01, 0.03, 0.1))
    assert by_tv < 0.5 * by_tikhonov


def test_the_more_penalty_the_less_variation_and_the_more_residual() -> None:
    grid = GRIDS[0]
    field, operator = field_of(blocks(grid), grid, 0.005), DipoleOp(grid)
    maps = [TotalVariation(s, tolerance=1e-5, max_iterations=1000)(field).values for s in (1e-4, 1e-3, 1e-2)]
    variations = [variation(chi, grid) for chi in maps]
    residuals = [float((operator(chi) - field.values).norm()) for chi in maps]
    assert variations[0] > 1.2 * variations[1] > 1.44 * variations[2]
    assert residuals == sorted(residuals)


def test_automatic_regularisation_follows_the_noise_and_is_noted() -> None:
    grid = Grid((32, 32, 32))
    regularisations = [
        TotalVariation("auto")(field_of(blocks(grid), grid, noise)).notes["regularisation"]
        for noise in (0.001, 0.004, 0.016)
    ]
    assert 0.0 < regularisations[0] < 0.7 * regularisations[1] < 0.49 * regularisations[2]


def test_a_looser_tolerance_and_fewer_steps_end_earlier_with_another_map() -> None:
    field = field_of(blocks(GRIDS[0]), GRIDS[0], 0.003)
    default, loose, short = (
        m(field) for m in (TotalVariation(), TotalVariation(tolerance=0.05), TotalVariation(max_iterations=3))
    )
    assert short.notes["iterations"] == 3 < loose.notes["iterations"] < default.notes["iterations"] < 250
    assert default.notes["relative_change"] <= 1e-3 < loose.notes["relative_change"] <= 0.05
    assert all(float((m.values - default.values).norm()) > 1e-3 * default.values.norm() for m in (loose, short))


@pytest.mark.parametrize(("outside", "n_pairs"), [("zero", 1), ("free", 2)])
def test_an_iteration_takes_one_pair_of_transforms_or_two_where_the_outside_is_free(outside: str, n_pairs: int) -> None:
    field = field_of(blocks(GRIDS[0]), GRIDS[0])
    few, more = (TotalVariation(2e-4, outside, 0.0, n)(field).notes for n in (7, 10))
    assert (few["iterations"], more["iterations"]) == (7, 10)
    assert more["fft_pairs"] - few["fft_pairs"] == 3 * n_pairs


@pytest.mark.parametrize("outside", ["zero", "free"])
def test_automatic_regularisation_takes_out_the_constant_of_the_field(outside: str) -> None:
    grid = Grid((32, 32, 32))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[4:-4, 4:-4, 4:-4] = True
    field = LocalField(torch.where(mask, field_of(blocks(grid), grid, 0.003).values, 0.0), mask, grid)
    shifted = LocalField(torch.where(mask, field.values + 0.1, 0.0), mask, grid)
    plain, other = (TotalVariation("auto", outside)(f) for f in (field, shifted))
    assert float((other.values - plain.values).norm()) < 0.02 * float(plain.values.norm())
    assert other.notes["field_offset_ppm"] - plain.notes["field_offset_ppm"] == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 1, 0), (0, 2, 1)])
def test_the_order_of_the_arrays_axes_does_not_matter(axes: tuple[int, int, int]) -> None:
    grid = GRIDS[1]
    field = field_of(blocks(grid), grid, 0.003)
    reoriented = Grid(
        tuple(grid.shape[a] for a in axes),
        tuple(grid.voxel_size[a] for a in axes),  # type: ignore[arg-type]
        user_b0_direction=tuple(OBLIQUE[a] for a in axes),  # type: ignore[arg-type]
    )
    chi = TotalVariation()(field).values
    other = TotalVariation()(field.map_volumes(lambda x: x.permute(*axes), reoriented)).values
    assert float((other - chi.permute(*axes)).norm()) < 1e-3 * float(chi.norm())


def test_a_constant_field_gives_no_susceptibility_and_the_map_is_zero_outside_the_mask() -> None:
    grid = GRIDS[0]
    field = field_of(blocks(grid), grid)
    shifted = TotalVariation()(LocalField(field.values + 0.3, field.mask, grid)).values
    torch.testing.assert_close(shifted, TotalVariation()(field).values, atol=1e-5, rtol=0)
    mask = torch.rand(grid.shape, generator=torch.Generator().manual_seed(2)) > 0.5
    assert not TotalVariation()(LocalField(field.values, mask, grid)).values[~mask].any()


def test_progress_rises_and_can_cancel() -> None:
    fractions: list[float] = []

    def progress(fraction: float, stage: str) -> None:
        assert stage == "inversion"
        fractions.append(fraction)
        if len(fractions) == 4:
            raise Cancelled()

    with pytest.raises(Cancelled):
        TotalVariation()(field_of(blocks(GRIDS[0]), GRIDS[0]), progress)
    assert fractions == sorted(fractions) and fractions[-1] < 0.1


@pytest.mark.parametrize("regularisation", [0.0, -1.0, math.nan, "strong"])
def test_a_regularisation_out_of_range_is_refused(regularisation: float | str) -> None:
    with pytest.raises(
        ParameterInvalid, match=r"^The TV regularisation is \S+; expected a positive number, or auto\.$"
    ):
        TotalVariation(regularisation)


@pytest.mark.parametrize(("tolerance", "n"), [(-0.1, 5), (0.1, 0)])
def test_impossible_limits_are_refused(tolerance: float, n: int) -> None:
    with pytest.raises(ParameterInvalid, match=r"TV has tolerance .* at least one iteration"):
        TotalVariation(tolerance=tolerance, max_iterations=n)
