"""The calibrated uncertainty: what it is told from, what it refuses, and what a reconstruction makes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.ndimage import gaussian_filter

from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration, features
from IR2QSMLib.io.weights import read_weights, weights_bytes
from IR2QSMLib.physics.dipole import DipoleOp, simulate_field
from IR2QSMLib.physics.settings import SETTINGS

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


def explained(chi: torch.Tensor, noise: float = 0.0, grid: Grid = GRID) -> tuple[torch.Tensor, DataTerm]:
    """A map in the mask and the data term of its own (periodic) field with white noise."""
    mask, generator = inside(grid), torch.Generator().manual_seed(0)
    chi = torch.where(mask, chi, 0.0)
    values = DipoleOp(grid)(chi) + noise * torch.randn(grid.shape, generator=generator)
    return chi, DataTerm.of(LocalField(torch.where(mask, values, 0.0), mask, grid))


def known(chi: torch.Tensor, noise: float = 0.0, grid: Grid = GRID) -> dict[str, torch.Tensor]:
    """Features as maps, by name."""
    mask, maps = inside(grid), {}
    for name, column in zip(FEATURES, features(*explained(chi, noise, grid)), strict=True):
        maps[name] = torch.full(grid.shape, math.nan)
        maps[name][mask] = column
    return maps


def constant(sigma: float = 0.02) -> Calibration:
    """The calibration that says the same of every voxel."""
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[0][0] = math.log(sigma)
    return Calibration(FEATURES, (0.0,) * N, (1.0,) * N, tuple(map(tuple, matrix)))


def by(name: str, low: float = -12.0, high: float = 0.0) -> Calibration:
    """The calibration by which log σ is that feature."""
    matrix, i = [[0.0] * (N + 1) for _ in range(N + 1)], FEATURES.index(name)
    matrix[0][0], matrix[0][i + 1] = low, high - low
    ends = [[0.0] * N, [1.0] * N]
    ends[0][i], ends[1][i] = low, high
    return Calibration(FEATURES, tuple(ends[0]), tuple(ends[1]), tuple(map(tuple, matrix)))


# What an error is told from.


def test_the_edge_is_the_share_nearby_that_lies_outside() -> None:
    """Against scipy's Gaussian filter of the mask."""
    widths = [SETTINGS.near / v for v in GRID.voxel_size]
    held = gaussian_filter(inside().float().numpy(), widths, mode="wrap", truncate=6.0)
    found = known(smooth())["edge"]
    torch.testing.assert_close(found[inside()], 1.0 - torch.from_numpy(held)[inside()], atol=2e-3, rtol=0)
    assert found[20, 24, 16] < 1e-3 and 0.3 < found[4, 24, 16] < 0.5


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
    deep = clean["edge"] < 0.01
    assert float(noisy["log_residual"][deep].exp().mean()) == pytest.approx(noise + SETTINGS.small, rel=0.1)
    assert float(clean["log_residual"][deep].exp().mean()) < 0.2 * noise + SETTINGS.small


def test_the_discrepancy_counts_by_its_size_in_a_map() -> None:
    """Noise n of the field is about n/√λ in Wiener's map; it is the same for every voxel and grows with the noise."""
    found = [known(smooth(), noise)["log_discrepancy"][inside()] for noise in (0.0, 0.01, 0.03)]
    assert all(bool((x == x[0]).all()) for x in found)
    assert float(found[0][0]) < float(found[1][0]) - 0.1 < float(found[2][0]) - 0.2
    _, term = explained(smooth(), 0.03)
    expected = 0.03 / math.sqrt(term.spectrum.mean_regularisation) + SETTINGS.small
    assert float(found[2][0].exp()) == pytest.approx(expected, rel=0.3)


def test_what_is_around_counts_by_its_size_and_the_voxel_by_its_edge() -> None:
    one, two = known(smooth()), known(3.0 * smooth())
    ratio = (two["log_around"].exp() - SETTINGS.small) / (one["log_around"].exp() - SETTINGS.small)
    torch.testing.assert_close(ratio[inside()], torch.full_like(ratio[inside()], 3.0), rtol=1e-2, atol=0)
    uneven = known(smooth())["log_voxel"][inside()]
    torch.testing.assert_close(uneven, torch.full_like(uneven, math.log(1.5 ** (1 / 3))))
    coarse = Grid(GRID.shape, (2.0, 2.0, 2.0))
    assert float(known(smooth(), grid=coarse)["log_voxel"][inside()].mean()) == pytest.approx(math.log(2.0))


def test_every_feature_is_a_number_whatever_the_field() -> None:
    mask = inside()
    for chi in (torch.zeros(GRID.shape), 1e3 * smooth()):
        _, term = explained(chi)
        for found in (torch.zeros(GRID.shape), torch.where(mask, chi, 0.0)):
            assert bool(features(found, term).isfinite().all())


# The calibration itself.


