"""The page of one map: its viewer in a real browser, its slices without the viewer, its lights and its size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.report import map_page as module
from IR2QSMLib.report.figure import Panel
from IR2QSMLib.report.map_page import BAD, GOOD, LOOK, UNKNOWN, Light, map_page
from IR2QSMLib.report.viewer import viewer_script
from Testing.Library.report.browser import probe

SHAPE = (20, 24, 18)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0))
X, Y, Z = torch.meshgrid(*(torch.linspace(-1.0, 1.0, n) for n in SHAPE), indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 0.9
CHI = torch.where(MASK, 0.08 * torch.sin(5.0 * X + 3.0 * Y) + 0.05 * Z, 0.0)
LIGHTS = [Light("noise", GOOD, "The signal is 50 times the noise."), Light("sign", LOOK, "Dia.", "Turn <it>.")]
RECORD = {"Software": {"name": "ir2qsm", "version": "0.1.0"}, "Method": {"name": "tkd", "citation": ""}}

PROBE = """
<script>
const before = {ready: document.body.dataset.ready ?? "not yet", width: document.getElementById("first")?.naturalWidth};
const wait = setInterval(() => {
  if (!document.body.dataset.ready) return;
  clearInterval(wait);
  const $ = id => document.getElementById(id), out = {before, ready: document.body.dataset.ready};
  const set = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("input")); };
  const greys = viewer ? () => {
    viewer.nv.drawScene();
    const {width, height} = viewer.nv.gl.canvas, pixels = new Uint8Array(4 * width * height);
    viewer.nv.gl.readPixels(0, 0, width, height, viewer.nv.gl.RGBA, viewer.nv.gl.UNSIGNED_BYTE, pixels);
    return pixels.reduce((sum, grey, n) => sum + (n % 4 ? 0 : grey), 0);
  } : () => [...document.querySelectorAll("#maps canvas")].reduce((sum, canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return sum + pixels.reduce((part, grey, n) => part + (n % 4 ? 0 : grey), 0);
  }, 0);
  const slices = () => ["axial", "coronal", "sagittal"].map(id => +$(id).value);
  out.first = greys();
  set("axial", 5); out.lower = greys(); out.values = $("values").textContent;
  set("low", -1); out.wide = greys();
  set("low", -0.1); set("map", "mask"); out.mask = greys(); out.window = [+$("low").value, +$("high").value];
  if (viewer) {
    const canvas = viewer.nv.gl.canvas, box = canvas.getBoundingClientRect(), before = slices();
    const at = {clientX: box.left + 0.2 * box.width, clientY: box.top + 0.2 * box.height, bubbles: true, deltaY: 100};
    canvas.dispatchEvent(new MouseEvent("mousemove", at));
    canvas.dispatchEvent(new WheelEvent("wheel", at));
    viewer.nv.onIntensityChange({cal_min: 0.25, cal_max: 0.75});
    out.dragged = [+$("low").value, +$("high").value];
    out.scrolled = slices().map((n, axis) => n - before[axis]);
  }
  out.shown = viewer?.nv.volumes.map(volume => volume.name);
  out.problems = problems;
  const pre = document.createElement("pre");
  pre.id = "out"; pre.textContent = JSON.stringify(out); document.body.append(pre);
}, 20);
</script>
"""
"""A script that moves the page's controls and writes down what is drawn then."""


def make_page(**changes: Any) -> str:
    panels = [Panel("χ", CHI), Panel("mask", MASK, (0.0, 1.0)), Panel("local field", CHI / 3.0, (-0.05, 0.05))]
    arguments: dict[str, Any] = {"lights": LIGHTS, "tables": [], "record": RECORD, "notes": []}
    return map_page(panels, MASK, GRID, (-0.1, 0.1), **arguments | changes)


def test_the_viewer_follows_the_controls_and_the_wheel_without_an_error(tmp_path: Path) -> None:
    if viewer_script() is None:
        pytest.skip("the viewer is not here; make viewer brings it")
    shown = probe(make_page(), PROBE, tmp_path / "page.html")
    assert shown["problems"] == [] and shown["ready"] == "viewer"
    assert shown["before"]["ready"] == "not yet" and shown["before"]["width"] > 300  # a picture is there at once
    assert len({shown[name] for name in ("first", "lower", "wide", "mask")}) == 4
    assert shown["wide"] > shown["lower"]  # what was grey is bright in a window that begins lower
    assert shown["window"] == [0, 1] and shown["shown"] == ["mask.nii"]
    assert sum(map(abs, shown["scrolled"])) >= 1 and shown["dragged"] == [0.25, 0.75]
    assert re.fullmatch(r"χ -?\d\.\d{3}   mask 1\.000   local field -?\d\.\d{3}", shown["values"])


def test_without_the_viewer_the_page_has_slices_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "viewer_script", lambda: None)
    html = make_page()
    shown = probe(html, PROBE, tmp_path / "page.html")
    assert shown["problems"] == [] and shown["ready"] == "yes" and "make viewer" in html
    assert len({shown[name] for name in ("first", "lower", "wide", "mask")}) >= 3 and shown["wide"] > shown["lower"]
    assert shown["window"] == [0, 1]


def test_the_first_line_is_the_worst_light_and_advice_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "viewer_script", lambda: None)
    assert "Look: sign. What to do stands below." in make_page() and "Turn &lt;it&gt;." in make_page()
    assert "Trouble: range." in make_page(lights=[*LIGHTS, Light("range", BAD, "Large.", "Look.")])
    assert "no reason to doubt" not in make_page() and "reason to doubt the map" in make_page(lights=LIGHTS[:1])
    assert "Nothing could be looked at." in make_page(lights=[Light("noise", UNKNOWN, "No.")])
    assert "what ran is not known" in make_page(record={})


def test_the_page_loads_nothing_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "viewer_script", lambda: "/* </script><script>alert(1)</script> */")
    html = make_page()
    assert "default-src 'none'" in html and not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", html)
    assert "</script><script>alert" not in html


@pytest.mark.long
def test_a_fine_map_of_a_head_with_the_viewer_has_at_most_15_megabytes() -> None:
    """Noise of 20 ppb, which hardly compresses, at 0.7 mm in a head of 1.5 L."""
    grid = Grid((210, 250, 200), (0.7, 0.7, 0.7))
    x, y, z = torch.meshgrid(*(torch.linspace(-1.05, 1.05, n) for n in grid.shape), indexing="ij")
    mask = x**2 + y**2 + z**2 < 1.0
    panels = [Panel(name, 0.02 * torch.randn(grid.shape)) for name in ("χ", "uncertainty", "local field")]
    panels.insert(2, Panel("mask", mask, (0.0, 1.0)))
    html = map_page(panels, mask, grid, (-0.1, 0.1), lights=LIGHTS, tables=[], record=RECORD, notes=[])
    with_viewer = len(html.encode()) + (0 if viewer_script() else 2_300_000)
    assert 5_000_000 < with_viewer < 15_000_000
    assert "The page shows means over voxels of" in html
