"""docs/slicer.md with the sample, step by step: from an empty scene to the value of a region."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SampleData
import slicer

from Testing.Slicer.steps import apply, ticked, volumes
from Testing.Slicer.view_steps import shown

pytestmark = pytest.mark.usefixtures("clean")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "slicer.md").read_text(encoding="utf-8")


def test_the_tutorial_leads_from_an_empty_scene_to_the_value_of_a_region(
    panel: Any, wait_until: Callable[..., None]
) -> None:
    ui = panel.ui
    assert volumes() == []
    field, mask, _expected = SampleData.SampleDataLogic().downloadSamples("IR2QSM")
    for name in volumes():
        assert f"`{name}`" in PAGE
    ui.presetSelector.setCurrentIndex(1)
    assert re.search(rf"\*{ui.presetSelector.currentText().split()[0]}\*, Tikhonov", PAGE)
    ui.fieldSelector.setCurrentNode(field)
    ui.maskSelector.setCurrentNode(mask)
    wait_until(ui.applyButton.isEnabled, 60)
    assert ui.fieldNote.text().startswith("Looks like a local field in ppm")
    assert ui.estimateNote.text().startswith("Takes ")
    apply(panel, wait_until)
    chi = slicer.util.getNode("IR2QSM field QSM TIKHONOV")
    assert f"`{chi.GetName().replace('TIKHONOV', 'IR2QSM')}`" in PAGE
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == chi.GetID()

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    ui.segmentationSelector.setCurrentNode(segmentation)
    assert ui.regionsNote.text() == "'Segmentation' has no segments; draw one in the Segment Editor."
    (threshold,) = map(float, re.findall(r"\*Threshold\* from (\S+) ppm", PAGE))
    labels = slicer.modules.volumes.logic().CloneVolume(mask, "labels")
    values = slicer.util.arrayFromVolume(chi)
    slicer.util.updateVolumeFromArray(labels, (values > threshold).astype(np.uint8))
    labelmap = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.modules.volumes.logic().CreateLabelVolumeFromVolume(slicer.mrmlScene, labelmap, labels)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labelmap, segmentation)
    wait_until(ui.regionsButton.isEnabled)
    assert ticked(ui.compareList) == {chi.GetName()} and ui.regionsNote.text() == ""
    ui.regionsButton.click()
    (table,) = [t for t in slicer.util.getNodesByClass("vtkMRMLTableNode") if t.GetNumberOfColumns() > 1]
    assert shown(1) is chi and table.GetNumberOfRows() == 1
    mean = table.GetTable().GetColumn(table.GetNumberOfColumns() - 1).GetValue(0)
    assert mean == pytest.approx(values[values > threshold].mean(), abs=1e-5) and mean > threshold
