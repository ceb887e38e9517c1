"""The held-out head: literature values, sharp boundaries, lesions of their size; and its scan, option by option."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.anatomy import NUCLEI, maps
from IR2QSMLib.simulation.cases import CASES, Case, draw_case, simulate
from IR2QSMLib.simulation.head import positions, sample_trilinear
from IR2QSMLib.simulation.held_out import FineHead, draw_held_out, place, isotropic_grid
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.scan import (
    ANISOTROPY,
    ECHO_TIMES,
    REALISTIC_EFFECTS,
    ScanEffects,
    NoBackground,
    Scan,
    _white_matter,
    measure,
    scan,
)
from IR2QSMLib.simulation.surroundings import background

GRID = Grid((48, 60, 48), (3.0, 3.0, 3.0))
QUIET = ScanEffects(microstructure=0.0, raggedness=0.0, lumps=0.0)


@pytest.fixture(scope="module")
def head() -> FineHead:
    return draw_held_out(RandomSource(7), GRID)


@pytest.fixture(scope="module")
def scanned(head: FineHead) -> Scan:
    return scan(head, GRID, RandomSource(1), QUIET)


# The head.


def test_it_is_drawn_at_twice_the_resolution_and_repeats(head: FineHead) -> None:
    assert head.grid.shape == (96, 120, 96) and head.grid.voxel_size == (1.5, 1.5, 1.5)
    assert torch.equal(draw_held_out(RandomSource(7), GRID).chi, head.chi)
    assert not torch.equal(draw_held_out(RandomSource(8), GRID).chi, head.chi)


def test_slices_thick_along_one_axis_are_drawn_isotropically() -> None:
    grid = Grid((48, 60, 24), (3.0, 3.0, 6.0), origin=(1.0, 2.0, 3.0))
    work = isotropic_grid(grid)
    assert work.shape == (48, 60, 48) and work.voxel_size == (3.0, 3.0, 3.0)
    assert work.point((0, 0, 0.5)) == pytest.approx(grid.point((0, 0, 0)))


@pytest.mark.parametrize("name", ["putamen", "caudate", "pallidum", "thalamus"])
def test_a_nucleus_has_the_literatures_susceptibility(name: str, head: FineHead) -> None:
    (number, nucleus) = next((i, n) for i, n in enumerate(NUCLEI, start=1) if n.name == name)
    inside = head.labels == number
    assert int(inside.sum()) > 100
    assert float(head.chi[inside].mean()) == pytest.approx(nucleus.chi[0], abs=3.0 * nucleus.chi[1] + 0.02)


def test_veins_are_a_percent_of_the_brain_and_the_most_paramagnetic_of_it(head: FineHead) -> None:
    inside = torch.nn.functional.interpolate(head.depth[None, None], scale_factor=2)[0, 0] > 2.0
    assert 0.002 < float(head.veins[inside].mean()) < 0.03
    assert float(head.chi[inside & (head.veins > 0.8)].median()) > 0.2 > float(head.chi[inside].mean())


@pytest.mark.parametrize("volume", [2.0, 6.0])
def test_a_haemorrhage_has_the_volume_that_was_asked_for(volume: float) -> None:
    bleeding = draw_held_out(RandomSource(7), GRID, haemorrhage=volume)
    inside = bleeding.lesions == 1
    assert float(inside.sum()) * 1.5**3 / 1000.0 == pytest.approx(volume, rel=0.1)
    assert float(bleeding.chi[inside].quantile(0.8)) == pytest.approx(0.6, abs=0.02)


def test_bleeds_add_microbleeds_and_a_calcification(head: FineHead) -> None:
    bleeding = draw_held_out(RandomSource(7), GRID, bleeds=True)
    assert not bool(head.lesions.any())
    assert float(bleeding.chi[bleeding.lesions == 1].mean()) < -0.3  # the calcified nodule
    assert float(bleeding.chi[bleeding.lesions > 1].mean()) > 0.2
    assert len(bleeding.lesions.unique()) >= 5


# The scan.


def test_the_signal_decays_with_r2_star(head: FineHead, scanned: Scan) -> None:
    rate = (scanned.signal[0].abs() / scanned.signal[-1].abs()).log() / (ECHO_TIMES[-1] - ECHO_TIMES[0])
    pallidum = 1 + [n.name for n in NUCLEI].index("pallidum")
    white = (scanned.white > 0.98) & (scanned.labels == 0) & (scanned.veins == 0.0)
    assert float(rate[white].median()) == pytest.approx(19.0 + 137.0 * 0.035, abs=3.0)
    assert float(rate[scanned.labels == pallidum].mean()) > float(rate[white].median()) + 8.0  # iron


def test_the_truth_explains_the_field_of_a_quiet_scan(scanned: Scan) -> None:
    head, field, achieved = measure(scanned, math.inf, RandomSource(0))
    assert achieved == math.inf and not bool((field.mask & ~scanned.mask).any())
    assert explained(head.chi, field.values, head.mask, head.grid) > 0.9
    assert abs(float(head.chi[head.mask].mean())) < 1e-6


def explained(chi: Tensor, field: Tensor, mask: Tensor, grid: Grid) -> float:
    return 1.0 - float((field - simulate_field(chi, grid))[mask].var() / field[mask].var())


@pytest.mark.parametrize("snr", [40.0, 5.0])
def test_noise_is_scaled_to_the_power_that_is_asked_for(snr: float, scanned: Scan) -> None:
    _, clean, _ = measure(scanned, math.inf, RandomSource(0))
    head, noisy, achieved = measure(scanned, snr, RandomSource(0))
    both = head.mask & clean.mask
    noise = (noisy.values - clean.values)[both]
    assert achieved == pytest.approx(snr, rel=0.05) and torch.equal(head.mask, noisy.mask)
    assert int(both.sum()) > 0.95 * int(clean.mask.sum())
    assert float(clean.values[both].square().mean() / noise.square().mean()) == pytest.approx(achieved, rel=1e-4)


def test_a_power_snr_that_is_not_positive_is_refused(scanned: Scan) -> None:
    with pytest.raises(ParameterInvalid, match="power SNR is 0; expected a positive number"):
        measure(scanned, 0.0, RandomSource(0))


@pytest.mark.parametrize(
    "changed", [{"microstructure": 0.02}, {"motion": 0.005}, {"surroundings": True}], ids=lambda c: next(iter(c))
)
def test_every_disturbance_takes_from_what_the_truth_explains(
    changed: dict[str, float], head: FineHead, scanned: Scan
) -> None:
    disturbed = scan(head, GRID, RandomSource(1), replace(QUIET, **changed))  # type: ignore[arg-type]
    shares = []
    for one in (scanned, disturbed):
        truth, field, _ = measure(one, math.inf, RandomSource(0))
        shares.append(explained(truth.chi, field.values, truth.mask, truth.grid))
    assert shares[1] < shares[0] - 0.005


def test_the_mask_can_be_deep_ragged_and_lumpy(head: FineHead, scanned: Scan) -> None:
    deep, ragged, lumpy = (
        scan(head, GRID, RandomSource(1), replace(QUIET, **{name: value})).mask
        for name, value in (("depth", 4.0), ("raggedness", 2.0), ("lumps", 1.5))
    )
    assert not bool((deep & ~scanned.mask).any()) and int(deep.sum()) < 0.95 * int(scanned.mask.sum())
    for other in (ragged, lumpy):
        assert bool((other & ~scanned.mask).any()) and bool((scanned.mask & ~other).any())


def test_strong_sources_dephase_within_a_voxel(head: FineHead) -> None:
    bleeding = draw_held_out(RandomSource(7), GRID, haemorrhage=4.0)
    shown = scan(bleeding, GRID, RandomSource(1), QUIET)
    ratio = shown.signal[-1].abs() / shown.signal[0].abs()
    lesion = shown.lesions == 1
    tissue = shown.mask & ~lesion & (shown.veins == 0.0)
    assert float(ratio[lesion].median()) < 0.4 * float(ratio[tissue].median())


def test_a_sphere_of_parallel_fibres_has_no_field_of_its_own_inside(head: FineHead) -> None:
    # A uniform tensor in a sphere: b·χb/3 is cancelled by the mean of (k·b)(k·χb)/k² over directions, χ's own shape.
    grid = Grid((64, 64, 64))
    r = positions(grid, torch.device("cpu")).square().sum(0).sqrt()
    white = (r < 10.0).float()
    along = torch.tensor([0.6, 0.0, 0.8]).view(3, 1, 1, 1).expand(3, 64, 64, 64)
    sphere = replace(head, work=grid, white=white, fibres=along)
    field = _white_matter(sphere, ScanEffects(microstructure=0.0))
    inside, around = field[r < 7.0], field[(r > 12.0) & (r < 16.0)]
    assert float(inside.abs().mean()) < 0.03 * ANISOTROPY
    assert float(around.abs().max()) > 0.1 * ANISOTROPY
    shifted = _white_matter(sphere, ScanEffects(microstructure=0.01))[r < 7.0].mean() - inside.mean()
    assert float(shifted) == pytest.approx(-0.01 * (1.0 - 0.64 - 2.0 / 3.0), rel=1e-3)


def test_the_background_is_harmonic_in_the_brain_and_shimmed() -> None:
    grid = Grid((96, 116, 96), (1.5, 1.5, 1.5))
    mni = place(RandomSource(7), grid, positions(grid, torch.device("cpu")))
    stacked, zero = maps()
    depth = sample_trilinear(stacked[3:], mni + zero.view(3, 1, 1, 1))[0]
    field = background(mni, depth, grid)
    brain = depth > 0.0
    assert abs(float(field[brain].mean())) < 0.02 and 0.05 < float(field[brain].std()) < 1.0
    laplacian = -6.0 * field
    curvature = torch.zeros_like(field)
    for axis in range(3):
        both = field.roll(1, axis) + field.roll(-1, axis)
        laplacian = laplacian + both
        curvature = curvature + (both - 2.0 * field).abs()
    for low, high in ((1.0, 3.0), (3.0, 8.0), (8.0, 99.0)):  # skull and air do not reach into the brain
        shell = (depth > low) & (depth < high)
        # Where the template is cut off below, the surface is not where its depth is zero.
        most = laplacian[shell].abs().sort().values[int(0.85 * int(shell.sum()))]
        assert float(most) < 0.1 * float(curvature[shell].mean())


# The cases of it.


def test_the_measured_like_head_has_surroundings_and_loses_its_rim() -> None:
    assert REALISTIC_EFFECTS.surroundings and CASES["held-out brain, as measured"].surroundings
    case = Case(7, 40.0, (48, 60, 48), (3.0, 3.0, 3.0), held_out=True)
    plain, measured = draw_case(case), draw_case(replace(case, surroundings=True))
    assert plain.power_snr == pytest.approx(40.0, rel=0.06)
    assert measured.power_snr == pytest.approx(40.0, rel=0.3)  # voxels whose phase wraps are no line in the noise
    assert int(measured.head.mask.sum()) < 0.9 * int(plain.head.mask.sum())
    assert isinstance(scan(draw_held_out(RandomSource(7), GRID), GRID, RandomSource(1), QUIET).removal, NoBackground)


def test_an_oblique_held_out_head_has_another_field_and_the_same_anatomy() -> None:
    case = Case(7, math.inf, (48, 60, 48), (3.0, 3.0, 3.0), held_out=True)
    (head, field), (tilted, oblique) = simulate(case), simulate(replace(case, tilt=30.0))
    assert torch.equal(head.labels, tilted.labels) and torch.equal(head.mask, tilted.mask)
    assert oblique.grid.b0_direction[1] == pytest.approx(-0.5)
    assert float((field.values - oblique.values).std()) > 0.3 * float(field.values.std())
