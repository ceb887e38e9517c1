"""What a network is given of a field."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput, require_fit
from IR2QSMLib.networks.registry import sized
from Testing.Library.inversion.learned.cases import GRID, noise_of, simulated, truth


@pytest.mark.parametrize("reads", CHANNELS)
def test_there_are_as_many_channels_as_it_says(reads: str) -> None:
    found = NetworkInput(reads)(DataTerm.of(simulated()))
    assert found.shape == (NetworkInput(reads).n_channels, *GRID.shape)
    assert bool(found.isfinite().all()) and all(bool(channel.any()) for channel in found)


def test_the_field_comes_first_without_its_constant_and_the_first_map_last() -> None:
    field = noise_of(0.02)
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.1, 0.0))
    term = DataTerm.of(shifted)
    automatic = Tikhonov("auto")(shifted).values
    for reads in ("both", "three"):
        channels = NetworkInput(reads)(term)
        torch.testing.assert_close(channels[0], torch.where(field.mask, shifted.values - term.spectrum.offset, 0.0))
        assert abs(float((channels[0] - field.values)[field.mask].mean())) < 0.01
        torch.testing.assert_close(channels[-1], automatic)
    assert torch.equal(NetworkInput("field")(term), NetworkInput("both")(term)[:1])
    assert torch.equal(NetworkInput("first")(term), NetworkInput("both")(term)[1:])


def test_the_map_between_them_is_sharper_than_the_first_and_still_the_field_s() -> None:
    field = noise_of(0.02)
    _, between, first = NetworkInput("three")(DataTerm.of(field))
    high = torch.fft.rfftn(torch.stack([between, first]), dim=(1, 2, 3)).abs().square()[:, 8:-8].sum((1, 2, 3))
    assert float(high[0]) > 1.2 * float(high[1])
    assert between.norm() > first.norm()
    pair = torch.stack([between[field.mask], first[field.mask]])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.7


def test_another_first_map_may_be_given() -> None:
    term, other = DataTerm.of(simulated()), 0.3 * truth(GRID)
    for reads in ("first", "both", "three"):
        given, own = NetworkInput(reads)(term, other), NetworkInput(reads)(term)
        assert torch.equal(given[-1], other) and torch.equal(given[:-1], own[:-1])
    assert torch.equal(NetworkInput("field")(term, other), NetworkInput("field")(term))


def test_what_lies_outside_the_mask_is_not_read() -> None:
    field = simulated()
    other = replace(field, values=torch.where(field.mask, field.values, 7.0))
    for reads in CHANNELS:
        found = NetworkInput(reads)(DataTerm.of(other))
        assert torch.equal(found, NetworkInput(reads)(DataTerm.of(field)))
        assert not found[:, ~field.mask].any()


def test_an_unknown_input_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="The network reads 'phase'; expected one of field, first, both, three"):
        NetworkInput("phase")


def test_headers_of_older_weights_are_understood() -> None:
    """They had parameters of the first map beside its name, which was another."""
    older = {"reads": "tikhonov", "floor": 0.01, "per_noise": 4.0, "n_steps": 12}
    assert NetworkInput.from_dict(older) == NetworkInput("first")
    assert NetworkInput.from_dict({**older, "reads": "both"}) == NetworkInput("both")
    with pytest.raises(ParameterInvalid, match="reads 'phase'"):
        NetworkInput.from_dict({"reads": "phase"})
    with pytest.raises(KeyError, match="reads"):
        NetworkInput.from_dict({"floor": 0.01})


def test_a_network_takes_what_is_read_for_it_or_is_refused() -> None:
    for reads in CHANNELS:
        require_fit(NetworkInput(reads), sized("unet", n_inputs=CHANNELS[reads]))
    with pytest.raises(ParameterInvalid, match=r"The network has 2 input channels and reads 3 \('three'\)"):
        require_fit(NetworkInput("three"), sized("unet", n_inputs=2))
    with pytest.raises(ParameterInvalid, match="'modl-qsm' descends on the field; let it read 'field' or 'both'"):
        require_fit(NetworkInput("first"), sized("modl-qsm", n_inputs=1))
