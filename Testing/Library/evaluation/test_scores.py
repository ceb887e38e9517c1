"""The benchmark's tables: lesions by kind, coverage by region, and one score against noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.evaluation.scores import MapScores, case_tables, level_table, score_map
from IR2QSMLib.simulation.head import Head
from IR2QSMLib.simulation.random_source import RandomSource

GRID = Grid((32, 32, 32), (2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def head() -> Head:
    chi = 0.02 * RandomSource(0).smooth_noise(GRID, 4.0)
    labels, lesions = (torch.zeros(GRID.shape, dtype=torch.int16) for _ in range(2))
    labels[4:8, 4:8, 4:8], labels[20:24, 4:8, 4:8] = 1, 2
    chi[labels == 1], chi[labels == 2] = 0.1, 0.15
    for number, (at, size, value) in enumerate(((10, 2, 0.5), (14, 2, 0.7), (18, 4, 0.6), (26, 2, -0.5)), start=1):
        box = (slice(at, at + size),) * 3
        chi[box], lesions[box] = value, number
    veins = torch.zeros(GRID.shape)
    veins[16, :, 28], chi[16, :, 28] = 0.9, 0.3
    mask = torch.ones(GRID.shape, dtype=torch.bool)
    return Head(chi, mask, torch.zeros(GRID.shape), labels, GRID, veins, lesions)


def test_lesions_are_named_by_sign_and_size(head: Head) -> None:
    scores = score_map("m", 0.5 * head.chi, None, head, 1.0, 2e6)
    assert set(scores.lesions) == {"microbleeds", "haemorrhage", "calcification"}
    assert all(moment == pytest.approx(50.0, abs=0.1) for moment, _ in scores.lesions.values())
    assert scores.scores["slope"] == pytest.approx(0.5) and scores.scores["veins"] == pytest.approx(0.5)
    assert score_map("m", head.chi, None, replace(head, lesions=None), 1.0, 2e6).lesions == {}


def test_the_tables_hold_lesions_and_coverage_only_where_there_are_any(head: Head) -> None:
    chi = head.chi + 0.01 * RandomSource(1).normal(*GRID.shape)
    plain = score_map("plain", chi, None, replace(head, lesions=None, veins=None), 1.0, 2e6)
    full = score_map("full", chi, torch.full_like(chi, 0.01), head, 1.0, 2e6)
    assert "veins" not in case_tables([plain]) and "within" not in case_tables([plain])
    text = case_tables([plain, full])
    assert "| plain  |" in text and "moment %" in text and "within 1 σ %" in text
    assert full.coverage["all"] == pytest.approx((68.3, 95.4), abs=1.0)
    assert set(full.coverage) == {"all", "nuclei", "edge", "veins"}
    for table in text.split("\n\n"):
        assert len({len(line) for line in table.splitlines()}) == 1


def test_one_score_is_listed_against_noise() -> None:
    def scored(name: str, value: float) -> MapScores:
        return MapScores(name, {"xsim": value}, 0.0, 0.0)

    cases = {
        "a": [scored("tkd, best (0.1)", 0.7), scored("ours", 0.9)],
        "b": [scored("tkd, best (0.2)", 0.5), scored("ours", 0.8)],
        "other": [scored("ours", 0.1)],
    }
    lines = level_table(cases, {"a": "SNR 40", "b": "SNR 10", "missing": "SNR 5"}, "xsim", 3).splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["method", "SNR 40", "SNR 10"]
    assert cells[2:] == [["tkd, best", "0.700", "0.500"], ["ours", "0.900", "0.800"]]
