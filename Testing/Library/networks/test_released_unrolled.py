"""Released checkpoints of LPCNN and MoDL-QSM: the same results as the authors' code, and nothing else accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.networks.registry import build
from IR2QSMLib.networks.released import (
    LPCNN_NORMALISATION,
    MODL_NORMALISATION,
    any_from_released,
    lpcnn_from_released,
    modl_qsm_from_released,
)
from IR2QSMLib.physics.dipole import DipoleStack

State = dict[str, Tensor]
GRID = Grid((10, 12, 8), user_b0_direction=(0.0, 0.3, 0.9))
C = 4


def drawn(*shape: int, seed: int, positive: bool = False) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return 0.5 + x.abs() if positive else 0.08 * x


def lpcnn_state(c: int = C) -> State:
    """The keys and shapes of `LPCNN.state_dict()` in the authors' lib/model/lpcnn/lpcnn.py, at another width."""
    state = {"alpha": torch.tensor([1.7]), "gen.0.weight": drawn(c, 1, 3, 3, 3, seed=1)}
    for i in range(8):
        for n in (1, 2):
            at, seed = f"gen.2.{i}", 10 * i + n
            state[f"{at}.conv{n}.weight"] = drawn(c, c, 3, 3, 3, seed=100 + seed)
            state[f"{at}.bn{n}.weight"] = drawn(c, seed=200 + seed, positive=True)
            state[f"{at}.bn{n}.bias"] = drawn(c, seed=300 + seed)
            state[f"{at}.bn{n}.running_mean"] = drawn(c, seed=400 + seed)
            state[f"{at}.bn{n}.running_var"] = drawn(c, seed=500 + seed, positive=True)
            state[f"{at}.bn{n}.num_batches_tracked"] = torch.tensor(7)
    for at, c_out, seed in (("gen.3", c, 2), ("gen.5", c, 3), ("gen.7", 1, 4)):
        state[f"{at}.weight"] = drawn(c_out, c, 1, 1, 1, seed=seed)
    return state


def modl_arrays(c: int = C) -> State:
    """The datasets of the authors' logs/last.h5 (Keras 2.2.5), at another width."""
    arrays = {"my_layer_1/my_layer_1/step:0": torch.tensor(1.3)}
    sizes = {1: (3, 2, c), 18: (1, c, c), 19: (1, c, c), 20: (1, c, 2)}
    for n in range(1, 21):
        k, c_in, c_out = sizes.get(n, (3, c, c))
        arrays[f"model_1/conv3d_{n}/kernel:0"] = drawn(k, k, k, c_in, c_out, seed=n)
    arrays["model_1/conv3d_20/bias:0"] = drawn(2, seed=40)
    for n in range(1, 17):
        for i, (part, positive) in enumerate(
            (("gamma", True), ("beta", False), ("moving_mean", False), ("moving_variance", True))
        ):
            arrays[f"model_1/batch_normalization_{n}/{part}:0"] = drawn(c, seed=100 * i + n, positive=positive)
    return arrays


def dipole(x: Tensor) -> Tensor:
    """D∗x by a full complex transform, with a kernel of this test."""
    k = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) for n in GRID.shape), indexing="ij")
    b = GRID.b0_direction
    square = sum(f * f for f in k)
    along = sum(f * c for f, c in zip(k, b, strict=True)) ** 2
    kernel = torch.where(square > 0, 1 / 3 - along / square.clamp_min(1e-30), 0.0)
    return torch.fft.ifftn(kernel * torch.fft.fftn(x.double(), dim=(-3, -2, -1)), dim=(-3, -2, -1)).real.float()


def problem() -> tuple[Tensor, Tensor]:
    """A field [ppm] that is zero outside a mask: (1, 1, x, y, z)."""
    mask = torch.zeros(1, 1, *GRID.shape)
    mask[..., 2:-2, 2:-3, 1:-2] = 1.0
    return 0.05 * drawn(1, 1, *GRID.shape, seed=9) * mask, mask


def residual(x: Tensor, conv: Callable[[int, Tensor], Tensor], norm: Callable[[int, Tensor], Tensor]) -> Tensor:
    """The shared network, its convolutions numbered from 1 and its normalisations from 1."""
    x = torch.relu(conv(1, x))
    for i in range(8):
        change = torch.relu(norm(2 * i + 1, conv(2 * i + 2, x)))
        x = torch.relu(norm(2 * i + 2, conv(2 * i + 3, change)) + x)
    x = torch.relu(conv(19, torch.relu(conv(18, x))))
    return conv(20, x)


