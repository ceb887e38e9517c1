"""Phase that was high-pass filtered for susceptibility weighting is refused, by its field and by its marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.filtered_phase import refuse_filtered, refuse_marked_as_filtered
from Testing.Library.scanners import head_scan, random_scan, write_bids, write_echo

VOXEL = (4.4, 4.4, 4.4)


@pytest.fixture(scope="module")
def head() -> tuple[Tensor, TotalField]:
    _, local, total, _, _ = head_scan((36, 42, 36), VOXEL, (0.004,))
    return local.mask, TotalField(torch.where(local.mask, total, 0.0), local.mask, local.grid)


def test_total_field_of_a_head_passes(head: tuple[Tensor, TotalField]) -> None:
    assert refuse_filtered(head[1], head[0]) > 2.0


@pytest.mark.parametrize("width_mm", [5.0, 8.0])
def test_total_field_without_its_smooth_part_is_refused(head: tuple[Tensor, TotalField], width_mm: float) -> None:
    mask, total = head
    smooth = gaussian_filter(total.values.numpy(), width_mm / VOXEL[0]) / np.maximum(
        gaussian_filter(mask.numpy().astype(float), width_mm / VOXEL[0]), 1e-3
    )
    filtered = TotalField(torch.where(mask, total.values - torch.from_numpy(smooth), 0.0), mask, total.grid)
    with pytest.raises(FieldInvalid, match=r"seems to be high-pass filtered.*--accept-filtered"):
        refuse_filtered(filtered, mask)


def test_marks_of_filtered_phase_are_believed(tmp_path: Path) -> None:
    phase, magnitude = random_scan((12, 10, 9), 1)
    plain = write_bids(tmp_path / "plain", (0.02,), {"phase": phase, "mag": magnitude})
    refuse_marked_as_filtered(find_acquisition(plain))
    about = {"EchoTime": 0.02, "MagneticFieldStrength": 3}
    mag = write_echo(tmp_path / "swi.nii", magnitude[0], ImageType=["ORIGINAL", "PRIMARY", "M"], **about)
    for name, image_type in (("swi_ph", ["ORIGINAL", "PRIMARY", "P", "SWI"]), ("FILT_PHA_ph", ["DERIVED", "P"])):
        marked = write_echo(tmp_path / f"{name}.nii", phase[0], ImageType=image_type, **about)
        with pytest.raises(FieldInvalid, match="says that its phase was high-pass filtered"):
            refuse_marked_as_filtered(find_acquisition(marked, [mag]))
