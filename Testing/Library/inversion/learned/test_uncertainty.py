"""The calibrated uncertainty: the features of a voxel, the calibration, and its use in a reconstruction."""

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
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration, voxel_features
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.io.weights import read_weights, weights_bytes
from IR2QSMLib.physics.dipole import DipoleOp, simulate_field

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


def map_and_data_term(chi: torch.Tensor, noise: float = 0.0, grid: Grid = GRID) -> tuple[torch.Tensor, DataTerm]:
    """A map in the mask and the data term of its own (periodic) field with white noise."""
    mask, generator = inside(grid), torch.Generator().manual_seed(0)
    chi = torch.where(mask, chi, 0.0)
    values = DipoleOp(grid)(chi) + noise * torch.randn(grid.shape, generator=generator)
    return chi, DataTerm.of(LocalField(torch.where(mask, values, 0.0), mask, grid))


def feature_maps(chi: torch.Tensor, noise: float = 0.0, grid: Grid = GRID) -> dict[str, torch.Tensor]:
    """Features as maps, by name."""
    mask, maps = inside(grid), {}
    for name, column in zip(FEATURES, voxel_features(*map_and_data_term(chi, noise, grid)), strict=True):
        maps[name] = torch.full(grid.shape, math.nan)
        maps[name][mask] = column
    return maps


def constant(sigma: float = 0.02) -> Calibration:
    """The calibration with one standard error for all voxels."""
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[0][0] = math.log(sigma)
    return Calibration(FEATURES, (0.0,) * N, (1.0,) * N, tuple(map(tuple, matrix)))


def calibration_by(name: str, low: float = -12.0, high: float = 0.0) -> Calibration:
    """The calibration whose log σ is that feature."""
    matrix, i = [[0.0] * (N + 1) for _ in range(N + 1)], FEATURES.index(name)
    matrix[0][0], matrix[0][i + 1] = low, high - low
    ends = [[0.0] * N, [1.0] * N]
    ends[0][i], ends[1][i] = low, high
    return Calibration(FEATURES, tuple(ends[0]), tuple(ends[1]), tuple(map(tuple, matrix)))


# Features.


def test_the_edge_is_the_share_of_the_neighbourhood_outside_the_mask() -> None:
    """Against scipy's Gaussian filter of the mask."""
    widths = [SETTINGS.near_sigma / v for v in GRID.voxel_size]
    share_inside = gaussian_filter(inside().float().numpy(), widths, mode="wrap", truncate=6.0)
    edge = feature_maps(smooth())["edge"]
    torch.testing.assert_close(edge[inside()], 1.0 - torch.from_numpy(share_inside)[inside()], atol=2e-3, rtol=0)
    assert edge[20, 24, 16] < 1e-3 and 0.3 < edge[4, 24, 16] < 0.5


@pytest.mark.parametrize(("sign", "name", "other"), [(1, "log_above", "log_below"), (-1, "log_below", "log_above")])
def test_small_sources_stand_out_by_their_sign(sign: int, name: str, other: str) -> None:
    spot, chi = (20, 18, 16), smooth()
    chi[spot] += sign * 0.2
    after, before = feature_maps(chi), feature_maps(smooth())
    assert after[name][spot] > before[name][spot] + 1.0
    assert after[name][spot] == after[name].nan_to_num(-99.0).max()
    assert after[other][spot] <= before[other][spot]
    assert after["log_spread"][spot] > before["log_spread"][spot] + 1.0


@pytest.mark.parametrize("noise", [0.003, 0.01])
def test_the_residual_is_the_noise_of_a_field_that_the_map_explains(noise: float) -> None:
    clean, noisy = feature_maps(smooth()), feature_maps(smooth(), noise)
    deep = clean["edge"] < 0.01
    assert float(noisy["log_residual"][deep].exp().mean()) == pytest.approx(noise + SETTINGS.log_epsilon, rel=0.1)
    assert float(clean["log_residual"][deep].exp().mean()) < 0.2 * noise + SETTINGS.log_epsilon


def test_the_discrepancy_is_its_size_in_a_map() -> None:
    """Noise n of the field is about n/√λ in Wiener's map; it is the same for every voxel and grows with the noise."""
    values = [feature_maps(smooth(), noise)["log_discrepancy"][inside()] for noise in (0.0, 0.01, 0.03)]
    assert all(bool((x == x[0]).all()) for x in values)
    assert float(values[0][0]) < float(values[1][0]) - 0.1 < float(values[2][0]) - 0.2
    _, data_term = map_and_data_term(smooth(), 0.03)
    expected = 0.03 / math.sqrt(data_term.spectrum.mean_regularisation) + SETTINGS.log_epsilon
    assert float(values[2][0].exp()) == pytest.approx(expected, rel=0.3)


def test_surroundings_are_described_by_their_size_and_the_voxel_by_its_edge() -> None:
    one, two = feature_maps(smooth()), feature_maps(3.0 * smooth())
    ratio = (two["log_around"].exp() - SETTINGS.log_epsilon) / (one["log_around"].exp() - SETTINGS.log_epsilon)
    torch.testing.assert_close(ratio[inside()], torch.full_like(ratio[inside()], 3.0), rtol=1e-2, atol=0)
    uneven = feature_maps(smooth())["log_voxel"][inside()]
    torch.testing.assert_close(uneven, torch.full_like(uneven, math.log(1.5 ** (1 / 3))))
    coarse = Grid(GRID.shape, (2.0, 2.0, 2.0))
    assert float(feature_maps(smooth(), grid=coarse)["log_voxel"][inside()].mean()) == pytest.approx(math.log(2.0))


