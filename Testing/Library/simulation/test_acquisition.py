"""Acquired fields: the forward model, and a discrepancy of the chosen power and spectrum."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire, draw_discrepancy
from IR2QSMLib.simulation.head import Head, ellipsoid, masked_head, positions
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes

GRID = Grid((48, 48, 48), (1.5, 1.5, 1.5), user_b0_direction=(0.0, 0.6, 0.8))


@pytest.fixture(scope="module")
def head() -> Head:
    return draw_shapes(RandomSource(2), GRID)


def error_of(head: Head, discrepancy: Discrepancy, seed: int = 9) -> Tensor:
    """The difference to the noise-free field: (x, y, z) [ppm]."""
    return (
        acquire(head, discrepancy, RandomSource(seed)).values - acquire(head, Discrepancy(), RandomSource(seed)).values
    )


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def test_a_noise_free_field_is_the_forward_model_inside_the_mask(head: Head) -> None:
    field = acquire(head, Discrepancy(), RandomSource(0))
    expected = simulate_field(head.chi, GRID)
    assert torch.equal(field.values[head.mask], expected[head.mask])
    assert not bool(field.values[~head.mask].any())
    assert torch.equal(field.mask, head.mask) and field.grid == GRID
    upright = acquire(
        Head(head.chi, head.mask, head.white, head.labels, GRID.with_b0(None)), Discrepancy(), RandomSource(0)
    )
    assert rms(upright.values - field.values) > 0.1 * rms(field.values)


@pytest.mark.parametrize("snr", [40.0, 10.0, 1.5])
def test_white_noise_has_its_power_snr(head: Head, snr: float) -> None:
    field = acquire(head, Discrepancy(), RandomSource(0)).values[head.mask]
    noise = error_of(head, Discrepancy(snr))
    assert float(field.square().mean() / noise[head.mask].square().mean()) == pytest.approx(snr, rel=1e-3)
    assert not bool(noise[~head.mask].any())


@pytest.mark.parametrize("seed", range(4))
def test_a_structured_discrepancy_has_its_power_snr_within_a_few_percent(head: Head, seed: int) -> None:
    field = acquire(head, Discrepancy(), RandomSource(0)).values[head.mask]
    noise = error_of(head, Discrepancy(10.0, 0.6, 3.0, 2.0), seed)[head.mask]
    assert float(field.square().mean() / noise.square().mean()) == pytest.approx(10.0, rel=0.06)


def test_a_field_depends_on_the_seed_alone(head: Head) -> None:
    discrepancy = Discrepancy(10.0, 0.5, 2.0, 1.0)
    first, repeated, other = (acquire(head, discrepancy, RandomSource(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, repeated)
    assert rms(first - other) > 0.1 * rms(first)


def test_the_structured_share_is_smoother_than_white(head: Head) -> None:
    def share_at_low_frequencies(noise: Tensor) -> float:
        power = torch.fft.fftn(noise).abs().square()
        k = torch.fft.fftfreq(48, 1.5)
        radius = (k.view(-1, 1, 1) ** 2 + k.view(1, -1, 1) ** 2 + k.view(1, 1, -1) ** 2).sqrt()
        return float(power[radius < 0.08].sum() / power.sum())  # coarser than 12 mm

    white, mixed, smooth = (share_at_low_frequencies(error_of(head, Discrepancy(10.0, s))) for s in (0.0, 0.5, 1.0))
    assert white < 0.05  # their share of the band's volume
    assert white + 0.1 < mixed < smooth
    assert smooth > 0.4


def test_the_structure_follows_the_angle_between_fibres_and_b0(head: Head) -> None:
    """Only white matter's share depends on B0: without white matter, rotating B0 changes only the field."""
    rotated = GRID.with_b0((1.0, 0.0, 0.0))

    def smooth_error(white: Tensor, grid: Grid) -> Tensor:
        error = error_of(Head(head.chi, head.mask, white, head.labels, grid), Discrepancy(10.0, 1.0), 3)[head.mask]
        return error / rms(error)

    without = [smooth_error(torch.zeros_like(head.white), grid) for grid in (GRID, rotated)]
    assert torch.allclose(*without, atol=1e-3)
    with_white = [smooth_error(head.white, grid) for grid in (GRID, rotated)]
    assert rms(with_white[0] - with_white[1]) > 0.05


