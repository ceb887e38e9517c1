"""What `ir2qsm info` tells of an installation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import IR2QSMLib
from IR2QSMLib.cli import info as module
from IR2QSMLib.cli.info import information
from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.inversion.registry import METHODS
from IR2QSMLib.io.weights import models_folder, read_weights


def test_devices_were_probed_and_the_cpu_is_always_there() -> None:
    devices = information()["devices"]
    cpu = devices[-1]
    assert cpu["kind"] == "cpu" and cpu["problem"] is None and cpu["memory_free"] > 1e8 and cpu["name"]
    assert isinstance(cpu["bfloat16"], bool)
    assert len(devices) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()


def test_versions_and_methods_are_told() -> None:
    found = information()
    assert found["version"] == IR2QSMLib.__version__ and found["torch"] == torch.__version__
    assert set(found["methods"]) == set(METHODS)
    assert all(m["sentence"].endswith(".") and "doi" in m["citation"] for m in found["methods"].values())
    # What is said to be needed is what a reconstruction refuses to do without: Testing/Library/inversion/test_medi.py.
    assert {name: m["needs"] for name, m in found["methods"].items() if m["needs"]} == {
        "medi": ("magnitude", "b0", "echo_time")
    }


def test_bundled_weights_are_told_with_their_hash() -> None:
    (told,) = [w for w in information()["weights"] if w["name"] == "ir2qsm.safetensors"]
    weights = read_weights(models_folder() / "ir2qsm.safetensors")
    assert told["sha256"] == weights.sha256
    assert json.loads(told["config"]) == weights.header["config"]


def test_damaged_and_missing_weights_are_a_problem_not_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(module, "models_folder", lambda: tmp_path)
    (told,) = information()["weights"]
    assert told["name"] == "bad.safetensors" and "no safetensors file" in told["problem"]

    def missing() -> Path:
        raise WeightsInvalid("The bundled weights are missing from this installation; reinstall it.")

    monkeypatch.setattr(module, "models_folder", missing)
    assert information()["weights"] == [
        {"problem": "The bundled weights are missing from this installation; reinstall it."}
    ]


def test_the_command_answers_in_one_line_of_json(ir2qsm: Callable[..., Any]) -> None:
    ran = ir2qsm("info", "--json")
    (answer,) = ran.events()
    assert (ran.code, ran.err, answer["event"]) == (0, "", "result")
    assert set(answer) == {"event", *information()}
    assert str(Path.home()) not in ran.out and str(models_folder().parent) not in ran.out
