"""Maps side by side: each as by itself, measured alike, in one mask and against one reference."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.pipeline.reconstruct import reconstruct
from Testing.Library.comparisons import comparison_table, write_changed

# -- maps and files ---------------------------------------------------------------------------------------------------


def test_each_map_is_that_of_reconstruct(case_folder: Path, tmp_path: Path) -> None:
    comparison_table(case_folder, tmp_path, ["tkd", "tkd,threshold=0.3"])
    for name, method in (("tkd", TruncatedDivision()), ("tkd-threshold-0.3", TruncatedDivision(0.3))):
        single = reconstruct(
            case_folder / "localfield.nii.gz", case_folder / "mask.nii.gz", method=method, device="cpu"
        )
        assert torch.equal(read_volume(tmp_path / f"chi_{name}.nii.gz")[0], single.chi)
        values = json.loads((tmp_path / f"chi_{name}.json").read_text(encoding="utf-8"))
        assert values["Method"] == single.provenance["Method"]
    files = {f"comparison.{kind}" for kind in ("png", "tsv", "html")}
    assert {p.name for p in tmp_path.iterdir()} == files | {
        f"chi_{name}.{kind}" for name in ("tkd", "tkd-threshold-0.3") for kind in ("nii.gz", "json")
    }
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_map_of_another_tool_is_compared_with_the_methods(
    case_folder: Path, tmp_path: Path, write_volume: Any
) -> None:
    other = write_changed(write_volume, tmp_path / "other.nrrd", case_folder, lambda x: x + 0.7)  # of another zero
    rows = comparison_table(
        case_folder, tmp_path / "out", ["tkd"], {"mine": other}, truth=case_folder / "chi_truth.nii.gz"
    )
    assert list(rows) == ["tkd", "mine"] and rows["mine"]["seconds"] == "n/a"
    assert float(rows["mine"]["xsim"]) > 0.9999 and float(rows["mine"]["nrmse"]) < 0.01
    only = comparison_table(case_folder, tmp_path / "maps", [], {"mine": other, "copy": other})
    assert list(only) == ["mine", "copy"] and not list((tmp_path / "maps").glob("chi_*"))


def test_two_maps_of_one_file_name_are_refused(case_folder: Path, tmp_path: Path) -> None:
    methods = ["ir2qsm,weights=a/b", "ir2qsm,weights=a-b"]
    with pytest.raises(ParameterInvalid, match=r"would have one file name, chi_ir2qsm-weights-a-b\.nii\.gz; compare"):
        comparison_table(case_folder, tmp_path / "out", methods)
    assert list((tmp_path / "out").iterdir()) == []


# -- measures ---------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_metrics(case_folder: Path, tmp_path: Path) -> None:
    rows = comparison_table(case_folder, tmp_path, truth=case_folder / "chi_truth.nii.gz")
    truth, mask = read_volume(case_folder / "chi_truth.nii.gz")[0], read_volume(case_folder / "mask.nii.gz")[0] > 0
    truth = torch.where(mask, truth - truth[mask].double().mean().float(), 0.0)
    for name in ("tkd", "tikhonov"):
        expected = score(read_volume(tmp_path / f"chi_{name}.nii.gz")[0], truth, mask)
        for key in ("xsim", "nrmse_demeaned", "hfen", "correlation"):
            assert float(rows[name][key]) == pytest.approx(expected[key], rel=1e-4)
    assert "xsim" not in comparison_table(case_folder, tmp_path / "without")["tkd"]


def test_the_residual_of_the_truth_is_the_noise_of_the_field(
    case_folder: Path, tmp_path: Path, write_volume: Any
) -> None:
    """Power SNR 40: the noise is 1/√40 of the signal. The map's zero does not matter; another map leaves more."""
    maps = {
        "true map": case_folder / "chi_truth.nii.gz",
        "another zero": write_changed(write_volume, tmp_path / "zero.nrrd", case_folder, lambda x: x + 0.3),
        "half": write_changed(write_volume, tmp_path / "half.nrrd", case_folder, lambda x: 0.5 * x),
    }
    options: dict[str, Any] = {"reference": "none"}
    residual = {
        k: float(v["field_residual_percent"])
        for k, v in comparison_table(case_folder, tmp_path / "o", [], maps, **options).items()
    }
    assert residual["true map"] == pytest.approx(100.0 / math.sqrt(41.0), rel=0.05)
    assert residual["another zero"] == pytest.approx(residual["true map"], rel=1e-3)
    assert residual["half"] > 2.0 * residual["true map"]
    rotated = comparison_table(case_folder, tmp_path / "rotated", [], maps, b0_direction=(1.0, 0.0, 0.0))
    assert float(rotated["true map"]["field_residual_percent"]) > 3.0 * residual["true map"]
    hz = write_changed(write_volume, tmp_path / "hz.nrrd", case_folder, lambda x: x * 42.576 * 3.0, "localfield")
    by_hz = comparison_table(case_folder, tmp_path / "hz", [], maps, field=hz, unit="hz", b0=3.0)
    assert float(by_hz["true map"]["field_residual_percent"]) == pytest.approx(residual["true map"], rel=1e-3)


