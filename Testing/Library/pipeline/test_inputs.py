"""What `reconstruct` takes: files and arrays, number types, units, masks and values that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.pipeline.reconstruct import reconstruct
from Testing.Library.pipeline.scan_files import Reconstruct


def test_files_numpy_arrays_and_tensors_give_the_same_map(case: Any, reconstruct_case: Reconstruct) -> None:
    from_tensors = reconstruct_case().chi
    assert torch.equal(reconstruct_case(case.local.values.numpy(), case.local.mask.numpy()).chi, from_tensors)
    # a NIfTI header rounds the direction cosines, and with them B0
    assert torch.allclose(reconstruct(case.field, case.mask, method="tkd").chi, from_tensors, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float64, ">i2"])
def test_masks_of_any_number_type_give_the_same_map(case: Any, reconstruct_case: Reconstruct, dtype: Any) -> None:
    mask = case.local.mask.numpy().astype(dtype)
    assert torch.equal(reconstruct_case(mask=mask).chi, reconstruct_case().chi)
    assert torch.equal(reconstruct_case(mask=mask * 3, mask_labels=[3]).chi, reconstruct_case().chi)


def test_reversed_views_and_big_endian_arrays_give_the_same_map(case: Any, reconstruct_case: Reconstruct) -> None:
    field = np.array(case.local.values.numpy()[::-1], dtype=">f8")[::-1]
    assert torch.equal(reconstruct_case(field).chi, reconstruct_case().chi)


def test_input_arrays_are_not_changed(case: Any, reconstruct_case: Reconstruct) -> None:
    field, mask = case.local.values.clone(), case.local.mask.clone()
    field[~mask] = torch.nan
    before = field.clone()
    reconstruct_case(field, mask, reference="mean")
    assert torch.equal(field.nan_to_num(7.0), before.nan_to_num(7.0))
    assert torch.equal(mask, case.local.mask)


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (lambda m: m * 0, {}, "mask is empty: every voxel is 0; give a mask"),
        (
            lambda m: m * torch.arange(3)[[0, 1, 2] * 11],
            {},
            r"mask has 2 labels \(1, 2\); expected 0 and one other value.*mask_labels",
        ),
        (lambda m: m * 1, {"mask_labels": [4]}, r"mask has no label 4; it has 1 label \(1\): choose among them"),
    ],
)
def test_an_unfit_mask_array_is_refused(
    case: Any, reconstruct_case: Reconstruct, edit: Any, options: Any, message: str
) -> None:
    with pytest.raises(MaskInvalid, match=message):
        reconstruct_case(mask=edit(case.local.mask.long()), **options)


def test_hz_and_rad_with_field_strength_and_echo_time_equal_ppm(case: Any, reconstruct_case: Reconstruct) -> None:
    b0, te = 7.0, 0.012
    hz = case.local.values.double() * GYROMAGNETIC_RATIO * b0
    expected = reconstruct_case().chi
    for field, options in ((hz, {"unit": "hz"}), (2 * np.pi * te * hz, {"unit": "rad", "echo_time": te})):
        result = reconstruct_case(field, b0=b0, **options)
        assert float((result.chi - expected).abs().max()) < 1e-6
        assert result.provenance["Inputs"]["unit"] == options["unit"]


def test_nan_inside_the_mask_is_refused_or_left_out_of_the_mask(case: Any, reconstruct_case: Reconstruct) -> None:
    field = case.local.values.clone()
    field[~case.local.mask] = torch.inf  # outside the mask it does not matter
    assert torch.equal(reconstruct_case(field).chi, reconstruct_case().chi)
    where = case.local.mask.nonzero()[[5, 500]]
    field[where[:, 0], where[:, 1], where[:, 2]] = torch.nan
    with pytest.raises(FieldInvalid, match=r"2 NaN or infinite values inside the mask; .* --non-finite mask"):
        reconstruct_case(field)
    result = reconstruct_case(field, non_finite="mask")
    assert int(result.mask.sum()) == int(case.local.mask.sum()) - 2 == result.provenance["MaskVoxels"]
    assert result.provenance["Warnings"] == ["2 voxels with NaN or infinite values were left out of the mask."]
    assert bool(torch.isfinite(result.chi).all())
    with pytest.raises(ParameterInvalid, match="'drop'; expected refuse or mask"):
        reconstruct_case(field, non_finite="drop")
    with pytest.raises(MaskInvalid, match="No finite value"):
        reconstruct_case(field * torch.nan, non_finite="mask")
