"""What the benchmark prints of a map: its scores, its cone index, its lesions, and the coverage of its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.evaluation.region_statistics import roi_slope
from IR2QSMLib.evaluation.regional_metrics import coverage, lesion_moment, lesion_streaks, regions, vein_ratio
from IR2QSMLib.physics.cone import cone_agreement, cone_index
from IR2QSMLib.report.table import markdown_table
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
"""Heading, score and digits. 'slope' is that of the nuclei's means, 'veins' the estimated over the true susceptibility;
'coherence' and 'gain' are those in the cone of the dipole kernel (`physics.cone`)."""
LARGEST_MICROBLEED = 100.0
"""Volume below which bleeding is a microbleed [mm³]; microbleeds are 5 mm wide, or 10 at the most."""


@dataclass(frozen=True)
class MapScores:
    """Every score of one method's map."""

    name: str
    scores: dict[str, float]
    """By the keys of `score`, and 'slope', 'veins', 'cone_coherence' and 'cone_gain'."""
    seconds: float
    peak_bytes: float
    lesions: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Moment [%] and streaks [ppm], by the kind of lesion."""
    coverage: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Percent of errors within one and two standard errors, by region; empty where the method gives none."""
    cone_index: tuple[float | None, ...] = ()
    """Cone index of the map in `physics.cone.BANDS`, from coarse to fine."""


def score_map(
    name: str, chi: Tensor, uncertainty: Tensor | None, head: Head, seconds: float, peak_bytes: float
) -> MapScores:
    """Score a map and its standard error against a head.

    Parameters
    ----------
    name
        Of the method.
    chi
        [ppm]: (x, y, z).
    uncertainty
        Standard error [ppm], or None: (x, y, z).
    head
        The truth.
    seconds, peak_bytes
        What the map took.
    """
    scores = {**score(chi, head.chi, head.mask), "slope": roi_slope(chi, head.chi, head.labels)}
    if head.veins is not None:
        scores["veins"] = vein_ratio(chi, head.chi, head.veins, head.mask)
    agreement = cone_agreement(chi, head.chi, head.mask, head.grid)
    scores |= {"cone_coherence": agreement.coherence, "cone_gain": agreement.gain}
    covered = {}
    if uncertainty is not None:
        covered = coverage(chi, uncertainty, head.chi, regions(head.mask, head.labels, head.veins, head.grid))
    index = cone_index(chi, head.mask, head.grid)
    return MapScores(name, scores, seconds, peak_bytes, _lesion_scores(chi, head), covered, index)


def _lesion_scores(chi: Tensor, head: Head) -> dict[str, tuple[float, float]]:
    """Moment [%] and streaks [ppm] of calcifications, microbleeds and haemorrhages, by the sign and size of lesions."""
    if head.lesions is None or not bool(head.lesions.any()):
        return {}
    lesions: dict[str, Tensor] = {}
    for number in head.lesions.unique().tolist():
        if number == 0:
            continue
        lesion = head.lesions == number
        if float(head.chi[lesion].mean()) < 0.0:
            name = "calcification"
        elif float(lesion.sum()) * head.grid.voxel_volume < LARGEST_MICROBLEED:
            name = "microbleeds"
        else:
            name = "haemorrhage"
        lesions[name] = lesion | lesions.get(name, torch.zeros_like(lesion))
    return {
        name: (
            lesion_moment(chi, head.chi, lesion, head.mask),
            lesion_streaks(chi, head.chi, lesion, head.mask, head.grid),
        )
        for name, lesion in lesions.items()
    }


def case_tables(maps: Sequence[MapScores]) -> str:
    """A table of scores of the maps of one case and, where there are any, one of lesions and one of coverage."""
    columns = {k: v for k, v in COLUMNS.items() if any(v[0] in m.scores for m in maps)}
    rows = [
        [
            m.name,
            *(_number(m.scores.get(key), digits) for key, digits in columns.values()),
            cone_index_text(m.cone_index),
            f"{m.seconds:.2f}",
            f"{m.peak_bytes / 1e6:.0f}",
        ]
        for m in maps
    ]
    tables = [markdown_table(rows, ["method", *columns, "cone index", "s", "peak MB"])]
    lesion_rows = [
        [m.name, kind, f"{moment:.1f}", f"{1000.0 * streaks:.1f}"]
        for m in maps
        for kind, (moment, streaks) in m.lesions.items()
    ]
    if lesion_rows:
        tables.append(markdown_table(lesion_rows, ["method", "lesion", "moment %", "streaks ppb"]))
    coverage_rows = [
        [m.name, region, f"{one:.1f}", f"{two:.1f}"] for m in maps for region, (one, two) in m.coverage.items()
    ]
    if coverage_rows:
        tables.append(markdown_table(coverage_rows, ["method", "region", "within 1 σ %", "within 2 σ %"]))
    return "\n\n".join(tables)


def level_table(cases: Mapping[str, Sequence[MapScores]], levels: Mapping[str, str], key: str, digits: int) -> str:
    """A table of one score of every method against noise or mismatch.

    A method's best setting may differ from case to case, so the brackets behind its name are left out.

    Parameters
    ----------
    cases
        Scores of the maps of each case.
    levels
        Heading of the column of each case that is shown; others are left out.
    key
        Of the score.
    digits
        After the point.
    """
    columns = {case: {m.name.split(" (")[0]: m.scores[key] for m in cases[case]} for case in levels if case in cases}
    names = list(dict.fromkeys(name for scores in columns.values() for name in scores))
    rows = [[name, *(_number(scores.get(name), digits) for scores in columns.values())] for name in names]
    return markdown_table(rows, ["method", *(levels[case] for case in columns)])


def cone_index_text(index: Sequence[float | None]) -> str:
    """A cone index as tables have it, from coarse to fine."""
    return " · ".join(_number(value, 2) for value in index)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
