"""Stand-in for Slicer's package of this name: typed parameters on a parameter node, bound to widgets."""

import enum
import types
import typing
import weakref
from collections import namedtuple

import qt
import slicer


class WithinRange(namedtuple("WithinRange", "minimum maximum")):
    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class _Parameter:
    def __init__(self, name, hint, given):
        self.name, self.notes = name, getattr(hint, "__metadata__", ())
        kind = typing.get_args(hint)[0] if self.notes else hint
        union = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
        self.kinds = tuple(k for k in union if k is not type(None))
        self.no_none = len(union) == len(self.kinds) > 1
        self.kind, self.is_node = self.kinds[0], all(issubclass(k, slicer.vtkMRMLNode) for k in self.kinds)
        self.is_enum = issubclass(self.kind, enum.Enum)
        if not (self.is_node or (len(union) == 1 and (self.is_enum or self.kind in (str, float, bool)))):
            raise TypeError(f"Unable to create serializer for member {name}")
        empty = None if self.is_node else next(iter(self.kind)) if self.is_enum else self.kind()
        self.default = empty if given is None else given

    def write(self, node, value):
        fits = isinstance(value, (int, float) if self.kind is float else self.kinds)
        if not (fits or (value is None and self.is_node and not self.no_none)):
            error = ValueError if value is None and not self.is_node else TypeError
            raise error(f"Value must be of type '{self.kinds}', is type '{type(value)}' value '{value}'")
        for note in self.notes:
            note.validate(value)
        node.SetParameter(self.name, "" if self.is_node else value.name if self.is_enum else str(value))
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)

    def read(self, node):
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        text = node.GetParameter(self.name)
        if self.is_node:
            return node.GetNodeReference(self.name)
        return self.kind[text] if self.is_enum else text == "True" if self.kind is bool else self.kind(text)


class _Connector:
    def __init__(self, widget, parameter):
        kind, of = parameter.kind, type(widget)
        if parameter.is_node and of is slicer.qMRMLNodeComboBox:
            self.signal, self.read, self.put = widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
            widget.setNodeTypes([k().GetClassName() for k in parameter.kinds])
        elif parameter.is_enum and of is qt.QComboBox:
            choices = list(kind)
            self.signal, self.read = widget.currentIndexChanged, lambda: choices[widget.currentIndex]
            self.put = lambda value: widget.setCurrentIndex(choices.index(value))
            widget.clear()
            widget.addItems([getattr(kind, "label", lambda e: e.name)(choice) for choice in choices])
        elif kind is bool and of is qt.QCheckBox:
            self.signal, self.read, self.put = widget.stateChanged, lambda: widget.checked, widget.setChecked
        elif kind is str and of is qt.QLineEdit:
            self.signal, self.read = widget.textChanged, lambda: widget.text
            self.put = lambda value: value == widget.text or widget.setText(value)  # or the cursor would move
        elif kind is float and of is qt.QDoubleSpinBox:
            self.signal, self.read, self.put = widget.valueChanged, lambda: widget.value, widget.setValue
            for note in parameter.notes:
                widget.setRange(note.minimum, note.maximum)
        else:
            raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{of}'.")


class _Wrapper:
    def __init__(self, parameterNode):
        self.parameterNode, self._guis, self._updating, self._writing = parameterNode, {}, False, None
        self._values, me = {n: one.read(parameterNode) for n, one in self.allParameters.items()}, weakref.ref(self)
        tag = parameterNode.AddObserver("ModifiedEvent", lambda *_: me()._modified())
        weakref.finalize(self, parameterNode.RemoveObserver, tag)
        for method in ("StartModify", "EndModify", "AddObserver", "RemoveObserver", "Modified"):
            setattr(self, method, getattr(parameterNode, method))

    def _modified(self):
        for name in self.allParameters.keys() - {self._writing}:
            self._values[name] = self.allParameters[name].read(self.parameterNode)

    def setValue(self, name, value):
        before, self._writing = self._writing, name
        try:
            with slicer.util.NodeModify(self.parameterNode):
                self.allParameters[name].write(self.parameterNode, value)
                self._values[name] = self.allParameters[name].read(self.parameterNode)
        finally:
            self._writing = before

    def connectGui(self, gui):
        widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else gui.__dict__.values()
        named = {widget.property("SlicerParameterName"): widget for widget in widgets}
        connectors = {name: _Connector(widget, self.allParameters[name]) for name, widget in named.items() if name}
        for name, connector in connectors.items():
            connector.put(self._values[name])
            connector.slot = lambda *_, n=name, c=connector: self._updating or self.setValue(n, c.read())
            connector.signal.connect(connector.slot)
        tag = self.parameterNode.AddObserver("ModifiedEvent", lambda *_: self._show(connectors))
        self._guis[tag] = connectors
        return tag

    def disconnectGui(self, tag):
        self.parameterNode.RemoveObserver(tag)
        for connector in self._guis.pop(tag, {}).values():
            connector.signal.disconnect(connector.slot)

    def _show(self, connectors):
        if not self._updating:
            with slicer.util.NodeModify(self.parameterNode):
                self._updating = True
                for name, connector in connectors.items():
                    connector.put(self._values[name])
                self._updating = False


def parameterNodeWrapper(cls):
    hints = typing.get_type_hints(cls, include_extras=True)
    body = {"allParameters": {n: _Parameter(n, hint, getattr(cls, n, None)) for n, hint in hints.items()}}
    for n in hints:
        body[n] = property(lambda self, n=n: self._values[n], lambda self, value, n=n: self.setValue(n, value))
    return type(cls.__name__, (_Wrapper, cls), {"__module__": cls.__module__, **body})
