"""Values in regions: their means, and the slope against the truth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, IR2QSMError, MaskInvalid, ParameterInvalid
from IR2QSMLib.evaluation.region_statistics import roi_means, roi_slope
from Testing.Library.metric_cases import SHAPE, noisy_map, region_labels


def test_regional_means_are_those_of_the_regions() -> None:
    labels = region_labels()
    values = torch.where(labels > 0, 0.01 * labels, math.nan)
    assert roi_means(values, labels) == pytest.approx({n: 0.01 * n for n in range(1, 7)})


def test_the_slope_is_the_loss_of_contrast_and_not_the_offset() -> None:
    (_, truth), labels = noisy_map(), region_labels()
    assert roi_slope(0.75 * truth + 0.4, truth, labels) == pytest.approx(0.75)


def test_regions_count_equally_whatever_their_size() -> None:
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[:9], labels[12, 3, 3], labels[14, 3, 3] = 1, 2, 3
    truth, chi = 0.1 * labels, torch.zeros(SHAPE)
    chi[12, 3, 3], chi[14, 3, 3] = 0.05, 0.2
    assert roi_slope(chi, truth, labels) == pytest.approx(1.0)


def test_regions_of_one_true_value_have_no_slope() -> None:
    chi, _ = noisy_map()
    assert math.isnan(roi_slope(chi, torch.full(SHAPE, 0.1), region_labels()))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.zeros(SHAPE, dtype=torch.int64), MaskInvalid, "The labels are 0 everywhere"),
        (region_labels().double(), ParameterInvalid, r"The labels are torch\.float64; expected integers"),
        (region_labels()[:5], ParameterInvalid, r"The map is \(21, 18, 25\), the labels \(5, 18, 25\)"),
        ((region_labels() == 4).int() * 4, ParameterInvalid, "one region, 4; a slope needs at least two"),
    ],
)
def test_labels_without_a_slope_are_refused(labels: Tensor, error: type[IR2QSMError], message: str) -> None:
    chi, truth = noisy_map()
    with pytest.raises(error, match=message):
        roi_slope(chi, truth, labels)


def test_a_region_that_is_not_finite_is_refused() -> None:
    (chi, _), labels = noisy_map(), region_labels()
    chi[labels == 3] = math.nan
    with pytest.raises(FieldInvalid, match="The map is not finite in 162 voxels"):
        roi_means(chi, labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_slope() -> None:
    (chi, truth), labels = noisy_map(), region_labels()
    on_gpu = roi_slope(chi.cuda(), truth.cuda(), labels.cuda())
    assert on_gpu == pytest.approx(roi_slope(chi, truth, labels), rel=1e-9)
