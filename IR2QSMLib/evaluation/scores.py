"""What the benchmark prints of a map: its scores, its cone, its lesions, and how honest its uncertainty is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from IR2QSMLib.evaluation.metrics import roi_slope, score
from IR2QSMLib.evaluation.regional_metrics import coverage, lesion_moment, lesion_streaks, regions, vein_recovery
from IR2QSMLib.physics.cone import cone_agreement, cone_index
from IR2QSMLib.report.figure import table
from IR2QSMLib.simulation.head import Head

COLUMNS = {
    "XSIM": ("xsim", 4),
    "NRMSE %": ("nrmse_demeaned", 2),
    "raw": ("nrmse", 2),
    "detrended": ("nrmse_detrended", 2),
    "HFEN": ("hfen", 2),
    "corr": ("correlation", 4),
    "slope": ("slope", 3),
    "veins": ("veins", 3),
    "coherence": ("cone_coherence", 2),
    "gain": ("cone_gain", 2),
}
"""Heading, score and digits. 'slope' is that of the nuclei's means, 'veins' recovered over true susceptibility,
'coherence' and 'gain' are those in the cone of the dipole kernel (`physics.cone`)."""


@dataclass(frozen=True)
class MapScores:
    """Every score of one method's map."""

    name: str
    scores: dict[str, float]
    seconds: float
    peak: float
    """Bytes."""
    lesions: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Moment [%] and streaks [ppm], by what the lesion is."""
    coverage: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Percent of errors within one and two standard errors, by region; empty where the method gives none."""
    cone_index: tuple[float | None, ...] = ()
    """Of `physics.cone`, from coarse to fine."""


def score_map(name: str, chi: Tensor, uncertainty: Tensor | None, head: Head, seconds: float, peak: float) -> MapScores:
    """Score a map [ppm] and, if it has one, its standard error [ppm] against a head."""
    scores = {**score(chi, head.chi, head.mask), "slope": roi_slope(chi, head.chi, head.labels)}
    if head.veins is not None:
        scores["veins"] = vein_recovery(chi, head.chi, head.veins, head.mask)
    agreement = cone_agreement(chi, head.chi, head.mask, head.grid)
    scores |= {"cone_coherence": agreement.coherence, "cone_gain": agreement.gain}
    covered = {}
    if uncertainty is not None:
        where = regions(head.mask, head.labels, head.veins, head.grid)
        covered = coverage(chi, uncertainty, head.chi, where)
    index = cone_index(chi, head.mask, head.grid)
    return MapScores(name, scores, seconds, peak, _lesions(chi, head), covered, index)


def _lesions(chi: Tensor, head: Head) -> dict[str, tuple[float, float]]:
    """Lesions that are diamagnetic, small or large: calcification, microbleeds and haemorrhage."""
    if head.lesions is None or not bool(head.lesions.any()):
        return {}
    found: dict[str, Tensor] = {}
    voxel = float(torch.tensor(head.grid.voxel_size).prod())
    for number in head.lesions.unique().tolist():
        lesion = head.lesions == number
        if number == 0:
            continue
        small = float(lesion.sum()) * voxel < 100.0  # mm³; microbleeds are 5 mm wide, or 10 at the most
        sign = float(head.chi[lesion].mean())
        name = "calcification" if sign < 0.0 else "microbleeds" if small else "haemorrhage"
        found[name] = lesion | found.get(name, torch.zeros_like(lesion))
    return {
        name: (
            lesion_moment(chi, head.chi, lesion, head.mask),
            lesion_streaks(chi, head.chi, lesion, head.mask, head.grid),
        )
        for name, lesion in found.items()
    }


def case_tables(judged: Sequence[MapScores]) -> str:
    """One table of scores and, where the case has them, one of lesions and one of coverage."""
    columns = {k: v for k, v in COLUMNS.items() if any(v[0] in j.scores for j in judged)}
    rows = [
        [
            j.name,
            *(_number(j.scores.get(key), digits) for key, digits in columns.values()),
            index_text(j.cone_index),
            f"{j.seconds:.2f}",
            f"{j.peak / 1e6:.0f}",
        ]
        for j in judged
    ]
    out = [table(rows, ["method", *columns, "cone index", "s", "peak MB"])]
    lesions = [
        [j.name, what, f"{moment:.1f}", f"{1000.0 * streaks:.1f}"]
        for j in judged
        for what, (moment, streaks) in j.lesions.items()
    ]
    if lesions:
        out.append(table(lesions, ["method", "lesion", "moment %", "streaks ppb"]))
    covered = [
        [j.name, region, f"{one:.1f}", f"{two:.1f}"] for j in judged for region, (one, two) in j.coverage.items()
    ]
    if covered:
        out.append(table(covered, ["method", "region", "within 1 σ %", "within 2 σ %"]))
    return "\n\n".join(out)


def level_table(cases: Mapping[str, Sequence[MapScores]], levels: Mapping[str, str], key: str, digits: int) -> str:
    """One score of every method against noise or mismatch: `levels` is the heading of each case that counts.

    A method's best setting may differ from case to case, so what stands in brackets behind its name is left out.
    """
    shown = {case: {j.name.split(" (")[0]: j.scores[key] for j in cases[case]} for case in levels if case in cases}
    names = list(dict.fromkeys(name for scores in shown.values() for name in scores))
    rows = [[name, *(_number(scores.get(name), digits) for scores in shown.values())] for name in names]
    return table(rows, ["method", *(levels[case] for case in shown)])


def index_text(index: Sequence[float | None]) -> str:
    """A cone index as tables have it, from coarse to fine."""
    return " · ".join(_number(value, 2) for value in index)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
