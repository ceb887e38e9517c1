"""A run begins from random weights or from those of a file, whatever unit these count in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.networks.blocks import Estimate
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.networks.registry import build, make_config
from IR2QSMLib.training.initial_weights import initial_network, load_initial_weights
from Testing.Library.training.small_runs import RECIPE, PacedRun

CONFIG = {"width": 0.125, "n_passes": 2, "uncertainty": True}


def estimates(network: IR2Unet) -> Estimate:
    image = 0.05 * torch.randn(1, network.config.n_inputs, 16, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return network.eval()(image)


@pytest.fixture
def weights(make_weights: Callable[..., Path]) -> Path:
    return make_weights(NetworkInput(("first_map",)), **CONFIG)


def test_initial_weights_compute_the_same_in_another_unit(weights: Path) -> None:
    same, other = (IR2Unet(IR2UnetConfig(n_inputs=1, unit=unit, **CONFIG)) for unit in (1.0, 0.05))
    for network in (same, other):
        load_initial_weights(weights, network)
    first, second = estimates(same), estimates(other)
    assert first.log_sigma is not None and second.log_sigma is not None
    assert torch.allclose(first.chi, second.chi, atol=1e-6) and float(first.chi.std()) > 0.01
    assert torch.allclose(first.log_sigma, second.log_sigma, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first.iterates, second.iterates, strict=True))
    assert not torch.equal(same.state_dict()["passes.0.head.weight"], other.state_dict()["passes.0.head.weight"])


def test_weights_with_normalisation_initialise_a_network_without(weights: Path) -> None:
    normalised, plain = (IR2Unet(IR2UnetConfig(n_inputs=1, normalised=n, **CONFIG)) for n in (True, False))
    for network in (normalised, plain):
        load_initial_weights(weights, network)
    assert torch.allclose(estimates(normalised).chi, estimates(plain).chi, atol=1e-5)


def test_weights_of_another_size_are_refused(weights: Path) -> None:
    with pytest.raises(WeightsInvalid, match="give weights trained for this network"):
        load_initial_weights(weights, IR2Unet(IR2UnetConfig(n_inputs=1, **{**CONFIG, "width": 0.25})))


@pytest.mark.usefixtures("small_runs")
def test_a_new_run_begins_from_a_weights_file_and_a_resumed_one_from_its_checkpoint(
    weights: Path, tmp_path: Path
) -> None:
    config = replace(load(weights).network.config, unit=0.05)
    initial = initial_network(config, 0, weights)
    recipe = replace(RECIPE, config=config, learning_rate=1e-9)
    for minutes in (0.2, 0.4):
        run = PacedRun(tmp_path / "run", recipe, minutes, initial_weights=weights)
        run()
        for (name, weight), (_, first) in zip(run.network.named_parameters(), initial.named_parameters(), strict=True):
            assert torch.allclose(weight, first, atol=1e-6), name
    assert run.step == 4
    learned = PacedRun(tmp_path / "learned", replace(recipe, learning_rate=1e-2), 0.2)
    learned()
    resumed = PacedRun(tmp_path / "learned", recipe, 0.2, initial_weights=weights)
    resumed()
    for name, value in learned.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_network_starts_from_its_input_whatever_its_unit() -> None:
    for unit in (1.0, 0.05):
        network = IR2Unet(IR2UnetConfig(n_inputs=1, unit=unit, **CONFIG))
        network.initialise(torch.Generator().manual_seed(0))
        estimate = estimates(network)
        image = 0.05 * torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(3))
        assert torch.allclose(estimate.chi, image, atol=1e-6)
        assert estimate.log_sigma is not None and torch.allclose(
            estimate.log_sigma.exp(), torch.tensor(0.0183), rtol=0.01
        )


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), "ppm"])
def test_a_unit_that_is_no_positive_number_is_refused(unit: object) -> None:
    with pytest.raises(ParameterInvalid, match="The network's unit is"):
        IR2UnetConfig(unit=unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["unet", "lpcnn"])
def test_a_network_begins_from_its_own_weights_in_its_unit(name: str, make_weights: Callable[..., Path]) -> None:
    path = make_weights(NetworkInput(), kind=name)
    network = build(make_config(name, width=0.125, n_inputs=2))
    load_initial_weights(path, network)
    stored = load(path).network.state_dict()
    key = "head.weight" if name == "unet" else "proximal.head.weight"
    assert torch.equal(network.state_dict()[key], stored[key])
    with pytest.raises(WeightsInvalid, match="counts in units of"):
        load_initial_weights(path, build(make_config(name, width=0.125, n_inputs=2, unit=0.2)))
    with pytest.raises(WeightsInvalid, match=f"holds a '{name}'; expected a 'xqsm'"):
        load_initial_weights(path, build(make_config("xqsm", width=0.125, n_inputs=2)))
