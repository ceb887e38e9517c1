"""`slicer.app`, `slicer.modules` and the slice views, on Slicer's own logics."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import qt
import vtk
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QApplication, QMainWindow, QVBoxLayout, QWidget

import slicer
from ctk import absent

LOGICS = {
    "colors": "vtkSlicerColorLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
}


class SliceView:
    """What `sliceWidget(name)` and its parts answer: one slice logic."""

    def __init__(self, node):
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetSliceNode(node)
        slicer.app.applicationLogic().GetSliceLogics().AddItem(self._logic)
        self._corners, self._window, self._interactor = (
            vtk.vtkCornerAnnotation(), vtk.vtkRenderWindow(), vtk.vtkGenericRenderWindowInteractor()
        )  # fmt: skip
        renderer, image = vtk.vtkRenderer(), vtk.vtkActor2D()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(renderer)
        self._interactor.SetRenderWindow(self._window)
        self._mapper = vtk.vtkImageMapper()
        image.SetMapper(self._mapper)
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        renderer.AddViewProp(image)
        renderer.AddViewProp(self._corners)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        if not factory.IsDisplayableManagerRegistered("vtkMRMLColorLegendDisplayableManager"):
            factory.RegisterDisplayableManager("vtkMRMLColorLegendDisplayableManager")
        self._managers = factory.InstantiateDisplayableManagers(renderer)
        self._managers.SetMRMLDisplayableNode(node)

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceView(self):
        return self

    sliceController = sliceView

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()

    def cornerAnnotation(self):
        return self._corners

    def renderWindow(self):
        return self._window

    def forceRender(self):
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        self._window.SetSize(*self.mrmlSliceNode().GetDimensions()[:2])
        self._window.Render()

    def scheduleRender(self):
        """Nothing is on a screen; a test renders when it wants a picture."""

    def close(self):
        self._managers.SetMRMLDisplayableNode(None)
        self._logic.SetMRMLScene(None)


class LayoutManager:
    """The views that the layout node asks for: Slicer's layout logic makes their nodes, this their logics."""

    def __init__(self):
        self._logic, self._views = slicer.vtkMRMLLayoutLogic(), {}
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self.threeDViewCount = self.tableViewCount = self.plotViewCount = 0

    def layoutLogic(self):
        return self._logic

    @property
    def layout(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, arrangement):
        self._logic.GetLayoutNode().SetViewArrangement(arrangement)

    def _update(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
        for gone in set(self._views) - {node.GetLayoutName() for node in nodes}:
            self._views.pop(gone).close()
        for node in nodes:
            if node.GetLayoutName() not in self._views:
                self._views[node.GetLayoutName()] = SliceView(node)
        return self._views

    def sliceViewNames(self):
        return tuple(self._update())

    def sliceWidget(self, name):
        return self._update().get(name)

    def mrmlSliceLogics(self):
        self._update()
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self):
        for view in self._update().values():
            view.fitSliceToBackground()

    def close(self):
        for view in self._views.values():
            view.close()
        self._logic.SetMRMLScene(None)


class IOManager:
    """Reads and writes volumes and scenes, as `slicer.util.loadVolume`, `saveNode`, `loadScene`, `saveScene` ask."""

    def fileType(self, name):
        return "SceneFile" if str(name).endswith((".mrb", ".mrml")) else "VolumeFile"

    def fileWriterFileType(self, node):
        return "VolumeFile" if node.IsA("vtkMRMLVolumeNode") else "NodeFile"

    def loadNodes(self, kind, properties, loaded, messages):
        name = properties["fileName"]
        if kind == "SceneFile":
            if properties.get("clear"):
                slicer.mrmlScene.Clear(False)
            if name.endswith(".mrb"):
                return slicer.mrmlScene.ReadFromMRB(name, False, messages)
            slicer.mrmlScene.SetURL(name)
            return bool(slicer.mrmlScene.Import(messages))
        if kind != "VolumeFile":
            raise NotImplementedError(f"no stand-in reads a {kind}")
        options = 1 * bool(properties.get("labelmap")) + 4 * bool(properties.get("singleFile"))
        title = properties.get("name") or Path(name).name.partition(".")[0]
        node = slicer.modules.volumes.logic().AddArchetypeVolume(name, title, options)
        if node is not None:
            loaded.AddItem(node)
            if properties.get("show", True) and not properties.get("labelmap"):
                slicer.util.setSliceViewerLayers(background=node, fit=True)
        return node is not None

    def saveNodes(self, kind, properties, messages):
        name = str(properties["fileName"])
        if kind == "SceneFile":
            slicer.mrmlScene.SetURL(name)
            scene = slicer.mrmlScene
            return scene.WriteToMRB(name, None, messages) if name.endswith(".mrb") else bool(scene.Commit(name, messages))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        storage = node.GetStorageNode() or (node.AddDefaultStorageNode(), node.GetStorageNode())[1]
        storage.SetFileName(name)
        return bool(storage.WriteData(node))


