"""From phase in the scene to χ: the real worker on a scan of three echoes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from Testing.Slicer.steps import ROOT, TIMES, apply, arguments, command_line, items_of, tick

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")
KEPT = ("totalfield", "localfield", "mask", "residual", "quality")


def test_panel_console_and_command_line_give_the_same_voxels_and_intermediates(
    ready_phase: Any,
    scan: dict[str, Any],
    files: Path,
    tmp_path_factory: Any,
    wait_until: Wait,
    screenshot: Callable[..., Path],
    render_slices: Callable[..., Path],
) -> None:
    folder = tmp_path_factory.mktemp("known")
    expected = command_line(files, folder, "--te", *TIMES, "--b0", 3, "--keep", folder / "kept")
    ready_phase.ui.keepCheck.click()
    apply(ready_phase, wait_until)
    assert ready_phase.ui.statusLabel.text().startswith("Done in ")
    chi = slicer.util.getNode("phase 1 QSM TKD")
    assert np.array_equal(slicer.util.arrayFromVolume(chi), expected) and expected.std() > 0.01
    titles = ("total field", "local field", "effective mask", "residual", "quality")
    kept = {kind: slicer.util.getNode(f"phase 1 {title}") for kind, title in zip(KEPT, titles, strict=True)}
    for kind, node in kept.items():
        there = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "kept" / f"{kind}.nii.gz")))
        assert np.array_equal(slicer.util.arrayFromVolume(node), there)
        assert chi.GetNodeReference(f"IR2QSM.{kind}") is node and node.GetOrigin() == chi.GetOrigin()
    mask = slicer.util.arrayFromVolume(kept["mask"])
    assert np.array_equal(mask > 0, expected != 0) and kept["localfield"].GetVoxelValueUnits().GetCodeValue() == "ppm"
    assert not set(items_of(ready_phase.ui.echoList)) & {chi.GetName(), *(node.GetName() for node in kept.values())}
    ready_phase.ui.sideBySideButton.click()
    views = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}").mrmlSliceCompositeNode() for i in range(1, 8)]
    steps = [scan["phase 1"], *kept.values(), chi]
    assert [view.GetBackgroundVolumeID() for view in views] == [node.GetID() for node in steps]
    render_slices(steps, "phase-steps", columns=4, size=240, views=[f"IR2QSM{i}" for i in range(1, 9)])
    screenshot(ready_phase.parent, "panel-phase-done", 300)
    report = ready_phase.ui.logText.toPlainText()
    assert "--input phase" in report and "--te 0.004 0.01 0.016" in report
    phases, magnitudes = ([scan[f"{kind} {n}"] for n in (1, 2, 3)] for kind in ("phase", "magnitude"))
    updated = ready_phase.logic.reconstruct(
        phases, scan["brain"], magnitude=magnitudes, echo_time=TIMES, b0=3.0, keep=True, method="tkd", output=chi
    )
    assert updated is chi and np.array_equal(slicer.util.arrayFromVolume(chi), expected)
    assert {kind: chi.GetNodeReference(f"IR2QSM.{kind}") for kind in KEPT} == kept  # updated, not made anew
    later = ready_phase.logic.reconstruct(kept["localfield"], kept["mask"], method="unet")
    loaded = slicer.util.loadVolume(str(folder / "kept" / "localfield.nii.gz"))
    assert loaded.GetSpacing() != kept["localfield"].GetSpacing()  # NIfTI rounds it to single precision
    from_file = ready_phase.logic.reconstruct(loaded, kept["mask"], method="unet")
    assert np.array_equal(slicer.util.arrayFromVolume(from_file), slicer.util.arrayFromVolume(later))


def test_each_choice_changes_the_map(ready_phase: Any, scan: dict[str, Any]) -> None:
    ui, logic = ready_phase.ui, ready_phase.logic
    phases, magnitudes = ([scan[f"{kind} {n}"] for n in (1, 2, 3)] for kind in ("phase", "magnitude"))

    def chi(first: Any = phases, mask: Any = scan["brain"], **options: Any) -> np.ndarray:
        usual = {"magnitude": magnitudes, "echo_time": TIMES, "b0": 3.0, "method": "tkd"}
        made = logic.reconstruct(first, mask, **{**usual, **options})
        assert made.GetNodeReference("IR2QSM.totalfield") is None
        return slicer.util.arrayFromVolume(made)

    usual = chi()
    inside = usual != 0
    flipped = chi(flip_sign=True)
    assert np.corrcoef(flipped[inside], usual[inside])[0, 1] < -0.99
    assert np.abs(chi(b0=6.0) - 0.5 * usual).max() < 2e-3
    assert np.abs(chi(background="lbv", bipolar=True, phase_range=(-3.5, 3.5)) - usual).max() > 1e-3  # each: below
    single = chi(scan["phase 2"], input="phase", magnitude=magnitudes[1], echo_time=0.010)
    assert np.abs(single - usual).max() > 1e-3
    assert np.abs(chi(scan["phase 2"], magnitude=magnitudes[1], echo_time=0.010) - single).max() == 0  # recognised
    assert (inside & (chi(mask=None) != 0)).sum() > 0.7 * inside.sum()
    for widget, words in (
        (lambda: ui.flipSignCheck.click(), "--flip-sign"),
        (lambda: ui.backgroundSelector.setCurrentIndex(1), "--background pdf"),
        (lambda: ui.echoTimesEdit.setText("5; 10; 16"), "--te 0.005 0.01 0.016"),
        (lambda: ui.b0Spin.setValue(7.0), "--b0 7.0"),
        (lambda: ui.bipolarCheck.click(), "--bipolar"),
        (lambda: ui.acceptFilteredCheck.click(), "--accept-filtered"),
        (lambda: ui.phaseRangeEdit.setText("-6.5, 6.5"), "--phase-range -6.5 6.5"),
    ):
        assert words not in arguments(ready_phase)
        widget()
        assert words in arguments(ready_phase)


def test_the_documented_example_runs(panel: Any, scan: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "slicer.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"<!-- executed by [^>]*test_phase_runs.py -->\n```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {"getNode": slicer.util.getNode}
    exec(example, names)
    assert names["chi"].GetName() == "phase 1 QSM TKD" and names["local_field"].GetName() == "phase 1 local field"
    assert names["chi"].GetAttribute("IR2QSM.Field.background.removal.name") == "LaplacianBoundaryValue"


def test_without_a_mask_one_is_made_and_warnings_are_shown(
    ready_phase: Any, scan: dict[str, Any], wait_until: Wait
) -> None:
    ready_phase.ui.maskSelector.setCurrentNode(None)
    apply(ready_phase, wait_until)
    sentence = "The mask was made from the magnitude; a brain mask of your own is better."
    assert sentence in ready_phase.ui.statusLabel.text()
    ready_phase.ui.maskSelector.setCurrentNode(scan["brain"])
    ready_phase.ui.flipSignCheck.click()
    apply(ready_phase, wait_until)
    assert "'Background' lbv" in ready_phase.ui.statusLabel.text()  # --background in the library's words


def test_what_the_library_refuses_names_the_volumes(ready_phase: Any, scan: dict[str, Any], wait_until: Wait) -> None:
    ui = ready_phase.ui
    negative = slicer.util.arrayFromVolume(scan["magnitude 1"]) - 100
    slicer.util.updateVolumeFromArray(scan["magnitude 1"], negative)
    scan["magnitude 1"].SetName("Doe, Jane")  # which puts it before the others
    apply(ready_phase, wait_until)
    assert ui.statusLabel.text().startswith("The magnitude 'Doe, Jane' holds negative numbers; is it the phase?")
    assert "The magnitude 'magnitude 1' holds negative" in ui.logText.toPlainText()
    assert "Jane" not in ui.logText.toPlainText()
    n_nodes = slicer.mrmlScene.GetNumberOfNodes()
    from IR2QSMGui.parameters import InputProblem

    phases = [scan[f"phase {n}"] for n in (1, 2, 3)]
    for first, options, words in (
        (phases, {}, "The magnitude is missing"),
        (phases, {"magnitude": phases, "b0": 3.0}, "The echo time of 'phase 1' is not known"),
        (phases, {"magnitude": phases, "echo_time": TIMES}, "The field strength of 'phase 1' is not known"),
        (phases[0], {"input": "wave"}, "'wave' is not known; expected auto, local-field"),
        (phases[0], {"background": "sharp"}, "'sharp' is not known; expected v-sharp"),
        (phases[0], {"input": "total-field"}, "Choose the mask"),
        ([], {}, "Choose the phase of an echo"),
    ):
        with pytest.raises(InputProblem, match=re.escape(words)):
            ready_phase.logic.reconstruct(first, **options)
    assert slicer.mrmlScene.GetNumberOfNodes() == n_nodes


def test_a_total_field_runs_when_it_is_chosen_as_such(chosen: Any, scan: dict[str, Any], wait_until: Wait) -> None:
    ui = chosen.ui
    ui.fieldSelector.setCurrentNode(scan["total"])
    wait_until(lambda: "Looks like a local field" in ui.fieldNote.text(), 240)
    assert ui.inputSelector.currentText() == "Local field"  # in another unit it would be one
    ui.inputSelector.setCurrentIndex(1)
    ui.unitSelector.setCurrentIndex(0)
    ui.maskSelector.setCurrentNode(scan["brain"])
    tick(ui.methodList, "tkd")
    ui.keepCheck.click()
    ui.backgroundSelector.setCurrentIndex(1)
    assert ui.statusLabel.text().startswith("PDF needs the noise of the field") and not ui.applyButton.isEnabled()
    ui.backgroundSelector.setCurrentIndex(0)
    wait_until(ui.applyButton.isEnabled, 240)
    apply(chosen, wait_until)
    chi = slicer.util.getNode("total QSM TKD")
    assert chi.GetAttribute("IR2QSM.Field.input") == "total field"
    assert chi.GetNodeReference("IR2QSM.localfield").GetName() == "total local field"
    assert chi.GetNodeReference("IR2QSM.residual") is None
