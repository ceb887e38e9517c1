"""Several methods in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer

from Testing.Slicer.steps import tick, volumes, workers
from Testing.Slicer.view_steps import label, shown, view

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def ticked(ticks: Any) -> list[str]:
    return [ticks.item(i).text() for i in range(ticks.count()) if ticks.item(i).checkState() == qt.Qt.Checked]


@pytest.fixture
def all_ready(ready: Any, sample: Any, wait_until: Wait) -> Any:
    """The panel with all that any method needs, every method ticked."""
    _field, mask = sample
    chi = slicer.util.loadVolume(str(Path(ready.resourcePath("SampleData/chi.nrrd"))), {"show": False})
    values = slicer.util.arrayFromVolume(mask) * (100.0 - 200.0 * slicer.util.arrayFromVolume(chi))
    slicer.util.updateVolumeFromArray(chi, values.astype(np.float32))
    chi.SetName("magnitude")
    ready.ui.methodsSection.click()
    names = [ready.ui.methodList.item(i).text() for i in range(ready.ui.methodList.count())]
    assert len(names) == 10 and {"ir2qsm", "tkd", "tikhonov", "tv", "ilsqr", "medi"} <= set(names)
    tick(ready.ui.methodList, *names)
    ready.ui.magnitudeSelector.setCurrentNode(chi)
    ready.ui.b0Spin.setValue(3.0)
    ready.ui.echoTimeSpin.setValue(20.0)
    ready.ui.uncertaintyCheck.click()
    return ready


def test_methods_come_from_the_library_with_their_needs(
    ready: Any, wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    ui = ready.ui
    assert ticked(ui.methodList) == ["ir2qsm"] and "doi 10." in ui.methodList.item(0).toolTip()
    ui.methodsSection.click()
    assert not ui.magnitudeSelector.isHidden() and not ui.automaticCheck.isEnabled()
    tick(ui.methodList)
    assert ui.methodsNote.text() == "Tick at least one method." and not ui.applyButton.isEnabled()
    tick(ui.methodList, "tv", "medi")
    assert ui.methodsNote.text() == "Needed for medi: B0, the echo time, the magnitude image."
    assert not ui.applyButton.isEnabled() and not ui.magnitudeSelector.isHidden() and not ui.b0Spin.isHidden()
    screenshot(ready.parent, "panel-methods", 300)
    tick(ui.methodList, "tv")
    assert ui.applyButton.isEnabled() and ui.automaticCheck.isEnabled() and ui.magnitudeSelector.isHidden()
    ui.automaticCheck.click()
    assert [o.arguments()[-2:] for o in ready._choice().options()] == [["--regularisation", "auto"]]
    tick(ui.methodList, "tkd", "tv")
    ui.chiSelector.setCurrentNode(ready._parameters.field)
    assert "Several methods make several maps" in ui.statusLabel.text() and not ui.applyButton.isEnabled()


def test_all_methods_run_also_after_a_cancelled_series(
    all_ready: Any, sample: Any, wait_until: Wait, screenshot: Callable[..., Path], render_slices: Callable[..., Path]
) -> None:
    ui, names = all_ready.ui, ticked(all_ready.ui.methodList)
    before = volumes()
    ui.applyButton.click()
    wait_until(lambda: "lpcnn (4 of 10): " in ui.statusLabel.text(), 240)
    screenshot(all_ready.parent, "panel-several", 300)
    assert 300 <= ui.progressBar.value() < 400
    ui.applyButton.click()
    wait_until(lambda: ui.applyButton.text() == "Apply", 60)
    assert ui.statusLabel.text() == f"Cancelled; what was finished stays: {', '.join(names[:3])}."
    finished = [f"field QSM {name.upper()}" for name in names[:3]]
    assert volumes() == [*before, *finished] and workers() == []
    for name in finished:
        slicer.mrmlScene.RemoveNode(slicer.util.getNode(name))
    ui.applyButton.click()
    wait_until(lambda: ui.applyButton.text() == "Apply", 300, "the end of all methods")
    assert ui.statusLabel.text().startswith("Done in ")
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    made = [node for node in nodes if node.GetNodeReference("IR2QSM.field")]
    inside = slicer.util.arrayFromVolume(sample[1]) > 0
    values = np.array([slicer.util.arrayFromVolume(node)[inside] for node in made])
    assert (np.abs(np.corrcoef(values)) > 0.5).all() and len({v.std() for v in values}) == len(made)
    assert [node.GetAttribute("IR2QSM.Method.name") for node in made] == names
    assert [shown(i + 1) for i in range(len(made))] == made
    for name, node in zip(names, made, strict=True):
        node.SetName(f"field QSM {name.upper()}")
    assert [label(i + 1) for i in range(len(made))] == [node.GetName() for node in made]
    for i in range(len(made)):
        node, first = view(i + 1).mrmlSliceNode(), view(1).mrmlSliceNode()
        assert view(i + 1).mrmlSliceCompositeNode().GetLinkedControl()
        assert node.GetSliceOffset() == first.GetSliceOffset() and node.GetFieldOfView() == first.GetFieldOfView()
    views = [f"IR2QSM{i + 1}" for i in range(len(made))]
    render_slices(made, "comparison", views=views, columns=5)
    ui.baseMapSelector.setCurrentNode(made[0])
    ui.differenceCheck.click()
    assert label(10) == "MEDI − IR2QSM"
    render_slices([made[0]], "differences", views=views, columns=5)
    ui.methodsSection.click()
    ui.compareSection.click()
    screenshot(all_ready.parent, "panel-compare", 300)
