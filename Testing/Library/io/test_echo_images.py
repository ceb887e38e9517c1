"""Images of one echo or more: axes, components, NaN."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IR2QSMLib.core.errors import GridInvalid
from IR2QSMLib.io.image_echoes import read_echoes
from IR2QSMLib.io.images import read_image
from Testing.Library.scanners import random_scan

PHASE, MAGNITUDE = random_scan((12, 10, 9), 3)
TIMES = (0.004, 0.010, 0.016)


@pytest.mark.parametrize("name", ["small_phase_with_nan", "small_Phase", "small2_Phase"])
def test_measured_phase_is_read_as_nibabel_reads_it(name: str, reference_data: Path) -> None:
    path = reference_data / "gre_small" / f"{name}.nii"
    if name == "small_phase_with_nan":  # five slices are too few for a scan, not for its numbers
        image = read_image(path)
        values = sitk.GetArrayFromImage(image).transpose(0, 3, 2, 1)
        assert int(np.isnan(values).sum()) == 1280
    else:
        values = read_echoes(path)[0].numpy()
    expected = nibabel.load(path).get_fdata(dtype=np.float32)
    expected = expected[None] if expected.ndim == 3 else np.moveaxis(expected, -1, 0)
    assert np.array_equal(values, expected, equal_nan=True)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_echoes_are_a_fourth_axis_or_components_of_a_voxel(suffix: str, tmp_path: Path) -> None:
    array = np.ascontiguousarray(PHASE.transpose(0, 3, 2, 1), dtype=np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / f"four{suffix}"))
    assert np.array_equal(read_echoes(tmp_path / f"four{suffix}")[0], PHASE.astype(np.float32))
    vectors = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(array, 0, -1)), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / f"vector{suffix}"))
    assert np.array_equal(read_echoes(tmp_path / f"vector{suffix}")[0], PHASE.astype(np.float32))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz"])
def test_nan_in_components_of_a_voxel_is_kept(suffix: str, tmp_path: Path) -> None:
    phase = PHASE.astype(np.float32)
    phase[1, 3, 4, 5], phase[2, 11, 0, 8] = np.nan, -np.inf
    array = np.ascontiguousarray(phase.transpose(3, 2, 1, 0))
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / f"vector{suffix}"))
    assert np.array_equal(read_echoes(tmp_path / f"vector{suffix}")[0], phase, equal_nan=True)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    array = np.zeros((9, 9, 9), np.complex64)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "z.nii"))
    with pytest.raises(GridInvalid, match="holds complex numbers"):
        read_echoes(tmp_path / "z.nii")
