"""The networks on the command line: what is available, what each option belongs to, MoDL-QSM's second map."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.core.choices import LEARNED_NAMES, NETWORK_NAMES
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.registry import METHODS, available_methods
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.networks.registry import NETWORKS

OTHERS = [name for name in LEARNED_NAMES if name != "ir2qsm"]


def test_names_of_the_command_line_are_those_of_the_registries() -> None:
    assert tuple(NETWORKS) == NETWORK_NAMES
    assert tuple(n for n, m in METHODS.items() if issubclass(m.method_class, Learned)) == LEARNED_NAMES  # type: ignore[arg-type]


def test_methods_without_weights_are_listed_as_not_available(
    ir2qsm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = learned.bundled
    monkeypatch.setattr(learned, "bundled", lambda n: real(n) if n == "ir2qsm" else tmp_path / f"{n}.safetensors")
    (answer,) = ir2qsm("info", "--json").events()
    available = {name: about["available"] for name, about in answer["methods"].items()}
    assert available == {name: name not in OTHERS for name in METHODS}
    assert available_methods() == [name for name in METHODS if name not in OTHERS]
    assert "ir2qsm train --network xqsm" in answer["methods"]["xqsm"]["problem"]
    (tmp_path / "xqsm.safetensors").write_bytes(b"")
    (answer,) = ir2qsm("info", "--json").events()
    assert answer["methods"]["xqsm"]["available"] and "problem" not in answer["methods"]["xqsm"]


def test_a_method_without_weights_is_refused(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(learned, "bundled", lambda name: tmp_path / f"{name}.safetensors")
    assert refused("--method", "lpcnn") == (
        "No weights of the network 'lpcnn' come with this installation; train some (ir2qsm train --network lpcnn) or "
        "convert released ones (ir2qsm import-weights), and give them with --weights."
    )


def test_modl_qsm_writes_the_field_that_chi_does_not_explain(
    ir2qsm: Callable[..., Any], case: Any, make_weights: Callable[..., Path], tmp_path: Path
) -> None:
    weights = make_weights(NetworkInput(), kind="modl-qsm")
    options = ("--method", "modl-qsm", "--weights", weights, "--unexplained", tmp_path / "rest.nii.gz")
    ran = ir2qsm(
        "reconstruct",
        case.field,
        case.mask,
        "-o",
        tmp_path / "chi.nii.gz",
        *options,
        "--network-only",
        "--progress",
        "json",
    )
    assert ran.code == 0, ran.err
    rest, grid = read_volume(tmp_path / "rest.nii.gz")
    grid.require_match(case.local.grid, "rest", "field")
    assert rest[case.local.mask].std() > 0.0 and not rest[~case.local.mask].any()
    assert ran.events()[-1]["unexplained"] == str(tmp_path / "rest.nii.gz")
    method = json.loads((tmp_path / "chi.json").read_text(encoding="utf-8"))["Method"]
    assert (method["name"], method["weights"]) == ("modl-qsm", weights.name)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--method", "lpcnn", "--unexplained", "x.nii"), "--unexplained belongs to --method modl-qsm, not to lpcnn."),
        (("--method", "unet", "--uncertainty", "x.nii"), "--uncertainty belongs to --method ir2qsm, not to unet."),
        (("--method", "xqsm", "--threshold", "0.1"), "--threshold belongs to --method tkd, not to xqsm."),
        (
            ("--method", "tkd", "--tile", "64"),
            "--tile belongs to --method ir2qsm, unet, xqsm, lpcnn or modl-qsm, not to tkd.",
        ),
    ],
)
def test_an_option_of_another_method_is_refused(
    refused: Callable[..., str], options: tuple[str, ...], complaint: str
) -> None:
    assert refused(*options) == complaint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--network", "unet", "--passes", "2"), "The network 'unet' has no setting 'passes'; leave it out."),
        (("--network", "unet", "--dropout", "0.1"), "The network 'unet' has no setting 'dropout'; leave it out."),
        (
            ("--network", "lpcnn", "--feature-noise", "0.1"),
            "The network 'lpcnn' has no setting 'feature noise'; leave it out.",
        ),
        (
            ("--network", "xqsm", "--no-uncertainty"),
            "--no-uncertainty belongs to --network ir2unet, not to xqsm.",
        ),
        (
            ("--network", "unet", "--no-residual"),
            "--no-residual belongs to --network ir2unet, not to unet.",
        ),
        (
            ("--network", "lpcnn", "--reads", "tikhonov"),
            "The unrolled network 'lpcnn' fits its map to the field, and the channels of its input are first_map; "
            "expected 'field' among them.",
        ),
    ],
)
def test_an_option_of_another_network_is_refused(
    ir2qsm: Callable[..., Any], tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    ran = ir2qsm("train", tmp_path / "run", "--minutes", 1, *options)
    assert (ran.code, ran.err) == (2, f"ir2qsm: {complaint}\n")
    assert not (tmp_path / "run").exists()
