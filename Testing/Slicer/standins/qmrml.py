"""The two qMRML widgets that a module's panel may use, on a real scene."""

import vtk
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QInputDialog, QVBoxLayout, QWidget
from qt import WIDGETS

import slicer

ACTIONS = ("add", "rename")
STATE = {
    "nodeTypes": [], "hideChildNodeTypes": [], "showChildNodeTypes": True, "showHidden": False, "baseName": "",
    "noneEnabled": False, "noneDisplay": "None", "addEnabled": True, "removeEnabled": True, "editEnabled": False,
    "renameEnabled": False, "selectNodeUponCreation": True,
}  # fmt: skip
"""Properties of a node selector and what they are unless set."""


def _release(tags, watched):
    for observed, tag in [*tags, *watched.items()]:
        observed.RemoveObserver(tag)
    tags.clear()
    watched.clear()


class qMRMLWidget(QWidget):
    """The top widget of a .ui file: passes the scene on through the connections that the file lists, and only those."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QWidget):
    """Chooses one of the scene's nodes; disabled until it is given a scene."""

    # In C++ there are two signals of this name, one with the node and one with whether there is any: count on neither.
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._tags, self._watched = None, [], {}
        self._wanted, self._shown, self._n_nodes = "", ("", ""), 0
        self._state = dict(STATE)
        self._box, column = QComboBox(self), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._box)
        self._box.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.setFocusProxy(self._box)
        self._box.activated.connect(self._activate)
        self._box.currentIndexChanged.connect(self._announce)
        self.destroyed.connect(lambda *_, tags=self._tags, watched=self._watched: _release(tags, watched))
        self.setEnabled(False)

    # The scene.

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        _release(self._tags, self._watched)
        self._scene = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndCloseEvent):
                self._tags.append((scene, scene.AddObserver(event, self._on_scene)))
        self.setEnabled(scene is not None)
        self._fill()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_scene(self, scene, event, node=None):
        if not scene.IsImporting() and not scene.IsClosing():
            self._fill()
            if event == "NodeAddedEvent" and self._fits(node):
                self.nodeAdded.emit(node)

    def _fits(self, node):
        state = self._state
        if node is None or node.GetHideFromEditors() and not state["showHidden"]:
            return False
        if any(node.IsA(kind) for kind in state["hideChildNodeTypes"]):
            return False
        return any(
            node.IsA(kind) if state["showChildNodeTypes"] else node.GetClassName() == kind for kind in state["nodeTypes"]
        )

    def _nodes(self):
        scene = self._scene
        every = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene is not None else []
        return [node for node in every if self._fits(node)]

    def _fill(self, *_):
        """List the nodes anew, keep the chosen one, or take the one that moved into its row, as Slicer does."""
        nodes, kept, row = self._nodes(), self._wanted or self._id(), self._box.currentIndex()
        had_nodes, self._n_nodes = self._n_nodes > 0, len(nodes)
        rows = [(self._state["noneDisplay"], "")] if self._state["noneEnabled"] else []
        rows += [(node.GetName() or "", node.GetID()) for node in nodes]
        ids = [identifier for _, identifier in rows]
        label = self._label()
        more = [(f"Create new {label}", "add")] if self._state["addEnabled"] and self._state["nodeTypes"] else []
        more += [(f"Rename current {label}", "rename")] if self._state["renameEnabled"] else []
        self._box.blockSignals(True)
        self._box.clear()
        for text, data in rows + more:
            self._box.addItem(text, data)
        if kept in ids:
            row = ids.index(kept)
        elif had_nodes:
            row = min(row, len(ids) - 1)
        else:
            row = 0 if ids else -1
        self._box.setCurrentIndex(row)
        self._box.blockSignals(False)
        _release([], self._watched)
        self._watched.update({node: node.AddObserver("ModifiedEvent", self._on_node) for node in nodes})
        self._announce()

    def _on_node(self, node, _event):
        row = self._box.findData(node.GetID())
        if row < 0 or not self._fits(node):
            self._fill()
        elif self._box.itemText(row) != node.GetName():
            self._box.setItemText(row, node.GetName())
            self._announce()

    def _announce(self, *_):
        shown = (self._id(), self._box.currentText())
        if shown != self._shown and self._box.currentData() not in ACTIONS:
            self._shown = shown
            self.currentNodeChanged.emit(bool(shown[0]))
            self.currentNodeIDChanged.emit(shown[0])

    def _set(self, name, value):
        self._state[name] = list(value) if isinstance(value, (list, tuple)) else value
        self._fill()

    for _name, _default in STATE.items():
        vars()[f"set{_name[0].upper()}{_name[1:]}"] = lambda self, value, n=_name: self._set(n, value)
        vars()[_name] = Property(
            "QStringList" if isinstance(_default, list) else type(_default),
            lambda self, n=_name: self._state[n],
            vars()[f"set{_name[0].upper()}{_name[1:]}"],
        )

    # The choice.

    def _id(self):
        data = self._box.currentData()
        return "" if data is None or data in ACTIONS else data

    def currentNode(self):
        return self._scene.GetNodeByID(self._id()) if self._scene is not None and self._id() else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier):
        self._wanted = (identifier or "") if self._scene is None else ""
        row = self._box.findData(identifier) if identifier else -1
        self._box.setCurrentIndex(row if row >= 0 else 0 if self._state["noneEnabled"] else -1)

    currentNodeID = Property(str, _id, setCurrentNodeID)

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        return self._nodes()[index]

    def addNode(self, node_type=None):
        """Put a new node of that type into the scene, named after `baseName`, and choose it."""
        kinds = self._state["nodeTypes"]
        if not kinds or node_type is not None and node_type not in kinds:
            return None
        base = self._state["baseName"] or self._label()
        node = self._scene.AddNewNodeByClass(node_type or kinds[0], self._scene.GenerateUniqueName(base))
        if self._state["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _label(self):
        kinds = self._state["nodeTypes"]
        return self._scene.GetTagByClassName(kinds[0]) if kinds and self._scene is not None else "Node"

    def _activate(self, row):
        action = self._box.itemData(row)
        if action not in ACTIONS:
            self.nodeActivated.emit(self.currentNode())
            return
        self._box.setCurrentIndex(max(0, self._box.findData(self._shown[0])))
        node = self.currentNode()
        if action == "add":
            self.addNode()
        elif node is not None:
            name, accepted = QInputDialog.getText(self, f"Rename {self._label()}", "New name:", text=node.GetName())
            if accepted and name:
                node.SetName(name)

    def addAttribute(self, node_type, name, value=None):
        raise NotImplementedError("no stand-in for qMRMLNodeComboBox.addAttribute; write one before a module uses it")


WIDGETS.update(qMRMLWidget=qMRMLWidget, qMRMLNodeComboBox=qMRMLNodeComboBox)
slicer.qMRMLWidget, slicer.qMRMLNodeComboBox = qMRMLWidget, qMRMLNodeComboBox
