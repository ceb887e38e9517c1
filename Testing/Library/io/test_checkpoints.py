"""Checkpoints of other programs: tensors are read, and nothing is executed."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.io.checkpoints import read_checkpoint


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 2, 3, 3, 3, generator=generator).transpose(0, 1),
        "norm.running_mean": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
    }


class CodeOnUnpickling:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, kind: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    content = {"weight": torch.ones(2), "payload": CodeOnUnpickling(trace)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"payload": CodeOnUnpickling(trace)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' cannot be read .*\(it asks to run code\); expected"):
        read_checkpoint(path)
    assert not trace.exists()
    with path.open("rb") as file:  # the payload works when the file is trusted
        torch.load(file, weights_only=False) if kind != "pickle" else pickle.load(file)
    assert trace.is_dir()


def test_checkpoint_of_tensors_is_read(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "model.pth")
    state = read_checkpoint(tmp_path / "model.pth")
    assert all(torch.equal(state[k], v) for k, v in tensors().items())


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(2)], {"state_dict": {"a": torch.ones(2)}}])
def test_checkpoint_of_anything_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' holds more than tensors; expected a plain state dict"):
        read_checkpoint(tmp_path / "model.pth")


def damaged_checkpoints() -> list[bytes]:
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(tensors(), zipped)
    torch.save(tensors(), legacy, _use_new_zipfile_serialization=False)
    cut = [zipped.getvalue()[:-50], *(legacy.getvalue()[:n] for n in (40, 120, 200, 400))]
    return [b"", bytes(500), b"hello" * 100, *cut]


@pytest.mark.parametrize("content", damaged_checkpoints(), ids=range(len(damaged_checkpoints())))
def test_damaged_checkpoint_is_not_accused_of_running_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' cannot be read as a checkpoint of tensors \((?!it asks)"):
        read_checkpoint(tmp_path / "model.pth")


def test_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsInvalid, match=r"'model\.pth' cannot be read .*FileNotFoundError"):
        read_checkpoint(tmp_path / "model.pth")
