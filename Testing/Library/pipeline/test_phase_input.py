"""`reconstruct` and `fieldmap` from phase and total fields: each option matters, and the record is complete."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.sign import sign_balance
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.metadata import FieldMetadata
from IR2QSMLib.pipeline.preprocess import PreprocessingOptions, preprocess_phase, preprocess_total_field
from IR2QSMLib.pipeline.reconstruct import reconstruct
from Testing.Library.pipeline.scan_files import ROOT, TIMES, Run, ScanFiles, agreement, differ


def test_phase_from_bids_and_from_dicom_gives_the_susceptibility(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    from_bids, from_dicom = chi(scan.bids), chi(scan.dicom)
    record = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))
    assert agreement(from_bids, scan.chi) > 0.6 and agreement(from_dicom, from_bids) > 0.999
    field = record["Field"]
    assert field["input"] == "phase" and field["echo_times_s"] == list(TIMES) and field["b0_t"] == 3.0
    assert field["mask"] == "given" and field["mask_image"] == "mask.nii.gz"
    assert "13 bits" in field["scaling"] and field["background"]["removal"]["name"] == "VSharp"
    assert field["sign"] == {"turned_as_manufacturer_is_ge": False, "turned_by_user": False}
    assert len(field["images"]) == 6 and record["B0Direction"]["source"] == "image orientation"


def test_images_may_be_named_one_by_one(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    first, *more = scan.phases
    from_folder = chi(scan.bids)
    assert torch.equal(chi(first, "--echoes", *more, "--magnitude", *scan.magnitudes), from_folder)
    values = np.stack([nibabel.load(p).get_fdata(dtype=np.float32) for p in scan.phases], -1)
    four = tmp_path / "four.nii"
    nibabel.save(nibabel.Nifti1Image(values, nibabel.load(first).affine), four)
    known = ("--magnitude", *scan.magnitudes, "--te", *TIMES, "--b0", 3)
    assert not differ(chi(four, *known), from_folder)
    assert torch.allclose(chi(four, *known[:-1], 6.0), 0.5 * chi(four, *known), atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        ("--background", "pdf"),
        ("--background", "lbv"),
        ("--unwrapping", "laplacian"),
        ("--completion-steps", "0"),
        ("--b0-direction", "0", "0.6", "0.8"),
        ("--phase-range", "-4", "4"),
    ],
)
def test_each_option_changes_the_map(options: tuple[str, ...], chi: Callable[..., Tensor], scan: ScanFiles) -> None:
    assert differ(chi(scan.bids, *options), chi(scan.bids))


def test_a_bipolar_readout_is_corrected_on_request(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    chi(scan.bids, "--bipolar")
    record = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]
    assert len(record["bipolar_rad_and_rad_per_mm"]) == 4


def test_the_sign_can_be_flipped(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    right = chi(scan.bids)
    assert "diamagnetic" not in (tmp_path / "warnings.txt").read_text(encoding="utf-8")
    flipped = chi(scan.bids, "--flip-sign")
    assert agreement(flipped, right) < -0.99
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]["sign"]["turned_by_user"]


def test_the_sign_balance_shows_the_sign_of_a_head(scan: ScanFiles) -> None:
    field = LocalField(scan.local.values, scan.local.mask, scan.local.grid)
    assert sign_balance(field) > 0.15
    flipped = LocalField(-scan.local.values, scan.local.mask, scan.local.grid)
    assert sign_balance(flipped) == pytest.approx(-sign_balance(field), abs=0.01)
    few = LocalField(scan.local.values, torch.zeros_like(scan.local.mask), scan.local.grid)
    assert sign_balance(few) == 0.0


def test_without_a_mask_one_is_made_with_a_warning(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    made = chi(scan.bids, mask=None)
    assert "The mask was made from the magnitude" in (tmp_path / "warnings.txt").read_text(encoding="utf-8")
    overlap = (made != 0) & scan.local.mask
    assert int(overlap.sum()) > 0.7 * int(scan.local.mask.sum())


def test_of_a_single_echo_no_harmonic_part_is_estimated_by_default(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    one = (scan.phases[1], "--magnitude", scan.magnitudes[1])
    default = chi(*one)
    assert not differ(default, chi(*one, "--recover", 0)) and differ(default, chi(*one, "--recover", 150))
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]["background"]["n_steps"] == 150


def test_magnitude_noise_and_echo_spacing_come_with_the_field(scan: ScanFiles) -> None:
    preprocessed = preprocess_phase(find_acquisition(scan.bids), scan.mask, device="cpu")
    assert preprocessed.local.echo_spacing == pytest.approx(0.006) and preprocessed.local.b0 == 3.0
    assert preprocessed.local.magnitude is not None and preprocessed.local.noise is not None
    assert float(preprocessed.local.noise[preprocessed.local.mask].median()) == pytest.approx(
        preprocessed.notes["field_noise_ppm"], rel=0.2
    )
    assert preprocessed.local.harmonic_completed
    result = reconstruct(preprocessed, method="medi", device="cpu")
    assert result.provenance["Field"] == preprocessed.notes and agreement(result.chi, scan.chi) > 0.6


def test_a_total_field_is_preprocessed_when_named_as_one(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path, write_volume: Any
) -> None:
    default = chi(scan.total_field, "--input", "total-field", "--keep", tmp_path / "kept")
    assert agreement(default, scan.chi) > 0.6
    assert (tmp_path / "kept" / "totalfield.nii.gz").exists()
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]["input"] == "total field"
    maps = [
        default,
        *(
            chi(scan.total_field, "--input", "total-field", *o)
            for o in (
                ("--background", "lbv"),
                ("--background", "pdf", "--noise", scan.noise),
                ("--completion-steps", 0),
                ("--flip-sign",),
                ("--b0-direction", 0, 0.6, 0.8),
            )
        ),
    ]
    assert all(differ(a, b) for i, a in enumerate(maps) for b in maps[:i])
    hz = write_volume(tmp_path / "hz.nii", scan.total * hz_per_ppm(3.0), scan.local.grid)
    assert torch.allclose(chi(hz, "--input", "total-field", "--units", "hz", "--b0", 3), default, atol=1e-4)
    spoilt = scan.total.clone()
    spoilt[18, 20, 18] = math.nan
    chi(write_volume(tmp_path / "nan.nii", spoilt, scan.local.grid), "--input", "total-field")
    assert "1 voxels with NaN or infinite values were left out" in (tmp_path / "warnings.txt").read_text(
        encoding="utf-8"
    )


def test_a_total_field_in_a_template_space_gets_a_warning_about_b0(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    image = nibabel.load(scan.total_field)
    with_direction = ("--b0-direction", 0, 0, 1)
    for code, direction, warned in ((4, (), True), (3, (), True), (2, (), False), (4, with_direction, False)):
        total = nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), None)
        total.header.set_sform(image.affine, code)
        total.header.set_zooms(image.header.get_zooms())
        nibabel.save(total, tmp_path / "total.nii")
        chi(tmp_path / "total.nii", "--input", "total-field", "--recover", 0, *direction)
        warnings = (tmp_path / "warnings.txt").read_text(encoding="utf-8")
        assert ("lies in a template's space (code 3 or 4)" in warnings) == warned


def test_mask_and_noise_of_a_total_field_may_have_another_axis_order(
    scan: ScanFiles, tmp_path: Path, write_volume: Any
) -> None:
    uneven = 0.01 + read_volume(scan.magnitudes[0])[0].clamp_min(1.0).reciprocal()
    made = []
    for axes in ([], [1]):
        grid = scan.local.grid.reoriented((0, 1, 2), (False, bool(axes), False))
        mask = write_volume(tmp_path / "mask.nii", scan.local.mask.flip(axes), grid)
        noise = write_volume(tmp_path / "noise.nii", uneven.flip(axes), grid)
        steps = PreprocessingOptions(background="pdf", completion_steps=0)
        made.append(
            preprocess_total_field(
                scan.total_field, mask, metadata=FieldMetadata(noise=noise, magnitude=noise), steps=steps, device="cpu"
            )
        )
    one, two = made
    assert torch.equal(one.local.values, two.local.values)
    assert torch.equal(one.intermediates["magnitude"], two.intermediates["magnitude"])


def test_a_total_fields_magnitude_and_echo_time_reach_the_method(
    ir2qsm: Run, scan: ScanFiles, tmp_path: Path, write_volume: Any
) -> None:
    magnitude = write_volume(tmp_path / "mag.nii.gz", read_volume(scan.magnitudes[0])[0], scan.local.grid)
    default = ("reconstruct", scan.total_field, scan.mask, "--input", "total-field", "--device", "cpu", "-o")
    made = {}
    for name, words in (
        ("plain", ("--method", "unet")),
        ("shown", ("--method", "unet", "--magnitude", magnitude)),
        ("medi", ("--method", "medi", "--b0", 3, "--te", 0.006, "--magnitude", magnitude, "--keep", tmp_path / "kept")),
    ):
        ran = ir2qsm(*default, tmp_path / f"{name}.nii.gz", *words)
        assert ran.code == 0, ran.err
        made[name] = read_volume(tmp_path / f"{name}.nii.gz")[0]
    assert torch.equal(made["shown"], made["plain"]) and agreement(made["medi"], scan.chi) > 0.6
    assert torch.equal(read_volume(tmp_path / "kept" / "magnitude.nii.gz")[0], read_volume(magnitude)[0])
    ran = ir2qsm("fieldmap", scan.bids, scan.mask, "-o", tmp_path / "f", "--noise", scan.noise)
    assert ran.code == 2 and "--noise goes with a field; of phase it is estimated from the echoes" in ran.err


def test_phase_is_recognised_and_missing_metadata_is_named(
    ir2qsm: Run, scan: ScanFiles, tmp_path: Path, write_volume: Any
) -> None:
    def refused(*arguments: object) -> str:
        ran = ir2qsm(*arguments)
        assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
        return str(ran.err)

    chi = ("-o", tmp_path / "chi.nii")
    plain = tmp_path / "volume.nii.gz"
    plain.write_bytes(scan.phases[2].read_bytes())
    assert "1 phase image came without any magnitude" in refused("reconstruct", plain, scan.mask, *chi)
    with_magnitude = ("reconstruct", plain, scan.mask, *chi, "--magnitude", tmp_path / "mag.nii.gz")
    (tmp_path / "mag.nii.gz").write_bytes(scan.magnitudes[2].read_bytes())
    assert "No echo time is known of volume.nii.gz" in refused(*with_magnitude)
    assert "No field strength is known of volume.nii.gz" in refused(*with_magnitude, "--te", 0.016)
    assert "came without a mask" in refused("reconstruct", scan.total_field, *chi, "--input", "total-field")
    assert "came without a mask" in refused("reconstruct", scan.total_field, *chi, "--input", "local-field")
    strong = write_volume(tmp_path / "strong.nii", 10.0 * scan.total, scan.local.grid)
    assert "of a total field say --input total-field" in refused("reconstruct", strong, scan.mask, *chi)
    wrong_range = ("fieldmap", scan.bids, scan.mask, "-o", tmp_path / "f", "--phase-range", 0, 0.1)
    assert "Say which numbers stand for −π and π with --phase-range" in refused(*wrong_range)
    stronger = write_volume(tmp_path / "stronger.nii", 90.0 * scan.total, scan.local.grid)
    total = ("reconstruct", stronger, scan.mask, *chi, "--input", "total-field")
    assert "Read in ppm, the field's 99th percentile is" in refused(*total)
    assert "PDF weighs every voxel by its noise" in refused(
        "reconstruct", scan.total_field, scan.mask, *chi, "--input", "total-field", "--background", "pdf"
    )
    assert "--flip-sign does not go with a local field" in refused(
        "reconstruct", scan.total_field, scan.mask, *chi, "--flip-sign"
    )
    assert "--series does not go with a total field" in refused(
        "reconstruct", scan.total_field, scan.mask, *chi, "--series", 3, "--input", "total-field"
    )
    assert "phase, which has no --units" in refused("reconstruct", plain, scan.mask, *chi, "--units", "hz")
    assert "which is where fieldmap ends" in refused("fieldmap", scan.total_field, scan.mask, "-o", tmp_path / "f")
    assert "-1 steps of harmonic completion" in refused(
        "fieldmap", scan.bids, scan.mask, "-o", tmp_path / "f", "--completion-steps", -1
    )
    assert not (tmp_path / "f").exists() and not (tmp_path / "chi.nii").exists()


def test_the_examples_of_the_page_on_phase_run(
    scan: ScanFiles, ir2qsm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, source in (("dicom", scan.dicom), ("bids", scan.bids), ("mask.nii.gz", scan.mask)):
        (tmp_path / name).symlink_to(source)
    monkeypatch.chdir(tmp_path)
    (shell,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "phase.md").read_text(encoding="utf-8"), re.DOTALL)
    for line in shell.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "ir2qsm"
        ran = ir2qsm(*arguments, *([] if arguments[0] == "inspect" else ["--device", "cpu"]))
        assert ran.code == 0, ran.err
    assert (tmp_path / "steps" / "totalfield.nii.gz").exists() and (tmp_path / "again.nii.gz").exists()
