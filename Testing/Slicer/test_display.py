"""What a legend says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer


@pytest.mark.parametrize(
    ("window", "labels"),
    [
        ("NARROW", (-0.1, -0.05, 0.0, 0.05, 0.1)),
        ("UP", (-0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2)),
        ("WIDE", (-0.2, -0.1, 0.0, 0.1, 0.2)),
    ],
)
def test_the_numbers_of_a_legend_are_not_rounded(
    module_widget: Callable[..., Any], window: str, labels: tuple[float, ...]
) -> None:
    module_widget()
    from IR2QSMGui.parameters import Colours, Window
    from IR2QSMGui.scene import display

    def shown(node: Any) -> np.ndarray:
        its, n = node.GetDisplayNode(), slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node).GetNumberOfLabels()
        return np.linspace(its.GetWindowLevelMin(), its.GetWindowLevelMax(), n)

    values = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    chi, sigma = (slicer.util.addVolumeFromArray(values, name=name) for name in ("chi", "sigma"))
    display.show_map(chi, Window[window].value, Colours.GREY, True)
    assert shown(chi) == pytest.approx(labels)
    display.show_uncertainty(sigma, Window[window].value)
    at = shown(sigma)
    assert at == pytest.approx(np.round(at, 2)) and len(at) >= 3
    for kind in ("totalfield", "localfield"):
        display.show_intermediate(sigma, kind)
        assert shown(sigma) == pytest.approx(np.round(shown(sigma), 2)) and 0.0 in shown(sigma).round(9)


@pytest.mark.parametrize(("low", "high"), [(-0.05, 0.05), (-0.1, 0.15), (0.0, 0.05), (-0.033, 0.071), (-1.0, 3.0)])
def test_the_numbers_of_a_legend_follow_a_window_that_is_set_elsewhere(
    panel: Any, sample: Any, low: float, high: float
) -> None:
    from IR2QSMGui.parameters import Colours
    from IR2QSMGui.scene import display, nodes

    volume = nodes.read_volume(panel.resourcePath("SampleData/chi.nrrd"), sample[0])
    chi = nodes.add_map(volume, sample[0], {}, kind=nodes.CHI, name="chi")
    display.show_map(chi, (-0.1, 0.1), Colours.GREY, True)
    panel.exit()
    chi.GetDisplayNode().SetWindowLevelMinMax(low, high)
    legend = display.legend_of(chi)
    numbers = np.linspace(low, high, legend.GetNumberOfLabels())
    written = [float(legend.GetLabelFormat() % number) for number in numbers]
    assert written == pytest.approx(numbers, abs=0.002 * (high - low)) and 2 <= len(numbers) <= 7
