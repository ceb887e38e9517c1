"""Metrics against QSM-CI's scorer, SciPy's filters, and windows gathered by hand."""

from __future__ import annotations

import numpy as np
import pytest
from qsm_ci import qsm_eval
from scipy import ndimage
from torch import Tensor

from IR2QSMLib.evaluation import metrics, region_statistics
from Testing.Library.metric_cases import SHAPE, mask_of, noisy_map, region_labels


def _similarity_by_windows(chi: Tensor, truth: Tensor, mask: Tensor, window: str, c1: float, c2: float) -> float:
    """Mean similarity from the voxels of each window, gathered one window at a time."""
    reach = 3 if window == "gaussian" else 2
    maps = []
    for values in (chi, truth):
        masked = np.where(mask.numpy(), values.numpy(), 0.0)
        maps.append(np.pad(masked, reach, mode="edge"))
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"))
    similarities = []
    for voxel in mask.nonzero().numpy():
        weights = np.exp(-(offset**2).sum(0) / (2 * 1.5**2))
        if window == "uniform":
            position = offset + voxel[:, None, None, None]
            weights = ((position >= 0) & (position < np.reshape(mask.shape, (3, 1, 1, 1)))).all(0).astype(float)
        cut = tuple(slice(i, i + 2 * reach + 1) for i in voxel)
        both = np.stack([values[cut].ravel() for values in maps])
        mx, my = np.average(both, axis=1, weights=weights.ravel())
        (vx, cov), (_, vy) = np.cov(both, ddof=0, aweights=weights.ravel())
        similarities.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(similarities))


@pytest.mark.parametrize("kind", ["ball", "everything", "corners", "plane"])
def test_scores_agree_with_qsm_ci(kind: str) -> None:
    (chi, truth), mask = noisy_map(), mask_of(kind)
    ours = metrics.score(chi, truth, mask)
    theirs, _ = qsm_eval.score_arrays(chi.numpy(), truth.numpy(), mask.numpy())
    # QSM-CI calls the demeaned error plain "nrmse", has one XSIM window, and no SSIM, PSNR or raw error.
    names = {
        "xsim": "xsim",
        "nrmse_demeaned": "nrmse",
        "nrmse_detrended": "nrmse_detrend",
        "hfen": "hfen",
        "correlation": "correlation",
    }
    assert {name: ours[name] for name in names} == pytest.approx(
        {name: theirs[other] for name, other in names.items()}, rel=1e-6, abs=1e-6
    )


def test_regional_slope_and_means_agree_with_qsm_ci() -> None:
    (chi, truth), labels = noisy_map(), region_labels()
    # QSM-CI prints the distance of the slope from 1, of its six nuclei alone.
    theirs = qsm_eval.dgm_linearity(chi.numpy(), truth.numpy(), labels.numpy())
    assert abs(1.0 - region_statistics.roi_slope(chi, truth, labels)) == pytest.approx(theirs, abs=1e-6)
    stats = qsm_eval.region_stats(chi.numpy(), labels.numpy(), labels.numpy() > 0)
    # It rounds its means to 1e-6 ppm.
    assert region_statistics.roi_means(chi, labels) == pytest.approx(
        {int(n): s["mean"] for n, s in stats.items()}, abs=1e-6
    )


@pytest.mark.parametrize("kind", ["ball", "corners", "plane", "voxel"])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_xsim_is_the_mean_over_windows_gathered_one_at_a_time(kind: str, window: str) -> None:
    (chi, truth), mask = noisy_map(), mask_of(kind)
    assert metrics.xsim(chi, truth, mask, window) == pytest.approx(
        _similarity_by_windows(chi, truth, mask, window, 1e-4, 1e-6), abs=1e-9
    )


@pytest.mark.parametrize("kind", ["ball", "corners"])
def test_ssim_is_the_mean_over_gaussian_windows_gathered_one_at_a_time(kind: str) -> None:
    (chi, truth), mask = noisy_map(), mask_of(kind)
    extent = float(np.ptp(truth.numpy()[mask.numpy()]))
    expected = _similarity_by_windows(chi, truth, mask, "gaussian", (0.01 * extent) ** 2, (0.03 * extent) ** 2)
    assert metrics.ssim(chi, truth, mask) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["ball", "everything", "corners", "voxel"])
@pytest.mark.parametrize("shape", [SHAPE, (6, 30, 26)])
def test_hfen_agrees_with_scipys_laplacian_of_gaussian(kind: str, shape: tuple[int, int, int]) -> None:
    # An axis of 6 is shorter than the filter's reach of 8: the reflection is repeated more than once.
    (chi, truth), mask = noisy_map(shape), mask_of(kind, shape)
    x, y, m = (t.numpy() for t in (chi, truth, mask))
    error, reference = (ndimage.gaussian_laplace(np.where(m, v, 0.0), 1.5, truncate=5.0)[m] for v in (x - y, y))
    expected = 100.0 * np.linalg.norm(error) / np.linalg.norm(reference)
    assert metrics.hfen(chi, truth, mask) == pytest.approx(expected, rel=1e-9)
