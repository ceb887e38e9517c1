"""Figures that show the patient as a radiologist expects, in one grey scale."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import PackageMissing
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.report.figure import Panel, draw_figure

SHAPE = (24, 24, 24)
LPS = Grid(SHAPE)
RAS = Grid(SHAPE, direction=(-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0), origin=(23.0, 23.0, 0.0))
MASK = torch.ones(SHAPE, dtype=torch.bool)


def grey_values(
    folder: Path, panels: list[Tensor], mask: Tensor = MASK, grid: Grid = LPS, **options: object
) -> np.ndarray:
    """The figure's grey values, 0 to 1: (rows, columns)."""
    from matplotlib.image import imread

    path = folder / "figure.png"
    draw_figure(path, [Panel(f"panel {i}", values) for i, values in enumerate(panels)], mask, grid, **options)
    return np.asarray(imread(path))[..., :3].mean(-1)


def cells(image: np.ndarray, n_panels: int) -> list[list[np.ndarray]]:
    """The inner part of every panel, by row (axial, coronal, sagittal) and column, for a mask that fills a cube."""
    height, width = image.shape
    top = 0.75 * 110
    tall, wide = (height - top) / 3, (min(0.94, 1.0 - 55.0 / width) - 0.005) * width / (n_panels + 0.06)
    return [
        [
            image[
                round(top + (r + 0.1) * tall) : round(top + (r + 0.9) * tall),
                round(0.005 * width + (c + 0.1) * wide) : round(0.005 * width + (c + 0.9) * wide),
            ]
            for c in range(n_panels)
        ]
        for r in range(3)
    ]


def quarter(patch: np.ndarray, row: str, column: str) -> float:
    """Median grey of a quarter of a panel, around which there is a rim of zeros."""
    n, m = patch.shape[0] // 2, patch.shape[1] // 2
    rows = slice(0, n) if row == "upper" else slice(n, None)
    return float(np.median(patch[rows, slice(0, m) if column == "left" else slice(m, None)]))


def test_a_figure_is_a_png_that_is_not_blank(tmp_path: Path) -> None:
    noise = 0.05 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    image = grey_values(tmp_path, [noise, noise], title="A title")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert all(float(patch.std()) > 0.05 for row in cells(image, 2) for patch in row)


def test_every_panel_has_the_same_window(tmp_path: Path) -> None:
    values = (-0.3, -0.1, -0.05, 0.0, 0.05, 0.1, 0.5)
    image = grey_values(tmp_path, [torch.full(SHAPE, v) for v in values])
    expected = [min(max((v + 0.1) / 0.2, 0.0), 1.0) for v in values]
    for row in cells(image, len(values)):
        assert [float(np.median(patch)) for patch in row] == pytest.approx(expected, abs=0.01)


