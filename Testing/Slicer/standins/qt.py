"""Slicer's `qt` on PySide6, with the properties of PythonQt.

In Slicer (PythonQt) a Qt property is an attribute that hides its getter; in PySide6 it is a method, and assigning to it
silently makes a Python attribute. Here Slicer's own Python code sees the former, a module under test (`STRICT`) may use
neither, only what means the same in both (`property("text")`, `isChecked()`, `setText()`), and tests see plain PySide6.
"""

import sys
from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import *  # noqa: F403
from PySide6.QtGui import *  # noqa: F403
from PySide6.QtWidgets import *  # noqa: F403

del Signal, Slot, Property  # noqa: F821 - PythonQt has none of them

SLICER = {"slicer", "SampleData", "PyTorchUtils"}
STRICT = {"IR2QSM", "IR2QSMGui"}
WIDGETS = {}
"""Classes of a .ui file that are Slicer's or CTK's, by name."""
_properties = {}
_native_get = QtCore.QObject.__getattribute__


def _is_property(self, name):
    names = _properties.get(type(self))
    if names is None:
        meta = _native_get(self, "metaObject")()
        names = _properties[type(self)] = {meta.property(i).name() for i in range(meta.propertyCount())}
    return name in names


def _reads_as(self, name):
    """How the caller's caller sees Qt: 'pythonqt', 'strict' or 'pyside'."""
    caller = sys._getframe(2).f_globals.get("__name__", "").partition(".")[0]
    if caller in SLICER or isinstance(self, QtCore.QCoreApplication) and caller in STRICT:
        return "pythonqt"
    return "strict" if caller in STRICT else "pyside"


def _get(self, name):
    if name.startswith("_"):
        return _native_get(self, name)
    view = _reads_as(self, name)
    if view == "pyside":
        return _native_get(self, name)
    if _is_property(self, name):
        if view == "pythonqt":
            return _native_get(self, "property")(name)
        raise AttributeError(f"'{name}' is a Qt property: a method in PySide6, a value in Slicer; use property('{name}')")
    if name == "name" and view == "pythonqt":
        return _native_get(self, "objectName")()
    if view == "strict" and name in {"exec", "exec_"}:
        name = "exec_" if name == "exec_" else "exec: PythonQt calls it exec_"
    if name == "exec_":
        return _native_get(self, "exec")
    if view == "strict" and name == "connect":
        raise AttributeError("connect signals as obj.signal.connect(function), not by string")
    return _native_get(self, name)


def _set(self, name, value):
    if not name.startswith("_"):
        view = _reads_as(self, name)
        if view != "pyside" and _is_property(self, name):
            if view == "pythonqt":
                _native_get(self, "setProperty")(name, value)
                return
            raise AttributeError(f"'{name}' is a Qt property; assigning does nothing in PySide6: use its setter")
        if view == "strict" and type(self).__module__.startswith("PySide6"):
            raise AttributeError(f"PythonQt lets no attribute '{name}' be put on a {type(self).__name__}")
    descriptor = getattr(type(self), name, None)
    if hasattr(descriptor, "__set__"):
        descriptor.__set__(self, value)
    else:
        self.__dict__[name] = value


def _first(function):
    return staticmethod(lambda *args, **kwargs: function(*args, **kwargs)[0])


QtCore.QObject.__getattribute__ = _get
for _module in (QtCore, QtGui, QtWidgets):
    for _name in dir(_module):
        _class = getattr(_module, _name)
        if isinstance(_class, type) and issubclass(_class, QtCore.QObject):
            _class.__setattr__ = _set
for _name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName"):  # PySide6 returns the filter as well
    setattr(QtWidgets.QFileDialog, _name, _first(getattr(QtWidgets.QFileDialog, _name)))


class QUiLoader(QtUiTools.QUiLoader):
    """Reads a .ui file as Slicer does: its own widgets, and connections that carry a MRML scene."""

    def createWidget(self, class_name, parent=None, name=""):
        if class_name not in WIDGETS:
            return super().createWidget(class_name, parent, name)
        widget = WIDGETS[class_name](parent)
        widget.setObjectName(name)
        return widget

    def load(self, device, parent=None):
        root = ElementTree.fromstring(bytes(device.readAll()))
        unknown = {w.get("class") for w in root.iter("widget")} - {*WIDGETS, *self.availableWidgets(), "Line"}
        if unknown:
            raise RuntimeError(f"no stand-in for the widgets {sorted(unknown)}")
        connections, ours = root.find("connections"), []
        for connection in [] if connections is None else list(connections):
            if "vtkMRML" in connection.findtext("signal", ""):
                ours.append([connection.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")])
                connections.remove(connection)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        named = {child.objectName(): child for child in (widget, *widget.findChildren(QtCore.QObject))}
        for sender, signal, receiver, slot in ours:
            getattr(named[sender], signal.partition("(")[0]).connect(getattr(named[receiver], slot.partition("(")[0]))
        return widget
