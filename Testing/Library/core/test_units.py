"""Units: the numbers are worked by hand from γ = 42.576 MHz/T."""

from __future__ import annotations

import pytest

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import field_unit, hz_per_ppm, ppm_per_unit


@pytest.mark.parametrize(("b0", "hz"), [(1.5, 63.864), (3.0, 127.728), (7.0, 298.032)])
def test_one_ppm_is_the_larmor_frequency_in_mhz(b0: float, hz: float) -> None:
    assert hz_per_ppm(b0) == pytest.approx(hz, rel=1e-12)


def test_field_in_hz_is_divided_by_the_larmor_frequency() -> None:
    assert 12.7728 * ppm_per_unit("hz", b0=3.0) == pytest.approx(0.1, rel=1e-12)


def test_field_in_rad_is_divided_by_its_phase_per_ppm() -> None:
    # 2π · 127.728 Hz/ppm · 0.02 s = 16.0507739 rad/ppm
    assert ppm_per_unit("rad", b0=3.0, echo_time=0.02) == pytest.approx(0.0623022921, rel=1e-8)


def test_field_in_ppm_needs_no_b0() -> None:
    assert ppm_per_unit("ppm") == 1.0


def test_ppb_rad_per_second_and_tesla_are_converted() -> None:
    assert 250.0 * ppm_per_unit("ppb") == pytest.approx(0.25, rel=1e-12)
    # 2π · 127.728 Hz/ppm = 802.538691 rad/s per ppm; 1 ppm of 3 T is 3 µT
    assert ppm_per_unit("rad/s", b0=3.0) == pytest.approx(1 / 802.538691, rel=1e-8)
    assert 3e-6 * ppm_per_unit("t", b0=3.0) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Hz", "hz"),
        ("rad/s", "rad/s"),
        ("rad s^-1", "rad/s"),
        ("radians", "rad"),
        ("PPM", "ppm"),
        ("T", "t"),
        ("V", None),
    ],
)
def test_texts_name_units(text: str, unit: str | None) -> None:
    assert field_unit(text) == unit


def test_twice_the_field_strength_or_echo_time_halves_the_factor() -> None:
    once = ppm_per_unit("rad", b0=1.5, echo_time=0.01)
    assert ppm_per_unit("rad", b0=3.0, echo_time=0.01) == pytest.approx(once / 2)
    assert ppm_per_unit("rad", b0=1.5, echo_time=0.02) == pytest.approx(once / 2)
    assert ppm_per_unit("hz", b0=3.0) == pytest.approx(ppm_per_unit("hz", b0=1.5) / 2)


def test_unknown_unit_is_refused_with_known_ones_listed() -> None:
    with pytest.raises(ParameterInvalid, match=r"field unit is 'gauss'; expected one of ppm, ppb, hz, rad, rad/s, t\."):
        ppm_per_unit("gauss", b0=3.0)


@pytest.mark.parametrize("unit", ["hz", "rad", "rad/s", "t"])
def test_missing_field_strength_is_asked_for(unit: str) -> None:
    with pytest.raises(ParameterInvalid, match=rf"A field in {unit} needs the field strength; give B0 in tesla"):
        ppm_per_unit(unit, echo_time=0.02)


def test_missing_echo_time_is_asked_for() -> None:
    with pytest.raises(ParameterInvalid, match="A field in rad needs the echo time; give TE in seconds"):
        ppm_per_unit("rad", b0=3.0)


@pytest.mark.parametrize("b0", [0.0, -3.0, 3000.0, float("nan")])
def test_field_strength_outside_b0_range_is_refused(b0: float) -> None:
    with pytest.raises(ParameterInvalid, match=r"B0 is .* T; expected 0.01 to 25 T\. Give the field strength in tesla"):
        ppm_per_unit("hz", b0=b0)


@pytest.mark.parametrize("echo_time", [20.0, 0.0, -0.02, float("nan")])
def test_echo_time_outside_te_range_is_refused(echo_time: float) -> None:
    with pytest.raises(ParameterInvalid, match=r"TE is .* s; expected 0.00002 to 0.25 s\. .* in seconds, not millis"):
        ppm_per_unit("rad", b0=3.0, echo_time=echo_time)