def test_an_edge_weight_makes_the_error_larger_at_the_rim() -> None:
    p = positions(GRID, torch.device("cpu"))
    mask = ellipsoid(p, torch.zeros(3), torch.full((3,), 30.0), 0.5) > 0.5
    head = masked_head(
        RandomSource(1).smooth_noise(GRID, 3.0) * 0.05, mask, torch.zeros(GRID.shape), torch.zeros(GRID.shape), GRID
    )
    radius = p.square().sum(0).sqrt()
    rim, deep = mask & (radius > 28.0), radius < 15.0

    def ratio(edge: float) -> float:
        error = error_of(head, Discrepancy(10.0, edge=edge))
        return rms(error[rim]) / rms(error[deep])

    assert ratio(0.0) == pytest.approx(1.0, abs=0.05)
    assert 1.5 < ratio(1.5) < 2.6  # 1 + edge at the edge itself, less a little way in
    assert ratio(1.5) < ratio(4.0) < 5.0


def test_a_source_weight_makes_the_error_larger_at_veins() -> None:
    p = positions(GRID, torch.device("cpu"))
    mask = ellipsoid(p, torch.zeros(3), torch.full((3,), 30.0), 0.5) > 0.5
    vein = (p[0].square() + p[1].square()).sqrt() < 3.0
    head = masked_head(0.4 * vein, mask, torch.zeros(GRID.shape), torch.zeros(GRID.shape), GRID)
    here, away = mask & vein, mask & ~vein & (p[0].abs() > 10.0)

    def ratio(near: float) -> float:
        error = error_of(head, Discrepancy(10.0, near_sources=near))
        return rms(error[here]) / rms(error[away])

    assert ratio(0.0) == pytest.approx(1.0, abs=0.1)
    assert 1.8 < ratio(1.0) < ratio(3.0) < 8.0


# What a structured discrepancy may be made of.

PARTS = dict.fromkeys(("spectral", "tensor", "local", "smooth", "apparent", "displaced"), 0.0)


def part(head: Head, name: str, seed: int = 9, **change: float) -> Tensor:
    """The error of a single part, of a power as large as the field's."""
    return error_of(head, Discrepancy(1.0, 1.0, **{**PARTS, name: 1.0, **change}), seed)


