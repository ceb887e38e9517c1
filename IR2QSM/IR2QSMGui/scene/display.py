"""How maps are shown: window, colours and legend."""

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Colours
from IR2QSMGui.run.worker import library_folder

DIVERGING = "IR2QSM diverging"
TITLE = "χ [ppm]"
INTERMEDIATES = {
    "totalfield": (-0.5, 0.5),
    "localfield": (-0.1, 0.1),
    "mask": (0.0, 1.0),
    "residual": (0.0, 0.3),
    "quality": (0.0, 1.0),
}
"""Windows of what is on the way to a map: fields [ppm], and the fit's residual and the phase's quality, 0 to 1."""
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)
"""From label to label of a legend [ppm]: a scale whose numbers were rounded would mislead."""


def show_map(node, window, colours, legend):
    """Set a map's window [ppm], colours and legend."""
    display = node.GetDisplayNode()
    low, high = window
    if colours is Colours.DIVERGING:  # zero in the middle, whatever the window
        high = max(abs(low), abs(high))
        low = -high
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, high)
        display.SetAndObserveColorNodeID(_colour_node(colours).GetID())
        display.SetInterpolate(True)
    show_legend(node, legend)


def show_uncertainty(node, window):
    """Set an uncertainty map's window: from zero to half the map's own upper end."""
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0.0, 0.5 * window[1])
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    show_legend(node, True, _("± [ppm]"))


def show_intermediate(node, kind):
    """Set the window of a volume that was on the way to a map."""
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*INTERMEDIATES[kind])
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    if kind.endswith("field"):
        show_legend(node, True, _("Field [ppm]"))


def show_legend(node, visible, title=TITLE):
    """Show or hide a map's colour legend."""
    display = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if display is None:
        if not visible:
            return
        display = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    with slicer.util.NodeModify(display):
        display.SetTitleText(title)
        display.SetLabelFormat("%.2f")
        display.SetNumberOfLabels(_n_labels(node.GetDisplayNode()))
        display.SetMaxNumberOfColors(256)
        display.SetVisibility(visible)


def _n_labels(display):
    """As many as stand at multiples of one of `STEPS`, at most seven."""
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    for step in STEPS:
        first, last = low / step, high / step
        if last - first < 6.5 and abs(first - round(first)) + abs(last - round(last)) < 1e-3:
            return 1 + round(last) - round(first)
    return 5


def _colour_node(colours):
    if colours is Colours.GREY:
        return slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeGrey")
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