def test_every_feature_is_finite_for_any_field() -> None:
    mask = inside()
    for chi in (torch.zeros(GRID.shape), 1e3 * smooth()):
        _, data_term = map_and_data_term(chi)
        for other in (torch.zeros(GRID.shape), torch.where(mask, chi, 0.0)):
            assert bool(voxel_features(other, data_term).isfinite().all())


# Calibration.


def test_a_calibration_gives_a_standard_error_in_the_mask_and_nothing_outside() -> None:
    chi, data_term = map_and_data_term(smooth(), 0.01)
    sigma = constant(0.03)(chi, data_term)
    torch.testing.assert_close(sigma[inside()], torch.full_like(sigma[inside()], 0.03))
    assert not sigma[~inside()].any()
    varied = calibration_by("log_residual")(chi, data_term)
    expected = feature_maps(smooth(), 0.01)["log_residual"].exp()
    torch.testing.assert_close(varied[inside()], expected[inside()], rtol=1e-4, atol=0)


def test_a_feature_beyond_its_range_counts_as_the_nearer_end() -> None:
    at = torch.zeros(N, 4)
    at[FEATURES.index("log_spread")] = torch.tensor([-30.0, -12.0, 0.0, 5.0])
    log_sigma = calibration_by("log_spread").log_sigma(at)
    torch.testing.assert_close(log_sigma, torch.tensor([-12.0, -12.0, 0.0, 0.0]))


def test_two_features_may_act_together() -> None:
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[2][3] = 3.0
    both = Calibration(FEATURES, (0.0,) * N, (1.0,) * N, tuple(map(tuple, matrix)))
    at = torch.zeros(N, 3)
    at[1], at[2] = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([1.0, 1.0, 0.5])
    torch.testing.assert_close(both.log_sigma(at), torch.tensor([3.0, 0.0, 0.75]))


def test_a_calibration_reads_back_from_json() -> None:
    assert Calibration.from_dict(json.loads(json.dumps(calibration_by("edge").to_dict()))) == calibration_by("edge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["edge"]}, "is calibrated by edge; expected log_discrepancy, .*: calibrate the weights again"),
        ({"low": [0.0]}, f"of {N} features has 1 and {N} ends"),
        ({"matrix": [[0.0]]}, "and 1 rows; expected as many, and one more"),
        ({"high": [math.inf] * N}, "numbers that are not finite"),
    ],
)
def test_an_invalid_calibration_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        Calibration.from_dict({**constant().to_dict(), **change})


# In weights and maps.


def with_calibration(weights: Path, calibration: dict[str, Any] | list[int], folder: Path) -> Path:
    stored = read_weights(weights)
    path = folder / "calibrated.safetensors"
    path.write_bytes(weights_bytes(stored.tensors, {**stored.header, "calibration": calibration}, half=False))
    return path


@pytest.mark.parametrize("uncertainty", [False, True])
def test_calibrated_weights_give_the_calibrated_uncertainty_unless_it_is_off(
    make_weights: MakeWeights, tmp_path: Path, uncertainty: bool
) -> None:
    """The uncertainty is that of the final map, whether the network has an uncertainty head or not."""
    mask = inside()
    field = LocalField(torch.where(mask, simulate_field(smooth() * mask, GRID), 0.0), mask, GRID)
    plain = make_weights(scale=0.1, uncertainty=uncertainty)
    before = Learned(plain)(field)
    path = with_calibration(plain, calibration_by("log_residual").to_dict(), tmp_path)
    calibrated, raw, without_step = (
        Learned(path, **o)(field) for o in ({}, {"calibrated": False}, {"network_only": True})
    )
    assert torch.equal(calibrated.values, before.values) and torch.equal(raw.values, before.values)
    assert calibrated.uncertainty is not None
    expected = calibration_by("log_residual")(calibrated.values, DataTerm.of(field))
    torch.testing.assert_close(calibrated.uncertainty, expected)
    assert calibrated.notes["uncertainty"] == "calibrated on simulated heads"
    for result in (raw, without_step):  # without a step, it would be of another map
        assert (result.uncertainty is not None) == uncertainty
        assert result.notes.get("uncertainty") == ("the network's own, not calibrated" if uncertainty else None)
    if before.uncertainty is not None and raw.uncertainty is not None:
        assert torch.equal(raw.uncertainty, before.uncertainty)


def test_weights_without_an_uncertainty_give_none(make_weights: MakeWeights) -> None:
    field = LocalField(torch.where(inside(), smooth(), 0.0), inside(), GRID)
    result = Learned(make_weights(scale=0.0))(field)
    assert result.uncertainty is None and "uncertainty" not in result.notes


def test_a_calibration_of_another_version_is_ignored(make_weights: MakeWeights, tmp_path: Path) -> None:
    """Its features are not this version's, so that the standard error is the network's own."""
    older = ["log_sigma", "log_residual", "log_spread", "edge", "log_voxel", "recovered", "spared"]
    described = {"features": older, "low": [0.0] * 7, "high": [1.0] * 7, "matrix": [[0.0] * 8] * 8, "coverage": {}}
    path = with_calibration(make_weights(uncertainty=True), described, tmp_path)
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
def test_weights_with_an_invalid_calibration_are_refused(
    make_weights: MakeWeights, tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    wrong: Any = [1] if change is None else {**constant().to_dict(), **change}
    with pytest.raises(WeightsInvalid, match=message):
        load(with_calibration(make_weights(uncertainty=True), wrong, tmp_path))
