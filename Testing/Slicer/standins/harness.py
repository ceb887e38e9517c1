"""Puts what Slicer's application adds to `slicer-core` in place: `install()` before anything imports `slicer`."""

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent


def install():
    """Make `slicer`, `qt` and `ctk` importable, with Slicer's own Python code where SLICER_SOURCE has it."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    import slicer

    if hasattr(slicer, "app"):
        return slicer.app
    source = os.environ.get("SLICER_SOURCE")
    slicer.__path__.append(str(Path(source) / "Base" / "Python" / "slicer" if source else HERE / "slicer_base"))
    if source:
        sys.path.insert(0, str(Path(source) / "Modules" / "Scripted" / "SampleData"))
    slicer.modules = SimpleNamespace()
    application = importlib.import_module("application")
    importlib.import_module("qmrml")
    slicer.app = application.Application()
    slicer.app.reset(slicer.vtkMRMLScene())
    importlib.import_module("slicer.packaging")
    return slicer.app
