"""The page of maps: complete in one file, and in a real browser its sliders, window and difference do what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.report.figure import Panel
from IR2QSMLib.report.page import KNEE, LARGEST, html_page

BROWSERS = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")
SHAPE = (20, 24, 18)
GRID = Grid(SHAPE, (1.0, 1.0, 1.5), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))  # right, anterior, superior
MASK = torch.ones(SHAPE, dtype=torch.bool)

PROBE = """
<script>
const wait = setInterval(() => {
  if (document.body.dataset.ready !== "yes") return;
  clearInterval(wait);
  const $ = id => document.getElementById(id), shots = {};
  const set = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("input")); };
  const greys = () => [...document.querySelectorAll("#maps figure")].map(f => ({
    title: f.querySelector("figcaption").textContent,
    planes: [...f.querySelectorAll("canvas")].map(c => {
      const p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      const pixels = [...p].filter((_, i) => i % 4 === 0);
      return {shape: [c.width, c.height], aspect: c.clientWidth / c.clientHeight, pixels};
    })}));
  shots.first = greys();
  set("axial", 4); shots.lower = greys();
  set("difference", "b"); shots.difference = greys();
  set("difference", ""); set("low", -0.2); set("high", 0.2); shots.wide = greys();
  const canvas = document.querySelector("#maps canvas"), place = {offsetX: canvas.clientWidth - 1, offsetY: 0};
  const event = name => {
    const e = new MouseEvent(name);
    for (const k in place) Object.defineProperty(e, k, {value: place[k]});
    return e;
  };
  canvas.dispatchEvent(event("mousemove")); shots.values = $("values").textContent;
  canvas.dispatchEvent(event("click")); shots.clicked = ["axial", "coronal", "sagittal"].map(id => +$(id).value);
  const out = document.createElement("pre");
  out.id = "out"; out.textContent = JSON.stringify(shots); document.body.append(out);
}, 20);
</script>
"""
"""Moves the page's own controls and writes down what its canvases then show."""


def volumes() -> dict[str, Tensor]:
    """One bright where the patient's right, front and head are, one that grows from right to left."""
    x, y, z = torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")  # from the left, back and feet on
    corner = (x >= 9) & (y >= 11) & (z >= 9)  # the middle slices go through it
    return {"a": torch.where(corner, 0.1, -0.05), "b": 0.01 * (9.5 - x.float()) + 0.002 * z}


def made(**changes: Any) -> str:
    panels = [Panel(name, values) for name, values in volumes().items()]
    given: dict[str, Any] = {
        "panels": panels,
        "mask": MASK,
        "grid": GRID,
        "window": (-0.1, 0.1),
        "tables": [("Measures", ["map", "xsim"], [["a", "0.9"], ["b", "0.8"]])],
        "descriptions": [("a", "A sentence & a citation, doi 10.1002/x.")],
        "notes": ["A note of <b>."],
    }
    return html_page(**given | changes)


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install {BROWSERS[0]}")
    return found


def shown(browser: str, path: Path, hash_: str = "") -> str:
    """The page as the browser has it in the end; every name on the network is unknown to it."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={path.parent / 'profile'}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        path.as_uri() + hash_,
    ]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def shots(browser: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(made().replace("</body>", PROBE + "</body>"), encoding="utf-8")
    (text,) = re.findall(r'<pre id="out">(.*?)</pre>', shown(browser, path), re.DOTALL)
    return dict(json.loads(unescape(text)))


def plane(shot: list[dict[str, Any]], which: int, number: int) -> Tensor:
    """The greys of one map's plane (axial, coronal, sagittal): (rows, columns)."""
    one = shot[which]["planes"][number]
    return torch.tensor(one["pixels"], dtype=torch.float32).view(one["shape"][1], one["shape"][0])


def inner(image: Tensor, n_columns: int, n_rows: int) -> Tensor:
    """Without the rim that the frame keeps around the mask."""
    rows, columns = (image.shape[0] - n_rows) // 2, (image.shape[1] - n_columns) // 2
    return image[rows : rows + n_rows, columns : columns + n_columns]


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_page_asks_nobody_for_anything() -> None:
    text = made()
    assert not re.search(r"https?:", text) and not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", text)
    assert "default-src 'none'" in text


