"""Stored numbers to radians: the ranges that scanners write, measured phases, random ranges."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.field.scaling import TWO_PI, PhaseScaling, detect_scaling, recognise_wrapped_phase, wrap
from IR2QSMLib.io.images import read_volume

ReadEchoes = Callable[[str], tuple[Tensor, Grid]]


def phase_of_many_periods(shape: tuple[int, ...] = (24, 20, 18)) -> Tensor:
    """Smooth phase of several periods with noise beside it, as in a scanner's image: wrapped [rad]."""
    x = torch.linspace(-1.0, 1.0, shape[0]).view(-1, *[1] * (len(shape) - 1))
    smooth = (12.0 * x**2 + 3.0 * x).expand(shape).clone()
    smooth[: shape[0] // 4] = TWO_PI * torch.rand(smooth[: shape[0] // 4].shape, generator=torch.manual_seed(0))
    return wrap(smooth)


TRUTH = phase_of_many_periods()
STORED = {
    "radians": (TRUTH, "radians, ±π"),
    "positive radians": (TRUTH.remainder(TWO_PI), "radians, 0 to 2π"),
    "Siemens 12 bits": (((TRUTH + math.pi) * 2048 / math.pi).floor().clamp(0, 4095), "12 bits, 0 to 4095"),
    "Siemens 13 bits": ((TRUTH * 4096 / math.pi).floor(), "13 bits, −4096 to 4095"),
    "signed 12 bits": ((TRUTH * 2048 / math.pi).floor().clamp(-2048, 2047), "12 bits, −2048 to 2047"),
    "Philips": ((TRUTH * 1000).round(), "thousandths of a radian"),
    "degrees": (torch.rad2deg(TRUTH), "degrees, ±180"),
    "positive degrees": (torch.rad2deg(TRUTH).remainder(360.0), "degrees, 0 to 360"),
    "a wrong header": (TRUTH * 0.00367 / math.pi, "unknown unit"),
    "a normalised header": (TRUTH / math.pi, "unknown unit"),
}


@pytest.mark.parametrize("name", STORED)
def test_known_ranges_become_radians(name: str) -> None:
    stored, expected = STORED[name]
    scaling = detect_scaling(stored)
    assert scaling.name.startswith(expected)
    # Whole numbers are exact to half a step; a stretched range depends on how well noise reaches its ends.
    assert float(wrap(scaling(stored) - TRUTH).abs().max()) < 0.005
    assert scaling.needs_confirmation == (expected == "unknown unit") == (not scaling.unit_is_known)
    assert expected in str(scaling) and ("to be confirmed" in str(scaling)) == scaling.needs_confirmation


def test_integers_are_scaled() -> None:
    stored = STORED["Siemens 13 bits"][0].to(torch.int16)
    assert float(wrap(detect_scaling(stored)(stored) - TRUTH).abs().max()) < 0.002


@pytest.mark.parametrize(
    ("file", "expected", "needs_confirmation"),
    [
        ("small_Phase.nii", "unknown unit, -0.00367", True),
        ("small2_Phase.nii", "radians, ±π", False),
        ("small_phase_with_nan.nii", "radians, beyond ±π", False),
    ],
)
def test_measured_phases_are_scaled(
    read_echoes: ReadEchoes, file: str, expected: str, needs_confirmation: bool
) -> None:
    values, _ = read_echoes(file)
    scaling = detect_scaling(values)
    assert scaling.name.startswith(expected) and scaling.needs_confirmation == needs_confirmation
    phase = scaling(values)
    finite = torch.isfinite(values)
    assert torch.equal(torch.isfinite(phase), finite)
    assert float(phase[finite].abs().max()) <= math.pi + 1e-5
    assert float(phase[finite].max() - phase[finite].min()) > 0.99 * TWO_PI


def test_read_volume_and_nibabel_agree_on_a_single_echo(reference_data: Path, read_echoes: ReadEchoes) -> None:
    values, grid = read_volume(reference_data / "gre_small" / "small2_Phase.nii")
    echoes, expected_grid = read_echoes("small2_Phase.nii")
    assert torch.equal(echoes[0], values) and expected_grid.shape == grid.shape


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e6), st.integers(0, 999))
def test_any_range_is_scaled_or_refused(low: float, span: float, seed: int) -> None:
    values = low + span * torch.rand(6, 6, 6, generator=torch.Generator().manual_seed(seed)).double()
    try:
        scaling = detect_scaling(values)
    except FieldInvalid as error:
        assert "The phase" in str(error)
    else:
        phase = scaling(values)
        assert float(phase.abs().max()) <= math.pi + 1e-6 and str(scaling)


