"""The two qMRML widgets that a module's panel may use, on a real scene."""

from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QSizePolicy, QVBoxLayout, QWidget
from qt import WIDGETS
from vtk import VTK_OBJECT, calldata_type

STATE = {"nodeTypes": [], "showChildNodeTypes": True, "baseName": "", "noneEnabled": False, "addEnabled": True}
STATE["noneDisplay"], ADD = "None", "add"


def _release(tags):
    while tags:
        tags[-1][0].RemoveObserver(tags.pop()[1])


class qMRMLWidget(QWidget):
    mrmlSceneChanged = Signal(object)

    def setMRMLScene(self, scene):
        self.mrmlSceneChanged.emit(scene)  # to whom the .ui file connects it, and to no other


class qMRMLNodeComboBox(QWidget):
    currentNodeChanged = Signal(bool)  # in C++ there is one more of this name, with the node: rely on neither

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._tags, self._node_tags, self._state = None, [], [], dict(STATE)
        self._shown, self._n_nodes, self._box = ("", ""), 0, QComboBox(self)
        QVBoxLayout(self).addWidget(self._box)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self._box.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Fixed)
        self.setFocusProxy(self._box)
        self._box.currentIndexChanged.connect(self._announce)
        self.destroyed.connect(lambda *_, tags=(self._tags, self._node_tags): [_release(t) for t in tags])
        self.setEnabled(False)

    def setMRMLScene(self, scene):
        _release(self._tags)
        self._scene = scene
        for event in ("NodeAddedEvent", "NodeRemovedEvent", "EndImportEvent", "EndCloseEvent") if scene else ():
            self._tags.append((scene, scene.AddObserver(getattr(scene, event), self._fill)))
        if scene:
            self._tags.append((scene, scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._remove)))
        self.setEnabled(scene is not None)
        self._fill()

    def _set(self, name, value):
        self._state[name] = list(value) if isinstance(value, (list, tuple)) else value
        self._box.setCurrentIndex(self._box.currentIndex() or int(name == "noneDisplay" and self._n_nodes > 0))
        self._fill()

    for _name, _default in STATE.items():
        vars()[f"set{_name[0].upper()}{_name[1:]}"] = lambda self, value, n=_name: self._set(n, value)
        _kind = "QStringList" if isinstance(_default, list) else type(_default)
        vars()[_name] = Property(_kind, lambda self, n=_name: self._state[n], lambda self, v, n=_name: self._set(n, v))

    def _fits(self, node):
        kinds = [kind for kind in self._state["nodeTypes"] if node.IsA(kind)]
        exact = self._state["showChildNodeTypes"] or node.GetClassName() in kinds
        return bool(kinds) and exact and not node.GetHideFromEditors()

    @calldata_type(VTK_OBJECT)
    def _remove(self, scene, _event, node):
        if not scene.IsClosing():
            self._fill(removed=node)

    def _fill(self, *_, removed=None):
        """List the nodes anew and keep the chosen one, or take the one that moved into its row, as Slicer does."""
        scene, state, kept, had_nodes = self._scene, self._state, self._id(), self._n_nodes
        if scene is not None and (scene.IsImporting() or scene.IsClosing()):
            return
        nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene is not None else []
        nodes = [node for node in nodes if self._fits(node) and node is not removed]
        rows = [(state["noneDisplay"], "")] * state["noneEnabled"] + [(n.GetName() or "", n.GetID()) for n in nodes]
        ids, self._n_nodes = [identifier for _, identifier in rows], len(nodes)
        if state["addEnabled"] and state["nodeTypes"] and scene is not None:
            rows.append((f"Create new {scene.GetTagByClassName(state['nodeTypes'][0])}", ADD))
        row = min(self._box.currentIndex() if had_nodes else 0, len(ids) - 1)
        self._box.blockSignals(True)
        self._box.clear()
        for text, data in rows:
            self._box.addItem(text, data)
        self._box.setCurrentIndex(ids.index(kept) if kept in ids else row)
        self._box.blockSignals(False)
        _release(self._node_tags)
        self._node_tags += [(node, node.AddObserver("ModifiedEvent", self._renamed)) for node in nodes]
        self._announce()

    def _renamed(self, node, _event):
        if not self._fits(node) or self._box.itemText(self._box.findData(node.GetID())) != node.GetName():
            self._fill()

    def _announce(self, *_):
        if self._box.currentData() == ADD:
            self.setCurrentNodeID(self._shown[0])
            self.addNode()
        elif self._shown != (shown := (self._id(), self._box.currentText())):
            self._shown = shown
            self.currentNodeChanged.emit(bool(shown[0]))

    def _id(self):
        return "" if self._box.currentData() in (None, ADD) else self._box.currentData()

    def currentNode(self):
        return self._scene.GetNodeByID(self._id()) if self._id() else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier):
        row = self._box.findData(identifier) if identifier else -1
        self._box.setCurrentIndex(row if row >= 0 else 0 if self._state["noneEnabled"] else -1)

    currentNodeID = Property(str, _id, setCurrentNodeID)

    def addNode(self):
        kind = self._state["nodeTypes"][0]
        base = self._state["baseName"] or self._scene.GetTagByClassName(kind)
        self.setCurrentNode(self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(base)))
        return self.currentNode()


WIDGETS.update(qMRMLWidget=qMRMLWidget, qMRMLNodeComboBox=qMRMLNodeComboBox)
