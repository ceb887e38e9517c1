"""The module's test of itself, run by Slicer's Reload and Test and by ctest: the real network on the sample."""

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.run import install as dependencies
from IR2QSMGui.scene.sample_data import NAME

WITHIN = 0.01
"""Difference from the expected map that is allowed, as a share of its 1st to 99th percentile range: devices round
differently."""


class IR2QSMTest(ScriptedLoadableModuleTest):
    """Reconstruct the sample and compare with the map that comes with it."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, **_kwargs):
        """Run all tests."""
        self.setUp()
        self.test_sample()

    def test_sample(self):
        """The map of the sample is the one that is expected, on its grid and in ppm."""
        import SampleData

        if dependencies.missing():
            self.delayDisplay(f"Not tested: {', '.join(dependencies.missing())} must be installed first.")
            return
        field, mask, expected = SampleData.SampleDataLogic().downloadSamples(NAME)
        chi = IR2QSMLogic().reconstruct(field, mask)
        found, known = slicer.util.arrayFromVolume(chi), slicer.util.arrayFromVolume(expected)
        inside = slicer.util.arrayFromVolume(mask) > 0
        low, high = np.percentile(known[inside], (1, 99))
        error = np.abs(found - known).max() / (high - low)
        self.assertLess(error, WITHIN)
        self.assertEqual(chi.GetVoxelValueUnits().GetCodeMeaning(), "ppm")
        self.delayDisplay(f"The map differs from the expected one by {100 * error:.2f} % of its range.")
