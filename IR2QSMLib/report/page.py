"""One HTML file with maps side by side and sliders through their slices, which needs no network and no server."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import torch
from PIL import Image
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.version import __version__
from IR2QSMLib.report.figure import AXIAL, CORONAL, SAGITTAL, Panel, display_grid, mask_centre

TEMPLATE, VIEWER = (Path(__file__).with_name(name) for name in ("page.html", "viewer.js"))
"""The page, with the names of its parts behind a $, and the script of the 3-D viewer."""
KNEE, LARGEST = 0.05, 1.0
"""Values are kept as one byte each, asinh(χ/KNEE) up to LARGEST [ppm]: steps of 1.5 ppb near zero, 30 at the end."""
ZERO_CODE, MAX_CODE = 128, 127
"""The byte of χ = 0, and the distance of LARGEST from it."""
WITHOUT_VIEWER = (
    "The 3-D viewer NiiVue is not part of this installation (make viewer brings it into a clone), so the maps are "
    "shown as slices."
)
PICTURE_WIDTH = 720
"""Width of the first picture [pixels]."""

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Heading, column heads and rows."""


def html_page(
    panels: Sequence[Panel],
    mask: Tensor,
    grid: Grid,
    window: tuple[float, float],
    tables: Sequence[Table],
    descriptions: Sequence[tuple[str, str]],
    notes: Sequence[str],
    *,
    title: str = "Susceptibility maps side by side [ppm]",
    above: str = "",
    below: str = "",
    viewer: str | None = None,
) -> str:
    """HTML of maps in linked axial, coronal and sagittal slices, the patient's right on the left.

    The middle slices of the first map are shown as a picture until the volumes are there. Slices, window [ppm] and the
    map that is subtracted are chosen on the page, or after its address:
    `#axial=40&difference=tkd&window=-0.2,0.2`.

    Parameters
    ----------
    panels : sequence of Panel
        Maps [ppm]; those with windows of their own are windowed one by one.
    mask : Tensor
        Outside it zero is shown, bool: (x, y, z).
    grid : Grid
        Of maps and mask.
    window : tuple of float
        The first window [ppm].
    tables : sequence of Table
        Tables below the maps.
    descriptions : sequence of (str, str)
        Names of maps, and where each comes from.
    notes : sequence of str
        Sentences below the maps.
    title : str
        Of the page.
    above, below : str
        HTML before the maps, and after the tables.
    viewer : str or None
        NiiVue's code, which then shows the maps one by one as slices and as a rendering; None for slices alone.

    Returns
    -------
    str
        The complete file.
    """
    working_grid = display_grid(mask, grid)
    inside = working_grid.volume_to_working_grid(mask)
    n_columns = math.ceil(math.sqrt(working_grid.grid.shape[2]))

    def atlas_of(panel: Panel) -> str:
        values = working_grid.volume_to_working_grid(panel.values.float())
        return _atlas(torch.where(inside, values, 0.0), n_columns)

    data = {
        "shape": working_grid.grid.shape,
        "voxel_size": working_grid.grid.voxel_size,
        "columns": n_columns,
        "centre": mask_centre(inside),
        "window": window,
        "knee": KNEE,
        "largest": LARGEST,
        "mask": next((n for n, panel in enumerate(panels) if panel.values.dtype == torch.bool), None),
        "maps": [{"name": panel.title, "png": atlas_of(panel), "window": panel.window} for panel in panels],
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in descriptions)
    parts = [
        *(f"<p>{escape(note)}</p>" for note in notes),
        *(html_table(*table) for table in tables),
        below,
        f"<h2>Where the maps come from</h2><dl>{listed}</dl>" if listed else "",
        f"<p>ir2qsm {escape(__version__)}. Research software, not for diagnosis.</p>",
    ]
    first = torch.where(inside, working_grid.volume_to_working_grid(panels[0].values.float()), 0.0)
    scripts = () if viewer is None else (VIEWER.read_text(encoding="utf-8"), viewer)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        above=above,
        first=_picture(first, working_grid.grid, mask_centre(inside), panels[0].window or window),
        options="".join(f"<option>{escape(panel.title)}</option>" for panel in panels),
        below="".join(parts),
        data=json.dumps(data).replace("<", "\\u003c"),  # no name can end the script
        without="" if viewer else WITHOUT_VIEWER,
        viewer="".join(f"<script>{_inline(script)}</script>" for script in scripts),
    )


def _inline(script: str) -> str:
    """A script as it can stand in a page."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _picture(values: Tensor, grid: Grid, centre: Sequence[int], window: tuple[float, float]) -> str:
    """Three slices of a map on the display grid beside each other, as the data address of a grey PNG."""
    low, high = window
    grey = ((values - low) / (high - low) * 255.0).clamp(0.0, 255.0).to(torch.uint8)
    extent = [n * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    planes = (AXIAL, CORONAL, SAGITTAL)
    scale = PICTURE_WIDTH / sum(extent[plane.across] for plane in planes)
    sizes = [(max(1, round(scale * extent[p.across])), max(1, round(scale * extent[p.down]))) for p in planes]
    picture = Image.new("L", (sum(width for width, _ in sizes), max(height for _, height in sizes)))
    left = 0
    for plane, size in zip(planes, sizes, strict=True):
        slice_ = grey.select(plane.through, centre[plane.through]).T
        image = Image.fromarray((slice_.flip(0) if plane.upward else slice_).contiguous().numpy())
        picture.paste(image.resize(size), (left, 0))
        left += size[0]
    return _data_address(picture)


def _data_address(image: Image.Image) -> str:
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def _atlas(values: Tensor, n_columns: int) -> str:
    """A volume [ppm] as the data address of a grey PNG of its axial slices, row by row, `n_columns` in each."""
    nx, ny, nz = values.shape
    code = ZERO_CODE + MAX_CODE * torch.asinh(values / KNEE) / math.asinh(LARGEST / KNEE)
    slices = code.round().clamp(ZERO_CODE - MAX_CODE, ZERO_CODE + MAX_CODE).to(torch.uint8).permute(2, 1, 0)
    n_rows = math.ceil(nz / n_columns)
    cells = torch.full((n_rows * n_columns, ny, nx), ZERO_CODE, dtype=torch.uint8)
    cells[:nz] = slices
    image = cells.view(n_rows, n_columns, ny, nx).permute(0, 2, 1, 3).reshape(n_rows * ny, n_columns * nx)
    return _data_address(Image.fromarray(image.numpy()))


def html_table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table under its heading; all text is escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<h2>{escape(heading)}</h2><div class=wide><table>{line(head, 'th')}{body}</table></div>"
