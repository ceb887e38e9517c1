"""TKD and Tikhonov: optimality, exactness where the kernel is large, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.regularisation.spectrum import estimate_spectrum
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.physics.fourier import frequencies, ifft

OBLIQUE = (0.2, 0.5, 0.8)
GRIDS = [
    Grid((12, 10, 14)),
    Grid((11, 13, 9), (1.0, 0.7, 2.0), user_b0_direction=OBLIQUE),
    Grid((12, 10, 8), (0.5, 1.0, 1.5), user_b0_direction=OBLIQUE),
]
METHODS: list[Callable[..., Callable[..., object]]] = [TruncatedDivision, Tikhonov]


def local_field(values: torch.Tensor, grid: Grid, mask: torch.Tensor | None = None) -> LocalField:
    return LocalField(values, torch.ones(grid.shape, dtype=torch.bool) if mask is None else mask, grid)


def noise(grid: Grid, seed: int = 0) -> torch.Tensor:
    return torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))


def angle_kernel(grid: Grid) -> torch.Tensor:
    """1/3 − cos²: the kernel from the angle between k and B0, on the half spectrum."""
    k = torch.stack([f.expand(*grid.shape[:2], grid.shape[2] // 2 + 1) for f in frequencies(grid)])
    cosine = (k * torch.tensor(grid.b0_direction).view(3, 1, 1, 1)).sum(0) / k.norm(dim=0).clamp_min(1e-12)
    return torch.where(k.norm(dim=0) > 0, 1 / 3 - cosine**2, 0.0)


def waves_with(grid: Grid, chosen: torch.Tensor) -> torch.Tensor:
    """A random volume made of the chosen frequencies, the planes of no frequency of its own sign left out."""
    spectrum = torch.where(chosen, torch.randn(chosen.shape, generator=torch.Generator().manual_seed(1)), 0.0)
    spectrum[0, 0, 0] = 0
    for axis, n in enumerate(grid.shape):
        if n % 2 == 0:
            spectrum.index_fill_(axis, torch.tensor([n // 2]), 0.0)
    spectrum[..., 0] = 0
    return ifft(spectrum.to(torch.complex64), grid.shape)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("regularisation", [0.3, 0.01, 1e-3])
def test_tikhonov_meets_its_optimality_condition(
    require_stationary: Callable[..., None], grid: Grid, regularisation: float
) -> None:
    """The gradient of ‖D χ − f‖² + λ ‖χ‖² vanishes."""
    f, operator = noise(grid), DipoleOp(grid)
    chi = Tikhonov(regularisation)(local_field(f, grid)).values
    require_stationary(lambda x: operator.adjoint(operator(x) - f) + regularisation * x, chi, 1e-5)
    assert chi.norm() > 0.1 * f.norm()


@pytest.mark.parametrize("grid", GRIDS)
def test_truncated_division_is_exact_where_the_kernel_is_above_its_threshold(grid: Grid) -> None:
    chi = waves_with(grid, angle_kernel(grid).abs() > 0.2)
    field = local_field(DipoleOp(grid)(chi), grid)
    torch.testing.assert_close(TruncatedDivision(0.19)(field).values, chi, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_truncated_division_attenuates_what_lies_near_the_cone(grid: Grid) -> None:
    """There the map is |D|/t·χ: smaller, of the same sign, and the less the nearer to the cone."""
    near = (angle_kernel(grid).abs() < 0.15) & (angle_kernel(grid).abs() > 0.01)
    chi = waves_with(grid, near)
    field = local_field(DipoleOp(grid)(chi), grid)
    chi_map = TruncatedDivision(0.15)(field).values
    share = float((chi_map * chi).sum() / chi.square().sum())
    assert 0.1 < share < 0.99
    wider = TruncatedDivision(0.3)(field).values
    torch.testing.assert_close(wider, chi_map / 2, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", [TruncatedDivision(), Tikhonov()])
def test_a_constant_field_gives_no_susceptibility(method: Callable[[LocalField], object]) -> None:
    grid = GRIDS[1]
    f = noise(grid)
    plain, shifted = (method(local_field(x, grid)).values for x in (f, f + 3.0))  # type: ignore[attr-defined]
    torch.testing.assert_close(plain, shifted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("voxel", [1.0, 0.7, 1.3])
def test_where_the_kernel_is_zero_its_sign_is_positive(voxel: float) -> None:
    """The diagonals kx = ±ky = ±kz lie on the cone: D is rounding noise there, of any sign."""
    grid = Grid((23, 23, 23), (voxel,) * 3)
    index = torch.fft.fftfreq(23).mul(23).round().abs()
    x, y, z = index.view(-1, 1, 1), index.view(1, -1, 1), index[:12].view(1, 1, -1)
    f = waves_with(grid, (x == y) & (y == z))
    chi_map = TruncatedDivision(0.15)(local_field(f, grid)).values
    torch.testing.assert_close(chi_map, f / 0.15, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", [TruncatedDivision(), Tikhonov(1e-4)])
@pytest.mark.parametrize("axis", [0, 1])
def test_rounding_on_the_diagonal_of_k_space_is_not_amplified(
    method: Callable[[LocalField], object], axis: int
) -> None:
    """On an isotropic grid D is 0 where kx = ky = kz, so a permuted array with its B0 must give the same map."""
    grid = Grid((15, 15, 15))
    f = noise(grid)
    b = tuple(float(a == axis) for a in range(3))
    chi = method(local_field(f, grid)).values  # type: ignore[attr-defined]
    permuted = method(local_field(f.transpose(axis, 2), grid.with_b0(b)))  # type: ignore[attr-defined]
    torch.testing.assert_close(permuted.values, chi.transpose(axis, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_map_is_zero_outside_the_mask_and_the_same_inside(
    method: Callable[..., Callable[..., object]], grid: Grid
) -> None:
    f, mask = noise(grid), noise(grid, 1) > 0
    unmasked = method()(local_field(f, grid)).values  # type: ignore[attr-defined]
    masked = method()(local_field(f, grid, mask)).values  # type: ignore[attr-defined]
    assert not masked[~mask].any()
    assert torch.equal(masked[mask], unmasked[mask])


@pytest.mark.parametrize(("method", "values"), [(TruncatedDivision, (0.1, 0.2)), (Tikhonov, (0.01, 0.1))])
def test_more_regularisation_gives_a_smaller_map(
    method: Callable[..., Callable[..., object]], values: tuple[float, float]
) -> None:
    field = local_field(noise(GRIDS[0]), GRIDS[0])
    less, more = (method(v)(field).values.norm() for v in values)  # type: ignore[attr-defined]
    assert more < 0.9 * less


def box_with(level: float) -> LocalField:
    """The field of a box with white noise of that standard deviation [ppm], in a mask that leaves out a rim."""
    grid = Grid((32, 32, 32))
    source = torch.zeros(grid.shape)
    source[10:18, 12:20, 8:20] = 0.3
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[3:-3, 3:-3, 3:-3] = True
    return local_field(torch.where(mask, DipoleOp(grid)(source) + level * noise(grid), 0.0), grid, mask)


LEVELS = (0.0, 0.01, 0.05)


def test_the_automatic_threshold_follows_the_noise_and_is_noted() -> None:
    fields = [box_with(level) for level in LEVELS]
    maps = [TruncatedDivision("auto")(field) for field in fields]
    thresholds = [m.notes["threshold"] for m in maps]
    assert 0.0 < thresholds[0] < 0.7 * thresholds[1] < 0.7 * thresholds[2] <= 0.42
    for field, chi_map in zip(fields, maps, strict=True):
        offset = estimate_spectrum(field)[0].offset
        centred = replace(field, values=torch.where(field.mask, field.values - offset, 0.0))
        torch.testing.assert_close(chi_map.values, TruncatedDivision(chi_map.notes["threshold"])(centred).values)
        assert chi_map.notes["field_offset_ppm"] == pytest.approx(offset, abs=1e-6)


def test_the_automatic_tikhonov_is_wiener_s_filter_of_the_field_and_notes_its_spectrum() -> None:
    fields = [box_with(level) for level in LEVELS]
    maps = [Tikhonov("auto")(field) for field in fields]
    means = [m.notes["regularisation"] for m in maps]
    assert 0.0 < means[0] < 0.7 * means[1] < 0.7 * means[2] < 1.0
    for field, chi_map in zip(fields, maps, strict=True):
        spectrum, chi = estimate_spectrum(field)
        assert torch.equal(chi_map.values, chi) and chi_map.notes["spectrum"] == spectrum.to_dict()
        assert chi_map.notes["regularisation"] == spectrum.mean_regularisation
        # No single λ gives this map: the fine frequencies, where noise is most, are damped more than by the mean.
        single = Tikhonov(chi_map.notes["regularisation"])(field).values
        assert not torch.equal(single, chi_map.values)


@pytest.mark.parametrize("method", [TruncatedDivision, Tikhonov])
def test_automatic_regularisation_is_nearer_to_the_truth_than_the_default_where_there_is_noise(
    method: Callable[..., Callable[..., object]],
) -> None:
    clean, field = box_with(0.0), box_with(0.05)
    truth = torch.zeros(field.grid.shape)
    truth[10:18, 12:20, 8:20] = 0.3

    def error(chi: torch.Tensor) -> float:
        difference = (chi - truth)[field.mask]
        return float((difference - difference.mean()).norm())

    default, automatic = (error(made(field).values) for made in (method(), method("auto")))  # type: ignore[attr-defined]
    assert automatic < 0.7 * default
    assert error(method("auto")(clean).values) < 1.05 * error(method()(clean).values)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", [TruncatedDivision("auto"), Tikhonov("auto")])
def test_automatic_methods_take_out_the_constant_of_the_field(method: Callable[[LocalField], object]) -> None:
    """It carries no information: a constant times the mask is not the field of any susceptibility."""
    field = box_with(0.01)
    shifted = replace(field, values=torch.where(field.mask, field.values + 0.1, 0.0))
    plain, other = (method(f).values for f in (field, shifted))  # type: ignore[attr-defined]
    assert float((other - plain).norm()) < 0.02 * float(plain.norm())


@pytest.mark.parametrize("threshold", [0.0, -0.1, 2 / 3, 1.0, math.nan, math.inf])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    message = rf"^The TKD threshold is {threshold:g}; .* between 0 and 2/3, or auto\.$"
    with pytest.raises(ParameterInvalid, match=message):
        TruncatedDivision(threshold)


@pytest.mark.parametrize("regularisation", [0.0, -1.0, math.nan])
def test_a_regularisation_out_of_range_is_refused(regularisation: float) -> None:
    message = rf"^The Tikhonov regularisation is {regularisation:g}; expected a positive number, or auto\.$"
    with pytest.raises(ParameterInvalid, match=message):
        Tikhonov(regularisation)


@pytest.mark.parametrize("method", [TruncatedDivision(), Tikhonov()])
def test_progress_names_the_stage(method: Callable[..., object]) -> None:
    events: list[tuple[float, str]] = []
    method(local_field(noise(GRIDS[0]), GRIDS[0]), lambda *event: events.append(event))
    assert events == [(0.0, "inversion")]
