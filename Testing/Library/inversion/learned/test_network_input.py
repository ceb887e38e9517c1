"""The input of a network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.direct import Tikhonov
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput, require_matching_input
from IR2QSMLib.networks.registry import make_config
from Testing.Library.inversion.learned.cases import GRID, simulated, truth

SELECTIONS = (("field",), ("first_map",), ("field", "first_map"), CHANNELS)


@pytest.mark.parametrize("names", SELECTIONS)
def test_the_input_has_the_stated_channels(names: tuple[str, ...]) -> None:
    channels = NetworkInput(names)(DataTerm.of(simulated()))
    assert channels.shape == (NetworkInput(names).n_channels, *GRID.shape) == (len(names), *GRID.shape)
    assert bool(channels.isfinite().all()) and all(bool(channel.any()) for channel in channels)


def test_the_field_comes_first_without_its_constant_and_the_first_map_last() -> None:
    field = simulated(noise=0.02)
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.1, 0.0))
    data_term = DataTerm.of(shifted)
    automatic = Tikhonov("auto")(shifted).values
    for names in (("field", "first_map"), CHANNELS):
        channels = NetworkInput(names)(data_term)
        torch.testing.assert_close(
            channels[0], torch.where(field.mask, shifted.values - data_term.spectrum.offset, 0.0)
        )
        assert abs(float((channels[0] - field.values)[field.mask].mean())) < 0.01
        torch.testing.assert_close(channels[-1], automatic)
    assert torch.equal(NetworkInput(("field",))(data_term), NetworkInput()(data_term)[:1])
    assert torch.equal(NetworkInput(("first_map",))(data_term), NetworkInput()(data_term)[1:])


def test_the_sharper_map_has_more_high_frequencies_than_the_first_and_agrees_with_it() -> None:
    field = simulated(noise=0.02)
    _, sharper, first = NetworkInput(CHANNELS)(DataTerm.of(field))
    high = torch.fft.rfftn(torch.stack([sharper, first]), dim=(1, 2, 3)).abs().square()[:, 8:-8].sum((1, 2, 3))
    assert float(high[0]) > 1.2 * float(high[1])
    assert sharper.norm() > first.norm()
    pair = torch.stack([sharper[field.mask], first[field.mask]])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.7


def test_another_first_map_replaces_the_last_channel() -> None:
    data_term, other = DataTerm.of(simulated()), 0.3 * truth(GRID)
    for names in SELECTIONS[1:]:
        replaced, usual = NetworkInput(names)(data_term, other), NetworkInput(names)(data_term)
        assert torch.equal(replaced[-1], other) and torch.equal(replaced[:-1], usual[:-1])
    assert torch.equal(NetworkInput(("field",))(data_term, other), NetworkInput(("field",))(data_term))


def test_values_outside_the_mask_do_not_matter() -> None:
    field = simulated()
    other = replace(field, values=torch.where(field.mask, field.values, 7.0))
    for names in SELECTIONS:
        channels = NetworkInput(names)(DataTerm.of(other))
        assert torch.equal(channels, NetworkInput(names)(DataTerm.of(field)))
        assert not channels[:, ~field.mask].any()


@pytest.mark.parametrize("names", [("phase",), (), ("first_map", "field"), ("field", "field")])
def test_channels_that_are_unknown_or_out_of_order_are_refused(names: tuple[str, ...]) -> None:
    message = f"are '{', '.join(names)}'; expected one or more of field, sharper_map, first_map, in this order"
    with pytest.raises(ParameterInvalid, match=message):
        NetworkInput(names)


def test_headers_of_older_weights_are_accepted() -> None:
    """They had parameters of the first map beside its name, which was another."""
    older = {"reads": "tikhonov", "floor": 0.01, "per_noise": 4.0, "n_steps": 12}
    assert NetworkInput.from_dict(older) == NetworkInput(("first_map",))
    assert NetworkInput.from_dict({**older, "reads": "both"}) == NetworkInput(("field", "first_map"))
    assert NetworkInput.from_dict({"reads": "field"}) == NetworkInput(("field",))
    assert NetworkInput.from_dict({"reads": "three"}) == NetworkInput(CHANNELS)
    with pytest.raises(ParameterInvalid, match="input are 'phase'"):
        NetworkInput.from_dict({"reads": "phase"})
    with pytest.raises(KeyError, match="channels"):
        NetworkInput.from_dict({"floor": 0.01})


def test_a_network_that_does_not_match_its_input_is_refused() -> None:
    for names in SELECTIONS:
        require_matching_input(NetworkInput(names), make_config("unet", n_inputs=len(names)))
    with pytest.raises(ParameterInvalid, match=r"has 2 input channels and its input is 3 \(field, sharper_map, first_"):
        require_matching_input(NetworkInput(CHANNELS), make_config("unet", n_inputs=2))
    with pytest.raises(
        ParameterInvalid, match=r"'modl-qsm' fits its map to the field, .* are first_map; expected 'field'"
    ):
        require_matching_input(NetworkInput(("first_map",)), make_config("modl-qsm", n_inputs=1))
