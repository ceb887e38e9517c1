"""The discrepancy's spectrum, estimated from fields whose discrepancy is known and from fields of every shape."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.regularisation.spectrum import Spectrum, estimate_spectrum, interpolate
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.dipole import DipoleOp
from IR2QSMLib.simulation.acquisition import Discrepancy, acquire
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes

GRIDS = {
    "axial": Grid((64, 72, 64), (2.0, 2.0, 2.0)),
    "oblique": Grid((64, 72, 64), (2.0, 2.0, 2.0), user_b0_direction=(0.1, 0.5, 0.86)),
    "thick slices": Grid((72, 80, 40), (1.5, 1.5, 3.0)),
}
HEADS: dict[str, Head] = {}
STRUCTURED = Discrepancy(structured=0.67, edge=1.0, near_sources=1.0, spectral=1.0, tensor=0.7, local=0.7, smooth=0.5)


def head(name: str) -> Head:
    """A head of random shapes on one of the grids, drawn once."""
    if name not in HEADS:
        HEADS[name] = draw_shapes(RandomSource(2), GRIDS[name])
    return HEADS[name]


def simulated_field(name: str, discrepancy: Discrepancy | None = None) -> LocalField:
    return acquire(head(name), discrepancy or Discrepancy(), RandomSource(9))


def shell_means(field: Tensor, spectrum: Spectrum, grid: Grid, where: Tensor | None = None) -> Tensor:
    """Mean |F field|² of the full spectrum around each wavenumber, by numpy's ordering of it: (shell)."""
    power = torch.fft.fftn(field.double()).abs().square()
    axes = [torch.fft.fftfreq(n, v, dtype=torch.float64) for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    k = (axes[0].view(-1, 1, 1) ** 2 + axes[1].view(1, -1, 1) ** 2 + axes[2].view(1, 1, -1) ** 2).sqrt()
    edges = (spectrum.wavenumber[1:] * spectrum.wavenumber[:-1]).sqrt()
    shell = torch.bucketize(k, edges)
    chosen = (k > 0.0) if where is None else (k > 0.0) & where
    n = len(spectrum.wavenumber)
    total = torch.bincount(shell[chosen], power[chosen], n)
    return total / torch.bincount(shell[chosen], minlength=n).clamp_min(1)


# A known discrepancy.


@pytest.mark.parametrize("name", GRIDS)
def test_without_a_discrepancy_lambda_is_nearly_the_least(name: str) -> None:
    spectrum, chi = estimate_spectrum(simulated_field(name))
    assert float(spectrum.regularisation.max()) < 2.0 * SETTINGS.min_regularisation
    assert spectrum.mean_regularisation < 1.2 * SETTINGS.min_regularisation
    assert spectrum.discrepancy_share < 0.02
    truth, mask = head(name).chi, head(name).mask
    error = (chi - truth)[mask]
    assert float((error - error.mean()).norm() / truth[mask].norm()) < 0.5


@pytest.mark.parametrize("name", GRIDS)
def test_white_noise_gives_lambda_the_ramp_of_its_power_over_that_of_the_sources(name: str) -> None:
    snr = 4.0
    field = simulated_field(name, Discrepancy(snr))
    spectrum, _ = estimate_spectrum(field)
    share = 1.0 / (1.0 + snr)
    assert spectrum.discrepancy_share == pytest.approx(SETTINGS.cone_power_factor * share, rel=0.15)
    lambdas = spectrum.regularisation
    assert float(lambdas[0]) < 2.0 * SETTINGS.min_regularisation and float(lambdas[-1]) > 10.0 * float(lambdas[0])
    # The powers of noise and sources, shell by shell, from the truth. Of white noise, whose power is the same in the
    # cone as elsewhere, `cone_power_factor` estimates too little; the rest counts as the sources' over the mean of D².
    noise = torch.where(field.mask, field.values - simulated_field(name).values, 0.0)
    of_noise, of_sources = (shell_means(x, spectrum, field.grid) for x in (noise, head(name).chi))
    known = SETTINGS.cone_power_factor * of_noise
    assert bool(((spectrum.discrepancy / known)[-4:].log().abs() < math.log(1.4)).all())
    expected = known / (of_sources + (of_noise - known) / 0.132)
    compared = expected > 3.0 * SETTINGS.min_regularisation
    assert int(compared.sum()) >= 3
    assert bool(((lambdas / expected)[compared].log().abs() < math.log(1.6)).all())


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("snr", [1.5, 4.0, 9.0])
def test_the_share_of_a_structured_discrepancy_is_right_within_a_factor(name: str, snr: float) -> None:
    spectrum, _ = estimate_spectrum(simulated_field(name, replace(STRUCTURED, power_snr=snr)))
    assert 0.45 < spectrum.discrepancy_share * (1.0 + snr) < 1.3
    # And it is there at long wavelengths, where noise of that power has little.
    white, _ = estimate_spectrum(simulated_field(name, Discrepancy(snr)))
    coarse = spectrum.wavenumber < 0.1
    means = [float(s.regularisation[coarse].log().mean()) for s in (spectrum, white)]
    assert means[0] > means[1] + math.log(1.1)


@pytest.mark.parametrize("name", GRIDS)
def test_more_discrepancy_is_more_regularisation(name: str) -> None:
    spectra = [
        estimate_spectrum(simulated_field(name, replace(STRUCTURED, power_snr=snr)))[0] for snr in (40.0, 9.0, 4.0, 1.5)
    ]
    for less, more in pairwise(spectra):
        assert (
            more.mean_regularisation > 1.2 * less.mean_regularisation
            and more.discrepancy_share > 1.5 * less.discrepancy_share
        )


@pytest.mark.parametrize("factor", [1e-3, 10.0, 1e3])
def test_the_field_s_unit_changes_nothing_but_powers(factor: float) -> None:
    field = simulated_field("axial", replace(STRUCTURED, power_snr=4.0))
    spectrum, chi = estimate_spectrum(field)
    scaled, map_scaled = estimate_spectrum(replace(field, values=factor * field.values))
    torch.testing.assert_close(scaled.regularisation, spectrum.regularisation, rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled.discrepancy, factor**2 * spectrum.discrepancy, rtol=1e-3, atol=0)
    torch.testing.assert_close(map_scaled, factor * chi, rtol=1e-3, atol=factor * 1e-5)
    assert scaled.discrepancy_share == pytest.approx(spectrum.discrepancy_share, rel=1e-3)
    assert scaled.offset == pytest.approx(factor * spectrum.offset, rel=1e-2)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("constant", [0.02, -0.3, 5.0])
def test_a_constant_of_the_field_is_estimated_and_changes_nothing(name: str, constant: float) -> None:
    """A constant up to a thousand times the field itself, as a scanner's frequency may be off."""
    field = simulated_field(name, replace(STRUCTURED, power_snr=4.0))
    spectrum, chi = estimate_spectrum(field)
    shifted, map_shifted = estimate_spectrum(
        replace(field, values=torch.where(field.mask, field.values + constant, 0.0))
    )
    assert shifted.offset - spectrum.offset == pytest.approx(constant, rel=1e-4)
    torch.testing.assert_close(shifted.regularisation, spectrum.regularisation, rtol=0.01, atol=0)
    assert shifted.discrepancy_share == pytest.approx(spectrum.discrepancy_share, rel=0.01)
    assert float((map_shifted - chi).norm() / chi.norm()) < 2e-3


def test_the_first_map_is_wiener_s_filter_of_the_field() -> None:
    field = simulated_field("oblique", replace(STRUCTURED, power_snr=4.0))
    spectrum, chi = estimate_spectrum(field)
    grid = field.grid
    dipole = DipoleOp(grid)
    delta = torch.zeros(grid.shape)
    delta[0, 0, 0] = 1.0
    d = torch.fft.rfftn(dipole(delta)).real
    values = torch.where(field.mask, field.values - spectrum.offset, 0.0)
    expected = torch.fft.irfftn(
        torch.fft.rfftn(values) * d / (d.square() + spectrum.regularisation_at(grid)), s=grid.shape
    )
    assert (chi - torch.where(field.mask, expected, 0.0)).norm() < 0.05 * chi.norm()
    assert not chi[~field.mask].any()


def test_a_slab_has_the_spectrum_of_the_head_that_it_is_cut_from() -> None:
    """Sources beyond its faces are in its field, and no discrepancy of it."""
    name = "axial"
    for snr, low, high in ((math.inf, 0.0, 0.1), (4.0, 0.08, 0.26)):
        field = simulated_field(name, Discrepancy(snr) if math.isinf(snr) else replace(STRUCTURED, power_snr=snr))
        for axis in range(3):
            kept = torch.zeros(field.grid.shape, dtype=torch.bool)
            kept.narrow(axis, 20, 24).fill_(True)
            mask = field.mask & kept
            slab = LocalField(torch.where(mask, field.values, 0.0), mask, field.grid)
            spectrum, chi = estimate_spectrum(slab)
            assert low <= spectrum.discrepancy_share < high
            assert bool(chi.isfinite().all())


def test_zero_filled_fields_are_estimated() -> None:
    """Twice the matrix adds no information: the highest frequencies hold nothing, and there λ is bounded."""
    coarse = simulated_field("axial", replace(STRUCTURED, power_snr=4.0))
    grid = coarse.grid
    spectrum, _ = estimate_spectrum(coarse)
    fine = Grid(tuple(2 * n for n in grid.shape), tuple(v / 2 for v in grid.voxel_size))  # type: ignore[arg-type]
    full = torch.fft.fftshift(torch.fft.fftn(coarse.values))
    nx, ny, nz = grid.shape
    padded = torch.nn.functional.pad(full, (nz // 2, nz // 2, ny // 2, ny // 2, nx // 2, nx // 2))
    values = 8.0 * torch.fft.ifftn(torch.fft.ifftshift(padded)).real
    mask = coarse.mask.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    fine_spectrum, chi = estimate_spectrum(LocalField(torch.where(mask, values, 0.0), mask, fine))
    assert bool(chi.isfinite().all()) and bool(fine_spectrum.regularisation.isfinite().all())
    assert float(fine_spectrum.regularisation.max()) <= 1.0
    assert fine_spectrum.discrepancy_share == pytest.approx(spectrum.discrepancy_share, rel=0.35)
    shared = (fine_spectrum.wavenumber > 0.03) & (fine_spectrum.wavenumber < 0.15)
    expected = interpolate(spectrum.wavenumber, spectrum.regularisation, fine_spectrum.wavenumber[shared])
    ratio = fine_spectrum.regularisation[shared] / expected
    assert float(ratio.min()) > 0.4 and float(ratio.max()) < 2.5


# Grids, masks and fields of every shape.


def require_valid_spectrum(field: LocalField) -> Spectrum:
    """Estimate a spectrum whose every number is finite and in range."""
    spectrum, chi = estimate_spectrum(field)
    assert chi.shape == field.grid.shape and bool(chi.isfinite().all()) and not bool(chi[~field.mask].any())
    tensors = (spectrum.wavenumber, spectrum.discrepancy, spectrum.susceptibility, spectrum.field, spectrum.counts)
    assert len({len(x) for x in tensors}) == 1
    assert all(bool(x.isfinite().all()) and bool((x >= 0.0).all()) for x in tensors)
    assert all(x.device.type == "cpu" and x.dtype == torch.float64 for x in tensors)
    assert bool((spectrum.wavenumber.diff() > 0.0).all())
    lambdas = spectrum.regularisation_at(field.grid)
    assert bool(lambdas.isfinite().all())
    assert float(lambdas.min()) >= 0.99 * SETTINGS.min_regularisation and float(lambdas.max()) <= 1.01
    assert (
        0.0 <= spectrum.discrepancy_share <= 1.0 and SETTINGS.min_regularisation <= spectrum.mean_regularisation <= 1.0
    )
    json.dumps(spectrum.to_dict(), allow_nan=False)
    return spectrum


@pytest.mark.parametrize(
    "shape", [(2, 2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 2), (1, 16, 16), (16, 1, 16), (3, 5, 1), (1, 1, 64), (9, 7, 5)]
)
@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (0.5, 0.8, 4.0)])
def test_tiny_and_flat_grids_have_a_spectrum(shape: tuple[int, int, int], voxel: tuple[float, float, float]) -> None:
    grid = Grid(shape, voxel, user_b0_direction=(0.3, 0.4, 0.8))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    require_valid_spectrum(LocalField(values, torch.ones(shape, dtype=torch.bool), grid))


@pytest.mark.parametrize("n_voxels", [1, 2, 7, 30])
def test_masks_of_few_voxels_have_a_spectrum(n_voxels: int) -> None:
    field = simulated_field("axial", Discrepancy(4.0))
    inside = field.mask.nonzero()
    chosen = inside[torch.linspace(0, len(inside) - 1, n_voxels).long()]
    mask = torch.zeros_like(field.mask)
    mask[chosen.unbind(1)] = True
    require_valid_spectrum(LocalField(torch.where(mask, field.values, 0.0), mask, field.grid))


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-6, 1e4])
def test_a_constant_field_has_a_spectrum(value: float) -> None:
    mask = head("axial").mask
    spectrum = require_valid_spectrum(LocalField(torch.where(mask, value, 0.0), mask, GRIDS["axial"]))
    assert spectrum.offset == pytest.approx(value, rel=0.05, abs=1e-12)


