"""From weights files to networks: complete headers, older headers, and files that change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.inversion.learned.load import bundled, load
from IR2QSMLib.inversion.learned.network_input import OLD_NAMES, NetworkInput
from IR2QSMLib.io.weights import read_weights, weights_bytes
from IR2QSMLib.networks.ir2unet import IR2UnetConfig
from IR2QSMLib.networks.registry import make_config

MakeWeights = Callable[..., Path]
LATER = IR2UnetConfig.later_settings


@pytest.fixture
def refused(make_weights: MakeWeights, tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """The message for a weights file whose header was changed."""

    def refuse(change: dict[str, Any]) -> str:
        weights = read_weights(make_weights(NetworkInput(("field",))))
        path = tmp_path / "other.safetensors"
        path.write_bytes(weights_bytes(weights.tensors, {**weights.header, **change}, half=False))
        with pytest.raises(WeightsInvalid) as caught:
            load(path)
        return str(caught.value)

    return refuse


def header_of(make_weights: MakeWeights) -> dict[str, Any]:
    return read_weights(make_weights(NetworkInput(("field",)))).header


def test_the_bundled_weights_load_and_agree_with_their_card() -> None:
    loaded = load(bundled())
    card = json.loads(bundled().with_suffix(".json").read_text(encoding="utf-8"))
    assert loaded.sha256 == card["sha256"]
    assert loaded.network.config.n_inputs == loaded.network_input.n_channels


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("config", {"widht": 1}, "lacks or misnames a setting (IR2UnetConfig.__init__() got an unexpected keyword"),
        ("config", {"width": 0.25}, "have (2, 1, 3, 3, 3) for 'passes.0.pre.0.0.weight', expected (4, 1, 3, 3, 3)"),
        ("config", {"n_passes": 3}, "do not fit the network: "),
        (
            "reading",
            {"channels": ["field", "first_map"]},
            "cannot be: The network has 1 input channels and its input is 2",
        ),
    ],
)
def test_a_header_that_does_not_describe_its_tensors_is_refused(
    refused: Callable[..., str], make_weights: MakeWeights, part: str, change: dict[str, Any], message: str
) -> None:
    assert message in refused({part: {**header_of(make_weights)[part], **change}})


def test_another_network_is_refused(refused: Callable[..., str]) -> None:
    assert "is for a network 'vnet', which this version does not know" in refused({"network": "vnet"})


@pytest.mark.parametrize(
    ("part", "name"),
    [("reading", "channels")] + [("config", f.name) for f in fields(IR2UnetConfig) if f.name not in LATER],
)
def test_a_header_without_a_setting_is_refused(
    refused: Callable[..., str], make_weights: MakeWeights, part: str, name: str
) -> None:
    rest = {k: v for k, v in header_of(make_weights)[part].items() if k != name}
    assert f"'other.safetensors' lacks or misnames a setting ('{name}'); import or train it again." in refused(
        {part: rest}
    )


@pytest.mark.parametrize("name", LATER)
def test_older_weights_without_a_later_setting_have_its_old_value(
    make_weights: MakeWeights, tmp_path: Path, name: str
) -> None:
    weights, path = read_weights(make_weights(NetworkInput(("field",)))), tmp_path / "older.safetensors"
    config = {k: v for k, v in weights.header["config"].items() if k != name}
    path.write_bytes(weights_bytes(weights.tensors, {**weights.header, "config": config}, half=False))
    assert getattr(load(path).network.config, name) == LATER[name] == weights.header["config"][name]


@pytest.mark.parametrize("reads", ["both", "tikhonov"])
def test_weights_of_the_previous_version_load(make_weights: MakeWeights, tmp_path: Path, reads: str) -> None:
    """Their headers had parameters of the first map, another name for it, and another calibration."""
    path_of_weights = make_weights(NetworkInput(OLD_NAMES[reads]), uncertainty=True)
    weights, path = read_weights(path_of_weights), tmp_path / "older.safetensors"
    header = {
        **weights.header,
        "reading": {"reads": reads, "floor": 0.01, "per_noise": 4.0, "n_steps": 12},
        "calibration": {"features": ["log_sigma", "spared"], "low": [0.0] * 2, "high": [1.0] * 2, "matrix": []},
    }
    path.write_bytes(weights_bytes(weights.tensors, header, half=False))
    loaded = load(path)
    assert loaded.network_input == NetworkInput(OLD_NAMES[reads])
    assert loaded.calibration is None


@pytest.mark.parametrize("unit", [None, 0.05, 1.0])
def test_whole_brain_weights_with_a_unit_load_as_those_without(
    make_weights: MakeWeights, tmp_path: Path, unit: float | None
) -> None:
    """The network is homogeneous: twice the unit and half the unit compute the same."""
    weights = read_weights(make_weights(kind="whole-brain"))
    config = weights.header["config"] if unit is None else {**weights.header["config"], "unit": unit}
    path = tmp_path / "older.safetensors"
    path.write_bytes(weights_bytes(weights.tensors, {**weights.header, "config": config}, half=False))
    assert load(path).network.config == make_config("whole-brain", width=0.125)


def test_parameters_that_were_loaded_in_inference_mode_are_ordinary_tensors(make_weights: MakeWeights) -> None:
    with torch.inference_mode():
        network = load(make_weights()).network
    assert not any(p.is_inference() for p in network.parameters())


@pytest.mark.parametrize("part", ["reading", "config"])
@pytest.mark.parametrize("value", [None, [1], "both"])
def test_settings_that_are_no_mapping_are_refused(refused: Callable[..., str], part: str, value: object) -> None:
    assert "lacks or misnames a setting" in refused({part: value})


def test_a_file_is_read_once_until_it_changes(make_weights: MakeWeights, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    contents = [make_weights(seed=seed).read_bytes() for seed in (1, 2)]
    assert len(contents[0]) == len(contents[1])
    path.write_bytes(contents[0])
    os.utime(path, ns=(10**18, 10**18))
    first = load(path)
    assert load(path) is first
    path.write_bytes(contents[1])
    os.utime(path, ns=(10**18, 10**18 + 1000))
    second = load(path)
    assert second.sha256 != first.sha256 and second.sha256 == read_weights(path).sha256
    path.write_bytes(make_weights(uncertainty=True).read_bytes())  # another size, the same time
    os.utime(path, ns=(10**18, 10**18 + 1000))
    assert load(path).network.config.uncertainty
    path.unlink()
    with pytest.raises(WeightsInvalid, match="cannot be read"):
        load(path)