def test_differences_stand_below_their_maps(tmp_path: Path) -> None:
    levels, path = (0.0, 0.15, 0.3), tmp_path / "figure.png"
    panels = [Panel(str(v), torch.full(SHAPE, v)) for v in levels]
    below = [None, Panel("low", torch.full(SHAPE, 0.075)), Panel("high", torch.full(SHAPE, 0.225))]
    draw_figure(path, panels, MASK, LPS, window=(0.0, 0.3), below=below)
    from matplotlib.image import imread

    image = np.asarray(imread(path))[..., :3].mean(-1)
    upper, lower = image[: image.shape[0] // 2], image[image.shape[0] // 2 :]
    columns = [round((0.12 + 0.29 * i) * image.shape[1]) for i in range(3)]
    assert [float(np.median(upper[100:, c])) for c in columns] == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    assert [float(np.median(lower[60:, c])) for c in columns] == pytest.approx([0.0, 0.25, 0.75], abs=0.01)


def test_a_grey_bar_stands_beside_the_panels(tmp_path: Path) -> None:
    image = grey_values(tmp_path, [torch.zeros(SHAPE)])
    right = image[int(0.3 * image.shape[0]) : int(0.9 * image.shape[0]), int(0.8 * image.shape[1]) :]
    ramps = [c for c in right.T if (np.diff(c) <= 1e-3).mean() > 0.95 and c[0] - c[-1] > 0.5]
    assert len(ramps) > 3  # bright above, dark below


@pytest.mark.parametrize("grid", [LPS, RAS], ids=["LPS", "RAS"])
def test_the_patients_right_is_on_the_left_and_the_head_is_upright(tmp_path: Path, grid: Grid) -> None:
    index = torch.stack(torch.meshgrid(*(torch.arange(24),) * 3, indexing="ij"))
    if grid is RAS:
        index[:2] = 23 - index[:2]
    x, y, z = index  # from the patient's right, front and feet on, whatever the array's order
    bright = {
        "right front": (x < 12) & (y < 12),
        "right head": (x < 12) & (z >= 12),
        "front head": (y < 12) & (z >= 12),
    }
    image = grey_values(
        tmp_path, [torch.where(where, 0.1, -0.1) for where in bright.values()], grid=grid, at=(11, 11, 11)
    )
    axial, coronal, sagittal = (cells(image, 3)[row][row] for row in range(3))
    for patch in (axial, coronal, sagittal):
        assert quarter(patch, "upper", "left") > 0.9
        assert max(quarter(patch, *q) for q in (("upper", "right"), ("lower", "left"), ("lower", "right"))) < 0.1


def test_the_order_of_the_array_does_not_change_the_picture(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    chi, mask = 0.1 * torch.randn(20, 24, 16, generator=generator), torch.zeros(20, 24, 16, dtype=torch.bool)
    mask[3:15, 4:22, 2:13] = True
    lps = Grid((20, 24, 16), (1.0, 1.0, 1.5))
    expected = grey_values(tmp_path, [chi], mask, lps)
    ras = Grid(lps.shape, lps.voxel_size, RAS.direction, (19.0, 23.0, 0.0))
    assert np.array_equal(grey_values(tmp_path, [chi.flip(0, 1)], mask.flip(0, 1), ras), expected)
    reoriented = lps.reoriented((2, 0, 1), (False, True, False))
    assert np.array_equal(
        grey_values(tmp_path, [chi.permute(2, 0, 1).flip(1)], mask.permute(2, 0, 1).flip(1), reoriented), expected
    )


def test_the_direction_of_b0_does_not_change_the_planes(tmp_path: Path) -> None:
    chi = 0.1 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    assert np.array_equal(grey_values(tmp_path, [chi], grid=LPS.with_b0((1.0, 0.0, 0.0))), grey_values(tmp_path, [chi]))


def test_the_planes_go_through_the_requested_voxel(tmp_path: Path) -> None:
    chi = torch.zeros(SHAPE)
    chi[:, :, 5] = 0.1
    through, elsewhere = (cells(grey_values(tmp_path, [chi], at=at), 1)[0][0] for at in ((12, 12, 5), (12, 12, 6)))
    assert float(np.median(through)) > 0.99 and float(np.median(elsewhere)) == pytest.approx(0.5, abs=0.01)
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[2:22, 2:22, 4:7] = True  # the bright plane is in the middle
    image = grey_values(tmp_path, [chi], mask)
    assert float((image > 0.97).mean()) > 0.2


def test_outside_the_mask_the_picture_is_zero(tmp_path: Path) -> None:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[:, :, 12:] = True
    mask[:2, :2, 0] = True
    coronal = cells(grey_values(tmp_path, [torch.full(SHAPE, 0.1)], mask, at=(12, 12, 12)), 1)[1][0]
    assert quarter(coronal, "upper", "left") > 0.9
    assert quarter(coronal, "lower", "right") == pytest.approx(0.5, abs=0.05)


def test_thick_slices_keep_their_proportions(tmp_path: Path) -> None:
    flat = grey_values(tmp_path, [torch.zeros(SHAPE)])
    tall = grey_values(tmp_path, [torch.zeros(SHAPE)], grid=Grid(SHAPE, (1.0, 1.0, 3.0)))
    inches = [(image.shape[0] / 110 - 0.9) for image in (flat, tall)]
    assert math.isclose(inches[1] / inches[0], 7 / 3, rel_tol=0.15)  # two of three planes are three times as tall


def test_a_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PackageMissing, match=r"Figures need matplotlib; install it with: pip install 'ir2qsm\[demo\]'"):
        draw_figure(tmp_path / "figure.png", [Panel("", torch.zeros(SHAPE))], MASK, LPS)
    assert not (tmp_path / "figure.png").exists()
