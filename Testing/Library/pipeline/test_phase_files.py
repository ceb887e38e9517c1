"""From phase to local field: which files are written, read back, printed, and never overwritten."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.io.images import read_volume
from Testing.Library.pipeline.scan_files import SHAPE, TIMES, VOXEL, Run, ScanFiles, agreement, differ
from Testing.Library.scanners import Scanner


def test_intermediates_are_written_on_request(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path, ir2qsm: Run
) -> None:
    expected = chi(scan.bids, "--keep", tmp_path / "kept")
    names = {p.name for p in (tmp_path / "kept").iterdir()}
    volumes = ("localfield", "mask", "totalfield", "residual", "quality", "noise", "inputmask", "magnitude")
    assert names == {*(f"{k}.nii.gz" for k in volumes), "params.json", "localfield.json", "totalfield.json"}
    total, mask = (read_volume(tmp_path / "kept" / f"{k}.nii.gz")[0] for k in ("totalfield", "inputmask"))
    error = (total - scan.total)[mask > 0]
    assert float((error - error.mean()).std()) < 0.02
    params = json.loads((tmp_path / "kept" / "params.json").read_text(encoding="utf-8"))
    assert params["TE"] == list(TIMES) and params["B0"] == 3.0 and params["voxel_size"] == pytest.approx(list(VOXEL))
    kept_folder = tmp_path / "kept"
    repeated = chi(kept_folder / "localfield.nii.gz", mask=kept_folder / "mask.nii.gz")
    assert not differ(repeated, expected)
    ran = ir2qsm("fieldmap", scan.dicom, scan.mask, "-o", tmp_path / "map", "--device", "cpu")
    assert ran.code == 0 and "series 6, TE 4 ms" in ran.out and "SIEMENS" in ran.out
    local, _ = read_volume(tmp_path / "map" / "localfield.nii.gz")
    kept_local, _ = read_volume(kept_folder / "localfield.nii.gz")
    assert agreement(local, kept_local) > 0.999
    assert {p.name for p in (tmp_path / "map").iterdir()} == names


def test_a_networks_map_from_a_written_local_field_is_the_same(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    folder, at_once, later = tmp_path / "field", tmp_path / "at_once.nii.gz", tmp_path / "later.nii.gz"
    field = (folder / "localfield.nii.gz", folder / "mask.nii.gz", "--magnitude", folder / "magnitude.nii.gz")
    network = ("--method", "unet", "--device", "cpu")
    for words in (
        ("fieldmap", scan.bids, scan.mask, "-o", folder, "--device", "cpu"),
        ("reconstruct", scan.bids, scan.mask, "-o", at_once, *network),
        ("reconstruct", *field, "-o", later, *network),
    ):
        assert ir2qsm(*words).code == 0
    assert not differ(read_volume(later)[0], read_volume(at_once)[0])


def test_the_users_b0_direction_is_stored_with_the_file(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    direction = ("--b0-direction", 0, 0.6, 0.8)
    at_once = chi(scan.bids, "--keep", tmp_path / "kept", *direction)
    files_kept = (tmp_path / "kept" / "localfield.nii.gz", tmp_path / "kept" / "mask.nii.gz")
    assert not differ(chi(files_kept[0], mask=files_kept[1]), at_once)
    assert differ(chi(files_kept[0], "--b0-direction", 0, 0, 1, mask=files_kept[1]), at_once)
    total = (tmp_path / "kept" / "totalfield.nii.gz", "--input", "total-field")
    from_total = chi(*total)
    assert not differ(from_total, chi(*total, *direction)) and differ(
        from_total, chi(*total, "--b0-direction", 0, 0, 1)
    )
    assert set(json.loads((tmp_path / "kept" / "totalfield.json").read_text(encoding="utf-8"))) == {
        "Units",
        "Quantity",
        "Software",
        "B0_dir",
    }
    chi(scan.bids, "--keep", tmp_path / "kept")  # another run's direction does not stay
    assert differ(chi(*total), from_total)


def test_intermediates_never_replace_an_input(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    folder, other, file = tmp_path / "here", tmp_path / "other", tmp_path / "file"
    shutil.copytree(scan.bids, folder / "bids")
    bids, mask, total, noise = (
        folder / f"{n}{e}" for n, e in zip(("bids", "mask", "totalfield", "noise"), ("", *[".nii.gz"] * 3), strict=True)
    )
    for path, source in ((mask, scan.mask), (total, scan.total_field), (noise, scan.noise)):
        path.write_bytes(source.read_bytes())
    other.mkdir()
    (other / "params.json").write_text("{}", encoding="utf-8")
    file.write_bytes(b"")
    phase = next(bids.rglob("*part-phase*.nii.gz"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    chi = ("-o", tmp_path / "chi.nii.gz", "--method", "tkd", "--device", "cpu")
    a_total, keep = ("--input", "total-field"), ("--keep", folder)
    pdf = ("--background", "pdf", "--noise")
    for words, output_text in (
        (("fieldmap", bids, mask, "-o", folder), "mask.nii.gz would overwrite an input"),
        (("reconstruct", bids, mask, *chi, *keep), "mask.nii.gz would overwrite an input"),
        (("reconstruct", total, scan.mask, *a_total, *chi, *keep), "totalfield.nii.gz would overwrite an input"),
        (("reconstruct", scan.total_field, scan.mask, *a_total, *pdf, noise, *chi, *keep), "would overwrite an input"),
        (("reconstruct", bids, mask, *chi, "--mask-output", phase), "would be taken for an image of the scan"),
        (("fieldmap", bids, mask, "-o", bids), "magnitude.nii.gz would be taken for an image of the scan in 'bids'"),
        (("fieldmap", bids, mask, "-o", other), "params.json would overwrite a file of another program"),
        (("reconstruct", bids, mask, *chi, "--keep", file), "file is a file; give a folder"),
        (("reconstruct", bids, scan.mask, *chi, "--reference", mask, *keep), "mask.nii.gz would overwrite an input"),
    ):
        ran = ir2qsm(*words)
        assert ran.code == 2 and output_text in ran.err, (output_text, ran.err)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "chi.nii.gz").exists() and [p.name for p in other.iterdir()] == ["params.json"]
    for words in (("-o", tmp_path / "again"), ("-o", tmp_path / "again")):  # its own files it may replace
        assert ir2qsm("fieldmap", bids, mask, *words, "--device", "cpu").code == 0
    local = (tmp_path / "again" / "localfield.nii.gz", tmp_path / "again" / "mask.nii.gz")
    ran = ir2qsm("reconstruct", *local, "-o", tmp_path / "again" / "localfield.mha", "--device", "cpu")
    assert ran.code == 2 and "localfield.json would overwrite an input" in ran.err


def test_a_map_beside_the_dicom_files_of_a_scan_does_not_hide_them(
    ir2qsm: Run, scan: ScanFiles, tmp_path: Path
) -> None:
    shutil.copytree(scan.dicom, tmp_path / "dicom")
    for _ in range(2):
        chi = ("-o", tmp_path / "dicom" / "chi.nii.gz", "--method", "tkd", "--device", "cpu")
        ran = ir2qsm("reconstruct", tmp_path / "dicom", scan.mask, *chi)
        assert ran.code == 0, ran.err


def test_images_scaling_and_mask_are_printed_for_people_only(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    for words in (("fieldmap",), ("reconstruct", "--method", "tkd")):
        output = tmp_path / ("chi.nii.gz" if "reconstruct" in words else "field")
        command = (words[0], scan.bids, scan.mask, "-o", output, "--device", "cpu", *words[1:])
        output_text = ir2qsm(*command).out
        assert (
            "sub-1_echo-2_part-phase_MEGRE.nii.gz" in output_text
            and "Phase: " in output_text
            and "·value" in output_text
        )
        n_left, n_mask = map(int, re.findall(r"Mask: (\d+) of (\d+) voxels are left", output_text)[0])
        assert n_left < n_mask == int(scan.local.mask.sum())
        for_programs = ir2qsm(*command, "--progress", "json")
        assert (
            for_programs.code == 0 and (for_programs.out + for_programs.err).isascii()
        )  # Slicer may read with another encoding


def test_inspect_lists_problems_below_the_table(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    shutil.copytree(scan.bids, tmp_path / "bids")
    next((tmp_path / "bids").rglob("*echo-3_part-mag*.nii.gz")).unlink()
    output_text = ir2qsm("inspect", tmp_path / "bids").out
    assert (
        "sub-1_echo-3_part-phase_MEGRE.nii.gz" in output_text
        and "There are 3 phase images and 2 of magnitude" in output_text
    )
    assert "unit: null" in output_text
    one = ir2qsm("inspect", scan.dicom, "--series", 6).out
    assert "series 6, TE 4 ms" in one and ir2qsm("inspect", scan.dicom, "--series", 99).out.count("no series 99") == 1


def test_inspect_describes_a_scan(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    ran = ir2qsm("inspect", scan.dicom, "--json")
    (description,) = ran.events()
    assert (
        description["kind"] == "scan"
        and description["echo_times_s"] == list(TIMES)
        and description["manufacturer"] == "SIEMENS"
    )
    assert "13 bits" in description["scaling"] and len(description["images"]) == 6 and description["problems"] == []
    people = ir2qsm("inspect", scan.bids)
    assert people.code == 0 and "sub-1_echo-2_part-mag_MEGRE.nii.gz" in people.out and "echo_times_s" in people.out
    (one,) = ir2qsm("inspect", scan.phases[0], "--json").events()
    assert one["kind"] == "wrapped phase" and one["echo_time_s"] == TIMES[0] and "±π" in one["scaling"]
    parts = {"name": "radians, ±π", "slope": 1.0, "intercept": 0.0, "needs_confirmation": False, "unit_is_known": True}
    assert one["phase_scaling"] == parts and description["phase_scaling"]["name"] in description["scaling"]
    assert "phase_scaling" not in people.out
    (tmp_path / "empty").mkdir()
    (empty,) = ir2qsm("inspect", tmp_path / "empty", "--json").events()
    assert empty["kind"] == "unknown" and "holds neither NIfTI nor DICOM" in empty["problems"][0]


def slope(values: Tensor, truth: Tensor) -> float:
    """Of the line through values against the truth, where both are valid."""
    inside = (values != 0) & (truth != 0)
    a, b = values[inside] - values[inside].mean(), truth[inside] - truth[inside].mean()
    return float(a @ b / (b @ b))


def test_named_parts_of_a_time_series_become_a_map(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    images = [nibabel.load(p) for p in (*scan.phases, *scan.magnitudes)]
    phase, magnitude = np.stack([i.get_fdata() for i in images]).reshape(2, len(TIMES), *SHAPE)
    signal = np.moveaxis(magnitude * np.exp(-1j * phase), 0, -1)  # GE's phase falls as the field grows
    empty = np.ones_like(signal)
    (tmp_path / "scan").mkdir()
    for name, part in (("one", np.real), ("two", np.imag)):
        series = np.stack([part(empty), part(signal), part(-signal * 1j)], -1).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(series, images[0].affine), tmp_path / "scan" / f"{name}.nii.gz")
    parts = ("--real", "one.nii.gz", "--imaginary", "two.nii.gz", "--te", *TIMES, "--b0", 3)
    values = chi(tmp_path / "scan", *parts, "--volume", 2, "--manufacturer", "GE", "--completion-steps", 0)
    assert agreement(values, scan.chi) > 0.6 and 0.4 < slope(values, scan.chi) < 1.2


def test_field_map_of_dicom_becomes_a_map(
    chi: Callable[..., Tensor], ir2qsm: Run, scan: ScanFiles, tmp_path: Path
) -> None:
    hz = scan.total.numpy() * hz_per_ppm(3.0)
    grid = scan.local.grid
    scanner = Scanner(
        tmp_path / "b0", "Philips", (0.007,), SHAPE, VOXEL, tuple(grid.matrix[:, :2].T.ravel()), grid.origin
    )
    stored = ((hz + 2000.0) / 4000.0 * 65535).round().clip(0, 65535)[None]
    image_type = ["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"]
    for series in (3, 4):
        scanner.write("b0", stored, series=series, image_type=image_type, slope=4000.0 / 65535, intercept=-2000.0)
    several = ir2qsm("reconstruct", tmp_path / "b0", scan.mask, "-o", tmp_path / "a.nii", "--method", "tkd")
    assert several.code == 2 and "holds 2 total fields" in several.err and "--series" in several.err
    values = chi(tmp_path / "b0", "--series", 4, "--completion-steps", 0)
    assert agreement(values, scan.chi) > 0.6 and 0.4 < slope(values, scan.chi) < 1.2
    (described,) = ir2qsm("inspect", tmp_path / "b0", "--series", 4, "--json").events()
    assert (described["kind"], described["unit"], described["b0_t"]) == ("total field", "hz", 3.0)
    assert math.isclose(described["range"][1], float(torch.from_numpy(hz).max()), abs_tol=0.1)
