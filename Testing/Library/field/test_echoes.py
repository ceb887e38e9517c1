"""Echo combination: known fields, the MEDI toolbox's complex fit, and repeated noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import Phase, TotalField
from IR2QSMLib.field.echoes import EchoFit, correct_bipolar
from IR2QSMLib.field.scaling import wrap
from IR2QSMLib.field.unwrapping import LaplacianUnwrapping, PathUnwrapping

TIMES = (0.004, 0.009, 0.014, 0.019, 0.024)
GRID = Grid((20, 18, 16), (1.0, 1.2, 2.0))
MASK = torch.ones(GRID.shape, dtype=torch.bool)


def bump(grid: Grid = GRID, height: float = 0.4) -> Tensor:
    """A smooth field [ppm] whose phase wraps several times by the last echo."""
    axes = [torch.linspace(-1.0, 1.0, n) for n in grid.shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return height * torch.exp(-2.0 * (x**2 + y**2 + 0.5 * z**2)) - 0.1 * x


def smooth_offset(grid: Grid = GRID) -> Tensor:
    axes = [torch.linspace(-1.0, 1.0, n) for n in grid.shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return 0.7 + 0.8 * x * y - 0.5 * z


def combine(phase: Phase, fit: EchoFit, mask: Tensor = MASK) -> Any:
    return fit(phase, PathUnwrapping()(phase, mask), mask)


@pytest.mark.parametrize("times", [TIMES, TIMES[:2], (0.003, 0.0071, 0.0133, 0.0242)])
def test_field_and_offset_are_exact_without_noise(
    times: tuple[float, ...], simulate_echoes: Callable[..., Phase]
) -> None:
    result = combine(simulate_echoes(bump(), GRID, times, offset=smooth_offset()), EchoFit())
    torch.testing.assert_close(result.field.values, bump(), atol=2e-5, rtol=0)
    assert float(wrap(result.offset - smooth_offset()).abs().max()) < 1e-3
    assert float(result.residual.max()) < 1e-3


def test_the_frequency_equals_the_toolboxes(toolbox: Any) -> None:
    """The toolbox's sign is opposite; both are known modulo 2π per echo spacing."""
    field = combine(toolbox.phase, EchoFit(), toolbox.mask).field
    spacing = toolbox.phase.echo_times[1] - toolbox.phase.echo_times[0]
    result = 2.0 * math.pi * float(toolbox.results["center_frequency_hz"]) * 1e-6 * spacing * field.values
    reference = -toolbox.result("fit_frequency_rad_per_echo")[toolbox.mask]
    error = wrap(result[toolbox.mask] - reference)
    low, high = reference.quantile(torch.tensor([0.01, 0.99]))
    assert float(error.square().mean().sqrt() / (high - low)) < 0.01
    assert float(error.abs().median()) < 1e-4


def test_the_noise_map_equals_the_toolboxes_and_fits_the_errors(toolbox: Any) -> None:
    """The toolbox's is for a signal noise of one."""
    result = combine(toolbox.phase, EchoFit(), toolbox.mask)
    spacing = toolbox.phase.echo_times[1] - toolbox.phase.echo_times[0]
    unit = 1.0 / (2.0 * math.pi * float(toolbox.results["center_frequency_hz"]) * 1e-6 * spacing)
    expected = result.signal_noise * unit * toolbox.result("fit_noise_std")
    torch.testing.assert_close(result.field.noise[toolbox.mask], expected[toolbox.mask], rtol=1e-3, atol=0)
    error = result.field.values - toolbox.result("total_field_true_ppm")
    pulls = (error / result.field.noise.clamp_min(1e-9))[toolbox.mask]
    assert 0.9 < float(pulls.abs().median() / 0.6745) < 1.1


def test_the_squared_residual_equals_the_toolboxes(toolbox: Any) -> None:
    result = combine(toolbox.phase, EchoFit(), toolbox.mask).residual[toolbox.mask].square()
    reference = toolbox.result("fit_relative_residual")[toolbox.mask]
    assert float((result - reference).abs().median()) < 1e-3 * float(reference.median())


@pytest.mark.parametrize("fit", [EchoFit(), EchoFit(6.0)])
def test_the_noise_map_is_the_standard_deviation_over_repetitions(
    fit: EchoFit, simulate_echoes: Callable[..., Phase]
) -> None:
    magnitude = 1.0 + 0.8 * torch.linspace(-1.0, 1.0, GRID.shape[0]).view(-1, 1, 1).expand(GRID.shape)
    fields, maps = [], []
    for seed in range(24):
        phase = simulate_echoes(bump(), GRID, TIMES, magnitude=magnitude, noise=0.01, seed=seed, offset=0.3)
        result = combine(phase, fit)
        fields.append(result.field.values)
        maps.append(result.field.noise)
        assert result.signal_noise == pytest.approx(0.01, rel=0.05)
    spread, estimated = torch.stack(fields).std(0), torch.stack(maps).mean(0)
    ratio = (spread.square().mean((1, 2)) / estimated.square().mean((1, 2))).sqrt()
    assert float(ratio.min()) > 0.92 and float(ratio.max()) < 1.1


def test_a_smooth_offset_leaves_less_noise(simulate_echoes: Callable[..., Phase]) -> None:
    phase = simulate_echoes(bump(), GRID, TIMES, offset=0.2 * smooth_offset(), noise=0.03)
    unsmoothed, smooth = (combine(phase, EchoFit(width)) for width in (0.0, 3.0))
    error_own, error_smooth = (float((c.field.values - bump()).std()) for c in (unsmoothed, smooth))
    assert error_smooth < 0.65 * error_own
    assert float(wrap(smooth.offset - 0.2 * smooth_offset()).abs().max()) < 0.1
    assert float(smooth.field.noise.mean()) < 0.65 * float(unsmoothed.field.noise.mean())


