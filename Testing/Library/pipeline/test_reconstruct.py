"""`IR2QSMLib.reconstruct` on arrays and files: units, masks, references, provenance, cancellation and memory."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import IR2QSMLib
from IR2QSMLib.core.errors import (
    Cancelled,
    DeviceUnavailable,
    FieldInvalid,
    MaskInvalid,
    OutOfMemory,
    OutputUnwritable,
    ParameterInvalid,
)
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned import tiles
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result, sidecar_of

Run = Callable[..., Result]


@pytest.fixture
def run(case: Any) -> Run:
    """Reconstruct the case's arrays, by TKD unless said otherwise; `field` and `mask` may be replaced."""

    def call(field: Any = None, mask: Any = None, method: Any = "tkd", grid: Any = case.local.grid, **o: Any) -> Result:
        field = case.local.values if field is None else field
        return reconstruct(field, case.local.mask if mask is None else mask, grid=grid, method=method, **o)

    return call


@pytest.fixture(scope="module")
def whole(case: Any) -> Result:
    """The case's result by the bundled network, the whole volume at once."""
    return reconstruct(case.field, case.mask)


# -- what goes in -----------------------------------------------------------------------------------------------------


def test_files_numpy_arrays_and_tensors_give_the_same_map(case: Any, run: Run) -> None:
    from_tensors = run().chi
    assert torch.equal(run(case.local.values.numpy(), case.local.mask.numpy()).chi, from_tensors)
    # a NIfTI header rounds the direction cosines, and with them B0
    assert torch.allclose(reconstruct(case.field, case.mask, method="tkd").chi, from_tensors, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float64, ">i2"])
def test_masks_of_any_number_type_are_taken(case: Any, run: Run, dtype: Any) -> None:
    mask = case.local.mask.numpy().astype(dtype)
    assert torch.equal(run(mask=mask).chi, run().chi)
    assert torch.equal(run(mask=mask * 3, mask_labels=[3]).chi, run().chi)


def test_reversed_views_and_big_endian_arrays_are_taken(case: Any, run: Run) -> None:
    field = np.array(case.local.values.numpy()[::-1], dtype=">f8")[::-1]
    assert torch.equal(run(field).chi, run().chi)


def test_the_arrays_that_came_in_are_not_changed(case: Any, run: Run) -> None:
    field, mask = case.local.values.clone(), case.local.mask.clone()
    field[~mask] = torch.nan
    before = field.clone()
    run(field, mask, reference="mean")
    assert torch.equal(field.nan_to_num(7.0), before.nan_to_num(7.0))
    assert torch.equal(mask, case.local.mask)


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (lambda m: m * 0, {}, "mask is empty; give one"),
        (lambda m: m * torch.arange(3)[[0, 1, 2] * 11], {}, r"not binary, it holds the labels 1, 2; .* mask_labels"),
        (lambda m: m * 1, {"mask_labels": [4]}, "mask has no label 4, it holds 1; choose among them"),
    ],
)
def test_an_unfit_mask_array_is_refused(case: Any, run: Run, edit: Any, options: Any, message: str) -> None:
    with pytest.raises(MaskInvalid, match=message):
        run(mask=edit(case.local.mask.long()), **options)


def test_hz_and_rad_with_field_strength_and_echo_time_equal_ppm(case: Any, run: Run) -> None:
    b0, te = 7.0, 0.012
    hz = case.local.values.double() * GYROMAGNETIC_RATIO * b0
    expected = run().chi
    for field, options in ((hz, {"unit": "hz"}), (2 * np.pi * te * hz, {"unit": "rad", "echo_time": te})):
        found = run(field, b0=b0, **options)
        assert float((found.chi - expected).abs().max()) < 1e-6
        assert found.provenance["Inputs"]["unit"] == options["unit"]


def test_nan_inside_the_mask_is_refused_or_leaves_the_mask(case: Any, run: Run) -> None:
    field = case.local.values.clone()
    field[~case.local.mask] = torch.inf  # outside the mask it does not matter
    assert torch.equal(run(field).chi, run().chi)
    where = case.local.mask.nonzero()[[5, 500]]
    field[where[:, 0], where[:, 1], where[:, 2]] = torch.nan
    with pytest.raises(FieldInvalid, match=r"2 NaN or infinite values inside the mask; .* --non-finite mask"):
        run(field)
    found = run(field, non_finite="mask")
    assert int(found.mask.sum()) == int(case.local.mask.sum()) - 2 == found.provenance["MaskVoxels"]
    assert found.provenance["Warnings"] == ["2 voxels with NaN or infinite values were left out of the mask."]
    assert bool(torch.isfinite(found.chi).all())
    with pytest.raises(ParameterInvalid, match="'drop'; expected refuse or mask"):
        run(field, non_finite="drop")
    with pytest.raises(MaskInvalid, match="No finite value"):
        run(field * torch.nan, non_finite="mask")


