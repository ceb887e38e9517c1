"""What an image seems to be, from its range and its grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FileUnreadable, GridInvalid
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.io.image_echoes import read_echoes
from IR2QSMLib.pipeline.inspection import detect_input, guess_kind, inspect_image

GENERATOR = torch.Generator().manual_seed(3)
NORMAL = torch.randn(20_000, generator=GENERATOR)
UNIFORM = torch.rand(20_000, generator=GENERATOR)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (0.02 * NORMAL, ("local field", "ppm")),
        (0.02 * GYROMAGNETIC_RATIO * 3 * NORMAL, ("local field", "hz")),
        (0.5 * NORMAL, ("total field", "ppm")),
        (0.5 * GYROMAGNETIC_RATIO * 3 * NORMAL, ("total field", "hz")),
        (2 * math.pi * (UNIFORM - 0.5), ("wrapped phase", "rad")),
        (2 * math.pi * UNIFORM, ("wrapped phase", "rad")),
        ((4096 * UNIFORM).floor() - 2048, ("wrapped phase", "scanner units")),
        ((8192 * UNIFORM).floor() - 4096, ("wrapped phase", "scanner units")),
        (800 * UNIFORM, ("magnitude", None)),
        (torch.zeros(0), ("empty", None)),
    ],
)
def test_the_kind_follows_from_the_range(values: Tensor, expected: tuple[str, str | None]) -> None:
    assert guess_kind(values) == expected


def test_a_single_phase_without_a_phase_name_is_never_taken_for_a_field(
    reference_data: Path, case: Any, write_volume: Any, tmp_path: Path, ir2qsm: Callable[..., Any]
) -> None:
    echoes, grid = read_echoes(reference_data / "gre_small" / "small_Phase.nii")
    angle = echoes[0] / 0.0036744 * math.pi
    full_mask = write_volume(tmp_path / "all.nii", torch.ones(grid.shape, dtype=torch.bool), grid)
    positive = angle + math.pi
    for stored in (echoes[0], 1e3 * angle, torch.rad2deg(angle), angle / math.pi, torch.rad2deg(positive) + 0.01):
        path = write_volume(tmp_path / "echo.nii", stored, grid)
        assert detect_input(path) == "phase" and inspect_image(path, full_mask)["kind"] == "wrapped phase"
        ran = ir2qsm("reconstruct", path, full_mask, "-o", tmp_path / "chi.nii", "--method", "tkd", "--device", "cpu")
        assert ran.code == 2 and "1 phase image came without any magnitude" in ran.err
    assert detect_input(case.field) == "local-field"
    for scale in (1.0, 128.0, 1e3):  # ppm, Hz, and a range like thousandths
        assert detect_input(write_volume(tmp_path / "f.nii", scale * case.local.values, case.local.grid)) != "phase"
    magnitude, magnitude_grid = read_echoes(reference_data / "gre_small" / "small2_Mag.nii")
    assert inspect_image(write_volume(tmp_path / "m.nii", magnitude[0], magnitude_grid))["kind"] == "magnitude"


def test_a_magnitude_with_a_sharp_edge_is_no_phase() -> None:
    x, y, z = torch.meshgrid(*[torch.linspace(-1.0, 1.0, 30)] * 3, indexing="ij")
    noise = torch.randn(2, 30, 30, 30, generator=torch.Generator().manual_seed(4))
    inside = (x**2 + y**2 + z**2 < 0.7).float()
    near_coil, radius = 0.4 + 0.6 * (x + 1) / 2, (x**2 + y**2 + z**2) / 0.7
    for bright in (1.0, near_coil, 0.05 + 0.95 * radius, 0.05 + 0.95 * radius * near_coil):
        signal = torch.stack([400.0 * inside * bright + 8.0 * noise[0], 8.0 * noise[1]]).norm(dim=0)
        assert guess_kind(signal) == ("magnitude", None)


def test_an_image_named_phase_has_no_field_unit(case: Any, write_volume: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a_ph.nii", case.local.values, case.local.grid)
    assert (inspect_image(path)["kind"], inspect_image(path)["unit"]) == ("wrapped phase", None)


def test_echoes_without_a_name_are_phase_for_inspect_as_for_reconstruct(case: Any, tmp_path: Path) -> None:
    echoes = np.stack([case.local.values.numpy()] * 2, -1)
    nibabel.save(nibabel.Nifti1Image(echoes, np.eye(4)), tmp_path / "v.nii")
    assert inspect_image(tmp_path / "v.nii")["kind"] == "wrapped phase" and detect_input(tmp_path / "v.nii") == "phase"


def test_a_field_and_its_mask_are_described(case: Any) -> None:
    description = inspect_image(case.field, case.mask)
    inside = case.local.values[case.local.mask]
    assert description == {
        "image": "field.nii.gz",
        "kind": "local field",
        "unit": "ppm",
        "range": pytest.approx([float(inside.min()), float(inside.max())]),
        "shape": [35, 42, 33],
        "voxel_size_mm": pytest.approx([2.8, 3.0, 3.4]),
        "b0_direction": pytest.approx(case.local.grid.b0_direction, abs=1e-6),
        "mask_labels": {"1": int(case.local.mask.sum())},
        "problems": [],
    }


def test_the_labels_of_a_mask_are_counted(case: Any, write_volume: Any, tmp_path: Path) -> None:
    labels = case.local.mask.to(torch.uint8)
    labels[20:] *= 7
    path = write_volume(tmp_path / "labels.nrrd", labels, case.local.grid)
    assert inspect_image(case.field, path)["mask_labels"] == {
        "1": int((labels == 1).sum()),
        "7": int((labels == 7).sum()),
    }


def test_problems_are_listed_not_raised(case: Any, write_volume: Any, tmp_path: Path) -> None:
    values = case.local.values.clone()
    values[0, 0, 0], values[3, 3, 3] = torch.nan, torch.inf
    field = write_volume(tmp_path / "f.nrrd", values, case.local.grid)
    empty = write_volume(tmp_path / "empty.nrrd", torch.zeros_like(case.local.mask), case.local.grid)
    small = write_volume(tmp_path / "small.nrrd", case.local.mask[1:], case.local.grid.cropped((1, 0, 0), (34, 42, 33)))
    nan, nothing = inspect_image(field, empty)["problems"]
    assert nan == "2 values are NaN or infinite." and nothing.startswith("empty.nrrd is empty")
    (apart,) = inspect_image(case.field, small)["problems"]
    assert "differ along x: 34 voxels against 35" in apart
    (missing,) = inspect_image(case.field, tmp_path / "none.nii")["problems"]
    assert missing.startswith("none.nii does not exist")


def test_an_image_that_cannot_be_read_is_an_error(tmp_path: Path, write_volume: Any, case: Any) -> None:
    with pytest.raises(FileUnreadable, match=r"^none\.nii does not exist"):
        inspect_image(tmp_path / "none.nii")
    thin = write_volume(tmp_path / "thin.nrrd", torch.ones(9, 9, 3), case.local.grid.cropped((0, 0, 0), (9, 9, 3)))
    with pytest.raises(GridInvalid, match="has 3 voxels along z; expected at least 8"):
        inspect_image(thin)


def test_an_empty_image_is_reported_as_empty(case: Any, write_volume: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "zero.nrrd", torch.zeros(9, 9, 9), case.local.grid.cropped((0, 0, 0), (9, 9, 9)))
    description = inspect_image(path)
    assert (description["kind"], description["range"]) == ("empty", [0.0, 0.0])


def test_the_command_answers_in_one_line_of_json(ir2qsm: Callable[..., Any], case: Any, tmp_path: Path) -> None:
    ran = ir2qsm("inspect", case.field, case.mask, "--json")
    (answer,) = ran.events()
    assert (ran.code, ran.err) == (0, "")
    assert answer == {"event": "result", **inspect_image(case.field, case.mask)}
    ran = ir2qsm("inspect", tmp_path / "none.nii", "--json")
    assert ran.code == 2
    message = "none.nii does not exist; check the path."
    assert ran.events() == [{"event": "error", "kind": "FileUnreadable", "option": "image", "message": message}]
