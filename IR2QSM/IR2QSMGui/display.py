"""How maps are shown: window, colours, legend, and several volumes side by side in linked views."""

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Colours
from IR2QSMGui.runner import library_folder

DIVERGING = "IR2QSM diverging"
LAYOUT = 5900
"""Layout of one view; that of n views follows at LAYOUT + n − 1."""
N_VIEWS = 3
TITLE = "χ [ppm]"


def show_map(node, window, colours, legend):
    """Set a map's window [ppm], colours and legend."""
    display = node.GetDisplayNode()
    low, high = window
    if colours is Colours.DIVERGING:        # zero in the middle, whatever the window
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
        display.SetNumberOfLabels(5)
        display.SetMaxNumberOfColors(256)
        display.SetVisibility(visible)


def _colour_node(colours):
    if colours is Colours.GREY:
        return slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeGrey")
    node = slicer.mrmlScene.GetFirstNodeByName(DIVERGING)
    if node is None:
        path = library_folder() / "Resources" / "Colors" / "IR2QSM-Diverging.ctbl"
        node = slicer.modules.colors.logic().LoadColorFile(str(path), DIVERGING)
        storage = node.GetStorageNode()         # saved with the scene, not as a link to this installation
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)
        node.SetTypeToUser()
        node.SetHideFromEditors(False)
        node.SetAttribute("Category", _("Susceptibility"))
    return node


def register_layouts():
    """Make the layouts known, also for scenes that were saved in one of them."""
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    for n in range(1, N_VIEWS + 1):
        if not layout.IsLayoutDescription(LAYOUT + n - 1):
            layout.AddLayoutDescription(LAYOUT + n - 1, _layout(n))


def compared():
    """Whether one of the side-by-side layouts is shown."""
    shown = slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()
    return LAYOUT <= shown < LAYOUT + N_VIEWS


def side_by_side(nodes):
    """Show volumes beside each other: one view each, slice, zoom and place linked."""
    manager = slicer.app.layoutManager()
    register_layouts()
    manager.setLayout(LAYOUT + len(nodes) - 1)
    for name, node in zip(_names(len(nodes)), nodes, strict=True):
        widget = manager.sliceWidget(name)
        composite = widget.mrmlSliceCompositeNode()
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        composite.SetBackgroundVolumeID(node.GetID())
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
    for name, node in zip(_names(len(nodes)), nodes, strict=True):
        view = manager.sliceWidget(name)
        view.mrmlSliceNode().SetOrientation("Axial")
        view.sliceLogic().FitSliceToBackground()
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        if legend is not None:      # a view shows only legends that are younger than itself
            slicer.mrmlScene.RemoveNode(legend)
            show_legend(node, bool(legend.GetVisibility()), legend.GetTitleText())


def _names(n):
    return [f"IR2QSM{i + 1}" for i in range(n)]


def _layout(n):
    views = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{i + 1}</property>'
        '<property name="viewcolor" action="default">#8C8C8C</property></view></item>'
        for i, name in enumerate(_names(n))
    )
    return f'<layout type="horizontal">{views}</layout>'
