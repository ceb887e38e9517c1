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
from IR2QSMLib.report.figure import Panel, display_grid, mask_centre

TEMPLATE = Path(__file__).with_name("page.html")
"""The page, with $options, $below and $data to be filled in."""
KNEE, LARGEST = 0.05, 1.0
"""Values are kept as one byte each, asinh(χ/KNEE) up to LARGEST [ppm]: steps of 1.5 ppb near zero, 30 at the end."""
ZERO_CODE, MAX_CODE = 128, 127
"""The byte of χ = 0, and the distance of LARGEST from it."""

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
) -> str:
    """HTML of maps in linked axial, coronal and sagittal slices, the patient's right on the left.

    Slices, window [ppm] and the map that is subtracted are chosen on the page, or after its address:
    `#axial=40&difference=tkd&window=-0.2,0.2`.

    Parameters
    ----------
    panels : sequence of Panel
        Maps [ppm].
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
        "maps": [{"name": panel.title, "png": atlas_of(panel)} for panel in panels],
    }
    below = [
        *(f"<p>{escape(note)}</p>" for note in notes),
        *(_html_table(*table) for table in tables),
        "<h2>Where the maps come from</h2><dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in descriptions),
        f"</dl><p>ir2qsm {escape(__version__)}. Research software, not for diagnosis.</p>",
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        options="".join(f"<option>{escape(panel.title)}</option>" for panel in panels),
        below="".join(below),
        data=json.dumps(data).replace("<", "\\u003c"),  # no name can end the script
    )


def _atlas(values: Tensor, n_columns: int) -> str:
    """A volume [ppm] as the data address of a grey PNG of its axial slices, row by row, `n_columns` in each."""
    nx, ny, nz = values.shape
    code = ZERO_CODE + MAX_CODE * torch.asinh(values / KNEE) / math.asinh(LARGEST / KNEE)
    slices = code.round().clamp(ZERO_CODE - MAX_CODE, ZERO_CODE + MAX_CODE).to(torch.uint8).permute(2, 1, 0)
    n_rows = math.ceil(nz / n_columns)
    cells = torch.full((n_rows * n_columns, ny, nx), ZERO_CODE, dtype=torch.uint8)
    cells[:nz] = slices
    image = cells.view(n_rows, n_columns, ny, nx).permute(0, 2, 1, 3).reshape(n_rows * ny, n_columns * nx)
    png = io.BytesIO()
    Image.fromarray(image.numpy()).save(png, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def _html_table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<h2>{escape(heading)}</h2><div class=wide><table>{line(head, 'th')}{body}</table></div>"
