"""Masks and label maps: what is a mask, and errors for what is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from IR2QSMLib.core.errors import GridMismatch, MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import image_of, read_volume_on
from IR2QSMLib.io.masks import read_labels, read_mask
from IR2QSMLib.pipeline.inputs import load_inputs
from IR2QSMLib.pipeline.metadata import FieldMetadata

SHAPE = (9, 10, 11)
GRID = Grid(SHAPE, (0.5, 1.0, 2.0), (0, 0, 1, 1, 0, 0, 0, 1, 0), (-10.0, 20.0, 30.0))


def ramp() -> torch.Tensor:
    """A volume in which no two voxels are equal."""
    return torch.arange(torch.Size(SHAPE).numel(), dtype=torch.float32).reshape(SHAPE)


def labelled(tmp_path: Path, *labels: float, dtype: Callable[[object], np.ndarray] = np.int16) -> Path:
    """A label map on GRID whose first voxels along x carry `labels`, the others 0."""
    values = np.zeros(SHAPE)
    values[: len(labels)] = np.reshape(labels, (-1, 1, 1))
    image = sitk.GetImageFromArray(dtype(values).T)
    image.CopyInformation(image_of(ramp(), GRID))
    sitk.WriteImage(image, str(tmp_path / "mask.nii.gz"))
    return tmp_path / "mask.nii.gz"


@pytest.mark.parametrize(("value", "dtype"), [(1, np.uint8), (255, np.uint8), (0.5, np.float32), (-1, np.int16)])
def test_mask_of_one_value_is_where_that_value_is(
    tmp_path: Path, value: float, dtype: Callable[[object], np.ndarray]
) -> None:
    mask = read_mask(labelled(tmp_path, value, value, dtype=dtype), GRID, "field.nii")
    assert mask.dtype == torch.bool
    assert mask[:2].all()
    assert not mask[2:].any()


def test_mask_of_several_labels_is_refused_with_labels_and_option(tmp_path: Path) -> None:
    with pytest.raises(MaskInvalid) as caught:
        read_mask(labelled(tmp_path, 1, 2, 5), GRID, "field.nii")
    assert str(caught.value) == (
        "mask.nii.gz has 3 labels (1, 2, 5); expected 0 and one other value. Say which of them make up the mask with "
        "--mask-labels."
    )


@pytest.mark.parametrize(
    ("values", "offered", "inside"),
    [
        ((0.25, 0.5, 1.0), 0.5, [1, 2]),
        ((1.0, 0.9999999, 1e-6), 0.5, [0, 1]),  # binary before it was resampled
        ((-0.02, 1.04, 0.7), 0.52, [1, 2]),  # by splines
        ((30.5, 100.0, 49.5, 51.0), 50, [1, 3]),  # per cent
        ((1e-8, 3e-8, 2e-8), 1.5e-8, [1, 2]),
    ],
)
def test_of_a_mask_of_probabilities_the_threshold_that_is_offered_works(
    tmp_path: Path, values: tuple[float, ...], offered: float, inside: list[int]
) -> None:
    soft = labelled(tmp_path, *values, dtype=np.float32)
    with pytest.raises(MaskInvalid, match=r"values from .*; expected 0 and one other") as caught:
        read_mask(soft, GRID, "field.nii")
    said = re.search(r"such as --mask-threshold ([\d.e-]+)\.$", str(caught.value))
    assert said and caught.value.option == "mask_threshold"
    assert float(said[1]) == pytest.approx(offered, rel=1e-3)
    mask = read_mask(soft, GRID, "field.nii", threshold=float(said[1]))
    assert [x for x in range(9) if bool(mask[x].all())] == inside and int(mask.sum()) == 110 * len(inside)


def test_of_a_smoothed_mask_of_bytes_labels_and_threshold_are_offered(tmp_path: Path) -> None:
    values = ramp().to(torch.uint8)
    sitk.WriteImage(image_of(values, GRID), str(tmp_path / "mask.nii"))
    with pytest.raises(MaskInvalid, match=r"with --mask-labels, or of a smoothed mask --mask-threshold 127\.5\.$"):
        read_mask(tmp_path / "mask.nii", GRID, "field.nii")
    assert torch.equal(read_mask(tmp_path / "mask.nii", GRID, "field.nii", threshold=127.5), values > 127)


def test_an_array_of_probabilities_is_taken_with_a_threshold() -> None:
    soft = ramp().clamp_max(3.0) / 3.0
    with pytest.raises(MaskInvalid, match=r"The mask has 3 values from .* such as mask_threshold 0\.5"):
        load_inputs(ramp(), soft, GRID)
    local = load_inputs(0.05 * torch.cos(ramp()), soft, GRID, FieldMetadata(mask_threshold=0.5)).local
    assert torch.equal(local.mask, soft >= 0.5)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_a_threshold_that_makes_no_mask_is_refused_with_one_that_does(tmp_path: Path, threshold: float) -> None:
    soft = labelled(tmp_path, 0.25, 0.5, 1.0, dtype=np.float32)
    with pytest.raises(MaskInvalid, match=r"go up to 1; expected .*, such as --mask-threshold 0\.5\.$"):
        read_mask(soft, GRID, "field.nii", threshold=threshold)


def test_labels_and_a_threshold_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskInvalid, match="leave out --mask-labels or --mask-threshold"):
        read_mask(labelled(tmp_path, 1, 2), GRID, "field.nii", labels=[1], threshold=0.5)


def test_a_field_in_place_of_a_mask_is_offered_no_threshold(tmp_path: Path) -> None:
    with pytest.raises(MaskInvalid, match=r"from -0\.9 to 1\.1; .* It seems to be no mask; give the mask\.$"):
        read_mask(labelled(tmp_path, -0.9, 1.1, dtype=np.float32), GRID, "field.nii")


def test_only_ten_labels_are_shown(tmp_path: Path) -> None:
    values = ramp().to(torch.uint8)
    sitk.WriteImage(image_of(values, GRID), str(tmp_path / "mask.nii"))
    with pytest.raises(MaskInvalid, match=r"has 255 labels \(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …\)"):
        read_mask(tmp_path / "mask.nii", GRID, "field.nii")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_chosen_labels_are_joined(tmp_path: Path, dtype: Callable[[object], np.ndarray]) -> None:
    mask = read_mask(labelled(tmp_path, 1, 2, 5, dtype=dtype), GRID, "field.nii", labels=[1, 5])
    assert mask[:, 0, 0].tolist() == [True, False, True] + [False] * 6


@pytest.mark.parametrize("labels", [[2, 7], [7], [0, 7]])
def test_chosen_label_that_is_absent_is_refused(tmp_path: Path, labels: list[int]) -> None:
    with pytest.raises(MaskInvalid, match=r"has no label .*7; it has 2 labels \(1, 2\): choose among them"):
        read_mask(labelled(tmp_path, 1, 2), GRID, "field.nii", labels=labels)


def test_choosing_no_label_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskInvalid, match=r"No label of mask\.nii\.gz was chosen; it has 1 label \(1\)"):
        read_mask(labelled(tmp_path, 1), GRID, "field.nii", labels=[])


def test_empty_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskInvalid, match=r"mask\.nii\.gz is empty: every voxel is 0; give a mask"):
        read_mask(labelled(tmp_path), GRID, "field.nii")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_mask_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(MaskInvalid, match=r"holds NaN or infinity in 110 of its voxels"):
        read_mask(labelled(tmp_path, 1, value, dtype=np.float32), GRID, "field.nii")


def test_mask_on_another_grid_is_refused_with_both_names(tmp_path: Path) -> None:
    elsewhere = Grid(SHAPE, GRID.voxel_size, GRID.direction, (0.0, 20.0, 30.0))
    with pytest.raises(GridMismatch, match=r"mask\.nii\.gz and field\.nii lie apart along the patient's x axis"):
        read_mask(labelled(tmp_path, 1), elsewhere, "field.nii")


@pytest.mark.parametrize(("axes", "flipped"), [((0, 1, 2), (False, True, False)), ((2, 0, 1), (True, False, True))])
def test_permuted_and_flipped_axes_are_reoriented(
    tmp_path: Path, axes: tuple[int, ...], flipped: tuple[bool, ...]
) -> None:
    numbers = (ramp() % 251).to(torch.uint8)
    stored = numbers.permute(axes).flip([i for i in range(3) if flipped[i]])
    path = tmp_path / "reoriented.nii.gz"
    sitk.WriteImage(image_of(stored, GRID.reoriented(axes, flipped)), str(path))
    assert torch.equal(read_labels(path, GRID, "field.nii"), numbers.int())
    assert torch.equal(read_mask(path, GRID, "field.nii", labels=[7, 9]), (numbers == 7) | (numbers == 9))
    assert torch.equal(read_volume_on(path, GRID, "field.nii"), numbers.float())


def test_labels_keep_their_numbers_in_any_data_type(tmp_path: Path) -> None:
    for dtype in (np.int16, np.float32):
        labels = read_labels(labelled(tmp_path, 3, 300, dtype=dtype), GRID, "field.nii")
        assert labels.dtype == torch.int32
        assert labels[:3, 4, 5].tolist() == [3, 300, 0]


@pytest.mark.parametrize("value", [0.5, 3e9])
def test_labels_that_are_not_whole_numbers_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(MaskInvalid, match=r"has 1 label \((0\.5|3000000000)\) that are not 32-bit whole numbers"):
        read_labels(labelled(tmp_path, 1, value, dtype=np.float64), GRID, "field.nii")
