"""Maps side by side: the same as each alone, measured alike, what fails told, and nothing left when cancelled."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import IR2QSMError, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.evaluation.compare import ComparisonOptions, chosen_methods, compare
from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.registry import METHODS
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.pipeline.metadata import FieldMetadata
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.simulation.cases import Case, simulate, write_case

Table = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small phantom on an oblique grid, with truth, magnitude and labels."""
    folder = tmp_path_factory.mktemp("head")
    truth, field = simulate(Case(5, 40.0, (35, 42, 33), (2.8, 3.0, 3.4), 20.0, phantom=True))
    with Outputs() as outputs:
        write_case(outputs, folder, truth, field)
    return folder


def run(head: Path, folder: Path, methods: Any = ("tkd", "tikhonov"), maps: Any = None, **options: Any) -> Table:
    """Compare, and read the table back, by map."""
    own = {f.name for f in fields(ComparisonOptions)}
    chosen = {k: options.pop(k) for k in list(options) if k in own}
    progress = options.pop("progress", silent)
    field, mask = (options.pop(k, head / f"{name}.nii.gz") for k, name in (("field", "localfield"), ("mask", "mask")))
    folder.mkdir(exist_ok=True)
    with Outputs() as outputs:
        comparison = ComparisonOptions(methods, maps or {}, device="cpu", **chosen)
        compare(outputs, folder, field, mask, FieldMetadata(**options), comparison, progress)
    return table(folder)


def table(folder: Path) -> Table:
    with (folder / "comparison.tsv").open(encoding="utf-8") as file:
        return {row["map"]: row for row in csv.DictReader(file, delimiter="\t")}


def put(write_volume: Any, path: Path, head: Path, change: Callable[[Tensor], Tensor], name: str = "chi_truth") -> Path:
    values, grid = read_volume(head / f"{name}.nii.gz")
    return Path(write_volume(path, change(values), grid))


# -- maps and files ---------------------------------------------------------------------------------------------------


