"""From phase to local field: a simulated head and measured echoes, warnings and notes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, MaskInvalid, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField, Phase, TotalField
from IR2QSMLib.field.background import BackgroundRemoval
from IR2QSMLib.field.checks import residual_background, touched_sides, wraps_left
from IR2QSMLib.field.echoes import MAX_RESIDUAL, EchoFit
from IR2QSMLib.field.fieldmap import FieldMaps, phase_to_local_field
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.field.mask import MagnitudeMask
from IR2QSMLib.field.pdf import ProjectionOntoDipoles
from IR2QSMLib.field.scaling import detect_scaling, wrap
from IR2QSMLib.field.unwrapping import LaplacianUnwrapping, unwrap_in_space
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.physics.dipole import simulate_field

GRID = Grid((46, 46, 34), (1.0, 1.0, 1.4), user_b0_direction=(0.1, -0.2, 0.95))
TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)
ReadEchoes = Callable[[str], tuple[Tensor, Grid]]


@pytest.fixture(scope="module")
def head(
    ball: Callable[..., Tensor], dipole_field: Callable[..., Tensor], simulate_echoes: Callable[..., Phase]
) -> tuple[Tensor, Tensor, Phase]:
    """Local field [ppm], background [ppm] of an air cave, and five wrapped, noisy echoes of both."""
    mask = ball(GRID, 18.0)
    chi = 0.3 * ball(GRID, 4.0).float() + 0.1 * ball(GRID, 3.0).roll((7, -5, 3), (0, 1, 2)).float()
    local = simulate_field(chi - chi[mask].mean() * mask, GRID)
    outside = dipole_field(GRID, (4.0, 23.5, -5.0), 9.4 / 3.0 * 4.5**3) + 0.2
    offset = 1.0 + 0.03 * torch.arange(GRID.shape[0]).view(-1, 1, 1)
    phase = simulate_echoes(local + outside, GRID, TIMES, offset=offset, magnitude=1.0 * mask, noise=0.01, mask=mask)
    return local, outside, phase


def error(maps: FieldMaps, local: Tensor) -> float:
    """Error of the local field over the local field, both demeaned, in the effective mask."""
    values, truth = maps.local.values[maps.local.mask], local[maps.local.mask]
    values, truth = values - values.mean(), truth - truth.mean()
    return float((values - truth).norm() / truth.norm())


@pytest.mark.parametrize(
    ("background", "max_error"),
    [(VSharp(), 0.35), (ProjectionOntoDipoles(), 0.45), (LaplacianBoundaryValue(), 0.35)],
)
def test_the_local_field_of_a_head_is_estimated(
    background: BackgroundRemoval, max_error: float, head: tuple[Tensor, Tensor, Phase]
) -> None:
    local, outside, phase = head
    assert wraps_left(phase.values[-1], phase.mask) > 0.003
    maps = phase_to_local_field(phase, background=background)
    assert error(maps, local) < max_error
    total_error = (maps.total.values - local - outside)[phase.mask]
    assert float(total_error.std()) < 1.3 * float(maps.total.noise[phase.mask].mean())
    assert torch.equal(maps.total.mask, phase.mask) and bool((maps.local.mask <= phase.mask).all())
    for n in range(len(TIMES)):
        assert float(wrap(maps.unwrapped[n] - phase.values[n])[phase.mask].abs().max()) < 1e-4
    assert maps.warnings == []
    assert maps.notes["mask"] == "given" and maps.notes["background"]["name"] == type(background).__name__


def test_unwrapping_and_fit_can_be_chosen(head: tuple[Tensor, Tensor, Phase]) -> None:
    local, _, phase = head
    default = phase_to_local_field(phase)
    laplacian = phase_to_local_field(phase, unwrapping=LaplacianUnwrapping())
    smooth = phase_to_local_field(phase, fit=EchoFit(4.0))
    assert error(laplacian, local) < 0.6 and error(smooth, local) < error(default, local) + 0.02
    assert laplacian.notes["unwrapping"]["name"] == "LaplacianUnwrapping"
    assert not torch.equal(laplacian.local.values, default.local.values)
    assert float(smooth.total.noise.sum()) < 0.8 * float(default.total.noise.sum())


def test_a_mask_is_made_only_where_the_user_has_none(head: tuple[Tensor, Tensor, Phase]) -> None:
    _, _, phase = head
    own_mask = phase.mask.clone()
    own_mask[:, :, :16] = False
    assert torch.equal(phase_to_local_field(replace(phase, mask=own_mask)).total.mask, own_mask)
    automatic = phase_to_local_field(replace(phase, mask=None), masking=MagnitudeMask(opening=2.0))
    overlap = (
        2.0 * float((automatic.total.mask & phase.mask).sum()) / float(automatic.total.mask.sum() + phase.mask.sum())
    )
    assert overlap > 0.95 and automatic.notes["mask"]["opening"] == 2.0


def test_the_result_is_reproducible_to_the_bit(head: tuple[Tensor, Tensor, Phase]) -> None:
    first, second = phase_to_local_field(head[2]), phase_to_local_field(head[2])
    assert torch.equal(first.local.values, second.local.values)


def test_progress_rises_through_the_stages_and_can_cancel(head: tuple[Tensor, Tensor, Phase]) -> None:
    events: list[tuple[float, str]] = []
    phase_to_local_field(head[2], progress=lambda fraction, stage: events.append((fraction, stage)))
    fractions, stages = zip(*events, strict=True)
    assert list(fractions) == sorted(fractions) and max(fractions) <= 1.0
    assert list(dict.fromkeys(stages)) == ["mask", "unwrapping", "echo combination", "background removal"]

    def cancel(fraction: float, stage: str) -> None:
        if stage == "echo combination":
            raise Cancelled

    with pytest.raises(Cancelled):
        phase_to_local_field(head[2], progress=cancel)


def test_voxels_that_the_fit_misses_have_a_large_residual(head: tuple[Tensor, Tensor, Phase]) -> None:
    _, _, phase = head
    values = phase.values.clone()
    values[1::2, 16:19, 24:27, 17] += 1.5
    maps = phase_to_local_field(replace(phase, values=wrap(values)))
    disturbed = torch.zeros(GRID.shape, dtype=torch.bool)
    disturbed[16:19, 24:27, 17] = True
    assert torch.equal(maps.residual > MAX_RESIDUAL, disturbed) and maps.notes["n_voxels_unreliable"] == 9
    assert phase_to_local_field(phase).notes["n_voxels_unreliable"] == 0


def test_poor_voxels_at_the_surface_do_not_disturb_the_others(
    head: tuple[Tensor, Tensor, Phase], phase_of_field: Callable[..., Tensor]
) -> None:
    """Little signal, and a field that is wrong by many times its noise, as beside air cavities."""
    local, _, phase = head
    dark = torch.zeros(GRID.shape, dtype=torch.bool)
    dark[:, 37:, 14:18] = True
    dark &= phase.mask
    phase_error = torch.stack([phase_of_field(1.0 * dark, te) for te in TIMES])
    dim = torch.where(dark, 0.05 * phase.magnitude, phase.magnitude)
    disturbed = replace(phase, values=wrap(phase.values + phase_error), magnitude=dim)
    without_poor, with_poor = (
        phase_to_local_field(disturbed),
        phase_to_local_field(disturbed, max_relative_noise=math.inf),
    )
    assert int(dark.sum()) > 50 and int((without_poor.local.mask & dark).sum()) == 0
    assert torch.equal(without_poor.total.mask, phase.mask)
    assert without_poor.notes["n_voxels"]["reliable_mask"] == int((phase.mask & ~dark).sum())
    assert error(without_poor, local) < 0.4 < error(with_poor, local)
    with pytest.raises(ParameterInvalid, match="expected 1 or more"):
        phase_to_local_field(phase, max_relative_noise=0.5)


# Measured echoes.


def test_three_measured_echoes_are_unwrapped_and_fitted(read_echoes: ReadEchoes) -> None:
    stored, grid = read_echoes("small_Phase.nii")
    magnitude, _ = read_echoes("small_Mag.nii")
    values, times = detect_scaling(stored)(stored), (0.004, 0.008, 0.012)
    everywhere = torch.ones(grid.shape, dtype=torch.bool)
    maps = phase_to_local_field(Phase(values, magnitude, times, 3.0, grid, everywhere))
    slope = 2.0 * math.pi * 42.576 * 3.0 * maps.total.values
    for n, te in enumerate(times):
        assert float(wrap(maps.unwrapped[n] - values[n]).abs().max()) < 1e-4
        bright = magnitude[n] > magnitude[n].median()
        assert wraps_left(maps.unwrapped[n], bright) <= 1e-3
        error = wrap(maps.offset + slope * te - values[n])[bright]
        assert float(error.square().mean().sqrt()) < 0.3


def test_a_single_measured_echo_is_unwrapped(read_echoes: ReadEchoes) -> None:
    values, grid = read_echoes("small2_Phase.nii")
    magnitude, _ = read_echoes("small2_Mag.nii")
    maps = phase_to_local_field(Phase(values, magnitude, (0.01,), 3.0, grid, torch.ones(grid.shape, dtype=torch.bool)))
    assert float(wrap(maps.unwrapped[0] - values[0]).abs().max()) < 1e-4
    assert wraps_left(maps.unwrapped[0], magnitude[0] > magnitude[0].median()) <= 1e-3
    assert "a single echo" in maps.notes["offset"]
    assert any(sentence.startswith("There is one echo") for sentence in maps.warnings)
    assert any("touches the edge" in sentence for sentence in maps.warnings)


def test_voxels_without_phase_are_counted_and_left_out(read_echoes: ReadEchoes) -> None:
    stored, grid = read_echoes("small_phase_with_nan.nii")
    valid = torch.isfinite(stored).all(0)
    assert int((~torch.isfinite(stored)).sum()) == 1280
    values = detect_scaling(stored)(stored)
    everywhere = torch.ones(grid.shape, dtype=torch.bool)
    phase = Phase(values, torch.ones_like(values), (0.004, 0.009), 3.0, grid, everywhere)
    maps = phase_to_local_field(phase, background=LaplacianBoundaryValue())
    assert torch.equal(maps.total.mask, valid)
    assert maps.notes["n_voxels_without_phase"] == int((~valid).sum())
    assert f"{int((~valid).sum())} voxels of the mask have no phase" in maps.warnings[0]
    for n in range(2):
        assert float(wrap(maps.unwrapped[n] - stored[n])[valid].abs().max()) < 1e-4
        single = unwrap_in_space(torch.nan_to_num(values[n]), torch.isfinite(stored[n]))
        assert float(wrap(single - stored[n])[torch.isfinite(stored[n])].abs().max()) < 1e-4
    for volume in (maps.local.values, maps.total.values, maps.residual, maps.quality, maps.total.noise):
        assert bool(torch.isfinite(volume).all()) and not volume[~valid].any()


# Warnings.


def test_noise_few_echoes_and_wraps_give_a_warning(
    head: tuple[Tensor, Tensor, Phase], simulate_echoes: Callable[..., Phase]
) -> None:
    local, outside, phase = head
    noisy = simulate_echoes(local + outside, GRID, TIMES, magnitude=1.0, noise=0.3, mask=phase.mask)
    warnings = " ".join(phase_to_local_field(noisy).warnings)
    assert "signal-to-noise ratio of the first echo is 3" in warnings and "misses 0.3 of the signal" in warnings
    two = replace(phase, values=phase.values[:2], magnitude=phase.magnitude[:2], echo_times=TIMES[:2])
    assert any(sentence.startswith("There are two echoes") for sentence in phase_to_local_field(two).warnings)
    noise = simulate_echoes(torch.zeros(GRID.shape), GRID, TIMES, magnitude=0.01, noise=1.0, mask=phase.mask)

    def no_removal(field: TotalField, progress: object) -> LocalField:
        return LocalField(field.values, field.mask, field.grid)

    assert any("(wraps)" in sentence for sentence in phase_to_local_field(noise, background=no_removal).warnings)


def test_residual_background_gives_a_warning(head: tuple[Tensor, Tensor, Phase]) -> None:
    def no_removal(field: object, progress: object) -> LocalField:
        local, outside, phase = head
        return LocalField((local + outside) * phase.mask, phase.mask, GRID)

    assert any(
        "smooth background" in sentence for sentence in phase_to_local_field(head[2], background=no_removal).warnings
    )


def test_residual_background_is_the_harmonic_share(
    ball: Callable[..., Tensor], positions: Callable[..., Tensor]
) -> None:
    mask = ball(GRID, 18.0)
    x, y, z = positions(GRID)
    harmonic = torch.where(mask, x * y + z - 4.0, 0.0)
    noise = torch.where(mask, torch.randn(GRID.shape, generator=torch.Generator().manual_seed(0)), 0.0)
    scaled = harmonic * float(noise[mask].std() / harmonic[mask].std())
    assert residual_background(LocalField(harmonic, mask, GRID)) == pytest.approx(1.0, abs=1e-3)
    assert residual_background(LocalField(noise, mask, GRID)) < 0.01
    assert residual_background(LocalField(noise + scaled, mask, GRID)) == pytest.approx(0.5, abs=0.02)
    assert residual_background(LocalField(0.0 * noise, mask, GRID)) == 0.0
    assert residual_background(LocalField(noise, ball(GRID, 1.0), GRID)) == 0.0


def test_the_sides_that_a_mask_touches_are_named() -> None:
    mask = torch.zeros(5, 6, 7, dtype=torch.bool)
    mask[0:2, 3, 6] = True
    assert touched_sides(mask) == ["x low", "z high"]
    assert touched_sides(torch.ones(4, 4, 1, dtype=torch.bool)) == ["x low", "x high", "y low", "y high"]


def test_a_mask_without_signal_is_refused(head: tuple[Tensor, Tensor, Phase]) -> None:
    with pytest.raises(MaskInvalid, match="No voxel of the mask"):
        phase_to_local_field(replace(head[2], values=torch.full_like(head[2].values, math.nan)))
    with pytest.raises(MaskInvalid, match="No voxel of the mask"):
        phase_to_local_field(replace(head[2], magnitude=torch.zeros_like(head[2].magnitude)))
