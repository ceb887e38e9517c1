"""`IR2QSMLib.reconstruct`: masks, references, margins, progress, cancellation and memory."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, DeviceUnavailable, MaskInvalid, OutOfMemory, ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.learned import tiles
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result
from Testing.Library.pipeline.scan_files import Reconstruct


@pytest.mark.parametrize("method", ["ir2qsm", "tkd", "tikhonov"])
def test_the_map_is_zero_outside_the_mask_and_of_zero_mean_inside(
    reconstruct_case: Reconstruct, case: Any, method: str
) -> None:
    result = reconstruct_case(method=method)
    assert result.chi.dtype == torch.float32 and result.chi.shape == case.local.grid.shape
    assert result.mask.dtype == torch.bool and torch.equal(result.mask, case.local.mask)
    assert float(result.chi[~result.mask].abs().max()) == 0.0
    assert abs(float(result.chi[result.mask].double().mean())) < 1e-7
    assert float(result.chi[result.mask].std()) > 0.005


def test_the_reference_shifts_the_map_and_is_recorded(case: Any, reconstruct_case: Reconstruct) -> None:
    inside = case.local.mask
    raw, mean = reconstruct_case(reference="none"), reconstruct_case()
    region = torch.zeros_like(inside)
    region[12:18, 15:25, 10:20] = True
    by_region = reconstruct_case(reference=region)
    assert abs(float(by_region.chi[region & inside].double().mean())) < 1e-7
    for referenced in (mean, by_region):
        subtracted = referenced.provenance["Reference"]["subtracted_ppm"]
        assert torch.allclose(referenced.chi[inside], raw.chi[inside] - subtracted, atol=1e-7)
    assert [r.provenance["Reference"]["region"] for r in (raw, mean, by_region)] == ["none", "mean", "array"]
    with pytest.raises(MaskInvalid, match="reference region lies nowhere inside the mask"):
        reconstruct_case(reference=~inside)


@pytest.mark.parametrize("changed", [{"margin": 4}, {"method": TruncatedDivision(0.3)}, {"method": Tikhonov(0.1)}])
def test_margin_and_parameters_change_the_map(reconstruct_case: Reconstruct, changed: dict[str, Any]) -> None:
    base = reconstruct_case(method="tikhonov") if isinstance(changed.get("method"), Tikhonov) else reconstruct_case()
    assert float((reconstruct_case(**changed).chi - base.chi).abs().max()) > 1e-4


def test_the_same_input_gives_the_same_bits(whole_volume: Result, case: Any) -> None:
    repeated = reconstruct(case.field, case.mask)
    assert torch.equal(repeated.chi, whole_volume.chi)
    if whole_volume.uncertainty is not None:
        assert repeated.uncertainty is not None and torch.equal(repeated.uncertainty, whole_volume.uncertainty)


def test_an_uncertainty_is_positive_in_the_mask_and_zero_outside(case: Any, make_weights: Any) -> None:
    result = reconstruct(case.field, case.mask, method=Learned(make_weights(uncertainty=True)))
    assert result.uncertainty is not None
    assert bool((result.uncertainty[result.mask] > 0).all())
    assert float(result.uncertainty[~result.mask].abs().max()) == 0.0


def test_progress_rises_from_zero_to_one(reconstruct_case: Reconstruct) -> None:
    calls: list[tuple[float, str]] = []
    reconstruct_case(method="ir2qsm", progress=lambda fraction, stage: calls.append((fraction, stage)))
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert len({f for f, stage in calls if stage == "inversion"}) > 20


def test_a_callback_that_raises_cancelled_ends_the_run(reconstruct_case: Reconstruct) -> None:
    def stop(fraction: float, stage: str) -> None:
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled, match="nothing was written"):
        reconstruct_case(method="ir2qsm", progress=stop)


def test_little_memory_means_tiles_and_a_warning(
    case: Any, whole_volume: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "memory_free", lambda kind: 0)
    result = reconstruct(case.local.values, case.local.mask, grid=case.local.grid, margin=24)
    assert result.provenance["Method"]["tile"] == 64
    assert "The volume was inverted in blended tiles of 64 voxels." in result.provenance["Warnings"]
    assert whole_volume.provenance["Method"]["tile"] is None


def memory_hungry_tkd(error: type[Exception], n_failures: int) -> Method:
    """TKD that runs out of memory `n_failures` times."""
    failures = iter([error("not enough memory: tried to allocate 3 TB.")] * n_failures)

    def invert(field: LocalField, progress: Progress = silent) -> Susceptibility:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return TruncatedDivision()(field, progress)

    return invert


@pytest.mark.parametrize("error", [OutOfMemory, torch.cuda.OutOfMemoryError])
def test_a_device_whose_memory_is_too_small_is_replaced_by_the_cpu(
    reconstruct_case: Reconstruct, error: type[Exception]
) -> None:
    result = reconstruct_case(
        method=memory_hungry_tkd(error, 1), device="cpu:0"
    )  # for the pipeline a device other than the plain CPU
    (warning,) = result.provenance["Warnings"]
    assert re.fullmatch(r"The memory of '.+' did not hold the volume; the CPU was used\.", warning)
    assert result.provenance["Device"]["kind"] == "cpu"
    assert torch.equal(result.chi, reconstruct_case().chi)


@pytest.mark.parametrize("error", [OutOfMemory, RuntimeError])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_too_little_memory_everywhere_is_an_error(
    reconstruct_case: Reconstruct, error: type[Exception], device: str
) -> None:
    with pytest.raises(
        OutOfMemory,
        match=r"memory does not hold the volume; give a smaller --tile, close other programs, or use .* tikhonov\.$",
    ):
        reconstruct_case(method=memory_hungry_tkd(error, 2), device=device)


def test_other_faults_of_a_method_are_not_taken_for_memory(reconstruct_case: Reconstruct) -> None:
    def broken(field: LocalField, progress: Progress) -> Tensor:
        raise RuntimeError("expected scalar type Half")

    with pytest.raises(RuntimeError, match="scalar type"):
        reconstruct_case(method=broken, device="cpu")


def test_an_unknown_device_method_or_unit_is_refused(reconstruct_case: Reconstruct) -> None:
    with pytest.raises(DeviceUnavailable, match="device is 'tpu'; expected auto, cpu, cuda or mps"):
        reconstruct_case(device="tpu")
    with pytest.raises(ParameterInvalid, match="method is 'star'; expected one of ir2qsm, unet"):
        reconstruct_case(method="star")
    with pytest.raises(ParameterInvalid, match="field unit is 'gauss'; expected one of ppm, ppb, hz, rad, rad/s, t"):
        reconstruct_case(unit="gauss")
