"""Reconstruction of volumes in the scene and views of the maps, for scripts and for the panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from IR2QSMGui.parameters import Parameters, parameters_of
from IR2QSMGui.run.options import Options
from IR2QSMGui.run.reconstruction import Reconstruction
from IR2QSMGui.scene import comparison, layouts, regions


class IR2QSMLogic(ScriptedLoadableModuleLogic):
    """Susceptibility maps of volumes in the scene.

    `IR2QSMLogic().reconstruct(field, mask)` returns the map's node, on the field's grid, in ppm.
    """

    def parameters(self) -> Parameters:
        """The panel's settings in the present scene."""
        return parameters_of(self.getParameterNode())

    def reconstruct(
        self,
        field: slicer.vtkMRMLScalarVolumeNode | Sequence[slicer.vtkMRMLScalarVolumeNode],
        mask: slicer.vtkMRMLNode | None = None,
        *,
        output: slicer.vtkMRMLScalarVolumeNode | None = None,
        uncertainty_output: slicer.vtkMRMLScalarVolumeNode | None = None,
        wait: bool = True,
        on_progress: Callable[[float, str], None] | None = None,
        on_end: Callable[[Reconstruction], None] | None = None,
        **options: Any,
    ) -> slicer.vtkMRMLScalarVolumeNode | Reconstruction:
        """Reconstruct the susceptibility map [ppm] of a field or of phase, inside a mask.

        Parameters
        ----------
        field
            A scalar volume, or the phases of several echoes.
        mask
            Segmentation, labelmap or volume; None, for phase only, makes one from the magnitude.
        output, uncertainty_output
            Volumes that the maps replace; new ones when None.
        wait
            Return at the end of the run; Slicer stands still meanwhile. Otherwise return at once.
        on_progress
            Called with the fraction done, 0 to 1, and the stage.
        on_end
            Called with the reconstruction.
        options
            Fields of `Options`. The volumes that `keep` keeps are references of the map: "IR2QSM.totalfield",
            "IR2QSM.localfield", "IR2QSM.mask" and so on.

        Returns
        -------
        vtkMRMLScalarVolumeNode or Reconstruction
            The map; without `wait` the run, whose `chi` is the map at its end.

        Raises
        ------
        InputProblem
            For inputs that cannot be used.
        WorkerFailed, Cancelled
            For the end of a run without a map.
        """
        run = Reconstruction(field, mask, Options(**options), output, uncertainty_output, on_progress, on_end)
        run.start(wait)
        if not wait:
            return run
        if run.error is not None:
            raise run.error
        return run.chi

    def lay_out(self, nodes: Sequence[slicer.vtkMRMLScalarVolumeNode], with_plot: bool = False) -> None:
        """Show 1 to 10 volumes in linked views, above a table and a plot if wanted."""
        if layouts.side_by_side(nodes, with_plot):
            qt.QTimer.singleShot(0, layouts.fit_views)  # once more when the views have their size

    def side_by_side(
        self,
        maps: Sequence[slicer.vtkMRMLScalarVolumeNode],
        difference_to: slicer.vtkMRMLScalarVolumeNode | None = None,
    ) -> None:
        """Show 2 to 10 maps in linked views, or their differences to one of them.

        Raises
        ------
        InputProblem
            For too many or too few maps, and for maps on different grids where differences are wanted.
        """
        self.lay_out(comparison.volumes_to_show(maps, difference_to))

    def regions(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        maps: Sequence[slicer.vtkMRMLScalarVolumeNode],
        zero_segment: str = "",
    ) -> slicer.vtkMRMLTableNode:
        """Fill a table node with mean, SD, median [ppm] and volume [mm³] of each map in each segment.

        Parameters
        ----------
        segmentation
            Its segments are the rows.
        maps
            Each has four columns.
        zero_segment
            ID of the segment whose mean is taken from the means and medians of each map; none when empty.
        """
        return regions.fill_table(regions.measure(segmentation, maps, zero_segment))
