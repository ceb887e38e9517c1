"""Gradient Tikhonov: better than truncation, smoother with noise, and at rest at the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from IR2QSMLib.errors import ParameterInvalid
from IR2QSMLib.field.background import LaplacianBoundaryValue, Removal, VSharp
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.frame import Frame
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity, GradientTikhonov
from IR2QSMLib.metrics import nrmse
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.fourier import fft, ifft
from IR2QSMLib.physics.solvers import conjugate_gradient
from IR2QSMLib.runtime import Progress
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, draw_discrepancy
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.dice import Dice
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training_data import draw_head, draw_training_grid
from IR2QSMLib.volumes import LocalField, TotalField


def noisy_phantom(power_snr: float, b0: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> tuple[Head, LocalField]:
    head = draw_shapes(Dice(11), Grid((64, 64, 56), (1.0, 1.0, 1.2), b0_given=b0))
    return head, Frame.around(found := acquire(head, Discrepancy(power_snr), Dice(1))).prepare(found)


@pytest.mark.parametrize("power_snr", [5.0, 40.0, math.inf])
def test_gradient_tikhonov_beats_the_best_truncated_division_at_every_noise_level(power_snr: float) -> None:
    head, field = noisy_phantom(power_snr, (0.2, 0.3, 0.9))
    frame = Frame.around(LocalField(head.chi, head.mask, head.grid))

    def error(method: Any) -> float:
        return nrmse(frame.restore(method(field).values), head.chi, head.mask)

    best = min(error(TruncatedDivision(t)) for t in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4))
    assert error(GradientTikhonov()) < best


def test_gradient_tikhonov_smooths_more_the_noisier_the_field() -> None:
    _, clean = noisy_phantom(math.inf)
    _, noisy = noisy_phantom(2.0)
    fine = [GradientTikhonov(per_noise=c)(noisy).values.diff(dim=0).norm() for c in (0.0, 1.0, 4.0, 16.0)]
    assert fine == sorted(fine, reverse=True)
    one, other = (GradientTikhonov(per_noise=c)(clean).values for c in (0.0, 1.0))
    assert (one - other).norm() < 0.05 * one.norm()


def test_every_step_of_gradient_tikhonov_explains_more_of_the_field() -> None:
    _, field = noisy_phantom(math.inf)
    op = DipoleOp(field.grid)
    left = [
        float((field.values - op(GradientTikhonov(n_steps=n)(field).values))[field.mask].norm()) for n in (1, 2, 4, 8)
    ]
    assert left == sorted(left, reverse=True) and left[-1] < 0.8 * left[0]


def test_the_exact_truth_is_a_fixed_point_of_its_refinement() -> None:
    head, _ = noisy_phantom(math.inf)
    grid = head.grid
    field = LocalField(torch.where(head.mask, DipoleOp(grid)(head.chi), 0.0), head.mask, grid)
    torch.testing.assert_close(GradientTikhonov().refine(head.chi, Fidelity(field)), head.chi, atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", [{"floor": 0.0}, {"per_noise": -1.0}, {"n_steps": 0}, {"floor": math.inf}])
def test_gradient_tikhonov_refuses_what_is_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ParameterInvalid, match="expected a positive floor, a factor of 0 or more, and at least one"):
        GradientTikhonov(**change)


# Fields without their harmonic part.

@dataclass(frozen=True)
class Resharp:
    """RESHARP (Sun 2014, doi 10.1002/mrm.24765): the least field with the same deviations from means over spheres."""

    radius: float = 6.0
    strength: float = 1e-3

    def __call__(self, field: TotalField, progress: Progress) -> LocalField:
        grid = field.grid
        lines = [torch.fft.fftfreq(n, 1.0 / (n * v)) for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
        ball = (sum(x**2 for x in torch.meshgrid(*lines, indexing="ij")) <= self.radius**2).float()
        mean = fft(ball / ball.sum())
        inside = ifft(mean * fft(field.mask.float()), grid.shape) > 0.999

        def deviation(x: torch.Tensor) -> torch.Tensor:
            return ifft((1.0 - mean) * fft(x), grid.shape)

        def normal(x: torch.Tensor) -> torch.Tensor:
            return deviation(torch.where(inside, deviation(x), 0.0)) + self.strength * x

        seen = torch.where(inside, deviation(torch.where(field.mask, field.values, 0.0)), 0.0)
        found = conjugate_gradient(normal, deviation(seen), tolerance=1e-3, max_iterations=200)
        return LocalField(torch.where(inside, found.x, 0.0), inside, grid)


REMOVALS = [VSharp(), LaplacianBoundaryValue()]


@pytest.fixture(scope="module")
def brain() -> tuple[Head, LocalField]:
    head = draw_brain(Dice(77), Grid((72, 88, 72), (2.0, 2.0, 2.0)), lesions=False)
    return head, acquire(head, Discrepancy(40.0), Dice(1))


def without_background(field: LocalField, removal: Removal) -> LocalField:
    return removal(TotalField(field.values, field.mask, field.grid), lambda fraction, stage: None)


def test_in_a_mask_with_gaps_the_steps_do_not_run_away(brain: tuple[Head, LocalField]) -> None:
    field = brain[1]
    mask = field.mask & (torch.arange(field.grid.shape[2]) % 2 == 0)
    gaps = replace(field, mask=mask)
    chi = GradientTikhonov()(Frame.around(gaps).prepare(gaps)).values
    assert float(chi.abs().max()) < float(brain[0].chi.abs().max())
    steps = [GradientTikhonov(n_steps=n)(Frame.around(gaps).prepare(gaps)).values for n in (12, 60)]
    assert torch.equal(*steps)


def less_its_mean(field: LocalField) -> torch.Tensor:
    return torch.where(field.mask, field.values - field.values[field.mask].mean(), 0.0)


def test_a_constant_of_the_field_changes_nothing(brain: tuple[Head, LocalField]) -> None:
    field = Frame.around(brain[1]).prepare(brain[1])
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.004, 0.0))
    plain, other = Fidelity(field), Fidelity(shifted)
    assert other.offset - plain.offset == pytest.approx(0.004, rel=1e-3) and abs(plain.offset) < 2e-4
    assert (other.noise, other.lacking) == (pytest.approx(plain.noise, rel=1e-3), 0.0)
    torch.testing.assert_close(other.field.values, plain.field.values, atol=1e-6, rtol=0)
    one, two = (GradientTikhonov()(f).values for f in (field, shifted))
    assert float((one - two).norm()) < 1e-3 * float(one.norm())


def test_a_field_is_known_to_be_whole(brain: tuple[Head, LocalField]) -> None:
    whole = Fidelity(Frame.around(brain[1]).prepare(brain[1]))
    assert whole.lacking == 0.0
    torch.testing.assert_close(whole.residual(torch.zeros_like(whole.field.values)), less_its_mean(whole.field))


def test_a_whole_field_of_a_head_that_the_volume_cuts_through_is_known_to_be_whole() -> None:
    """Steps leave as much of it as of some fields that lack the part, but it is harmonic in good part."""
    dice = Dice(2039)
    head = draw_head(dice, draw_training_grid(dice))
    field = acquire(head, draw_discrepancy(dice), dice)
    fidelity = Fidelity(Frame.around(field).prepare(field))
    assert fidelity._unexplained() > 0.12 and fidelity.lacking == 0.0


def test_small_holes_of_the_mask_change_nothing_in_what_is_known(brain: tuple[Head, LocalField]) -> None:
    left = without_background(brain[1], VSharp())
    holes = torch.rand(left.mask.shape, generator=torch.Generator().manual_seed(0)) < 0.002
    mask = left.mask & ~holes
    pierced = LocalField(torch.where(mask, left.values, 0.0), mask, left.grid)
    assert Fidelity(Frame.around(pierced).prepare(pierced)).lacking > 0.9


@pytest.mark.parametrize("n_slices", [1, 2])
def test_a_mask_without_an_inside_is_judged_without_an_error(n_slices: int) -> None:
    grid = Grid((24, 24, 16), (1.0, 1.0, 5.0))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[4:20, 4:20, 6 : 6 + n_slices] = True
    assert 0.0 <= Fidelity(LocalField(torch.where(mask, Dice(3).normal(*grid.shape), 0.0), mask, grid)).lacking <= 1.0


def test_an_estimate_is_not_judged(brain: tuple[Head, LocalField]) -> None:
    left = without_background(brain[1], VSharp())
    prepared = Frame.around(left).prepare(left)
    assert Fidelity(replace(prepared, recovered=True)).lacking == 0.0 < Fidelity(prepared).lacking


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_field_without_its_harmonic_part_is_known_and_inverted_better_for_it(
    removal: Removal, brain: tuple[Head, LocalField], monkeypatch: pytest.MonkeyPatch
) -> None:
    head, field = brain
    left = without_background(field, removal)
    frame = Frame.around(left)
    fidelity = Fidelity(prepared := frame.prepare(left))
    assert fidelity.lacking > 0.9

    def error(chi: torch.Tensor) -> float:
        return nrmse(frame.restore(chi), head.chi, left.mask)

    aware = error(GradientTikhonov()(prepared).values)
    monkeypatch.setattr("IR2QSMLib.inversion.gradient_tikhonov.LACKING", (1e3, 2e3))
    assert aware < error(GradientTikhonov()(prepared).values) - 3.0


@pytest.mark.parametrize("strength", [1e-4, 1e-3, 1e-2])
def test_after_resharp_too_a_field_is_known_to_lack_its_harmonic_part(
    strength: float, brain: tuple[Head, LocalField]
) -> None:
    left, told = without_background(brain[1], Resharp(strength=strength)), []
    fidelity = Fidelity(Frame.around(left).prepare(left), lambda *event: told.append(event))
    assert fidelity.lacking > 0.9
    assert len(told) > 5 and told == sorted(told) and {stage for _, stage in told} == {"harmonic part"}


def test_a_harmonic_field_leaves_no_residual_where_the_harmonic_part_is_missing(
    brain: tuple[Head, LocalField],
) -> None:
    left = without_background(brain[1], LaplacianBoundaryValue())
    fidelity = Fidelity(frame_field := Frame.around(left).prepare(left))
    x, y, z = (torch.arange(n, dtype=torch.float32).sub(n / 2).mul(0.002) for n in frame_field.grid.shape)
    harmonic = x.view(-1, 1, 1) * y.view(1, -1, 1) + 3.0 * z
    nothing = torch.zeros_like(frame_field.values)
    assert fidelity.of_what_was_measured().lacking == fidelity.lacking
    before = fidelity.residual(nothing)
    fidelity.field = LocalField(frame_field.values + harmonic * frame_field.mask, frame_field.mask, frame_field.grid)
    assert float((fidelity.residual(nothing) - before).norm()) < 0.05 * float((harmonic * frame_field.mask).norm())


def test_an_estimated_harmonic_part_is_read_and_not_fitted(brain: tuple[Head, LocalField]) -> None:
    field = Frame.around(brain[1]).prepare(brain[1])
    whole, estimated = Fidelity(field), Fidelity(replace(field, recovered=True))
    nothing = torch.zeros_like(field.values)
    assert torch.equal(whole.of_what_was_measured().residual(nothing), whole.residual(nothing))
    torch.testing.assert_close(estimated.residual(nothing), whole.residual(nothing), atol=1e-7, rtol=0)
    measured = estimated.of_what_was_measured()
    assert (measured.lacking, estimated.lacking) == (1.0, 0.0)
    z = torch.arange(field.grid.shape[2], dtype=torch.float32).sub(field.grid.shape[2] / 2).mul(0.01)
    wrong = torch.where(field.mask, z, 0.0)
    measured.field = replace(field, values=field.values + wrong)
    change = measured.residual(nothing) - estimated.of_what_was_measured().residual(nothing)
    assert float(change.norm()) < 0.05 * float(wrong.norm())


def test_in_a_mask_too_thin_for_a_sphere_all_of_the_residual_counts() -> None:
    grid = Grid((24, 24, 24))
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[4:20, 4:20, 12] = True
    field = LocalField(torch.where(mask, Dice(3).normal(*grid.shape), 0.0), mask, grid, recovered=True)
    measured = Fidelity(field).of_what_was_measured()
    assert measured.lacking == 0.0
    torch.testing.assert_close(measured.residual(torch.zeros(grid.shape)), less_its_mean(field))


@pytest.mark.parametrize("removal", REMOVALS)
def test_the_true_map_gives_a_field_the_harmonic_part_that_it_lacks(
    removal: Removal, brain: tuple[Head, LocalField]
) -> None:
    head, field = brain
    left = without_background(field, removal)
    frame = Frame.around(left)
    lacking = Fidelity(frame.prepare(left))
    chi, whole = frame.bring(head.chi), frame.bring(torch.where(left.mask, field.values, 0.0))
    found = lacking.completed(chi)
    inside = lacking.field.mask

    def off(values: torch.Tensor) -> float:
        return float((values - whole)[inside].norm())

    assert off(found.values) < 0.5 * off(lacking.field.values)
    assert found.recovered and Fidelity(found).lacking == 0.0


def test_an_estimate_of_the_harmonic_part_is_replaced_but_for_a_share(brain: tuple[Head, LocalField]) -> None:
    field = Frame.around(brain[1]).prepare(brain[1])
    measured = Fidelity(replace(field, recovered=True)).of_what_was_measured()
    nothing = torch.zeros_like(field.values)
    change = measured.completed(nothing).values - field.values
    harmonic = measured.residual(nothing) - field.values
    torch.testing.assert_close(change, 0.8 * harmonic)
    whole = Fidelity(field)
    assert whole.completed(nothing) is whole.field
