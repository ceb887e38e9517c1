"""Segments, labels and masks on other grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer

from Testing.Slicer.steps import apply, tick

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def segmentation_of(mask: Any) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    labels = slicer.util.arrayFromVolume(mask)
    labels[:, :, : labels.shape[2] // 2] *= 2
    slicer.util.arrayFromVolumeModified(mask)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(mask, node)
    return node


def test_a_segment_or_a_label_can_be_chosen(ready: Any, sample: Any, wait_until: Wait) -> None:
    mask = sample[1]
    node = segmentation_of(mask)
    half = slicer.util.arrayFromVolume(mask) == 2
    for chosen in (mask, node):  # the labelmap's labels have changed since it was chosen
        ready.ui.maskSelector.setCurrentNode(chosen)
        part = ready.ui.maskPartSelector
        assert not part.isHidden() and part.count() == 3
        part.setCurrentIndex(2)
        assert ready._parameters.maskPart == part.itemData(2) != ""
    tick(ready.ui.methodList, "tkd")
    n_colours = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")
    apply(ready, wait_until)
    values = slicer.util.arrayFromVolume(slicer.util.getNode("field QSM TKD"))
    assert values[half].std() > 0.01 and not values[~half].any()
    assert not slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")[1:]  # none of the export stays
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == n_colours
    node.GetSegmentation().RemoveSegment(ready._parameters.maskPart)
    ready._update()
    assert not ready.ui.applyButton.isEnabled() and "no longer in" in ready.ui.maskNote.text()


def test_a_segmentation_on_another_grid_is_noted_and_an_empty_segment_refused(
    ready: Any, sample: Any, wait_until: Wait
) -> None:
    node = segmentation_of(sample[1])
    ready.ui.maskSelector.setCurrentNode(node)
    assert ready.ui.maskNote.text() == "" and ready.ui.applyButton.isEnabled()
    identifier = node.GetSegmentation().AddEmptySegment("tumour", "tumour")
    ready.ui.maskPartSelector.setCurrentIndex(3)
    assert ready._parameters.maskPart == identifier and not ready.ui.applyButton.isEnabled()
    assert ready.ui.maskNote.text() == "'tumour' has no voxels; draw them, or choose another mask."
    drawn = slicer.util.arrayFromVolume(sample[1]) == 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn.astype(np.uint8), node, identifier, sample[1])
    assert ready.ui.applyButton.isEnabled() and ready.ui.maskNote.text() == ""
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros(drawn.shape, np.uint8), node, identifier, sample[1])
    assert not ready.ui.applyButton.isEnabled()
    ready.ui.maskPartSelector.setCurrentIndex(1)
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = np.eye(4)
    matrix[0, 3] = 1.5  # half a voxel
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(shift.GetID())
    ready._update()
    assert ready.ui.maskNote.text() == "The mask lies on another grid; it will be resampled to the field's."
    tick(ready.ui.methodList, "tkd")
    apply(ready, wait_until)
    sentence = "lies on another grid and was resampled to that of the field."
    assert sentence in ready.ui.statusLabel.text() and sentence in ready.ui.logText.toPlainText()
    values = slicer.util.arrayFromVolume(slicer.util.getNode("field QSM TKD"))
    assert (values != 0).sum() == pytest.approx(drawn.sum(), rel=0.02) and values[drawn].std() > 0.01


def test_the_voxels_of_segments_are_those_that_slicer_exports(panel: Any, sample: Any) -> None:
    from IR2QSMGui.scene import masks

    node = segmentation_of(sample[1])
    first = node.GetSegmentation().GetNthSegmentID(0)
    overlapping = np.zeros(slicer.util.arrayFromVolume(sample[1]).shape, np.uint8)
    overlapping[10:40, 20:50, 15:45] = 1
    second = node.GetSegmentation().AddEmptySegment("box", "box")
    slicer.util.updateSegmentBinaryLabelmapFromArray(overlapping, node, second, sample[1])
    for segment in (first, second):
        voxels, sentence = masks.mask_on(node, segment, sample[0])
        assert np.array_equal(voxels, slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, sample[0]) != 0)
        assert sentence == ""
    both, _sentence = masks.mask_on(node, "", sample[0])
    assert np.array_equal(both > 0, (slicer.util.arrayFromVolume(sample[1]) > 0) | (overlapping > 0))
