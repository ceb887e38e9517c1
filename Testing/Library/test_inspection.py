"""What an image seems to be, from its range and its grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.errors import FileUnreadable, GridInvalid
from IR2QSMLib.inspection import classify, detect_input, inspect
from IR2QSMLib.io.sidecars import read_echoes
from IR2QSMLib.units import GYROMAGNETIC_RATIO

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
def test_a_kind_is_told_from_its_range(values: Tensor, expected: tuple[str, str | None]) -> None:
    assert classify(values) == expected


@pytest.mark.parametrize("echo", [0, 1, 2])
@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0.0), (1000 * math.pi / 0.00367, 0.0), (180 / 0.00367, 180.0),
                                               (0.5 / 0.00367, 0.5), (1 / 0.00367, 0.0)])  # fmt: skip
def test_one_real_echo_is_phase_whatever_its_unit(
    echo: int, factor: float, shift: float, reference_data: Path, write_volume: Any, tmp_path: Path
) -> None:
    stored, grid = read_echoes(reference_data / "gre_small" / "small_Phase.nii")
    one = write_volume(tmp_path / "echo.nii", factor * stored[echo] + shift, grid)
    assert inspect(one)["kind"] == "wrapped phase" and detect_input(one) == "phase"
    magnitude, _ = read_echoes(reference_data / "gre_small" / "small_Mag.nii")
    other = write_volume(tmp_path / "other.nii", factor * magnitude[echo] + shift, grid)
    assert inspect(other)["kind"] != "wrapped phase" and detect_input(other) == "local-field"


def test_a_field_and_its_mask_are_described(case: Any) -> None:
    found = inspect(case.field, case.mask)
    inside = case.local.values[case.local.mask]
    assert found == {
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


def test_labels_are_counted_for_the_panel_to_offer(case: Any, write_volume: Any, tmp_path: Path) -> None:
    labels = case.local.mask.to(torch.uint8)
    labels[20:] *= 7
    path = write_volume(tmp_path / "labels.nrrd", labels, case.local.grid)
    assert inspect(case.field, path)["mask_labels"] == {
        "1": int((labels == 1).sum()), "7": int((labels == 7).sum())
    }  # fmt: skip


def test_problems_are_listed_not_raised(case: Any, write_volume: Any, tmp_path: Path) -> None:
    values = case.local.values.clone()
    values[0, 0, 0], values[3, 3, 3] = torch.nan, torch.inf
    field = write_volume(tmp_path / "f.nrrd", values, case.local.grid)
    empty = write_volume(tmp_path / "empty.nrrd", torch.zeros_like(case.local.mask), case.local.grid)
    small = write_volume(tmp_path / "small.nrrd", case.local.mask[1:], case.local.grid.cropped((1, 0, 0), (34, 42, 33)))
    nan, nothing = inspect(field, empty)["problems"]
    assert nan == "2 values are NaN or infinite." and nothing.startswith("empty.nrrd is empty")
    (apart,) = inspect(case.field, small)["problems"]
    assert "differ along x: 34 voxels against 35" in apart
    (missing,) = inspect(case.field, tmp_path / "none.nii")["problems"]
    assert missing.startswith("none.nii does not exist")


def test_an_image_that_cannot_be_read_is_an_error(tmp_path: Path, write_volume: Any, case: Any) -> None:
    with pytest.raises(FileUnreadable, match=r"^none\.nii does not exist"):
        inspect(tmp_path / "none.nii")
    thin = write_volume(tmp_path / "thin.nrrd", torch.ones(9, 9, 3), case.local.grid.cropped((0, 0, 0), (9, 9, 3)))
    with pytest.raises(GridInvalid, match="has 3 voxels along z; expected at least 8"):
        inspect(thin)


def test_an_empty_image_is_called_so(case: Any, write_volume: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "zero.nrrd", torch.zeros(9, 9, 9), case.local.grid.cropped((0, 0, 0), (9, 9, 9)))
    found = inspect(path)
    assert (found["kind"], found["range"]) == ("empty", [0.0, 0.0])


def test_the_command_answers_in_one_line_of_json(ir2qsm: Callable[..., Any], case: Any, tmp_path: Path) -> None:
    ran = ir2qsm("inspect", case.field, case.mask, "--json")
    (answer,) = ran.events()
    assert (ran.code, ran.err) == (0, "")
    assert answer == {"event": "result", **inspect(case.field, case.mask)}
    ran = ir2qsm("inspect", tmp_path / "none.nii", "--json")
    assert ran.code == 2
    assert ran.events() == [
        {"event": "error", "kind": "FileUnreadable", "message": "none.nii does not exist; check the path."}
    ]
