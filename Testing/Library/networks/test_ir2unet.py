"""IR2U-net: its settings, initial weights, passes and repeatability."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.networks.blocks import ConvBlock, Estimate, UpBlock, fold_batch_norm
from IR2QSMLib.networks.ir2unet import MULTIPLE, IR2Unet, IR2UnetConfig

TINY = IR2UnetConfig(width=0.125, n_passes=2)


def initialised(config: IR2UnetConfig = TINY) -> IR2Unet:
    network = IR2Unet(config)
    network.initialise(torch.Generator().manual_seed(3))
    return network


def perturbed(config: IR2UnetConfig = TINY, scale: float = 0.2) -> IR2Unet:
    """A network in which every parameter and statistic changes the result."""
    network, generator = initialised(config), torch.Generator().manual_seed(4)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor += scale * (noise.abs() if name.endswith("running_var") else noise)
    return network


def image(n_inputs: int = 1, n: int = 1, shape: tuple[int, int, int] = (16, 8, 24)) -> torch.Tensor:
    return torch.randn(n, n_inputs, *shape, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def run(network: IR2Unet, x: torch.Tensor) -> Estimate:
    estimate: Estimate = network(x)
    return estimate


def test_the_published_size_has_the_published_parameters() -> None:
    """10,375,866 in the released file, of which 325,313 belong to layers that are never used."""
    with torch.device("meta"):
        network = IR2Unet(IR2UnetConfig())
    assert sum(p.numel() for p in network.parameters()) == 10_375_866 - 325_313
    assert IR2UnetConfig().channels == (16, 32, 64, 128)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.3, 0.7, 1.3])
def test_any_width_makes_a_network_whose_channels_double(width: float) -> None:
    config = replace(TINY, width=width)
    assert [b / a for a, b in zip(config.channels, config.channels[1:], strict=False)] == [2, 2, 2]
    assert run(initialised(config).eval(), image()).chi.shape == (1, 1, 16, 8, 24)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"width": 0.03}, r"The width is 0\.03; expected a number above 1/32"),
        ({"width": -1.0}, "The width is -1"),
        ({"width": float("nan")}, "The width is nan"),
        ({"width": "wide"}, "The width is 'wide'"),
        ({"n_passes": 0}, "The passes are 0; expected a whole number from 1"),
        ({"n_passes": 1.5}, r"The passes are 1\.5"),
        ({"n_inputs": 4}, "The input channels are 4; expected 1, 2 or 3"),
        ({"dropout": 1.0}, r"The dropout is 1\.0; expected a probability from 0 to below 1"),
        ({"feature_noise": -0.1}, r"The feature noise is -0\.1"),
        ({"feature_noise": float("nan")}, "The feature noise is nan"),
    ],
)
def test_a_size_that_no_network_can_have_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterInvalid, match=complaint):
        replace(TINY, **change)


def test_the_result_and_every_iterate_have_the_inputs_size() -> None:
    x = image(2, n=3, shape=(8, 16, 24))
    estimate = run(perturbed(replace(TINY, n_passes=3, n_inputs=2, uncertainty=True)).eval(), x)
    assert len(estimate.iterates) == 3
    assert estimate.log_sigma is not None
    for tensor in (estimate.chi, estimate.log_sigma, *estimate.iterates):
        assert tensor.shape == (3, 1, 8, 16, 24)
        assert tensor.isfinite().all()


def test_a_new_network_returns_the_last_channel_of_its_input() -> None:
    for n_passes in (1, 2, 4):
        for n_inputs in (1, 2):
            x = image(n_inputs)
            estimate = run(initialised(replace(TINY, n_passes=n_passes, n_inputs=n_inputs)).eval(), x)
            assert torch.equal(estimate.chi, x[:, -1:])
            assert all(torch.equal(iterate, x[:, -1:]) for iterate in estimate.iterates)


def test_every_pass_adds_to_the_input_and_not_to_the_pass_before() -> None:
    network, x = perturbed(replace(TINY, n_passes=3, n_inputs=2)).eval(), image(2)
    for module in (network.passes[1].head, network.passes[2].head):
        nn.init.zeros_(module.weight)
        nn.init.constant_(module.bias, 0.25)
    iterates = run(network, x).iterates
    assert not torch.allclose(iterates[0], x[:, -1:] + 0.25, atol=1e-3)
    for iterate in iterates[1:]:
        torch.testing.assert_close(iterate, x[:, -1:] + 0.25)


def test_a_new_network_weighs_the_last_pass_against_the_first() -> None:
    """So that the input, which every pass adds, is in the result once and yet what a pass learns reaches it."""
    network, x = initialised(replace(TINY, n_passes=4)).eval(), image()
    for unet, effect in zip(network.passes, (-0.1, 0.0, 0.0, 0.1), strict=True):
        nn.init.constant_(unet.head.bias, 0.1)
        torch.testing.assert_close(run(network, x).chi, x + effect)
        nn.init.zeros_(unet.head.bias)


def test_without_a_residual_the_result_is_that_of_the_last_pass() -> None:
    config, x = replace(TINY, n_passes=3, n_inputs=2, residual=False), image(2)
    estimate = run(initialised(config).eval(), x)
    assert torch.equal(estimate.chi, estimate.iterates[-1])
    network = initialised(config).eval()
    for unet in network.passes:
        nn.init.zeros_(unet.head.weight)
        nn.init.constant_(unet.head.bias, 0.25)
    for iterate in (estimate := run(network, x)).iterates:
        torch.testing.assert_close(iterate, torch.full_like(iterate, 0.25))  # nothing of the input is added
    torch.testing.assert_close(estimate.chi, torch.full_like(estimate.chi, 0.25))


def test_a_new_network_has_one_uncertainty_everywhere() -> None:
    estimate = run(initialised(replace(TINY, uncertainty=True)).eval(), image())
    assert estimate.log_sigma is not None
    assert torch.equal(estimate.log_sigma, torch.full_like(estimate.log_sigma, -4.0))


def test_initial_weights_are_drawn_from_the_generator_with_he_s_spread() -> None:
    config = IR2UnetConfig(width=0.5, n_passes=2)
    first, same, other = IR2Unet(config), IR2Unet(config), IR2Unet(config)
    for network, seed in [(first, 0), (same, 0), (other, 1)]:
        network.initialise(torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    for block, other_block in zip(first.modules(), other.modules(), strict=True):
        if isinstance(block, ConvBlock | UpBlock):
            weight = block[0].weight.detach()
            n_sources = block[0].in_channels * (27 if isinstance(block, ConvBlock) else 8)
            assert float(weight.square().mean()) == pytest.approx(2.0 / n_sources, rel=0.5)
            assert not torch.equal(weight, other_block[0].weight)
    assert all(not m.bias.any() for m in first.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d))


def test_the_gradient_reaches_every_parameter_after_one_step() -> None:
    """From the start only the heads learn; one step later nothing is cut off."""
    torch.manual_seed(0)
    network = initialised(replace(TINY, n_passes=3, uncertainty=True, feature_noise=0.0, dropout=0.0))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    x = image(n=2)
    for _ in range(2):
        optimiser.zero_grad()
        estimate = network(x)
        iterates = sum(i.square().mean() for i in estimate.iterates)
        (estimate.chi.square().mean() + 0.5 * iterates).backward(retain_graph=True)
        estimate.log_sigma.square().mean().backward()
        optimiser.step()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # Batch normalisation takes the mean away, and with it the bias of the convolution before it.
    assert [name for name in dead if not name.endswith(".0.bias")] == []


def test_evaluation_is_repeatable_although_noise_and_dropout_are_set() -> None:
    network = perturbed(replace(TINY, feature_noise=0.99, dropout=0.5)).eval()
    x = image()
    assert torch.equal(run(network, x).chi, run(network, x).chi)


@pytest.mark.parametrize("change", [{"feature_noise": 0.99}, {"dropout": 0.5}])
def test_noise_and_dropout_change_the_training_output_alone(change: dict[str, float]) -> None:
    silent = replace(TINY, feature_noise=0.0, dropout=0.0)
    network = perturbed(replace(silent, **change))  # type: ignore[arg-type]
    eval_config = perturbed(silent)
    x = image(n=2)
    torch.manual_seed(0)
    assert not torch.allclose(run(network, x).chi, run(eval_config, x).chi, atol=1e-4)
    for net in (network, eval_config):
        net.load_state_dict(perturbed(silent).state_dict())  # running statistics moved
    assert torch.equal(run(network.eval(), x).chi, run(eval_config.eval(), x).chi)


@pytest.mark.parametrize("change", [{"width": 0.25}, {"n_passes": 3}, {"n_inputs": 2}])
def test_every_size_changes_the_result(change: dict[str, float]) -> None:
    other = replace(TINY, **change)  # type: ignore[arg-type]
    x = image(2)
    before = run(perturbed().eval(), x[:, -1:]).chi
    assert not torch.allclose(before, run(perturbed(other).eval(), x[:, -other.n_inputs :]).chi, atol=1e-4)


def test_an_uncertainty_head_does_not_change_the_map() -> None:
    plain, with_head = perturbed().eval(), perturbed(replace(TINY, uncertainty=True)).eval()
    with_head.load_state_dict(plain.state_dict(), strict=False)
    x = image()
    assert run(plain, x).log_sigma is None
    estimate = run(with_head, x)
    assert estimate.log_sigma is not None
    assert estimate.log_sigma.std() > 1e-3
    assert torch.equal(estimate.chi, run(plain, x).chi)


def test_both_channels_change_the_result() -> None:
    network = perturbed(replace(TINY, n_inputs=2)).eval()
    x = image(2)
    before = run(network, x).chi
    for channel in (0, 1):
        changed = x.clone()
        changed[:, channel] += 0.5 * torch.randn(x.shape[2:])
        assert not torch.allclose(run(network, changed).chi, before, atol=1e-3)


def test_features_and_state_of_a_pass_reach_the_next() -> None:
    """With the map of the first pass fixed, so that nothing else does."""
    network = perturbed().eval()
    x = image()
    before = run(network, x).iterates
    first = network.passes[0]
    for part in [*first.decoders, first.middle]:
        hook = part.register_forward_hook(lambda *call: call[-1] * 1.5)
        head = first.post.register_forward_hook(lambda *call: torch.zeros_like(call[-1]))
        changed = run(network, x).iterates
        hook.remove()
        unchanged = run(network, x).iterates
        head.remove()
        assert torch.equal(changed[0], unchanged[0])
        assert not torch.allclose(changed[1], unchanged[1], atol=1e-4)
    assert torch.equal(run(network, x).iterates[1], before[1])


def test_samples_of_a_batch_do_not_mix() -> None:
    network = perturbed(scale=0.05).eval()
    x = image(n=3)
    torch.testing.assert_close(run(network, x).chi[1:2], run(network, x[1:2]).chi, atol=1e-5, rtol=1e-5)


def test_a_folded_network_computes_the_same() -> None:
    network, x = perturbed(replace(TINY, uncertainty=True), scale=0.05).eval(), image(n=2)
    before = run(network, x)
    after = run(fold_batch_norm(network), x)  # type: ignore[arg-type]
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm3d) for m in network.modules())


def test_half_precision_keeps_the_sum_of_the_iterates_exact() -> None:
    """The head's large weights of opposite sign would amplify rounding errors."""
    network, x = initialised().eval(), image()
    with torch.autocast("cpu", torch.bfloat16):
        estimate = run(network, x)
    assert estimate.chi.dtype == torch.float32
    assert torch.equal(estimate.chi, x)


def test_a_size_that_is_no_multiple_of_eight_does_not_run() -> None:
    assert MULTIPLE == 8
    with pytest.raises(RuntimeError):
        run(initialised().eval(), image(shape=(12, 8, 8)))


def test_without_normalisation_training_computes_what_inference_does() -> None:
    network, x = perturbed(replace(TINY, normalised=False, feature_noise=0.0, dropout=0.0), 0.05), image(n=2)
    assert not any(isinstance(m, nn.BatchNorm3d) for m in network.modules())
    trained, inferred = run(network.train(), x), run(network.eval(), x)
    torch.testing.assert_close(trained.chi, inferred.chi)
    single = run(network.train(), x[:1])
    assert (trained.chi[:1] - single.chi).norm() < 1e-4 * single.chi.norm()


def test_a_network_without_normalisation_takes_the_weights_of_a_folded_one() -> None:
    normalised, x = perturbed().eval(), image()
    before = run(normalised, x).chi
    network = IR2Unet(replace(TINY, normalised=False)).eval()
    network.load_state_dict(fold_batch_norm(normalised).state_dict())
    torch.testing.assert_close(run(network, x).chi, before, atol=1e-4, rtol=1e-3)
