"""Random draws: repeatable by seed, within their bounds, and of the right spectrum."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.physics.fourier import blur
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((32, 24, 16), (1.0, 1.0, 2.0))


def correlation_at(x: Tensor, shift: int, axis: int) -> float:
    """Autocorrelation of a zero-mean volume at a shift in voxels along an axis."""
    return float((x * x.roll(shift, axis)).mean() / x.square().mean())


def test_draws_depend_on_the_seed_alone() -> None:
    def drawn(seed: int) -> tuple[list[float], Tensor]:
        rng = RandomSource(seed)
        numbers = [rng.uniform(0, 1), rng.loguniform(1, 9), float(rng.integer(0, 99)), *rng.direction()]
        return numbers, torch.stack(
            [rng.normal(*GRID.shape), rng.smooth_noise(GRID, 2.0), rng.power_law_noise(GRID, 1.5)]
        )

    first, repeated, other = drawn(3), drawn(3), drawn(4)
    assert first[0] == repeated[0] and torch.equal(first[1], repeated[1])
    assert all(a != b for a, b in zip(first[0], other[0], strict=True))
    assert float((first[1] - other[1]).abs().mean()) > 0.5


def test_the_number_of_volumes_does_not_change_the_numbers() -> None:
    few, many = RandomSource(7), RandomSource(7)
    many.normal(8, 8, 8)
    assert few.uniform(0, 1) == many.uniform(0, 1)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    first = RandomSource(5).normal(4)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(RandomSource(5).normal(4), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_fill_their_range() -> None:
    rng = RandomSource(0)
    uniform = [rng.uniform(-2.0, 3.0) for _ in range(500)]
    integers = [rng.integer(2, 4) for _ in range(200)]
    logs = [math.log10(rng.loguniform(0.01, 100.0)) for _ in range(500)]
    assert -2.0 <= min(uniform) < -1.9 and 2.9 < max(uniform) <= 3.0
    assert set(integers) == {2, 3, 4}
    assert min(logs) >= -2.0 and max(logs) <= 2.0 and abs(sum(logs) / 500) < 0.2  # as many below 1 as above
    assert {rng.choice("abc") for _ in range(50)} == set("abc")
    assert 0.2 < sum(rng.chance(0.3) for _ in range(500)) / 500 < 0.4


def test_directions_are_unit_vectors_without_a_preference() -> None:
    rng = RandomSource(1)
    drawn = torch.tensor([rng.direction() for _ in range(2000)])
    assert torch.allclose(drawn.norm(dim=1), torch.ones(2000), atol=1e-6)
    assert float(drawn.mean(0).abs().max()) < 0.05
    assert torch.allclose(drawn.square().mean(0), torch.full((3,), 1 / 3), atol=0.03)


def test_blurring_spreads_a_point_by_its_width_in_millimetres_and_keeps_its_sum() -> None:
    point = torch.zeros(GRID.shape)
    point[16, 12, 8] = 1.0
    spread = blur(point, GRID, 2.5)
    assert float(spread.sum()) == pytest.approx(1.0, abs=1e-5)
    for axis, (n, size) in enumerate(zip(GRID.shape, GRID.voxel_size, strict=True)):
        along = spread.sum([a for a in range(3) if a != axis])
        position = (torch.arange(n) - n // 2) * size
        assert float((along * position**2).sum()) == pytest.approx(2.5**2, rel=0.02)


def test_smooth_noise_correlates_over_its_width_in_millimetres() -> None:
    grid = Grid((48, 48, 24), (1.0, 1.0, 2.0))
    noise = RandomSource(2).smooth_noise(grid, 2.0)
    assert float(noise.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(noise.std()) == pytest.approx(1.0, abs=1e-4)
    # White noise under a Gaussian of σ has the autocorrelation exp(−d²/4σ²): at 4 mm, 1/e.
    for axis, shift in ((0, 4), (1, 4), (2, 2)):
        assert correlation_at(noise, shift, axis) == pytest.approx(math.exp(-1.0), abs=0.12)


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_power_law_noise_falls_with_frequency_by_its_exponent(exponent: float) -> None:
    n = 64
    noise = RandomSource(3).power_law_noise(Grid((n, n, n)), exponent)
    power = torch.fft.fftn(noise).abs().square()
    k = torch.fft.fftfreq(n)
    radius = (k.view(-1, 1, 1) ** 2 + k.view(1, -1, 1) ** 2 + k.view(1, 1, -1) ** 2).sqrt()
    low, high = (float(power[(radius > r) & (radius < 1.2 * r)].mean()) for r in (0.1, 0.4))
    assert float(noise.std()) == pytest.approx(1.0, abs=1e-4)
    # Amplitude |k|^−exponent: power falls by 4^(2·exponent) over two octaves, a little less next to the coarsest scale.
    assert math.log(low / high, 4.0) == pytest.approx(2.0 * exponent, abs=0.25)


def test_the_spectrum_is_flat_beyond_the_coarsest_scale() -> None:
    grid = Grid((64, 64, 16))
    wide, narrow = (RandomSource(4).power_law_noise(grid, 2.0, coarsest) for coarsest in (40.0, 4.0))
    assert correlation_at(wide, 4, 0) > correlation_at(narrow, 4, 0) + 0.2