def test_each_map_is_the_one_that_reconstruct_gives(head: Path, tmp_path: Path) -> None:
    run(head, tmp_path, ["tkd", "tkd,threshold=0.3"])
    for name, method in (("tkd", TruncatedDivision()), ("tkd-threshold-0.3", TruncatedDivision(0.3))):
        alone = reconstruct(head / "localfield.nii.gz", head / "mask.nii.gz", method=method, device="cpu")
        assert torch.equal(read_volume(tmp_path / f"chi_{name}.nii.gz")[0], alone.chi)
        told = json.loads((tmp_path / f"chi_{name}.json").read_text(encoding="utf-8"))
        assert told["Method"] == alone.provenance["Method"]
    kinds = {f"comparison.{kind}" for kind in ("png", "tsv", "html")}
    assert {p.name for p in tmp_path.iterdir()} == kinds | {
        f"chi_{name}.{kind}" for name in ("tkd", "tkd-threshold-0.3") for kind in ("nii.gz", "json")
    }
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_methods_are_read_with_their_parameters() -> None:
    found = chosen_methods(["tkd", "tv,regularisation=auto,max_iterations=7", "medi,merit=true,smv_radius=4"])
    assert list(found.values()) == [
        TruncatedDivision(),
        TotalVariation("auto", max_iterations=7),
        Medi(merit=True, smv_radius=4),
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["cosmos"], r"The method is 'cosmos'; expected one of ir2qsm, unet"),
        (["tkd", "tkd"], r"'tkd' was named twice"),
        (["tkd,0.2"], r"'0.2' after a comma; expected parameter=value"),
        (["tkd,threshold=2"], r"The TKD threshold is 2; expected"),
        (["tkd,regularisation=2"], r"'tkd' has no parameter 'regularisation'; expected threshold"),
        (["tv,max_iterations=many"], r"'max_iterations' of the method 'tv' is 'many'; expected a whole number"),
        (["ilsqr,rounds=1.5"], r"'rounds' of the method 'ilsqr' is 1\.5; expected a whole number"),
        (["medi,merit=no"], r"'merit' of the method 'medi' is 'no'; expected true or false"),
        (
            ["tikhonov,regularisation=true"],
            r"'regularisation' of the method 'tikhonov' is True; expected a number or a word",
        ),
        (["tkd,threshold=0.1,threshold=0.3"], r"gives threshold twice"),
    ],
)
def test_what_cannot_be_a_method_is_refused_before_anything_is_read(texts: list[str], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        chosen_methods(texts)


def test_a_map_of_another_tool_stands_beside_the_methods(head: Path, tmp_path: Path, write_volume: Any) -> None:
    other = put(write_volume, tmp_path / "other.nrrd", head, lambda x: x + 0.7)  # of another zero
    found = run(head, tmp_path / "out", ["tkd"], {"mine": other}, truth=head / "chi_truth.nii.gz")
    assert list(found) == ["tkd", "mine"] and found["mine"]["seconds"] == "n/a"
    assert float(found["mine"]["xsim"]) > 0.9999 and float(found["mine"]["nrmse"]) < 0.01
    only = run(head, tmp_path / "maps", [], {"mine": other, "again": other})
    assert list(only) == ["mine", "again"] and not list((tmp_path / "maps").glob("chi_*"))


# -- measures ---------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_metrics(head: Path, tmp_path: Path) -> None:
    found = run(head, tmp_path, truth=head / "chi_truth.nii.gz")
    truth, mask = read_volume(head / "chi_truth.nii.gz")[0], read_volume(head / "mask.nii.gz")[0] > 0
    truth = torch.where(mask, truth - truth[mask].double().mean().float(), 0.0)
    for name in ("tkd", "tikhonov"):
        expected = score(read_volume(tmp_path / f"chi_{name}.nii.gz")[0], truth, mask)
        for key in ("xsim", "nrmse_demeaned", "hfen", "correlation"):
            assert float(found[name][key]) == pytest.approx(expected[key], rel=1e-4)
    assert "xsim" not in run(head, tmp_path / "without")["tkd"]


def test_the_truth_leaves_the_noise_of_the_field_and_no_more(head: Path, tmp_path: Path, write_volume: Any) -> None:
    """Power SNR 40: the noise is 1/√40 of the signal. The map's zero does not matter, another map leaves more."""
    maps = {
        "truth again": head / "chi_truth.nii.gz",
        "another zero": put(write_volume, tmp_path / "zero.nrrd", head, lambda x: x + 0.3),
        "half": put(write_volume, tmp_path / "half.nrrd", head, lambda x: 0.5 * x),
    }
    options: dict[str, Any] = {"reference": "none"}
    left = {k: float(v["field_residual_percent"]) for k, v in run(head, tmp_path / "o", [], maps, **options).items()}
    assert left["truth again"] == pytest.approx(100.0 / math.sqrt(41.0), rel=0.05)
    assert left["another zero"] == pytest.approx(left["truth again"], rel=1e-3)
    assert left["half"] > 2.0 * left["truth again"]
    turned = run(head, tmp_path / "turned", [], maps, b0_direction=(1.0, 0.0, 0.0))
    assert float(turned["truth again"]["field_residual_percent"]) > 3.0 * left["truth again"]
    hz = put(write_volume, tmp_path / "hz.nrrd", head, lambda x: x * 42.576 * 3.0, "localfield")
    by_hz = run(head, tmp_path / "hz", [], maps, field=hz, unit="hz", b0=3.0)
    assert float(by_hz["truth again"]["field_residual_percent"]) == pytest.approx(left["truth again"], rel=1e-3)


def test_noise_is_found_in_the_whole_mask_or_in_white_matter(head: Path, tmp_path: Path, write_volume: Any) -> None:
    labels, grid = read_volume(head / "mask.nii.gz")
    labels[:, :, 16:] *= 2  # two halves, of which the upper one is noisier
    path = write_volume(tmp_path / "halves.nrrd", labels.to(torch.uint8), grid)
    white = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    noisy = write_volume(tmp_path / "noisy.nrrd", 0.005 * white * labels, grid)
    found = [
        float(run(head, tmp_path / "out", [], {"m": noisy}, labels=path, white_matter=w)["m"]["noise_ppb"])
        for w in ((1,), (2,), ())
    ]
    assert found[:2] == pytest.approx([5.0, 10.0], rel=0.05) and 5.0 < found[2] < 10.0


def test_values_of_regions_are_listed(head: Path, tmp_path: Path, write_volume: Any) -> None:
    labels, grid = read_volume(head / "mask.nii.gz")
    labels[20:] *= 7
    path = write_volume(tmp_path / "labels.nrrd", labels.to(torch.uint8), grid)
    found = run(head, tmp_path / "out", labels=path)["tkd"]
    chi = read_volume(tmp_path / "out" / "chi_tkd.nii.gz")[0][labels == 7].double()
    told = [float(found[f"label_7_{key}"]) for key in ("n_voxels", "mean", "sd", "median")]
    assert told == pytest.approx([len(chi), float(chi.mean()), float(chi.std()), float(chi.median())], rel=1e-4)
    assert "Mean ± SD of each label" in (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")


def test_the_reference_shifts_all_maps_alike(head: Path, tmp_path: Path, write_volume: Any) -> None:
    region = put(write_volume, tmp_path / "region.nrrd", head, lambda x: (x * 0.0).to(torch.uint8), "mask")
    values, grid = read_volume(region)
    values[12:18, 15:25, 10:20] = 1
    region = write_volume(region, values.to(torch.uint8), grid)
    other = {"other": head / "chi_truth.nii.gz"}
    found = run(head, tmp_path / "out", ["tkd"], other, reference=str(region), labels=region)
    assert [abs(float(row["label_1_mean"])) < 1e-7 for row in found.values()] == [True, True]


def test_all_maps_are_measured_where_all_of_them_are(head: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"magnitude": head / "magnitude.nii.gz", "b0": 3.0, "echo_time": 0.005}
    alone = run(head, tmp_path / "a", ["tkd"], labels=head / "mask.nii.gz")
    methods = ["tkd", "medi,smv_radius=6,max_iterations=1"]
    both = run(head, tmp_path / "b", methods, labels=head / "mask.nii.gz", **options)
    counts = [int(float(row["label_1_n_voxels"])) for row in (*alone.values(), *both.values())]
    assert counts[1] == counts[2] < counts[0]


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_method_that_cannot_run_is_told_and_the_others_run(
    ir2qsm: Callable[..., Any], head: Path, tmp_path: Path
) -> None:
    files = (head / "localfield.nii.gz", head / "mask.nii.gz")
    ran = ir2qsm("compare", *files, "-o", tmp_path / "out", "--methods", "medi", "tkd", "--progress", "json")
    *progress, result = ran.events()
    assert ran.code == 0 and {e["event"] for e in progress} == {"progress"} and result["event"] == "result"
    assert list(result["maps"]) == ["tkd"] and Path(result["page"]).is_file()
    why = "MEDI takes its edges from the magnitude; give the magnitude image too, or use TV."
    assert result["failed"] == {"medi": why} and result["warnings"] == ["medi was not run: " + why]
    assert table(tmp_path / "out")["medi"]["problem"] == why
    fractions = [e["fraction"] for e in progress]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert {"tkd: inversion", "measuring tkd", "drawing", "written"} <= {e["stage"] for e in progress}


def test_when_no_method_can_run_that_is_the_error(ir2qsm: Callable[..., Any], head: Path, tmp_path: Path) -> None:
    files = (head / "localfield.nii.gz", head / "mask.nii.gz")
    ran = ir2qsm("compare", *files, "-o", tmp_path / "out", "--methods", "medi")
    assert ran.code == 2 and "MEDI takes its edges from the magnitude" in ran.err
    assert list((tmp_path / "out").iterdir()) == []


def _refused(head: Path, folder: Path, **options: Any) -> str:
    with pytest.raises(IR2QSMError) as caught:
        run(head, folder, **options)
    assert not folder.exists() or list(folder.iterdir()) == []
    return f"{caught.value.kind}: {caught.value}"


def test_maps_that_do_not_fit_are_refused_before_anything_runs(head: Path, tmp_path: Path, write_volume: Any) -> None:
    values, grid = read_volume(head / "chi_truth.nii.gz")
    moved = write_volume(tmp_path / "moved.nrrd", values, Grid(grid.shape, grid.voxel_size, grid.direction))
    short = write_volume(tmp_path / "short.nrrd", values[:, :, 1:], grid.cropped((0, 0, 1), values[:, :, 1:].shape))
    ppb = write_volume(tmp_path / "ppb.nrrd", 1000.0 * values, grid)
    holes = write_volume(tmp_path / "holes.nrrd", torch.where(values > 0.0, math.nan, values), grid)
    out = tmp_path / "out"

    def never(fraction: float, stage: str) -> None:
        assert "inversion" not in stage

    said = {p.stem: _refused(head, out, maps={"m": p}, progress=never) for p in (moved, short, ppb, holes)}
    assert said["moved"].startswith("GridMismatch: moved.nrrd and localfield.nii.gz lie apart")
    assert said["short"].startswith("GridMismatch: short.nrrd and localfield.nii.gz differ along z: 32 voxels")
    assert "divide ppb by 1000" in said["ppb"] and "NaN or infinite values inside the mask" in said["holes"]
    assert _refused(head, out, truth=short, progress=never).startswith("GridMismatch: short.nrrd")
    assert "the labels are: " in _refused(head, out, labels=head / "labels.nii.gz", white_matter=(99,), progress=never)
    assert "there is no label map" in _refused(head, out, white_matter=(1,), progress=never)
    assert "nothing to compare" in _refused(head, out, methods=[])
    assert "a lower and a higher end" in _refused(head, out, window=(0.1, -0.1))
    assert "a name of its own" in _refused(head, out, methods=["tkd"], maps={"tkd": head / "chi_truth.nii.gz"})


def test_an_input_is_never_overwritten(head: Path, tmp_path: Path, write_volume: Any) -> None:
    mine = put(write_volume, tmp_path / "chi_tkd.nii.gz", head, lambda x: x)
    before = mine.read_bytes()
    with pytest.raises(IR2QSMError, match="would overwrite an input"):
        run(head, tmp_path, ["tkd"], {"mine": mine})
    assert mine.read_bytes() == before and list(tmp_path.iterdir()) == [mine]


def test_a_cancelled_comparison_ends_in_time_and_leaves_nothing(
    worker: Callable[..., subprocess.Popen[str]], head: Path, tmp_path: Path
) -> None:
    files, out, cancel = (head / "localfield.nii.gz", head / "mask.nii.gz"), tmp_path / "out", tmp_path / "cancel"
    methods = ("tkd", "tv,regularisation=auto,tolerance=0,max_iterations=100000")
    process = worker(
        "compare",
        *files,
        "-o",
        out,
        "--methods",
        *methods,
        "--progress",
        "json",
        "--cancel-file",
        cancel,
        "--device",
        "cpu",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["stage"] == f"{methods[1]}: inversion":
            break
    assert list(out.glob(".ir2qsm-*")) and process.poll() is None  # the first map waits for the others
    start = time.monotonic()
    cancel.touch()
    last = next(event for event in map(json.loads, process.stdout) if event["event"] != "progress")
    assert time.monotonic() - start < 2.0
    rest, err = process.communicate(timeout=60)
    assert last == {"event": "cancelled"} and (process.returncode, rest, err) == (3, "", "")
    assert list(out.iterdir()) == []


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_help_tells_of_every_method(ir2qsm: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        ir2qsm("compare", "--help")
    said = capfd.readouterr().out
    for entry in METHODS.values():
        assert entry.description in said and entry.citation in said


def test_options_reach_the_comparison(ir2qsm: Callable[..., Any], head: Path, tmp_path: Path) -> None:
    files = (head / "localfield.nii.gz", head / "mask.nii.gz")
    ran = ir2qsm(
        "compare",
        *files,
        "-o",
        tmp_path,
        "--methods",
        "tkd",
        "--map",
        f"mine={head / 'chi_truth.nii.gz'}",
        "--map",
        head / "chi_truth.nii.gz",
        "--truth",
        head / "chi_truth.nii.gz",
        "--labels",
        head / "labels.nii.gz",
        "--white-matter",
        1,
        "--window",
        -0.2,
        0.3,
        "--device",
        "cpu",
    )
    assert ran.code == 0, ran.err
    assert list(table(tmp_path)) == ["tkd", "mine", "chi_truth"]
    assert '"window": [-0.2, 0.3]' in (tmp_path / "comparison.html").read_text(encoding="utf-8")
    same = ("--map", f"a={files[0]}", "--map", f"a={files[1]}")
    ran = ir2qsm("compare", *files, "-o", tmp_path, *same)
    assert ran.code == 2 and "Two maps are called 'a'" in ran.err
    ran = ir2qsm("compare", *files, "-o", tmp_path, "--te", 0.1, 0.2)
    assert ran.code == 2 and "2 echo times were given" in ran.err
