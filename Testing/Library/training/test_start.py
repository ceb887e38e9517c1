"""What a run begins from and what it weighs: given weights, units, fields without background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.networks.blocks import Estimate
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.training.data import remove_background
from IR2QSMLib.training.run import Recipe, Run, load_initial_weights

CONFIG = {"width": 0.125, "n_passes": 2, "uncertainty": True}


def estimates(network: IR2Unet) -> Estimate:
    image = 0.05 * torch.randn(1, network.config.n_inputs, 16, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return network.eval()(image)


@pytest.fixture
def weights(make_weights: Callable[..., Path]) -> Path:
    return make_weights(NetworkInput("first"), **CONFIG)


def test_weights_taken_over_compute_the_same_in_another_unit(weights: Path) -> None:
    same, other = (IR2Unet(IR2UnetConfig(n_inputs=1, unit=unit, **CONFIG)) for unit in (1.0, 0.05))
    for network in (same, other):
        load_initial_weights(weights, network)
    first, second = estimates(same), estimates(other)
    assert first.log_sigma is not None and second.log_sigma is not None
    assert torch.allclose(first.chi, second.chi, atol=1e-6) and float(first.chi.std()) > 0.01
    assert torch.allclose(first.log_sigma, second.log_sigma, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first.iterates, second.iterates, strict=True))
    assert not torch.equal(same.state_dict()["passes.0.head.weight"], other.state_dict()["passes.0.head.weight"])


def test_weights_with_normalisation_are_taken_over_by_a_network_without(weights: Path) -> None:
    with_it, without = (IR2Unet(IR2UnetConfig(n_inputs=1, normalised=n, **CONFIG)) for n in (True, False))
    for network in (with_it, without):
        load_initial_weights(weights, network)
    assert torch.allclose(estimates(with_it).chi, estimates(without).chi, atol=1e-5)


def test_weights_of_another_size_are_not_taken_over(weights: Path) -> None:
    with pytest.raises(WeightsInvalid, match="give weights trained for this network"):
        load_initial_weights(weights, IR2Unet(IR2UnetConfig(n_inputs=1, **{**CONFIG, "width": 0.25})))


def test_a_run_begins_from_the_weights_it_is_given(weights: Path, tmp_path: Path) -> None:
    recipe = Recipe(replace(load(weights).network.config, unit=0.05), NetworkInput("first"))
    run = Run(tmp_path / "run", recipe, 1.0, start=weights)
    run.fabric.launch()
    run._set_up()
    network = IR2Unet(recipe.network)
    load_initial_weights(weights, network)
    assert torch.allclose(estimates(run.network).chi, estimates(network).chi, atol=1e-6)


def test_a_network_starts_from_its_input_whatever_its_unit() -> None:
    for unit in (1.0, 0.05):
        network = IR2Unet(IR2UnetConfig(n_inputs=1, unit=unit, **CONFIG))
        network.initialise(torch.Generator().manual_seed(0))
        found = estimates(network)
        image = 0.05 * torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(3))
        assert torch.allclose(found.chi, image, atol=1e-6)
        assert found.log_sigma is not None and torch.allclose(found.log_sigma.exp(), torch.tensor(0.0183), rtol=0.01)


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), "ppm"])
def test_a_unit_that_is_none_is_refused(unit: object) -> None:
    with pytest.raises(ParameterInvalid, match="The network's unit is"):
        IR2UnetConfig(unit=unit)  # type: ignore[arg-type]


def test_background_removal_takes_a_harmonic_field_and_leaves_a_source() -> None:
    grid = Grid((48, 48, 48))
    x, y, z = torch.meshgrid(*[torch.arange(48.0) - 23.5] * 3, indexing="ij")
    mask = x**2 + y**2 + z**2 < 20**2
    harmonic = torch.where(mask, 0.001 * (x * y + z), 0.0)
    near = torch.exp(-(x**2 + y**2 + z**2) / 8.0) * mask
    for values, kept in ((harmonic, False), (near, True)):
        field = remove_background(LocalField(values, mask, grid), RandomSource(0))
        assert 0 < int(field.mask.sum()) < int(mask.sum())
        ratio = float(field.values[field.mask].norm() / values[field.mask].norm())
        assert ratio > 0.7 if kept else ratio < 0.1
