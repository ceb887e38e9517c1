"""Stand-in for Slicer's package of this name: typed parameters on a parameter node, bound to widgets."""

import enum
import types
import typing
import weakref
from dataclasses import dataclass

import ctk
import qt

import slicer


@dataclass
class Default:
    value: object


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


@dataclass
class WithinRange:
    minimum: float = float("-inf")
    maximum: float = float("inf")

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Choice:
    choices: list

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


def Minimum(minimum):
    return WithinRange(minimum=minimum)


def Maximum(maximum):
    return WithinRange(maximum=maximum)


class _Parameter:
    """One parameter: its type, its validators, and how it is written into the node."""

    def __init__(self, name, hint, default):
        self.name, self.hint, self.annotations = name, hint, getattr(hint, "__metadata__", ())
        kind = typing.get_args(hint)[0] if self.annotations else hint
        union = typing.get_origin(kind) in (typing.Union, types.UnionType)
        self.kinds = tuple(k for k in (typing.get_args(kind) if union else (kind,)) if k is not type(None))
        self.kind, self.optional = self.kinds[0], union and type(None) in typing.get_args(kind)
        self.is_node = all(issubclass(k, slicer.vtkMRMLNode) for k in self.kinds)
        if not self.is_node and (len(self.kinds) > 1 or self.optional):
            raise TypeError(f"no stand-in for a parameter of type {hint}")
        if not self.is_node and self.kind not in (str, int, float, bool) and not issubclass(self.kind, enum.Enum):
            raise TypeError(f"Unable to create serializer for member {name}")
        given = self.find(Default)
        if default is not None:
            self.default = default
        elif given is not None:
            self.default = given.value
        else:
            self.default = None if self.is_node else next(iter(self.kind)) if self.is_enum else self.kind()

    @property
    def is_enum(self):
        return issubclass(self.kind, enum.Enum)

    def find(self, annotation):
        return next((one for one in self.annotations if isinstance(one, annotation)), None)

    def write(self, node, value):
        fits = (int, float) if self.kind is float else self.kinds
        if value is None and not self.is_node:
            raise ValueError("Value must not be None")
        if value is not None and not isinstance(value, fits):
            raise TypeError(f"Value must be of type '{self.kind}', is type '{type(value)}' value '{value}'")
        for annotation in self.annotations:
            if hasattr(annotation, "validate"):
                annotation.validate(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if self.is_enum else str(value))

    def read(self, node):
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return self.kind[text] if self.is_enum else text == "True" if self.kind is bool else self.kind(text)


class _Connector:
    """A parameter's widget: Qt property and signal, its range and its choices set from the annotations."""

    def __init__(self, widget, parameter):
        self.widget, self.parameter, self.slot, self.labels = widget, parameter, None, None
        kind, of = parameter.kind, type(widget)
        if parameter.is_node and of is slicer.qMRMLNodeComboBox:
            self.property, self.signal = "currentNodeID", widget.currentNodeChanged
            widget.setNodeTypes([k().GetClassName() for k in parameter.kinds])
        elif kind is bool and of in (qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton):
            self.property, self.signal = "checked", widget.toggled
        elif kind is str and of is qt.QLineEdit:
            self.property, self.signal = "text", widget.textChanged
        elif of in (qt.QComboBox, ctk.ctkComboBox) and (parameter.is_enum or parameter.find(Choice)):
            self.property, self.signal = "currentIndex", widget.currentIndexChanged
            self.choices = list(kind) if parameter.is_enum else parameter.find(Choice).choices
            label = getattr(kind, "label", lambda e: e.name) if parameter.is_enum else str
            widget.clear()
            widget.addItems([label(choice) for choice in self.choices])
        elif kind is int and of in (qt.QSpinBox, qt.QSlider) or kind in (int, float) and of is qt.QDoubleSpinBox:
            self.property, self.signal = "value", widget.valueChanged
            bounds = [one for one in parameter.annotations if isinstance(one, WithinRange)]
            low, high = (-(2**31), 2**31 - 1) if of is not qt.QDoubleSpinBox else (float("-inf"), float("inf"))
            widget.setRange(max([low, *(b.minimum for b in bounds)]), min([high, *(b.maximum for b in bounds)]))
            for annotation, setter in ((Decimals, "setDecimals"), (SingleStep, "setSingleStep")):
                if parameter.find(annotation) is not None:
                    getattr(widget, setter)(parameter.find(annotation).value)
        else:
            raise RuntimeError(f"Unable to create GUI connector from datatype '{parameter.hint}' to widget type '{of}'.")

    def read(self):
        if self.property == "currentNodeID":
            return self.widget.currentNode()
        value = self.widget.property(self.property)
        return self.choices[value] if self.property == "currentIndex" else self.parameter.kind(value)

    def write(self, value):
        if self.property == "currentNodeID":
            self.widget.setCurrentNode(value)
        elif self.property == "currentIndex":
            self.widget.setCurrentIndex(self.choices.index(value))
        elif self.widget.property(self.property) != value:
            self.widget.setProperty(self.property, value)


class _Wrapper:
    def __init__(self, parameterNode):
        self.parameterNode, self._guis, self._updating = parameterNode, {}, False
        self._values, self._writing = {}, None
        for name, parameter in self.allParameters.items():
            self._values[name] = parameter.read(parameterNode)
        me = weakref.ref(self)
        self._tag = parameterNode.AddObserver("ModifiedEvent", lambda *_: me() and me()._onModified())

    def __del__(self):
        self.parameterNode.RemoveObserver(self._tag)

    def _onModified(self):
        for name, parameter in self.allParameters.items():
            if name != self._writing:
                self._values[name] = parameter.read(self.parameterNode)

    def isCached(self, name):
        return name in self._values

    def default(self, name):
        return Default(self.allParameters[name].default)

    def dataType(self, name):
        return self.allParameters[name].hint

    def getValue(self, name):
        return self._values[name]

    def setValue(self, name, value):
        before, self._writing = self._writing, name
        try:
            with slicer.util.NodeModify(self.parameterNode):
                self.allParameters[name].write(self.parameterNode, value)
                self._values[name] = self.allParameters[name].read(self.parameterNode)
        finally:
            self._writing = before

    def connectGui(self, gui):
        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if is_widget else gui.__dict__.values()
        named = {widget.property("SlicerParameterName"): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        for name in mapping:
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
        connectors = {name: _Connector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.slot = lambda *_, name=name, connector=connector: self._fromGui(name, connector)
            connector.signal.connect(connector.slot)
        tag = self.parameterNode.AddObserver("ModifiedEvent", lambda *_: self._toGui(connectors))
        self._guis[tag] = connectors
        return tag

    def disconnectGui(self, tag):
        self.parameterNode.RemoveObserver(tag)
        for connector in self._guis.pop(tag, {}).values():
            connector.signal.disconnect(connector.slot)

    def _fromGui(self, name, connector):
        if not self._updating:
            self.setValue(name, connector.read())

    def _toGui(self, connectors):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, before):
        return self.parameterNode.EndModify(before)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(cls):
    hints = typing.get_type_hints(cls, include_extras=True)
    body = {"allParameters": {name: _Parameter(name, hint, vars(cls).get(name)) for name, hint in hints.items()}}
    for name in hints:
        body[name] = property(
            lambda self, n=name: self.getValue(n), lambda self, value, n=name: self.setValue(n, value)
        )
    rest = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__", *hints)}
    return type(cls.__name__, (_Wrapper, *cls.__bases__), {**rest, **body})
