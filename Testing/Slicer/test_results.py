"""Results into the scene, all or nothing, and back with the scene; workers that end without one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from Testing.Slicer.steps import apply, tick, volumes, workers

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")


def test_a_broken_second_file_leaves_no_half_result(
    ready: Any, sample: Any, tmp_path_factory: Any, messages: Any
) -> None:
    from IR2QSMGui.scene import results

    folder = tmp_path_factory.mktemp("result")
    (folder / "uncertainty.nrrd").write_bytes(b"NRRD0004\nbroken\n")
    (folder / "chi.json").write_text("{}")
    chi = str(Path(ready.resourcePath("SampleData/chi.nrrd")))
    result = {"chi": chi, "uncertainty": str(folder / "uncertainty.nrrd"), "provenance": str(folder / "chi.json")}
    older = slicer.modules.volumes.logic().CloneVolume(sample[0], "older")
    kept, n_nodes = slicer.util.arrayFromVolume(older).copy(), slicer.mrmlScene.GetNumberOfNodes()
    for output in (None, older):
        with pytest.raises(RuntimeError, match="could not be read; apply again"):
            results.bring_in(result, sample[0], "ir2qsm", outputs=(output, None))
        assert slicer.mrmlScene.GetNumberOfNodes() == n_nodes
        assert np.array_equal(slicer.util.arrayFromVolume(older), kept)
    assert messages.texts and all("read" in text.lower() for text in messages.texts)
    messages.clear()


def test_what_entered_the_scene_leaves_it_again_on_failure(ready: Any, sample: Any) -> None:
    from IR2QSMGui.scene import nodes

    older = slicer.modules.volumes.logic().CloneVolume(sample[0], "older")
    kept, n_nodes = slicer.util.arrayFromVolume(older).copy(), slicer.mrmlScene.GetNumberOfNodes()
    volume = nodes.read_volume(ready.resourcePath("SampleData/chi.nrrd"), sample[0])
    with pytest.raises(ZeroDivisionError), nodes.all_or_nothing(older, None):
        nodes.add_map(volume, sample[0], {"Method": "x"}, kind="chi", name="new")
        nodes.add_map(volume, sample[0], {"Method": "x"}, kind="chi", name="", output=older)
        assert slicer.mrmlScene.GetNumberOfNodes() > n_nodes and older.GetAttribute("IR2QSM.Method") == "x"
        raise ZeroDivisionError
    assert slicer.mrmlScene.GetNumberOfNodes() == n_nodes
    assert np.array_equal(slicer.util.arrayFromVolume(older), kept) and older.GetAttribute("IR2QSM.Method") is None


LAUNCHER = """#!/bin/sh
# As Slicer's launcher: a child of its own, 1 for a child that was killed, and a line that says so.
{python} "$@"
code=$?
if [ $code -gt 128 ]; then
    echo "error: [{python}] exit abnormally - Report the problem." >&2
    exit 1
fi
exit $code
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher of this test is a shell script")
def test_a_launcher_that_ends_abnormally_is_one_clear_message(
    ready: Any, wait_until: Wait, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = tmp_path_factory.mktemp("bin") / "PythonSlicer"
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{launcher.parent}{os.pathsep}{os.environ['PATH']}")
    ready.ui.uncertaintyCheck.click()
    ready.ui.applyButton.click()
    wait_until(lambda: "inversion" in ready.ui.statusLabel.text(), 60)
    for process in workers():
        if process.children() == []:
            process.kill()
    wait_until(lambda: ready.ui.applyButton.text() == "Apply", 60)
    assert ready.ui.statusLabel.text().startswith("The worker was ended by the system, most likely because memory ran")
    assert "abnormally" not in ready.ui.statusLabel.text()
    launcher.write_text("#!/bin/sh\necho 'ImportError: libtorch.so: cannot open shared object file' >&2\nexit 1\n")
    apply(ready, wait_until)
    assert ready.ui.statusLabel.text() == (
        "The worker ended without a result (exit code 1). ImportError: libtorch.so: cannot open shared object file"
    )
    assert volumes() == ["field"]
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    tick(ready.ui.methodList, "tkd")
    apply(ready, wait_until)
    assert volumes() == ["field", "field QSM TKD"]


def colours_of(table: Any) -> list[list[float]]:
    colours: list[list[float]] = []
    for i in range(table.GetNumberOfColors()):
        colours.append([0.0] * 4)
        assert table.GetColor(i, colours[-1])
    return colours


def test_map_colours_legend_and_layout_come_back_with_the_scene(
    ready: Any, wait_until: Wait, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    ready.ui.coloursSelector.setCurrentIndex(1)
    apply(ready, wait_until)
    ready.ui.sideBySideButton.click()
    name = "field QSM IR2QSM"
    table = slicer.util.getNode(name).GetDisplayNode().GetColorNode()
    expected = colours_of(table)
    assert len(expected) == 256 and expected[0][2] > expected[0][0] + 0.3 and expected[255][0] > expected[255][2] + 0.3
    assert min(expected[127][:3]) > 0.9  # white at zero
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer.util.loadScene(str(path))
    chi = slicer.util.getNode(name)
    colours = chi.GetDisplayNode().GetColorNode()
    assert colours.GetName() == "IR2QSM diverging"
    assert np.allclose(colours_of(colours), expected, atol=0.01)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(chi)
    assert legend.GetTitleText() == "Susceptibility [ppm]" and legend.GetVisibility()
    assert chi.GetVoxelValueUnits().GetCodeValue() == "ppm"
    assert chi.GetAttribute("IR2QSM.Method.name") == "ir2qsm"
    views = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}") for i in (1, 2, 3)]
    shown = [slicer.mrmlScene.GetNodeByID(v.mrmlSliceCompositeNode().GetBackgroundVolumeID()).GetName() for v in views]
    assert shown == ["field", name, f"{name} uncertainty"]
    ready.ui.windowSelector.setCurrentIndex(2)  # and the panel still knows the map
    assert chi.GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.2)