class ModuleManager:
    """The modules that were loaded, and the one signal that their widgets connect to."""

    def __init__(self):
        self._slots = []

    def connect(self, signal, slot):
        assert signal == "moduleAboutToBeUnloaded(QString)"
        self._slots.append(slot)

    def disconnect(self, _signal, slot):
        self._slots.remove(slot)

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def unload(self, name):
        for slot in list(self._slots):
            slot(name)


class Application(QApplication):
    """`slicer.app`, which its own code and a module see as in PythonQt."""

    startupCompleted = Signal()
    temporaryPath = tempfile.mkdtemp(prefix="slicer-")
    slicerHome = str(Path(sys.executable).parent)
    revision, majorVersion, minorVersion = "00000", 5, 12

    def __init__(self):
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setApplicationVersion("5.12.0")
        self.setOrganizationName("IR2QSM-test")
        Path(self.temporaryPath, ".slicer-cache").touch()
        atexit.register(shutil.rmtree, self.temporaryPath, ignore_errors=True)
        self._io, self._modules = IOManager(), ModuleManager()
        self._window = QMainWindow()
        self._window.setObjectName("qSlicerMainWindow")

    def reset(self, scene):
        """Begin with a scene: every logic anew."""
        slicer.mrmlScene = scene
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetHomeDirectory(self.temporaryPath)
        self._logic.SetShareDirectory(self.temporaryPath)
        self._logic.SetMRMLScene(scene)
        self._remote, self._data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
        self._remote.SetMRMLScene(scene)
        self._logic.SetMRMLSceneDataIO(scene, self._remote, self._data)
        scene.GetCacheManager().SetRemoteCacheDirectory(self.temporaryPath)
        self._logic.SetSliceLogics(vtk.vtkCollection())
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(self._logic)
            logic.SetMRMLScene(scene)
            setattr(slicer.modules, name, SimpleNamespace(name=name, logic=lambda logic=logic: logic))
        self._logic.SetColorLogic(slicer.modules.colors.logic())
        self._logic.SetModuleLogic("Colors", slicer.modules.colors.logic())
        self._layout = LayoutManager()

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout

    def coreIOManager(self):
        return self._io

    def moduleManager(self):
        return self._modules

    def testingEnabled(self):
        return False

    def commandOptions(self):
        return SimpleNamespace(testingEnabled=False, noMainWindow=False)

    def userSettings(self):
        return qt.QSettings()

    settings = userSettings

    def moduleDocumentationUrl(self, name):
        return f"https://slicer.readthedocs.io/en/5.12/user_guide/modules/{name.lower()}.html"


class qSlicerScriptedLoadableModuleWidget(QWidget):
    """The widget that Slicer makes for a scripted module, and that its Python class gets as parent."""

    def __init__(self, name):
        super().__init__()
        QVBoxLayout(self)
        self._name = name
        self.reload()

    def self(self):
        return getattr(slicer.modules, f"{self._name}Widget")

    def reload(self):
        name = f"{self._name}Widget"
        widget = getattr(sys.modules[self._name], name)(self)
        setattr(slicer.modules, name, widget)
        widget.setup()


for _class in (qSlicerScriptedLoadableModuleWidget,):
    setattr(slicer, _class.__name__, _class)
for _name in ("qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLRangeWidget", "qSlicerScriptedLoadableModule"):
    setattr(slicer, _name, absent(_name))
