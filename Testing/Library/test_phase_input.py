"""`reconstruct`, `fieldmap` and `inspect` from what scanners write: each option matters, and all is on record."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.field.sign import sign_balance
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline import reconstruct
from IR2QSMLib.preparation import prepare_phase
from IR2QSMLib.units import hz_per_ppm
from IR2QSMLib.volumes import LocalField
from Testing.Library.scanners import Scanner, head_scan

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
TIMES = (0.004, 0.010, 0.016)
SHAPE, VOXEL = (36, 42, 36), (4.4, 4.4, 4.4)


@dataclass(frozen=True)
class ScanFiles:
    """A simulated head's scan in several forms, its truth, and its own local field."""

    chi: Tensor
    local: LocalField
    total: Tensor
    bids: Path
    dicom: Path
    mask: Path
    phases: list[Path]
    magnitudes: list[Path]
    total_field: Path
    noise: Path


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory, write_volume: Any) -> ScanFiles:
    folder = tmp_path_factory.mktemp("scan")
    chi, local, total, phase, magnitude = head_scan(SHAPE, VOXEL, TIMES)
    grid, mask = local.grid, local.mask
    anat = folder / "bids" / "sub-1" / "anat"
    anat.mkdir(parents=True)
    files: dict[str, list[Path]] = {"phase": [], "mag": []}
    for n, te in enumerate(TIMES):
        for part, values in (("phase", phase), ("mag", magnitude)):
            path = anat / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz"
            write_volume(path, values[n], grid)
            header = {"EchoTime": te, "MagneticFieldStrength": 3, "Manufacturer": "Philips"}
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(header))
            files[part].append(path)
    columns = grid.matrix
    scanner = Scanner(folder / "dicom", "SIEMENS", TIMES, SHAPE, VOXEL, tuple(columns[:, :2].T.ravel()), grid.origin)
    scanner.siemens(phase.numpy(), magnitude.round().numpy())
    return ScanFiles(
        chi, local, total, folder / "bids", folder / "dicom", write_volume(folder / "mask.nii.gz", mask, grid),
        files["phase"], files["mag"], write_volume(folder / "total.nii.gz", total, grid),
        write_volume(folder / "noise.nii.gz", 0.01 + 0.0 * total, grid),
    )  # fmt: skip


@pytest.fixture
def chi(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> Callable[..., Tensor]:
    """The map that `reconstruct` makes of the scan, by Tikhonov; its warnings and provenance lie beside it."""

    def run(source: Path, *options: object, mask: Path | None = scan.mask) -> Tensor:
        masks = [] if mask is None else [mask]
        output = tmp_path / "chi.nii.gz"
        ran = ir2qsm("reconstruct", source, *masks, "-o", output, "--method", "tikhonov", "--device", "cpu", *options)
        assert ran.code == 0, ran.err
        (tmp_path / "said.txt").write_text(ran.err, encoding="utf-8")
        return read_volume(output)[0]

    return run


def agreement(a: Tensor, b: Tensor) -> float:
    """Correlation where both are valid."""
    inside = (a != 0) & (b != 0)
    return float(torch.corrcoef(torch.stack([a[inside], b[inside]]))[0, 1])


def differ(a: Tensor, b: Tensor) -> bool:
    return float((a - b).abs().max()) > 1e-4


def test_phase_from_bids_and_from_dicom_gives_the_susceptibility(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    from_bids, from_dicom = chi(scan.bids), chi(scan.dicom)
    told = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))
    assert agreement(from_bids, scan.chi) > 0.6 and agreement(from_dicom, from_bids) > 0.999
    field = told["Field"]
    assert field["input"] == "phase" and field["echo_times_s"] == list(TIMES) and field["b0_t"] == 3.0
    assert field["mask"] == "given" and field["mask_image"] == "mask.nii.gz"
    assert "13 bits" in field["scaling"] and field["background"]["removal"]["name"] == "VSharp"
    assert field["sign"] == {"turned_as_manufacturer_is_ge": False, "turned_by_user": False}
    assert len(field["images"]) == 6 and told["B0Direction"]["source"] == "image orientation"


