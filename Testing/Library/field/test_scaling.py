"""Stored numbers to radians: every range seen in the wild, the reference data, random ranges; GE's ways."""

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
from IR2QSMLib.field.scaling import (
    TWO_PI,
    PhaseScaling,
    slices_alternate,
    detect_scaling,
    recognise_wrapped_phase,
    undo_alternating_slices,
    negate_alternate_slices,
    wrap,
)
from IR2QSMLib.io.images import read_volume

ReadEchoes = Callable[[str], tuple[Tensor, Grid]]


def field_of_turns(shape: tuple[int, ...] = (24, 20, 18)) -> Tensor:
    """Smooth phase of several turns with noise beside it, as a scanner's image has: [rad], wrapped."""
    x = torch.linspace(-1.0, 1.0, shape[0]).view(-1, *[1] * (len(shape) - 1))
    smooth = (12.0 * x**2 + 3.0 * x).expand(shape).clone()
    smooth[: shape[0] // 4] = TWO_PI * torch.rand(smooth[: shape[0] // 4].shape, generator=torch.manual_seed(0))
    return wrap(smooth)


TRUTH = field_of_turns()
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
def test_a_known_range_is_recognised_and_brought_to_radians(name: str) -> None:
    stored, expected = STORED[name]
    scaling = detect_scaling(stored)
    assert scaling.name.startswith(expected)
    # Stored whole numbers are good to half a step; a stretched range to how well noise reaches its ends.
    assert float(wrap(scaling(stored) - TRUTH).abs().max()) < 0.005
    assert scaling.sure == (expected != "unknown unit")
    assert expected in str(scaling) and ("to be confirmed" in str(scaling)) != scaling.sure


def test_whole_numbers_are_taken_as_they_are() -> None:
    stored = STORED["Siemens 13 bits"][0].to(torch.int16)
    assert float(wrap(detect_scaling(stored)(stored) - TRUTH).abs().max()) < 0.002


@pytest.mark.parametrize(
    ("file", "expected", "sure"),
    [
        ("small_Phase.nii", "unknown unit, -0.00367", False),
        ("small2_Phase.nii", "radians, ±π", True),
        ("small_phase_with_nan.nii", "radians, beyond ±π", True),
    ],
)
def test_the_reference_phases_are_recognised(read_echoes: ReadEchoes, file: str, expected: str, sure: bool) -> None:
    values, _ = read_echoes(file)
    scaling = detect_scaling(values)
    assert scaling.name.startswith(expected) and scaling.sure == sure
    phase = scaling(values)
    finite = torch.isfinite(values)
    assert torch.equal(torch.isfinite(phase), finite)
    assert float(phase[finite].abs().max()) <= math.pi + 1e-5
    assert float(phase[finite].max() - phase[finite].min()) > 0.99 * TWO_PI


def test_the_reader_gives_the_single_echo_the_same_way(reference_data: Path, read_echoes: ReadEchoes) -> None:
    values, grid = read_volume(reference_data / "gre_small" / "small2_Phase.nii")
    echoes, its = read_echoes("small2_Phase.nii")
    assert torch.equal(echoes[0], values) and its.shape == grid.shape


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e6), st.integers(0, 999))
def test_any_range_is_recognised_or_refused_in_words(low: float, span: float, seed: int) -> None:
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
def test_a_range_that_a_user_gives_goes_from_minus_pi_to_pi(low: float, span: float) -> None:
    scaling = PhaseScaling.between(low, low + span)
    values = torch.tensor([low, low + 0.25 * span, low + 0.5 * span, low + 0.75 * span], dtype=torch.float64)
    expected = torch.tensor([-math.pi, -0.5 * math.pi, 0.0, 0.5 * math.pi], dtype=torch.float64)
    assert float(wrap(scaling(values) - expected).abs().max()) < 1e-5


def test_the_users_range_overrides_what_is_detected() -> None:
    stored = STORED["Siemens 12 bits"][0]
    given = PhaseScaling.between(0.0, 8192.0)
    assert float(wrap(given(stored) - detect_scaling(stored)(stored)).abs().max()) > 1.0


def test_a_flipped_sign_is_the_negative() -> None:
    for stored, _ in STORED.values():
        scaling = detect_scaling(stored)
        assert float(wrap(scaling(stored) + scaling.flipped()(stored)).abs().max()) < 1e-4
    assert "sign flipped" in str(scaling.flipped())


def test_phase_that_is_unwrapped_already_is_told_from_wrapped_in_an_unknown_unit() -> None:
    x = torch.linspace(0.0, 60.0, 40).view(-1, 1, 1).expand(40, 9, 8) + 0.3
    assert detect_scaling(x - 25.0).name == "radians, unwrapped already"
    wrapped = wrap(x) * 7.0 + 1.0
    scaling = detect_scaling(wrapped)
    assert scaling.name.startswith("unknown unit") and not scaling.sure
    steps = wrap((scaling(wrapped)).diff(dim=0))
    assert float((steps - x.diff(dim=0)).abs().max()) < 0.12


