"""What is on the screen: layers, legend, names and letters, drawn off screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from Testing.Slicer.slice_pictures import view_image, write_png

Shown = Callable[..., Any]


def is_drawn(letter: str) -> bool:
    """Whether VTK's font has a letter, as Slicer sets it."""
    style, image, size = vtk.vtkTextProperty(), vtk.vtkImageData(), [0, 0]
    slicer.app.applicationLogic().UseCustomFontFile(style)
    style.SetFontSize(40)
    vtk.vtkTextRenderer.GetInstance().RenderString(style, letter, image, size, 72)
    return bool(vtk_to_numpy(image.GetPointData().GetScalars())[:, -1].any())


def red_picture() -> np.ndarray:
    """The red view of Slicer's layout: (rows, columns, RGB)."""
    view = slicer.app.layoutManager().sliceWidget("Red")
    view.mrmlSliceNode().SetDimensions(320, 320, 1)
    view.mrmlSliceNode().UpdateMatrices()
    view.sliceLogic().FitSliceToBackground()
    return view_image(view)


@pytest.fixture
def shown_map(panel: Any, sample: Any) -> Any:
    """A map shown as at the end of a run, with the labelmap of the mask loaded before, as Slicer shows it."""
    from IR2QSMGui.parameters import Colours
    from IR2QSMGui.scene import display, layouts, nodes

    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetLabelVolumeID() == sample[1].GetID() and red.GetLabelOpacity() == 1.0
    volume = nodes.read_volume(panel.resourcePath("SampleData/chi.nrrd"), sample[0])
    chi = nodes.add_map(volume, sample[0], {}, kind=nodes.CHI, name="chi")
    display.show_map(chi, (-0.1, 0.1), Colours.GREY, True)
    layouts.show_in_slice_views(chi)
    return chi


def test_a_map_is_not_hidden_by_a_labelmap(shown_map: Any, pictures: Path) -> None:
    for name in slicer.app.layoutManager().sliceViewNames():
        composite = slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == shown_map.GetID()
        assert composite.GetLabelVolumeID() is None and composite.GetForegroundVolumeID() is None
    picture = red_picture()
    write_png(pictures / "apply-with-labelmap.png", picture)
    brain = picture[100:220, 100:200].astype(int)
    assert np.ptp(brain, axis=2).max() == 0 and len(np.unique(brain)) > 50  # many greys, no colour


def test_the_legend_of_a_map_is_drawn_in_slicers_layout(shown_map: Any, pictures: Path) -> None:
    from IR2QSMGui.scene import display

    with_legend = red_picture()
    display.legend_of(shown_map).SetVisibility(False)
    without = red_picture()
    write_png(pictures / "legend-in-slicers-layout.png", np.concatenate([with_legend, without], axis=1))
    different = (with_legend != without).any(axis=2)
    assert different[:, 220:].sum() > 500 and not different[:, :150].any()


def test_vtk_has_the_letters_of_all_that_it_draws(panel: Any, shown_map: Any) -> None:
    from IR2QSMGui.parameters import Statistic
    from IR2QSMGui.scene import comparison, display, regions

    assert is_drawn("a") and is_drawn("±") and not is_drawn("χ")
    other = slicer.modules.volumes.logic().CloneVolume(shown_map, "chi other")
    texts = [node.GetName() for node in comparison.volumes_to_show([shown_map, other], shown_map)]
    display.show_uncertainty(other, (-0.1, 0.1))
    texts += [display.legend_of(other).GetTitleText()]
    display.show_intermediate(other, "totalfield")
    legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    texts += [legend.GetTitleText() for legend in legends]
    segments = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    segments.GetSegmentation().AddEmptySegment("one", "one")
    values = regions.measure(segments, [shown_map])
    for statistic in Statistic:
        chart = regions.plot(values, statistic, regions.fill_table(values, statistic))
        texts += [chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle()]
    assert "Susceptibility [ppm]" in texts and "Difference [ppm]" in texts and "Field [ppm]" in texts
    assert [letter for letter in {*"".join(texts)} - {" "} if not is_drawn(letter)] == []


def test_renaming_a_volume_leaves_every_view_as_it_was(panel: Any, shown_map: Any, sample: Any) -> None:
    panel.logic.lay_out([sample[0], shown_map])
    views = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}").mrmlSliceCompositeNode() for i in (1, 2)]
    for node, name in ((shown_map, "new name"), (sample[0], "other name")):
        node.SetName(name)
        assert [view.GetBackgroundVolumeID() for view in views] == [sample[0].GetID(), shown_map.GetID()]
    other = slicer.modules.volumes.logic().CloneVolume(shown_map, "a person's choice")
    views[0].SetBackgroundVolumeID(other.GetID())
    assert views[0].GetBackgroundVolumeID() == other.GetID()
