"""How maps are shown: window, colours and legend."""

from __future__ import annotations

import math

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from IR2QSMGui.library import library_folder
from IR2QSMGui.parameters import Colours
from IR2QSMGui.scene import nodes

DIVERGING = "IR2QSM diverging"
GREY_ID = "vtkMRMLColorTableNodeGrey"
INTERMEDIATE_WINDOWS = {
    "totalfield": (-0.5, 0.5),
    "localfield": (-0.1, 0.1),
    "mask": (0.0, 1.0),
    "residual": (0.0, 0.3),
    "quality": (0.0, 1.0),
}
"""Windows of the intermediates: fields [ppm]; residual of the fit and quality of the phase, 0 to 1."""
LEGEND_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)
"""Steps between the numbers of a legend [ppm]."""
MOST_DECIMALS = 5


def map_title() -> str:
    """The title of a map's legend, in letters that VTK draws: it has no χ."""
    return _("Susceptibility [ppm]")


def show_map(node: slicer.vtkMRMLScalarVolumeNode, window: tuple[float, float], colours: Colours, legend: bool) -> None:
    """Set a map's window [ppm], colours and legend; zero is in the middle of diverging colours."""
    low, high = window
    if colours is Colours.DIVERGING:
        high = max(abs(low), abs(high))
        low = -high
    _set_window(node, low, high, _colour_node(colours).GetID())
    node.GetDisplayNode().SetInterpolate(True)
    show_legend(node, legend, map_title())


def show_uncertainty(node: slicer.vtkMRMLScalarVolumeNode, window: tuple[float, float]) -> None:
    """Set an uncertainty's window: from zero to half the upper end of the map's window [ppm]."""
    _set_window(node, 0.0, 0.5 * window[1], GREY_ID)
    show_legend(node, True, _("± [ppm]"))


def show_intermediate(node: slicer.vtkMRMLScalarVolumeNode, kind: str) -> None:
    """Set the window of an intermediate; `kind` is the library's name for it."""
    _set_window(node, *INTERMEDIATE_WINDOWS[kind], GREY_ID)
    if kind.endswith("field"):
        show_legend(node, True, _("Field [ppm]"))


def legend_of(node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLColorLegendDisplayNode | None:
    """A volume's colour legend."""
    return slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)


def show_legend(node: slicer.vtkMRMLScalarVolumeNode, visible: bool, title: str) -> None:
    """Show or hide a volume's colour legend."""
    legend = legend_of(node)
    if legend is None:
        if not visible:
            return
        legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    with slicer.util.NodeModify(legend):
        legend.SetSaveWithScene(node.GetSaveWithScene())
        legend.SetTitleText(title)
        legend.SetMaxNumberOfColors(256)
        legend.SetVisibility(visible)
        _set_legend_numbers(legend, node.GetDisplayNode())


def redraw_legends() -> None:
    """Have every legend drawn where it belongs: a view does not notice by itself that it shows another volume."""
    for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        legend.Modified()


def legend_numbers(low: float, high: float) -> tuple[int, int]:
    """How many numbers a legend has, and with how many decimals, so that none of them is rounded.

    Parameters
    ----------
    low, high
        Ends of the window.

    Returns
    -------
    n_numbers
        At most seven, at multiples of one of `LEGEND_STEPS` where the window allows it; else five.
    n_decimals
        At least 2, at most `MOST_DECIMALS`.
    """
    n_numbers = 5
    for step in LEGEND_STEPS:
        first, last = low / step, high / step
        if last - first < 6.5 and abs(first - round(first)) + abs(last - round(last)) < 1e-3:
            n_numbers = 1 + round(last) - round(first)
            break
    n_numbers = max(2, n_numbers)
    numbers = [low + (high - low) * i / (n_numbers - 1) for i in range(n_numbers)]
    tolerance = 1e-3 * (high - low)
    for n_decimals in range(2, MOST_DECIMALS):
        if all(math.isclose(x, round(x, n_decimals), abs_tol=tolerance) for x in numbers):
            return n_numbers, n_decimals
    return n_numbers, MOST_DECIMALS


class LegendUpdater(VTKObservationMixin):
    """Keeps the numbers of legends right when windows are changed by the mouse or another module."""

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)

    def follow_scene(self) -> None:
        """Follow the windows of all scalar volumes of the scene."""
        self.removeObservers()
        for display in slicer.util.getNodesByClass("vtkMRMLScalarVolumeDisplayNode"):
            self.addObserver(display, vtk.vtkCommand.ModifiedEvent, self._window_changed)

    def _window_changed(self, display: slicer.vtkMRMLScalarVolumeDisplayNode, _event: str) -> None:
        node = display.GetDisplayableNode()
        legend = legend_of(node) if node is not None and nodes.was_made_here(node) else None
        if legend is not None:
            _set_legend_numbers(legend, display)


def _set_legend_numbers(
    legend: slicer.vtkMRMLColorLegendDisplayNode, display: slicer.vtkMRMLScalarVolumeDisplayNode
) -> None:
    n_numbers, n_decimals = legend_numbers(display.GetWindowLevelMin(), display.GetWindowLevelMax())
    with slicer.util.NodeModify(legend):
        legend.SetNumberOfLabels(n_numbers)
        legend.SetLabelFormat(f"%.{n_decimals}f")


def _set_window(node: slicer.vtkMRMLScalarVolumeNode, low: float, high: float, colours_id: str) -> None:
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, high)
        display.SetAndObserveColorNodeID(colours_id)


def _colour_node(colours: Colours) -> slicer.vtkMRMLColorNode:
    if colours is Colours.GREY:
        return slicer.mrmlScene.GetNodeByID(GREY_ID)
    node = slicer.mrmlScene.GetFirstNodeByName(DIVERGING)
    if node is None:
        path = library_folder() / "Resources" / "Colors" / "IR2QSM-Diverging.ctbl"
        node = slicer.modules.colors.logic().LoadColorFile(str(path), DIVERGING, None, True)
        storage = node.GetStorageNode()  # saved with the scene, not as a link to this installation
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)
        node.SetHideFromEditors(False)
        node.SetAttribute("Category", _("Susceptibility"))
    return node
