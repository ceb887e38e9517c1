"""Warnings about fields of the wrong sign or kind, with spikes or a rim of zeros, and about implausible maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.conversion import PhaseConversion
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.physics.cone import BANDS, cone_index
from IR2QSMLib.pipeline import plausibility
from IR2QSMLib.pipeline.preprocess import PreprocessingOptions, preprocess_total_field
from IR2QSMLib.pipeline.preprocessed import PreprocessedField
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result
from IR2QSMLib.simulation.cases import Case, simulate
from IR2QSMLib.simulation.head import Head

Simulated = tuple[Head, LocalField]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return simulate(Case(5, 40.0, shape=(64, 80, 68), voxel_size=(2.8, 2.8, 2.8)))


def map_of(field: LocalField, **options: Any) -> Result:
    return reconstruct(field.values, field.mask, grid=field.grid, **{"method": "tkd", "device": "cpu", **options})


def test_a_good_field_gets_no_warning(simulated: Simulated) -> None:
    assert map_of(simulated[1]).provenance["Warnings"] == []


def test_a_map_with_streaks_gets_a_warning_and_its_cone_index_is_recorded(simulated: Simulated) -> None:
    head, field = simulated
    good = map_of(field).provenance["ConeIndex"]
    assert [value is None for value in good["index"]] == [False, False, True, True]  # 2.8 mm hold 0.18 cycles/mm
    assert good["cycles_per_mm"] == [list(band) for band in BANDS]
    # Noise that divides by the dipole kernel nearly unbounded.
    noise = 0.02 * torch.randn(field.values.shape, generator=torch.Generator().manual_seed(0))
    result = map_of(replace(field, values=field.values + noise), method=TruncatedDivision(0.01)).provenance
    (warning,) = [w for w in result["Warnings"] if "streaks and blotches" in w]
    highest = max(value for value in result["ConeIndex"]["index"] if value is not None)
    assert f"cone index {highest:.2g}; about 1 without" in warning and highest > plausibility.MOST_IN_CONE
    assert plausibility.check_streaks(cone_index(head.chi, head.mask, head.grid)) == []


@pytest.mark.parametrize(
    ("index", "has_streaks"),
    [
        ((0.69, 0.73, 0.86, 0.93), False),
        ((0.87, 0.99, 1.07, 1.11), False),
        ((1.04, 1.25, 1.12, 1.19), False),
        ((1.52, 3.39, 2.34, 0.53), True),
        ((0.72, 1.07, 1.60, 1.76), True),
        ((0.17, 0.18, 0.17, 0.15), False),
        ((None, None, None, None), False),
        ((None, 3.0, None, None), True),
    ],
)
def test_references_have_no_streaks_and_the_maps_that_show_them_do(
    index: tuple[float | None, ...], has_streaks: bool
) -> None:
    assert bool(plausibility.check_streaks(index)) is has_streaks


@pytest.mark.parametrize("reference", ["mean", "none"])
def test_the_cone_index_does_not_depend_on_the_reference(simulated: Simulated, reference: str) -> None:
    field = simulated[1]
    corner = torch.zeros_like(field.mask)
    corner[30:34, 38:42, 32:36] = True
    result = map_of(field, reference=corner).provenance["ConeIndex"]["index"]
    assert result[:2] == pytest.approx(
        map_of(field, reference=reference).provenance["ConeIndex"]["index"][:2], abs=2e-3
    )


def test_a_field_of_the_wrong_sign_gets_a_warning(simulated: Simulated) -> None:
    field = simulated[1]
    (warning,) = map_of(replace(field, values=-field.values)).provenance["Warnings"]
    assert "the sign of the field may be turned" in warning


def test_a_turned_total_field_gets_a_warning(simulated: Simulated, write_volume: Any, tmp_path: Path) -> None:
    field = simulated[1]
    total = write_volume(tmp_path / "total.nii.gz", field.values, field.grid)
    mask = write_volume(tmp_path / "mask.nii.gz", field.mask, field.grid)
    for flip_sign in (False, True):
        steps = PreprocessingOptions(PhaseConversion(flip_sign=flip_sign), completion_steps=0)
        warnings = preprocess_total_field(total, mask, steps=steps, device="cpu").warnings
        assert any("the sign of the field may be turned; see --flip-sign" in w for w in warnings) == flip_sign


def test_a_mask_that_shrinks_by_more_than_a_fifth_gets_a_warning_with_numbers_and_what_keeps_more() -> None:
    before = torch.zeros(10, 10, 10, dtype=torch.bool)
    before[1:9, 1:9, 1:9] = True
    after = before.clone()
    after[1:3] = False
    (warning,) = plausibility.check_mask_loss(before, after, "v-sharp")
    assert (
        warning.startswith("Of the mask's 512 voxels 384 have a local field (75 %)") and "--background lbv" in warning
    )
    (warning,) = plausibility.check_mask_loss(before, after, "lbv")
    assert "--background pdf" in warning
    after[2] = before[2]
    assert plausibility.check_mask_loss(before, after, "v-sharp") == []


def test_a_total_field_taken_for_a_local_one_gets_a_warning(simulated: Simulated) -> None:
    field = simulated[1]
    z = torch.linspace(-0.1, 0.1, field.grid.shape[2]).expand(field.grid.shape)
    warnings = map_of(replace(field, values=field.values + z)).provenance["Warnings"]
    assert any("if it is a total field, say so with --input total-field" in warning for warning in warnings)


@pytest.mark.parametrize("size", [0.1, 6.0])
def test_voxel_sizes_of_no_human_head_get_a_warning(simulated: Simulated, size: float) -> None:
    field = simulated[1]
    warnings = plausibility.check_field(replace(field, grid=Grid(field.grid.shape, (size, size, size))))
    assert any(f"The voxels are {size:.2g} ×" in warning and "compare with tkd" in warning for warning in warnings)


def test_spikes_of_the_field_get_a_warning_or_are_refused(simulated: Simulated) -> None:
    field = simulated[1]
    where = tuple(field.mask.nonzero()[len(field.mask.nonzero()) // 2].tolist())

    def spiked(height: float) -> LocalField:
        values = field.values.clone()
        values[where] = height
        return replace(field, values=values)

    (warning,) = [w for w in map_of(spiked(100.0)).provenance["Warnings"] if "The map reaches" in w]
    assert "look for spikes in the field" in warning
    with pytest.raises(FieldInvalid, match="The map came out with NaN or infinity"):
        map_of(spiked(3e38))


def test_a_rim_of_exact_zeros_leaves_the_mask(simulated: Simulated) -> None:
    field = simulated[1]
    full_mask = field.mask
    narrow = full_mask.clone()
    for axis in range(3):
        narrow &= full_mask.roll(1, axis) & full_mask.roll(-1, axis)
    hole = narrow.clone()
    hole[30:34, 38:42, 32:36] = False  # zero inside the brain, which no edge leads to
    measured = replace(field, values=torch.where(hole, field.values, 0.0), mask=narrow)
    result, expected = map_of(replace(measured, mask=full_mask)), map_of(measured)
    assert torch.equal(result.mask, narrow) and torch.equal(result.chi, expected.chi)
    (warning,) = result.provenance["Warnings"]
    assert warning.startswith(f"In {int(full_mask.sum() - narrow.sum())} of the mask's {int(full_mask.sum())} voxels")


@pytest.mark.parametrize("step", [0.002, 0.008])
def test_a_field_in_coarse_steps_keeps_its_mask(simulated: Simulated, step: float) -> None:
    field = simulated[1]
    coarse = replace(field, values=step * (field.values / step).round())
    assert float((coarse.values == 0.0)[field.mask].float().mean()) > 0.05
    result = map_of(coarse)
    assert torch.equal(result.mask, field.mask) and result.provenance["Warnings"] == []


def test_the_end_of_the_image_is_an_edge_of_the_mask(simulated: Simulated) -> None:
    field = simulated[1]
    inner = torch.zeros_like(field.mask)
    inner[5:-5, 6:-6, 7:-7] = True
    noise = torch.where(inner, 0.01 * torch.randn(inner.shape, generator=torch.Generator().manual_seed(0)), 0.0)
    assert torch.equal(map_of(replace(field, values=noise, mask=torch.ones_like(inner))).mask, inner)


def test_the_background_of_a_part_of_a_brain_is_not_checked(simulated: Simulated) -> None:
    field = simulated[1]
    cut = field.mask.nonzero()[:, 2].median().int().item()
    grid = field.grid.cropped((0, 0, cut), (64, 80, 68 - cut))
    z = torch.linspace(-0.1, 0.1, grid.shape[2]).expand(grid.shape)
    part = LocalField(field.values[..., cut:] + z, field.mask[..., cut:], grid)
    assert plausibility.check_field(part) == []


def test_metadata_beside_a_preprocessed_field_is_refused(simulated: Simulated) -> None:
    field = simulated[1]
    preprocessed = PreprocessedField(field, {}, "head", {})
    assert torch.equal(reconstruct(preprocessed, method="tkd", device="cpu").chi, map_of(field).chi)
    with pytest.raises(
        ParameterInvalid, match="b0 and b0_direction came beside a preprocessed field, which has its own"
    ):
        reconstruct(preprocessed, b0=3.0, b0_direction=(0.0, 1.0, 0.0), method="tkd")


def test_a_local_field_in_a_template_space_gets_a_warning_about_b0(simulated: Simulated, tmp_path: Path) -> None:
    field = simulated[1]
    with_direction = {"b0_direction": (0.0, 0.0, 1.0)}
    for codes, options, n in (((4, 0), {}, 1), ((4, 4), {}, 1), ((3, 2), {}, 0), ((4, 0), with_direction, 0)):
        for name, values in (("field", field.values.numpy()), ("mask", field.mask.numpy().astype(np.uint8))):
            image = nibabel.Nifti1Image(values, np.diag([2.8, 2.8, 2.8, 1.0]))
            image.set_sform(image.affine, codes[0])
            image.set_qform(image.affine, codes[1])
            nibabel.save(image, tmp_path / f"{name}.nii")
        result = reconstruct(tmp_path / "field.nii", tmp_path / "mask.nii", method="tkd", device="cpu", **options)
        assert sum("lies in a template's space" in w for w in result.provenance["Warnings"]) == n
