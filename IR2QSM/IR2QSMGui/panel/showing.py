"""What is on the screen: a map as the panel wants it to look, and beside it what it came from."""

import slicer

from IR2QSMGui.run.reconstruction import intermediate_volumes
from IR2QSMGui.scene import display, layouts
from IR2QSMGui.scene import nodes as scene


class Showing:
    """The panel's section on display, and what is shown when a run ends."""

    def __init__(self, ui, comparison):
        self._ui, self._comparison, self._parameters, self._shown = ui, comparison, None, None
        ui.sideBySideButton.clicked.connect(self.side_by_side)

    def attach(self, parameters):
        """Follow these parameters; maps that are there keep their looks."""
        self._parameters = parameters
        self._shown = self._looks()

    def detach(self):
        """Let the scene go."""
        self._parameters = None

    def update(self):
        """Give the maps the looks that the panel says, if these were changed."""
        chi, _nodes = self._maps()
        self._ui.sideBySideButton.setEnabled(chi is not None)
        if chi is not None and self._shown != self._looks():  # what was set elsewhere stays until it is changed here
            self._shown = self._looks()
            for node in {chi, *self._comparison.ticked()}:
                if scene.is_map(node):
                    display.show_map(node, *self._shown)

    def show(self, series):
        """Show what a series of runs has made."""
        if len(series.maps) > 1:
            self._comparison.tick(series.maps)
        if self._parameters is not None:
            self._shown = None if self._parameters.chi is None else self._shown
            self.update()
        if len(series.maps) > 1:
            self._comparison.lay_out()
        elif not layouts.shown():
            slicer.util.setSliceViewerLayers(background=series.maps[-1], fit=True)
        elif len(series.runs) == 1:
            self.side_by_side()

    def side_by_side(self, *_args):
        """Show the map beside what it came from, all that was kept of it."""
        layouts.side_by_side(self._maps()[1])

    def _maps(self):
        """The map to show with what it came from: the chosen output, or the latest map in the scene."""
        chosen = self._parameters.chi if self._parameters is not None else None
        made = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if scene.is_map(n)]
        chi = chosen if chosen in made else (made[-1] if made else None)
        if chi is None:
            return None, []
        before = [chi.GetNodeReference(f"IR2QSM.{name}") for name in ("field", *intermediate_volumes())]
        nodes = [*before, chi, chi.GetNodeReference("IR2QSM.uncertainty")]
        return chi, [node for node in nodes if node is not None]

    def _looks(self):
        return self._parameters.window.value, self._parameters.colours, self._parameters.legend