# -- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ir2qsm", "tkd", "tikhonov"])
def test_outside_the_mask_is_zero_and_the_masks_mean_too(run: Run, case: Any, method: str) -> None:
    found = run(method=method)
    assert found.chi.dtype == torch.float32 and found.chi.shape == case.local.grid.shape
    assert found.mask.dtype == torch.bool and torch.equal(found.mask, case.local.mask)
    assert float(found.chi[~found.mask].abs().max()) == 0.0
    assert abs(float(found.chi[found.mask].double().mean())) < 1e-7
    assert float(found.chi[found.mask].std()) > 0.005


def test_the_reference_shifts_the_map_and_is_recorded(case: Any, run: Run) -> None:
    inside = case.local.mask
    raw, mean = run(reference="none"), run()
    region = torch.zeros_like(inside)
    region[12:18, 15:25, 10:20] = True
    by_region = run(reference=region)
    assert abs(float(by_region.chi[region & inside].double().mean())) < 1e-7
    for found in (mean, by_region):
        zero = found.provenance["Reference"]["subtracted_ppm"]
        assert torch.allclose(found.chi[inside], raw.chi[inside] - zero, atol=1e-7)
    assert [r.provenance["Reference"]["region"] for r in (raw, mean, by_region)] == ["none", "mean", "array"]
    with pytest.raises(MaskInvalid, match="reference region lies nowhere inside the mask"):
        run(reference=~inside)


@pytest.mark.parametrize("changed", [{"margin": 4}, {"method": TruncatedDivision(0.3)}, {"method": Tikhonov(0.1)}])
def test_margin_and_parameters_change_the_map(run: Run, changed: dict[str, Any]) -> None:
    base = run(method="tikhonov") if isinstance(changed.get("method"), Tikhonov) else run()
    assert float((run(**changed).chi - base.chi).abs().max()) > 1e-4


def test_the_same_input_gives_the_same_bits(whole: Result, case: Any) -> None:
    again = reconstruct(case.field, case.mask)
    assert torch.equal(again.chi, whole.chi)
    if whole.uncertainty is not None:
        assert again.uncertainty is not None and torch.equal(again.uncertainty, whole.uncertainty)


def test_an_uncertainty_is_positive_in_the_mask_and_zero_outside(case: Any, make_weights: Any) -> None:
    found = reconstruct(case.field, case.mask, method=Learned(make_weights(uncertainty=True)))
    assert found.uncertainty is not None
    assert bool((found.uncertainty[found.mask] > 0).all())
    assert float(found.uncertainty[~found.mask].abs().max()) == 0.0


def test_the_sidecar_tells_all_and_nothing_of_the_machine(whole: Result, case: Any, tmp_path: Path) -> None:
    sidecar = whole.save(tmp_path / "chi.nii.gz", mask=tmp_path / "valid.nii.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chi.json", "chi.nii.gz", "valid.nii.gz"]
    text = sidecar.read_text(encoding="utf-8")
    told = json.loads(text)
    assert told == whole.provenance
    bundled = read_weights(learned.bundled())
    assert told["Units"] == "ppm"
    assert told["Method"]["name"] == "ir2qsm"
    assert told["Method"]["weights"] == bundled.name and told["Method"]["weights_sha256"] == bundled.sha256
    assert set(told["Method"]["parameters"]) == {
        "weights",
        "consistency",
        "tile",
        "resampled",
        "whole_brain",
        "calibrated",
    }
    assert told["Inputs"] == {
        "field": "field.nii.gz",
        "mask": "mask.nii.gz",
        "unit": "ppm",
        "b0_t": None,
        "echo_time_s": None,
    }
    assert told["Grid"]["shape"] == [35, 42, 33]
    assert told["Software"]["version"] == IR2QSMLib.__version__
    assert set(told["Versions"]) == {"python", "torch", "numpy"}
    assert told["Seconds"]["inversion"] > 0
    without_citation = text.replace(told["Method"]["citation"], "")
    assert not re.search(r"[/\\]", without_citation)
    assert getpass.getuser() not in without_citation
    assert os.uname().nodename not in without_citation
    assert torch.equal(read_volume(tmp_path / "chi.nii.gz")[0], whole.chi)


