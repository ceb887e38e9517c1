"""Feature noise, pooling, and batch normalisation re-estimated and folded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from IR2QSMLib.networks.blocks import ConvBlock, FeatureNoise, Pool, UpBlock, fold_batch_norm, reestimate_batch_norm
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig


def with_random_statistics(module: nn.Module) -> nn.Module:
    """Running statistics and affine parameters far from those of a new network."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm3d):
            for tensor, low, high in [
                (part.running_mean, -1.0, 1.0),
                (part.running_var, 0.2, 3.0),
                (part.weight.data, -1.5, 1.5),
                (part.bias.data, -1.0, 1.0),
            ]:
                assert tensor is not None
                tensor.uniform_(low, high)
    return module


@pytest.mark.parametrize("block", [ConvBlock, UpBlock])
def test_folding_batch_norm_changes_nothing(block: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = with_random_statistics(nn.Sequential(block(3, 5), block(5, 2))).eval()
    x = torch.randn(2, 3, 5, 6, 4)
    with torch.no_grad():
        before = module(x)
        folded = fold_batch_norm(module)
        torch.testing.assert_close(folded(x), before, atol=1e-5, rtol=1e-5)
    assert before.std() > 0.01
    assert not any(isinstance(part, nn.BatchNorm3d) for part in folded.modules())


def test_reestimated_batch_norm_has_the_statistics_of_the_batches() -> None:
    network = IR2Unet(IR2UnetConfig(0.125, 2, 1, True, feature_noise=0.0, dropout=0.0))
    network.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    x = torch.randn(4, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1)) * 0.05 + 0.02
    with torch.no_grad():
        expected = network.train()(x).chi
        network.eval()
        for m in network.modules():
            if isinstance(m, nn.BatchNorm3d):
                m.reset_running_stats()
        before = float((network(x).chi - expected).norm() / expected.norm())
        reestimate_batch_norm(network, [(x,)])
        after = float((network(x).chi - expected).norm() / expected.norm())
        first = network.passes[0].pre[0]  # type: ignore[index,union-attr]
        out = first[0](x)
    assert after < 0.02 < 0.1 < before
    assert torch.allclose(first[1].running_mean, out.mean((0, 2, 3, 4)), rtol=1e-3, atol=1e-5)
    assert torch.allclose(first[1].running_var, out.var((0, 2, 3, 4)), rtol=1e-3)
    assert not any(m.training for m in network.modules())
    reestimate_batch_norm(network, [(x,), (3.0 * x,)])  # of several batches, each counts alike
    both = torch.stack([out, first[0](3.0 * x)]).mean((0, 1, 3, 4, 5))
    assert torch.allclose(first[1].running_mean, both, rtol=1e-3, atol=1e-5)


def test_an_up_block_doubles_each_axis_and_a_pool_halves_it() -> None:
    x = torch.randn(1, 4, 6, 2, 8)
    up = UpBlock(4, 2).eval()(x)
    assert up.shape == (1, 2, 12, 4, 16)
    pooled = Pool()(x)
    assert pooled.shape == (1, 4, 3, 1, 4)
    assert pooled[0, 1, 2, 0, 3] == x[0, 1, 4:6, :, 6:8].max()


def test_pooling_keeps_half_precision_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Pool()(torch.randn(1, 1, 4, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_noise_is_added_in_training_only() -> None:
    noise, x = FeatureNoise(1.0), torch.randn(2, 3, 6, 6, 6)
    assert not torch.equal(noise(x), x)
    assert noise.eval()(x) is x


def test_noise_has_the_requested_power() -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 4, 32, 32, 32) * torch.tensor([3.0, 1.0, 1.0, 0.1]).view(1, 4, 1, 1, 1)
    for snr in (20.0, 2.0):
        added = FeatureNoise(1.0, (snr,))(x) - x
        assert float(x.square().mean() / added.square().mean()) == pytest.approx(snr, rel=0.03)
        # White: the same in every channel, and uncorrelated between neighbours.
        assert float(added[:, 3].std() / added[:, 0].std()) == pytest.approx(1.0, rel=0.03)
        assert float((added[..., 1:] * added[..., :-1]).mean() / added.square().mean()) == pytest.approx(0, abs=0.02)


def test_noise_is_added_to_the_stated_share_of_samples_with_drawn_powers() -> None:
    torch.manual_seed(2)
    x = torch.randn(600, 1, 4, 4, 4)
    added = (FeatureNoise(0.7)(x) - x).flatten(1)
    power = added.square().mean(1) / x.flatten(1).square().mean(1)
    noisy = power > 0
    assert float(noisy.float().mean()) == pytest.approx(0.7, abs=0.06)
    snr = torch.tensor([20.0, 10.0, 5.0, 2.0])
    nearest = (power[noisy, None] - 1 / snr).abs().argmin(1)
    assert (nearest.bincount(minlength=4) > 0.15 * len(nearest)).all()


def test_no_probability_means_no_noise() -> None:
    x = torch.randn(2, 3, 4, 4, 4)
    assert torch.equal(FeatureNoise(0.0)(x), x)


def test_the_gradient_passes_through_the_noise() -> None:
    x = torch.randn(1, 2, 4, 4, 4, requires_grad=True)
    FeatureNoise(1.0)(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))