def test_noise_is_measured_in_the_mask_or_in_white_matter(case_folder: Path, tmp_path: Path, write_volume: Any) -> None:
    labels, grid = read_volume(case_folder / "mask.nii.gz")
    labels[:, :, 16:] *= 2  # two halves, of which the upper one is noisier
    path = write_volume(tmp_path / "halves.nrrd", labels.to(torch.uint8), grid)
    white = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    noisy = write_volume(tmp_path / "noisy.nrrd", 0.005 * white * labels, grid)
    rows = [
        float(
            comparison_table(case_folder, tmp_path / "out", [], {"m": noisy}, labels=path, white_matter=w)["m"][
                "noise_ppb"
            ]
        )
        for w in ((1,), (2,), ())
    ]
    assert rows[:2] == pytest.approx([5.0, 10.0], rel=0.05) and 5.0 < rows[2] < 10.0


def test_values_of_regions_are_listed(case_folder: Path, tmp_path: Path, write_volume: Any) -> None:
    labels, grid = read_volume(case_folder / "mask.nii.gz")
    labels[20:] *= 7
    path = write_volume(tmp_path / "labels.nrrd", labels.to(torch.uint8), grid)
    rows = comparison_table(case_folder, tmp_path / "out", labels=path)["tkd"]
    chi = read_volume(tmp_path / "out" / "chi_tkd.nii.gz")[0][labels == 7].double()
    values = [float(rows[f"label_7_{key}"]) for key in ("n_voxels", "mean", "sd", "median")]
    assert values == pytest.approx([len(chi), float(chi.mean()), float(chi.std()), float(chi.median())], rel=1e-4)
    assert "Mean ± SD of each label" in (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")


def test_the_reference_shifts_all_maps_alike(case_folder: Path, tmp_path: Path, write_volume: Any) -> None:
    region = write_changed(
        write_volume, tmp_path / "region.nrrd", case_folder, lambda x: (x * 0.0).to(torch.uint8), "mask"
    )
    values, grid = read_volume(region)
    values[12:18, 15:25, 10:20] = 1
    region = write_volume(region, values.to(torch.uint8), grid)
    other = {"other": case_folder / "chi_truth.nii.gz"}
    rows = comparison_table(case_folder, tmp_path / "out", ["tkd"], other, reference=str(region), labels=region)
    assert [abs(float(row["label_1_mean"])) < 1e-7 for row in rows.values()] == [True, True]


def test_all_maps_are_measured_in_their_common_mask(case_folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"magnitude": case_folder / "magnitude.nii.gz", "b0": 3.0, "echo_time": 0.005}
    single = comparison_table(case_folder, tmp_path / "a", ["tkd"], labels=case_folder / "mask.nii.gz")
    methods = ["tkd", "medi,smv_radius=6,max_iterations=1"]
    both = comparison_table(case_folder, tmp_path / "b", methods, labels=case_folder / "mask.nii.gz", **options)
    counts = [int(float(row["label_1_n_voxels"])) for row in (*single.values(), *both.values())]
    assert counts[1] == counts[2] < counts[0]
