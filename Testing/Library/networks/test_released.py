"""The released checkpoint of IR2U-net: the same results as the authors' code, and no other network accepted."""

from __future__ import annotations

import ast
import re
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.networks.blocks import Estimate, fold_batch_norm
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.networks.released import UNUSED_KEYS, ir2unet_from_released

State = dict[str, torch.Tensor]
STATISTICS = re.compile(r"running_|num_batches_tracked")


@pytest.fixture(scope="module")
def reference(reference_data: Path) -> dict[str, torch.Tensor]:
    with np.load(reference_data / "ir2unet_parity_width4.npz") as content:
        return {key: torch.from_numpy(content[key]) for key in content.files}


@pytest.fixture
def state(reference: dict[str, torch.Tensor]) -> State:
    return {key.removeprefix("state/"): value for key, value in reference.items() if key.startswith("state/")}


@pytest.fixture(scope="module")
def released_shapes(reference_data: Path) -> dict[str, tuple[int, ...]]:
    lines = (reference_data / "ir2unet_released_keys.txt").read_text(encoding="utf-8").splitlines()
    return {key: ast.literal_eval(shape) for key, shape in (line.split(" ", 1) for line in lines)}


def zeros(shapes: dict[str, tuple[int, ...]]) -> State:
    return {k: torch.zeros(s, dtype=torch.int64 if k.endswith("tracked") else None) for k, s in shapes.items()}


def run(state: State, x: torch.Tensor, folded: bool = False) -> Estimate:
    ours, config = ir2unet_from_released(state)
    network = IR2Unet(config)
    network.load_state_dict(ours)
    network.eval()
    with torch.no_grad():
        estimate: Estimate = (fold_batch_norm(network) if folded else network)(x)
    return estimate


@pytest.mark.parametrize("folded", [False, True])
def test_the_result_and_the_iterates_are_the_released_codes(
    reference: dict[str, torch.Tensor], state: State, folded: bool
) -> None:
    estimate = run(state, reference["input"], folded)
    assert len(estimate.iterates) == 4
    torch.testing.assert_close(estimate.chi, reference["output"], atol=1e-5, rtol=1e-5)
    for t, iterate in enumerate(estimate.iterates):
        torch.testing.assert_close(iterate, reference[f"iterate{t}"], atol=1e-5, rtol=1e-5)
    assert (reference["output"] - reference["input"]).abs().max() > 0.01


def test_the_configuration_is_read_from_the_shapes(state: State) -> None:
    _, config = ir2unet_from_released(state)
    assert config == IR2UnetConfig(width=0.25, n_passes=4, feature_noise=0.0, dropout=0.0)


def test_a_prefix_of_data_parallel_is_ignored(state: State) -> None:
    plain, _ = ir2unet_from_released({k.removeprefix("module."): v for k, v in state.items()})
    wrapped, _ = ir2unet_from_released({f"module.{k.removeprefix('module.')}": v for k, v in state.items()})
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(plain[k], wrapped[k]) for k in plain)


def test_the_state_dict_is_not_changed(state: State) -> None:
    keys = set(state)
    ir2unet_from_released(state)
    assert set(state) == keys


def test_the_authors_own_keys_and_shapes_are_accepted(released_shapes: dict[str, tuple[int, ...]]) -> None:
    n_parameters = sum(prod(shape) for key, shape in released_shapes.items() if not STATISTICS.search(key))
    assert n_parameters == 10_375_866
    unused = {k: s for k, s in released_shapes.items() if UNUSED_KEYS.match(k.removeprefix("module."))}
    n_unused = sum(prod(shape) for key, shape in unused.items() if not STATISTICS.search(key))
    assert round(n_unused, -3) == 325_000

    converted, config = ir2unet_from_released(zeros(released_shapes))
    assert config.channels == (16, 32, 64, 128)
    assert sum(v.numel() for k, v in converted.items() if not STATISTICS.search(k)) == n_parameters - n_unused
    assert len(converted) == len(released_shapes) - len(unused)


def test_every_used_tensor_is_loaded_once(state: State) -> None:
    """Their values are all different."""
    numbered = {k: torch.full_like(v, i) for i, (k, v) in enumerate(state.items())}
    converted, _ = ir2unet_from_released(numbered)
    used = {int(v.flatten()[0]) for v in converted.values()}
    unused = {i for i, k in enumerate(state) if UNUSED_KEYS.match(k.removeprefix("module."))}
    assert len(used) == len(converted)
    assert used == set(range(len(state))) - unused


def find(state: State, part: str) -> str:
    return next(k for k in state if part in k)


@pytest.mark.parametrize(
    "part",
    [
        "iteration0_pre_transform.2.conv.0.bias",
        "iteration2_layer1_encoder_conv1.conv.0.weight",
        "iteration3_middle.out_gate.conv.1.running_mean",
        "iteration1_layer0_decoder_up.deconv.1.num_batches_tracked",
        "post_transform_conv_block2.0.weight",
    ],
)
def test_a_missing_key_is_refused_by_name(state: State, part: str) -> None:
    del state[find(state, part)]
    with pytest.raises(WeightsInvalid, match=rf"1 keys missing \['{re.escape(part)}'\], 0 unknown .*IR2Unet\.pth"):
        ir2unet_from_released(state)


@pytest.mark.parametrize("key", ["module.optimiser", "iteration4_pre", "iteration1_layer0_encoder_conv3.conv.0.weight"])
def test_an_unknown_key_is_refused_by_name(state: State, key: str) -> None:
    state[key] = torch.zeros(1)
    with pytest.raises(WeightsInvalid, match=rf"0 keys missing \[\], 1 unknown \['{key.removeprefix('module.')}'\]"):
        ir2unet_from_released(state)


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(state: State) -> None:
    key = find(state, "iteration1_layer2_encoder_conv2.1.conv.0.weight")
    state[key] = state[key][:, :-1]
    with pytest.raises(WeightsInvalid, match=r"'iteration1_layer2_enc.* shape \(16, 15, 3, 3, 3\), expected \(16, 16"):
        ir2unet_from_released(state)


@pytest.mark.parametrize("pass_", ["iteration3_", "iteration1_"])
def test_another_number_of_passes_is_refused(state: State, pass_: str) -> None:
    with pytest.raises(WeightsInvalid, match=r"has shape \(1, 4, 1, 1, 1\), expected \(1, 3, 1, 1, 1\)"):
        ir2unet_from_released({k: v for k, v in state.items() if pass_ not in k})


@pytest.mark.parametrize("content", [{}, {"weight": torch.zeros(3)}])
def test_another_network_is_refused(content: State) -> None:
    with pytest.raises(WeightsInvalid, match=r"no IR2U-net \(no iteration0_pre_transform\); expected the authors'"):
        ir2unet_from_released(content)


def test_a_first_layer_that_is_no_convolution_is_refused(state: State) -> None:
    state[find(state, "iteration0_pre_transform.0.conv.0.weight")] = torch.zeros(4)
    with pytest.raises(WeightsInvalid, match="holds no IR2U-net"):
        ir2unet_from_released(state)
