"""Tests that every network passes: size, shapes, settings, repeatability, folding, initial weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import nn

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.networks.blocks import Estimate, fold_batch_norm
from IR2QSMLib.networks.registry import NETWORKS, Network, build, config_from_header, make_config, network_name_of
from IR2QSMLib.physics.dipole import DipoleStack
from IR2QSMLib.physics.working_grid import MULTIPLE

OTHERS = [name for name in NETWORKS if name != "ir2unet"]
UNROLLED = [name for name in NETWORKS if NETWORKS[name].unrolled]
SHAPE = (16, 8, 24)


def perturbed(name: str, scale: float = 0.1, **settings: Any) -> Network:
    """A network in which every parameter and statistic changes the result."""
    network = build(make_config(name, **{"width": 0.125, "n_inputs": 1, **settings}))
    generator = torch.Generator().manual_seed(4)
    network.initialise(generator)
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor += scale * (noise.abs() if key.endswith("running_var") else noise)
    return network


@torch.no_grad()
def run(network: Network, x: torch.Tensor, b0: tuple[float, float, float] = (0.0, 0.3, 0.9)) -> Estimate:
    """The network on images (n, c, x, y, z), an unrolled one with B0 along `b0` and a mask that is a box."""
    physics: tuple[Any, ...] = ()
    if network.unrolled:
        mask = torch.zeros(len(x), 1, *x.shape[2:])
        mask[..., 2:-2, 1:-1, 2:-2] = 1.0
        shape = (x.shape[2], x.shape[3], x.shape[4])
        physics = (DipoleStack([[Grid(shape, user_b0_direction=b0)]] * len(x)), mask)
    estimate: Estimate = network(x, *physics)
    return estimate


def image(n_inputs: int = 1, n: int = 1, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return 0.05 * torch.randn(n, n_inputs, *shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("name", "published"), [("unet", 4.15e6), ("xqsm", 5.22e6), ("lpcnn", 446e3), ("modl-qsm", 448e3)]
)
def test_the_published_size_has_the_published_parameters(name: str, published: float) -> None:
    with torch.device("meta"):
        network = build(make_config(name))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_a_working_grid(name: str) -> None:
    network = perturbed(name)
    assert MULTIPLE % network.multiple == 0 and network_name_of(network.config) == name
    shape = tuple(network.multiple * n for n in (2, 1, 3))
    estimate = run(network.eval(), image(n=2, shape=shape))  # type: ignore[arg-type]
    assert estimate.chi.shape == (2, 1, *shape) and estimate.chi.isfinite().all()
    assert (estimate.unexplained is not None) == (name == "modl-qsm")


@pytest.mark.parametrize("name", UNROLLED)
def test_an_unrolled_network_takes_odd_sizes(name: str) -> None:
    assert run(perturbed(name).eval(), image(shape=(9, 7, 11))).chi.shape == (1, 1, 9, 7, 11)


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_changes_the_result(name: str) -> None:
    changes = {
        "width": 0.25,
        "n_inputs": 2,
        "unit": 0.2,
        "n_passes": 2,
        "mean": 0.1,
        "unexplained_mean": 0.1,
        "unexplained_unit": 0.2,
        "masked": False,
        "n_blocks": 1,
    }
    x, usual = image(2), make_config(name, n_inputs=1)
    before = run(perturbed(name).eval(), x[:, :1])
    for setting in (k for k in changes if hasattr(usual, k)):
        other = perturbed(name, **{setting: changes[setting]}).eval()
        estimate = run(other, x[:, : other.config.n_inputs])
        assert not torch.allclose(estimate.chi, before.chi, rtol=1e-3, atol=1e-5), setting


@pytest.mark.parametrize("name", UNROLLED)
def test_dropout_changes_the_training_output_alone(name: str) -> None:
    eval_config, dropping = perturbed(name, dropout=0.0), perturbed(name, dropout=0.5)
    assert dropping.config.eval_config == eval_config.config
    assert not torch.allclose(run(eval_config, image()).chi, run(dropping, image()).chi, rtol=1e-3)
    for network in (eval_config, dropping):
        network.load_state_dict(perturbed(name).state_dict())  # running statistics moved
    assert torch.equal(run(eval_config.eval(), image()).chi, run(dropping.eval(), image()).chi)


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_is_repeatable_and_samples_do_not_mix(name: str) -> None:
    network, x = perturbed(name, 0.05).eval(), image(n=3)
    chi = run(network, x).chi
    assert torch.equal(chi, run(network, x).chi)
    torch.testing.assert_close(chi[1:2], run(network, x[1:2]).chi, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_folded_network_computes_the_same(name: str) -> None:
    network, x = perturbed(name, 0.05).eval(), image(n=2)
    before = run(network, x)
    n_norms = sum(isinstance(m, nn.BatchNorm3d) for m in network.modules())
    fold_batch_norm(network)
    left = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    assert len(left) == (4 if name == "xqsm" else 0)  # that after a sum has no convolution of its own
    assert n_norms > len(left) or name == "whole-brain"
    torch.testing.assert_close(run(network, x), before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_are_the_generators(name: str) -> None:
    weights = []
    for seed in (0, 0, 1):
        network = build(make_config(name, width=0.125))
        network.initialise(torch.Generator().manual_seed(seed))
        weights.append(torch.cat([m.weight.detach().flatten() for m in network.modules() if isinstance(m, nn.Conv3d)]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", OTHERS)
def test_a_new_network_starts_near_a_channel_or_near_nothing(name: str) -> None:
    network, x = build(make_config(name, width=0.25, n_inputs=2)).eval(), image(2)
    network.initialise(torch.Generator().manual_seed(0))
    expected = {"xqsm": x[:, :1], "whole-brain": x[:, 1:]}.get(name, torch.zeros_like(x[:, :1]))
    assert (run(network, x).chi - expected).square().mean().sqrt() < 0.3 * x.std()


@pytest.mark.parametrize("name", OTHERS)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = perturbed(name, **({"dropout": 0.0} if NETWORKS[name].unrolled else {}))
    with torch.enable_grad():
        estimate = run.__wrapped__(network, image(n=2))  # type: ignore[attr-defined]
        total = estimate.chi.square().mean()
        if estimate.unexplained is not None:
            total = total + estimate.unexplained.square().mean()
        (1e3 * total).backward()
    unreached = [parameter for parameter, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # Batch normalisation takes the mean away, and with it the bias of the convolution before it.
    assert [parameter for parameter in unreached if not parameter.endswith("bias")] == []


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("unet", {"width": 0.001}, r"The width is 0\.001; expected a number above 1/128"),
        ("xqsm", {"width": float("nan")}, "The width is nan; expected a number above 1/64"),
        ("lpcnn", {"n_passes": 0}, "The passes are 0; expected a whole number from 1"),
        ("lpcnn", {"mean": float("inf")}, "The network's mean is inf; expected a finite number of ppm"),
        ("modl-qsm", {"unexplained_unit": 0.0}, r"unexplained unit is 0\.0; expected a positive number of ppm"),
        ("modl-qsm", {"dropout": 1.0}, r"The dropout is 1\.0; expected a probability"),
        ("unet", {"n_inputs": 4}, "The input channels are 4; expected 1, 2 or 3"),
        ("xqsm", {"unit": -1.0}, r"The network's unit is -1\.0"),
        ("unet", {"feature_noise": 0.5}, "The network 'unet' has no setting 'feature noise'; leave it out"),
        ("star", {}, "The network is 'star'; expected one of ir2unet, unet, xqsm, lpcnn, modl-qsm, whole-brain"),
    ],
)
def test_a_size_that_no_network_can_have_is_refused(name: str, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterInvalid, match=complaint):
        make_config(name, **settings)


def test_half_precision_does_not_round_the_image_that_xqsm_adds() -> None:
    network, x = build(make_config("xqsm", width=0.125)), image()
    network.initialise(torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        estimate = run(network.eval(), x)
    assert estimate.chi.dtype == torch.float32
    torch.testing.assert_close(estimate.chi, x, atol=1e-7, rtol=1e-6)


def test_octaves_pass_low_frequencies_at_half_the_resolution() -> None:
    """With every convolution at full resolution silenced, what comes out is constant over blocks of 2³."""
    network = perturbed("xqsm").eval()
    low_only = network.last.up
    assert low_only is not None
    for m in network.last.high.modules():
        if isinstance(m, nn.Conv3d | nn.BatchNorm3d):
            nn.init.zeros_(m.weight)
    nn.init.constant_(low_only[1].weight, 0.1)  # the transposed convolution spreads evenly
    x = constant_in_blocks(image())
    chi = (run(network, x).chi - x)[0, 0]
    blocks = chi.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    assert chi.std() > 1e-6
    assert float((blocks - blocks.mean((1, 3, 5), keepdim=True)).abs().max()) < 1e-3 * float(chi.abs().max())


def constant_in_blocks(x: torch.Tensor) -> torch.Tensor:
    """Means over blocks of 2³ voxels, so that the image that is added has no fine structure either."""
    return nn.functional.interpolate(nn.functional.avg_pool3d(x, 2), scale_factor=2)


def test_two_widths_are_two_configurations() -> None:
    assert replace(make_config("unet"), width=0.5) == make_config("unet", width=0.5) != make_config("unet")


def test_a_setting_of_an_earlier_version_is_ignored() -> None:
    assert make_config("whole-brain", unit=0.05, width=0.5) == make_config("whole-brain", width=0.5)


def test_a_header_states_every_setting() -> None:
    values = asdict(make_config("lpcnn", width=0.5))
    assert config_from_header("lpcnn", values) == make_config("lpcnn", width=0.5)
    with pytest.raises(KeyError, match="dropout"):
        config_from_header("lpcnn", {key: value for key, value in values.items() if key != "dropout"})
    with pytest.raises(TypeError, match="depth"):
        config_from_header("lpcnn", {**values, "depth": 2})
