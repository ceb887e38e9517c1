"""MEDI: edges of the magnitude, weights of the noise, every option, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import Cancelled, FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.inversion.edges import magnitude_edges
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.physics.gradient import Gradient
from Testing.Library.inversion.medi_case import OBLIQUE, ball, head, relative_difference


def test_an_edge_of_the_magnitude_is_not_penalised() -> None:
    field, _ = head()
    assert field.magnitude is not None
    body = ball(field.grid, 3.0, (3.0, 1.0, 0.0))
    for axis, edges in enumerate(magnitude_edges(field.magnitude, field.mask, Gradient(field.grid, "zero"))):
        crossed = (body != body.roll(-1, axis)) & ball(field.grid, 8.0)
        assert int(crossed.sum()) > 20 and not edges[crossed].any()
        assert set(edges.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_edges_number_nine_tenths_of_the_masks_voxels_whatever_the_unit(scale: float) -> None:
    field, _ = head()
    assert field.magnitude is not None
    edges = magnitude_edges(field.magnitude * scale, field.mask, Gradient(field.grid, "zero"))
    n_edges = sum(int((e == 0.0).sum()) for e in edges)
    assert n_edges / int(field.mask.sum()) == pytest.approx(0.9, rel=0.1)  # the level moves in steps of 5 %


def test_a_voxel_of_more_noise_counts_less() -> None:
    """A wrong field at one voxel matters, unless the noise map says how wrong it may be."""
    field, _ = head()
    assert field.noise is not None
    spoilt, trusted = field.values.clone(), field.noise.clone()
    spoilt[12, 13, 11] += 0.1
    distrusted = trusted.clone()
    distrusted[12, 13, 11] *= 100.0
    clean = Medi()(field).values
    by_trust = relative_difference(Medi()(replace(field, values=spoilt)).values, clean)
    by_distrust = relative_difference(Medi()(replace(field, values=spoilt, noise=distrusted)).values, clean)
    assert by_distrust < 0.2 * by_trust


def test_without_a_noise_map_all_voxels_weigh_the_same_and_the_notes_say_so() -> None:
    field, _ = head()
    uniform = Medi()(replace(field, noise=None))
    assert uniform.notes["noise_weights"] == "uniform, no noise map was given"
    assert Medi()(field).notes["noise_weights"] == "noise map"
    same = Medi()(replace(field, noise=torch.full_like(field.values, 0.7)))
    torch.testing.assert_close(uniform.values, same.values)
    assert relative_difference(uniform.values, Medi()(field).values) > 1e-3


@pytest.mark.parametrize("other", [Medi(300.0), Medi(tolerance=0.02), Medi(max_iterations=1), Medi(merit=True)])
def test_every_option_changes_the_map(other: Medi) -> None:
    field, _ = head(noise=0.004)
    field.values[12, 13, 11] += 0.15  # for MERIT to find
    assert relative_difference(other(field).values, Medi()(field).values) > 1e-3


def test_merit_downweights_voxels_that_the_model_cannot_explain() -> None:
    field, truth = head()
    spoilt = field.values.clone()
    spoilt[12, 13, 11] += 0.15
    spoilt[9, 12, 8] -= 0.15
    field = replace(field, values=spoilt)

    def error(method: Medi) -> float:
        return float((method(field).values - truth)[field.mask].std())

    assert error(Medi(merit=True, tolerance=0.01)) < 0.8 * error(Medi(tolerance=0.01))


def test_the_spherical_mean_removes_a_background_and_shrinks_the_mask() -> None:
    field, _ = head(Grid((30, 30, 30)))
    field = replace(field, mask=ball(field.grid, 12.0))
    x, y, z = torch.meshgrid(*((torch.arange(30) - 14.5) for _ in range(3)), indexing="ij")
    background = torch.where(field.mask, 2e-3 * z + 2e-4 * (x**2 - y**2), 0.0)
    values = field.values + background

    def change(method: Medi) -> float:
        plain, shifted = method(field), method(replace(field, values=values))
        assert plain.mask is not None
        return float((shifted.values - plain.values)[ball(field.grid, 7.0)].norm())

    assert change(Medi(smv_radius=3.0)) < 0.1 * change(Medi())
    result = Medi(smv_radius=3.0)(field)
    assert result.mask is not None and not result.values[~result.mask].any()
    assert torch.equal(result.mask | field.mask, field.mask)
    assert bool(result.mask[ball(field.grid, 8.0)].all()) and not result.mask[~ball(field.grid, 10.0)].any()


def test_a_marked_fluid_becomes_uniform_and_zero() -> None:
    field, _ = head(noise=0.003)
    fluid = ball(field.grid, 3.0, (-4.0, -1.0, 2.0))
    marked = replace(field, csf=fluid)
    spreads = [float(Medi(csf_regularisation=s)(marked).values[fluid].std()) for s in (0.0, 100.0, 1e4)]
    assert spreads[0] > 1.2 * spreads[1] > 1.44 * spreads[2]
    zeroed = Medi()(marked).values
    assert abs(float(zeroed[fluid].mean())) < 1e-6 and not zeroed[~field.mask].any()
    assert relative_difference(Medi()(field).values, zeroed) > 0.1


def test_automatic_regularisation_trusts_a_field_of_less_noise_more() -> None:
    regularisations = [Medi("auto")(head(noise=noise)[0]).notes["regularisation"] for noise in (0.001, 0.004, 0.016)]
    assert regularisations[0] > 2 * regularisations[1] > 4 * regularisations[2] > 0.0


def test_the_notes_hold_iterations_and_transforms() -> None:
    notes = Medi()(head()[0]).notes
    assert 1 < notes["iterations"] <= 10 and notes["relative_change"] <= 0.1
    assert notes["inner_iterations"] >= notes["iterations"]
    assert notes["fft_pairs"] >= 2 * notes["inner_iterations"]  # D, and its adjoint


def test_automatic_regularisation_takes_out_the_constant_of_the_field() -> None:
    field, _ = head()
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.1, 0.0))
    plain, other = Medi("auto")(field), Medi("auto")(shifted)
    assert relative_difference(other.values, plain.values) < 0.02
    assert other.notes["field_offset_ppm"] - plain.notes["field_offset_ppm"] == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_arrays_axes_does_not_matter(axes: tuple[int, int, int]) -> None:
    field, _ = head()
    grid = field.grid
    reoriented = Grid(
        tuple(grid.shape[a] for a in axes),
        tuple(grid.voxel_size[a] for a in axes),  # type: ignore[arg-type]
        user_b0_direction=tuple(OBLIQUE[a] for a in axes),  # type: ignore[arg-type]
    )
    chi = Medi()(field).values
    other = Medi()(field.map_volumes(lambda x: x.permute(*axes), reoriented)).values
    assert relative_difference(other, chi.permute(*axes)) < 1e-3


def test_progress_rises_and_can_cancel_within_a_step() -> None:
    fractions: list[float] = []

    def progress(fraction: float, stage: str) -> None:
        assert stage == "inversion"
        fractions.append(fraction)
        if len(fractions) == 8:
            raise Cancelled()

    with pytest.raises(Cancelled):
        Medi()(head()[0], progress)
    assert fractions == sorted(fractions) and fractions[-1] < 0.1


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"magnitude": None}, "takes its edges from the magnitude; give the magnitude image too, or use TV"),
        ({"b0": None}, "give the field strength in tesla .* and the echo spacing"),
        ({"echo_spacing": None}, "give the field strength in tesla .* and the echo spacing"),
    ],
)
def test_missing_inputs_are_asked_for(missing: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldInvalid, match=message):
        Medi()(replace(head()[0], **missing))


@pytest.mark.parametrize("magnitude", [0.0, 1.0, math.nan])
def test_a_magnitude_without_edges_is_refused(magnitude: float) -> None:
    field, _ = head()
    flat = torch.full_like(field.values, magnitude)
    with pytest.raises(FieldInvalid, match="magnitude is empty, flat or not finite inside the mask"):
        Medi()(replace(field, magnitude=flat))


def test_noise_fluid_and_spheres_that_do_not_fit_are_refused() -> None:
    field, _ = head()
    with pytest.raises(FieldInvalid, match="noise map holds no positive number inside the mask"):
        Medi()(replace(field, noise=torch.zeros_like(field.values)))
    with pytest.raises(MaskInvalid, match="cerebrospinal fluid lies nowhere inside the mask"):
        Medi()(replace(field, csf=~field.mask))
    with pytest.raises(MaskInvalid, match=r"No sphere of 10\.5 mm fits inside the mask"):
        Medi(smv_radius=10.5)(field)
    with pytest.raises(FieldInvalid, match=r"The magnitude has shape \(3, 3, 3\)"):
        replace(field, magnitude=torch.zeros(3, 3, 3))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"regularisation": 0.0}, "The MEDI regularisation is 0; expected a positive number, or auto"),
        ({"regularisation": "strong"}, "The MEDI regularisation is strong; expected a positive number, or auto"),
        ({"smv_radius": -1.0}, "SMV radius of -1 mm"),
        ({"csf_regularisation": math.inf}, "CSF regularisation of inf"),
        ({"tolerance": -0.1}, "MEDI has tolerance -0.1"),
        ({"max_iterations": 0}, "and 0 iterations; expected"),
    ],
)
def test_a_parameter_out_of_range_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        Medi(**parameters)
