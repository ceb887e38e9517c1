"""The calibrated uncertainty: what it is told from, what it refuses, and what a reconstruction makes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.ndimage import distance_transform_edt

from IR2QSMLib.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.grid import Grid
from IR2QSMLib.inversion.certainty import DEPTH, FADING, FEATURES, Calibration, features
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity
from IR2QSMLib.inversion.learned import Learned
from IR2QSMLib.inversion.loading import load
from IR2QSMLib.io.weights import read_weights, weights_bytes
from IR2QSMLib.physics.dipole import DipoleOp, simulate_field
from IR2QSMLib.volumes import LocalField

MakeWeights = Callable[..., Path]
GRID = Grid((40, 48, 32), (1.0, 1.0, 1.5))
N = len(FEATURES)


def smooth(grid: Grid = GRID) -> torch.Tensor:
    """Smooth sources [ppm] over the whole grid."""
    x, y, z = (torch.linspace(-1, 1, n).view([-1 if a == i else 1 for a in range(3)]) for i, n in enumerate(grid.shape))
    return 0.05 * torch.sin(3 * x + 1) * torch.cos(2 * y) + 0.03 * torch.sin(4 * z)


def inside(grid: Grid = GRID) -> torch.Tensor:
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    mask[4:-4, 4:-4, 4:-4] = True
    return mask


def known(
    chi: torch.Tensor, noise: float = 0.0, sigma: float = 0.02, *, recovered: bool = False, spared: bool = False
) -> dict[str, torch.Tensor]:
    """Features as maps, by name, of a map whose own (periodic) field with noise is the measured one."""
    mask, generator = inside(), torch.Generator().manual_seed(0)
    values = DipoleOp(GRID)(torch.where(mask, chi, 0.0)) + noise * torch.randn(GRID.shape, generator=generator)
    field = LocalField(torch.where(mask, values, 0.0), mask, GRID, recovered=recovered)
    found = features(torch.where(mask, chi, 0.0), torch.full(GRID.shape, sigma), Fidelity(field), spared=spared)
    maps = {}
    for name, column in zip(FEATURES, found, strict=True):
        maps[name] = torch.full(GRID.shape, math.nan)
        maps[name][mask] = column
    return maps


def trusting(scale: float = 1.0) -> Calibration:
    """The calibration that says `scale` times what the network says."""
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[0][0], matrix[0][1] = -12.0 + math.log(scale), 12.0
    return Calibration(FEATURES, (-12.0,) + (0.0,) * (N - 1), (0.0,) + (1.0,) * (N - 1), tuple(map(tuple, matrix)))


# What an error is told from.


def test_the_depth_is_the_distance_from_the_outside() -> None:
    expected = torch.from_numpy(distance_transform_edt(inside().numpy(), sampling=GRID.voxel_size)).float()
    found = -FADING * known(smooth())["edge"].log()
    torch.testing.assert_close(found[inside()], expected.clamp_max(DEPTH)[inside()])


@pytest.mark.parametrize(("sign", "name", "other"), [(1, "log_above", "log_below"), (-1, "log_below", "log_above")])
def test_small_sources_stand_out_by_their_sign(sign: int, name: str, other: str) -> None:
    spot, chi = (20, 18, 16), smooth()
    chi[spot] += sign * 0.2
    found, before = known(chi), known(smooth())
    assert found[name][spot] > before[name][spot] + 1.0
    assert found[name][spot] == found[name].nan_to_num(-99.0).max()
    assert found[other][spot] <= before[other][spot]
    assert found["log_spread"][spot] > before["log_spread"][spot] + 1.0


@pytest.mark.parametrize("noise", [0.003, 0.01])
def test_the_residual_is_the_noise_of_a_field_that_the_map_explains(noise: float) -> None:
    clean, noisy = known(smooth()), known(smooth(), noise)
    deep = clean["edge"] < math.exp(-2.0)
    assert float(noisy["log_residual"][deep].exp().mean()) == pytest.approx(noise, rel=0.1)
    assert float(clean["log_residual"][deep].exp().mean()) < 0.2 * noise


def test_the_networks_own_word_and_the_size_of_a_voxel_count() -> None:
    found = known(smooth(), sigma=0.03)
    for name, value in (("log_sigma", 0.03), ("log_voxel", 1.5 ** (1 / 3))):
        torch.testing.assert_close(found[name][inside()], torch.full_like(found[name][inside()], math.log(value)))


def test_an_estimated_harmonic_part_and_a_magnitude_are_told_apart() -> None:
    for name in ("recovered", "spared"):
        for value in (False, True):
            found = known(smooth(), **{name: value})[name][inside()]
            torch.testing.assert_close(found, torch.full_like(found, float(value)))


# The calibration itself.


def test_a_calibration_that_trusts_the_network_says_what_it_says() -> None:
    mask = inside()
    field = LocalField(torch.where(mask, smooth(), 0.0), mask, GRID)
    sigma = torch.rand(GRID.shape, generator=torch.Generator().manual_seed(1)) * 0.1 + 1e-3
    found = trusting(1.5)(smooth(), sigma, Fidelity(field), spared=False)
    torch.testing.assert_close(found[mask], 1.5 * sigma[mask], rtol=1e-4, atol=0)
    assert not found[~mask].any()


def test_beyond_its_range_a_feature_counts_as_the_ranges_end() -> None:
    at = torch.zeros(N, 4)
    at[0] = torch.tensor([-30.0, -12.0, 0.0, 5.0])
    found = trusting().log_sigma(at)
    torch.testing.assert_close(found, torch.tensor([-12.0, -12.0, 0.0, 0.0]))


def test_two_features_may_act_together() -> None:
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[2][3] = 3.0
    both = Calibration(FEATURES, (0.0,) * N, (1.0,) * N, tuple(map(tuple, matrix)))
    at = torch.zeros(N, 3)
    at[1], at[2] = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([1.0, 1.0, 0.5])
    torch.testing.assert_close(both.log_sigma(at), torch.tensor([3.0, 0.0, 0.75]))


def test_a_calibration_survives_its_way_through_json() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(trusting(0.7).to_dict()))) == trusting(0.7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["edge"]}, "is calibrated by edge; expected log_sigma, .*: calibrate the weights again"),
        ({"low": [0.0]}, f"of {N} features has 1 and {N} ends"),
        ({"matrix": [[0.0]]}, "and 1 rows; expected as many, and one more"),
        ({"high": [math.inf] * N}, "numbers that are not finite"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        Calibration.from_dict({**trusting().to_dict(), **change})


# In weights and maps.


def calibrated(weights: Path, calibration: dict[str, Any] | list[int], folder: Path) -> Path:
    stored = read_weights(weights)
    path = folder / "calibrated.safetensors"
    path.write_bytes(weights_bytes(stored.tensors, {**stored.header, "calibration": calibration}, half=False))
    return path


def test_calibrated_weights_give_the_calibrated_uncertainty_unless_asked_not_to(
    make_weights: MakeWeights, tmp_path: Path
) -> None:
    mask = inside()
    field = LocalField(torch.where(mask, simulate_field(smooth() * mask, GRID), 0.0), mask, GRID)
    plain = make_weights(scale=0.1, uncertainty=True)
    before = Learned(plain)(field)
    path = calibrated(plain, trusting(3.0).to_dict(), tmp_path)
    after, raw = Learned(path)(field), Learned(path, calibrated=False)(field)
    assert torch.equal(after.values, before.values) and torch.equal(raw.values, before.values)
    assert before.uncertainty is not None and after.uncertainty is not None and raw.uncertainty is not None
    assert torch.equal(raw.uncertainty, before.uncertainty)
    torch.testing.assert_close(after.uncertainty, 3.0 * before.uncertainty, rtol=1e-4, atol=0)
    assert after.notes["uncertainty"] == "calibrated on simulated heads"
    assert before.notes["uncertainty"] == raw.notes["uncertainty"] == "the network's own, not calibrated"


def test_weights_without_an_uncertainty_have_none_to_speak_of(make_weights: MakeWeights) -> None:
    field = LocalField(torch.where(inside(), smooth(), 0.0), inside(), GRID)
    found = Learned(make_weights(scale=0.0))(field)
    assert found.uncertainty is None and "uncertainty" not in found.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["edge"]}, "cannot be: The uncertainty is calibrated by edge; expected"),
        (None, "lacks or misnames a setting"),
        ({"matrix": "x"}, "cannot be: A calibration of"),
    ],
)
def test_weights_with_a_calibration_that_cannot_be_are_refused(
    make_weights: MakeWeights, tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    wrong: Any = [1] if change is None else {**trusting().to_dict(), **change}
    with pytest.raises(WeightsInvalid, match=message):
        load(calibrated(make_weights(uncertainty=True), wrong, tmp_path))
