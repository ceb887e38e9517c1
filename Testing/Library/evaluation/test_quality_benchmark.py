"""The lights on planted faults: the tables count what is on, and the lights find the faults of heads not fitted on."""

from __future__ import annotations

import dataclasses

import pytest

from IR2QSMLib.evaluation.planted_faults import SOUND, JudgedScan, judged_scans
from IR2QSMLib.evaluation.quality_benchmark import FIT_SEEDS, REPORT_SEEDS, TARGETS, fault_table, light_table
from IR2QSMLib.pipeline.lights import RULES
from IR2QSMLib.pipeline.quality import QualityNumbers
from IR2QSMLib.report.map_page import GOOD
from IR2QSMLib.simulation.seeds import FIT, REPORT

NUMBERS = QualityNumbers(extreme_chi=0.2, cone_index=(1.0, 0.9, None, None), snr=50.0)


def test_limits_are_tested_on_other_heads_than_they_were_fitted_on() -> None:
    assert set(FIT_SEEDS) <= set(FIT) and set(REPORT_SEEDS) <= set(REPORT)
    assert set(TARGETS) == {rule.name for rule in RULES}


def test_tables_count_lights_that_are_on() -> None:
    noisy = dataclasses.replace(NUMBERS, snr=12.0)
    noisier = dataclasses.replace(NUMBERS, snr=2.0)
    scans = [
        *(JudgedScan(seed, SOUND[0], NUMBERS) for seed in (0, 1)),
        JudgedScan(2, SOUND[0], noisy),
        JudgedScan(0, "noise × 8", noisier),
        JudgedScan(1, "noise × 8", NUMBERS),
    ]
    line = next(row for row in light_table(scans, scans).splitlines() if row.startswith("| noise"))
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["12", "50", "16, 8", "1 of 2 (1)", "1 of 3 (0)"]
    lines = [[cell.strip() for cell in row.split("|")[1:-1]] for row in fault_table(scans).splitlines()[2:]]
    assert lines == [
        ["sound", "1 of 3", "0 of 3", "noise 1"],
        ["noise × 8", "1 of 2", "1 of 2", "noise 1"],
    ]


@pytest.mark.long
def test_faults_of_another_head_are_found_and_sound_scans_pass() -> None:
    by_name = {rule.name: rule for rule in RULES}
    for scan in judged_scans(REPORT_SEEDS[0]):
        levels = {name: rule.level(rule.number(scan.numbers)) for name, rule in by_name.items()}
        if scan.fault in SOUND:
            assert GOOD in levels.values() and not {"look", "bad"} & set(levels.values()), scan.fault
        elif scan.fault not in ("7 T taken for 3 T", "metal", "sign turned"):
            assert {"look", "bad"} & set(levels.values()), scan.fault
