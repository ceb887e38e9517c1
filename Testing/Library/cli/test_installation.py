"""The answer of `ir2qsm info`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import IR2QSMLib
from IR2QSMLib.cli import installation
from IR2QSMLib.cli.installation import information
from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.inversion.registry import METHODS, make_method
from IR2QSMLib.io.weights import models_folder, read_weights


def test_devices_were_probed_and_the_cpu_is_always_there() -> None:
    devices = information()["devices"]
    cpu = devices[-1]
    assert cpu["kind"] == "cpu" and cpu["problem"] is None and cpu["memory_free"] > 1e8 and cpu["name"]
    assert isinstance(cpu["bfloat16"], bool)
    assert len(devices) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()


def test_versions_and_methods_are_listed() -> None:
    answer = information()
    assert answer["version"] == IR2QSMLib.__version__ and answer["torch"] == torch.__version__
    assert set(answer["methods"]) == set(METHODS)
    assert all(m["sentence"].endswith(".") and "doi" in m["citation"] for m in answer["methods"].values())
    # What is said to be needed is what a reconstruction refuses to do without: Testing/Library/inversion/test_medi.py.
    assert {name: m["needs"] for name, m in answer["methods"].items() if m["needs"]} == {
        "medi": ("magnitude", "b0", "echo_time")
    }


def test_options_of_methods_have_help_kind_choices_range_and_default() -> None:
    methods = information()["methods"]
    json.dumps(methods)
    options = [option for method in methods.values() for option in method["options"].values()]
    assert all(option["help"] and set(option) == {"help", "kind", "choices", "range", "default"} for option in options)
    threshold = methods["tkd"]["options"]["threshold"]
    assert (threshold["kind"], threshold["default"]) == ("number or auto", METHODS["tkd"].method_class().threshold)  # type: ignore[attr-defined]
    with pytest.raises(ParameterInvalid):
        make_method("tkd", threshold=threshold["range"][1])
    assert methods["tv"]["options"]["outside"]["kind"] == "word"
    for outside in methods["tv"]["options"]["outside"]["choices"]:
        make_method("tv", outside=outside)
    for tile in methods["ir2qsm"]["options"]["tile"]["choices"]:
        make_method("ir2qsm", tile=tile)
    assert methods["medi"]["options"]["merit"]["kind"] == "flag"


def test_bundled_weights_are_listed_with_their_hash() -> None:
    (entry,) = [w for w in information()["weights"] if w["name"] == "ir2qsm.safetensors"]
    weights = read_weights(models_folder() / "ir2qsm.safetensors")
    assert entry["sha256"] == weights.sha256
    assert json.loads(entry["config"]) == weights.header["config"]


def test_damaged_and_missing_weights_are_a_problem_not_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(installation, "models_folder", lambda: tmp_path)
    (entry,) = information()["weights"]
    assert entry["name"] == "bad.safetensors" and "no safetensors file" in entry["problem"]

    def missing() -> Path:
        raise WeightsInvalid("The bundled weights are missing from this installation; reinstall it.")

    monkeypatch.setattr(installation, "models_folder", missing)
    assert information()["weights"] == [
        {"problem": "The bundled weights are missing from this installation; reinstall it."}
    ]


def test_the_command_answers_in_one_line_of_json(ir2qsm: Callable[..., Any]) -> None:
    ran = ir2qsm("info", "--json")
    (answer,) = ran.events()
    assert (ran.code, ran.err, answer["event"]) == (0, "", "result")
    assert set(answer) == {"event", *information()}
    assert str(Path.home()) not in ran.out and str(models_folder().parent) not in ran.out
