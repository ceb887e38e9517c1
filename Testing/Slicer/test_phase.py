"""From phase in the scene to χ: which volumes are a scan, what is known of it, and the real worker on it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from Testing.Slicer.steps import ROOT, TIMES, apply, arguments, command_line, listed, tick, ticked

Wait = Callable[..., None]
pytestmark = pytest.mark.usefixtures("clean")
KEPT = ("totalfield", "localfield", "mask", "residual", "quality")


# -- before Apply -----------------------------------------------------------------------------------------------------


def test_phase_is_recognised_and_all_that_is_missing_asked_for_in_turn(
    chosen: Any, scan: dict[str, Any], wait_until: Wait, screenshot: Callable[..., Path]
) -> None:
    ui = chosen.ui
    assert ui.inputSelector.currentText() == "Wrapped phase" and ui.fieldLabel.text() == "Phase:"
    assert "Its numbers are radians, ±π." in ui.fieldNote.text()
    assert ui.unitSelector.isHidden() and ui.echoTimeSpin.isHidden() and not ui.b0Spin.isHidden()
    assert listed(ui.echoList) == sorted(set(scan) - {"phase 1"})
    assert ui.b0Label.text() == "B0 [T]:" and ui.echoTimesLabel.text() == "Echo times [ms]:"
    for change, sentence in (
        (lambda: None, "The magnitude is missing: choose that of each echo."),
        (
            lambda: tick(ui.magnitudeList, "magnitude 1", "magnitude 2", "magnitude 3"),
            "Phases that are chosen: 1, magnitudes: 3; choose one of each for every echo.",
        ),
        (
            lambda: tick(ui.echoList, "phase 2", "phase 3"),
            "The echo time of 'phase 1' is not known; enter the echo times in ms, one for each echo.",
        ),
        (
            lambda: ui.echoTimesEdit.setText("4 10"),
            "Echoes that are chosen: 3, echo times: 2; enter one for each echo, in ms.",
        ),
        (
            lambda: ui.echoTimesEdit.setText("0.004 0.01 0.016"),
            "The echo times are '0.004 0.01 0.016'; enter one for "
            "each echo in milliseconds, from 0.02 to 250, such as 4 8 12.",
        ),
        (
            lambda: (ui.echoTimesEdit.setText("4 10 16"), ui.phaseRangeEdit.setText("4095 0")),
            "The phase range is '4095 0'; enter the numbers that stand for −π and π, such as 0 4095, or nothing.",
        ),
        (lambda: ui.phaseRangeEdit.setText(""), "The field strength of 'phase 1' is not known; enter B0 in tesla."),
    ):
        change()
        assert ui.scanNote.text() == sentence and not ui.applyButton.isEnabled()
    ui.b0Spin.setValue(3.0)
    assert ui.scanNote.text().splitlines() == [
        "1. 4 ms: phase 1, magnitude 1",
        "2. 10 ms: phase 2, magnitude 2",
        "3. 16 ms: phase 3, magnitude 3",
    ]
    assert not {"phase 2", "phase 3"} & set(listed(ui.magnitudeList))  # none is both
    wait_until(ui.applyButton.isEnabled, 240)
    assert ui.maskNote.text().startswith("Without a mask, one is made from the magnitude")
    assert ui.maskSelector.currentNode() is None
    screenshot(chosen.parent, "panel-phase", 300)
    ui.fieldSelector.setCurrentNode(scan["phase 2"])
    assert ticked(ui.echoList) == ticked(ui.magnitudeList) == set()  # the ticks were those of another echo


def test_the_person_s_choice_of_what_it_is_wins(chosen: Any, scan: dict[str, Any], wait_until: Wait) -> None:
    ui = chosen.ui
    ui.inputSelector.setCurrentIndex(0)
    ui.maskSelector.setCurrentNode(scan["brain"])
    wait_until(ui.applyButton.isEnabled, 240)
    assert arguments(chosen).startswith("--input local-field ")
    assert "wrapped phase" in ui.fieldNote.text() and "color" in ui.fieldNote.styleSheet()  # but it is doubted
    assert ui.echoList.isHidden() and ui.flipSignCheck.isHidden() and ui.keepCheck.isHidden()
    ui.inputSelector.setCurrentIndex(2)
    assert "color" not in ui.fieldNote.styleSheet() and not ui.flipSignCheck.isHidden()
    ui.fieldSelector.setCurrentNode(scan["magnitude 1"])
    wait_until(lambda: "magnitude" in ui.fieldNote.text(), 240)
    assert ui.inputSelector.currentText() == "Wrapped phase" and "color" in ui.fieldNote.styleSheet()
    ui.inputSelector.setCurrentIndex(1)
    assert ui.fieldNote.text() == "This looks like a magnitude image; phase or a field is needed."
    assert not ui.applyButton.isEnabled()


def test_a_brain_extraction_that_is_installed_is_pointed_to(
    chosen: Any, scan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    assert "href" not in chosen.ui.maskNote.text()
    monkeypatch.setattr(slicer.modules, "hdbrainextractiontool", SimpleNamespace(), raising=False)
    chosen._update()
    name = re.search(r'<a href="(\w+)">HD Brain Extraction Tool</a>', chosen.ui.maskNote.text())
    assert name is not None and "Swiss" not in chosen.ui.maskNote.text()
    chosen.ui.maskNote.linkActivated.emit(name.group(1))
    assert opened == ["HDBrainExtractionTool"]
    chosen.ui.maskSelector.setCurrentNode(scan["brain"])
    assert chosen.ui.maskNote.text() == ""
    chosen.ui.maskSelector.setCurrentNode(None)
    chosen.ui.inputSelector.setCurrentIndex(1)
    assert chosen.ui.maskNote.text().startswith("Choose the mask")


def test_the_scan_comes_back_with_the_scene(ready_phase: Any, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    ui = ready_phase.ui
    ui.flipSignCheck.click()
    ui.keepCheck.click()
    ui.backgroundSelector.setCurrentIndex(2)
    before = ui.scanNote.text()
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    assert ui.fieldSelector.currentNode() is None and ui.scanNote.text() == ""
    slicer.util.loadScene(str(path))
    assert ui.inputSelector.currentText() == "Wrapped phase" and ui.scanNote.text() == before
    assert ticked(ui.echoList) == {"phase 2", "phase 3"} and ui.echoTimesEdit.text() == "4 10 16"
    assert ui.flipSignCheck.isChecked() and ui.keepCheck.isChecked()
    assert ui.backgroundSelector.currentText() == "LBV"


def test_what_phase_needs_is_installed_when_it_is_needed(
    ready_phase: Any, dialogs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = slicer.packaging.pip_check
    monkeypatch.setattr(slicer.packaging, "pip_check", lambda r, *more: "scikit" not in str(r) and check(r, *more))
    dialogs.answer("Cancel")
    ready_phase.ui.applyButton.click()
    assert "scikit-image" in dialogs.texts[0] and "less than 30 MB" in dialogs.texts[0]
    assert "Nothing was installed" in ready_phase.ui.statusLabel.text()
    from IR2QSMGui.run import install

    assert install.missing() == [] and install.missing(phase=True) == ["scikit-image>=0.22"]
    folder = ROOT / "IR2QSM" / "Resources"
    lines = (folder / "requirements-phase.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[<>=]", line)[0] for line in lines if not line.startswith("#")}
    code = (
        "import sys; from importlib.metadata import packages_distributions as of; "
        "import IR2QSMLib.pipeline.preprocess, "
        "IR2QSMLib.io.scans; known = of(); print(*{d for n in list(sys.modules) for d in known.get(n, [])})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert named <= set(done.stdout.lower().split())


# -- runs -------------------------------------------------------------------------------------------------------------


def test_panel_console_and_command_line_give_the_same_voxels_and_keep_what_is_on_the_way(
    ready_phase: Any,
    scan: dict[str, Any],
    files: Path,
    tmp_path_factory: Any,
    wait_until: Wait,
    screenshot: Callable[..., Path],
    render_slices: Callable[..., Path],
) -> None:
    folder = tmp_path_factory.mktemp("known")
    known = command_line(files, folder, "--te", *TIMES, "--b0", 3, "--keep", folder / "kept")
    ready_phase.ui.keepCheck.click()
    apply(ready_phase, wait_until)
    assert ready_phase.ui.statusLabel.text().startswith("Done in 0:")
    chi = slicer.util.getNode("phase 1 QSM TKD")
    assert np.array_equal(slicer.util.arrayFromVolume(chi), known) and known.std() > 0.01
    titles = ("total field", "local field", "effective mask", "residual", "quality")
    kept = {kind: slicer.util.getNode(f"phase 1 {title}") for kind, title in zip(KEPT, titles, strict=True)}
    for kind, node in kept.items():
        there = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "kept" / f"{kind}.nii.gz")))
        assert np.array_equal(slicer.util.arrayFromVolume(node), there)
        assert chi.GetNodeReference(f"IR2QSM.{kind}") is node and node.GetOrigin() == chi.GetOrigin()
    mask = slicer.util.arrayFromVolume(kept["mask"])
    assert np.array_equal(mask > 0, known != 0) and kept["localfield"].GetVoxelValueUnits().GetCodeValue() == "ppm"
    assert not set(listed(ready_phase.ui.echoList)) & {chi.GetName(), *(node.GetName() for node in kept.values())}
    ready_phase.ui.sideBySideButton.click()
    views = [slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}").mrmlSliceCompositeNode() for i in range(1, 8)]
    steps = [scan["phase 1"], *kept.values(), chi]
    assert [view.GetBackgroundVolumeID() for view in views] == [node.GetID() for node in steps]
    render_slices(steps, "phase-steps", columns=4, size=240, views=[f"IR2QSM{i}" for i in range(1, 9)])
    screenshot(ready_phase.parent, "panel-phase-done", 300)
    report = ready_phase.ui.logText.toPlainText()
    assert "--input phase" in report and "--te 0.004 0.01 0.016" in report
    phases, magnitudes = ([scan[f"{kind} {n}"] for n in (1, 2, 3)] for kind in ("phase", "magnitude"))
    again = ready_phase.logic.reconstruct(
        phases, scan["brain"], magnitude=magnitudes, echo_time=TIMES, b0=3.0, keep=True, method="tkd", output=chi
    )
    assert again is chi and np.array_equal(slicer.util.arrayFromVolume(chi), known)
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
    turned = chi(flip_sign=True)
    assert np.corrcoef(turned[inside], usual[inside])[0, 1] < -0.99
    assert np.abs(chi(background="lbv") - usual).max() > 1e-3
    assert np.abs(chi(b0=6.0) - 0.5 * usual).max() < 2e-3
    assert np.abs(chi(bipolar=True) - usual).max() > 1e-6 and np.abs(chi(phase_range=(-3.5, 3.5)) - usual).max() > 1e-3
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
        (lambda: ui.phaseRangeEdit.setText("-6.5, 6.5"), "--phase-range -6.5 6.5"),
    ):
        assert words not in arguments(ready_phase)
        widget()
        assert words in arguments(ready_phase)


def test_the_documented_example_runs(panel: Any, scan: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "slicer.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"<!-- executed by [^>]*test_phase.py -->\n```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {"getNode": slicer.util.getNode}
    exec(example, names)
    assert names["chi"].GetName() == "phase 1 QSM TKD" and names["local_field"].GetName() == "phase 1 local field"
    assert names["chi"].GetAttribute("IR2QSM.Field.background.removal.name") == "LaplacianBoundaryValue"


def test_without_a_mask_one_is_made_and_warnings_are_told(ready_phase: Any, wait_until: Wait) -> None:
    ready_phase.ui.maskSelector.setCurrentNode(None)
    ready_phase.ui.flipSignCheck.click()
    apply(ready_phase, wait_until)
    said = ready_phase.ui.statusLabel.text()
    assert "The mask was made from the magnitude; a brain mask of your own is better." in said
    assert "see 'Flip the sign'." in said


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


def test_a_total_field_runs_when_it_is_called_so(chosen: Any, scan: dict[str, Any], wait_until: Wait) -> None:
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
