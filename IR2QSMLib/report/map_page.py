"""The page of one map: what is shown, its lights, its regions, what ran, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.report.figure import Panel
from IR2QSMLib.report.methods_text import bibtex, methods_text
from IR2QSMLib.report.page import html_page, html_table
from IR2QSMLib.report.viewer import viewer_script

GOOD, LOOK, BAD, UNKNOWN = "good", "look", "bad", "unknown"
LEVELS = (UNKNOWN, GOOD, LOOK, BAD)
"""Levels of a light, from the least to the most trouble."""
WORDS = {GOOD: "good", LOOK: "look", BAD: "trouble", UNKNOWN: "not known"}
"""What the page calls them."""
MAX_VOXELS = 3_500_000
"""Most voxels of a map on the page, in the mask's box; finer maps are averaged over blocks, so that a page has at most
15 MB."""


class Light(NamedTuple):
    """One thing that was looked at."""

    name: str
    level: str
    """One of `LEVELS`."""
    finding: str
    """What was found, in a sentence."""
    advice: str = ""
    """What to do, where the level is not good."""


def map_page(
    panels: Sequence[Panel],
    mask: Tensor,
    grid: Grid,
    window: tuple[float, float],
    *,
    lights: Sequence[Light],
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]],
    record: Mapping[str, Any],
    notes: Sequence[str],
) -> str:
    """The HTML of a map, complete in one file.

    Parameters
    ----------
    panels
        The map, and what else there is: its uncertainty, mask and field [ppm].
    mask
        Where the map is valid, bool: (x, y, z).
    grid
        Of all.
    window
        Of the map [ppm].
    lights
        In the order of the page.
    tables
        Heading, column heads and rows of regions.
    record
        The provenance; empty where there is none.
    notes
        Sentences below the map.
    """
    shown, shown_mask, shown_grid = coarsened(panels, mask, grid)
    if shown_grid is not grid:
        sizes = (" × ".join(f"{v:.3g}" for v in g.voxel_size) for g in (shown_grid, grid))
        notes = [*notes, "The page shows means over voxels of {} mm; the file has {} mm.".format(*sizes)]
    return html_page(
        shown,
        shown_mask,
        shown_grid,
        window,
        tables,
        [],
        notes,
        title="Susceptibility map [ppm]",
        above=_summary(lights),
        below=_lights_table(lights) + _methods(record) + _provenance(record),
        viewer=viewer_script(),
    )


def coarsened(panels: Sequence[Panel], mask: Tensor, grid: Grid) -> tuple[Sequence[Panel], Tensor, Grid]:
    """Maps and mask as means over blocks, where their box has more than `MAX_VOXELS` voxels, and their grid."""
    index = mask.nonzero()
    box = (index.max(0).values - index.min(0).values + 1).tolist()
    block = [1, 1, 1]
    while box[0] * box[1] * box[2] / (block[0] * block[1] * block[2]) > MAX_VOXELS:
        sizes = [v * b for v, b in zip(grid.voxel_size, block, strict=True)]
        block[sizes.index(min(sizes))] += 1
    if block == [1, 1, 1]:
        return panels, mask, grid

    def mean(values: Tensor) -> Tensor:
        return avg_pool3d(values[None, None].float(), block)[0, 0]

    weight = mean(mask)
    inside = weight >= 0.5
    means = [
        inside
        if panel.values.dtype == torch.bool
        else mean(torch.where(mask, panel.values, 0.0)) / weight.clamp_min(1e-6)
        for panel in panels
    ]
    x, y, z = inside.shape
    dx, dy, dz = (v * b for v, b in zip(grid.voxel_size, block, strict=True))
    origin = grid.point([(b - 1) / 2 for b in block])
    coarse = replace(grid, shape=(x, y, z), voxel_size=(dx, dy, dz), origin=origin)
    return [replace(panel, values=v) for panel, v in zip(panels, means, strict=True)], inside, coarse


def _dot(level: str) -> str:
    return f'<span class="{level}"></span>'


def _summary(lights: Sequence[Light]) -> str:
    """One line: how many lights are how."""
    worst = max((light.level for light in lights), key=LEVELS.index, default=UNKNOWN)
    named = ", ".join(light.name for light in lights if light.level == worst)
    text = {
        GOOD: "Nothing that was looked at gives reason to doubt the map.",
        UNKNOWN: "Nothing could be looked at.",
    }.get(worst, f"{WORDS[worst].capitalize()}: {named}. What to do stands below.")
    return f"<p>{_dot(worst)}{escape(text)}</p>"


def _lights_table(lights: Sequence[Light]) -> str:
    rows = "".join(
        f"<tr><td>{_dot(light.level)}{escape(light.name)}</td><td>{escape(WORDS[light.level])}</td>"
        f"<td>{escape(light.finding)}</td><td>{escape(light.advice)}</td></tr>"
        for light in lights
    )
    return (
        "<h2>Can the map be trusted?</h2><div class=wide><table class=lights><tr><th></th><th></th><th>found</th>"
        f"<th>what to do</th></tr>{rows}</table></div>"
    )


def _methods(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    text = methods_text(record)
    listed = "".join(f"<li>{escape(reference.sentence())}</li>" for reference in text.references)
    entries = escape(bibtex(text.references, record.get("Software") or {}))
    return (
        f"<h2>Methods</h2><p class=text>{escape(text.paragraph)}</p><ul class=text>{listed}</ul>"
        f"<details><summary>BibTeX</summary><pre>{entries}</pre></details>"
    )


def _provenance(record: Mapping[str, Any]) -> str:
    if not record:
        return "<h2>Provenance</h2><p>The map came without a sidecar of ir2qsm, so what ran is not known.</p>"
    warnings = "".join(f"<li>{escape(str(warning))}</li>" for warning in record.get("Warnings") or [])
    software, device = record.get("Software") or {}, record.get("Device") or {}
    versions = record.get("Versions") or {}
    seconds = sum((record.get("Seconds") or {}).values())
    rows = [
        ["software", f"{software.get('name')} {software.get('version')}"],
        ["run on", f"{device.get('name')} in {seconds:.3g} s"],
        ["with", ", ".join(f"{name} {version}" for name, version in versions.items())],
    ]
    text = escape(json.dumps(record, indent=1, ensure_ascii=False))
    return (
        html_table("Provenance", ["", ""], rows)
        + (f"<p>Warnings of the run:</p><ul class=text>{warnings}</ul>" if warnings else "")
        + f"<details><summary>All of it</summary><pre>{text}</pre></details>"
    )