def test_images_may_be_named_one_by_one(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    first, *more = scan.phases
    whole = chi(scan.bids)
    assert torch.equal(chi(first, "--echoes", *more, "--magnitude", *scan.magnitudes), whole)
    values = np.stack([nibabel.load(p).get_fdata(dtype=np.float32) for p in scan.phases], -1)
    four = tmp_path / "four.nii"
    nibabel.save(nibabel.Nifti1Image(values, nibabel.load(first).affine), four)
    known = ("--magnitude", *scan.magnitudes, "--te", *TIMES, "--b0", 3)
    assert not differ(chi(four, *known), whole)
    assert torch.allclose(chi(four, *known[:-1], 6.0), 0.5 * chi(four, *known), atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        ("--background", "pdf"), ("--background", "lbv"), ("--unwrapping", "laplacian"), ("--recover", "0"),
        ("--b0-direction", "0", "0.6", "0.8"), ("--phase-range", "-4", "4"),
    ],
)  # fmt: skip
def test_each_option_changes_the_map(options: tuple[str, ...], chi: Callable[..., Tensor], scan: ScanFiles) -> None:
    assert differ(chi(scan.bids, *options), chi(scan.bids))


def test_a_bipolar_readout_is_corrected_when_it_is_said(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    chi(scan.bids, "--bipolar")
    told = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]
    assert len(told["bipolar_rad_and_rad_per_mm"]) == 4


def test_the_sign_is_checked_and_can_be_turned(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    right = chi(scan.bids)
    assert "diamagnetic" not in (tmp_path / "said.txt").read_text(encoding="utf-8")
    turned = chi(scan.bids, "--flip-sign")
    assert "the sign of the phase may be turned; see --flip-sign" in (tmp_path / "said.txt").read_text(encoding="utf-8")
    assert agreement(turned, right) < -0.99
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]["sign"]["turned_by_user"]


def test_the_balance_of_a_heads_ends_tells_its_sign(scan: ScanFiles) -> None:
    field = LocalField(scan.local.values, scan.local.mask, scan.local.grid)
    assert sign_balance(field) > 0.15
    turned = LocalField(-scan.local.values, scan.local.mask, scan.local.grid)
    assert sign_balance(turned) == pytest.approx(-sign_balance(field), abs=0.01)
    few = LocalField(scan.local.values, torch.zeros_like(scan.local.mask), scan.local.grid)
    assert sign_balance(few) == 0.0


def test_without_a_mask_one_is_made_and_said(chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path) -> None:
    made = chi(scan.bids, mask=None)
    assert "The mask was made from the magnitude" in (tmp_path / "said.txt").read_text(encoding="utf-8")
    overlap = (made != 0) & scan.local.mask
    assert int(overlap.sum()) > 0.7 * int(scan.local.mask.sum())


def test_what_is_on_the_way_is_kept_on_request(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path, ir2qsm: Run
) -> None:
    usual = chi(scan.bids, "--keep", tmp_path / "kept")
    names = {p.name for p in (tmp_path / "kept").iterdir()}
    volumes = ("localfield", "mask", "totalfield", "residual", "quality", "noise", "inputmask", "magnitude")
    assert names == {*(f"{k}.nii.gz" for k in volumes), "params.json", "localfield.json"}
    total, mask = (read_volume(tmp_path / "kept" / f"{k}.nii.gz")[0] for k in ("totalfield", "inputmask"))
    error = (total - scan.total)[mask > 0]
    assert float((error - error.mean()).std()) < 0.02
    params = json.loads((tmp_path / "kept" / "params.json").read_text(encoding="utf-8"))
    assert params["TE"] == list(TIMES) and params["B0"] == 3.0 and params["voxel_size"] == pytest.approx(list(VOXEL))
    kept = tmp_path / "kept"
    again = chi(kept / "localfield.nii.gz", mask=kept / "mask.nii.gz")
    assert not differ(again, usual)
    ran = ir2qsm("fieldmap", scan.dicom, scan.mask, "-o", tmp_path / "map", "--device", "cpu")
    assert ran.code == 0 and "series 6, TE 4 ms" in ran.out and "SIEMENS" in ran.out
    local, _ = read_volume(tmp_path / "map" / "localfield.nii.gz")
    kept_local, _ = read_volume(kept / "localfield.nii.gz")
    assert agreement(local, kept_local) > 0.999
    assert {p.name for p in (tmp_path / "map").iterdir()} == names


def test_nothing_is_recovered_of_a_single_echo_unless_asked_for(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    one = (scan.phases[1], "--magnitude", scan.magnitudes[1])
    usual = chi(*one)
    assert not differ(usual, chi(*one, "--recover", 0)) and differ(usual, chi(*one, "--recover", 150))
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]["background"]["n_steps"] == 150


def test_a_networks_map_is_the_same_by_way_of_a_file_of_the_local_field(
    ir2qsm: Run, scan: ScanFiles, tmp_path: Path
) -> None:
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
    assert json.loads((tmp_path / "later.json").read_text(encoding="utf-8"))["Method"]["harmonic_part_recovered"]
    (folder / "localfield.json").write_text('{"HarmonicPartRecovered": false}', encoding="utf-8")
    assert ir2qsm("reconstruct", *field, "-o", later, *network).code == 0
    assert differ(read_volume(later)[0], read_volume(at_once)[0])


