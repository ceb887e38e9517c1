"""The figure, the table and the page of a comparison."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from IR2QSMLib.evaluation.comparison_setup import ComparedMap, ComparisonSetup
from IR2QSMLib.evaluation.region_statistics import RegionStatistics
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.report.figure import Panel, draw_figure
from IR2QSMLib.report.page import html_page

DIGITS_ON_PAGE = {"seconds": 1, "xsim": 3, "correlation": 3, "ssim": 3}
"""Digits after the point; other measures have one, and the table has six significant digits."""
TRUTH = "truth"
"""Name of the true map."""


class ReportFiles(NamedTuple):
    """Where the report goes."""

    figure: Path
    table: Path
    page: Path


def write_report(
    outputs: Outputs,
    files: ReportFiles,
    maps: Sequence[ComparedMap],
    truth: Tensor | None,
    setup: ComparisonSetup,
    window: tuple[float, float],
    notes: Sequence[str],
    failures: Mapping[str, Exception],
) -> None:
    """Write a figure (PNG), a table (TSV) and a page (HTML) of measured maps.

    Parameters
    ----------
    outputs
        Gets the files.
    files
        Their paths.
    maps
        With their measures.
    truth
        χ [ppm] to which the differences are shown, or None for those to the first map: (x, y, z).
    setup
        With the common mask.
    window
        Of the figure [ppm].
    notes
        Sentences below the maps of the page.
    failures
        Errors of methods that could not run, by name.
    """
    panels = [Panel(item.name, item.chi) for item in maps]
    first = Panel(TRUTH, truth) if truth is not None else panels.pop(0)
    outputs.bytes(files.figure, _figure_png(first, panels, setup, window))
    outputs.text(files.table, _table_tsv(maps, failures))
    descriptions = [(item.name, item.description) for item in maps]
    local = setup.local
    html = html_page([first, *panels], local.mask, local.grid, window, _page_tables(maps), descriptions, notes)
    outputs.text(files.page, html)


def _figure_png(first: Panel, panels: Sequence[Panel], setup: ComparisonSetup, window: tuple[float, float]) -> bytes:
    """The maps, and below them their differences to the first one."""
    differences = [None, *(Panel(f"{p.title} − {first.title}", p.values - first.values) for p in panels)]
    title = "Susceptibility in ppm" + (f"; below, the difference to {first.title}" if panels else "")
    png = io.BytesIO()
    draw_figure(
        png,
        [first, *panels],
        setup.local.mask,
        setup.local.grid,
        window=window,
        below=differences,
        title=title,
    )
    return png.getvalue()


def _table_tsv(maps: Sequence[ComparedMap], failures: Mapping[str, Exception]) -> str:
    """A row a map, with all measures and regions, and one for each method that failed."""
    measures, labels = _measure_names(maps), _region_labels(maps)
    statistics = RegionStatistics._fields
    head = ["map", *measures, *(f"label_{n}_{s}" for n in labels for s in statistics), "problem"]
    rows = [head]
    for item in maps:
        values = [item.measures.get(name) for name in measures]
        values += [getattr(item.regions[n], s) for n in labels for s in statistics]
        rows.append([item.name, *map(_six_digits, values), ""])
    rows += [[name, *["n/a"] * (len(head) - 2), str(error)] for name, error in failures.items()]
    return "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)


def _page_tables(maps: Sequence[ComparedMap]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Heading, column heads and rows of the page's tables."""
    names, labels = _measure_names(maps), _region_labels(maps)
    rows = [[item.name, *(_rounded(item.measures.get(n), DIGITS_ON_PAGE.get(n, 1)) for n in names)] for item in maps]
    tables = [("Measures", ["map", *(name.replace("_", " ") for name in names)], rows)]
    if labels:
        rows = [
            [item.name, *(f"{_rounded(item.regions[n].mean, 3)} ± {_rounded(item.regions[n].sd, 3)}" for n in labels)]
            for item in maps
        ]
        tables.append(("Mean ± SD of each label [ppm]", ["map", *map(str, labels)], rows))
    return tables


def _measure_names(maps: Sequence[ComparedMap]) -> list[str]:
    return list(dict.fromkeys(name for item in maps for name in item.measures))


def _region_labels(maps: Sequence[ComparedMap]) -> list[int]:
    return list(dict.fromkeys(number for item in maps for number in item.regions))


def _six_digits(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.6g}"


def _rounded(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"
