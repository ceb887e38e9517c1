"""Weights files: what is written comes back, and nothing altered, foreign or hostile is taken."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

import IR2QSMLib
from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.io import weights as module
from IR2QSMLib.io.weights import (
    FORMAT,
    Weights,
    fit,
    model_card,
    models_folder,
    read_checkpoint,
    read_weights,
    weights_bytes,
)

HEADER = {"network": "ir2unet", "config": {"width": 0.25}, "note": "χ"}
ROOT = Path(IR2QSMLib.__file__).resolve().parents[1]


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 2, 3, 3, 3, generator=generator).transpose(0, 1),
        "norm.running_mean": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
    }


def written(tmp_path: Path, content: bytes | None = None, name: str = "w.safetensors") -> Path:
    path = tmp_path / name
    path.write_bytes(weights_bytes(tensors(), HEADER) if content is None else content)
    return path


def refused(path: Path, sha256: str | None = None) -> str:
    with pytest.raises(WeightsInvalid) as caught:
        read_weights(path, sha256)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


# Writing and reading.


@pytest.mark.parametrize("half", [True, False])
def test_tensors_and_header_come_back(tmp_path: Path, half: bool) -> None:
    weights = read_weights(written(tmp_path, weights_bytes(tensors(), HEADER, half=half)))
    assert weights.header == HEADER
    assert weights.name == "w.safetensors"
    given = tensors()
    assert set(weights.tensors) == {"conv.weight", "norm.running_mean"}  # counters are no weights
    assert weights.tensors["conv.weight"].dtype == (torch.float16 if half else torch.float32)
    assert weights.tensors["norm.running_mean"].dtype == torch.float32
    assert torch.equal(weights.tensors["norm.running_mean"], given["norm.running_mean"])
    tolerance = 2**-10 if half else 0.0
    torch.testing.assert_close(weights.tensors["conv.weight"].float(), given["conv.weight"], rtol=tolerance, atol=0)


def test_the_same_weights_are_the_same_bytes() -> None:
    turned = dict(reversed(tensors().items()))
    assert len({weights_bytes(t, HEADER) for t in [tensors(), turned] * 8}) == 1
    assert weights_bytes(tensors(), HEADER) != weights_bytes(tensors(), {**HEADER, "note": "ψ"})


def test_the_hash_is_the_files(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = subprocess.run(["sha256sum", path], capture_output=True, text=True).stdout.split()[0]
    assert read_weights(path).sha256 == found
    card = model_card(path.read_bytes(), HEADER, license="Apache-2.0")
    assert card["sha256"] == found
    assert card["bytes"] == path.stat().st_size
    assert card["network"] == "ir2unet" and card["license"] == "Apache-2.0"


def test_a_card_that_agrees_is_accepted(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.with_suffix(".json").write_text(json.dumps(model_card(path.read_bytes(), HEADER)), encoding="utf-8")
    assert read_weights(path).header == HEADER


def test_an_altered_file_is_refused_by_the_card_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(model_card(path.read_bytes(), HEADER)), encoding="utf-8")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    message = refused(path)
    wrong = hashlib.sha256(content).hexdigest()
    assert f"have the SHA-256 {wrong[:12]}…, expected {right[:12]}…" in message
    assert message.endswith("download or import it again.")


def test_a_hash_that_is_given_goes_before_the_card(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert "expected 000000000000…" in refused(path, "0" * 64)
    path.with_suffix(".json").write_text(json.dumps({"sha256": "0" * 64}), encoding="utf-8")
    assert read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest()).header == HEADER


@pytest.mark.parametrize("card", [b"{", b"[1]", b"{}", b"\xff\xfe"])
def test_a_card_without_a_hash_is_refused_rather_than_ignored(tmp_path: Path, card: bytes) -> None:
    path = written(tmp_path)
    path.with_suffix(".json").write_bytes(card)
    assert "The model card 'w.json' beside the weights gives no SHA-256" in refused(path)


def test_a_bundled_file_without_its_card_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Models").mkdir()
    monkeypatch.setattr(module, "models_folder", lambda: tmp_path / "Models")
    path = written(tmp_path / "Models")
    assert "The bundled weights 'w.safetensors' lack their model card 'w.json'" in refused(path)
    path.with_suffix(".json").write_text(json.dumps(model_card(path.read_bytes(), HEADER)), encoding="utf-8")
    assert read_weights(path).header == HEADER
    assert read_weights(written(tmp_path)).header == HEADER  # beside that folder none is needed


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert "The weights 'w.safetensors' cannot be read (No such file" in refused(tmp_path / "w.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    assert "'w.safetensors' is no safetensors file" in refused(
        written(tmp_path, weights_bytes(tensors(), HEADER)[:kept])
    )


def test_a_torch_checkpoint_is_pointed_to_its_import(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "model.pth")
    assert refused(tmp_path / "model.pth").endswith("a released checkpoint is converted with: ir2qsm import-weights.")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": FORMAT, "header": "{}"}])
def test_the_safetensors_of_another_program_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = written(tmp_path, safetensors.torch.save({"a": torch.ones(2)}, metadata))
    assert f"of another program (it lacks the header '{FORMAT}'); give weights written by ir2qsm." in refused(path)


def test_metadata_of_nothing_are_those_of_another_program(tmp_path: Path) -> None:
    header = b'{"__metadata__":null}'
    assert "it lacks the header" in refused(written(tmp_path, len(header).to_bytes(8, "little") + header))


@pytest.mark.parametrize("header", ["", "{", "[1]", "null"])
def test_a_file_whose_header_cannot_be_read_is_refused(tmp_path: Path, header: str) -> None:
    path = written(tmp_path, safetensors.torch.save({"a": torch.ones(2)}, {FORMAT: header}))
    assert "'w.safetensors' has no readable header" in refused(path)


# Fitting.


def weights_of(state: dict[str, torch.Tensor]) -> Weights:
    return Weights(state, {}, "", "w.safetensors")


def test_what_fits_is_returned_in_the_networks_precision_with_its_counters() -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2))
    stored = {k: v.half() for k, v in network.state_dict().items() if v.is_floating_point()}
    found = fit(weights_of(stored), network.state_dict())
    network.load_state_dict(found)
    assert found["0.weight"].dtype == torch.float32
    assert found["1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, r"1 keys missing \['weight'\], 0 unknown \[\]; give weights trained for this network"),
        ({"extra": torch.zeros(1)}, r"0 keys missing \[\], 1 unknown \['extra'\]"),
        ({"bias": torch.zeros(3)}, r"have \(3,\) for 'bias', expected \(2,\)"),
        ({"weight": torch.zeros(4, 2)}, r"have \(4, 2\) for 'weight', expected \(2, 4\)"),
    ],
)
def test_keys_and_shapes_must_all_fit(change: dict[str, torch.Tensor | None], message: str) -> None:
    network = torch.nn.Linear(4, 2)
    state = {k: v for k, v in {**network.state_dict(), **change}.items() if v is not None}
    with pytest.raises(WeightsInvalid, match=message):
        fit(weights_of(state), network.state_dict())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    network = torch.nn.Linear(4, 2)
    state = {**network.state_dict(), "bias": torch.tensor([0.0, value])}
    with pytest.raises(WeightsInvalid, match=r"'w\.safetensors' hold values in 'bias' that are not finite"):
        fit(weights_of(state), network.state_dict())


# Checkpoints of torch.


class Hostile:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, kind: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    content = {"weight": torch.ones(2), "payload": Hostile(trace)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"payload": Hostile(trace)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' cannot be read .*\(it asks to run code\); expected"):
        read_checkpoint(path)
    assert not trace.exists()
    with path.open("rb") as file:  # the payload is real: trusted, it does what it says
        torch.load(file, weights_only=False) if kind != "pickle" else pickle.load(file)
    assert trace.is_dir()


def test_a_checkpoint_of_tensors_is_read(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "model.pth")
    found = read_checkpoint(tmp_path / "model.pth")
    assert all(torch.equal(found[k], v) for k, v in tensors().items())


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(2)], {"state_dict": {"a": torch.ones(2)}}])
def test_a_checkpoint_of_anything_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' holds more than tensors; expected a plain state dict"):
        read_checkpoint(tmp_path / "model.pth")


def damaged() -> list[bytes]:
    whole, legacy = io.BytesIO(), io.BytesIO()
    torch.save(tensors(), whole)
    torch.save(tensors(), legacy, _use_new_zipfile_serialization=False)
    cut = [whole.getvalue()[:-50], *(legacy.getvalue()[:n] for n in (40, 120, 200, 400))]
    return [b"", bytes(500), b"hello" * 100, *cut]


@pytest.mark.parametrize("content", damaged(), ids=range(len(damaged())))
def test_a_damaged_checkpoint_is_refused_without_talk_of_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' cannot be read as a checkpoint of tensors \((?!it asks)"):
        read_checkpoint(tmp_path / "model.pth")


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' cannot be read .*FileNotFoundError"):
        read_checkpoint(tmp_path / "model.pth")


# Where the bundled weights lie.


def test_a_source_checkout_finds_its_own_models() -> None:
    assert models_folder() == ROOT / "Resources" / "Models"
    assert (models_folder() / "ir2qsm.safetensors").is_file()


@pytest.mark.parametrize(
    ("package", "models"),
    [
        ("site-packages/IR2QSMLib", "site-packages/IR2QSMLib/Resources/Models"),
        ("lib/Slicer-5.8/qt-scripted-modules/IR2QSMLib", "lib/Slicer-5.8/qt-scripted-modules/Resources/Models"),
    ],
    ids=["wheel", "Slicer extension"],
)
def test_an_installation_finds_and_loads_its_own_models(tmp_path: Path, package: str, models: str) -> None:
    shutil.copytree(ROOT / "IR2QSMLib", tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "Resources" / "Models", tmp_path / models)
    code = (
        "from IR2QSMLib.inversion.learned.load import bundled, load; import IR2QSMLib\n"
        "print(IR2QSMLib.__file__); print(bundled()); print(load(bundled()).sha256)"
    )
    environment = {**os.environ, "PYTHONPATH": str((tmp_path / package).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    module, weights, sha256 = ran.stdout.splitlines()
    assert Path(module) == tmp_path / package / "__init__.py"
    assert Path(weights) == tmp_path / models / "ir2qsm.safetensors"
    assert sha256 == hashlib.sha256(Path(weights).read_bytes()).hexdigest()


def test_an_installation_without_models_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "IR2QSMLib", tmp_path / "IR2QSMLib", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from IR2QSMLib.io.weights import models_folder; models_folder()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "WeightsInvalid: The bundled weights are missing from this installation; reinstall it" in ran.stderr
