"""The import of the authors' checkpoint, from a .pth file to a map."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import PackageMissing, WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.import_released import import_released
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.tiles import infer
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.networks.registry import build, make_config
from IR2QSMLib.networks.released import _residual_names


@pytest.fixture(scope="module")
def reference(reference_data: Path) -> dict[str, torch.Tensor]:
    with np.load(reference_data / "ir2unet_parity_width4.npz") as content:
        return {key: torch.from_numpy(content[key]) for key in content.files}


@pytest.fixture
def checkpoint(reference: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """Saved as the authors did: from DataParallel, with the unused layers."""
    state = {k.removeprefix("state/"): v for k, v in reference.items() if k.startswith("state/")}
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
    reference: dict[str, torch.Tensor], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "half_precision", lambda kind: None)
    values, path = reference["input"][0, 0], imported(checkpoint)
    chi = infer(load(path).network, values[None], None, None, silent).chi
    torch.testing.assert_close(chi, reference["output"][0, 0], atol=1e-5, rtol=1e-5)
    # The method is the network on the field without its constant.
    field = LocalField(values, torch.ones(values.shape, dtype=torch.bool), Grid(tuple(values.shape)))
    offset = DataTerm.of(field).spectrum.offset
    expected = infer(load(path).network, (values - offset)[None], None, None, silent).chi
    by_method = Learned(path, network_only=True, resampled=False)(field).values
    torch.testing.assert_close(by_method, expected, atol=1e-5, rtol=1e-5)


def test_an_imported_network_reads_the_field_along_b0(reference: dict[str, torch.Tensor], checkpoint: Path) -> None:
    path = imported(checkpoint)
    loaded = load(path)
    assert loaded.network_input.channels == ("field",)
    assert loaded.network.config.n_passes == 4
    values = reference["input"][0, 0]
    grid = Grid(tuple(values.shape), user_b0_direction=(0, 0.5, 1))
    field = LocalField(values, torch.ones(values.shape, dtype=torch.bool), grid)
    assert Learned(path)(field).notes["resampled"] is True


def test_imported_weights_keep_their_bits_without_unused_ones(
    reference: dict[str, torch.Tensor], checkpoint: Path
) -> None:
    stored = read_weights(imported(checkpoint)).tensors
    released = [v.flatten() for k, v in reference.items() if "state/" in k and v.is_floating_point()]
    bits = {v.numpy().tobytes() for v in released}
    assert all(v.dtype == torch.float32 and v.flatten().numpy().tobytes() in bits for v in stored.values())
    unused = re.compile(r"iteration0_layer\d_encoder_conv1|post_transform_conv_block1")
    assert len(stored) == sum(not unused.search(k) and "tracked" not in k for k in reference if "state/" in k)


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


# LPCNN's run checkpoint and MoDL-QSM's Keras file.


def test_the_model_of_a_released_run_is_imported(tmp_path: Path, ir2qsm: Callable[..., Any]) -> None:
    """LPCNN's .pkl holds the epoch and the optimiser's state beside the model's, in torch's older file format."""
    network = build(make_config("lpcnn", width=0.125))
    names = {**_residual_names(), "step": "alpha"}
    state = {}
    for key, tensor in network.state_dict().items():
        module, _, parameter = key.rpartition(".")
        state[f"{names[module]}.{parameter}" if module else names[parameter]] = tensor
    optimiser = torch.optim.Adam(network.parameters()).state_dict()
    path = tmp_path / "lpcnn_test_Bmodel.pkl"
    run = {"epoch": 3, "model_state": state, "optimizer_state": optimiser}
    torch.save(run, path, _use_new_zipfile_serialization=False)
    ran = ir2qsm("import-weights", path)
    assert ran.code == 0, ran.err
    loaded = load(path.with_suffix(".safetensors"))
    assert (loaded.network_name, loaded.network_input.channels) == ("lpcnn", ("field",))
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert "Lai et al. 2020" in card["source"] and card["config"]["masked"] is False


class Malicious:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def test_a_run_that_asks_to_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": Malicious(), "model_state": {}}, tmp_path / "x.pkl")
    with pytest.raises(WeightsInvalid, match="it asks to run code"):
        imported(tmp_path / "x.pkl")
    assert os.listdir(tmp_path) == ["x.pkl"]


def write_keras(path: Path, c: int = 4) -> None:
    """A file of the layout of MoDL-QSM's last.h5, at another width."""
    h5py = pytest.importorskip("h5py", reason="h5py reads Keras files")
    draw = np.random.default_rng(0).normal
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.2.5"
        file.create_group("input_2").attrs["weight_names"] = np.array([])
        file["my_layer_1/my_layer_1/step:0"] = np.float32(2.5)
        for n in range(1, 21):
            k = 1 if n > 17 else 3
            shape = (k, k, k, 2 if n == 1 else c, 2 if n == 20 else c)
            file[f"model_1/conv3d_{n}/kernel:0"] = draw(size=shape).astype("float32")
        file["model_1/conv3d_20/bias:0"] = draw(size=2).astype("float32")
        for n in range(1, 17):
            for part in ("gamma", "beta", "moving_mean", "moving_variance"):
                file[f"model_1/batch_normalization_{n}/{part}:0"] = draw(size=c).astype("float32") ** 2


def test_a_keras_file_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "last.h5"
    write_keras(path)
    weights = imported(path)
    loaded, stored = load(weights), read_weights(weights).tensors
    assert loaded.network_name == "modl-qsm" and loaded.network.config.width == 0.125
    assert float(stored["step"]) == 2.5
    import h5py

    with h5py.File(path) as file:
        kernel = file["model_1/conv3d_5/kernel:0"][1, 0, 2, 3, 1]
        variance = file["model_1/batch_normalization_4/moving_variance:0"][2]
    assert float(stored["proximal.blocks.1.change.4.weight"][1, 3, 1, 0, 2]) == kernel
    assert float(stored["proximal.blocks.1.change.5.running_var"][2]) == pytest.approx(variance + 1e-3 - 1e-5)


def test_a_keras_file_that_is_damaged_or_points_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.h5"
    write_keras(path)
    import h5py

    with h5py.File(path, "a") as file:
        bias = file["model_1/conv3d_20/bias:0"][()]
        del file["model_1/conv3d_20/bias:0"]
        file["model_1/conv3d_20"].create_dataset(
            "bias:0", shape=bias.shape, dtype="float32", external=[(str(tmp_path / "other.raw"), 0, 8)]
        )
    with pytest.raises(WeightsInvalid, match=r"keeps 'model_1/conv3d_20/bias:0' in another file"):
        imported(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsInvalid, match=r"'last\.h5' cannot be read as HDF5 \(OSError\)"):
        imported(path)
    assert os.listdir(tmp_path) == ["last.h5"]


def test_a_missing_h5py_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(PackageMissing, match=r"needs h5py; install it with: pip install 'ir2qsm\[import\]'"):
        imported(tmp_path / "last.h5")