def test_weights_given_by_their_path_are_told_by_their_name(case: Any, make_weights: Any) -> None:
    path = make_weights()
    told = reconstruct(case.field, case.mask, method=Learned(path)).provenance["Method"]
    assert told["weights"] == told["parameters"]["weights"] == path.name
    assert str(path.parent) not in json.dumps(told)


def test_saving_an_uncertainty_that_there_is_not_writes_nothing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid, match="method 'tkd' gave no uncertainty"):
        run().save(tmp_path / "chi.nii.gz", uncertainty=tmp_path / "sigma.nii.gz")
    with pytest.raises(OutputUnwritable):
        run().save(tmp_path / "none" / "chi.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [("chi.nii.gz", "chi.json"), ("chi.nrrd", "chi.json"), ("a.b.nii.gz", "a.b.json"), ("a.b.mha", "a.b.json")],
)
def test_the_sidecar_stands_beside_its_image(image: str, sidecar: str) -> None:
    assert sidecar_of(Path("x") / image) == Path("x") / sidecar


# -- progress, cancellation, memory -----------------------------------------------------------------------------------


def test_progress_runs_from_nothing_to_all(run: Run) -> None:
    seen: list[tuple[float, str]] = []
    run(method="ir2qsm", progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert len({f for f, stage in seen if stage == "inversion"}) > 20


def test_a_callback_that_raises_cancelled_ends_the_run(run: Run) -> None:
    def stop(fraction: float, stage: str) -> None:
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled, match="nothing was written"):
        run(method="ir2qsm", progress=stop)


def test_little_memory_means_tiles_and_a_warning(case: Any, whole: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "memory_free", lambda kind: 0)
    found = reconstruct(case.local.values, case.local.mask, grid=case.local.grid, margin=24)
    assert found.provenance["Method"]["tile"] == 64
    assert "The volume was inverted in blended tiles of 64 voxels." in found.provenance["Warnings"]
    assert whole.provenance["Method"]["tile"] is None


def hungry(error: type[Exception], n_failures: int) -> Method:
    """TKD that runs out of memory as often as told."""
    failures = iter([error("not enough memory: tried to allocate 3 TB.")] * n_failures)

    def invert(field: LocalField, progress: Progress = silent) -> Susceptibility:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return TruncatedDivision()(field, progress)

    return invert


@pytest.mark.parametrize("error", [OutOfMemory, torch.OutOfMemoryError])
def test_a_device_whose_memory_is_too_small_hands_over_to_the_cpu(run: Run, error: type[Exception]) -> None:
    found = run(method=hungry(error, 1), device="cpu:0")  # for the pipeline a device other than the plain CPU
    (warning,) = found.provenance["Warnings"]
    assert re.fullmatch(r"The memory of '.+' did not hold the volume; the CPU was used\.", warning)
    assert found.provenance["Device"]["kind"] == "cpu"
    assert torch.equal(found.chi, run().chi)


@pytest.mark.parametrize("error", [OutOfMemory, RuntimeError])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_no_memory_anywhere_is_said_in_a_sentence(run: Run, error: type[Exception], device: str) -> None:
    with pytest.raises(OutOfMemory, match=r"not enough memory.*smaller --tile or close other programs\.$"):
        run(method=hungry(error, 2), device=device)


def test_other_faults_of_a_method_are_not_taken_for_memory(run: Run) -> None:
    def broken(field: LocalField, progress: Progress) -> Tensor:
        raise RuntimeError("expected scalar type Half")

    with pytest.raises(RuntimeError, match="scalar type"):
        run(method=broken, device="cpu")


def test_a_device_or_method_or_unit_that_there_is_not_is_refused(run: Run) -> None:
    with pytest.raises(DeviceUnavailable, match="device is 'tpu'; expected auto, cpu, cuda or mps"):
        run(device="tpu")
    with pytest.raises(ParameterInvalid, match="method is 'star'; expected one of ir2qsm, unet"):
        run(method="star")
    with pytest.raises(ParameterInvalid, match="field unit is 'tesla'; expected one of ppm, hz, rad"):
        run(unit="tesla")
