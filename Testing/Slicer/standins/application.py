"""`slicer.app`, `slicer.modules` and the slice views, on Slicer's own logics."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import ctk
import qmrml
import slicer
import vtk
from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtWidgets import QApplication, QMainWindow

LOGICS = {"colors": "ColorLogic", "volumes": "VolumesLogic", "segmentations": "SegmentationsModuleLogic"}
VIEW = [lambda widget: None]  # makes what `sliceView()` answers: `slice_pictures.py` has a view that can be drawn


class SliceWidget:
    def __init__(self, node):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        logic.SetMRMLScene(slicer.mrmlScene)
        logic.SetSliceNode(node)
        slicer.app.applicationLogic().GetSliceLogics().AddItem(logic)
        self.sliceLogic, self.mrmlSliceNode, self.node = lambda: logic, logic.GetSliceNode, node
        self.mrmlSliceCompositeNode, view = logic.GetSliceCompositeNode, VIEW[0](self)
        self.sliceView, self._volume, self._name, self._tag = lambda: view, None, "", 0
        logic.GetSliceCompositeNode().AddObserver("ModifiedEvent", self._watch)

    def _watch(self, composite, _event):
        volume = composite.GetScene() and composite.GetScene().GetNodeByID(composite.GetBackgroundVolumeID() or "")
        if volume is not self._volume:
            if self._volume is not None:
                self._volume.RemoveObserver(self._tag)
            self._volume, self._name = volume, volume and volume.GetName()
            self._tag = volume.AddObserver("ModifiedEvent", self._renamed) if volume else 0

    def _renamed(self, volume, _event):
        """Slicer's controller chooses its volume anew when that is renamed, and linked views follow."""
        if volume.GetName() != self._name:
            self._name, logic = volume.GetName(), self.sliceLogic()
            logic.StartSliceCompositeNodeInteraction(slicer.vtkMRMLSliceCompositeNode.BackgroundVolumeFlag)
            self.mrmlSliceCompositeNode().Modified()
            logic.EndSliceCompositeNodeInteraction()


class LayoutManager:
    def __init__(self):
        self._widgets, logic, above = {}, slicer.vtkMRMLLayoutLogic(), slicer.app.applicationLogic()
        logic.SetMRMLApplicationLogic(above)
        logic.SetMRMLScene(slicer.mrmlScene)
        self.layoutLogic, self.mrmlSliceLogics = lambda: logic, above.GetSliceLogics
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def setLayout(self, arrangement):
        self.layoutLogic().GetLayoutNode().SetViewArrangement(arrangement)
        self.sliceViewNames()

    def sliceViewNames(self):
        nodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
        kept = {name: widget for name, widget in self._widgets.items() if widget.node is nodes.get(name)}
        self._widgets = {name: kept.get(name) or SliceWidget(node) for name, node in nodes.items()}
        return tuple(self._widgets)

    def sliceWidget(self, name):
        return self._widgets[name] if name in self.sliceViewNames() else None


class qSlicerSubjectHierarchyPluginHandler:
    plugins, item = [], 0

    instance = classmethod(lambda cls: cls)
    registerPlugin = classmethod(lambda cls, one: bool(one.property("name") and not cls.plugins.append(one)))
    currentItem = classmethod(lambda cls: cls.item)


class qSlicerSubjectHierarchyScriptedPlugin(QObject):
    def setPythonSource(self, path):
        spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.python = getattr(module, spec.name)(self)
        return True


COLOURS = "# Color table file\n0 background 0 0 0 0\n1 tissue 128 174 128 255\n2 bone 241 214 145 255\n"


class Application(QApplication):
    startupCompleted = Signal()

    def __init__(self, folder):
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setApplicationVersion("5.12.0")
        self.temporaryPath, self.slicerUserSettingsFilePath = str(folder), str(folder / "Slicer.ini")
        (folder / "ColorFiles").mkdir()
        (folder / "ColorFiles" / "GenericColors.txt").write_text(COLOURS)  # of loaded labelmaps
        self.slots, self._window, self._home = [], QMainWindow(), str(folder)
        self._window.setObjectName("qSlicerMainWindow")
        add, remove = lambda signal, slot: self.slots.append(slot), lambda signal, slot: self.slots.remove(slot)
        self.userSettings = QSettings
        self.moduleManager, self.testingEnabled = lambda: SimpleNamespace(connect=add, disconnect=remove), lambda: False

    def reset(self, scene):
        slicer.mrmlScene, logic = scene, slicer.vtkSlicerApplicationLogic()
        qSlicerSubjectHierarchyPluginHandler.plugins.clear()
        logic.SetHomeDirectory(self._home)
        logic.SetShareDirectory(".")
        logic.SetMRMLScene(scene)
        logic.SetSliceLogics(vtk.vtkCollection())
        self.applicationLogic, link = lambda: logic, slicer.vtkMRMLSliceLinkLogic()
        link.SetMRMLApplicationLogic(logic)
        link.SetMRMLScene(scene)
        for name, class_name in LOGICS.items():
            own = getattr(slicer, f"vtkSlicer{class_name}")()
            own.SetMRMLApplicationLogic(logic)
            own.SetMRMLScene(scene)
            setattr(slicer.modules, name, SimpleNamespace(logic=lambda own=own: own))
        logic.SetColorLogic(slicer.modules.colors.logic())
        logic.SetModuleLogic("Colors", slicer.modules.colors.logic())
        self.layoutManager = lambda layout=LayoutManager(), _kept=link: layout  # noqa: B008


slicer.qMRMLWidget, slicer.qMRMLNodeComboBox = qmrml.qMRMLWidget, qmrml.qMRMLNodeComboBox
slicer.qMRMLSliderWidget, slicer.qMRMLSpinBox, slicer.qMRMLRangeWidget = (ctk.qMRMLSliderWidget,) * 3
slicer.qSlicerSubjectHierarchyPluginHandler = qSlicerSubjectHierarchyPluginHandler
slicer.qSlicerSubjectHierarchyScriptedPlugin = qSlicerSubjectHierarchyScriptedPlugin
