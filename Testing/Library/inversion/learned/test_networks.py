"""The learned method with every network: repeatability, geometry, tiles, B0, orientations, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import GridMismatch, ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned import whole_brain
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned, LearnedLpcnn, LearnedModlQsm, LearnedUnet
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.registry import METHODS, available_methods, make_method
from IR2QSMLib.io.weights import read_weights, weights_bytes
from IR2QSMLib.networks.registry import NETWORKS
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.working_grid import WorkingGrid

MakeWeights = Callable[..., Path]
NAMES = {"ir2qsm": "ir2unet", "unet": "unet", "xqsm": "xqsm", "lpcnn": "lpcnn", "modl-qsm": "modl-qsm"}
UNROLLED = ("lpcnn", "modl-qsm")
GRID = Grid((24, 32, 16), (1.0, 1.0, 1.5), user_b0_direction=(0.0, 0.3, 0.9))
TILTED = replace(GRID, user_b0_direction=(0.7, 0.1, 0.7))


def sources(grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth sources of both signs [ppm] and the mask they fill."""
    x, y, z = (torch.linspace(-1, 1, n).view([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(grid.shape))
    mask = x.square() + y.square() + z.square() < 0.8
    chi = 0.1 * torch.sin(5 * x + 1) * torch.cos(4 * y) + 0.05 * torch.sin(7 * z) + 0.0 * x
    return torch.where(mask, chi - chi[mask].mean(), 0.0), mask


def simulated(grid: Grid = GRID) -> LocalField:
    chi, mask = sources(grid)
    return LocalField(torch.where(mask, DipoleOp(grid)(chi), 0.0), mask, grid)


@pytest.fixture
def make_learned(make_weights: MakeWeights) -> Callable[..., Learned]:
    """Make the method of that name with tiny weights of its network, and with parameters."""

    def make(
        name: str, network_input: NetworkInput | None = None, scale: float = 0.05, **parameters: object
    ) -> Learned:
        weights = make_weights(network_input or NetworkInput(), scale, kind=NAMES[name])
        result = make_method(name, weights=weights, **parameters)
        assert isinstance(result, Learned)
        return result

    return make


def test_every_network_but_the_whole_brain_s_is_a_method() -> None:
    network_names = {m.method_class.network_name for m in METHODS.values() if hasattr(m.method_class, "network_name")}
    assert set(NAMES.values()) == network_names == set(NETWORKS) - {"whole-brain"}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_input_gives_the_same_bits(make_learned: Callable[..., Learned], name: str) -> None:
    method = make_learned(name)
    first, second = (method(simulated()) for _ in range(2))
    assert torch.equal(first.values, second.values) and first.notes == second.notes
    assert first.values.isfinite().all() and first.values.any() and not first.values[~simulated().mask].any()


@pytest.mark.parametrize("name", NAMES)
def test_reordered_axes_give_the_same_map(make_learned: Callable[..., Learned], name: str) -> None:
    method, field = make_learned(name), simulated()
    axes, flipped = (2, 0, 1), (True, False, True)
    grid = field.grid.reoriented(axes, flipped)

    def reordered(x: torch.Tensor) -> torch.Tensor:
        return x.permute(*axes).flip([a for a in range(3) if flipped[a]])

    maps = []
    for f in (field, LocalField(reordered(field.values), reordered(field.mask), grid)):
        working_grid = WorkingGrid.around(f, margin=2)
        maps.append(working_grid.to_original_grid(method(working_grid.to_working_grid(f)).values))
    assert torch.equal(maps[1], reordered(maps[0]))


@pytest.mark.parametrize("name", NAMES)
def test_tiles_agree_with_the_whole_volume(make_learned: Callable[..., Learned], name: str) -> None:
    grid = Grid((24, 24, 104))
    noise = torch.randn(1, *grid.shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    field = LocalField(0.2 * torch.nn.functional.avg_pool3d(noise, 5, 1, 2)[0], mask, grid)
    untiled, tiled = (make_learned(name, scale=0.02, network_only=True, tile=tile)(field) for tile in (None, 64))
    assert (untiled.notes["tile"], tiled.notes["tile"]) == (None, 64)
    difference = (untiled.values - tiled.values).norm() / untiled.values.norm()
    assert 0.0 < difference < 0.05
    if untiled.unexplained is not None and tiled.unexplained is not None:
        assert (untiled.unexplained - tiled.unexplained).norm() < 0.1 * untiled.unexplained.norm()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("only_field", [True, False])
def test_b0_changes_the_map_of_every_network(make_learned: Callable[..., Learned], name: str, only_field: bool) -> None:
    """By the dipole operator, the first map, or the grid along B0."""
    field, method = simulated(), make_learned(name, NetworkInput(("field",) if only_field else ("field", "first_map")))
    right, wrong = method(field), method(replace(field, grid=TILTED))
    assert right.notes["resampled"] is (only_field and name not in UNROLLED)
    assert (right.values - wrong.values).norm() > 1e-3 * right.values.norm()


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_of_the_field_changes_nothing_but_the_notes(make_learned: Callable[..., Learned], name: str) -> None:
    field = simulated()
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.003, 0.0))
    one, two = (make_learned(name)(f) for f in (field, shifted))
    assert float((one.values - two.values).norm()) < 1e-3 * float(one.values.norm())
    assert two.notes["field_offset_ppm"] - one.notes["field_offset_ppm"] == pytest.approx(0.003, abs=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_progress_rises_and_ends_with_the_step_on_the_field(make_learned: Callable[..., Learned], name: str) -> None:
    events: list[tuple[float, str]] = []
    make_learned(name)(simulated(), lambda *event: events.append(event))
    fractions = [fraction for fraction, _ in events]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] <= 1.0 and len(events) > 10
    assert events[-1][1] == "data consistency"


# The second channel.


def test_modl_qsm_returns_what_chi_does_not_explain(make_learned: Callable[..., Learned]) -> None:
    field = simulated()
    result = make_learned("modl-qsm")(field)
    assert result.unexplained is not None and result.unexplained.shape == field.grid.shape
    assert result.unexplained.std() > 0.0 and not result.unexplained[~field.mask].any()
    assert make_learned("lpcnn")(field).unexplained is None


# Several orientations.


def test_lpcnn_takes_a_pair_of_orientations(make_weights: MakeWeights) -> None:
    """With a learned part that is the identity, the pair's map is nearer to the truth than either's."""
    chi, _ = sources(GRID)
    fields = [simulated(GRID), simulated(TILTED)]
    method = LearnedLpcnn(make_weights(NetworkInput(("field",)), kind="lpcnn", n_passes=30), network_only=True)
    load(method.weights or Path()).network.proximal = torch.nn.Identity()  # type: ignore[assignment]
    errors = [
        float((method(field, silent, others).values - chi).norm() / chi.norm())
        for field, others in ((fields[0], ()), (fields[1], ()), (fields[0], fields[1:]))
    ]
    assert errors[2] < 0.8 * min(errors[:2])
    consistent = replace(method, regularisation_factor=2.0, network_only=False)
    pair = consistent(fields[0], silent, fields[1:])
    assert not torch.equal(pair.values, consistent(fields[0]).values)
    magnitude = torch.where(fields[0].mask, 1.0 + chi.abs(), 0.0)
    with_magnitude = consistent(replace(fields[0], magnitude=magnitude), silent, fields[1:])
    assert torch.equal(pair.values, with_magnitude.values)


def test_other_networks_refuse_a_second_orientation(make_learned: Callable[..., Learned]) -> None:
    for name in NAMES:
        if name != "lpcnn":
            with pytest.raises(ParameterInvalid, match=r"There are 2 orientations; the network '.*' takes one"):
                make_learned(name)(simulated(), silent, [simulated(TILTED)])


def test_orientations_lie_on_one_grid(make_learned: Callable[..., Learned]) -> None:
    with pytest.raises(GridMismatch, match="An orientation and the first differ in voxel size along x"):
        make_learned("lpcnn")(simulated(), silent, [simulated(replace(GRID, voxel_size=(2.0, 1.0, 1.5)))])


# Weights.


@pytest.mark.parametrize("name", [n for n in NAMES if n != "ir2qsm"])
def test_a_network_without_bundled_weights_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(learned, "bundled", lambda which: tmp_path / f"{which}.safetensors")
    kind = NAMES[name]
    message = (
        f"No weights of the network '{kind}' come with this installation; train some .ir2qsm train --network {kind}"
    )
    with pytest.raises(WeightsInvalid, match=message):
        make_method(name)(simulated(), silent)
    assert METHODS[name].unavailable_reason is not None and METHODS["tkd"].unavailable_reason is None


def test_missing_whole_brain_weights_are_named(
    make_learned: Callable[..., Learned], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(whole_brain, "bundled", lambda name: tmp_path / f"{name}.safetensors")
    message = "No weights of the network 'whole-brain', whose map the other networks begin from, come with this"
    for method in (make_method("ir2qsm"), make_learned("unet")):
        with pytest.raises(WeightsInvalid, match=message):
            method(simulated(), silent)
    reason = METHODS["ir2qsm"].unavailable_reason
    assert reason is not None and reason.startswith(message)
    assert "ir2qsm" not in available_methods() and "tkd" in available_methods()
    for method in (make_learned("unet", use_whole_brain_map=False), make_learned("unet", NetworkInput(("field",)))):
        assert method(simulated(), silent).values.isfinite().all()


def test_weights_of_another_network_are_refused(make_weights: MakeWeights) -> None:
    message = r"are for the network 'unet' and this method's is 'modl-qsm'; choose weights for it"
    with pytest.raises(WeightsInvalid, match=message):
        LearnedModlQsm(make_weights(kind="unet"))(simulated())


def test_an_unrolled_network_is_not_resampled(make_learned: Callable[..., Learned]) -> None:
    with pytest.raises(ParameterInvalid, match="'lpcnn' knows B0 and the voxel size; it is not resampled"):
        make_learned("lpcnn", resampled=True)(simulated())


def with_header(path: Path, to: Path, **change: object) -> Path:
    weights = read_weights(path)
    to.write_bytes(weights_bytes(weights.tensors, {**weights.header, **change}, half=False))
    return to


@pytest.mark.parametrize("name", NAMES)
def test_bad_weights_are_refused(make_weights: MakeWeights, tmp_path: Path, name: str) -> None:
    path, network = make_weights(NetworkInput(), kind=NAMES[name]), NAMES[name]
    weights = read_weights(path)
    config = weights.header["config"]
    key = sorted(weights.tensors)[-1]
    for tensors, header, message in (
        ({k: v for k, v in weights.tensors.items() if k != key}, weights.header, "do not fit the network: 1 keys miss"),
        ({**weights.tensors, "more": torch.zeros(1)}, weights.header, r"1 unknown \['more'\]"),
        ({**weights.tensors, key: weights.tensors[key][None]}, weights.header, f"for '{key}', expected"),
        ({**weights.tensors, key: weights.tensors[key] / 0.0}, weights.header, f"'{key}' that are not finite"),
        (weights.tensors, {**weights.header, "config": {**config, "more": 1}}, "lacks or misnames a setting"),
        (weights.tensors, {**weights.header, "config": {**config, "n_inputs": 1}}, "The network has 1 input"),
    ):
        bad = tmp_path / "bad.safetensors"
        bad.write_bytes(weights_bytes(tensors, header, half=False))
        with pytest.raises(WeightsInvalid, match=message):
            load(bad)
    swapped = with_header(path, tmp_path / "swapped.safetensors", network="unet" if network != "unet" else "xqsm")
    with pytest.raises(WeightsInvalid, match=r"lacks or misnames a setting|do not fit the network"):
        load(swapped)


def test_an_unrolled_network_needs_the_field(make_weights: MakeWeights, tmp_path: Path) -> None:
    path = make_weights(NetworkInput(("field",)), kind="lpcnn")
    reading = {"channels": ["first_map"]}
    with pytest.raises(WeightsInvalid, match=r"'lpcnn' fits its map to the field, .* are first_map; expected 'field'"):
        load(with_header(path, tmp_path / "w.safetensors", reading=reading))


def test_the_header_of_the_weights_says_what_the_input_of_a_network_is(make_weights: MakeWeights) -> None:
    field = simulated()
    inputs = (NetworkInput(("field",)), NetworkInput(("first_map",)))
    methods = [LearnedUnet(make_weights(one, 0.3, kind="unet"), network_only=True, resampled=False) for one in inputs]
    field_in, first_in = (one(field) for one in methods)
    assert [m.notes["input_channels"] for m in (field_in, first_in)] == [["field"], ["first_map"]]
    assert (field_in.values - first_in.values).norm() > 1e-3 * field_in.values.norm()
