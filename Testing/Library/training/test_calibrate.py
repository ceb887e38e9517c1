"""Calibrated uncertainty: known errors are recovered, every region counts, and the header names its cases."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.simulation.cases import CASES, Case, draw_case
from IR2QSMLib.simulation.seeds import FIRST_TRAINING_SEED
from IR2QSMLib.training import calibrate as calibrate_module
from IR2QSMLib.training.calibrate import (
    CHECK_CASES,
    FIT_CASES,
    RegionErrors,
    coverage,
    errors_by_region,
    fit_calibration,
)

MakeWeights = Callable[..., Path]
N = len(FEATURES)
TINY = Case(4, 40.0, (32, 32, 32), (3.0, 3.0, 3.0), phantom=True)


def scale_of(features: torch.Tensor) -> torch.Tensor:
    """A standard error that depends on three features, two of them together."""
    return torch.exp(-4.0 + 1.5 * features[0] - features[4] + 2.0 * features[1] * features[6])


def constant(sigma: float) -> Calibration:
    """The calibration that says the same of every voxel."""
    matrix = [[0.0] * (N + 1) for _ in range(N + 1)]
    matrix[0][0] = math.log(sigma)
    return Calibration(FEATURES, (0.0,) * N, (1.0,) * N, tuple(map(tuple, matrix)))


def drawn_errors(seed: int, n: int = 4000, heavy: bool = False, factor: float = 1.0, name: str = "all") -> RegionErrors:
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(N, n, generator=generator)
    if heavy:  # Laplace: P(|e| > t) = exp(−t/s)
        unit = -torch.rand(n, generator=generator).clamp_min(1e-12).log()
    else:
        unit = torch.randn(n, generator=generator).abs()
    return RegionErrors("made up", name, features, factor * scale_of(features) * unit)


def test_an_error_that_depends_on_features_is_recoverage() -> None:
    calibration = fit_calibration([drawn_errors(seed) for seed in range(4)])
    fresh = drawn_errors(9, 20000)
    off = calibration.log_sigma(fresh.features) - scale_of(fresh.features).log()
    assert float(off.abs().mean()) < 0.08 and float(off.std()) < 0.1
    one, two = coverage(fresh, calibration)
    assert one == pytest.approx(68.27, abs=2.0) and two == pytest.approx(95.45, abs=1.0)
    # That it holds in every corner is more than a constant could do.
    flat = constant(float(fresh.error.quantile(0.6827)))
    assert coverage(fresh, flat)[0] == pytest.approx(68.27, abs=0.1)
    for feature in (0, 1, 4, 6):
        high = fresh.features[feature] > 0.8
        part = RegionErrors("", "", fresh.features[:, high], fresh.error[high])
        assert coverage(part, calibration)[0] == pytest.approx(68.27, abs=4.0)
        assert abs(coverage(part, flat)[0] - 68.27) > 5.0


def test_errors_of_heavy_tails_are_covered_as_well_as_one_width_can() -> None:
    calibration = fit_calibration([drawn_errors(seed, heavy=True) for seed in range(4)])
    one, two = coverage(drawn_errors(9, 20000, heavy=True), calibration)
    # σ = t·s covers 1 − exp(−t) and 1 − exp(−2t); 68.3 % within one alone would leave 89.9 % within two.
    assert 68.3 < one < 76.0 and 90.0 < two < 95.4
    assert (1.0 - one / 100.0) ** 2 == pytest.approx(1.0 - two / 100.0, abs=0.01)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    """Two regions that no feature tells apart, their errors 1 and 4 wide: one σ has to serve both."""

    def level(n_small: int, n_large: int) -> float:
        parts = []
        for seed, n, width in ((1, n_small, 1.0), (2, n_large, 4.0)):
            unit = torch.randn(n, generator=torch.Generator().manual_seed(seed)).abs()
            parts.append(RegionErrors("made up", str(seed), torch.full((N, n), 0.5), width * unit))
        return float(fit_calibration(parts).log_sigma(torch.full((N, 1), 0.5)))

    assert level(2000, 40000) == pytest.approx(level(40000, 2000), abs=0.1)
    assert 0.2 < level(2000, 40000) < math.log(4.0)


def test_without_samples_there_is_nothing_to_fit() -> None:
    with pytest.raises(ParameterInvalid, match="nothing to calibrate on; give at least one case"):
        fit_calibration([])


def test_errors_are_those_of_the_final_map_about_the_means_in_the_mask() -> None:
    drawn = draw_case(TINY)
    mask = drawn.head.mask
    off = torch.zeros(TINY.shape)
    off[mask.nonzero()[::2].unbind(1)] = 0.02

    def method(field: LocalField, progress: object) -> Susceptibility:
        chi = WorkingGrid.around(drawn.field).volume_to_working_grid(drawn.head.chi + off + 0.5)
        return Susceptibility(torch.where(field.mask, chi, 0.0))

    samples = errors_by_region("tiny", drawn, method, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    by_region = {s.region: s for s in samples}
    assert set(by_region) == {"all", "nuclei", "edge"}
    n = int(mask.sum())
    mean = 0.02 * ((n + 1) // 2) / n
    expected = torch.tensor([mean, 0.02 - mean])
    nearest = (by_region["all"].error[:, None] - expected).abs().amin(1)
    assert float(nearest.max()) < 1e-6
    assert by_region["all"].features.shape == (N, min(n, calibrate_module.MAX_VOXELS))
    assert bool(by_region["all"].features.isfinite().all())


def test_calibration_heads_are_neither_the_benchmarks_nor_training_s() -> None:
    used = {case.seed for case in CASES.values()}
    fit, check = ({case.seed for case in cases.values()} for cases in (FIT_CASES, CHECK_CASES))
    assert not fit & check and not (fit | check) & used and max(fit | check) < FIRST_TRAINING_SEED
    assert set(FIT_CASES).isdisjoint(CHECK_CASES)
    assert all(case.held_out for case in (*FIT_CASES.values(), *CHECK_CASES.values()))
    for cases in (FIT_CASES, CHECK_CASES):
        assert any(case.tilt for case in cases.values()) and any(case.haemorrhage for case in cases.values())
        assert any(case.mismatch is not None for case in cases.values())
        assert {math.inf, 40.0} <= {case.power_snr for case in cases.values()}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny phantoms in place of heads."""
    monkeypatch.setattr(calibrate_module, "FIT_CASES", {"a": TINY, "a, noisy": replace(TINY, power_snr=5.0)})
    monkeypatch.setattr(calibrate_module, "CHECK_CASES", {"b": replace(TINY, seed=5)})


