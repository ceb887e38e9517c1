"""The import of the authors' checkpoint, from a .pth file to a map."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from IR2QSMLib.errors import WeightsInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion import learned
from IR2QSMLib.inversion.learned import Learned
from IR2QSMLib.inversion.loading import load
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.released_weights import import_released
from IR2QSMLib.volumes import LocalField


@pytest.fixture(scope="module")
def answers(reference_data: Path) -> dict[str, torch.Tensor]:
    with np.load(reference_data / "ir2unet_parity_width4.npz") as content:
        return {key: torch.from_numpy(content[key]) for key in content.files}


@pytest.fixture
def checkpoint(answers: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """Saved as the authors did: from DataParallel, with the leftovers."""
    state = {k.removeprefix("state/"): v for k, v in answers.items() if k.startswith("state/")}
    state = {f"module.{k.removeprefix('module.')}": v for k, v in state.items()}
    assert any("post_transform_conv_block1" in k for k in state)
    torch.save(state, tmp_path / "model_IR2Unet.pth")
    return tmp_path / "model_IR2Unet.pth"


def imported(checkpoint: Path) -> Path:
    output = checkpoint.with_name("released.safetensors")
    with Outputs() as outputs:
        import_released(outputs, checkpoint, output)
    return output


def test_an_imported_checkpoint_computes_what_the_released_code_did(
    answers: dict[str, torch.Tensor], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "half_precision", lambda kind: None)
    values = answers["input"][0, 0]
    field = LocalField(values, torch.ones(values.shape, dtype=torch.bool), Grid(tuple(values.shape)))
    found = Learned(imported(checkpoint), consistency=0.0, resampled=False)(field)
    torch.testing.assert_close(found.values, answers["output"][0, 0], atol=1e-5, rtol=1e-5)


def test_it_reads_the_field_and_sees_it_along_b0(answers: dict[str, torch.Tensor], checkpoint: Path) -> None:
    path = imported(checkpoint)
    loaded = load(path)
    assert loaded.reading.reads == "field"
    assert loaded.network.config.n_passes == 4
    values = answers["input"][0, 0, :16, :16, :16]
    field = LocalField(values, torch.ones(16, 16, 16, dtype=torch.bool), Grid((16, 16, 16), b0_given=(0, 0.5, 1)))
    assert Learned(path)(field).notes["resampled"] is True


def test_nothing_is_rounded_and_no_leftover_is_kept(answers: dict[str, torch.Tensor], checkpoint: Path) -> None:
    stored = read_weights(imported(checkpoint)).tensors
    given = [v.flatten() for k, v in answers.items() if "state/" in k and v.is_floating_point()]
    bits = {v.numpy().tobytes() for v in given}
    assert all(v.dtype == torch.float32 and v.flatten().numpy().tobytes() in bits for v in stored.values())
    unused = re.compile(r"iteration0_layer\d_encoder_conv1|post_transform_conv_block1")
    assert len(stored) == sum(not unused.search(k) and "tracked" not in k for k in answers if "state/" in k)


def test_the_model_card_names_the_source_and_the_hash(checkpoint: Path) -> None:
    path = imported(checkpoint)
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == read_weights(path).sha256
    assert card["source"].startswith("imported from model_IR2Unet.pth (Li et al. 2025")
    assert "not for redistribution" in card["license"]
    assert str(checkpoint.parent) not in json.dumps(card)


def test_a_checkpoint_that_does_not_fit_leaves_nothing_behind(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    del state["module.post_transform_conv_block2.0.bias"]
    torch.save(state, checkpoint)
    with pytest.raises(WeightsInvalid, match=r"1 keys missing \['post_transform_conv_block2\.0\.bias'\]"):
        imported(checkpoint)
    assert os.listdir(checkpoint.parent) == [checkpoint.name]
