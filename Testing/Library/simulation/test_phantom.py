"""The geometric phantom: susceptibility by label, its mask, and what the seed changes."""

from __future__ import annotations

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.evaluation.region_statistics import roi_slope
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.phantom import BODY_CHI, draw_phantom
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((96, 96, 96))


@pytest.fixture(scope="module")
def phantom() -> Head:
    return draw_phantom(RandomSource(4), GRID)


def test_labels_differ_by_their_nominal_susceptibilities(phantom: Head) -> None:
    means = []
    for label in range(1, len(BODY_CHI) + 1):
        inside = phantom.chi[phantom.labels == label]
        assert inside.numel() > 50
        assert float(inside.std()) < 1e-5
        means.append(float(inside.mean()))
    differences = torch.tensor(means) - means[0]
    assert torch.allclose(differences, torch.tensor(BODY_CHI) - BODY_CHI[0], atol=1e-5)
    assert roi_slope(phantom.chi, phantom.chi, phantom.labels) == pytest.approx(1.0)


def test_the_liquid_varies_along_the_cylinder(phantom: Head) -> None:
    liquid = torch.where(phantom.mask & (phantom.labels == 0), phantom.chi, torch.nan)
    inside = liquid[torch.isfinite(liquid)]
    assert float(inside.max() - inside.min()) == pytest.approx(0.04, rel=0.02)
    across = liquid[:, :, 40]
    assert float(across[torch.isfinite(across)].std()) < 1e-6


def test_the_mask_is_a_cylinder_and_chi_has_no_mean_inside(phantom: Head) -> None:
    half = 48.0
    assert float(phantom.mask.sum()) == pytest.approx(torch.pi * (0.85 * half) ** 2 * 1.6 * half, rel=0.03)
    assert abs(float(phantom.chi[phantom.mask].double().mean())) < 1e-6
    assert not bool(phantom.chi[~phantom.mask].any())
    assert not bool(phantom.labels[~phantom.mask].any())


def test_the_seed_changes_only_the_angle_of_the_rings() -> None:
    first, repeated, other = (draw_phantom(RandomSource(seed), GRID) for seed in (4, 4, 5))
    assert torch.equal(first.chi, repeated.chi)
    assert torch.equal(first.mask, other.mask)
    assert not torch.equal(first.labels, other.labels)
    assert first.labels.unique().tolist() == other.labels.unique().tolist()
    differs = (first.labels != other.labels).nonzero().float() - 47.5
    assert float(differs[:, :2].norm(dim=1).min()) > 10.0  # the middle of the cylinder stays as it is


def test_a_grid_need_not_be_a_cube() -> None:
    head = draw_phantom(RandomSource(4), Grid((64, 80, 32), (1.0, 1.0, 2.0)))
    assert head.labels.unique().tolist() == list(range(len(BODY_CHI) + 1))
    assert not bool(head.mask[0].any()) and not bool(head.mask[:, 0].any()) and not bool(head.mask[:, :, 0].any())
