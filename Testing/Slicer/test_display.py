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