@pytest.mark.parametrize(("low", "high"), [(-0.8, 19.5), (-5.0, 3.5), (-31.0, 12.0)])
def test_the_edge_of_a_mask_is_no_wrap(low: float, high: float) -> None:
    x = torch.linspace(low, high, 24).view(-1, 1, 1).expand(24, 20, 18).clone()
    x[:, :4], x[:, -4:], x[:, :, :4], x[:, :, -4:] = 0.0, 0.0, 0.0, 0.0
    scaling = detect_scaling(x)
    assert scaling.name == "radians, unwrapped already" and not scaling.sure
    assert float(wrap(scaling(x) - x).abs().max()) < 1e-5
    wrapped = 5.0 * wrap(x)
    if high > 4.0:
        assert detect_scaling(wrapped).name.startswith("unknown unit")


@pytest.mark.parametrize("name", STORED)
def test_phase_of_which_nobody_says_so_is_recognised_by_its_wraps(name: str) -> None:
    stored, expected = STORED[name]
    scaling = recognise_wrapped_phase(stored)
    assert scaling is not None and scaling.name.startswith(expected)


@pytest.mark.parametrize("span", [(0.0, 1.0), (0.0, 100.0), (-5.0, 25.0)])
def test_wraps_tell_the_unit_of_a_range_that_is_not_symmetric(span: tuple[float, float]) -> None:
    low, high = span
    stored = low + (TRUTH + math.pi) / TWO_PI * (high - low)
    scaling = recognise_wrapped_phase(stored)
    assert scaling is not None and scaling == detect_scaling(stored) and not scaling.sure
    assert float(wrap(scaling(stored) - TRUTH).abs().max()) < 0.005


@pytest.mark.parametrize("echo", [0, 1, 2])
def test_each_reference_echo_alone_is_recognised(read_echoes: ReadEchoes, echo: int) -> None:
    values, _ = read_echoes("small_Phase.nii")
    scaling = recognise_wrapped_phase(values[echo])
    assert scaling is not None and scaling.slope == pytest.approx(855.0, abs=0.5)
    for name in ("small_Mag.nii", "small2_Mag.nii"):
        magnitude, _ = read_echoes(name)
        assert recognise_wrapped_phase(magnitude[min(echo, len(magnitude) - 1)]) is None


def test_phase_of_less_than_a_turn_is_taken_for_radians_and_doubted() -> None:
    x = torch.linspace(-0.6, 1.1, 30).view(-1, 1, 1).expand(30, 5, 5)
    scaling = detect_scaling(x)
    assert scaling.name == "radians, not a full turn" and not scaling.sure


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.full((4, 4, 4), 3.0), "constant"),
        (torch.full((4, 4, 4), math.nan), "nowhere finite"),
        (torch.rand(9, 9, 9, generator=torch.manual_seed(1)) ** 3 * 900.0, "looks like a magnitude"),
        (torch.linspace(-300.0, 11000.0, 4000).round().view(40, 10, 10), "no scanner is known to write"),
    ],
)
def test_what_is_no_phase_is_refused(values: Tensor, message: str) -> None:
    with pytest.raises(FieldInvalid, match=message):
        detect_scaling(values)


@pytest.mark.parametrize("bad", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_a_senseless_range_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(ParameterInvalid, match="two rising numbers"):
        PhaseScaling.between(*bad)
    with pytest.raises(ParameterInvalid, match="slope"):
        PhaseScaling("x", 0.0)


# GE


def signal(shape: tuple[int, int, int] = (16, 14, 12)) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x, y, z = torch.meshgrid(*[torch.linspace(-1.0, 1.0, n) for n in shape], indexing="ij")
    noise = 0.2 * torch.complex(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
    return torch.polar(torch.exp(-(x**2) - y**2 - z**2), 5.0 * x - 3.0 * y * z + 2.0 * z) + noise


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_alternating_slices_are_found_and_set_right(axis: int) -> None:
    truth = signal()
    stored = negate_alternate_slices(truth, axis)
    assert slices_alternate(stored, axis) and not slices_alternate(truth, axis)
    assert not any(slices_alternate(stored, other) for other in (-1, -2, -3) if other != axis)
    torch.testing.assert_close(negate_alternate_slices(stored, axis), truth)


@pytest.mark.parametrize("axes", [(), (-1,), (-2,), (-3,), (-3, -2, -1)])
def test_slices_are_set_right_along_whichever_axes_they_alternate(axes: tuple[int, ...]) -> None:
    truth = signal()
    stored = truth
    for axis in axes:
        stored = negate_alternate_slices(stored, axis)
    phase = torch.stack([stored.angle(), stored.angle()])
    phase[0, 3, 3, 3] = torch.nan
    found, along = undo_alternating_slices(phase, truth.abs().expand(2, -1, -1, -1))
    assert sorted(along) == sorted(axes)
    assert float(wrap(found[1] - truth.angle()).abs().max()) < 1e-4
    assert torch.equal(torch.isnan(found), torch.isnan(phase))


@pytest.mark.parametrize("seed", range(12))
def test_noise_alone_does_not_alternate(seed: int) -> None:
    noise = torch.randn(2, 12, 11, 10, generator=torch.Generator().manual_seed(seed))
    assert undo_alternating_slices(torch.atan2(noise[0], noise[1]), noise.norm(dim=0))[1] == []


def test_a_single_slice_does_not_alternate() -> None:
    assert not slices_alternate(signal((8, 8, 1)), -1)