def test_bright_echoes_count_more(simulate_echoes: Callable[..., Phase]) -> None:
    phase = simulate_echoes(bump(), GRID, TIMES)
    disturbed = phase.values.clone()
    disturbed[4] += 0.5
    dark = phase.magnitude.clone()
    dark[4] *= 1e-3
    even = combine(replace(phase, values=wrap(disturbed)), EchoFit())
    weighted = combine(replace(phase, values=wrap(disturbed), magnitude=dark), EchoFit())
    assert float((weighted.field.values - bump()).abs().max()) < 1e-4
    assert float((even.field.values - bump()).abs().min()) > 1e-3
    assert float(even.residual.min()) > 0.05


def test_a_single_echo_is_divided_by_its_time_offset_included(simulate_echoes: Callable[..., Phase]) -> None:
    phase = simulate_echoes(bump(), GRID, (0.012,), offset=0.4, noise=0.01)
    result = combine(phase, EchoFit())
    shift = 0.4 / (2.0 * math.pi * 42.576 * 3.0 * 0.012)
    assert float((result.field.values - bump() - shift).mean().abs()) < 1e-4
    assert not result.offset.any() and float(result.residual.max()) < 1e-6
    assert result.signal_noise == pytest.approx(0.01, rel=0.1)


def test_the_noise_of_two_echoes_comes_from_the_magnitude(simulate_echoes: Callable[..., Phase]) -> None:
    magnitude = 1.0 + 0.2 * bump()
    result = combine(simulate_echoes(bump(), GRID, TIMES[:2], noise=0.02, magnitude=magnitude), EchoFit())
    assert result.signal_noise == pytest.approx(0.02, rel=0.15)
    error = float((result.field.values - bump()).std())
    assert error == pytest.approx(float(result.field.noise.mean()), rel=0.2)


def test_the_fit_of_laplacian_phase_follows_the_same_field(simulate_echoes: Callable[..., Phase]) -> None:
    """Exact only where the phase is periodic; elsewhere a harmonic field is lost, so curvatures are compared."""
    phase = simulate_echoes(bump(), GRID, TIMES, offset=smooth_offset())
    field = EchoFit()(phase, LaplacianUnwrapping()(phase, MASK), MASK).field.values
    inner = (slice(2, -2),) * 3

    def curvature(x: Tensor) -> Tensor:
        return sum(
            ((x.roll(1, a) + x.roll(-1, a) - 2.0 * x) / v**2 for a, v in enumerate(GRID.voxel_size)),
            torch.zeros_like(x),
        )[inner]

    assert float((curvature(field) - curvature(bump())).norm() / curvature(bump()).norm()) < 0.15


def test_the_phase_of_a_bipolar_readout_is_corrected(simulate_echoes: Callable[..., Phase]) -> None:
    monopolar = simulate_echoes(bump(), GRID, TIMES, offset=smooth_offset(), noise=0.01)
    x = (torch.arange(GRID.shape[0]) - (GRID.shape[0] - 1) / 2).view(-1, 1, 1) * GRID.voxel_size[0]
    p = 0.25 + 0.08 * x.expand(GRID.shape)
    sign = torch.tensor([(-1.0) ** n for n in range(len(TIMES))]).view(-1, 1, 1, 1)
    bipolar = replace(monopolar, values=wrap(monopolar.values + sign * p), bipolar=True)
    corrected, (a, *b) = correct_bipolar(bipolar, MASK)
    assert a == pytest.approx(0.25, abs=0.01) and b == pytest.approx([0.08, 0.0, 0.0], abs=1e-3)
    assert not corrected.bipolar
    result, disturbed = (combine(phase, EchoFit()) for phase in (corrected, bipolar))
    assert float((result.field.values - bump()).std()) < 1.2 * float(combine(monopolar, EchoFit()).field.noise.mean())
    assert float(disturbed.residual.median()) > 5.0 * float(result.residual.median())


@pytest.mark.parametrize("times", [TIMES[:2], (0.004, 0.009, 0.016)])
def test_a_bipolar_readout_of_too_few_or_uneven_echoes_is_refused(
    times: tuple[float, ...], simulate_echoes: Callable[..., Phase]
) -> None:
    with pytest.raises(ParameterInvalid, match="three echoes or more"):
        correct_bipolar(simulate_echoes(bump(), GRID, times), MASK)


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="width of the phase offset"):
        EchoFit(-1.0)


# Volumes.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"echo_times": TIMES[:4]}, "There are 5 echoes and 4 echo times"),
        ({"echo_times": TIMES[::-1]}, "expected rising ones"),
        ({"echo_times": tuple(1e3 * te for te in TIMES)}, "in seconds, not milliseconds"),
        ({"b0": 3e4}, "field strength in tesla"),
        ({"magnitude": torch.ones(4, *GRID.shape)}, "expected one shape"),
        ({"mask": torch.ones(3, 3, 3, dtype=torch.bool)}, r"the mask \(3, 3, 3\)"),
        ({"grid": Grid((20, 18, 17))}, "the grid"),
    ],
)
def test_phase_of_inconsistent_parts_is_refused(
    change: dict[str, Any], message: str, simulate_echoes: Callable[..., Phase]
) -> None:
    with pytest.raises((FieldInvalid, ParameterInvalid), match=message):
        replace(simulate_echoes(bump(), GRID, TIMES), **change)


def test_a_total_field_of_two_shapes_is_refused() -> None:
    with pytest.raises(FieldInvalid, match="expected one shape"):
        TotalField(torch.zeros(4, 4, 4), torch.ones(4, 4, 5, dtype=torch.bool), Grid((4, 4, 4)))
