"""What a client may ask a server for: numbers, switches and words of a list, and no path of the server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.cli.main import parser
from IR2QSMLib.cli.remote import request_of
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.server.request import INPUT_FILES, RESULTS, SAFE_OPTIONS, RunRequest, SentFile

MakeRun = Callable[..., RunRequest]
ONLY_HERE = {"help", "progress", "cancel_file", "device", "keep", "server", "token_file", "server_certificate"}
"""Options that a client keeps to itself or says in another form."""
LEADING_ELSEWHERE = (
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "../x.nii",
    "x\0.nii",
    "x\n.nii",
    "\udc80.nii",
    "n" * 256,
)


def actions() -> dict[str, argparse.Action]:
    commands = next(a for a in parser("reconstruct")._actions if isinstance(a, argparse._SubParsersAction))
    return {action.dest: action for action in commands.choices["reconstruct"]._actions}


def test_every_option_is_safe_or_a_file_or_stays_here() -> None:
    assert set(actions()) <= {*SAFE_OPTIONS, *INPUT_FILES, *RESULTS, *ONLY_HERE}
    files = {name for name, action in actions().items() if action.type is Path}
    assert files.isdisjoint(SAFE_OPTIONS)


def test_options_mean_on_the_server_what_they_mean_here(tmp_path: Path, write_volume: Any, case: Any) -> None:
    words = ["reconstruct", str(case.field), str(case.mask), "-o", str(tmp_path / "chi.nrrd"), "--keep", "k"]
    words += ["--method", "medi", "--regularisation", "1e-5", "--merit", "--smv-radius", "4", "--units", "hz"]
    words += ["--b0", "2.89", "--te", "0.0040000000000000001", "--b0-direction", "-0.00001", "0.5", "-1"]
    words += ["--mask-labels", "-3", "7", "--completion-steps", "0", "--flip-sign", "--series", "7", "a b"]
    sent = parser("reconstruct").parse_args(words)
    request, sources = request_of(sent, {"output": sent.output, "mask_output": None})
    received = RunRequest.from_json(request.to_json())
    assert received == request and sources == [case.field, case.mask]
    parsed = parser("reconstruct").parse_args(received.arguments(Path("/in"), Path("/out")))
    assert (parsed.field, parsed.mask) == (Path("/in/field-0/field.nii.gz"), Path("/in/mask-0/mask.nii.gz"))
    assert (parsed.output, parsed.keep) == (Path("/out/output.nrrd"), Path("/out/keep"))
    assert all(getattr(parsed, name) == getattr(sent, name) for name in SAFE_OPTIONS if hasattr(sent, name))


def test_a_region_and_weights_are_files_that_are_sent(tmp_path: Path, case: Any) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"1234")
    words = ["reconstruct", str(case.field), str(case.mask), "-o", "chi.nii", "--reference", str(case.mask)]
    args = parser("reconstruct").parse_args([*words, "--weights", str(weights)])
    request, _ = request_of(args, {"output": args.output})
    parsed = parser("reconstruct").parse_args(request.arguments(Path("/in"), Path("/out")))
    assert parsed.reference == "/in/reference-0/mask.nii.gz" and parsed.weights == Path("/in/weights-0/w.safetensors")
    assert "reference" not in request.options


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "/etc/passwd"},
        {"output": "/tmp/x.nii"},
        {"keep": "/tmp"},
        {"device": "cuda"},
        {"cancel_file": "/etc/passwd"},
        {"server": "http://elsewhere"},
        {"reference": "/etc/passwd"},
        {"method": "--keep=/tmp"},
        {"method": ["tkd"]},
        {"units": {"a": 1}},
        {"te": ["--keep", "/tmp"]},
        {"te": 0.004},
        {"te": []},
        {"b0": "3"},
        {"b0": True},
        {"b0": float("nan")},
        {"regularisation": "--weights"},
        {"series": ["--keep", "/tmp"]},
        {"series": "7"},
        {"series": ["a\nb"]},
        {"imaginary": ["/etc/passwd"]},
        {"imaginary": ["imaginary.nii"]},
        {"volume": "/etc/passwd"},
        {"manufacturer": "--keep"},
        {"flip_sign": "--keep"},
        {"flip_sign": False},
        {"__class__": 1},
        {"a b": 1},
    ],
)
def test_options_that_could_do_more_are_refused(small_run: MakeRun, options: dict[str, Any]) -> None:
    with pytest.raises(ParameterInvalid):
        RunRequest.from_json(small_run(options=options).to_json())


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
@pytest.mark.parametrize("folders", [(), ("scan",), ("scan", "..")])
def test_names_of_files_that_lead_elsewhere_are_refused(
    small_run: MakeRun, folders: tuple[str, ...], name: str
) -> None:
    with pytest.raises(ParameterInvalid):
        RunRequest.from_json(small_run(files=(SentFile("field", 0, (*folders, name), 4),)).to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"files": ()},
        {"files": (SentFile("mask", 0, ("mask.nii",), 4),)},
        {"files": (SentFile("field", 0, ("f.nii",), 4),) * 2},
        {"files": (SentFile("output", 0, ("f.nii",), 4),)},
        {"files": (SentFile("../x", 0, ("f.nii",), 4),)},
        {"files": (SentFile("field", -1, ("f.nii",), 4),)},
        {"files": (SentFile("field", 0, ("f.nii",), -4),)},
        {"files": (SentFile("field", 0, ("f",) * 40, 4),)},
        {"results": {}},
        {"results": {"output": "/../../x.nii"}},
        {"results": {"output": ".nii.gz", "field": ".nii"}},
        {"results": {"output": ".nii.gz", "../x": ".nii"}},
    ],
)
def test_other_files_and_results_are_refused(small_run: MakeRun, changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterInvalid):
        RunRequest.from_json(small_run(**changes).to_json())


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"null", b'{"options": 1, "files": [], "results": {}, "keep": 0}', b"[" * 100_000, b"\xff\xfe"],
)
def test_what_is_no_description_of_a_run_is_refused(text: bytes) -> None:
    with pytest.raises(ParameterInvalid, match="no description of a run"):
        RunRequest.from_json(text)


def test_types_of_a_file_are_checked(small_run: MakeRun) -> None:
    content = json.loads(small_run().to_json())
    for key, value in {"option": 1, "index": "0", "path": "field.nii/x", "size": 4.5}.items():
        changed = {**content, "files": [{**content["files"][0], key: value}]}
        with pytest.raises(ParameterInvalid):
            RunRequest.from_json(json.dumps(changed).encode())
