"""One HTML page with maps side by side and sliders through their slices, which needs no network and no server."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.version import __version__
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.report.figure import Panel

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
    """HTML of `panels` [ppm] in linked axial, coronal and sagittal slices, the patient's right on the left.

    Slices, window [ppm] and the map whose difference is shown are chosen on the page, or after its address:
    `#axial=40&difference=tkd&window=-0.2,0.2`. `about` says where each map comes from, `notes` what else there is.
    """
    upright = grid.with_b0(None)
    frame = WorkingGrid.around(LocalField(torch.zeros_like(mask, dtype=torch.float32), mask, upright), margin=2)
    inside = frame.bring(mask)
    n_columns = math.ceil(math.sqrt(frame.grid.shape[2]))
    data = {
        "shape": frame.grid.shape,
        "size": frame.grid.voxel_size,
        "columns": n_columns,
        "centre": [int(c) for c in inside.nonzero().float().mean(0).round().tolist()],
        "window": window,
        "knee": KNEE,
        "largest": LARGEST,
        "maps": [
            {"name": p.title, "png": _atlas(torch.where(inside, frame.bring(p.values.float()), 0.0), n_columns)}
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
    return re.sub(r"\{(options|below|data)\}", lambda place: filled[place[1]], _PAGE)  # not in what is filled in


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
    lines = np.zeros((image.shape[0], image.shape[1] + 1), np.uint8)  # each begins with its filter, none
    lines[:, 1:] = image
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    body = (struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<h2>{escape(heading)}</h2><div class=wide><table>{line(head, 'th')}{body}</table></div>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Susceptibility maps side by side</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>
body{background:#111;color:#ddd;font:14px/1.4 sans-serif;margin:1em}
h1{font-size:20px}h2{font-size:16px}label{margin-right:1.5em;white-space:nowrap}
#bar{position:sticky;top:0;background:#111;padding:.5em 0;z-index:1}
input[type=range]{width:13em;vertical-align:middle}input[type=number]{width:5em}
#maps{display:flex;gap:6px;overflow-x:auto}figure{margin:0;flex:none}
figcaption{height:1.5em;overflow:hidden;text-align:center}
canvas{display:block;margin:0 auto 4px;image-rendering:pixelated;cursor:crosshair}
.wide{overflow-x:auto}table{border-collapse:collapse}
td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #333}
td:first-child,th:first-child{text-align:left}dt{font-weight:bold}output{display:inline-block;min-width:2.5em}
#reading{min-height:1.4em;white-space:nowrap;overflow:hidden}
</style></head><body>
<h1>Susceptibility maps side by side [ppm]</h1>
<div id="bar">
<label>axial <input type="range" id="axial"><output></output></label>
<label>coronal <input type="range" id="coronal"><output></output></label>
<label>sagittal <input type="range" id="sagittal"><output></output></label>
<label>window <input type="number" id="low" step="0.05"> to <input type="number" id="high" step="0.05"></label>
<label>difference to <select id="difference"><option value="">nothing</option>{options}</select></label>
<div id="reading">Point at a voxel to read all maps there.</div></div>
<div id="maps"></div>
{below}
<noscript><p>The slices are drawn by a script, and scripts are switched off; comparison.png has the same.</p></noscript>
<script id="data" type="application/json">{data}</script>
<script>
"use strict";
const D = JSON.parse(document.getElementById("data").textContent), at = id => document.getElementById(id);
const [nx, ny, nz] = D.shape, chi = [], figures = [], scale = Math.asinh(D.largest / D.knee) / 127;
const ppm = Float32Array.from({length: 256}, (_, code) => D.knee * Math.sinh((code - 128) * scale));
// Axis through the slice, axis across, axis down, and whether down is up: the patient's head and front are above.
const planes = {axial: [2, 0, 1, false], coronal: [1, 0, 2, true], sagittal: [0, 1, 2, true]};
const width = 230 / Math.max(nx * D.size[0], ny * D.size[1]);
const index = p => p[0] + nx * (p[1] + ny * p[2]);
const other = () => D.maps.findIndex(m => m.name === at("difference").value);
const value = (m, i, base) => ppm[chi[m][i]] - (base < 0 || base === m ? 0 : ppm[chi[base][i]]);

function voxel(plane, column, row) {
  const [through, across, down, up] = planes[plane], p = [0, 0, 0];
  p[through] = +at(plane).value; p[across] = column; p[down] = up ? D.shape[down] - 1 - row : row;
  return p;
}
function draw() {
  const low = +at("low").value, high = +at("high").value, base = other();
  figures.forEach((figure, m) => {
    figure.caption.textContent = D.maps[m].name + (base >= 0 && base !== m ? " \\u2212 " + D.maps[base].name : "");
    for (const plane in planes) {
      const canvas = figure[plane], pixels = new ImageData(canvas.width, canvas.height);
      for (let o = 0; o < pixels.data.length; o += 4) {
        const column = o / 4 % canvas.width, row = Math.floor(o / 4 / canvas.width);
        const grey = 255 * (value(m, index(voxel(plane, column, row)), base) - low) / (high - low);
        pixels.data[o] = pixels.data[o + 1] = pixels.data[o + 2] = grey; pixels.data[o + 3] = 255;
      }
      canvas.getContext("2d").putImageData(pixels, 0, 0);
    }
  });
  for (const plane in planes) at(plane).nextElementSibling.value = at(plane).value;
}
function add(m) {
  const box = document.createElement("figure"), figure = {caption: document.createElement("figcaption")};
  box.append(figure.caption);
  for (const plane in planes) {
    const [, across, down] = planes[plane], canvas = figure[plane] = document.createElement("canvas");
    canvas.width = D.shape[across]; canvas.height = D.shape[down];
    canvas.style.width = width * D.shape[across] * D.size[across] + "px";
    canvas.style.height = width * D.shape[down] * D.size[down] + "px";
    const place = e => [Math.floor(e.offsetX * canvas.width / canvas.clientWidth),
                        Math.floor(e.offsetY * canvas.height / canvas.clientHeight)];
    canvas.onmousemove = e => {
      const base = other(), i = index(voxel(plane, ...place(e)));
      at("reading").textContent = D.maps.map((map, k) => map.name + " " + value(k, i, base).toFixed(3)).join("   ");
    };
    canvas.onclick = e => {                     // the other two planes go through what was clicked
      const p = voxel(plane, ...place(e));
      for (const name in planes) at(name).value = p[planes[name][0]];
      draw();
    };
    box.append(canvas);
  }
  at("maps").append(box); figures.push(figure);
}
function unpack(image) {
  const canvas = document.createElement("canvas"); canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d", {willReadFrequently: true}); context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data, out = new Uint8Array(nx * ny * nz);
  for (let z = 0, o = 0; z < nz; z++) for (let y = 0; y < ny; y++) {
    let i = 4 * ((Math.floor(z / D.columns) * ny + y) * image.width + (z % D.columns) * nx);
    for (let x = 0; x < nx; x++, i += 4) out[o++] = pixels[i];
  }
  return out;
}
(async () => {
  for (const map of D.maps) {
    const image = new Image();
    await new Promise((done, failed) => { image.onload = done; image.onerror = failed; image.src = map.png; });
    chi.push(unpack(image)); map.png = null;
  }
  D.maps.forEach((_, m) => add(m));
  const asked = new URLSearchParams(location.hash.slice(1));
  Object.keys(planes).forEach(plane => {
    const through = planes[plane][0];
    at(plane).max = D.shape[through] - 1; at(plane).value = asked.get(plane) ?? D.centre[through];
  });
  [at("low").value, at("high").value] = (asked.get("window") ?? D.window.join()).split(",");
  at("difference").value = asked.get("difference") ?? "";
  for (const id of [...Object.keys(planes), "low", "high", "difference"]) at(id).oninput = draw;
  draw(); document.body.dataset.ready = "yes";
})();
</script></body></html>
"""
