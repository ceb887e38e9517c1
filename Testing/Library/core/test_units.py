"""Units: the numbers are worked by hand from γ = 42.576 MHz/T."""

from __future__ import annotations

import pytest

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import hz_per_ppm, ppm_per_unit


@pytest.mark.parametrize(("b0", "hz"), [(1.5, 63.864), (3.0, 127.728), (7.0, 298.032)])
def test_one_ppm_is_the_larmor_frequency_in_mhz(b0: float, hz: float) -> None:
    assert hz_per_ppm(b0) == pytest.approx(hz, rel=1e-12)


def test_a_field_in_hz_is_divided_by_the_larmor_frequency() -> None:
    assert 12.7728 * ppm_per_unit("hz", b0=3.0) == pytest.approx(0.1, rel=1e-12)


def test_a_field_in_rad_is_divided_by_its_phase_per_ppm() -> None:
    # 2π · 127.728 Hz/ppm · 0.02 s = 16.0507739 rad/ppm
    assert ppm_per_unit("rad", b0=3.0, echo_time=0.02) == pytest.approx(0.0623022921, rel=1e-8)


def test_a_field_in_ppm_needs_nothing_else() -> None:
    assert ppm_per_unit("ppm") == 1.0


def test_twice_the_field_strength_or_echo_time_halves_the_factor() -> None:
    once = ppm_per_unit("rad", b0=1.5, echo_time=0.01)
    assert ppm_per_unit("rad", b0=3.0, echo_time=0.01) == pytest.approx(once / 2)
    assert ppm_per_unit("rad", b0=1.5, echo_time=0.02) == pytest.approx(once / 2)
    assert ppm_per_unit("hz", b0=3.0) == pytest.approx(ppm_per_unit("hz", b0=1.5) / 2)


def test_an_unknown_unit_is_refused_with_those_known() -> None:
    with pytest.raises(ParameterInvalid, match=r"field unit is 'tesla'; expected one of ppm, hz, rad\."):
        ppm_per_unit("tesla", b0=3.0)


@pytest.mark.parametrize("unit", ["hz", "rad"])
def test_a_missing_field_strength_is_asked_for(unit: str) -> None:
    with pytest.raises(ParameterInvalid, match=rf"A field in {unit} needs the field strength; give B0 in tesla"):
        ppm_per_unit(unit, echo_time=0.02)


def test_a_missing_echo_time_is_asked_for() -> None:
    with pytest.raises(ParameterInvalid, match="A field in rad needs the echo time; give TE in seconds"):
        ppm_per_unit("rad", b0=3.0)


@pytest.mark.parametrize("b0", [0.0, -3.0, 3000.0, float("nan")])
def test_a_field_strength_that_is_not_in_tesla_is_refused(b0: float) -> None:
    with pytest.raises(ParameterInvalid, match=r"B0 is .* T; expected 0.01 to 25 T\. Give the field strength in tesla"):
        ppm_per_unit("hz", b0=b0)


@pytest.mark.parametrize("echo_time", [20.0, 0.0, -0.02, float("nan")])
def test_an_echo_time_in_milliseconds_is_refused(echo_time: float) -> None:
    with pytest.raises(ParameterInvalid, match=r"TE is .* s; expected 0.0005 to 0.1 s\. .* in seconds, not millis"):
        ppm_per_unit("rad", b0=3.0, echo_time=echo_time)
