"""Patches are parts of a simulated head, and as heads of their own have the field of their own sources."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.acquisition import Discrepancy
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.training import patches as patches_module
from IR2QSMLib.training.patch_cache import draw_round
from IR2QSMLib.training.patches import Patches, as_heads, cut_patches
from IR2QSMLib.training.sampling import Sampling
from Testing.Library.training.small_runs import CPU

SMALL = Sampling(patch_size=24, batch_size=2, n_heads=2, patches_per_head=4)
ONE_LARGE = Sampling(patch_size=56, batch_size=1, n_heads=1, patches_per_head=1)
pytestmark = pytest.mark.usefixtures("small_heads")


@pytest.fixture
def clean_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields without discrepancy, in the head's mask."""
    monkeypatch.setattr(patches_module, "draw_discrepancy", lambda rng: Discrepancy())
    monkeypatch.setattr(patches_module, "remove_background", lambda field, chi, rng: (field, chi))
    monkeypatch.setattr(patches_module, "cut_slab", lambda field, rng: field)


def fields_of(chi: Tensor, grids: tuple[Grid, ...]) -> Tensor:
    return torch.stack([simulate_field(x, grid) for x, grid in zip(chi, grids, strict=True)])


def mean_in_mask(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum((1, 2, 3, 4)) / mask.sum((1, 2, 3, 4))


@pytest.mark.parametrize("names", [("field",), ("first_map",), ("field", "first_map"), CHANNELS])
def test_patches_hold_input_truth_and_mask(names: tuple[str, ...]) -> None:
    network_input, n_channels = NetworkInput(names), len(names)
    patches = cut_patches(network_input, SMALL, RandomSource(5))
    assert len(patches) == 4 and patches.inputs(network_input).shape == (4, n_channels, 24, 24, 24)
    assert patches.mask.unique().tolist() in ([0.0, 1.0], [1.0])
    assert (patches.sharper_map is not None) == (names == CHANNELS)
    outside = patches.mask == 0
    for name, tensor in patches.tensors.items():
        assert tensor.shape == (4, 1, 24, 24, 24) and bool(torch.isfinite(tensor).all()), name
        assert not bool(tensor[outside].any()), name
    assert float(patches.mask.flatten(1).mean(1).min()) > 0.0  # each is cut around a voxel of the mask
    pair = torch.stack([x[patches.mask > 0] for x in (patches.first_map, patches.chi)])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.3  # a first map resembles its truth


def test_the_unexplained_field_is_the_field_less_that_of_the_truth(clean_fields: None) -> None:
    patches = cut_patches(NetworkInput(("field",)), ONE_LARGE, RandomSource(5))
    left = patches.field - fields_of(patches.chi, patches.grids)
    inside = patches.mask > 0
    assert (patches.unexplained - left)[inside].abs().max() < 1e-3 * patches.field.abs().max()


def test_a_patch_larger_than_the_head_has_air_around_it() -> None:
    large = replace(SMALL, patch_size=96, batch_size=1, n_heads=1, patches_per_head=1)
    patches = cut_patches(NetworkInput(("first_map",)), large, RandomSource(5))
    assert patches.chi.shape == (1, 1, 96, 96, 96)
    small = cut_patches(NetworkInput(("first_map",)), replace(large, patch_size=24), RandomSource(5))
    assert float(patches.chi.abs().max()) >= float(small.chi.abs().max())


@pytest.mark.usefixtures("tiny_whole_brain")
def test_a_share_of_the_heads_begins_from_the_whole_brain_s_map() -> None:
    """Field, truth and mask are the same; the first map is another one of the same head."""
    samplings = (SMALL, replace(SMALL, whole_brain_map_share=1.0))
    usual, other = (cut_patches(NetworkInput(), sampling, RandomSource(5)) for sampling in samplings)
    for name in ("field", "chi", "mask"):
        assert torch.equal(usual.tensors[name], other.tensors[name])
    assert not torch.equal(usual.first_map, other.first_map)
    pair = torch.stack([x.first_map[x.mask > 0] for x in (usual, other)])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.5


def test_a_network_for_cubic_voxels_along_b0_is_trained_on_such() -> None:
    for seed in range(5):
        patches = cut_patches(NetworkInput(("field",)), replace(SMALL, voxel_size=1.2), RandomSource(seed))
        for grid in patches.grids:
            assert grid.voxel_size == (1.2, 1.2, 1.2)
            assert [abs(x) for x in grid.b0_direction] == pytest.approx([0.0, 0.0, 1.0])


def test_a_mirrored_patch_has_its_b0_mirrored(clean_fields: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grid predicts the field it was cut with, wherever B0 points then."""
    grid = Grid((32, 32, 32)).with_b0((0.4, 0.3, 0.8))
    monkeypatch.setattr(patches_module, "draw_training_grid", lambda rng: grid)
    directions = set()
    for seed in range(8):
        patches = cut_patches(NetworkInput(("field",)), ONE_LARGE, RandomSource(seed))
        directions.add(tuple(v > 0 for v in patches.grids[0].b0_direction))
        off = (fields_of(patches.chi, patches.grids) - patches.field)[patches.mask > 0]
        assert (off - off.mean()).norm() < 0.05 * patches.field.norm()  # the whole head lies in the patch
    assert len(directions) > 2


# Patches as heads of their own.


@pytest.mark.parametrize("names", [("field",), ("field", "first_map"), CHANNELS])
def test_a_patch_as_a_head_has_the_field_of_its_own_sources(names: tuple[str, ...]) -> None:
    cut = cut_patches(NetworkInput(names), SMALL, RandomSource(5))
    own = as_heads(cut)
    expected = (fields_of(own.chi, cut.grids) + own.unexplained) * own.mask
    torch.testing.assert_close(own.field, expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(cut.mask, own.mask) and own.tensors.keys() == cut.tensors.keys()
    for name in ("chi", "first_map", "unexplained"):
        assert float(mean_in_mask(own.tensors[name], own.mask).abs().max()) < 1e-6, name
        for before, after, mask in zip(cut.tensors[name], own.tensors[name], own.mask > 0, strict=True):
            assert float((before - after)[mask].std()) < 1e-6, name  # the same, less the patch's mean


def test_a_patch_as_a_head_has_no_constant_in_its_field_as_in_inference(clean_fields: None) -> None:
    """Whatever constant is in what χ leaves of the field, the data term finds next to none to take out."""
    cut = cut_patches(NetworkInput(("field",)), ONE_LARGE, RandomSource(5))
    shifted = replace(cut, unexplained=cut.unexplained + 0.3 * cut.mask)
    own, usual = as_heads(shifted), as_heads(cut)
    torch.testing.assert_close(own.field, usual.field, atol=1e-6, rtol=0.0)
    field = LocalField(own.field[0, 0], own.mask[0, 0] > 0, own.grids[0])
    assert abs(DataTerm.of(field).spectrum.offset) < 0.02 * float(field.values.abs().max())


def test_a_patch_as_a_head_has_nothing_left_to_explain(clean_fields: None) -> None:
    """Of a clean field, its own sources explain all; of a patch that was merely cut, sources beside it have a part."""
    for seed in range(3):
        cut = cut_patches(NetworkInput(("field",)), replace(SMALL, patches_per_head=2), RandomSource(seed))
        own = as_heads(cut)
        own_field = fields_of(own.chi, own.grids) * own.mask
        assert own.unexplained.norm() < 0.02 * own_field.norm() < 0.2 * (cut.field - own_field).norm()


def test_a_batch_has_the_grid_of_each_of_its_patches() -> None:
    sampling = replace(SMALL, n_heads=3, patches_per_head=4, batch_size=6)
    batches: list[Patches] = list(draw_round(NetworkInput(("field",)), sampling, 0, CPU, isolated=True))
    assert [len(b) for b in batches] == [6, 6] and len({g for b in batches for g in b.grids}) == 3
    for batch in batches:
        own = (fields_of(batch.chi, batch.grids) + batch.unexplained) * batch.mask
        torch.testing.assert_close(batch.field, own, atol=1e-6, rtol=1e-4)
