"""Overlapping tiles, and the memory that makes them needed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import OutOfMemory, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned import tiles
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.inversion.learned.tiles import OVERLAP, TILES, infer

MakeWeights = Callable[..., Path]


def long_field() -> LocalField:
    """Smooth, and longer than two of the smallest tiles less their overlap."""
    grid = Grid((24, 16, 104))
    noise = torch.randn(1, *grid.shape, generator=torch.Generator().manual_seed(0))
    values = 0.2 * torch.nn.functional.avg_pool3d(noise, 5, 1, 2)[0]
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return LocalField(torch.where(mask, values, 0.0), mask, grid)


@pytest.mark.parametrize("tile", [None, 64])
def test_the_same_tiles_give_the_same_bits(make_weights: MakeWeights, tmp_path: Path, tile: int | None) -> None:
    weights, field = make_weights(scale=0.1, uncertainty=True), long_field()
    copied = shutil.copy(weights, tmp_path / weights.name)  # loaded a second time
    first, second = (Learned(path, tile=tile)(field) for path in (weights, copied))
    assert torch.equal(first.values, second.values)
    assert first.notes == second.notes


def test_tiles_agree_with_the_whole_volume(make_weights: MakeWeights) -> None:
    weights, field = make_weights(scale=0.1, uncertainty=True), long_field()
    untiled, tiled = (Learned(weights, network_only=True, tile=tile)(field) for tile in (None, 64))
    assert (untiled.notes["tile"], tiled.notes["tile"]) == (None, 64)
    difference = (untiled.values - tiled.values).abs()
    assert difference.max() > 1e-5
    assert difference.norm() < 0.01 * untiled.values.norm()
    # A tile does not see beyond its face; the ends of the volume are far from where the two meet.
    assert difference[..., :16].max() < 0.05 * difference.max()
    assert difference[..., -16:].max() < 0.05 * difference.max()
    assert untiled.uncertainty is not None and tiled.uncertainty is not None
    torch.testing.assert_close(tiled.uncertainty, untiled.uncertainty, rtol=1e-3, atol=0)


@pytest.mark.parametrize("tile", TILES)
def test_tiles_of_the_identity_blend_to_the_input(make_weights: MakeWeights, tile: int) -> None:
    """Every voxel is covered, with weights that sum to one, at any length."""
    network = load(make_weights(NetworkInput(("field",)), scale=0.0)).network
    for n in {tile + 8, 2 * tile - OVERLAP, 2 * tile} if tile < 128 else {tile + 8}:
        image = torch.randn(1, 8, n, 8)
        chi = infer(network, image, tile, None, silent).chi
        torch.testing.assert_close(chi, image[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("tile", TILES)
def test_neighbouring_tiles_share_at_least_the_overlap_and_start_at_multiples_of_eight(tile: int) -> None:
    for n in range(8, 4 * tile, 8):
        starts = tiles._tile_starts(n, min(tile, n))
        assert starts[0] == 0
        assert starts[-1] == n - min(tile, n)
        assert all(s % 8 == 0 for s in starts)
        assert all(0 < b - a <= tile - OVERLAP for a, b in pairwise(starts))


def test_a_tile_that_is_not_in_the_list_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="The tile is 100 voxels; expected one of 256, 192, 160, 128, 96, 64"):
        Learned(tile=100)


@pytest.mark.parametrize("tile", [128, 256])
def test_a_volume_no_longer_than_the_tile_runs_at_once(make_weights: MakeWeights, tile: int) -> None:
    weights, field = make_weights(scale=0.1), long_field()
    result = Learned(weights, tile=tile)(field)
    assert result.notes["tile"] is None
    assert torch.equal(result.values, Learned(weights)(field).values)


# Memory.


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "memory_free", lambda kind: 1)


@pytest.mark.usefixtures("little_memory")
def test_a_volume_that_memory_does_not_hold_is_tiled_with_a_note(make_weights: MakeWeights) -> None:
    weights, field = make_weights(), long_field()
    result = Learned(weights)(field)
    assert result.notes["tile"] == TILES[-1]
    assert torch.equal(result.values, Learned(weights, tile=TILES[-1])(field).values)


@pytest.mark.usefixtures("little_memory")
def test_tiles_of_the_whole_brain_network_are_in_the_notes(make_weights: MakeWeights) -> None:
    grid = Grid((96, 16, 40), (2.0, 2.0, 2.0))
    mask = torch.ones(grid.shape, dtype=torch.bool)
    values = 0.05 * torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    notes = Learned(make_weights())(LocalField(values, mask, grid)).notes
    assert notes["whole_brain_tile"] == notes["tile"] == TILES[-1]
    assert (
        "whole_brain_tile"
        not in Learned(make_weights(), use_whole_brain_map=False)(LocalField(values, mask, grid)).notes
    )


@pytest.mark.usefixtures("little_memory")
def test_a_volume_as_small_as_the_smallest_tile_is_tried_whatever_memory_there_is(make_weights: MakeWeights) -> None:
    grid = Grid((64, 16, 24))
    field = LocalField(torch.zeros(grid.shape), torch.ones(grid.shape, dtype=torch.bool), grid)
    assert Learned(make_weights())(field).notes["tile"] is None


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried", "can't allocate memory", "not enough memory: you"])
def test_the_next_tile_is_tried_when_an_allocation_fails(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    tried: list[int | None] = []

    def failing(network: object, image: object, tile: int | None, *rest: object) -> object:
        tried.append(tile)
        if len(tried) < 3:
            raise RuntimeError(message)
        return infer(network, image, tile, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tiles, "infer", failing)
    result = Learned(make_weights(), use_whole_brain_map=False)(long_field())
    assert tried == [None, 96, 64]
    assert result.notes["tile"] == 64


def test_an_error_says_what_to_do_when_no_tile_fits(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> object:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tiles, "infer", failing)
    with pytest.raises(OutOfMemory, match=r"memory of 'cpu' for a volume of 24×16×104 voxels; close other programs"):
        Learned(make_weights(), use_whole_brain_map=False)(long_field())


def test_other_errors_are_not_taken_for_lack_of_memory(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> object:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(tiles, "infer", failing)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Learned(make_weights())(long_field())
