"""How well the lights of a map tell planted faults from sound scans, on heads on which their limits were not fitted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.evaluation.planted_faults import SOUND, JudgedScan, judged_scans
from IR2QSMLib.pipeline.lights import RULES, LightRule
from IR2QSMLib.report.map_page import BAD, LOOK
from IR2QSMLib.report.table import markdown_table
from IR2QSMLib.simulation.seeds import FIT, REPORT

FIT_SEEDS, REPORT_SEEDS = tuple(FIT[:5]), tuple(REPORT[2:7])
"""Heads on which the limits were fitted, and others."""
TARGETS = {
    "noise": ("noise × 8",),
    "SNR by band": ("noise × 8", "discrepancy of 70 %"),
    "discrepancy": ("noise × 8", "discrepancy of 70 %"),
    "streaks": ("hardly regularised", "mask too large", "total field taken for local"),
    "wraps": ("phase interpolated", "metal", "mask too large"),
    "fit over the echoes": ("echo time wrong by 20 %", "phase interpolated", "motion"),
    "mask lost": ("mask with holes", "mask too large", "phase interpolated"),
    "background left": ("total field taken for local",),
    "sign": ("sign turned",),
    "range": ("mask too large", "metal", "total field taken for local"),
}
"""The faults that each light is there for."""


def quality_benchmark(
    *,
    fit_seeds: Sequence[int] = FIT_SEEDS,
    report_seeds: Sequence[int] = REPORT_SEEDS,
    progress: Progress = silent,
    emit: Callable[[str], None] = print,
) -> None:
    """Emit a table of the lights and one of the faults.

    Parameters
    ----------
    fit_seeds, report_seeds
        Heads on which the limits were fitted, and those on which the lights are tested.
    progress
        Called with the fraction done and the stage.
    emit
        Called with every piece of text.
    """
    seeds = [*fit_seeds, *report_seeds]
    scans: list[JudgedScan] = []
    for n, seed in enumerate(seeds):
        for scan in judged_scans(seed):
            progress(n / len(seeds), f"head {seed}: {scan.fault}")
            scans.append(scan)
    fit = [scan for scan in scans if scan.seed in fit_seeds]
    report = [scan for scan in scans if scan.seed in report_seeds]
    emit(f"\n### Lights, on {len(report_seeds)} heads other than the {len(fit_seeds)} of the fit\n")
    emit(light_table(fit, report))
    emit("\n### Which lights come on, of the heads of the same test\n")
    emit(fault_table(report))
    progress(1.0, "done")


def light_table(fit: Sequence[JudgedScan], report: Sequence[JudgedScan]) -> str:
    """Limits, the numbers of the fit, and of the test sensitivity and false alarms, for each light.

    Sensitivity counts the faults that the light is there for, false alarms the sound scans; in brackets those that are
    red.
    """
    rows = []
    for rule in RULES:
        rising = rule.bad > rule.look
        sound = _values(rule, [scan for scan in fit if scan.fault in SOUND])
        faulty = _values(rule, [scan for scan in fit if scan.fault in TARGETS[rule.name]])
        worst, mildest = (max(sound), min(faulty)) if rising else (min(sound), max(faulty))
        rows.append(
            [
                rule.name,
                f"{worst:.2g}",
                f"{mildest:.2g}",
                f"{rule.look:g}, {rule.bad:g}",
                _share_on(rule, [scan for scan in report if scan.fault in TARGETS[rule.name]]),
                _share_on(rule, [scan for scan in report if scan.fault in SOUND]),
            ]
        )
    head = ["light", "worst sound", "mildest fault", "yellow, red from", "found (red)", "false alarms (red)"]
    return markdown_table(rows, head)


def fault_table(scans: Sequence[JudgedScan]) -> str:
    """For each kind of scan, how many have any light on, any red, and which lights come on."""
    rows = []
    for fault in dict.fromkeys(scan.fault for scan in scans):
        group = [scan for scan in scans if scan.fault == fault]
        levels = [{rule.name: rule.level(rule.number(scan.numbers)) for rule in RULES} for scan in group]
        on = [{name for name, level in each.items() if level in (LOOK, BAD)} for each in levels]
        counts = {rule.name: sum(rule.name in each for each in on) for rule in RULES}
        rows.append(
            [
                fault,
                f"{sum(bool(each) for each in on)} of {len(group)}",
                f"{sum(BAD in each.values() for each in levels)} of {len(group)}",
                ", ".join(f"{name} {n}" for name, n in counts.items() if n) or "–",
            ]
        )
    return markdown_table(rows, ["scan", "any light on", "any red", "lights that are on"])


def _values(rule: LightRule, scans: Sequence[JudgedScan]) -> list[float]:
    values = [rule.number(scan.numbers) for scan in scans]
    return [value for value in values if value is not None] or [math.nan]


def _share_on(rule: LightRule, scans: Sequence[JudgedScan]) -> str:
    """How many scans of all have the light on, and in brackets red."""
    levels = [rule.level(rule.number(scan.numbers)) for scan in scans]
    n_on, n_bad = sum(level in (LOOK, BAD) for level in levels), levels.count(BAD)
    return f"{n_on} of {len(levels)} ({n_bad})"
