"""MEDI: the toolbox's own answers, the gradient of its objective, its edges, weights and options."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.edges import magnitude_edges
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.gradient import Gradient

OBLIQUE = (0.2, 0.5, 0.8)
RAD = 2 * math.pi * GYROMAGNETIC_RATIO * 3.0 * 0.005
"""Phase [rad] of 1 ppm at 3 T over an echo spacing of 5 ms."""


def ball(grid: Grid, radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Inside a sphere about the grid's centre [mm], bool."""
    shape = zip(grid.shape, grid.voxel_size, centre, strict=True)
    axes = [(torch.arange(n) - (n - 1) / 2) * v - c for n, v, c in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return (x**2 + y**2 + z**2) < radius**2


def head(grid: Grid | None = None, noise: float = 0.001) -> tuple[LocalField, Tensor]:
    """Two bodies in a ball, seen in the magnitude too: the field with all that MEDI may take, and the true map."""
    grid = grid or Grid((24, 26, 22), (1.0, 1.0, 1.2), b0_given=OBLIQUE)
    generator = torch.Generator().manual_seed(0)
    mask, iron, fluid = ball(grid, 10.0), ball(grid, 3.0, (3.0, 1.0, 0.0)), ball(grid, 3.0, (-4.0, -1.0, 2.0))
    chi = 0.2 * iron - 0.05 * fluid
    spread = noise * (1.0 + ball(grid, 4.0, (0.0, 5.0, 0.0)).float())
    values = DipoleOp(grid)(chi) + spread * torch.randn(grid.shape, generator=generator)
    magnitude = 1.0 - 0.4 * iron + 0.5 * fluid + 0.02 * torch.randn(grid.shape, generator=generator)
    field = LocalField(
        torch.where(mask, values, 0.0), mask, grid, magnitude=magnitude, noise=spread, echo_spacing=0.005, b0=3.0
    )
    return field, chi


def differ(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


# -- the toolbox ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["iso", "aniso_oblique"])
@pytest.mark.parametrize(
    ("answer", "method"),
    [
        ("medi_lambda1000_ppm", Medi()),
        ("medi_lambda300_ppm", Medi(300.0)),
        ("medi_lambda1000_smv4_merit_ppm", Medi(smv_radius=4.0, merit=True)),
    ],
)
def test_the_toolboxs_own_answer_is_met(reference_data: Path, grid: str, answer: str, method: Medi) -> None:
    with np.load(reference_data / f"medi_toolbox_{grid}.npz") as file:
        data: dict[str, Any] = dict(file)
    shape, voxel = data["mask"].shape, tuple(data["voxel_size_mm"].tolist())
    spacing, frequency = float(data["delta_te_s"]), float(data["center_frequency_hz"])
    rad = 2 * math.pi * frequency * 1e-6 * spacing
    phase, noise, magnitude = (torch.from_numpy(data[k]) for k in ("phase_rad", "noise_std_rad", "magnitude"))
    mask, expected = torch.from_numpy(data["mask"]) > 0, torch.from_numpy(data[answer])
    field = LocalField(
        phase / rad,
        mask,
        Grid(shape, voxel).with_b0(data["b0_direction"].tolist()),
        magnitude=magnitude,
        noise=noise / rad,
        echo_spacing=spacing,
        b0=frequency / (GYROMAGNETIC_RATIO * 1e6),
    )
    found = method(field)
    error = float((found.values - expected)[mask].norm() / expected[mask].norm())
    assert error < 1e-3  # the project's limit is 5e-3
    assert found.mask is not None and torch.equal(found.mask, (expected != 0) & mask)


# -- the objective ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regularisation", [100.0, 1000.0])
def test_the_gradient_of_the_objective_vanishes_at_the_solution(regularisation: float) -> None:
    """Written here with complex exponentials and autograd; the library has only sines and adjoints."""
    field, _ = head()
    field = replace(field, mask=torch.ones_like(field.mask))  # so that nothing is cut from the solution
    assert field.magnitude is not None and field.noise is not None
    chi = Medi(regularisation, tolerance=1e-3, max_iterations=60)(field).values * RAD
    edges = magnitude_edges(field.magnitude, field.mask, Gradient(field.grid, "zero"))
    weight, operator = (1 / field.noise) / (1 / field.noise).mean(), DipoleOp(field.grid)

    def objective(chi: Tensor) -> Tensor:
        total = torch.zeros(())
        for axis, (edge, voxel) in enumerate(zip(edges, field.grid.voxel_size, strict=True)):
            slope = chi.diff(dim=axis) / voxel * edge.narrow(axis, 0, chi.shape[axis] - 1)
            total = total + (slope.square() + 1e-6).sqrt().sum()
        signal = torch.exp(1j * operator(chi)) - torch.exp(1j * field.values * RAD)
        return total + regularisation * (weight * signal).abs().square().sum()

    def slope_at(x: Tensor) -> float:
        x = x.clone().requires_grad_(True)
        return float(torch.autograd.grad(objective(x), x)[0].norm())

    assert slope_at(chi) < 0.02 * slope_at(torch.zeros_like(chi))
    best = float(objective(chi))
    generator = torch.Generator().manual_seed(4)
    directions = [chi, *(torch.randn(chi.shape, generator=generator) for _ in range(4))]
    for direction in directions:
        step = 0.02 * chi.norm() * direction / direction.norm()
        assert best < float(objective(chi + step)) and best < float(objective(chi - step))


def test_a_whole_turn_of_the_phase_changes_nothing() -> None:
    """The data term knows the complex signal alone, so a voxel that was unwrapped wrongly does no harm."""
    field, _ = head()
    wrapped = field.values.clone()
    wrapped[12, 13, 11] += 2 * math.pi / RAD
    found = Medi()(replace(field, values=wrapped)).values
    assert differ(found, Medi()(field).values) < 1e-3


# -- edges and weights ------------------------------------------------------------------------------------------------


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


def test_a_voxel_of_more_noise_has_less_say() -> None:
    """A wrong field at one voxel matters, unless the noise map says how wrong it may be."""
    field, _ = head()
    assert field.noise is not None
    spoilt, trusted = field.values.clone(), field.noise.clone()
    spoilt[12, 13, 11] += 0.1
    distrusted = trusted.clone()
    distrusted[12, 13, 11] *= 100.0
    clean = Medi()(field).values
    by_trust = differ(Medi()(replace(field, values=spoilt)).values, clean)
    by_distrust = differ(Medi()(replace(field, values=spoilt, noise=distrusted)).values, clean)
    assert by_distrust < 0.2 * by_trust


def test_without_a_noise_map_all_voxels_weigh_the_same_and_that_is_told() -> None:
    field, _ = head()
    uniform = Medi()(replace(field, noise=None))
    assert uniform.notes["noise_weights"] == "uniform, no noise map was given"
    assert Medi()(field).notes["noise_weights"] == "noise map"
    same = Medi()(replace(field, noise=torch.full_like(field.values, 0.7)))
    torch.testing.assert_close(uniform.values, same.values)
    assert differ(uniform.values, Medi()(field).values) > 1e-3


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [Medi(300.0), Medi(tolerance=0.02), Medi(max_iterations=1), Medi(merit=True)])
def test_every_option_changes_the_map(other: Medi) -> None:
    field, _ = head(noise=0.004)
    field.values[12, 13, 11] += 0.15  # for MERIT to find
    assert differ(other(field).values, Medi()(field).values) > 1e-3


def test_merit_takes_weight_from_what_the_model_cannot_explain() -> None:
    field, truth = head()
    spoilt = field.values.clone()
    spoilt[12, 13, 11] += 0.15
    spoilt[9, 12, 8] -= 0.15
    field = replace(field, values=spoilt)

    def error(method: Medi) -> float:
        return float((method(field).values - truth)[field.mask].std())

    assert error(Medi(merit=True, tolerance=0.01)) < 0.8 * error(Medi(tolerance=0.01))


def test_the_spherical_mean_takes_out_a_background_and_the_mask_shrinks() -> None:
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
    found = Medi(smv_radius=3.0)(field)
    assert found.mask is not None and not found.values[~found.mask].any()
    assert torch.equal(found.mask | field.mask, field.mask)
    assert bool(found.mask[ball(field.grid, 8.0)].all()) and not found.mask[~ball(field.grid, 10.0)].any()


def test_a_marked_fluid_becomes_uniform_and_zero() -> None:
    field, _ = head(noise=0.003)
    fluid = ball(field.grid, 3.0, (-4.0, -1.0, 2.0))
    marked = replace(field, csf=fluid)
    spreads = [float(Medi(csf_regularisation=s)(marked).values[fluid].std()) for s in (0.0, 100.0, 1e4)]
    assert spreads[0] > 1.2 * spreads[1] > 1.44 * spreads[2]
    zeroed = Medi()(marked).values
    assert abs(float(zeroed[fluid].mean())) < 1e-6 and not zeroed[~field.mask].any()
    assert differ(Medi()(field).values, zeroed) > 0.1


def test_the_automatic_strength_trusts_a_field_of_less_noise_more() -> None:
    told = [Medi("auto")(head(noise=noise)[0]).notes["regularisation"] for noise in (0.001, 0.004, 0.016)]
    assert told[0] > 2 * told[1] > 4 * told[2] > 0.0


def test_what_was_solved_is_told() -> None:
    notes = Medi()(head()[0]).notes
    assert 1 < notes["iterations"] <= 10 and notes["relative_change"] <= 0.1
    # Two pairs an inner iteration, and two a step: the data term's gradient, and the field of the new χ.
    assert notes["fft_pairs"] == 2 * notes["inner_iterations"] + 2 * notes["iterations"]


@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_arrays_axes_does_not_matter(axes: tuple[int, int, int]) -> None:
    field, _ = head()
    grid = field.grid
    turned = Grid(
        tuple(grid.shape[a] for a in axes),
        tuple(grid.voxel_size[a] for a in axes),  # type: ignore[arg-type]
        b0_given=tuple(OBLIQUE[a] for a in axes),  # type: ignore[arg-type]
    )
    chi = Medi()(field).values
    other = Medi()(field.mapped(lambda x: x.permute(*axes), turned)).values
    assert differ(other, chi.permute(*axes)) < 1e-3


def test_it_tells_progress_and_can_be_cancelled_within_a_step() -> None:
    told: list[float] = []

    def progress(fraction: float, stage: str) -> None:
        assert stage == "inversion"
        told.append(fraction)
        if len(told) == 8:
            raise Cancelled()

    with pytest.raises(Cancelled):
        Medi()(head()[0], progress)
    assert told == sorted(told) and told[-1] < 0.1


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"magnitude": None}, "takes its edges from the magnitude; give the magnitude image too, or use TV"),
        ({"b0": None}, "give the field strength in tesla .* and the echo spacing"),
        ({"echo_spacing": None}, "give the field strength in tesla .* and the echo spacing"),
    ],
)
def test_what_it_needs_is_asked_for(missing: dict[str, Any], message: str) -> None:
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
        ({"tolerance": -0.1}, "MEDI was given tolerance -0.1"),
        ({"max_iterations": 0}, "and 0 steps; expected"),
    ],
)
def test_a_parameter_out_of_range_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        Medi(**parameters)
