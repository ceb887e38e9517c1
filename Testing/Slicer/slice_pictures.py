"""Pictures of slice views, drawn off screen by Slicer's own slice logic and displayable managers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

LEGEND = "vtkMRMLColorLegendDisplayableManager"


class SliceView:
    """What `sliceWidget(name).sliceView()` answers: an off-screen window with the colour legend's own manager."""

    def __init__(self, widget: Any) -> None:
        self._widget, self._corners, self._mapper = widget, vtk.vtkCornerAnnotation(), vtk.vtkImageMapper()
        self._window, self._interactor = vtk.vtkRenderWindow(), vtk.vtkGenericRenderWindowInteractor()
        renderer, image = vtk.vtkRenderer(), vtk.vtkActor2D()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(renderer)
        self._interactor.SetRenderWindow(self._window)
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image.SetMapper(self._mapper)
        renderer.AddViewProp(image)
        renderer.AddViewProp(self._corners)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        if not factory.IsDisplayableManagerRegistered(LEGEND):
            factory.RegisterDisplayableManager(LEGEND)
        # From the beginning, as in Slicer: the manager learns of legends when they are added.
        self._managers = factory.InstantiateDisplayableManagers(renderer)
        self._managers.SetMRMLDisplayableNode(widget.node)

    def cornerAnnotation(self) -> Any:  # noqa: N802 - Slicer's name
        return self._corners

    def renderWindow(self) -> Any:  # noqa: N802
        return self._window

    def scheduleRender(self) -> None:  # noqa: N802
        """Nothing is on a screen; a test renders when it wants a picture."""

    def forceRender(self) -> None:  # noqa: N802
        """Draw the view at the size of its slice node."""
        self._mapper.SetInputConnection(self._widget.sliceLogic().GetImageDataConnection())
        self._window.SetSize(*self._widget.mrmlSliceNode().GetDimensions()[:2])
        self._window.Render()


def view_image(view: Any) -> np.ndarray:
    """A slice view as (rows, columns, RGB), top row first: window, colours, legend and corners as its nodes say."""
    view.sliceView().forceRender()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(view.sliceView().renderWindow())
    grabber.ReadFrontBufferOff()
    grabber.Update()
    width, height, _ = grabber.GetOutput().GetDimensions()
    return vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Write (rows, columns, RGB), top row first."""
    data, (height, width, _) = vtk.vtkImageData(), pixels.shape
    data.SetDimensions(width, height, 1)
    data.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(pixels[::-1]).reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    writer.Write()
    return path


def render(
    nodes: list[Any], path: Path, *, views: list[str] | None = None, columns: int = 0, size: int = 320, gap: int = 4
) -> Path:
    """Draw views side by side into a PNG file: those named, as they are, or one axial view a volume."""
    manager = slicer.app.layoutManager()
    if views is None:
        items = "".join(
            f'<item><view class="vtkMRMLSliceNode" singletontag="Picture{i}">'
            '<property name="orientation" action="default">Axial</property></view></item>'
            for i in range(len(nodes))
        )
        layout = manager.layoutLogic().GetLayoutNode()
        layout.AddLayoutDescription(900 + len(nodes), f'<layout type="horizontal">{items}</layout>')
        manager.setLayout(900 + len(nodes))
        views = [f"Picture{i}" for i in range(len(nodes))]
    for i, name in enumerate(views):
        view = manager.sliceWidget(name)
        view.mrmlSliceNode().SetDimensions(size, size, 1)
        if i < len(nodes):
            view.mrmlSliceCompositeNode().SetBackgroundVolumeID(nodes[i].GetID())
            view.sliceLogic().FitSliceToBackground()
            if not name.startswith("IR2QSM"):  # there the module writes the names
                view.sliceView().cornerAnnotation().SetText(vtk.vtkCornerAnnotation.UpperLeft, nodes[i].GetName())
        view.mrmlSliceNode().UpdateMatrices()
    tiles = [view_image(manager.sliceWidget(name)) for name in views]
    tiles = [np.pad(tile, ((0, gap), (0, gap), (0, 0)), constant_values=255) for tile in tiles]
    columns = columns or len(tiles)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)  # an unfinished last row
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return write_png(path, np.concatenate(rows)[:-gap, :-gap])
