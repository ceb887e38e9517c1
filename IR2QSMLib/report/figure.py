"""Figures of maps side by side in three planes, one grey scale, with a bar in ppm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import PackageMissing, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.working_grid import WorkingGrid

WINDOW = (-0.1, 0.1)
"""The default window [ppm]."""
MARGIN = 2
"""Voxels around the mask that are shown."""


@dataclass(frozen=True)
class Panel:
    """One column of a figure."""

    title: str
    values: Tensor
    """[ppm]: (x, y, z)."""
    window: tuple[float, float] | None = None
    """Lowest and highest value shown of this map [ppm], on the page; None for those of all maps."""


class Plane(NamedTuple):
    """How a plane is cut from a volume whose axes lead to the patient's left, back and head."""

    through: int
    """The axis perpendicular to it."""
    across: int
    """The axis of its columns, from left to right."""
    down: int
    """The axis of its rows."""
    upward: bool
    """Whether the first row is at the bottom."""


AXIAL, CORONAL, SAGITTAL = Plane(2, 0, 1, False), Plane(1, 0, 2, True), Plane(0, 1, 2, True)


def require_window(window: tuple[float, float]) -> None:
    """Raise ParameterInvalid unless a window [ppm] has a lower and a higher end."""
    low, high = window
    if not -math.inf < low < high < math.inf:
        raise ParameterInvalid(
            f"The window is {low:g} to {high:g} ppm; expected a lower and a higher end.", option="window"
        )


def require_matplotlib() -> None:
    """Raise PackageMissing without matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PackageMissing("Figures need matplotlib; install it with: pip install 'ir2qsm[demo]'.") from error


def display_grid(mask: Tensor, grid: Grid) -> WorkingGrid:
    """The box around a mask (x, y, z) whose axes are the patient's left, back and head, wherever B0 points."""
    no_field = torch.zeros_like(mask, dtype=torch.float32)
    return WorkingGrid.around(LocalField(no_field, mask, grid.with_b0(None)), MARGIN)


def draw_figure(
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
    """Draw an axial, a coronal and a sagittal row of maps, the patient's right on the left.

    Parameters
    ----------
    path : Path or file
        Where the PNG goes.
    panels : sequence of Panel
        Maps [ppm], one a column.
    mask : Tensor
        Outside it zero is drawn, bool: (x, y, z).
    grid : Grid
        Of maps and mask.
    title : str
        Of the figure.
    at : sequence of int or None
        Voxel of `grid` through which the planes go; the middle of the mask when None.
    window : tuple of float
        Drawn black and white [ppm].
    below : sequence of Panel or None
        Three more rows, a panel or None under each of `panels`.

    Raises
    ------
    PackageMissing
        Without matplotlib.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    working_grid = display_grid(mask, grid)
    inside = working_grid.volume_to_working_grid(mask)
    centre = mask_centre(inside) if at is None else _voxel_on_working_grid(at, mask, working_grid)
    extent = [n * v for n, v in zip(working_grid.grid.shape, working_grid.grid.voxel_size, strict=True)]
    planes = (AXIAL, CORONAL, SAGITTAL)
    max_width = max(extent[plane.across] for plane in planes)
    blocks = [panels, below] if any(below) else [panels]
    heights = [extent[plane.down] for plane in planes]
    if len(blocks) > 1:
        heights = [*heights, 0.12 * max_width, *heights]  # between them, room for the second block's titles
    inches_per_mm = 2.0 / max_width
    width = 2.1 * len(panels) + 0.8
    canvas = Figure(figsize=(width, inches_per_mm * sum(heights) + 0.9), facecolor="black")
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
    image: Any = None
    for block, block_panels in enumerate(blocks):
        for column, panel in enumerate(block_panels):
            if panel is None:
                continue
            values = torch.where(inside, working_grid.volume_to_working_grid(panel.values.float()), 0.0)
            for row, plane in enumerate(planes):
                axes = canvas.add_subplot(layout[4 * block + row, column])
                image = axes.imshow(
                    values.select(plane.through, centre[plane.through]).T.numpy(),
                    cmap="gray",
                    vmin=window[0],
                    vmax=window[1],
                    origin="lower" if plane.upward else "upper",
                    extent=(0, extent[plane.across], 0, extent[plane.down]),
                    interpolation="nearest",
                )
                axes.set_axis_off()
                if row == 0:
                    font_size = min(10.0, max(4.5, 210.0 / max(len(panel.title), 1)))  # as wide as its panel at most
                    axes.set_title(panel.title, color="white", fontsize=font_size)
    bar = canvas.colorbar(image, cax=canvas.add_subplot(layout[:, -1]))
    bar.ax.set_title("ppm", color="white", fontsize=8)
    bar.ax.tick_params(colors="white", labelsize=7)
    canvas.suptitle(title, color="white", fontsize=11)
    canvas.savefig(path, dpi=110, facecolor="black")


def mask_centre(mask: Tensor) -> list[int]:
    """The voxel nearest to the centre of mass of a mask (x, y, z)."""
    return [int(c) for c in mask.nonzero().float().mean(0).round().tolist()]


def _voxel_on_working_grid(voxel: Sequence[int], mask: Tensor, working_grid: WorkingGrid) -> list[int]:
    marked = torch.zeros_like(mask)
    marked[tuple(voxel)] = True
    return [int(c) for c in working_grid.volume_to_working_grid(marked).nonzero()[0].tolist()]
