"""Maps to compare: which there are, their differences to one of them, and one window for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin
from vtk.util import numpy_support

from IR2QSMGui.parameters import Colours, InputProblem
from IR2QSMGui.scene import display, layouts, masks, nodes

DIFFERENCE = "IR2QSM.difference"
"""Reference of a difference to the two maps that it is of."""


def volumes_to_show(
    maps: Sequence[slicer.vtkMRMLScalarVolumeNode], difference_to: slicer.vtkMRMLScalarVolumeNode | None = None
) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The maps, or one of them and the differences of the others to it; older differences are removed.

    Raises
    ------
    InputProblem
        For fewer than 2 or more maps than there are views, and for differences of maps on different grids.
    """
    if not 2 <= len(maps) <= layouts.MAX_VIEWS:
        raise InputProblem(
            _("Maps that are chosen: {n}; choose 2 to {most}.").format(n=len(maps), most=layouts.MAX_VIEWS)
        )
    base_name = "" if difference_to is None else difference_to.GetName()
    others = [] if difference_to is None else [node for node in maps if node is not difference_to]
    for node in others:
        if not masks.same_grid(node, difference_to):
            raise InputProblem(
                _("'{name}' lies on another grid than '{base}'; no difference can be shown.").format(
                    name=node.GetName(), base=base_name
                )
            )
    if len(others) >= layouts.MAX_VIEWS:
        raise InputProblem(
            _("Maps that are chosen beside {base}: {n}; choose {most} at most.").format(
                base=base_name, n=len(others), most=layouts.MAX_VIEWS - 1
            )
        )
    remove_differences()
    if difference_to is None:
        return list(maps)
    return [difference_to, *(_add_difference(node, difference_to) for node in others)]


def differences() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The differences that are in the scene."""
    return [node for node in nodes.scalar_volumes() if node.GetNodeReferenceID(DIFFERENCE) is not None]


def remove_differences() -> None:
    """Remove the differences with their legends and displays from the scene."""
    for node in differences():
        volume_display, legend = node.GetDisplayNode(), display.legend_of(node)
        # A legend is filed under its volume, so it goes first; a display last, or views would make another one.
        for one in (legend, node, volume_display):
            if one is not None and one.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(one)


def comparable_volumes() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The volumes that can be compared: χ maps first, then others; no labelmaps, nor hidden volumes."""
    shown = [n for n in nodes.scalar_volumes() if n.GetImageData() is not None and not n.GetHideFromEditors()]
    return sorted(shown, key=lambda node: not nodes.is_map(node))


def _add_difference(
    node: slicer.vtkMRMLScalarVolumeNode, base: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """A map minus another [ppm], as a volume that is not saved and in no list."""
    values = slicer.util.arrayFromVolume(node).astype(np.float32) - slicer.util.arrayFromVolume(base)
    image = vtk.vtkImageData()
    image.SetDimensions(node.GetImageData().GetDimensions())
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.ravel(), deep=True))
    difference = slicer.vtkMRMLScalarVolumeNode()
    difference.SetName(" − ".join(nodes.names_apart([node.GetName(), base.GetName()])))
    difference.SetHideFromEditors(True)
    difference.SetSaveWithScene(False)
    difference.SetAttribute(nodes.KIND, "difference")
    difference = slicer.mrmlScene.AddNode(difference)
    difference.CopyOrientation(node)
    difference.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    difference.SetAndObserveImageData(image)
    difference.CreateDefaultDisplayNodes()
    difference.GetDisplayNode().SetSaveWithScene(False)
    difference.AddNodeReferenceID(DIFFERENCE, node.GetID())
    difference.AddNodeReferenceID(DIFFERENCE, base.GetID())
    base_display = base.GetDisplayNode()
    half = (base_display.GetWindowLevelMax() - base_display.GetWindowLevelMin()) / 2
    display.show_map(difference, (-half, half), Colours.GREY, False)
    legend = display.legend_of(base)
    display.show_legend(difference, legend is not None and bool(legend.GetVisibility()), _("Difference [ppm]"))
    return difference


class SharedWindow(VTKObservationMixin):
    """Keeps the windows of volumes equal: a window that is set for one is set for all."""

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)
        self._volumes: list = []
        self._updating = False

    def share(self, volumes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        """Give these volumes, and no others, one window: at first that of the first one."""
        self.removeObservers(self._window_changed)
        self._volumes = [node for node in volumes if node.GetDisplayNode() is not None]
        for node in self._volumes:
            self.addObserver(node.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent, self._window_changed)
        if self._volumes:
            self._window_changed(self._volumes[0].GetDisplayNode())

    def _window_changed(self, changed: slicer.vtkMRMLScalarVolumeDisplayNode, _event: str = "") -> None:
        if self._updating:
            return
        self._updating = True
        low, high = changed.GetWindowLevelMin(), changed.GetWindowLevelMax()
        for node in self._volumes:
            other = node.GetDisplayNode()
            if other is not None and (other.GetWindowLevelMin(), other.GetWindowLevelMax()) != (low, high):
                with slicer.util.NodeModify(other):
                    other.SetAutoWindowLevel(False)
                    other.SetWindowLevelMinMax(low, high)
        self._updating = False