def test_names_and_notes_are_text_whatever_they_hold() -> None:
    evil = "</script><script>alert(1)</script>"
    panels, tables = [Panel(evil, volumes()["a"])], [(evil, [evil], [[evil]])]
    text = made(panels=panels, notes=[evil], tables=tables, descriptions=[(evil, evil)])
    assert "<script>alert" not in text and text.count("<script") == made().count("<script")
    assert "<option>$data</option>" in made(panels=[Panel("$data", volumes()["a"]), Panel("b", volumes()["a"])])


# -- in a browser -----------------------------------------------------------------------------------------------------


def test_the_patients_right_is_on_the_left_and_front_and_head_are_above(shots: dict[str, Any]) -> None:
    assert [figure["title"] for figure in shots["first"]] == ["a", "b"]
    for number, (columns, rows) in enumerate([(20, 24), (20, 18), (24, 18)]):
        image = inner(plane(shots["first"], 0, number), columns, rows)
        bright = (image > 250.0).nonzero()
        assert len(bright) == pytest.approx(columns * rows / 4, rel=0.25)
        assert bright[:, 0].max() < rows / 2 + 1 and bright[:, 1].max() < columns / 2 + 1
        one = shots["first"][0]["planes"][number]
        voxel = {0: 1.0, 1: 1.0 / 1.5, 2: 1.0 / 1.5}[number]
        assert one["aspect"] == pytest.approx(one["shape"][0] / one["shape"][1] * voxel, rel=0.05)


def test_a_slider_moves_all_maps_in_that_plane_alone(shots: dict[str, Any]) -> None:
    for which in (0, 1):
        assert not torch.equal(plane(shots["first"], which, 0), plane(shots["lower"], which, 0))
        for number in (1, 2):
            assert torch.equal(plane(shots["first"], which, number), plane(shots["lower"], which, number))


def test_greys_are_the_window_and_the_window_is_shared(shots: dict[str, Any]) -> None:
    b = volumes()["b"].flip(0, 1)  # from the right and front on, as it is drawn
    offset = (shots["lower"][0]["planes"][1]["shape"][1] - 18) // 2
    expected = b[:, :, 4 - offset].T
    for shot, half in (("lower", 0.1), ("wide", 0.2)):
        found = inner(plane(shots[shot], 1, 0), 20, 24)
        grey = (255.0 * (expected + half) / (2.0 * half)).clamp(0.0, 255.0)
        assert float((found - grey).abs().max()) < 1.0 + 255.0 * 0.002 / half


def test_a_difference_is_that_of_the_maps(shots: dict[str, Any]) -> None:
    assert [figure["title"] for figure in shots["difference"]] == ["a \u2212 b", "b"]
    a, b = (inner(plane(shots["lower"], which, 0), 20, 24) for which in (0, 1))
    found = inner(plane(shots["difference"], 0, 0), 20, 24)
    sure = (found > 0.0) & (found < 255.0) & (b > 0.0) & (b < 255.0) & (a < 255.0)
    assert int(sure.sum()) > 100 and float((found - (a - b + 127.5))[sure].abs().max()) < 3.0
    assert torch.equal(plane(shots["difference"], 1, 0), plane(shots["lower"], 1, 0))


def test_a_voxel_is_read_and_a_click_moves_the_other_planes(shots: dict[str, Any]) -> None:
    assert re.fullmatch(r"a -?\d\.\d{3}   b -?\d\.\d{3}", shots["values"])
    across, down = shots["first"][0]["planes"][0]["shape"]
    assert shots["clicked"] == [4, 0, across - 1] and down > 0  # the upper right corner of the axial plane


def test_what_stands_after_the_address_is_shown(browser: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(made(), encoding="utf-8")
    seen = shown(browser, path, "#axial=7&difference=b")
    assert 'data-ready="yes"' in seen and "<figcaption>a \u2212 b</figcaption>" in seen
    assert re.search(r'id="axial"[^>]*><output>7</output>', seen)


def test_values_are_kept_to_a_hundredth_of_the_window() -> None:
    """Of the byte per voxel: the coarsest step within the usual window, from the derivative of sinh."""
    scale = KNEE * torch.asinh(torch.tensor(LARGEST / KNEE)) / 127
    assert float(scale * torch.cosh(torch.asinh(torch.tensor(0.1 / KNEE)))) < 0.2 / 50 < 0.2 / 40
