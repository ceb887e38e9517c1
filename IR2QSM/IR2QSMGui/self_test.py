"""The module's test of itself, run by Slicer's Reload and Test and by ctest: the real network on the sample."""

from typing import Any

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from IR2QSMGui.logic import IR2QSMLogic
from IR2QSMGui.run import install
from IR2QSMGui.scene.sample_data import NAME

TOLERANCE = 0.01
"""Largest difference from the expected map, as a share of that map's range from the 1st to the 99th percentile: devices
round differently."""


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

        if install.missing():
            self.delayDisplay(f"Not tested: {', '.join(install.missing())} must be installed first.")
            return
        field, mask, expected = SampleData.SampleDataLogic().downloadSamples(NAME)
        chi: Any = IR2QSMLogic().reconstruct(field, mask)
        values, expected_values = slicer.util.arrayFromVolume(chi), slicer.util.arrayFromVolume(expected)
        inside = slicer.util.arrayFromVolume(mask) > 0
        low, high = np.percentile(expected_values[inside], (1, 99))
        error = np.abs(values - expected_values).max() / (high - low)
        self.assertLess(error, TOLERANCE)
        self.assertEqual(chi.GetVoxelValueUnits().GetCodeMeaning(), "ppm")
        self.delayDisplay(f"The map differs from the expected one by {100 * error:.2f} % of its range.")
