"""MEDI: the toolbox's own answers, and the gradient of its objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.edges import magnitude_edges
from IR2QSMLib.inversion.medi import Medi, _Hessian, _Problem
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.gradient import Gradient
from Testing.Library.inversion.medi_case import RAD_PER_PPM, ball, head, relative_difference


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
    result = method(field)
    error = float((result.values - expected)[mask].norm() / expected[mask].norm())
    assert error < 1e-3  # the project's limit is 5e-3
    assert result.mask is not None and torch.equal(result.mask, (expected != 0) & mask)


@pytest.mark.parametrize("regularisation", [100.0, 1000.0])
def test_the_map_minimises_the_objective(
    require_stationary: Callable[..., None], require_minimum: Callable[..., None], regularisation: float
) -> None:
    """Written here with complex exponentials and autograd; the library has only sines and adjoints."""
    field, _ = head()
    field = replace(field, mask=torch.ones_like(field.mask))  # so that nothing is cut from the solution
    assert field.magnitude is not None and field.noise is not None
    chi = Medi(regularisation, tolerance=1e-3, max_iterations=60)(field).values * RAD_PER_PPM
    edges = magnitude_edges(field.magnitude, field.mask, Gradient(field.grid, "zero"))
    weight, operator = (1 / field.noise) / (1 / field.noise).mean(), DipoleOp(field.grid)

    def objective(chi: Tensor) -> Tensor:
        total = torch.zeros(())
        for axis, (edge, voxel) in enumerate(zip(edges, field.grid.voxel_size, strict=True)):
            slope = chi.diff(dim=axis) / voxel * edge.narrow(axis, 0, chi.shape[axis] - 1)
            total = total + (slope.square() + 1e-6).sqrt().sum()
        signal = torch.exp(1j * operator(chi)) - torch.exp(1j * field.values * RAD_PER_PPM)
        return total + regularisation * (weight * signal).abs().square().sum()

    def slope(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_(True)
        return torch.autograd.grad(objective(x), x)[0]

    require_stationary(slope, chi, 0.02)
    require_minimum(objective, chi)


@pytest.mark.parametrize("marked", [False, True])
def test_the_matrix_of_a_step_is_symmetric(require_adjoint: Callable[..., None], marked: bool) -> None:
    field, truth = head()
    if marked:
        field = replace(field, csf=ball(field.grid, 3.0, (-4.0, -1.0, 2.0)))
    assert field.magnitude is not None
    problem = _Problem.of(field, field.magnitude, RAD_PER_PPM, smv_radius=2.0)
    matrix = _Hessian(problem, truth, 1000.0, 100.0)
    require_adjoint(matrix, matrix, field.grid.shape)


def test_a_phase_wrap_changes_nothing() -> None:
    """The data term depends on the complex signal alone, so a voxel that was unwrapped wrongly does no harm."""
    field, _ = head()
    wrapped = field.values.clone()
    wrapped[12, 13, 11] += 2 * math.pi / RAD_PER_PPM
    result = Medi()(replace(field, values=wrapped)).values
    assert relative_difference(result, Medi()(field).values) < 1e-3
