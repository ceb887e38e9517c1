"""Nothing is overwritten and nothing assumed without a warning or an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from IR2QSMLib import Grid, reconstruct
from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.physics.resample import aligned_grid, resample

Refused = Callable[..., str]


def test_another_programs_sidecar_is_not_overwritten(refused: Refused, tmp_path: Path) -> None:
    sidecar = tmp_path / "sub-01.json"
    sidecar.write_text('{"EchoTime": 0.02}')
    message = refused("-o", tmp_path / "sub-01.nrrd")
    assert "sub-01.json would overwrite a file of another program" in message
    assert sidecar.read_text(encoding="utf-8") == '{"EchoTime": 0.02}'


def test_without_orientation_b0_is_the_third_axis_and_a_warning_says_so(case: Any, tmp_path: Path) -> None:
    values = np.ascontiguousarray(case.local.values.numpy().transpose(2, 1, 0))
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "field.nii"))
    sitk.WriteImage(sitk.GetImageFromArray((values != 0).astype(np.uint8)), str(tmp_path / "mask.nii"))
    for name in ("field.nii", "mask.nii"):
        content = bytearray((tmp_path / name).read_bytes())
        content[252:256] = bytes(4)  # qform_code and sform_code
        (tmp_path / name).write_bytes(content)
    result = reconstruct(tmp_path / "field.nii", tmp_path / "mask.nii", method="tkd", device="cpu")
    assert result.provenance["B0Direction"]["source"] == "assumed: the third voxel axis"
    assert any("states no orientation" in warning for warning in result.provenance["Warnings"])
    with_direction = reconstruct(
        tmp_path / "field.nii", tmp_path / "mask.nii", method="tkd", device="cpu", b0_direction=(0, 0, 1)
    )
    assert with_direction.provenance["B0Direction"]["source"] == "given" and with_direction.provenance["Warnings"] == []


@pytest.mark.parametrize("factor", [16.0, 1 / 20.0])
def test_radians_are_not_taken_for_ppm_nor_ppm_for_radians(case: Any, factor: float) -> None:
    typical = case.local.values * (0.05 / float(case.local.values[case.local.mask].abs().quantile(0.99)))
    with pytest.raises(FieldInvalid, match="99th percentile is"):
        reconstruct(typical * factor * 1.01, case.local.mask, grid=case.local.grid, method="tkd")


def test_an_implausible_field_is_refused_with_advice_for_its_input(
    case: Any, ir2qsm: Callable[..., Any], write_volume: Any, tmp_path: Path
) -> None:
    local = case.local
    radians = local.values * (2.0 * np.pi * hz_per_ppm(3.0) * 0.02)
    phase = write_volume(tmp_path / "a_ph.nii", radians, local.grid)
    magnitude = write_volume(tmp_path / "mag.nii", 100.0 * local.mask, local.grid)
    of_phase = (phase, case.mask, "--magnitude", magnitude, "--te", 0.02, "--b0", 3)
    of_total = (phase, case.mask, "--input", "total-field")
    for command in (("fieldmap", "-o", tmp_path / "f"), ("reconstruct", "-o", tmp_path / "chi.nii", "--method", "tkd")):
        ran = ir2qsm(*command, *of_phase, "--phase-range", 0, 0.1, "--device", "cpu")
        assert ran.code == 2 and "Made of the phase, the field's 99th percentile" in ran.err
        assert "--phase-range" in ran.err and "--te" in ran.err and "--b0" in ran.err
        assert "--units" not in ran.err and "total-field" not in ran.err
        ran = ir2qsm(*command, *of_total, "--units", "ppm", "--device", "cpu")
        assert ran.code == 2 and "Read in ppm" in ran.err and "--units" in ran.err and "--input" not in ran.err
        assert not (tmp_path / "f").exists() and not (tmp_path / "chi.nii").exists()
    in_radians = ("--units", "rad", "--te", 0.02, "--b0", 3)
    # A phase of the local field alone looks filtered, as it is.
    for options in ((*of_phase, "--phase-range", -np.pi, np.pi, "--accept-filtered"), (*of_total, *in_radians)):
        assert ir2qsm("fieldmap", "-o", tmp_path / "f", *options, "--device", "cpu").code == 0


def test_a_negative_margin_is_refused(case: Any) -> None:
    with pytest.raises(ParameterInvalid, match="The margin is -6 voxels"):
        reconstruct(case.local.values, case.local.mask, grid=case.local.grid, method=TruncatedDivision(), margin=-6)


def test_an_uncertainty_is_refused_at_once_by_a_method_that_has_none(refused: Refused, tmp_path: Path) -> None:
    message = refused("--method", "tkd", "--uncertainty", tmp_path / "sigma.nii.gz")
    assert "--uncertainty belongs to --method ir2qsm, not to tkd" in message


@pytest.mark.parametrize("origin", [(1.1, 2.2, 3.3), (-77.3, 0.1, 19.7), (0.0, 0.0, 0.0)])
def test_data_that_lie_along_b0_at_one_millimetre_are_resampled_to_themselves(origin: Any) -> None:
    grid = Grid((17, 20, 23), origin=origin)
    aligned = aligned_grid(grid)
    assert aligned.shape == grid.shape
    values = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resample(values, grid, aligned), values, atol=1e-3, rtol=0)


def test_the_discrepancy_is_in_the_provenance(case: Any, make_weights: Any) -> None:
    method = Learned(make_weights())
    result = reconstruct(case.local.values, case.local.mask, grid=case.local.grid, device="cpu", method=method)
    method_notes = result.provenance["Method"]
    assert 0.0 < method_notes["spectrum"]["discrepancy_share"] < 0.2
    assert method_notes["input_channels"] == ["field", "first_map"]