@settings(deadline=None, max_examples=40)
@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e5))
def test_a_users_range_becomes_minus_pi_to_pi(low: float, span: float) -> None:
    scaling = PhaseScaling.from_range(low, low + span)
    values = torch.tensor([low, low + 0.25 * span, low + 0.5 * span, low + 0.75 * span], dtype=torch.float64)
    expected = torch.tensor([-math.pi, -0.5 * math.pi, 0.0, 0.5 * math.pi], dtype=torch.float64)
    assert float(wrap(scaling(values) - expected).abs().max()) < 1e-5


def test_a_users_range_differs_from_the_detected_one() -> None:
    stored = STORED["Siemens 12 bits"][0]
    by_user = PhaseScaling.from_range(0.0, 8192.0)
    assert float(wrap(by_user(stored) - detect_scaling(stored)(stored)).abs().max()) > 1.0


def test_unwrapped_radians_differ_from_wrapped_phase_in_an_unknown_unit() -> None:
    x = torch.linspace(0.0, 60.0, 40).view(-1, 1, 1).expand(40, 9, 8) + 0.3
    assert detect_scaling(x - 25.0).name == "radians, unwrapped already"
    wrapped = wrap(x) * 7.0 + 1.0
    scaling = detect_scaling(wrapped)
    assert scaling.name.startswith("unknown unit") and scaling.needs_confirmation
    steps = wrap((scaling(wrapped)).diff(dim=0))
    assert float((steps - x.diff(dim=0)).abs().max()) < 0.12


@pytest.mark.parametrize(("low", "high"), [(-0.8, 19.5), (-5.0, 3.5), (-31.0, 12.0)])
def test_the_edge_of_a_mask_is_no_wrap(low: float, high: float) -> None:
    x = torch.linspace(low, high, 24).view(-1, 1, 1).expand(24, 20, 18).clone()
    x[:, :4], x[:, -4:], x[:, :, :4], x[:, :, -4:] = 0.0, 0.0, 0.0, 0.0
    scaling = detect_scaling(x)
    assert scaling.name == "radians, unwrapped already" and scaling.needs_confirmation
    assert float(wrap(scaling(x) - x).abs().max()) < 1e-5
    wrapped = 5.0 * wrap(x)
    if high > 4.0:
        assert detect_scaling(wrapped).name.startswith("unknown unit")


@pytest.mark.parametrize("name", STORED)
def test_wrapped_phase_in_any_unit_is_recognised(name: str) -> None:
    stored, expected = STORED[name]
    scaling = recognise_wrapped_phase(stored)
    assert scaling is not None and scaling.name.startswith(expected)


@pytest.mark.parametrize("span", [(0.0, 1.0), (0.0, 100.0), (-5.0, 25.0)])
def test_wrapped_phase_over_an_asymmetric_range_is_recognised(span: tuple[float, float]) -> None:
    low, high = span
    stored = low + (TRUTH + math.pi) / TWO_PI * (high - low)
    scaling = recognise_wrapped_phase(stored)
    assert scaling is not None and scaling == detect_scaling(stored) and scaling.needs_confirmation
    assert float(wrap(scaling(stored) - TRUTH).abs().max()) < 0.005


@pytest.mark.parametrize("echo", [0, 1, 2])
def test_each_measured_echo_is_recognised_by_itself(read_echoes: ReadEchoes, echo: int) -> None:
    values, _ = read_echoes("small_Phase.nii")
    scaling = recognise_wrapped_phase(values[echo])
    assert scaling is not None and scaling.slope == pytest.approx(855.0, abs=0.5)
    for name in ("small_Mag.nii", "small2_Mag.nii"):
        magnitude, _ = read_echoes(name)
        assert recognise_wrapped_phase(magnitude[min(echo, len(magnitude) - 1)]) is None


def test_phase_of_less_than_a_period_is_radians_to_be_confirmed() -> None:
    x = torch.linspace(-0.6, 1.1, 30).view(-1, 1, 1).expand(30, 5, 5)
    scaling = detect_scaling(x)
    assert scaling.name == "radians, less than 2π" and scaling.needs_confirmation


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.full((4, 4, 4), 3.0), "constant"),
        (torch.full((4, 4, 4), math.nan), "nowhere finite"),
        (torch.rand(9, 9, 9, generator=torch.manual_seed(1)) ** 3 * 900.0, "looks like a magnitude"),
        (torch.linspace(-300.0, 11000.0, 4000).round().view(40, 10, 10), "no scanner is known to write"),
    ],
)
def test_images_that_are_no_phase_are_refused(values: Tensor, message: str) -> None:
    with pytest.raises(FieldInvalid, match=message):
        detect_scaling(values)


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_a_range_that_does_not_rise_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ParameterInvalid, match="two rising numbers"):
        PhaseScaling.from_range(*limits)
    with pytest.raises(ParameterInvalid, match="slope"):
        PhaseScaling("x", 0.0)
