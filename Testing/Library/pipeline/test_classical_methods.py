"""The iterative methods through the pipeline and the command line: inputs, masks, notes and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.choices import METHOD_NAMES
from IR2QSMLib.core.devices import devices
from IR2QSMLib.core.errors import Cancelled, FieldInvalid, GridMismatch
from IR2QSMLib.evaluation.metrics import correlation
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.registry import METHODS
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics import gradient
from IR2QSMLib.physics.working_grid import MARGIN, WorkingGrid
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result
from IR2QSMLib.simulation.cases import Case, simulate

NEEDED = {"b0": 3.0, "echo_time": 0.005}


@pytest.fixture(scope="module")
def local() -> Any:
    """An oblique phantom on a coarse grid, with its magnitude."""
    return simulate(Case(5, 40.0, (27, 30, 25), (4.0, 4.2, 4.4), 20.0, phantom=True))


def run(local: Any, method: Any, **options: Any) -> Result:
    _, field = local
    return reconstruct(field.values, field.mask, grid=field.grid, device="cpu", method=method, margin=4, **options)


def medi(local: Any, method: Medi | None = None, **options: Any) -> Result:
    return run(local, method or Medi(), **{"magnitude": local[1].magnitude, **NEEDED, **options})


@pytest.mark.parametrize("method", [TotalVariation(), TotalVariation("auto"), Ilsqr()])
def test_iterative_methods_resemble_the_truth_and_note_their_convergence(local: Any, method: Any) -> None:
    result = run(local, method)
    head, field = local
    assert correlation(result.chi, head.chi, field.mask) > 0.8
    assert not result.chi[~field.mask].any() and torch.equal(result.mask, field.mask)
    method_notes = json.loads(json.dumps(result.provenance["Method"]))
    assert method_notes["fft_pairs"] > 5 and method_notes["iterations"] and "doi" in method_notes["citation"]
    assert "relative_change" in method_notes or "relative_residual" in method_notes


def test_medi_takes_magnitude_b0_and_echo_spacing_through_the_pipeline(local: Any) -> None:
    result, (head, field) = medi(local), local
    assert correlation(result.chi, head.chi, field.mask) > 0.8
    assert result.provenance["Inputs"]["magnitude"] == "array" and result.provenance["Inputs"]["echo_time_s"] == 0.005
    with pytest.raises(FieldInvalid, match="MEDI takes its edges from the magnitude"):
        run(local, Medi(), **NEEDED)
    with pytest.raises(FieldInvalid, match="MEDI weighs the field in rad per echo spacing"):
        run(local, Medi(), magnitude=field.magnitude, b0=3.0)


@pytest.mark.parametrize("extra", ["magnitude", "noise", "csf"])
def test_every_volume_that_medi_may_take_changes_the_map(local: Any, extra: str) -> None:
    _, field = local
    extra_volume: Tensor = {
        "magnitude": 1.0 / (0.1 + field.values.abs()),
        "noise": 0.001 + field.values.abs(),
        "csf": torch.zeros_like(field.mask).index_fill_(2, torch.tensor([16]), True) & field.mask,
    }[extra]
    default, other = medi(local), medi(local, **{extra: extra_volume})
    assert float((default.chi - other.chi).abs().max()) > 1e-3
    with pytest.raises((FieldInvalid, GridMismatch)):
        medi(local, **{extra: extra_volume[:-1]})


def test_noise_is_in_the_fields_unit(local: Any) -> None:
    """Weights know ratios alone, but MEDI's spheres mix neighbours, so only a common factor may be lost."""
    _, field = local
    noise = 0.001 + field.values.abs()
    by_ppm = medi(local, noise=noise)
    by_hz = reconstruct(
        field.values * 127.728,
        field.mask,
        grid=field.grid,
        device="cpu",
        method=Medi(),
        unit="hz",
        margin=4,
        magnitude=field.magnitude,
        noise=noise * 127.728,
        **NEEDED,
    )
    # Rounding of the weights, which range over decades here, moves the loose inner solver by some 1e-4.
    assert float((by_hz.chi - by_ppm.chi).norm()) < 2e-3 * float(by_ppm.chi.norm())


def test_a_smaller_mask_is_returned_with_a_warning(local: Any) -> None:
    result, (_, field) = medi(local, Medi(smv_radius=6.0)), local
    assert int(result.mask.sum()) < int(field.mask.sum()) and not result.mask[~field.mask].any()
    assert not result.chi[~result.mask].any() and abs(float(result.chi[result.mask].double().mean())) < 1e-6
    assert result.provenance["MaskVoxels"] == int(result.mask.sum())
    (warning,) = [w for w in result.provenance["Warnings"] if "The map covers" in w]
    assert warning == f"The map covers {int(result.mask.sum())} of the mask's {int(field.mask.sum())} voxels."


def test_every_volume_comes_to_the_working_grid(local: Any) -> None:
    _, field = local
    field = replace(field, noise=field.values.abs(), csf=field.mask)
    working_grid = WorkingGrid.around(field)
    on_working_grid = working_grid.to_working_grid(field)
    originals = field.optional_volumes()
    for name, volume in on_working_grid.optional_volumes().items():
        inside = torch.where(field.mask, originals[name], torch.zeros_like(originals[name]))
        back = working_grid.to_original_grid(volume)
        assert torch.equal(torch.where(field.mask, back, torch.zeros_like(back)), inside)
    assert (on_working_grid.b0, on_working_grid.echo_spacing) == (3.0, 0.005)


