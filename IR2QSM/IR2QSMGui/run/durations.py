"""How long runs took on this machine, and how long the next ones may take."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from IR2QSMGui.run.options import Options

KEY = "IR2QSM/Durations"
"""Slicer's setting that holds the runs: JSON, a list of [voxels, seconds to start, seconds in all] by kind of run."""
N_KEPT = 5
"""Runs of each kind that are kept, the latest."""
START_RANGE = (3.0, 20.0)
"""Seconds until a worker begins: Python and torch are loaded."""
RANGES = {"tkd": (0.01, 1.0), "tikhonov": (0.02, 2.0), "tv": (0.5, 40.0), "ilsqr": (0.5, 60.0), "medi": (1.0, 150.0)}
"""Seconds for a million voxels of methods without a network. One thread of an AMD EPYC was timed on 3.6 million
(docs/benchmark.md and its history): a tenth of that, for graphics cards, to some five times, for slow or busy ones."""
NETWORK_RANGE, UNCERTAINTY_RANGE, ECHO_RANGE = (0.4, 20.0), (0.4, 20.0), (0.1, 5.0)
"""The same of a network, of its uncertainty, and of each echo of a phase (docs/phase.md)."""


@dataclass(frozen=True)
class Work:
    """What decides how long a run takes."""

    kind: str
    """Method, device, input and what else is made."""
    n_voxels: int
    seconds_range: tuple[float, float]
    """What is expected before any run [s]."""

    @classmethod
    def of(cls, options: Options, volumes: Sequence[Any]) -> Work:
        """The work of reconstructing a field, or phases, with these options."""
        image = volumes[0].GetImageData() if volumes and volumes[0] is not None else None
        n_voxels = image.GetNumberOfPoints() if image is not None else 0
        n_echoes = len(volumes) if options.input == "phase" else 0
        kind = [options.method, options.device, options.input, str(n_echoes)]
        kind += ["uncertainty"] if options.uncertainty else []
        kind += ["automatic"] if options.regularisation == "auto" else []
        parts = [RANGES.get(options.method, NETWORK_RANGE), *[ECHO_RANGE] * n_echoes]
        parts += [UNCERTAINTY_RANGE] if options.uncertainty else []
        low, high = (START_RANGE[end] + n_voxels / 1e6 * sum(part[end] for part in parts) for end in (0, 1))
        return cls(" ".join(kind), n_voxels, (low, high))


def remember(work: Work, seconds_to_start: float, seconds: float) -> None:
    """Keep how long a run took, in Slicer's settings."""
    runs = _runs()
    latest = [[work.n_voxels, round(seconds_to_start, 2), round(seconds, 2)], *runs.get(work.kind, [])]
    runs[work.kind] = latest[:N_KEPT]
    slicer.app.userSettings().setValue(KEY, json.dumps(runs))


def estimate(works: Sequence[Work]) -> tuple[float, float]:
    """The shortest and longest time that runs may take together [s]; both are the same where all are known."""
    runs = _runs()
    ranges = [_known_range(work, runs.get(work.kind, [])) or work.seconds_range for work in works]
    return sum(low for low, _high in ranges), sum(high for _low, high in ranges)


def sentence(works: Sequence[Work]) -> str:
    """How long runs may take; empty where there are none."""
    if not works or not all(work.n_voxels for work in works):
        return ""
    low, high = estimate(works)
    if low == high:
        return _("Takes about {time}, by earlier runs.").format(time=_rounded(high))
    return _("Takes {low} to {high}; known better after a run.").format(low=_rounded(low), high=_rounded(high))


def _runs() -> dict[str, list[list[float]]]:
    try:
        runs: dict[str, list[list[float]]] = json.loads(str(slicer.app.userSettings().value(KEY, "{}")))
        valid = all(len(one) == 3 and all(x >= 0 for x in one) and one[0] > 0 for of in runs.values() for one in of)
    except (ValueError, TypeError, AttributeError):  # written by another version, or by hand
        return {}
    return runs if valid else {}


def _known_range(work: Work, runs: list[list[float]]) -> tuple[float, float] | None:
    """By the run whose volume was most like this one, the latest of several; what follows the start grows with it."""
    if not runs:
        return None
    n_voxels, start, seconds = min(runs, key=lambda run: abs(math.log(work.n_voxels / run[0])))
    expected = start + max(0.0, seconds - start) * work.n_voxels / n_voxels
    return expected, expected


def _rounded(seconds: float) -> str:
    """A time as a person would say it."""
    if seconds < 55.0:
        step = 1 if seconds < 10.0 else 5
        return _("{n} s").format(n=max(1, step * round(seconds / step)))
    return _("{n} min").format(n=max(1, round(seconds / 60.0)))
