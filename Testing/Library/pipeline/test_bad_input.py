"""Bad input: exit code 2, one line that says what came, what was expected and what to do, and no file."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from IR2QSMLib.inversion.learned.load import bundled

Refused = Callable[..., str]


def says(message: str, pattern: str) -> None:
    assert re.search(pattern, message), message
    assert len(message) < 300


# -- grids ------------------------------------------------------------------------------------------------------------


def test_grids_that_differ_are_refused_by_axis_and_both_values(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path
) -> None:
    mask, grid = case.local.mask, case.local.grid
    shorter = write_volume(tmp_path / "a.nii.gz", mask[:, :-1], grid.cropped((0, 0, 0), (35, 41, 33)))
    says(refused(mask=shorter), r"a\.nii\.gz and field\.nii\.gz differ along y: 41 voxels against 42\. Resample one")
    coarser = write_volume(tmp_path / "b.nii.gz", mask, replace(grid, voxel_size=(2.8, 3.0, 3.0)))
    says(refused(mask=coarser), r"differ in voxel size along z: 3 mm against 3\.4 mm\. Resample")
    x, y, z = grid.origin
    moved = write_volume(tmp_path / "c.nii.gz", mask, replace(grid, origin=(x, y + 1.0, z)))
    says(refused(mask=moved), r"lie apart along the patient's y axis: a corner at -?[\d.]+ mm against -?[\d.]+ mm\. Re")
    says(refused("--reference", moved), r"c\.nii\.gz and .* lie apart along the patient's y axis")


@pytest.mark.parametrize(("shape", "message"), [((35, 42), "2 axes, 35×42"), ((9, 9, 9, 3), "4 axes, 9×9×9×3")])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_volume_of_two_or_four_axes_is_refused_with_its_shape(
    refused: Refused, tmp_path: Path, shape: tuple[int, ...], message: str, suffix: str
) -> None:
    path = tmp_path / f"odd{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones(shape[::-1], np.float32), isVector=False), str(path))
    line = refused("--input", "local-field", field=path)
    says(line, rf"odd{re.escape(suffix)} has {message}; expected one 3D volume: ")
    says(refused(mask=path), rf"odd{re.escape(suffix)} has {message}; expected one 3D volume: ")


@pytest.mark.parametrize(("axis", "shape"), [("x", (7, 20, 20)), ("z", (20, 20, 1))])
def test_fewer_than_eight_voxels_along_an_axis_are_refused(
    refused: Refused, write_volume: Any, case: Any, tmp_path: Path, axis: str, shape: tuple[int, int, int]
) -> None:
    thin = write_volume(tmp_path / "thin.mha", torch.ones(shape), case.local.grid.cropped((0, 0, 0), shape))
    says(refused(field=thin), rf"thin\.mha has {min(shape)} voxels along {axis}; expected at least 8: give the whole")


def test_a_sheared_sform_is_refused(refused: Refused, case: Any, write_volume: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "sheared.nii", case.local.values, case.local.grid)
    content = bytearray(path.read_bytes())
    rows = struct.unpack_from("<12f", content, 280)
    struct.pack_into("<f", content, 284, rows[1] + 0.8)
    path.write_bytes(content)
    says(refused(field=path), r"sheared\.nii has axes that are not at right angles \(its sform is sheared .*; resample")


# -- masks ------------------------------------------------------------------------------------------------------------


def test_an_empty_mask_is_refused(refused: Refused, case: Any, write_volume: Any, tmp_path: Path) -> None:
    path = write_volume(tmp_path / "empty.nrrd", torch.zeros_like(case.local.mask), case.local.grid)
    says(refused(mask=path), r"^empty\.nrrd is empty: every voxel is 0; give a mask with voxels inside")
    says(refused("--reference", path), r"^empty\.nrrd is empty")


def test_a_mask_of_several_labels_is_refused_and_they_are_listed(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path
) -> None:
    labels = case.local.mask.to(torch.uint8)
    labels[15:] *= 4
    path = write_volume(tmp_path / "labels.nrrd", labels, case.local.grid)
    says(refused(mask=path), r"labels\.nrrd has 2 labels \(1, 4\); expected 0 and one other value\. .*--mask-labels")
    says(refused("--mask-labels", 4, 9, mask=path), r"has no label 9; it has 2 labels \(1, 4\): choose among them")
    soft = write_volume(tmp_path / "soft.nrrd", case.local.mask * torch.rand(35, 42, 33), case.local.grid)
    says(refused(mask=soft), r"soft\.nrrd has \d+ values from .*; expected 0 and one .* such as --mask-threshold")


def test_a_reference_outside_the_mask_is_refused(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path
) -> None:
    path = write_volume(tmp_path / "away.nrrd", ~case.local.mask, case.local.grid)
    says(refused("--reference", path), "reference region lies nowhere inside the mask; choose another one")
    says(refused("--reference", "mode"), "^mode does not exist")


# -- the field --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "units", "wording"),
    [(127.728, ("--units", "ppm"), "in ppm"), (1.0, ("--units", "hz", "--b0", 3), "in hz"), (0.0, (), "is 0 ppm")],
)
def test_a_field_in_the_wrong_unit_is_refused(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path, factor: float, units: Any, wording: str
) -> None:
    path = write_volume(tmp_path / "f.nrrd", case.local.values * factor, case.local.grid)
    message = refused(*units, field=path)
    says(message, r"^Read in (ppm|hz), the field's 99th percentile is [\d.e-]+ ppm; .* between 0\.003 and 0\.5 ppm\.")
    assert wording in message


def test_nan_inside_the_mask_is_refused_and_the_option_named(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path
) -> None:
    values = case.local.values.clone()
    x, y, z = case.local.mask.nonzero()[100].tolist()
    values[x, y, z] = torch.nan
    path = write_volume(tmp_path / "f.nii.gz", values, case.local.grid)
    says(refused(field=path), r"^The field holds 1 NaN or infinite values inside the mask; .* --non-finite mask\.$")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--units", "hz"), r"field in hz needs the field strength; give B0 in tesla \(--b0\)"),
        (("--units", "rad", "--b0", 3), r"field in rad needs the echo time; give TE in seconds \(--te\)"),
        (("--units", "rad", "--b0", 3, "--te", 20), r"TE is 20 s; expected 0\.00002 to 0\.25 s\. .* not milliseconds"),
        (("--units", "rad", "--b0", 3, "--te", 0.01, 0.02), "2 echo times were given; .* has one"),
        (("--units", "hz", "--b0", 3000), r"B0 is 3000 T; expected 0\.01 to 25 T\."),
        (("--units", "hz", "--b0", "nan"), r"B0 is nan T; expected"),
        (("--b0-direction", 0, 0, 0), r"B0 direction is \(0\.0, 0\.0, 0\.0\); expected three numbers, not all zero"),
    ],
)
def test_missing_or_impossible_scan_parameters_are_refused(refused: Refused, options: Any, message: str) -> None:
    says(refused(*options), message)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
def test_a_truncated_file_is_refused(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path, suffix: str
) -> None:
    path = write_volume(tmp_path / f"cut{suffix}", case.local.values, case.local.grid)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    says(refused(field=path), rf"^cut{re.escape(suffix)} is truncated or damaged.*copy or export it again")


def test_a_truncated_metaimage_is_refused(ir2qsm: Callable[..., Any], case: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.mha"
    sitk.WriteImage(sitk.ReadImage(str(case.field)), str(path))
    path.write_bytes(path.read_bytes()[:50_000])
    ran = ir2qsm("reconstruct", path, case.mask, "-o", tmp_path / "chi.mha")
    assert ran.code == 2 and "Traceback" not in ran.err
    line = ran.err.splitlines()[-1]  # ITK's own reader writes lines of its own before
    assert line.startswith("ir2qsm: cut.mha is truncated or damaged")
    assert [p.name for p in tmp_path.iterdir()] == ["cut.mha"]


def test_a_file_that_is_no_image_is_refused(refused: Refused, tmp_path: Path) -> None:
    for name, content in (("a.nii.gz", b"no image"), ("b.nrrd", b""), ("c.txt", b"hello")):
        (tmp_path / name).write_bytes(content)
        says(refused(field=tmp_path / name), rf"^{name} is not a NIfTI, NRRD or MetaImage file .*; convert it")
    says(refused(field=tmp_path / "none.nii"), r"^none\.nii does not exist; check the path")
    says(refused(mask=tmp_path), r"cannot be opened \(Is a directory\); give a file")


def test_an_output_that_cannot_be_written_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "chi.nii").mkdir()
    (tmp_path / "map.json").mkdir()
    outputs = {
        "none/chi.nii": r"^chi\.nii cannot be written: its folder does not exist; create it first",
        "chi.nii": r"^chi\.nii is a folder; give the name of a file",
        "map.nii": r"^map\.json is a folder; give the name of a file",
        "chi.png": r"^chi\.png has no known suffix; expected one of \.nii\.gz",
        "chi.mhd": r"^chi\.mhd would become two files",
    }
    for name, message in outputs.items():
        says(refused(output=tmp_path / name), message)
    says(refused("--mask-output", tmp_path / "none" / "m.nii"), r"^m\.nii cannot be written: its folder does not exist")
    says(refused("--uncertainty", tmp_path / "s"), r"^s has no known suffix")
    says(refused("--mask-output", tmp_path / "chi.nii.gz"), r"^chi\.nii\.gz is named for two results; give each")
    if Path("/proc/self").is_dir():
        says(refused(output=Path("/proc/chi.nii")), r"^chi\.nii cannot be written \(.*\); choose another place for it")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    says(refused(output=tmp_path / "locked" / "chi.nii"), r"^chi\.nii cannot be written \(Permission denied\)")


def test_an_output_that_would_overwrite_an_input_is_refused(
    refused: Refused, case: Any, write_volume: Any, tmp_path: Path
) -> None:
    region = write_volume(tmp_path / "region.nrrd", case.local.mask, case.local.grid)
    (tmp_path / "link.nii.gz").symlink_to(case.field)
    message = r"^The result {} would overwrite an input; give it another name"
    says(refused(output=case.field), message.format(r"field\.nii\.gz"))
    says(refused("--mask-output", case.mask), message.format(r"mask\.nii\.gz"))
    says(refused("--reference", region, output=region), message.format(r"region\.nrrd"))
    says(refused(output=tmp_path / "link.nii.gz"), message.format(r"link\.nii\.gz"))


# -- weights and devices ----------------------------------------------------------------------------------------------


def test_weights_that_were_altered_are_refused(refused: Refused, make_weights: Any, tmp_path: Path) -> None:
    copy = tmp_path / "ir2qsm.safetensors"
    content = bytearray(bundled().read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    copy.with_suffix(".json").write_bytes(bundled().with_suffix(".json").read_bytes())
    says(refused("--weights", copy), r"'ir2qsm\.safetensors' have the SHA-256 \w{12}…, expected \w{12}…; the file was")
    copy.with_suffix(".json").unlink()
    copy.write_bytes(content[: len(content) // 2])
    says(refused("--weights", copy), "is no safetensors file; a released checkpoint is converted with: ir2qsm impo")
    says(refused("--weights", tmp_path / "none.safetensors"), r"'none\.safetensors' cannot be read \(No such file")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pth")
    says(refused("--weights", tmp_path / "model.pth"), r"'model\.pth' is no safetensors file")


def test_a_missing_device_is_refused(refused: Refused) -> None:
    says(refused("--device", "tpu"), "device is 'tpu'; expected auto, cpu, cuda or mps")
    if not torch.cuda.is_available():
        says(refused("--device", "cuda"), r"device 'cuda' cannot be used \(.+\); choose another one, or auto")
    if not torch.backends.mps.is_available():
        assert re.search(r"device 'mps' cannot be used \(.+\); choose another one, or auto", refused("--device", "mps"))


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bogus",), "unrecognized arguments: --bogus; see: ir2qsm --help"),
        (("--method", "star"), "argument --method: invalid choice: 'star' .*tkd"),
        (("--units", "tesla"), "argument --units: invalid choice: 'tesla'"),
        (("--b0", "three"), "argument --b0: invalid float value: 'three'; see: ir2qsm reconstruct --help"),
        (("--b0-direction", 0, 1), "argument --b0-direction: expected 3 arguments"),
        (("--tile", 50), "argument --tile: invalid choice: 50 .*256, 192, 160, 128, 96, 64"),
        (("--regularisation-factor", -1), r"factor on the regularisation is -1; expected one from 1e-06"),
        (("--method", "tkd", "--threshold", 0.9), "TKD threshold is 0.9; expected a number between 0 and 2/3"),
        (("--method", "tikhonov", "--regularisation", 0), "Tikhonov regularisation is 0; expected a positive number"),
        (("--threshold", 0.2), "--threshold belongs to --method tkd, not to ir2qsm"),
        (("--method", "tkd", "--tile", 64, "--network-only"), "--network-only and --tile belong to --method ir2qsm"),
    ],
)
def test_an_option_out_of_range_is_refused(refused: Refused, options: Any, message: str) -> None:
    says(refused(*options), message)


@pytest.mark.parametrize("arguments", [(), ("paint",), ("reconstruct",), ("inspect",), ("simulate",)])
def test_an_incomplete_command_is_refused(ir2qsm: Callable[..., Any], arguments: Any) -> None:
    ran = ir2qsm(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert re.fullmatch(r"ir2qsm: .*; see: ir2qsm( \w+)? --help\.\n", ran.err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--snr", 0), "power SNR is 0; expected a positive number"),
        (("--voxel-size", 1, 1, 0), "voxel size is"),
        (("--seed", -1), "The seed is -1; expected a whole number from 0 to 2^63 - 1"),
        (("--seed", 2**63), "expected a whole number from 0 to 2^63 - 1"),
        (("--tilt", "nan"), "The tilt is nan degrees; expected a finite number"),
        (("--tilt", "inf"), "The tilt is inf degrees"),
    ],
)
def test_an_impossible_simulation_is_refused(
    ir2qsm: Callable[..., Any], tmp_path: Path, options: Any, message: str
) -> None:
    ran = ir2qsm("simulate", "--phantom", "--shape", 16, 16, 16, "-o", tmp_path / "sim", *options)
    assert ran.code == 2 and message in ran.err and "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("simulate", "--phantom", "--shape", 16, 16, 16), ("demo",)])
def test_a_folder_that_cannot_be_made_is_refused(ir2qsm: Callable[..., Any], tmp_path: Path, command: Any) -> None:
    (tmp_path / "file").touch()
    ran = ir2qsm(*command, "-o", tmp_path / "file")
    assert ran.code == 2
    assert ran.err.endswith("The folder 'file' cannot be made (File exists); choose another place for it.\n")
