"""Axis order, file format and geometry do not change the map, and the result has those of the input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import GridInvalid, GridMismatch, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.simulation.cases import Case, simulate
from Testing.Library.pipeline.scan_files import Reconstruct

METHODS = ["ir2qsm", "tkd"]
REORIENTATIONS = [
    ((0, 1, 2), (True, False, False)),
    ((0, 1, 2), (True, True, True)),
    ((0, 2, 1), (False, False, False)),
    ((1, 2, 0), (False, True, False)),
    ((2, 0, 1), (True, False, False)),
    ((2, 1, 0), (True, False, True)),
]


def reoriented(x: Tensor, axes: tuple[int, ...], flipped: tuple[bool, ...]) -> Tensor:
    return x.permute(*axes).flip([a for a in range(3) if flipped[a]]).contiguous()


def spread(x: Tensor) -> float:
    low, high = torch.quantile(x, torch.tensor([0.01, 0.99])).tolist()
    return float(high - low)


@pytest.fixture(scope="module")
def maps(case: Any) -> dict[str, Tensor]:
    """The case's map by each method."""
    local = case.local
    return {m: reconstruct(local.values, local.mask, grid=local.grid, method=m).chi for m in METHODS}


@pytest.mark.parametrize(("axes", "flipped"), REORIENTATIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_permuted_or_flipped_array_gives_the_same_map(
    case: Any, maps: dict[str, Tensor], method: str, axes: tuple[int, ...], flipped: tuple[bool, ...]
) -> None:
    local = case.local
    grid = local.grid.reoriented(axes, flipped)
    assert np.argmax(np.abs(grid.b0_direction)) == axes.index(2)
    field, mask = (reoriented(x, axes, flipped) for x in (local.values, local.mask))
    result = reconstruct(field, mask, grid=grid, method=method)
    expected = maps[method]
    error = float((result.chi - reoriented(expected, axes, flipped)).abs().max())
    assert error < 1e-4 * spread(expected[local.mask])


@pytest.mark.parametrize("method", METHODS)
def test_axis_order_does_not_matter_when_two_axes_are_equally_near_b0(method: str) -> None:
    _, local = simulate(Case(6, 40.0, (24, 26, 25), (4.5, 4.0, 4.0), 45.0, phantom=True))
    expected = reconstruct(local.values, local.mask, grid=local.grid, method=method).chi
    axes, flipped = (0, 2, 1), (False, True, False)
    grid = local.grid.reoriented(axes, flipped)
    field, mask = (reoriented(x, axes, flipped) for x in (local.values, local.mask))
    result = reconstruct(field, mask, grid=grid, method=method)
    error = float((result.chi - reoriented(expected, axes, flipped)).abs().max())
    assert error < 0.01 * spread(expected[local.mask])


def test_a_reoriented_array_through_files_and_the_command_gives_the_same_map(
    case: Any, maps: dict[str, Tensor], ir2qsm: Callable[..., Any], write_volume: Any, tmp_path: Path
) -> None:
    axes, flipped = (2, 0, 1), (False, True, True)
    grid = case.local.grid.reoriented(axes, flipped)
    field = write_volume(tmp_path / "f.nrrd", reoriented(case.local.values, axes, flipped), grid)
    mask = write_volume(tmp_path / "m.nrrd", reoriented(case.local.mask, axes, flipped), grid)
    assert ir2qsm("reconstruct", field, mask, "-o", tmp_path / "chi.nrrd").code == 0
    chi, _ = read_volume(tmp_path / "chi.nrrd")
    error = float((chi - reoriented(maps["ir2qsm"], axes, flipped)).abs().max())
    assert error < 0.01 * spread(maps["ir2qsm"][case.local.mask])  # the header's rounding shows in half precision


def test_volumes_beside_the_field_may_have_another_axis_order(case: Any, write_volume: Any, tmp_path: Path) -> None:
    local, grid = case.local, case.local.grid
    generator = torch.Generator().manual_seed(3)
    volumes = {
        "mask": local.mask,
        "reference": local.mask & (torch.arange(35)[:, None, None] > 15),
        "magnitude": torch.rand(grid.shape, generator=generator),
        "noise": torch.full(grid.shape, 0.01),
    }
    maps = []
    for axes, flipped in (((0, 1, 2), (False, False, False)), ((0, 1, 2), (False, True, False)), REORIENTATIONS[4]):
        files = {
            name: write_volume(
                tmp_path / f"{name}.nii.gz", reoriented(x, axes, flipped), grid.reoriented(axes, flipped)
            )
            for name, x in volumes.items()
        }
        maps.append(reconstruct(case.field, method="medi", b0=3.0, echo_time=0.006, **files).chi)
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_results_have_the_geometry_of_the_input(
    case: Any, ir2qsm: Callable[..., Any], write_volume: Any, tmp_path: Path, suffix: str
) -> None:
    grid = case.local.grid
    field = write_volume(tmp_path / f"field{suffix}", case.local.values, grid)
    mask = write_volume(tmp_path / f"mask{suffix}", case.local.mask, grid)
    output = tmp_path / f"chi{suffix}"
    ran = ir2qsm("reconstruct", field, mask, "-o", output, "--method", "tkd", "--mask-output", tmp_path / f"v{suffix}")
    assert (ran.code, ran.err) == (0, "")
    for path in (output, tmp_path / f"v{suffix}"):
        _, back = read_volume(path)
        assert back.shape == grid.shape == (35, 42, 33)
        assert np.abs(back.corners() - grid.corners()).max() < 1e-4
        assert np.abs(back.corners() - read_volume(field)[1].corners()).max() < 1e-4


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_two_runs_write_identical_files(case: Any, ir2qsm: Callable[..., Any], tmp_path: Path, suffix: str) -> None:
    hashes = set()
    for _ in range(2):
        assert ir2qsm("reconstruct", case.field, case.mask, "-o", tmp_path / f"chi{suffix}").code == 0
        hashes.add(hashlib.sha256((tmp_path / f"chi{suffix}").read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("shape", [(8, 9, 11), (31, 8, 17)])
def test_small_and_odd_shapes_are_reconstructed(shape: tuple[int, int, int]) -> None:
    _, local = simulate(Case(7, 40.0, shape, (8.0, 9.0, 10.0), phantom=True))
    result = reconstruct(local.values, local.mask, grid=local.grid)
    assert tuple(result.chi.shape) == shape
    assert bool(torch.isfinite(result.chi).all())


def test_a_mask_that_touches_the_edge_is_reconstructed(case: Any) -> None:
    cropped = (slice(8, 27), slice(9, 34), slice(7, 26))
    field, mask = case.local.values[cropped], case.local.mask[cropped]
    assert bool(mask[0].any()) and bool(mask[:, -1].any())
    result = reconstruct(field, mask, grid=case.local.grid.cropped((8, 9, 7), mask.shape), method="tkd")
    assert result.chi.shape == mask.shape


# -- the grid of arrays -----------------------------------------------------------------------------------------------


def test_an_array_without_a_grid_is_refused(reconstruct_case: Reconstruct) -> None:
    with pytest.raises(ParameterInvalid, match=r"field is an array without a grid; give grid=Grid\(shape"):
        reconstruct_case(grid=None)


def test_arrays_that_do_not_fit_the_grid_are_refused(case: Any, reconstruct_case: Reconstruct) -> None:
    with pytest.raises(GridMismatch, match=r"field has shape \(34, 42, 33\) and its grid \(35, 42, 33\)"):
        reconstruct_case(case.local.values[1:])
    with pytest.raises(GridMismatch, match=r"mask has shape \(35, 42, 32\) and the field \(35, 42, 33\); resample"):
        reconstruct_case(mask=case.local.mask[..., 1:])
    with pytest.raises(GridMismatch, match=r"reference region has shape \(35, 41, 33\) and the field"):
        reconstruct_case(reference=case.local.mask[:, 1:])
    with pytest.raises(GridInvalid, match=r"array has 7 voxels along y; expected at least 8"):
        reconstruct_case(torch.ones(9, 7, 9), torch.ones(9, 7, 9), grid=Grid((9, 7, 9)))


def test_b0_of_the_grid_and_of_the_argument_give_the_same_map(case: Any, reconstruct_case: Reconstruct) -> None:
    tilted = (0.3, 0.0, 0.95)
    by_argument, by_grid = reconstruct_case(b0_direction=tilted), reconstruct_case(grid=case.local.grid.with_b0(tilted))
    assert torch.equal(by_argument.chi, by_grid.chi)
    assert float((by_argument.chi - reconstruct_case().chi).abs().max()) > 1e-3
    assert by_grid.provenance["B0Direction"] == by_argument.provenance["B0Direction"]
    assert by_grid.provenance["B0Direction"]["source"] == "given"
    assert reconstruct_case().provenance["B0Direction"]["source"] == "image orientation"
    assert reconstruct_case().provenance["B0Direction"]["voxel_axes"] == pytest.approx(case.local.grid.b0_direction)
