"""Figures and tables: maps side by side in three planes, one grey scale, with a bar in ppm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from IR2QSMLib.core.errors import PackageMissing
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.working_grid import WorkingGrid

WINDOW = (-0.1, 0.1)
"""The default window [ppm]."""


@dataclass(frozen=True)
class Panel:
    """One column of a figure."""

    title: str
    values: Tensor
    """[ppm]: (x, y, z)."""


def patient_working_grid(mask: Tensor, grid: Grid) -> WorkingGrid:
    """The box around a mask, bool (x, y, z), whose planes are the patient's, wherever B0 points."""
    zeros = torch.zeros_like(mask, dtype=torch.float32)
    return WorkingGrid.around(LocalField(zeros, mask, grid.with_b0(None)), margin=2)


def require_matplotlib() -> None:
    """Raise PackageMissing without matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PackageMissing("Figures need matplotlib; install it with: pip install 'ir2qsm[demo]'.") from error


def figure(
    path: Path | BinaryIO,
    panels: Sequence[Panel],
    mask: Tensor,
    grid: Grid,
    *,
    title: str = "",
    at: Sequence[int] | None = None,
    window: tuple[float, float] = WINDOW,
    below: Sequence[Panel | None] = (),
) -> None:
    """Draw an axial, a coronal and a sagittal row, the patient's right on the left, through voxel `at`.

    Parameters
    ----------
    path
        File, or an open one, for the PNG.
    panels
        Maps [ppm], one column each: (x, y, z).
    mask
        bool: (x, y, z); zero is shown outside.
    grid
        Of all volumes.
    title
        Above the figure.
    at
        Voxel of `grid` through which the planes go; the middle of the mask when None.
    window
        Lower and upper end of the one grey scale [ppm].
    below
        Three more rows, a panel or None under each of `panels`.

    Raises
    ------
    PackageMissing
        Without matplotlib.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    working_grid = patient_working_grid(mask, grid)
    inside = working_grid.volume_to_working_grid(mask)
    if at is None:
        centre = [int(c) for c in inside.nonzero().float().mean(0).round().tolist()]
    else:
        marked = torch.zeros_like(mask)
        marked[tuple(at)] = True
        centre = working_grid.volume_to_working_grid(marked).nonzero()[0].tolist()
    size = working_grid.grid.voxel_size
    extent = [n * v for n, v in zip(working_grid.grid.shape, size, strict=True)]
    # The working grid's axes are left, posterior and superior: an image's rows run down, its columns to the patient's left.
    planes = [(2, 0, 1, False), (1, 0, 2, True), (0, 1, 2, True)]
    widths = max(extent[c] for _, c, _, _ in planes)
    blocks = [panels, below] if any(below) else [panels]
    heights = [extent[r] for _, _, r, _ in planes]
    if len(blocks) > 1:
        heights = [*heights, 0.12 * widths, *heights]  # between them, room for the second block's titles
    unit = 2.0 / widths
    width = 2.1 * len(panels) + 0.8
    canvas = Figure(figsize=(width, unit * sum(heights) + 0.9), facecolor="black")
    FigureCanvasAgg(canvas)
    layout = canvas.add_gridspec(
        len(heights),
        len(panels) + 1,
        height_ratios=heights,
        width_ratios=[*[1.0] * len(panels), 0.06],
        left=0.005,
        right=min(0.94, 1.0 - 0.5 / width),
        bottom=0.01,
        top=1.0 - 0.75 / canvas.get_figheight(),
        wspace=0.03,
        hspace=0.03,
    )
    shown: Any = None
    drawn = [(4 * b, column, p) for b, block in enumerate(blocks) for column, p in enumerate(block) if p is not None]
    for top, column, panel in drawn:
        values = torch.where(inside, working_grid.volume_to_working_grid(panel.values.float()), 0.0)
        for row, (through, across, down, upward) in enumerate(planes):
            axes = canvas.add_subplot(layout[top + row, column])
            image = values.select(through, centre[through]).T.numpy()
            shown = axes.imshow(
                image,
                cmap="gray",
                vmin=window[0],
                vmax=window[1],
                origin="lower" if upward else "upper",
                extent=(0, extent[across], 0, extent[down]),
                interpolation="nearest",
            )
            axes.set_axis_off()
            if row == 0:
                letters = min(10.0, max(4.5, 210.0 / max(len(panel.title), 1)))  # of its panel's width at most
                axes.set_title(panel.title, color="white", fontsize=letters)
    bar = canvas.colorbar(shown, cax=canvas.add_subplot(layout[:, -1]))
    bar.ax.set_title("ppm", color="white", fontsize=8)
    bar.ax.tick_params(colors="white", labelsize=7)
    canvas.suptitle(title, color="white", fontsize=11)
    canvas.savefig(path, dpi=110, facecolor="black")


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """A table in Markdown that also reads well as plain text; the first column is left-aligned."""
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(r) for r in rows)])