@pytest.mark.usefixtures("few", "tiny_whole_brain")
@pytest.mark.parametrize("uncertainty", [False, True])
def test_calibrated_weights_name_their_cases_and_have_the_coverage_they_state(
    ir2qsm: Callable[..., Any], make_weights: MakeWeights, tmp_path: Path, uncertainty: bool
) -> None:
    """Whether the network itself has an uncertainty or not."""
    plain, output = make_weights(scale=0.02, uncertainty=uncertainty), tmp_path / "better.safetensors"
    plain.with_suffix(".json").write_text(
        json.dumps({"sha256": read_weights(plain).sha256, "license": "Apache-2.0"}), encoding="utf-8"
    )
    ran = ir2qsm("calibrate", plain, "-o", output, "--device", "cpu", "--progress", "json")
    assert ran.code == 0, ran.err
    assert ran.events()[-1]["weights"] == str(output)
    stages = [e["stage"] for e in ran.events() if e["event"] == "progress"]
    assert {"a", "a, noisy", "b"} <= set(stages)
    stored = read_weights(output)
    card = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["sha256"], card["license"]) == (stored.sha256, "Apache-2.0")
    stated = stored.header["calibration"]
    assert load(output).calibration == Calibration.from_dict(stated)
    assert set(stated["fitted_on"]) == {"a", "a, noisy"} and set(stated["checked_on"]) == {"b"}
    assert "seed=5" in stated["checked_on"]["b"]
    before = read_weights(plain)
    assert {k: v for k, v in stored.header.items() if k != "calibration"} == before.header
    assert all(torch.equal(stored.tensors[k], v) for k, v in before.tensors.items())

    # The coverage it states is the one that a reconstruction has.
    drawn = draw_case(calibrate_module.CHECK_CASES["b"])
    working_grid = WorkingGrid.around(drawn.field)
    result = Learned(output)(working_grid.to_working_grid(drawn.field))
    assert result.uncertainty is not None and result.notes["uncertainty"] == "calibrated on simulated heads"
    sigma, mask = working_grid.to_original_grid(result.uncertainty), drawn.head.mask
    error = (working_grid.to_original_grid(result.values) - drawn.head.chi)[mask]
    error = (error - error.mean()).abs()
    measured = [100.0 * float((error <= k * sigma[mask]).double().mean()) for k in (1, 2)]
    assert measured == pytest.approx(stated["coverage"]["b"]["all"], abs=3.0)
    line = next(x for x in ran.err.splitlines() if x.startswith("| b") and " all " in x)
    assert f"{stated['coverage']['b']['all'][0]:.1f}" in line

    # Without data consistency the map is the network's own, and so is what it may be off.
    plain_map, own = (Learned(output, network_only=True, calibrated=c)(drawn.field) for c in (True, False))
    assert plain_map.notes.get("uncertainty") == ("the network's own, not calibrated" if uncertainty else None)
    assert (plain_map.uncertainty is None) == (own.uncertainty is None) == (not uncertainty)

    # A calibration of calibrated weights gives the same bytes.
    repeated = tmp_path / "repeated.safetensors"
    assert ir2qsm("calibrate", output, "-o", repeated, "--device", "cpu").code == 0
    assert repeated.read_bytes() == output.read_bytes()
