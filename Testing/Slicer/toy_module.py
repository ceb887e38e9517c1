"""A module of Slicer to try the harness on: its panel and its code, written to a folder by the tests."""

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Toy</class>
<widget class="qMRMLWidget" name="Toy"><layout class="QVBoxLayout">
 <item><widget class="qMRMLNodeComboBox" name="field">
  <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
  <property name="noneEnabled"><bool>true</bool></property>
  <property name="addEnabled"><bool>false</bool></property>
  <property name="SlicerParameterName" stdset="0"><string>field</string></property></widget></item>
 <item><widget class="ctkCollapsibleButton" name="more">
  <property name="text"><string>Advanced</string></property>
  <property name="collapsed"><bool>true</bool></property>
  <layout class="QFormLayout">
   <item row="0" column="0"><widget class="QLabel" name="label"><property name="text">
    <string>Strength</string></property></widget></item>
   <item row="0" column="1"><widget class="QDoubleSpinBox" name="strength">
    <property name="SlicerParameterName" stdset="0"><string>strength</string></property></widget></item>
   <item row="1" column="1"><widget class="QComboBox" name="colour">
    <property name="SlicerParameterName" stdset="0"><string>colour</string></property></widget></item>
   <item row="2" column="1"><widget class="QCheckBox" name="legend">
    <property name="SlicerParameterName" stdset="0"><string>legend</string></property></widget></item>
   <item row="3" column="1"><widget class="QLineEdit" name="note">
    <property name="SlicerParameterName" stdset="0"><string>note</string></property></widget></item>
  </layout></widget></item>
 <item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<customwidgets>
 <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><container>1</container></customwidget>
 <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
 <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><container>1</container></customwidget>
</customwidgets>
<connections><connection><sender>Toy</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>field</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>
"""

CODE = """
import enum, sys
from typing import Annotated
import qt, slicer
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class Colour(enum.Enum):
    GREY = "grey"
    RED = "red"

@parameterNodeWrapper
class Parameters:
    field: vtkMRMLScalarVolumeNode
    strength: Annotated[float, WithinRange(0.0, 2.0)] = 0.5
    colour: Colour
    legend: bool = True
    note: str
    either: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None

class Toy(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Toy")
        slicer.app.startupCompleted.connect(lambda *_: setattr(self, "started", True))

class ToyLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return Parameters(super().getParameterNode())

class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        ui = slicer.util.loadUI(self.resourcePath("UI/Toy.ui"))
        self.layout.addWidget(ui)
        self.ui = slicer.util.childWidgetVariables(ui)
        ui.setMRMLScene(slicer.mrmlScene)
        self.logic, self.node, self.lines, self.code, self.clean, self.changes = ToyLogic(), None, [], None, False, 0
        self.ui.apply.clicked.connect(self.run)
        self.ui.field.currentNodeChanged.connect(self.changed)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.attach)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.attach)

    def changed(self, *_):
        self.changes += 1

    def enter(self):
        self.attach()

    def attach(self, *_):
        self.detach()
        self.node = self.logic.getParameterNode()
        self.tag = self.node.connectGui(self.ui)

    def detach(self):
        if self.node is not None:
            self.node.disconnectGui(self.tag)
        self.node = None

    def cleanup(self):
        self.removeObservers()
        self.detach()
        self.clean = True

    def run(self, *_):
        script = "import sys, time, os\\nprint(os.environ['WHO'])\\nsys.stdout.flush()\\ntime.sleep(float(sys.argv[1]))"
        self.process = slicer.util.launchConsoleProcess(
            [sys.executable, "-c", script, str(self.node.strength)], useStartupEnvironment=False, blocking=False,
            updateEnvironment={"WHO": self.node.note}, logCallback=self.lines.append, completedCallback=self.done)

    def done(self, code):
        self.code = code
        self.process.stdout.close()

    def read_wrongly(self, what):
        label = qt.QLabel("x")
        return {
            "getter": lambda: label.text(), "value": lambda: label.text,
            "assignment": lambda: setattr(label, "text", "y"), "attribute": lambda: setattr(label, "mine", 1),
            "string": lambda: self.ui.apply.connect("clicked()", self.run),
            "exec": lambda: qt.QDialog().exec(), "lawful": lambda: label.property("text"),
        }[what]()
"""