@pytest.mark.parametrize("method", [TotalVariation(), Ilsqr(), Medi()])
def test_a_cancelled_method_can_run_once_more(local: Any, method: Any) -> None:
    options = {"magnitude": local[1].magnitude, **NEEDED}

    def progress(fraction: float, stage: str) -> None:
        if fraction > 0.1:
            raise Cancelled()

    with pytest.raises(Cancelled):
        run(local, method, progress=progress, **options)
    assert torch.equal(run(local, method, **options).chi, run(local, method, **options).chi)


@pytest.mark.parametrize("method", [TruncatedDivision(), Tikhonov(), TotalVariation(), Ilsqr(), Medi()])
def test_twice_the_margin_changes_the_map_little(local: Any, method: Any) -> None:
    """By less than 2 % of its range, root mean square; by less than a thin margin does."""
    _, field = local
    near, default, far = (
        reconstruct(
            field.values,
            field.mask,
            grid=field.grid,
            device="cpu",
            method=method,
            margin=n,
            magnitude=field.magnitude,
            **NEEDED,
        ).chi[field.mask]
        for n in (1, MARGIN, 2 * MARGIN)
    )
    spread = float(far.quantile(0.99) - far.quantile(0.01))
    change = float((default - far).square().mean().sqrt())
    assert 0.0 < change < 0.02 * spread
    assert change < float((near - far).square().mean().sqrt())


ITERATIVE = [TotalVariation(), TotalVariation("auto"), Ilsqr(), Medi()]


@pytest.mark.parametrize("method", ITERATIVE)
def test_the_size_of_blocks_does_not_change_the_map(local: Any, method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor takes the volume in blocks that fit its cache, other devices in one."""
    options = {"magnitude": local[1].magnitude, **NEEDED}
    one_block = run(local, method, **options).chi
    monkeypatch.setattr(gradient, "BLOCK_SIZE", 5000)
    assert len(gradient.Gradient(local[1].grid, "zero").blocks(local[1].values)) > 4
    assert float((run(local, method, **options).chi - one_block).norm()) < 1e-3 * float(one_block.norm())


@pytest.mark.parametrize("method", [TruncatedDivision(), Tikhonov(), *ITERATIVE])
def test_another_device_gives_the_same_map(local: Any, method: Any) -> None:
    others = [device.kind for device in devices() if device.problem is None and device.kind != "cpu"]
    if not others:
        pytest.skip("there is no device here but the processor")
    _, field = local
    maps = [
        reconstruct(
            field.values, field.mask, grid=field.grid, device=kind, method=method, magnitude=field.magnitude, **NEEDED
        ).chi
        for kind in ("cpu", *others)
    ]
    for other in maps[1:]:
        assert float((other - maps[0]).norm()) < 1e-3 * float(maps[0].norm())


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_names_every_method() -> None:
    assert set(METHOD_NAMES) == set(METHODS)


def test_methods_and_options_reach_the_method(
    ir2qsm: Callable[..., Any], local: Any, tmp_path: Path, write_volume: Any
) -> None:
    _, field = local
    files = [
        write_volume(tmp_path / f"{name}.nii.gz", x, field.grid)
        for name, x in (("field", field.values), ("mask", field.mask), ("magnitude", field.magnitude))
    ]

    def notes_with(*options: object) -> dict[str, Any]:
        ran = ir2qsm("reconstruct", *files[:2], "-o", tmp_path / "chi.nii.gz", "--device", "cpu", *options)
        assert ran.code == 0, ran.err
        return dict(json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Method"])

    assert notes_with("--method", "ilsqr")["name"] == "ilsqr"
    by_tv = notes_with("--method", "tv", "--regularisation", "auto", "--outside", "zero")
    assert (by_tv["parameters"]["regularisation"], by_tv["outside"]) == ("auto", "zero") and by_tv[
        "regularisation"
    ] > 0.0
    by_medi = notes_with(
        "--method",
        "medi",
        "--magnitude",
        files[2],
        "--b0",
        3,
        "--te",
        0.005,
        "--regularisation",
        300,
        "--smv-radius",
        6,
        "--merit",
        "--noise",
        files[2],
    )
    assert by_medi["regularisation"] == 300.0 and by_medi["noise_weights"] == "noise map"
    assert by_medi["parameters"]["merit"] is True and by_medi["parameters"]["smv_radius"] == 6.0
    assert notes_with("--method", "medi", "--magnitude", files[2], "--b0", 3, "--te", 0.005, "--csf", files[1])[
        "iterations"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "medi"), "MEDI takes its edges from the magnitude; give the magnitude image too"),
        (
            ("--method", "tkd", "--regularisation", 1),
            "--regularisation belongs to --method tikhonov, tv or medi, not to tkd",
        ),
        (("--method", "tv", "--merit", "--smv-radius", 5), "--smv-radius and --merit belong to --method medi"),
        (("--method", "medi", "--outside", "free"), "--outside belongs to --method tv, not to medi"),
        (
            ("--method", "tv", "--regularisation", "much"),
            "argument --regularisation: invalid number_or_auto value: 'much'",
        ),
    ],
)
def test_options_of_another_method_are_refused(refused: Callable[..., str], options: Any, message: str) -> None:
    assert message in refused(*options)
