"""Metrics: properties that follow from their definitions, and inputs that are refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, IR2QSMError, MaskInvalid, ParameterInvalid
from IR2QSMLib.evaluation import metrics
from Testing.Library.metric_cases import SHAPE, mask_of, noisy_map

PERFECT = {
    "xsim": 1.0,
    "xsim_gaussian": 1.0,
    "nrmse": 0.0,
    "nrmse_demeaned": 0.0,
    "nrmse_detrended": 0.0,
    "hfen": 0.0,
    "correlation": 1.0,
    "ssim": 1.0,
    "psnr": math.inf,
}


def _broken(value: float) -> Tensor:
    values = torch.zeros(SHAPE)
    values[9, 8, 11:14] = value
    values[0, 0, 0] = value  # outside the ball, where it may stand
    return values


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_xsim_of_flat_maps_over_the_whole_volume_is_their_luminance(window: str) -> None:
    mask = mask_of("everything")
    flat = torch.full(SHAPE, 0.1)
    # 1e-4 / (0.1² + 1e-4): an edge that let zeros in would add a variance and change it.
    assert metrics.xsim(flat, torch.zeros(SHAPE), mask, window) == pytest.approx(1.0 / 101.0, rel=1e-6)


@pytest.mark.parametrize("kind", ["ball", "everything", "corners", "plane"])
def test_perfect_map_has_perfect_scores(kind: str) -> None:
    _, truth = noisy_map()
    assert metrics.score(truth.clone(), truth, mask_of(kind)) == pytest.approx(PERFECT, abs=1e-9)


@pytest.mark.parametrize("kind", ["ball", "corners", "plane", "voxel"])
def test_values_outside_the_mask_never_matter(kind: str) -> None:
    (chi, truth), mask = noisy_map(), mask_of(kind)
    expected = metrics.score(chi, truth, mask)
    skull, broken = truth.where(mask, 9.4), chi.where(mask, math.nan)
    assert metrics.score(broken, skull, mask) == pytest.approx(expected, rel=0.0, abs=0.0, nan_ok=True)


def test_margins_around_the_head_do_not_matter() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    mask[:6], mask[-6:], mask[:, :5], mask[:, -5:], mask[..., :8], mask[..., -8:] = (False,) * 6
    expected = metrics.score(chi, truth, mask)
    wider = [torch.nn.functional.pad(t, (4, 9, 11, 2, 7, 7)) for t in (chi, truth, mask)]
    assert metrics.score(*wider) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
def test_the_order_of_the_axes_does_not_matter(order: tuple[int, int, int]) -> None:
    (chi, truth), mask = noisy_map(), mask_of("corners")
    permuted = metrics.score(chi.permute(order), truth.permute(order), mask.permute(order))
    assert permuted == pytest.approx(metrics.score(chi, truth, mask), rel=1e-9)


def test_score_agrees_with_every_metric() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    assert metrics.score(chi, truth, mask) == pytest.approx(
        {
            "xsim": metrics.xsim(chi, truth, mask),
            "xsim_gaussian": metrics.xsim(chi, truth, mask, window="gaussian"),
            "nrmse": metrics.nrmse(chi, truth, mask, fit="none"),
            "nrmse_demeaned": metrics.nrmse(chi, truth, mask),
            "nrmse_detrended": metrics.nrmse(chi, truth, mask, fit="detrended"),
            "hfen": metrics.hfen(chi, truth, mask),
            "correlation": metrics.correlation(chi, truth, mask),
            "ssim": metrics.ssim(chi, truth, mask),
            "psnr": metrics.psnr(chi, truth, mask),
        },
        rel=1e-12,
    )


def test_each_window_and_each_fit_gives_another_number() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    scores = metrics.score(chi, truth, mask)
    assert abs(scores["xsim"] - scores["xsim_gaussian"]) > 1e-4
    assert len({round(scores[name], 2) for name in ("nrmse", "nrmse_demeaned", "nrmse_detrended")}) == 3


def test_each_fit_ignores_its_own_kind_of_error() -> None:
    (_, truth), mask = noisy_map(), mask_of("ball")
    shifted, scaled, affine = truth + 0.05, 1.1 * truth, -0.03 + 0.7 * truth
    assert metrics.nrmse(scaled, truth, mask, "none") == pytest.approx(10.0)
    assert metrics.nrmse(scaled, truth, mask, "demeaned") == pytest.approx(10.0)
    assert metrics.nrmse(affine, truth, mask, "demeaned") == pytest.approx(30.0)
    assert metrics.nrmse(shifted, truth, mask, "none") > 10.0
    assert metrics.nrmse(shifted, truth, mask, "demeaned") == pytest.approx(0.0, abs=1e-9)
    assert metrics.nrmse(affine, truth, mask, "detrended") == pytest.approx(0.0, abs=1e-9)


def test_detrended_error_is_the_same_for_any_affine_change_of_the_map() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    expected = metrics.nrmse(chi, truth, mask, "detrended")
    assert metrics.nrmse(3.0 * chi - 0.2, truth, mask, "detrended") == pytest.approx(expected, rel=1e-9)


def test_an_empty_map_has_an_error_of_100_percent() -> None:
    (_, truth), mask = noisy_map(), mask_of("ball")
    scores = metrics.score(torch.zeros(SHAPE), truth, mask)
    assert {scores["nrmse"], scores["nrmse_demeaned"], scores["hfen"]} == {100.0}
    # QSM-CI falls back to the demeaned error; there is no slope to divide by, and we say so.
    assert math.isnan(scores["nrmse_detrended"])
    assert math.isnan(scores["correlation"])


def test_correlation_of_a_line_is_the_sign_of_its_slope() -> None:
    (_, truth), mask = noisy_map(), mask_of("ball")
    assert metrics.correlation(0.3 * truth + 1.0, truth, mask) == pytest.approx(1.0)
    assert metrics.correlation(-2.0 * truth, truth, mask) == pytest.approx(-1.0)


def test_psnr_of_an_error_of_a_tenth_of_the_range_is_20_db() -> None:
    truth = torch.zeros(SHAPE, dtype=torch.float64)
    truth[10:] = 0.3
    mask = mask_of("everything")
    assert metrics.psnr(truth + 0.03, truth, mask) == pytest.approx(20.0)
    assert metrics.psnr(truth - 0.003, truth, mask) == pytest.approx(40.0)


def test_ssim_and_psnr_do_not_depend_on_the_unit_and_xsim_does() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    ppm, ppb = (metrics.score(unit * chi, unit * truth, mask) for unit in (1.0, 1000.0))
    assert (ppb["ssim"], ppb["psnr"]) == pytest.approx((ppm["ssim"], ppm["psnr"]))
    assert abs(ppb["xsim"] - ppm["xsim"]) > 1e-3


def test_a_constant_truth_leaves_ratios_undefined() -> None:
    chi, _ = noisy_map()
    # 0.1 is no binary fraction: its mean differs from it in the last bit.
    scores = metrics.score(chi, torch.full(SHAPE, 0.1), mask_of("ball"))
    undefined = {name for name, value in scores.items() if math.isnan(value)}
    assert undefined == {"nrmse_demeaned", "nrmse_detrended", "correlation", "ssim", "psnr"}


def test_single_precision_maps_are_scored_in_double() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    chi, truth = chi.float(), truth.float()
    assert metrics.score(chi, truth, mask) == metrics.score(chi.double(), truth.double(), mask)


def test_a_map_that_requires_gradients_is_scored_and_unchanged() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    expected, before = metrics.score(chi, truth, mask), (chi.clone(), truth.clone())
    assert metrics.score(chi.clone().requires_grad_(), truth, mask) == expected
    assert torch.equal(chi, before[0])
    assert torch.equal(truth, before[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_scores() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    on_gpu = metrics.score(chi.cuda(), truth.cuda(), mask.cuda())
    assert on_gpu == pytest.approx(metrics.score(chi, truth, mask), rel=1e-9)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.xsim,
        metrics.nrmse,
        metrics.hfen,
        metrics.ssim,
        metrics.psnr,
        metrics.correlation,
        metrics.score,
    ],
)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"mask": mask_of("none")}, MaskInvalid, "The mask is empty; expected at least one voxel"),
        ({"mask": mask_of("ball").float()}, MaskInvalid, r"The mask is torch\.float32; expected bool"),
        ({"mask": mask_of("ball")[1:]}, ParameterInvalid, r"\(21, 18, 25\), \(20, 18, 25\); expected one shape"),
        ({"truth": torch.zeros(21, 18, 24)}, ParameterInvalid, r"\(21, 18, 25\), \(21, 18, 24\), "),
        ({"chi": _broken(math.inf)}, FieldInvalid, "The map is not finite in 3 voxels; expected numbers"),
        ({"truth": _broken(math.nan)}, FieldInvalid, "The truth is not finite in 3 voxels; expected numbers"),
    ],
)
def test_inputs_that_cannot_be_scored_are_refused(
    metric: object, change: dict[str, Tensor], error: type[IR2QSMError], message: str
) -> None:
    chi, truth = noisy_map()
    with pytest.raises(error, match=message):
        metric(**{"chi": chi, "truth": truth, "mask": mask_of("ball")} | change)  # type: ignore[operator]


def test_batch_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match=r"expected one shape \(x, y, z\)"):
        metrics.score(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4), torch.ones(1, 4, 4, 4, dtype=torch.bool))


def test_unknown_window_and_fit_are_refused_by_name() -> None:
    (chi, truth), mask = noisy_map(), mask_of("ball")
    with pytest.raises(ParameterInvalid, match="The XSIM window is 'box'; expected one of gaussian, uniform"):
        metrics.xsim(chi, truth, mask, window="box")
    with pytest.raises(ParameterInvalid, match="'linear'; expected one of none, demeaned, detrended"):
        metrics.nrmse(chi, truth, mask, fit="linear")