def test_noise_alone_is_nearly_all_discrepancy() -> None:
    mask = head("axial").mask
    noise = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    spectrum = require_valid_spectrum(LocalField(torch.where(mask, noise, 0.0), mask, GRIDS["axial"]))
    assert spectrum.discrepancy_share > 0.5 and spectrum.mean_regularisation > 0.1


def test_what_lies_outside_the_mask_does_not_count() -> None:
    field = simulated_field("oblique", Discrepancy(4.0))
    other = replace(field, values=torch.where(field.mask, field.values, 3.0))
    (one, chi), (two, other_chi) = estimate_spectrum(field), estimate_spectrum(other)
    assert torch.equal(one.regularisation, two.regularisation) and torch.equal(chi, other_chi)


def test_the_order_of_the_axes_does_not_count() -> None:
    """The half spectrum has one axis cut in half; each coefficient is counted as in the full one."""
    field = simulated_field("oblique", replace(STRUCTURED, power_snr=4.0))
    axes, flipped = (2, 0, 1), (True, False, False)
    reoriented = [x.permute(axes).flip(0) for x in (field.values, field.mask)]
    other = LocalField(reoriented[0], reoriented[1], field.grid.reoriented(axes, flipped))
    (one, chi), (two, other_chi) = estimate_spectrum(field), estimate_spectrum(other)
    torch.testing.assert_close(two.regularisation, one.regularisation, rtol=0.03, atol=0)
    torch.testing.assert_close(two.counts, one.counts)
    torch.testing.assert_close(other_chi, chi.permute(axes).flip(0), rtol=0.01, atol=1e-3)


def test_shells_hold_every_frequency_but_the_first_once() -> None:
    for grid in (*GRIDS.values(), Grid((9, 7, 5)), Grid((8, 6, 4), (1.0, 2.0, 3.0))):
        values = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
        spectrum, _ = estimate_spectrum(LocalField(values, torch.ones(grid.shape, dtype=torch.bool), grid))
        assert float(spectrum.counts.sum()) == math.prod(grid.shape) - 1
        power = torch.fft.fftn((values - spectrum.offset).double()).abs().square()
        power[0, 0, 0] = 0.0
        # The last round's field had the constant of the round before, which moves no other frequency of a full mask.
        assert float((spectrum.field * spectrum.counts).sum()) == pytest.approx(float(power.sum()), rel=1e-4)