def test_the_direction_of_b0_that_was_given_goes_with_the_file(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path
) -> None:
    direction = ("--b0-direction", 0, 0.6, 0.8)
    at_once = chi(scan.bids, "--keep", tmp_path / "kept", *direction)
    kept = (tmp_path / "kept" / "localfield.nii.gz", tmp_path / "kept" / "mask.nii.gz")
    assert not differ(chi(kept[0], mask=kept[1]), at_once)
    assert differ(chi(kept[0], "--b0-direction", 0, 0, 1, mask=kept[1]), at_once)


def test_magnitude_noise_and_echo_spacing_come_with_the_field(scan: ScanFiles) -> None:
    found = prepare_phase(find_acquisition(scan.bids), scan.mask, device="cpu")
    assert found.local.echo_spacing == pytest.approx(0.006) and found.local.b0 == 3.0
    assert found.local.magnitude is not None and found.local.noise is not None
    assert float(found.local.noise[found.local.mask].median()) == pytest.approx(found.notes["field_noise_ppm"], rel=0.2)
    assert found.local.recovered and reconstruct(found, device="cpu").provenance["Method"]["harmonic_part_recovered"]
    result = reconstruct(found, method="medi", device="cpu")
    assert result.provenance["Field"] == found.notes and agreement(result.chi, scan.chi) > 0.6


def test_no_input_is_replaced_by_what_is_on_the_way(
    ir2qsm: Run, scan: ScanFiles, tmp_path: Path
) -> None:
    folder, other, file = tmp_path / "here", tmp_path / "other", tmp_path / "file"
    shutil.copytree(scan.bids, folder / "bids")
    bids, mask, total, noise = (folder / f"{n}{e}" for n, e in zip(("bids", "mask", "totalfield", "noise"),
                                ("", *[".nii.gz"] * 3), strict=True))  # fmt: skip
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
    for words, said in (
        (("fieldmap", bids, mask, "-o", folder), "mask.nii.gz would overwrite an input"),
        (("reconstruct", bids, mask, *chi, *keep), "mask.nii.gz would overwrite an input"),
        (("reconstruct", total, scan.mask, *a_total, *chi, *keep), "totalfield.nii.gz would overwrite an input"),
        (("reconstruct", scan.total_field, scan.mask, *a_total, *pdf, noise, *chi, *keep), "would overwrite an input"),
        (("reconstruct", bids, mask, *chi, "--mask-output", phase), "would be taken for an image of the scan"),
        (("fieldmap", bids, mask, "-o", bids), "magnitude.nii.gz would be taken for an image of the scan in 'bids'"),
        (("fieldmap", bids, mask, "-o", other), "params.json would overwrite a file of another program"),
        (("reconstruct", bids, mask, *chi, "--keep", file), "file is a file; give a folder"),
    ):  # fmt: skip
        ran = ir2qsm(*words)
        assert ran.code == 2 and said in ran.err, (said, ran.err)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "chi.nii.gz").exists() and [p.name for p in other.iterdir()] == ["params.json"]
    for words in (("-o", tmp_path / "again"), ("-o", tmp_path / "again")):      # its own files it may replace
        assert ir2qsm("fieldmap", bids, mask, *words, "--device", "cpu").code == 0
    local = (tmp_path / "again" / "localfield.nii.gz", tmp_path / "again" / "mask.nii.gz")
    ran = ir2qsm("reconstruct", *local, "-o", tmp_path / "again" / "localfield.mha", "--device", "cpu")
    assert ran.code == 2 and "localfield.json would overwrite an input" in ran.err


