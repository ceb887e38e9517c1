"""*Open in comparison* in the context menu of a map in Slicer's Data tree; `data_tree.register` has Slicer load it."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from SubjectHierarchyPlugins import AbstractScriptedSubjectHierarchyPlugin


class IR2QSMSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):
    """Offers to show a χ map that was made here beside others.

    Parameters
    ----------
    plugin
        Slicer's side of it, a qSlicerSubjectHierarchyScriptedPlugin.
    """

    filePath = __file__
    """As Slicer's plugins have it."""

    def __init__(self, plugin: Any) -> None:
        plugin.setProperty("name", "IR2QSM")  # before it is registered: Slicer takes one plugin of each name
        super().__init__(plugin)
        self._compare = qt.QAction(_("Open in comparison"), plugin)
        self._compare.setObjectName("IR2QSMCompareAction")
        self._compare.triggered.connect(self._open)

    def itemContextMenuActions(self) -> list[qt.QAction]:
        """All entries, for any item."""
        return [self._compare]

    def showContextMenuActionsForItem(self, item: int) -> None:
        """Show the entry for maps that were made here."""
        self._compare.setVisible(_map_of(item) is not None)

    def _open(self, *_args: Any) -> None:
        volume = _map_of(slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem())
        if volume is not None:
            slicer.util.selectModule("IR2QSM")
            slicer.modules.ir2qsm.widgetRepresentation().self().open_in_comparison(volume)


def _map_of(item: int) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The χ map of an item of the Data tree; None for other items."""
    from IR2QSMGui.scene import nodes

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    node = hierarchy.GetItemDataNode(item) if hierarchy is not None and item else None
    return node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") and nodes.is_map(node) else None
