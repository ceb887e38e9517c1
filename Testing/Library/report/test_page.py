"""The page of maps: complete in one file, and its sliders, window and difference in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.report.figure import Panel
from IR2QSMLib.report.page import KNEE, LARGEST, html_page
from Testing.Library.report.browser import page_after_scripts, probe

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
"""A script that moves the page's controls and writes down what its canvases show then."""


def volumes() -> dict[str, Tensor]:
    """One bright where the patient's right, front and head are, one that grows from right to left."""
    x, y, z = torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")  # from the left, back and feet on
    corner = (x >= 9) & (y >= 11) & (z >= 9)  # the middle slices go through it
    return {"a": torch.where(corner, 0.1, -0.05), "b": 0.01 * (9.5 - x.float()) + 0.002 * z}


def make_page(**changes: Any) -> str:
    panels = [Panel(name, values) for name, values in volumes().items()]
    arguments: dict[str, Any] = {
        "panels": panels,
        "mask": MASK,
        "grid": GRID,
        "window": (-0.1, 0.1),
        "tables": [("Measures", ["map", "xsim"], [["a", "0.9"], ["b", "0.8"]])],
        "descriptions": [("a", "A sentence & a citation, doi 10.1002/x.")],
        "notes": ["A note of <b>."],
    }
    return html_page(**arguments | changes)


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return probe(make_page(), PROBE, tmp_path_factory.mktemp("page") / "page.html")


def plane(shot: list[dict[str, Any]], map_number: int, plane_number: int) -> Tensor:
    """The greys of one map's plane (axial, coronal, sagittal): (rows, columns)."""
    figure_plane = shot[map_number]["planes"][plane_number]
    return torch.tensor(figure_plane["pixels"], dtype=torch.float32).view(
        figure_plane["shape"][1], figure_plane["shape"][0]
    )


def inner(image: Tensor, n_columns: int, n_rows: int) -> Tensor:
    """Without the rim around the mask."""
    rows, columns = (image.shape[0] - n_rows) // 2, (image.shape[1] - n_columns) // 2
    return image[rows : rows + n_rows, columns : columns + n_columns]


# The file.


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = make_page()
    assert not re.search(r"https?:", text) and not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", text)
    assert "default-src 'none'" in text


def test_markup_in_names_and_notes_is_escaped() -> None:
    markup = "</script><script>alert(1)</script>"
    panels, tables = [Panel(markup, volumes()["a"])], [(markup, [markup], [[markup]])]
    text = make_page(panels=panels, notes=[markup], tables=tables, descriptions=[(markup, markup)])
    assert "<script>alert" not in text and text.count("<script") == make_page().count("<script")
    assert "<option>$data</option>" in make_page(panels=[Panel("$data", volumes()["a"]), Panel("b", volumes()["a"])])


# In a browser.


def test_the_patients_right_is_on_the_left_and_front_and_head_are_above(shots: dict[str, Any]) -> None:
    assert [figure["title"] for figure in shots["first"]] == ["a", "b"]
    for plane_number, (columns, rows) in enumerate([(20, 24), (20, 18), (24, 18)]):
        image = inner(plane(shots["first"], 0, plane_number), columns, rows)
        bright = (image > 250.0).nonzero()
        assert len(bright) == pytest.approx(columns * rows / 4, rel=0.25)
        assert bright[:, 0].max() < rows / 2 + 1 and bright[:, 1].max() < columns / 2 + 1
        figure_plane = shots["first"][0]["planes"][plane_number]
        voxel = {0: 1.0, 1: 1.0 / 1.5, 2: 1.0 / 1.5}[plane_number]
        assert figure_plane["aspect"] == pytest.approx(
            figure_plane["shape"][0] / figure_plane["shape"][1] * voxel, rel=0.05
        )


def test_a_slider_moves_one_plane_of_all_maps(shots: dict[str, Any]) -> None:
    for map_number in (0, 1):
        assert not torch.equal(plane(shots["first"], map_number, 0), plane(shots["lower"], map_number, 0))
        for plane_number in (1, 2):
            assert torch.equal(
                plane(shots["first"], map_number, plane_number), plane(shots["lower"], map_number, plane_number)
            )


def test_all_maps_share_one_window(shots: dict[str, Any]) -> None:
    b = volumes()["b"].flip(0, 1)  # from the right and front on, as it is drawn
    offset = (shots["lower"][0]["planes"][1]["shape"][1] - 18) // 2
    expected = b[:, :, 4 - offset].T
    for shot, half in (("lower", 0.1), ("wide", 0.2)):
        shown_grey = inner(plane(shots[shot], 1, 0), 20, 24)
        grey = (255.0 * (expected + half) / (2.0 * half)).clamp(0.0, 255.0)
        assert float((shown_grey - grey).abs().max()) < 1.0 + 255.0 * 0.002 / half


def test_the_difference_of_two_maps_is_shown(shots: dict[str, Any]) -> None:
    assert [figure["title"] for figure in shots["difference"]] == ["a \u2212 b", "b"]
    a, b = (inner(plane(shots["lower"], map_number, 0), 20, 24) for map_number in (0, 1))
    shown_grey = inner(plane(shots["difference"], 0, 0), 20, 24)
    unclipped = (shown_grey > 0.0) & (shown_grey < 255.0) & (b > 0.0) & (b < 255.0) & (a < 255.0)
    assert int(unclipped.sum()) > 100 and float((shown_grey - (a - b + 127.5))[unclipped].abs().max()) < 3.0
    assert torch.equal(plane(shots["difference"], 1, 0), plane(shots["lower"], 1, 0))


def test_values_are_shown_under_the_pointer_and_a_click_moves_the_other_planes(shots: dict[str, Any]) -> None:
    assert re.fullmatch(r"a -?\d\.\d{3}   b -?\d\.\d{3}", shots["values"])
    across, down = shots["first"][0]["planes"][0]["shape"]
    assert shots["clicked"] == [4, 0, across - 1] and down > 0  # the upper right corner of the axial plane


def test_the_address_chooses_slice_and_difference(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(make_page(), encoding="utf-8")
    dom = page_after_scripts(path, "#axial=7&difference=b")
    assert 'data-ready="yes"' in dom and "<figcaption>a \u2212 b</figcaption>" in dom
    assert re.search(r'id="axial"[^>]*><output>7</output>', dom)


def test_values_are_kept_to_a_hundredth_of_the_window() -> None:
    """The coarsest step of a byte within the usual window, from the derivative of sinh."""
    scale = KNEE * torch.asinh(torch.tensor(LARGEST / KNEE)) / 127
    assert float(scale * torch.cosh(torch.asinh(torch.tensor(0.1 / KNEE)))) < 0.2 / 50 < 0.2 / 40
