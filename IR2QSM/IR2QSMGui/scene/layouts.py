"""Volumes side by side: a layout of the module's own, its views linked, each volume's name in a corner of its view."""

import qt
import slicer
import vtk

from IR2QSMGui.scene import display

LAYOUT = 5900
"""Layout of one view; that of n views follows at LAYOUT + n − 1, and the same above a table and a plot at + PLOTS."""
PLOTS = 20
SHAPES = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2), 6: (2, 3), 8: (2, 4), 10: (2, 5)}
"""Rows and columns of n views: full, so that all views are equally large and show the same part."""
MOST = max(SHAPES)
GROUP = 59
"""View group: Slicer's own views neither move with ours nor ours with them."""
TABLE, PLOT = "IR2QSMTable", "IR2QSMPlot"
LABEL = "IR2QSM name"


def register():
    """Make the layouts known, also for scenes that were saved in one of them."""
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    for n in SHAPES:
        for number, text in ((LAYOUT + n - 1, _grid(n)), (LAYOUT + PLOTS + n - 1, _with_plot(_grid(n)))):
            if not layout.IsLayoutDescription(number):
                layout.AddLayoutDescription(number, text)


def shown():
    """How many views of the module's layouts are shown, with or without table and plot: 0 in any other layout."""
    arrangement = slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()
    n = (arrangement - LAYOUT) % PLOTS + 1
    return n if LAYOUT <= arrangement < LAYOUT + 2 * PLOTS and n in SHAPES else 0


def with_plot():
    """Whether the layout has a table and a plot."""
    arrangement = slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()
    return shown() > 0 and arrangement >= LAYOUT + PLOTS


def side_by_side(nodes, plots=False):
    """Show volumes beside each other, one view each: slice, zoom and place are linked, and kept where they were."""
    manager = slicer.app.layoutManager()
    register()
    kept = shown() > 0 and _same_place(_view(0), nodes[0])
    n = min(n for n in SHAPES if n >= len(nodes))
    manager.setLayout(LAYOUT + n - 1 + (PLOTS if plots else 0))
    views = [_view(i) for i in range(n)]
    for i, (view, node) in enumerate(zip(views, [*nodes, *[None] * (n - len(nodes))], strict=True)):
        composite = view.mrmlSliceCompositeNode()
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        composite.SetBackgroundVolumeID(None if node is None else node.GetID())
        composite.SetForegroundVolumeID(None)
        composite.SetLabelVolumeID(None)
        _write_name(i)
    if kept:
        _align(views)
    else:
        _fit(views)
        qt.QTimer.singleShot(0, lambda: _fit(views))  # once more when the views have their size
    for node in nodes:
        _show_legend_again(node)
    for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        legend.Modified()  # a view leaves the legend of what it showed before where it is, until it changes


def _view(i):
    return slicer.app.layoutManager().sliceWidget(f"IR2QSM{i + 1}")


def _same_place(view, node):
    """Whether a view shows a volume that takes up the same space as this one."""
    before = view and slicer.mrmlScene.GetNodeByID(view.mrmlSliceCompositeNode().GetBackgroundVolumeID() or "")
    if not before:
        return False
    a, b = [0.0] * 6, [0.0] * 6
    before.GetRASBounds(a)
    node.GetRASBounds(b)
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) < 1e-3


def _fit(views):
    for view in views:
        if slicer.mrmlScene.GetNodeByID(view.mrmlSliceCompositeNode().GetBackgroundVolumeID() or ""):
            view.mrmlSliceNode().SetOrientation("Axial")
            view.sliceLogic().FitSliceToBackground()
    _align(views)


def _align(views):
    """Bring all views to what the first one shows."""
    first = views[0].mrmlSliceNode()
    for view in views[1:]:
        node = view.mrmlSliceNode()
        with slicer.util.NodeModify(node):
            node.GetSliceToRAS().DeepCopy(first.GetSliceToRAS())
            node.SetXYZOrigin(*first.GetXYZOrigin())
            wide, high = node.GetDimensions()[:2]
            fov = first.GetFieldOfView()
            node.SetFieldOfView(fov[1] * wide / high, fov[1], fov[2])
            node.UpdateMatrices()


def _write_name(i):
    """Write a volume's name into the upper left corner of its view; Slicer's own annotations are in other corners."""
    view = _view(i)
    if view is None:  # gone with its scene
        return
    composite = view.mrmlSliceCompositeNode()
    node = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
    renderer = view.sliceView().renderWindow().GetRenderers().GetFirstRenderer()
    props = renderer.GetViewProps()
    actor = next(
        (p for p in (props.GetItemAsObject(i) for i in range(props.GetNumberOfItems())) if p.GetObjectName() == LABEL),
        None,
    )
    if actor is None:
        actor = _label()
        renderer.AddViewProp(actor)
        composite.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _write_name(i))  # another volume in it
    text = "" if node is None else node.GetName()
    if actor.GetInput() != text:
        actor.SetInput(text)
        view.sliceView().scheduleRender()


def _label():
    actor = vtk.vtkTextActor()
    actor.SetObjectName(LABEL)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.SetPosition(0.02, 0.98)
    style = actor.GetTextProperty()
    style.SetFontSize(15)
    style.SetJustificationToLeft()
    style.SetVerticalJustificationToTop()
    style.SetShadow(True)
    slicer.app.applicationLogic().UseCustomFontFile(style)
    return actor


def _show_legend_again(node):
    """A view shows only legends that are younger than itself."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        slicer.mrmlScene.RemoveNode(legend)
        display.show_legend(node, bool(legend.GetVisibility()), legend.GetTitleText())


def _grid(n):
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


def _with_plot(grid):
    table, plot = (
        f'<item><view class="{kind}" singletontag="{tag}"><property name="viewlabel" action="default">{label}'
        "</property></view></item>"
        for kind, tag, label in (("vtkMRMLTableViewNode", TABLE, "T"), ("vtkMRMLPlotViewNode", PLOT, "P"))
    )
    below = f'<item splitSize="300"><layout type="horizontal">{table}{plot}</layout></item>'
    return f'<layout type="vertical" split="true"><item splitSize="500">{grid}</item>{below}</layout>'