def test_a_calibration_gives_a_standard_error_in_the_mask_and_nothing_outside() -> None:
    chi, term = explained(smooth(), 0.01)
    found = constant(0.03)(chi, term)
    torch.testing.assert_close(found[inside()], torch.full_like(found[inside()], 0.03))
    assert not found[~inside()].any()
    varied = by("log_residual")(chi, term)
    expected = known(smooth(), 0.01)["log_residual"].exp()
    torch.testing.assert_close(varied[inside()], expected[inside()], rtol=1e-4, atol=0)


def test_beyond_its_range_a_feature_counts_as_the_ranges_end() -> None:
    at = torch.zeros(N, 4)
    at[FEATURES.index("log_spread")] = torch.tensor([-30.0, -12.0, 0.0, 5.0])
    found = by("log_spread").log_sigma(at)
    torch.testing.assert_close(found, torch.tensor([-12.0, -12.0, 0.0, 0.0]))


def test_two_features_may_act_together() -> None:
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[2][3] = 3.0
    both = Calibration(FEATURES, (0.0,) * N, (1.0,) * N, tuple(map(tuple, matrix)))
    at = torch.zeros(N, 3)
    at[1], at[2] = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([1.0, 1.0, 0.5])
    torch.testing.assert_close(both.log_sigma(at), torch.tensor([3.0, 0.0, 0.75]))


def test_a_calibration_survives_its_way_through_json() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(by("edge").to_dict()))) == by("edge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["edge"]}, "is calibrated by edge; expected log_discrepancy, .*: calibrate the weights again"),
        ({"low": [0.0]}, f"of {N} features has 1 and {N} ends"),
        ({"matrix": [[0.0]]}, "and 1 rows; expected as many, and one more"),
        ({"high": [math.inf] * N}, "numbers that are not finite"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        Calibration.from_dict({**constant().to_dict(), **change})


# In weights and maps.


def calibrated(weights: Path, calibration: dict[str, Any] | list[int], folder: Path) -> Path:
    stored = read_weights(weights)
    path = folder / "calibrated.safetensors"
    path.write_bytes(weights_bytes(stored.tensors, {**stored.header, "calibration": calibration}, half=False))
    return path


@pytest.mark.parametrize("uncertainty", [False, True])
def test_calibrated_weights_give_the_calibrated_uncertainty_unless_asked_not_to(
    make_weights: MakeWeights, tmp_path: Path, uncertainty: bool
) -> None:
    """Of the final map, whether the network itself tells one or not."""
    mask = inside()
    field = LocalField(torch.where(mask, simulate_field(smooth() * mask, GRID), 0.0), mask, GRID)
    plain = make_weights(scale=0.1, uncertainty=uncertainty)
    before = Learned(plain)(field)
    path = calibrated(plain, by("log_residual").to_dict(), tmp_path)
    after, raw, bare = (Learned(path, **o)(field) for o in ({}, {"calibrated": False}, {"consistency": 0.0}))
    assert torch.equal(after.values, before.values) and torch.equal(raw.values, before.values)
    assert after.uncertainty is not None
    expected = by("log_residual")(after.values, DataTerm.of(field))
    torch.testing.assert_close(after.uncertainty, expected)
    assert after.notes["uncertainty"] == "calibrated on simulated heads"
    for found in (raw, bare):  # without a step, it would be of another map
        assert (found.uncertainty is not None) == uncertainty
        assert found.notes.get("uncertainty") == ("the network's own, not calibrated" if uncertainty else None)
    if before.uncertainty is not None and raw.uncertainty is not None:
        assert torch.equal(raw.uncertainty, before.uncertainty)


def test_weights_without_an_uncertainty_have_none_to_speak_of(make_weights: MakeWeights) -> None:
    field = LocalField(torch.where(inside(), smooth(), 0.0), inside(), GRID)
    found = Learned(make_weights(scale=0.0))(field)
    assert found.uncertainty is None and "uncertainty" not in found.notes


def test_weights_that_another_version_calibrated_load_without_it(make_weights: MakeWeights, tmp_path: Path) -> None:
    """Its features are not this version's, so that the network's own standard error is told."""
    older = ["log_sigma", "log_residual", "log_spread", "edge", "log_voxel", "recovered", "spared"]
    described = {"features": older, "low": [0.0] * 7, "high": [1.0] * 7, "matrix": [[0.0] * 8] * 8, "coverage": {}}
    path = calibrated(make_weights(uncertainty=True), described, tmp_path)
    assert load(path).calibration is None
    field = LocalField(torch.where(inside(), smooth(), 0.0), inside(), GRID)
    assert Learned(path)(field).notes["uncertainty"] == "the network's own, not calibrated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": [0.0]}, "cannot be: A calibration of"),
        (None, "lacks or misnames a setting"),
        ({"matrix": "x"}, "cannot be: A calibration of"),
    ],
)
def test_weights_with_a_calibration_that_cannot_be_are_refused(
    make_weights: MakeWeights, tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    wrong: Any = [1] if change is None else {**constant().to_dict(), **change}
    with pytest.raises(WeightsInvalid, match=message):
        load(calibrated(make_weights(uncertainty=True), wrong, tmp_path))
