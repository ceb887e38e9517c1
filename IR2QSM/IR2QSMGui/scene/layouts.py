"""Volumes side by side: layouts of the module's own, with linked views and each volume's name in a corner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
import vtk

from IR2QSMGui.scene import display
from IR2QSMGui.scene.nodes import NodeWatcher

LAYOUT = 5900
"""Layout of one view; that of n views is LAYOUT + n − 1, and the same above a table and a plot + PLOT_OFFSET."""
PLOT_OFFSET = 20
SHAPES = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2), 6: (2, 3), 8: (2, 4), 10: (2, 5)}
"""Rows and columns of n views: full, so that all views are equally large and show the same part."""
MAX_VIEWS = max(SHAPES)
GROUP = 59
"""View group: Slicer's own views neither move with ours nor ours with them."""
TABLE, PLOT = "IR2QSMTable", "IR2QSMPlot"
NAME_ACTOR = "IR2QSM name"
VOLUME = "IR2QSM.volume"
"""Reference of a view's composite node to the volume that was laid out in it."""


def register() -> None:
    """Make the layouts known, also for scenes that were saved in one of them."""
    layout = _layout_node()
    for n in SHAPES:
        for number, text in ((LAYOUT + n - 1, _grid(n)), (LAYOUT + PLOT_OFFSET + n - 1, _above_plot(_grid(n)))):
            if not layout.IsLayoutDescription(number):
                layout.AddLayoutDescription(number, text)


def n_views() -> int:
    """How many views of the module's layouts are shown, with or without table and plot: 0 in any other layout."""
    arrangement = _layout_node().GetViewArrangement()
    n = (arrangement - LAYOUT) % PLOT_OFFSET + 1
    return n if LAYOUT <= arrangement < LAYOUT + 2 * PLOT_OFFSET and n in SHAPES else 0


def show_in_slice_views(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a volume alone in the slice views of Slicer's layout: a labelmap or a foreground would hide it."""
    slicer.util.setSliceViewerLayers(background=node, foreground=None, label=None, fit=True)
    display.redraw_legends()


def side_by_side(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode], with_plot: bool = False) -> bool:
    """Show volumes beside each other, one view each; slice, zoom and place are linked.

    Parameters
    ----------
    nodes
        1 to `MAX_VIEWS` volumes.
    with_plot
        Whether a table and a plot are shown below.

    Returns
    -------
    bool
        Whether the views were fitted to the volumes: `fit_views` is to be called once more when the views have their
        size. Views that showed the same place before keep slice and zoom.
    """
    register()
    kept = n_views() > 0 and _shows_place_of(_view(0), nodes[0])
    n = min(n for n in SHAPES if n >= len(nodes))
    slicer.app.layoutManager().setLayout(LAYOUT + n - 1 + (PLOT_OFFSET if with_plot else 0))
    for i, node in enumerate([*nodes, *[None] * (n - len(nodes))]):
        composite = _view(i).mrmlSliceCompositeNode()
        composite.SetNodeReferenceID(VOLUME, None if node is None else node.GetID())
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        composite.SetBackgroundVolumeID(None if node is None else node.GetID())
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
        _write_name(i)
    _renames.watch(list(nodes))
    if kept:
        _align()
    else:
        fit_views()
    for node in nodes:
        _renew_legend(node)
    display.redraw_legends()
    return not kept


def fit_views() -> None:
    """Fit the first view to its volume, and bring all others to the same place."""
    for view in _views():
        if _background(view) is not None:
            view.mrmlSliceNode().SetOrientation("Axial")
            view.sliceLogic().FitSliceToBackground()
    _align()


def volumes_shown() -> list[slicer.vtkMRMLVolumeNode | None]:
    """The volumes in the views of the module's layouts, None for an empty view; no views in any other layout."""
    return [_background(view) for view in _views()]


def write_names() -> None:
    """Write the volumes' names into the views, also of a scene that was loaded."""
    _renames.watch([node for node in volumes_shown() if node is not None])
    for i in range(n_views()):
        _write_name(i)


def _layout_node() -> slicer.vtkMRMLLayoutNode:
    return slicer.app.layoutManager().layoutLogic().GetLayoutNode()


def _view(i: int) -> Any:
    """The i-th view of the module's layouts; None while there is none."""
    return slicer.app.layoutManager().sliceWidget(f"IR2QSM{i + 1}")


def _views() -> list:
    """The views that are shown; none in a layout that is not the module's."""
    return [view for view in map(_view, range(n_views())) if view is not None]


def _background(view: Any) -> slicer.vtkMRMLVolumeNode | None:
    return slicer.mrmlScene.GetNodeByID(view.mrmlSliceCompositeNode().GetBackgroundVolumeID() or "")