def cosine(grid: Grid) -> tuple[Tensor, Tensor]:
    """|k| [cycles/mm] and the cosine of the angle between k and B0, of the full spectrum."""
    axes = [torch.fft.fftfreq(n, v) for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    k = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    b = torch.tensor(grid.b0_direction, dtype=torch.float32).view(3, 1, 1, 1)
    length = k.square().sum(0).sqrt()
    return length, (k * b).sum(0) / length.clamp_min(1e-9)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_its_power_and_lies_in_the_mask(head: Head, name: str) -> None:
    field = acquire(head, Discrepancy(), RandomSource(0)).values[head.mask]
    error = part(head, name)
    assert float(error[head.mask].square().mean() / field.square().mean()) == pytest.approx(1.0, rel=1e-3)
    assert not bool(error[~head.mask].any()) and bool(error.isfinite().all())
    others = [part(head, other) for other in PARTS if other != name]
    alike = [float(torch.corrcoef(torch.stack([error[head.mask], o[head.mask]]))[0, 1]) for o in others]
    assert max(map(abs, alike)) < 0.9


def test_the_spectral_part_has_the_field_s_own_power_at_every_wavelength(head: Head) -> None:
    k, _ = cosine(GRID)
    field = acquire(head, Discrepancy(), RandomSource(0)).values
    ratios = []
    for slope in (0.0, 0.6, -0.6):
        powers = [torch.fft.fftn(x).abs().square() for x in (part(head, "spectral", slope=slope), field)]
        bands = [(k > low) & (k <= high) for low, high in ((0.03, 0.06), (0.06, 0.12), (0.12, 0.24))]
        ratios.append([float(powers[0][band].sum() / powers[1][band].sum()) for band in bands])
    assert all(0.5 < r < 2.0 for r in ratios[0])
    tilt = [r[2] / r[0] for r in ratios]
    assert tilt[1] > 2.0 * tilt[0] > 4.0 * tilt[2]


def test_the_spectral_part_fills_the_cone_where_the_field_has_nothing(head: Head) -> None:
    k, c = cosine(GRID)
    cone = ((c.square() - 1.0 / 3.0).abs() < 0.05) & (k > 0.02) & (k < 0.1)
    outside = ((c.square() - 1.0 / 3.0).abs() > 0.2) & (k > 0.02) & (k < 0.1)
    shares = []
    for x in (part(head, "spectral"), acquire(head, Discrepancy(), RandomSource(0)).values):
        power = torch.fft.fftn(x).abs().square()
        shares.append(float(power[cone].mean() / power[outside].mean()))
    assert 0.5 < shares[0] < 2.0 and shares[1] < 0.3


@pytest.mark.parametrize("fibre_width", [0.0, 6.0])
def test_off_diagonal_susceptibility_has_no_field_along_b0_or_across_it(head: Head, fibre_width: float) -> None:
    unmasked = Head(head.chi, torch.ones_like(head.mask), head.white, head.labels, GRID)  # or the mask would spread it
    k, c = cosine(GRID)
    power = torch.fft.fftn(part(unmasked, "tensor", fibre_width=fibre_width)).abs().square()
    band = (k > 0.02) & (k < 0.2)
    along, across, between = c.abs() > 0.95, c.abs() < 0.1, (c.abs() > 0.5) & (c.abs() < 0.85)
    means = [float(power[band & where].mean()) for where in (along, across, between)]
    assert max(means[:2]) < 0.3 * means[2]


def test_a_local_shift_has_no_field_beside_it(head: Head) -> None:
    """It is nothing where there is neither susceptibility nor white matter."""
    chi = torch.zeros(GRID.shape)
    chi[20:28, 20:28, 20:28] = 0.1
    cube = Head(chi, torch.ones_like(head.mask), torch.zeros(GRID.shape), head.labels, GRID)
    local, tensor = (part(cube, name).abs() for name in ("local", "tensor"))
    assert float(local[chi == 0.0].max()) < 1e-6 * float(local.max())
    assert float(tensor[chi == 0.0].max()) > 0.05 * float(tensor.max())


def test_apparent_susceptibility_has_a_dipole_field_so_that_nothing_of_it_lies_in_the_cone(head: Head) -> None:
    unmasked = Head(head.chi, torch.ones_like(head.mask), head.white, head.labels, GRID)
    k, c = cosine(GRID)
    power = torch.fft.fftn(part(unmasked, "apparent")).abs().square()
    band, from_cone = (k > 0.02) & (k < 0.2), (c.square() - 1.0 / 3.0).abs()
    assert float(power[band & (from_cone < 0.02)].mean()) < 0.05 * float(power[band & (from_cone > 0.3)].mean())


def test_a_displacement_changes_the_field_where_it_is_steep(head: Head) -> None:
    field = acquire(head, Discrepancy(), RandomSource(0)).values
    slope = torch.stack(torch.gradient(field, spacing=list(GRID.voxel_size))).norm(dim=0)
    steep, flat = (head.mask & where for where in (slope > slope.median(), slope < 0.1 * slope.max()))
    error = part(head, "displaced")
    assert rms(error[steep & ~flat]) > 2.0 * rms(error[flat])


def test_a_known_field_gives_the_same_result(head: Head) -> None:
    predicted = simulate_field(head.chi, GRID)
    discrepancy = Discrepancy(4.0, 0.6, spectral=1.0)
    known, simulated = (acquire(head, discrepancy, RandomSource(3), f).values for f in (predicted, None))
    assert torch.equal(known, simulated)


def test_drawn_discrepancies_cover_their_range() -> None:
    drawn = [draw_discrepancy(RandomSource(seed)) for seed in range(600)]
    free = [d for d in drawn if math.isinf(d.power_snr)]
    white = [d for d in drawn if not math.isinf(d.power_snr) and d.structured == 0.0]
    structured = [d for d in drawn if d.structured > 0.0]
    assert all(d == Discrepancy() for d in free)
    assert 0.05 < len(free) / 600 < 0.16 and 0.08 < len(white) / 600 < 0.2 and len(structured) > 380
    assert 2.0 <= min(d.power_snr for d in white) < 3.0 and 200.0 < max(d.power_snr for d in white) <= 400.0
    shares = torch.tensor([1.0 / (1.0 + d.power_snr) for d in structured])
    assert 0.03 <= float(shares.min()) < 0.04 and 0.6 < float(shares.max()) <= 0.65
    assert float((shares > 0.2).float().mean()) > 0.25
    assert 0.4 <= min(d.structured for d in structured) < 0.5 and 0.9 < max(d.structured for d in structured) <= 0.95
    assert all(0.0 <= d.edge <= 4.0 and 0.0 <= d.near_sources <= 3.0 and abs(d.slope) <= 0.6 for d in drawn)
    for name in PARTS:
        weights = torch.tensor([getattr(d, name) for d in structured])
        largest = 0.5 if name == "displaced" else 1.0
        assert float(weights.min()) < 0.01 and 0.9 * largest < float(weights.max()) <= largest
    widths = torch.tensor([d.fibre_width for d in structured])
    assert 0.2 < float((widths == 0.0).float().mean()) < 0.4 and float(widths.max()) <= 25.0
