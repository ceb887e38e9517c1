"""Reconstruction of volumes in the scene, and what is done with the maps, for scripts and for the panel."""

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from IR2QSMGui.parameters import Parameters
from IR2QSMGui.run.options import Options
from IR2QSMGui.run.reconstruction import Reconstruction
from IR2QSMGui.scene import comparison as compare
from IR2QSMGui.scene import regions


class IR2QSMLogic(ScriptedLoadableModuleLogic):
    """Susceptibility maps of volumes in the scene.

    `IR2QSMLogic().reconstruct(field, mask)` returns the map's node, on the field's grid, in ppm.
    """

    def parameters(self):
        """The panel's state in the present scene."""
        return Parameters(self.getParameterNode())

    def reconstruct(
        self,
        field,
        mask=None,
        *,
        output=None,
        uncertainty_output=None,
        wait=True,
        on_progress=None,
        on_end=None,
        **options,
    ):
        """Reconstruct the susceptibility map [ppm] of a field or of phase, inside a mask.

        `field` is a scalar volume, or a list of the phases of several echoes; `mask` a segmentation, a labelmap or a
        volume, which of phase is made from the magnitude where None; `options` are those of `Options`. What `keep`
        keeps are the map's references "IR2QSM.totalfield", "IR2QSM.localfield", "IR2QSM.mask" and so on.
        With `wait` Slicer stands still until the map's node is returned; without, a `Reconstruction` is that tells
        `on_progress(fraction, stage)` and `on_end(reconstruction)`. The map replaces that of `output` if given.
        Raises InputProblem for inputs that cannot be, WorkerFailed and Cancelled for what happens on the way.
        """
        run = Reconstruction(field, mask, Options(**options), output, uncertainty_output, on_progress, on_end)
        run.start(wait)
        if not wait:
            return run
        if run.error is not None:
            raise run.error
        return run.chi

    def side_by_side(self, maps, difference_to=None):
        """Show 2 to 10 maps in linked views, or what they differ by from one of them.

        Raises InputProblem for too many or too few, or maps that lie on different grids where differences are wanted.
        """
        compare.show(maps, difference_to)

    def regions(self, segmentation, maps, zero_segment=""):
        """Fill a table node with mean, SD, median [ppm] and volume [mm³] of each map in each segment; returns the node.

        With the ID of a segment as `zero_segment` the map's mean there is taken from means and medians.
        """
        return regions.fill(segmentation, maps, zero_segment)
