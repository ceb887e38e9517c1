"""The command `ir2qsm`: every option changes the result, and every command answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import IR2QSMLib
from IR2QSMLib.cli import main as cli
from IR2QSMLib.core.units import GYROMAGNETIC_RATIO
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.simulation.cases import Case, simulate

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def chi(ir2qsm: Run, case: Any, tmp_path: Path) -> Callable[..., Tensor]:
    """The map that `reconstruct` writes with these options; by TKD unless said otherwise."""

    def run(*options: object, field: Path = case.field, mask: Path = case.mask, method: str = "tkd") -> Tensor:
        output = tmp_path / "chi.nii.gz"
        ran = ir2qsm("reconstruct", field, mask, "-o", output, "--method", method, "--device", "cpu", *options)
        assert ran.code == 0, ran.err
        return read_volume(output)[0]

    return run


def differ(a: Tensor, b: Tensor) -> bool:
    return float((a - b).abs().max()) > 1e-4


# -- reconstruct ------------------------------------------------------------------------------------------------------


def test_units_b0_and_echo_time_scale_the_result(
    chi: Callable[..., Tensor], case: Any, write_volume: Any, tmp_path: Path
) -> None:
    expected = chi()
    hz = write_volume(tmp_path / "hz.nrrd", case.local.values * GYROMAGNETIC_RATIO * 3, case.local.grid)
    phase = case.local.values * GYROMAGNETIC_RATIO * 3 * 2 * np.pi * 0.09
    rad = write_volume(tmp_path / "rad.nrrd", phase, case.local.grid)
    by_hz = chi("--units", "hz", "--b0", 3, field=hz)
    by_rad = chi("--units", "rad", "--b0", 3, "--te", 0.09, field=rad)
    assert float((by_hz - expected).abs().max()) < 1e-5 > float((by_rad - expected).abs().max())
    assert torch.allclose(chi("--units", "hz", "--b0", 6, field=hz), 0.5 * expected, atol=1e-5)
    assert torch.allclose(chi("--units", "rad", "--b0", 3, "--te", 0.045, field=rad), 2 * expected, atol=1e-5)


def test_methods_and_their_parameters_change_the_result(chi: Callable[..., Tensor]) -> None:
    maps = [
        chi(),
        chi("--threshold", 0.3),
        chi(method="tikhonov"),
        chi("--regularisation", 0.1, method="tikhonov"),
        chi(method="ir2qsm"),
        chi("--regularisation-factor", 0.1, method="ir2qsm"),
    ]
    assert all(differ(a, b) for i, a in enumerate(maps) for b in maps[:i])
    assert torch.equal(chi("--threshold", 0.15), maps[0])
    assert torch.equal(chi("--regularisation", 0.01, method="tikhonov"), maps[2])
    assert torch.equal(chi("--strength", 0.1, method="tikhonov"), maps[3])  # its name in the version before


def test_data_consistency_can_be_switched_off(
    chi: Callable[..., Tensor], make_weights: Any, tiny_whole_brain: Path, tmp_path: Path
) -> None:
    chi = partial(chi, "--weights", make_weights(), method="ir2qsm")
    default = chi()
    method = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Method"]
    assert method["parameters"]["network_only"] is False
    without = chi("--network-only")
    assert differ(without, default)
    method = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Method"]
    assert method["parameters"]["network_only"] is True
    assert torch.equal(chi("--consistency", 0), without)  # as in the version before


def test_weights_change_the_result(chi: Callable[..., Tensor], make_weights: Any, tiny_whole_brain: Path) -> None:
    first, second = make_weights(seed=1), make_weights(seed=2)
    maps = [chi(method="ir2qsm"), *(chi("--weights", w, method="ir2qsm") for w in (first, second))]
    assert differ(maps[0], maps[1]) and differ(maps[1], maps[2])


def test_a_tile_changes_the_result_little_and_gives_a_warning(
    chi: Callable[..., Tensor],
    ir2qsm: Run,
    make_weights: Any,
    write_volume: Any,
    tiny_whole_brain: Path,
    tmp_path: Path,
) -> None:
    _, local = simulate(Case(8, 40.0, (56, 40, 33), (2.8, 3.0, 3.4), 20.0, phantom=True))  # longer than a tile
    field = write_volume(tmp_path / "f.nrrd", local.values, local.grid)
    mask, weights = write_volume(tmp_path / "m.nrrd", local.mask, local.grid), make_weights()
    untiled = chi("--weights", weights, field=field, mask=mask, method="ir2qsm")
    ran = ir2qsm("reconstruct", field, mask, "-o", tmp_path / "t.mha", "--weights", weights, "--tile", 64)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("warning: The volume was inverted in blended tiles of 64 voxels.\n")
    tiled, _ = read_volume(tmp_path / "t.mha")
    assert 0.0 < float((tiled - untiled).abs().max()) < float(untiled.abs().max())
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["Method"]["tile"] == 64


def test_b0_direction_changes_the_result(chi: Callable[..., Tensor], case: Any) -> None:
    x, y, z = case.local.grid.b0_direction
    assert float((chi("--b0-direction", 2 * x, 2 * y, 2 * z) - chi()).abs().max()) < 1e-5
    assert torch.allclose(chi("--b0-direction", -x, -y, -z), chi(), atol=1e-3)  # rounding at TKD's threshold
    assert differ(chi("--b0-direction", 0, -0.5, 1), chi())


def test_mask_labels_change_the_result(
    chi: Callable[..., Tensor], case: Any, write_volume: Any, tmp_path: Path
) -> None:
    labels = case.local.mask.to(torch.uint8)
    labels[18:] *= 2
    labels[:, :14] *= 3
    path = write_volume(tmp_path / "labels.nrrd", labels, case.local.grid)
    result = chi("--mask-labels", 1, 2, mask=path)
    assert bool((result[(labels == 1) | (labels == 2)] != 0).any())
    assert float(result[(labels == 3) | (labels == 6)].abs().max()) == 0.0
    assert torch.allclose(chi("--mask-labels", 1, 2, 3, 6, mask=path), chi(), atol=1e-6)


def test_non_finite_values_can_leave_the_mask(ir2qsm: Run, case: Any, write_volume: Any, tmp_path: Path) -> None:
    values = case.local.values.clone()
    x, y, z = case.local.mask.nonzero()[7].tolist()
    values[x, y, z] = torch.nan
    field = write_volume(tmp_path / "f.nii.gz", values, case.local.grid)
    arguments = ("reconstruct", field, case.mask, "-o", tmp_path / "chi.nii.gz", "--method", "tkd")
    assert ir2qsm(*arguments).code == 2
    ran = ir2qsm(*arguments, "--non-finite", "mask", "--mask-output", tmp_path / "valid.nii.gz")
    assert ran.code == 0 and ran.err == "warning: 1 voxels with NaN or infinite values were left out of the mask.\n"
    valid = read_volume(tmp_path / "valid.nii.gz")[0] > 0
    expected = case.local.mask.clone()
    expected[x, y, z] = False
    assert torch.equal(valid, expected)


def test_references_change_the_result_by_a_constant(
    chi: Callable[..., Tensor], case: Any, write_volume: Any, tmp_path: Path
) -> None:
    inside = case.local.mask
    region = torch.zeros(inside.shape, dtype=torch.uint8)
    region[12:18, 15:25, 10:20] = 5
    path = write_volume(tmp_path / "region.nrrd", region, case.local.grid)
    raw, mean, by_region = chi("--reference", "none"), chi(), chi("--reference", path)
    assert torch.equal(mean, chi("--reference", "mean"))
    assert abs(float(mean[inside].double().mean())) < 1e-7
    assert abs(float(by_region[(region > 0) & inside].double().mean())) < 1e-7
    for result in (mean, by_region):
        shift = (raw - result)[inside]
        assert float(shift.abs().min()) > 1e-5 and float(shift.std()) < 1e-7
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Reference"]["region"] == "mean"


def test_uncertainty_and_mask_are_written_where_asked(
    ir2qsm: Run, case: Any, make_weights: Any, tmp_path: Path
) -> None:
    ran = ir2qsm(
        "reconstruct",
        case.field,
        case.mask,
        "-o",
        tmp_path / "chi.nrrd",
        "--weights",
        make_weights(uncertainty=True),
        "--uncertainty",
        tmp_path / "sigma.nrrd",
        "--mask-output",
        tmp_path / "valid.nrrd",
        "--progress",
        "none",
    )
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chi.json", "chi.nrrd", "sigma.nrrd", "valid.nrrd"]
    sigma, valid = read_volume(tmp_path / "sigma.nrrd")[0], read_volume(tmp_path / "valid.nrrd")[0]
    assert torch.equal(valid > 0, case.local.mask) and torch.equal(sigma > 0, case.local.mask)


def test_a_result_replaces_an_older_one_and_its_sidecar(chi: Callable[..., Tensor], tmp_path: Path) -> None:
    chi()
    chi(method="tikhonov")
    assert json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Method"]["name"] == "tikhonov"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chi.json", "chi.nii.gz"]


# -- exit codes -------------------------------------------------------------------------------------------------------


def test_an_internal_error_exits_with_one_and_asks_for_a_report(
    ir2qsm: Run, case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("IR2QSMLib.inversion.direct.dipole_kernel", lambda *_: 1 / 0)
    arguments = ("reconstruct", case.field, case.mask, "-o", tmp_path / "chi.nii", "--method", "tkd")
    ran = ir2qsm(*arguments, "--progress", "json")
    assert ran.code == 1
    assert "Traceback" in ran.err and "dipole_kernel" in ran.err
    expected = {
        "event": "error",
        "kind": "InternalError",
        "option": None,
        "message": "ZeroDivisionError; please report it.",
    }
    assert ran.events()[-1] == expected
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_exits_with_three(ir2qsm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "info", replace(cli.COMMANDS["info"], run=interrupted))
    ran = ir2qsm("info")
    assert (ran.code, ran.err) == (3, "ir2qsm: The run was cancelled; nothing was written.\n")


# -- the other commands -----------------------------------------------------------------------------------------------


def test_simulate_writes_what_reconstruct_reads(ir2qsm: Run, tmp_path: Path) -> None:
    def simulated(name: str, *options: object) -> Tensor:
        arguments = ("--phantom", "--shape", 20, 24, 22, "--voxel-size", 6, 6, 6, "-o", tmp_path / name)
        assert ir2qsm("simulate", *arguments, *options).code == 0
        return read_volume(tmp_path / name / "localfield.nii.gz")[0]

    base = simulated("a")
    folder = tmp_path / "a"
    assert sorted(p.name for p in folder.iterdir()) == [
        "chi_truth.nii.gz",
        "labels.nii.gz",
        "localfield.nii.gz",
        "magnitude.nii.gz",
        "mask.nii.gz",
        "params.json",
    ]
    assert torch.equal(simulated("b"), base)
    for options in (("--seed", 3), ("--snr", 5), ("--tilt", 30)):
        assert differ(simulated("c", *options), base)
    files = (folder / "localfield.nii.gz", folder / "mask.nii.gz")
    assert ir2qsm("reconstruct", *files, "-o", tmp_path / "chi.nii.gz", "--method", "tikhonov").code == 0


def test_inspect_and_info_print_lines_for_people(ir2qsm: Run, case: Any) -> None:
    ran = ir2qsm("inspect", case.field, case.mask)
    assert ran.code == 0 and "kind: local field\n" in ran.out and "unit: ppm\n" in ran.out
    ran = ir2qsm("info")
    assert ran.code == 0 and f"version: {IR2QSMLib.__version__}\n" in ran.out and "ir2qsm.safetensors" in ran.out


def test_help_is_printed_in_ascii_terminals() -> None:
    for arguments in (["--help"], ["reconstruct", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-m", "IR2QSMLib", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        )
        assert done.stdout.strip() and done.stderr == ""
    assert done.stdout == f"ir2qsm {IR2QSMLib.__version__}\n"


def test_every_command_has_help(ir2qsm: Run, capfd: pytest.CaptureFixture[str]) -> None:
    commands = "reconstruct compare simulate benchmark train import-weights demo info inspect"
    for command in commands.split():
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])
        assert f"usage: ir2qsm {command}" in capfd.readouterr().out


def test_the_parser_loads_no_torch() -> None:
    script = "import sys, IR2QSMLib.cli.main as m\nm.parser(None)\nm.parser('info')\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
