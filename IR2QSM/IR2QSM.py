"""IR2QSM in 3D Slicer: what the module is; everything that it does is in IR2QSMGui and IR2QSMLib."""

import os

import slicer
from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.panel import data_tree
from IR2QSMGui.panel.widget import IR2QSMWidget
from IR2QSMGui.scene import layouts
from IR2QSMGui.scene.sample_data import register
from IR2QSMGui.self_test import IR2QSMTest
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

__all__ = ["IR2QSM", "IR2QSMLogic", "IR2QSMTest", "IR2QSMWidget"]


class IR2QSM(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "IR2QSM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = ["Colors", "Segmentations", "Sequences", "SubjectHierarchy", "Volumes"]
        parent.contributors = ["IR2QSM developers"]
        parent.helpText = _(
            "Turns phase and magnitude of an MRI scan, or a field that was made of them, into a map of magnetic "
            "susceptibility (QSM), in ppm. Choose phase or field and a mask, press Apply. See "
            "the {link_start}tutorial{link_end}. Research software, not for diagnosis."
        ).format(link_start='<a href="https://github.com/IR2QSM/IR2QSM/blob/main/docs/slicer.md">', link_end="</a>")
        parent.acknowledgementText = _(
            "The method is that of Li et al., Medical Physics 2025 (doi 10.1002/mp.17747). Weights were trained on "
            "simulated heads deformed from the ICBM 152 maps."
        )
        slicer.app.startupCompleted.connect(lambda *_: self._started())

    def _started(self):
        register(os.path.dirname(self.parent.path))
        if slicer.app.layoutManager() is not None:  # there is none without a main window
            layouts.register()
            data_tree.register()