def _shows_place_of(view: Any, node: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a view shows a volume that takes up the same space as this one."""
    before = view and _background(view)
    if not before:
        return False
    a, b = [0.0] * 6, [0.0] * 6
    before.GetRASBounds(a)
    node.GetRASBounds(b)
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) < 1e-3


def _align() -> None:
    """Bring all views to what the first one shows."""
    slice_nodes = [view.mrmlSliceNode() for view in _views()]
    for node in slice_nodes[1:]:
        first = slice_nodes[0]
        with slicer.util.NodeModify(node):
            node.GetSliceToRAS().DeepCopy(first.GetSliceToRAS())
            node.SetXYZOrigin(*first.GetXYZOrigin())
            width, height = node.GetDimensions()[:2]
            fov = first.GetFieldOfView()
            node.SetFieldOfView(fov[1] * width / height, fov[1], fov[2])
            node.UpdateMatrices()


def _view_changed(i: int) -> None:
    """Put a view's volume back when Slicer's link gave it that of another view, and write the name of what it shows.

    Slicer copies the volume of one linked view to all others, also when that volume was only renamed. A volume that is
    in none of the views was chosen by a person and stays.
    """
    view = _view(i)
    if view is None:  # gone with its scene
        return
    composite = view.mrmlSliceCompositeNode()
    laid_out = composite.GetNodeReference(VOLUME)
    others = [other.mrmlSliceCompositeNode() for other in _views() if other is not view]
    of_others = [other.GetNodeReferenceID(VOLUME) for other in others]
    if laid_out is not None and composite.GetBackgroundVolumeID() in filter(None, of_others):
        composite.SetBackgroundVolumeID(laid_out.GetID())
    _write_name(i)


def _volume_modified(*_args: Any) -> None:
    for i in range(n_views()):
        _write_name(i)


_renames = NodeWatcher(_volume_modified)
"""Watches the volumes that were laid out, as their names are in the views."""


def _write_name(i: int) -> None:
    """Write a volume's name into the upper left corner of its view; Slicer's own annotations are in other corners."""
    view = _view(i)
    if view is None:
        return
    renderer = view.sliceView().renderWindow().GetRenderers().GetFirstRenderer()
    props = renderer.GetViewProps()
    actors = [props.GetItemAsObject(n) for n in range(props.GetNumberOfItems())]
    actor = next((a for a in actors if a.GetObjectName() == NAME_ACTOR), None)
    if actor is None:
        actor = _name_actor()
        renderer.AddViewProp(actor)
        view.mrmlSliceCompositeNode().AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _view_changed(i))
    node = _background(view)
    text = "" if node is None else node.GetName()
    if actor.GetInput() != text:
        actor.SetInput(text)
        view.sliceView().scheduleRender()


def _name_actor() -> vtk.vtkTextActor:
    actor = vtk.vtkTextActor()
    actor.SetObjectName(NAME_ACTOR)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.SetPosition(0.02, 0.98)
    style = actor.GetTextProperty()
    style.SetFontSize(15)
    style.SetJustificationToLeft()
    style.SetVerticalJustificationToTop()
    style.SetShadow(True)
    slicer.app.applicationLogic().UseCustomFontFile(style)
    return actor


def _renew_legend(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Replace a volume's legend by an equal one: a view shows only legends that are younger than itself."""
    legend = display.legend_of(node)
    if legend is not None:
        visible, title = bool(legend.GetVisibility()), legend.GetTitleText()
        slicer.mrmlScene.RemoveNode(legend)
        display.show_legend(node, visible, title)


def _grid(n: int) -> str:
    rows, columns = SHAPES[n]
    views = [
        f'<item><view class="vtkMRMLSliceNode" singletontag="IR2QSM{i + 1}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{i + 1}</property>'
        f'<property name="viewgroup" action="default">{GROUP}</property>'
        '<property name="viewcolor" action="default">#8C8C8C</property></view></item>'
        for i in range(n)
    ]
    lines = ["".join(views[row * columns : (row + 1) * columns]) for row in range(rows)]
    if rows == 1:
        return f'<layout type="horizontal">{lines[0]}</layout>'
    inside = "".join(f'<item><layout type="horizontal">{line}</layout></item>' for line in lines)
    return f'<layout type="vertical">{inside}</layout>'


def _above_plot(grid: str) -> str:
    table, plot = (
        f'<item><view class="{kind}" singletontag="{tag}"><property name="viewlabel" action="default">{label}'
        "</property></view></item>"
        for kind, tag, label in (("vtkMRMLTableViewNode", TABLE, "T"), ("vtkMRMLPlotViewNode", PLOT, "P"))
    )
    below = f'<item splitSize="300"><layout type="horizontal">{table}{plot}</layout></item>'
    return f'<layout type="vertical" split="true"><item splitSize="500">{grid}</item>{below}</layout>'