@torch.no_grad()
def test_an_imported_lpcnn_computes_what_the_released_code_does() -> None:
    """That code takes the zeros outside the mask for data, and masks after undoing the normalisation."""
    state, (field, mask) = lpcnn_state(), problem()
    mean, std = LPCNN_NORMALISATION

    def conv(n: int, x: Tensor) -> Tensor:
        name = {1: "gen.0", 18: "gen.3", 19: "gen.5", 20: "gen.7"}.get(n, f"gen.2.{(n - 2) // 2}.conv{1 + n % 2}")
        w = state[f"{name}.weight"]
        return F.conv3d(x, w, padding=w.shape[-1] // 2)

    def norm(n: int, x: Tensor) -> Tensor:
        at = f"gen.2.{(n - 1) // 2}.bn{2 - n % 2}"
        return F.batch_norm(x, *(state[f"{at}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))

    start = state["alpha"] * dipole(field)
    x = start
    for i in range(3):
        if i > 0:
            x = x + start - state["alpha"] * dipole(dipole(x))
        x = (residual((x - mean) / std * mask, conv, norm) * std + mean) * mask
    ours, config = lpcnn_from_released({f"module.{k}": v for k, v in state.items()})
    network = build(config)
    network.load_state_dict(ours)
    chi = network.eval()(field, DipoleStack([[GRID]]), mask).chi
    assert float(x.std()) > 1e-4 and config.width == C / 32
    torch.testing.assert_close(chi, x, atol=1e-5 * float(x.abs().max()), rtol=1e-3)


@torch.no_grad()
def test_an_imported_modl_qsm_computes_what_the_released_code_does() -> None:
    """Keras's kernels are (x, y, z, in, out) and its variances have 0.001 added."""
    arrays, (field, mask) = modl_arrays(), problem()
    mean, std, more_mean, more_std = MODL_NORMALISATION
    means, stds = torch.tensor([mean, more_mean]).view(1, 2, 1, 1, 1), torch.tensor([std, more_std]).view(1, 2, 1, 1, 1)

    def conv(n: int, x: Tensor) -> Tensor:
        kernel = arrays[f"model_1/conv3d_{n}/kernel:0"]
        w = torch.einsum("xyzio->oixyz", kernel)
        return F.conv3d(x, w, arrays.get(f"model_1/conv3d_{n}/bias:0"), padding=w.shape[-1] // 2)

    def norm(n: int, x: Tensor) -> Tensor:
        gamma, beta, running_mean, variance = (
            arrays[f"model_1/batch_normalization_{n}/{k}:0"].view(1, -1, 1, 1, 1)
            for k in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return gamma * (x - running_mean) / (variance + 1e-3).sqrt() + beta

    def adjoint(y: Tensor) -> Tensor:
        return torch.cat([dipole(y), y], dim=1)

    step = arrays["my_layer_1/my_layer_1/step:0"]
    x = start = step * adjoint(field)
    for i in range(3):
        if i > 0:
            x = x - step * adjoint(dipole(x[:, :1]) + x[:, 1:]) + start
        x = residual((x - means) / stds * mask, conv, norm) * mask * stds + means
    x = x * mask
    ours, config = modl_qsm_from_released(arrays)
    network = build(config)
    network.load_state_dict(ours)
    estimate = network.eval()(field, DipoleStack([[GRID]]), mask)
    assert estimate.unexplained is not None and float(x[:, 0].std()) > 1e-4
    torch.testing.assert_close(estimate.chi, x[:, :1], atol=1e-5 * float(x.abs().max()), rtol=1e-3)
    torch.testing.assert_close(estimate.unexplained, x[:, 1:], atol=1e-5 * float(x.abs().max()), rtol=1e-3)


NETWORKS = {"lpcnn": (lpcnn_state, lpcnn_from_released), "modl-qsm": (modl_arrays, modl_qsm_from_released)}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_is_loaded_once(name: str) -> None:
    make, convert = NETWORKS[name]
    state = make()
    numbered = {k: torch.full_like(v, float(i)) for i, (k, v) in enumerate(state.items()) if v.is_floating_point()}
    converted, _ = convert({**state, **numbered})
    values = [round(float(v.flatten()[0])) for v in converted.values() if v.is_floating_point()]
    assert sorted(values) == list(range(len(numbered))) or sorted(values) == sorted(
        i for i, v in enumerate(state.values()) if v.is_floating_point()
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lpcnn", "alpha"),
        ("lpcnn", "gen.2.3.bn2.running_var"),
        ("lpcnn", "gen.7.weight"),
        ("modl-qsm", "my_layer_1/my_layer_1/step:0"),
        ("modl-qsm", "model_1/conv3d_20/bias:0"),
        ("modl-qsm", "model_1/batch_normalization_16/moving_variance:0"),
    ],
)
def test_missing_unknown_and_misshapen_keys_are_refused(name: str, key: str) -> None:
    make, convert = NETWORKS[name]
    with pytest.raises(WeightsInvalid, match=r"is no complete .*: \d keys missing \["):
        convert({k: v for k, v in make().items() if k != key})
    with pytest.raises(WeightsInvalid, match=r"0 keys missing \[\], 1 unknown"):
        convert({**make(), "conv3d_21/kernel:0" if name == "modl-qsm" else "gen.9.weight": torch.zeros(1)})
    if key != "my_layer_1/my_layer_1/step:0":
        with pytest.raises(WeightsInvalid, match=r"has shape \(.*\), expected \("):
            convert({**make(), key: torch.zeros(C + 1)})


def test_a_checkpoint_is_recognised_by_its_keys() -> None:
    for make, convert in NETWORKS.values():
        assert any_from_released(make())[1] == convert(make())[1]
    with pytest.raises(WeightsInvalid, match="holds no IR2U-net"):
        any_from_released({"weight": torch.zeros(1)})
    with pytest.raises(WeightsInvalid, match="holds no LPCNN"):
        any_from_released({"gen.1.weight": torch.zeros(1)})
    with pytest.raises(WeightsInvalid, match="holds no MoDL-QSM"):
        any_from_released({"model_1/conv3d_2/kernel:0": torch.zeros(1)})
