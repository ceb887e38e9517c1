"""Slicer's `qt` on PySide6, with the properties of PythonQt.

In PythonQt a property is an attribute and hides its getter; in PySide6 it is a method, and assignment does nothing.
Slicer's code sees the former, tests the latter; a module under test (`STRICT`) may use only what is the same in both.
"""

import sys
from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import *  # noqa: F403
from PySide6.QtGui import *  # noqa: F403
from PySide6.QtWidgets import *  # noqa: F403

del Signal, Slot, Property  # noqa: F821 - PythonQt has none of them

SLICER, STRICT, WIDGETS = {"slicer", "SampleData", "PyTorchUtils"}, {"IR2QSM", "IR2QSMGui"}, {}
_properties, _native_get = {}, QtCore.QObject.__getattribute__


def _view(self, name):
    """How the one who asks sees Qt ('pythonqt', 'strict' or 'pyside'), and whether the name is a property's."""
    asks = sys._getframe(2).f_globals.get("__name__", "").partition(".")[0]
    if asks not in SLICER | STRICT or name.startswith("_"):
        return "pyside", False
    if type(self) not in _properties:
        meta = _native_get(self, "metaObject")()
        _properties[type(self)] = {meta.property(i).name() for i in range(meta.propertyCount())}
    strict = asks in STRICT and not isinstance(self, QtCore.QCoreApplication)
    return "strict" if strict else "pythonqt", name in _properties[type(self)]


def _get(self, name):
    view, is_property = _view(self, name)
    if view == "strict" and (is_property or name in ("exec", "connect")):
        raise AttributeError(f"'{name}' differs between PythonQt and PySide6; use property(), exec_, signal.connect")
    if is_property or (name == "name" and view == "pythonqt"):
        return _native_get(self, "property")("objectName" if name == "name" else name)
    return _native_get(self, "exec" if name == "exec_" else name)


def _set(self, name, value):
    view, is_property = _view(self, name)
    if view == "strict" and (is_property or type(self).__module__.startswith("PySide6")):
        raise AttributeError(f"'{name}' cannot be set so in both PythonQt and PySide6; use the property's setter")
    if is_property:
        _native_get(self, "setProperty")(name, list(value) if isinstance(value, tuple) else value)
    elif hasattr(getattr(type(self), name, None), "__set__"):
        getattr(type(self), name).__set__(self, value)
    else:
        self.__dict__[name] = value


QtCore.QObject.__getattribute__ = _get
for _class in [getattr(module, name) for module in (QtCore, QtGui, QtWidgets) for name in dir(module)]:
    if isinstance(_class, type) and issubclass(_class, QtCore.QObject):
        _class.__setattr__ = _set
for _name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName"):  # PySide6 returns the filter as well
    _call = getattr(QtWidgets.QFileDialog, _name)
    setattr(QtWidgets.QFileDialog, _name, staticmethod(lambda *args, _call=_call: _call(*args)[0]))


class QUiLoader(QtUiTools.QUiLoader):
    def createWidget(self, kind, parent=None, name=""):
        widget = WIDGETS[kind](parent) if kind in WIDGETS else super().createWidget(kind, parent, name)
        widget.setObjectName(name)
        return widget

    def load(self, device):
        root, buffer, ours = ElementTree.fromstring(bytes(device.readAll())), QtCore.QBuffer(), []
        unknown = {w.get("class") for w in root.iter("widget")} - {*WIDGETS, *self.availableWidgets(), "Line"}
        assert not unknown, f"no stand-in for the widgets {sorted(unknown)}"
        for connection in [one for one in root.iter("connection") if "vtkMRML" in one.findtext("signal")]:
            ours.append([end.text.partition("(")[0] for end in list(connection)[:4]])
            root.find("connections").remove(connection)
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer)
        named = {child.objectName(): child for child in (widget, *widget.findChildren(QtWidgets.QWidget))}
        for sender, signal, receiver, slot in ours:
            getattr(named[sender], signal).connect(getattr(named[receiver], slot))
        return widget
