"""Puts what Slicer's application adds to `slicer-core` in place: call `install()` before anything imports `slicer`.

What is here the tests use, not the module: the loader of modules, and files for `slicer.util.loadVolume` and its kin.
"""

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

STANDINS = Path(__file__).resolve().parent / "standins"


def install():
    """Make `slicer`, `qt` and `ctk` importable, with Slicer's own Python code where SLICER_SOURCE has it."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    if str(STANDINS) not in sys.path:
        sys.path.insert(0, str(STANDINS))
    import slicer

    if hasattr(slicer, "app"):
        return slicer.app
    source = os.environ.get("SLICER_SOURCE")
    slicer.__path__.append(str(Path(source, "Base", "Python", "slicer") if source else STANDINS / "slicer_base"))
    slicer.modules = SimpleNamespace()
    folder = Path(tempfile.mkdtemp(prefix="slicer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / ".slicer-cache").touch()
    slicer.app = importlib.import_module("application").Application(folder)
    qt = importlib.import_module("qt")
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, str(folder))
    slicer.app.coreIOManager = IOManager
    slicer.app.reset(slicer.vtkMRMLScene())
    return slicer.app


def module_representation(name):
    """The widget that Slicer makes for a scripted module, with the module's Python widget inside."""
    import slicer
    from PySide6.QtWidgets import QVBoxLayout, QWidget

    class qSlicerScriptedLoadableModuleWidget(QWidget):
        def self(self):
            return getattr(slicer.modules, f"{name}Widget")

        def reload(self):
            setattr(slicer.modules, f"{name}Widget", getattr(sys.modules[name], f"{name}Widget")(self))
            self.self().setup()

    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    representation = qSlicerScriptedLoadableModuleWidget()
    QVBoxLayout(representation)
    representation.reload()
    return representation


class IOManager:
    """Reads and writes volumes and scenes, as `slicer.util.loadVolume`, `saveNode`, `loadScene`, `saveScene` ask."""

    def fileType(self, name):
        return "SceneFile" if str(name).endswith((".mrb", ".mrml")) else "VolumeFile"

    def fileWriterFileType(self, node):
        return "NodeFile"

    def loadNodes(self, kind, properties, loaded, messages):
        import slicer

        name = str(properties["fileName"])
        if kind == "SceneFile":
            if name.endswith(".mrb"):
                self._cache()
                return slicer.mrmlScene.ReadFromMRB(name, False, messages)
            slicer.mrmlScene.SetURL(name)
            return bool(slicer.mrmlScene.Import(messages))
        assert kind == "VolumeFile", f"the harness reads no {kind}"
        title = properties.get("name") or Path(name).name.partition(".")[0]
        options = int(bool(properties.get("labelmap"))) + 4 * bool(properties.get("singleFile"))
        node = slicer.modules.volumes.logic().AddArchetypeVolume(name, title, options)
        if node is None:
            return False
        loaded.AddItem(node)
        if properties.get("show", True):  # a labelmap lies on top, at full opacity
            layer = "label" if properties.get("labelmap") else "background"
            slicer.util.setSliceViewerLayers(**{layer: node}, fit=True)
        return True

    def _cache(self):
        """A bundle is unpacked into the cache, which the application sets up."""
        import slicer

        scene, remote, data = slicer.mrmlScene, slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
        remote.SetMRMLScene(scene)
        slicer.app.applicationLogic().SetMRMLSceneDataIO(scene, remote, data)
        scene.GetCacheManager().SetRemoteCacheDirectory(slicer.app.temporaryPath)
        slicer.app.keep = remote, data

    def saveNodes(self, kind, properties, messages):
        import slicer

        name, scene = str(properties["fileName"]), slicer.mrmlScene
        if kind == "SceneFile":
            scene.SetURL(name)
            is_bundle = name.endswith(".mrb")
            return scene.WriteToMRB(name, None, messages) if is_bundle else bool(scene.Commit(name, messages))
        node = scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(name)
        return bool(node.GetStorageNode().WriteData(node))