def test_what_was_found_and_decided_is_said(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    for words in (("fieldmap",), ("reconstruct", "--method", "tkd")):
        output = tmp_path / ("chi.nii.gz" if "reconstruct" in words else "field")
        said = ir2qsm(words[0], scan.bids, scan.mask, "-o", output, "--device", "cpu", *words[1:]).out
        assert "sub-1_echo-2_part-phase_MEGRE.nii.gz" in said and "Phase: " in said and "·value" in said
        left, given = map(int, re.findall(r"Mask: (\d+) of (\d+) voxels are left", said)[0])
        assert left < given == int(scan.local.mask.sum())


def test_a_total_field_is_taken_when_it_is_called_so(
    chi: Callable[..., Tensor], scan: ScanFiles, tmp_path: Path, write_volume: Any
) -> None:
    usual = chi(scan.total_field, "--input", "total-field", "--keep", tmp_path / "kept")
    assert agreement(usual, scan.chi) > 0.6
    assert (tmp_path / "kept" / "totalfield.nii.gz").exists()
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Field"]["input"] == "total field"
    maps = [usual, *(chi(scan.total_field, "--input", "total-field", *o) for o in (
        ("--background", "lbv"), ("--background", "pdf", "--noise", scan.noise), ("--recover", 0), ("--flip-sign",),
        ("--b0-direction", 0, 0.6, 0.8)))]  # fmt: skip
    assert all(differ(a, b) for i, a in enumerate(maps) for b in maps[:i])
    hz = write_volume(tmp_path / "hz.nii", scan.total * hz_per_ppm(3.0), scan.local.grid)
    assert torch.allclose(chi(hz, "--input", "total-field", "--units", "hz", "--b0", 3), usual, atol=1e-4)
    spoilt = scan.total.clone()
    spoilt[18, 20, 18] = math.nan
    chi(write_volume(tmp_path / "nan.nii", spoilt, scan.local.grid), "--input", "total-field")
    assert "1 voxels with NaN or infinite values were left out" in (tmp_path / "said.txt").read_text(encoding="utf-8")


def test_a_total_fields_magnitude_and_echo_time_reach_the_method(
    ir2qsm: Run, scan: ScanFiles, tmp_path: Path, write_volume: Any
) -> None:
    magnitude = write_volume(tmp_path / "mag.nii.gz", read_volume(scan.magnitudes[0])[0], scan.local.grid)
    usual = ("reconstruct", scan.total_field, scan.mask, "--input", "total-field", "--device", "cpu", "-o")
    made = {}
    for name, words in (
        ("plain", ("--method", "unet")), ("spared", ("--method", "unet", "--magnitude", magnitude)),
        ("medi", ("--method", "medi", "--b0", 3, "--te", 0.006, "--magnitude", magnitude, "--keep", tmp_path / "kept")),
    ):  # fmt: skip
        ran = ir2qsm(*usual, tmp_path / f"{name}.nii.gz", *words)
        assert ran.code == 0, ran.err
        made[name] = read_volume(tmp_path / f"{name}.nii.gz")[0]
    assert differ(made["spared"], made["plain"]) and agreement(made["medi"], scan.chi) > 0.6
    assert torch.equal(read_volume(tmp_path / "kept" / "magnitude.nii.gz")[0], read_volume(magnitude)[0])
    ran = ir2qsm("fieldmap", scan.bids, scan.mask, "-o", tmp_path / "f", "--noise", scan.noise)
    assert ran.code == 2 and "--noise goes with a field; of phase it is found from the echoes" in ran.err


def test_what_is_wrong_with_a_scan_is_said_below_its_table(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    shutil.copytree(scan.bids, tmp_path / "bids")
    next((tmp_path / "bids").rglob("*echo-3_part-mag*.nii.gz")).unlink()
    said = ir2qsm("inspect", tmp_path / "bids").out
    assert "sub-1_echo-3_part-phase_MEGRE.nii.gz" in said and "There are 3 phase images and 2 of magnitude" in said
    assert "unit: null" in said
    one = ir2qsm("inspect", scan.dicom, "--series", 6).out
    assert "series 6, TE 4 ms" in one and ir2qsm("inspect", scan.dicom, "--series", 99).out.count("no series 99") == 1


def test_phase_is_recognised_and_what_it_lacks_is_asked_for(
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
    assert "-1 steps of recovery" in refused("fieldmap", scan.bids, scan.mask, "-o", tmp_path / "f", "--recover", -1)
    assert not (tmp_path / "f").exists() and not (tmp_path / "chi.nii").exists()


def test_the_pages_examples_run(scan: ScanFiles, ir2qsm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_inspect_says_what_a_scan_is(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> None:
    ran = ir2qsm("inspect", scan.dicom, "--json")
    (found,) = ran.events()
    assert found["kind"] == "scan" and found["echo_times_s"] == list(TIMES) and found["manufacturer"] == "SIEMENS"
    assert "13 bits" in found["scaling"] and len(found["images"]) == 6 and found["problems"] == []
    people = ir2qsm("inspect", scan.bids)
    assert people.code == 0 and "sub-1_echo-2_part-mag_MEGRE.nii.gz" in people.out and "echo_times_s" in people.out
    (one,) = ir2qsm("inspect", scan.phases[0], "--json").events()
    assert one["kind"] == "wrapped phase" and one["echo_time_s"] == TIMES[0] and "±π" in one["scaling"]
    (tmp_path / "empty").mkdir()
    (empty,) = ir2qsm("inspect", tmp_path / "empty", "--json").events()
    assert empty["kind"] == "unknown" and "holds neither NIfTI nor DICOM" in empty["problems"][0]
