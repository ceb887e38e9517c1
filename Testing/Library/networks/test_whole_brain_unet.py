"""The whole-brain U-net: shapes, homogeneity, receptive field, initial weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.networks.whole_brain import Block, WholeBrainConfig, WholeBrainUnet, leaky_relu

SMALL = WholeBrainConfig(0.125)


def network(config: WholeBrainConfig = SMALL, scale: float = 0.1) -> WholeBrainUnet:
    """A network in which every weight changes the result."""
    whole_brain, generator = WholeBrainUnet(config), torch.Generator().manual_seed(1)
    whole_brain.initialise(generator)
    with torch.no_grad():
        for p in whole_brain.parameters():
            p += scale * torch.randn(p.shape, generator=generator)
    return whole_brain.eval().requires_grad_(False)


def image(shape: tuple[int, int, int] = (16, 24, 8), n: int = 1, n_inputs: int = 3) -> Tensor:
    return 0.05 * torch.randn(n, n_inputs, *shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shape", [(8, 8, 8), (16, 24, 8), (8, 40, 32)])
@pytest.mark.parametrize("n_inputs", [1, 2, 3])
def test_a_map_has_the_shape_of_its_image(shape: tuple[int, int, int], n_inputs: int) -> None:
    estimate = network(WholeBrainConfig(0.125, n_inputs=n_inputs))(image(shape, 2, n_inputs))
    assert estimate.chi.shape == (2, 1, *shape) and bool(estimate.chi.isfinite().all())
    assert estimate.chi.dtype == torch.float32
    assert estimate.iterates == [] and estimate.log_sigma is None and estimate.unexplained is None


@pytest.mark.parametrize("factor", [2.0, 1e-3, 100.0])
def test_twice_the_image_is_twice_the_map(factor: float) -> None:
    whole_brain, x = network(), image()
    one, scaled = whole_brain(x).chi, whole_brain(factor * x).chi
    torch.testing.assert_close(scaled, factor * one, rtol=1e-3, atol=factor * 1e-5)
    assert not whole_brain(0.0 * x).chi.any()
    # It is not linear: minus the image is not minus the map.
    assert (whole_brain(-x).chi + one).norm() > 1e-3 * one.norm()


def test_a_new_network_returns_its_last_channel() -> None:
    for n_inputs in (1, 2, 3):
        whole_brain = WholeBrainUnet(WholeBrainConfig(0.125, n_inputs=n_inputs))
        whole_brain.initialise(torch.Generator().manual_seed(0))
        x = image(n_inputs=n_inputs)
        assert torch.equal(whole_brain(x).chi, x[:, -1:])
        assert all(not m.second.weight.any() for m in whole_brain.modules() if isinstance(m, Block))


def test_a_new_network_learns_in_its_first_steps() -> None:
    whole_brain = WholeBrainUnet(SMALL)
    whole_brain.initialise(torch.Generator().manual_seed(0))
    optimizer, x, aim = torch.optim.Adam(whole_brain.parameters(), 1e-3), image(), image(n_inputs=1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (whole_brain(x).chi - aim).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None and bool(p.grad.any()) for p in whole_brain.parameters())


def test_nothing_has_a_bias_or_a_statistic() -> None:
    names = dict(network().named_parameters())
    assert all(name.endswith("weight") for name in names) and not list(network().buffers())


def test_every_channel_and_every_weight_changes_the_result() -> None:
    whole_brain, x = network(), image((16, 16, 16))
    before = whole_brain(x).chi
    for channel in range(3):
        other = x.clone()
        other[:, channel] *= 1.5
        assert (whole_brain(other).chi - before).norm() > 1e-3 * before.norm()
    for name, p in whole_brain.named_parameters():
        original = p.clone()
        p.zero_()
        assert (whole_brain(x).chi - before).norm() > 1e-5 * before.norm(), name
        p.copy_(original)


def test_the_receptive_field_reaches_the_other_side_of_the_head() -> None:
    """On 80 voxels of 2 mm, a voxel 40 mm away still has an effect."""
    whole_brain = network(WholeBrainConfig(0.0625))
    x = image((80, 8, 8))
    x.requires_grad_(True)
    whole_brain(x).chi[0, 0, 40, 4, 4].backward()
    assert x.grad is not None
    reach = x.grad[0].abs().amax((0, 2, 3)).nonzero().flatten()
    assert int(reach.min()) <= 20 and int(reach.max()) >= 60


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_map_moves_with_the_image(axis: int) -> None:
    """By multiples of eight voxels, the blocks of its coarsest scale."""
    whole_brain = network(WholeBrainConfig(0.0625, n_blocks=1))
    shape = [8, 8, 8]
    shape[axis] = 96
    x = torch.zeros(1, 3, *shape)
    x.narrow(axis + 2, 40, 8).copy_(image((8, 8, 8)))
    moved = x.roll(8, axis + 2)
    a, b = whole_brain(x).chi.roll(8, axis + 2), whole_brain(moved).chi
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_samples_do_not_mix() -> None:
    whole_brain, x = network(), image(n=3)
    torch.testing.assert_close(whole_brain(x).chi[1:2], whole_brain(x[1:2]).chi, atol=1e-6, rtol=1e-4)


def test_half_precision_does_not_round_the_map_that_is_corrected() -> None:
    whole_brain = WholeBrainUnet(SMALL)
    whole_brain.initialise(torch.Generator().manual_seed(0))
    x = image()
    with torch.autocast("cpu", torch.bfloat16):
        estimate = whole_brain(x)
    assert estimate.chi.dtype == torch.float32 and torch.equal(estimate.chi, x[:, -1:])


def test_leaky_relu_has_a_slope_below_zero() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0])
    assert leaky_relu(x).tolist() == pytest.approx([-0.2, 0.0, 3.0])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"width": 0.001}, r"The width is 0\.001; expected a number above 1/128"),
        ({"n_inputs": 4}, "The input channels are 4; expected 1, 2 or 3"),
    ],
)
def test_a_size_that_it_cannot_have_is_refused(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ParameterInvalid, match=complaint):
        WholeBrainConfig(**settings)  # type: ignore[arg-type]
