"""Weights files: what is written is read back, and altered or foreign files are refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.io import weights as module
from IR2QSMLib.io.weights import (
    FORMAT,
    Weights,
    model_card,
    read_weights,
    strict_state_dict,
    weights_bytes,
)

HEADER = {"network": "ir2unet", "config": {"width": 0.25}, "note": "χ"}


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 2, 3, 3, 3, generator=generator).transpose(0, 1),
        "norm.running_mean": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
    }


def write(tmp_path: Path, content: bytes | None = None, name: str = "w.safetensors") -> Path:
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
def test_tensors_and_header_are_read_back(tmp_path: Path, half: bool) -> None:
    weights = read_weights(write(tmp_path, weights_bytes(tensors(), HEADER, half=half)))
    assert weights.header == HEADER
    assert weights.name == "w.safetensors"
    original = tensors()
    assert set(weights.tensors) == {"conv.weight", "norm.running_mean"}  # counters are no weights
    assert weights.tensors["conv.weight"].dtype == (torch.float16 if half else torch.float32)
    assert weights.tensors["norm.running_mean"].dtype == torch.float32
    assert torch.equal(weights.tensors["norm.running_mean"], original["norm.running_mean"])
    tolerance = 2**-10 if half else 0.0
    torch.testing.assert_close(weights.tensors["conv.weight"].float(), original["conv.weight"], rtol=tolerance, atol=0)


def test_same_weights_are_the_same_bytes() -> None:
    reordered = dict(reversed(tensors().items()))
    assert len({weights_bytes(t, HEADER) for t in [tensors(), reordered] * 8}) == 1
    assert weights_bytes(tensors(), HEADER) != weights_bytes(tensors(), {**HEADER, "note": "ψ"})


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    sha256 = subprocess.run(["sha256sum", path], capture_output=True, text=True).stdout.split()[0]
    assert read_weights(path).sha256 == sha256
    card = model_card(path.read_bytes(), HEADER, license="Apache-2.0")
    assert card["sha256"] == sha256
    assert card["bytes"] == path.stat().st_size
    assert card["network"] == "ir2unet" and card["license"] == "Apache-2.0"


def test_matching_model_card_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.with_suffix(".json").write_text(json.dumps(model_card(path.read_bytes(), HEADER)), encoding="utf-8")
    assert read_weights(path).header == HEADER


def test_altered_file_is_refused_by_its_model_card(tmp_path: Path) -> None:
    path = write(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(model_card(path.read_bytes(), HEADER)), encoding="utf-8")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    message = refused(path)
    wrong = hashlib.sha256(content).hexdigest()
    assert f"have the SHA-256 {wrong[:12]}…, expected {right[:12]}…" in message
    assert message.endswith("download or import it again.")


def test_explicit_hash_overrides_the_model_card(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert "expected 000000000000…" in refused(path, "0" * 64)
    path.with_suffix(".json").write_text(json.dumps({"sha256": "0" * 64}), encoding="utf-8")
    assert read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest()).header == HEADER


@pytest.mark.parametrize("card", [b"{", b"[1]", b"{}", b"\xff\xfe"])
def test_model_card_without_hash_is_refused(tmp_path: Path, card: bytes) -> None:
    path = write(tmp_path)
    path.with_suffix(".json").write_bytes(card)
    assert "The model card 'w.json' beside the weights gives no SHA-256" in refused(path)


def test_bundled_file_without_model_card_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Models").mkdir()
    monkeypatch.setattr(module, "models_folder", lambda: tmp_path / "Models")
    path = write(tmp_path / "Models")
    assert "The bundled weights 'w.safetensors' lack their model card 'w.json'" in refused(path)
    path.with_suffix(".json").write_text(json.dumps(model_card(path.read_bytes(), HEADER)), encoding="utf-8")
    assert read_weights(path).header == HEADER
    assert read_weights(write(tmp_path)).header == HEADER  # beside that folder none is needed


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert "The weights 'w.safetensors' cannot be read (No such file" in refused(tmp_path / "w.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    assert "'w.safetensors' is no safetensors file" in refused(write(tmp_path, weights_bytes(tensors(), HEADER)[:kept]))


def test_torch_checkpoint_is_refused_with_the_import_command(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "model.pth")
    assert refused(tmp_path / "model.pth").endswith("a released checkpoint is converted with: ir2qsm import-weights.")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": FORMAT, "header": "{}"}])
def test_safetensors_of_another_program_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = write(tmp_path, safetensors.torch.save({"a": torch.ones(2)}, metadata))
    assert f"of another program (it lacks the header '{FORMAT}'); give weights written by ir2qsm." in refused(path)


def test_safetensors_without_metadata_are_refused(tmp_path: Path) -> None:
    header = b'{"__metadata__":null}'
    assert "it lacks the header" in refused(write(tmp_path, len(header).to_bytes(8, "little") + header))


@pytest.mark.parametrize("header", ["", "{", "[1]", "null"])
def test_unreadable_header_is_refused(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, safetensors.torch.save({"a": torch.ones(2)}, {FORMAT: header}))
    assert "'w.safetensors' has no readable header" in refused(path)


# State dicts.


def weights_of(state: dict[str, torch.Tensor]) -> Weights:
    return Weights(state, {}, "", "w.safetensors")


def test_state_dict_has_the_networks_precision_and_counters() -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2))
    stored = {k: v.half() for k, v in network.state_dict().items() if v.is_floating_point()}
    state = strict_state_dict(weights_of(stored), network.state_dict())
    network.load_state_dict(state)
    assert state["0.weight"].dtype == torch.float32
    assert state["1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, r"1 keys missing \['weight'\], 0 unknown \[\]; give weights trained for this network"),
        ({"extra": torch.zeros(1)}, r"0 keys missing \[\], 1 unknown \['extra'\]"),
        ({"bias": torch.zeros(3)}, r"have \(3,\) for 'bias', expected \(2,\)"),
        ({"weight": torch.zeros(4, 2)}, r"have \(4, 2\) for 'weight', expected \(2, 4\)"),
    ],
)
def test_keys_and_shapes_must_all_match(change: dict[str, torch.Tensor | None], message: str) -> None:
    network = torch.nn.Linear(4, 2)
    state = {k: v for k, v in {**network.state_dict(), **change}.items() if v is not None}
    with pytest.raises(WeightsInvalid, match=message):
        strict_state_dict(weights_of(state), network.state_dict())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused(value: float) -> None:
    network = torch.nn.Linear(4, 2)
    state = {**network.state_dict(), "bias": torch.tensor([0.0, value])}
    with pytest.raises(WeightsInvalid, match=r"'w\.safetensors' hold values in 'bias' that are not finite"):
        strict_state_dict(weights_of(state), network.state_dict())
