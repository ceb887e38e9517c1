"""One HTML page with maps side by side and sliders through their slices, which needs no network and no server."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.version import __version__
from IR2QSMLib.report.figure import Panel, patient_working_grid

PAGE = Path(__file__).with_name("page.html")
"""The page, with {options}, {below} and {data} to be filled in."""
KNEE, LARGEST = 0.05, 1.0
"""Values are kept as one byte each, asinh(χ/KNEE) up to LARGEST [ppm]: steps of 1.5 ppb near zero, 30 at the end."""

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Heading, column heads and rows."""


def page(
    panels: Sequence[Panel],
    mask: Tensor,
    grid: Grid,
    window: tuple[float, float],
    tables: Sequence[Table],
    about: Sequence[tuple[str, str]],
    notes: Sequence[str],
) -> str:
    """HTML of maps in linked axial, coronal and sagittal slices, the patient's right on the left.

    Slices, window and the map whose difference is shown are chosen on the page, or after its address:
    `#axial=40&difference=tkd&window=-0.2,0.2`.

    Parameters
    ----------
    panels
        Maps [ppm] with their titles: (x, y, z).
    mask
        bool: (x, y, z); zero is shown outside.
    grid
        Of all volumes.
    window
        Lower and upper end [ppm].
    tables
        Headings, column heads and rows.
    about
        Where each map comes from, by its title.
    notes
        Sentences above the tables.
    """
    working_grid = patient_working_grid(mask, grid)
    inside = working_grid.volume_to_working_grid(mask)
    n_columns = math.ceil(math.sqrt(working_grid.grid.shape[2]))
    data = {
        "shape": working_grid.grid.shape,
        "size": working_grid.grid.voxel_size,
        "columns": n_columns,
        "centre": [int(c) for c in inside.nonzero().float().mean(0).round().tolist()],
        "window": window,
        "knee": KNEE,
        "largest": LARGEST,
        "maps": [
            {
                "name": p.title,
                "png": _atlas(torch.where(inside, working_grid.volume_to_working_grid(p.values.float()), 0.0), n_columns),
            }
            for p in panels
        ],
    }
    options = "".join(f"<option>{escape(p.title)}</option>" for p in panels)
    parts = [
        "".join(f"<p>{escape(note)}</p>" for note in notes),
        *(_table(*one) for one in tables),
        "<h2>Where the maps come from</h2><dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in about),
        f"</dl><p>ir2qsm {escape(__version__)}. Research software, not for diagnosis.</p>",
    ]
    content = json.dumps(data).replace("<", "\\u003c")
    filled = {"options": options, "below": "".join(parts), "data": content}
    return re.sub(r"\{(options|below|data)\}", lambda place: filled[place[1]], PAGE.read_text(encoding="utf-8"))  # not in what is filled in


def _atlas(values: Tensor, n_columns: int) -> str:
    """A volume as a grey PNG of its axial slices, row by row, `n_columns` in each."""
    nx, ny, nz = values.shape
    code = 128.0 + 127.0 * torch.asinh(values / KNEE) / math.asinh(LARGEST / KNEE)
    slices = code.round().clamp(1.0, 255.0).to(torch.uint8).permute(2, 1, 0)
    n_rows = -(-nz // n_columns)
    filled = torch.full((n_rows * n_columns, ny, nx), 128, dtype=torch.uint8)
    filled[:nz] = slices
    image = filled.view(n_rows, n_columns, ny, nx).permute(0, 2, 1, 3).reshape(n_rows * ny, n_columns * nx)
    return "data:image/png;base64," + base64.b64encode(_png(image.numpy())).decode()


def _png(image: np.ndarray) -> bytes:
    """A grey PNG of bytes (rows, columns)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", optimize=True)
    return file.getvalue()


def _table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<h2>{escape(heading)}</h2><div class=wide><table>{line(head, 'th')}{body}</table></div>"
